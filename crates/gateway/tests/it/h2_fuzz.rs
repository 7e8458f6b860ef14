//! The fuzz body of HTTP/2 records over seeds and mutations of them.

use countersign_gateway::fuzz::h2_record;
use proptest::prelude::*;

fn op(op: u8, stream: u8, bytes: &[u8]) -> Vec<u8> {
    [&[op, stream, bytes.len() as u8], bytes].concat()
}

fn seed() -> Vec<u8> {
    let call = b":method: POST\n:path: /a.B/C\ncontent-type: application/grpc\ngrpc-timeout: 1S";
    [
        op(0, 1, call),
        op(0x82, 1, &[0, 0, 0, 0, 1, 7]),
        op(1, 0x81, b":status: 200\ncontent-type: application/grpc"),
        op(2, 0x81, &[0, 0, 0, 0, 0]),
        op(6, 1, b""),
        op(3, 0x81, b"grpc-status: 5\ngrpc-message: no%20such"),
        op(0x80, 2, b":method: GET\n:path: /x?y=z\n:authority: a"),
        op(0x81, 0x82, b":status: 404"),
        op(0, 3, b":method: PUT\n:path: /big"),
        op(4, 3, b""),
        op(0, 3, b":method: ODD"),
        op(5, 3, b""),
        op(0, 0, b""),
        op(0, 5, b":method: POST\n:path: /mcp\ncontent-type: application/json\nmcp-method: tools/list"),
        op(2, 5, br#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}},"#),
        op(0x82, 5, br#"{"jsonrpc":"2.0","id":2,"method":"ping"}]"#),
        op(1, 0x85, b":status: 200\ncontent-type: text/event-stream"),
        op(2, 0x85, b"data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n"),
        op(0x82, 0x85, b"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n"),
    ]
    .concat()
}

#[test]
fn a_seed_of_every_happening_is_recorded() {
    h2_record(&seed());
}

proptest! {
    #[test]
    fn mutated_happenings_are_recorded(flips in proptest::collection::vec((0_usize..4000, any::<u8>()), 0..8)) {
        let mut bytes = seed();
        for (at, value) in flips {
            let n = bytes.len();
            bytes[at % n] = value;
        }
        h2_record(&bytes);
    }

    #[test]
    fn any_bytes_are_recorded(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        h2_record(&bytes);
    }
}
