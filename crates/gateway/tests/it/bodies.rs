//! Bodies of any size pass with flat memory.

use crate::support::{Rig, get, rss_kib, server, until};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Body size: 256 MiB, or 1 GiB when asked for.
fn size() -> u64 {
    let full = std::env::var("COUNTERSIGN_TORTURE").is_ok_and(|v| v == "full");
    if full { 1 << 30 } else { 256 << 20 }
}

fn pour(s: &mut TcpStream, mut n: u64) -> std::io::Result<()> {
    let block = vec![b'z'; 64 << 10];
    while n > 0 {
        let part = n.min(block.len() as u64) as usize;
        s.write_all(&block[..part])?;
        n -= part as u64;
    }
    Ok(())
}

fn big_answer() -> std::net::SocketAddr {
    server(|mut s| {
        let _ = s.read(&mut [0; 4096]).unwrap();
        s.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", size()).as_bytes()).unwrap();
        let _ = pour(&mut s, size());
    })
}

/// Reads `n` bytes; the largest growth of resident memory on the way, KiB.
fn drain(s: &mut TcpStream, mut n: u64, base: u64) -> u64 {
    let mut buf = vec![0; 64 << 10];
    let (mut most, mut turn) = (0, 0_u32);
    while n > 0 {
        let got = s.read(&mut buf).unwrap();
        assert!(got > 0, "{n} bytes are missing");
        n -= got as u64;
        turn += 1;
        if turn.is_multiple_of(64) {
            most = most.max(rss_kib().saturating_sub(base));
        }
    }
    most
}

#[test]
fn a_huge_answer_streams_with_flat_memory() {
    let rig = Rig::new(big_answer());
    let mut client = rig.client();
    let base = rss_kib();
    client.send(get("/big"));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", size());
    client.expect(&head);
    let grew = drain(&mut client.0, size(), base);
    // Other tests of this binary run beside it; a body kept in memory would be 256 MiB and more.
    assert!(grew < 96 << 10, "grew by {grew} KiB");
    let events = rig.memory.wait(1);
    assert_eq!(events[0].body.rsp.as_ref().unwrap().size, Some(size()));
    assert!(events[0].body.rsp.as_ref().unwrap().digest.is_some());
}

#[test]
fn a_huge_upload_streams_through() {
    let upstream = server(|mut s| {
        let head = format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", size() / 4);
        s.read_exact(&mut vec![0; head.len()]).unwrap();
        drain(&mut s, size() / 4, 0);
        s.write_all(crate::support::response("ok").as_bytes()).unwrap();
    });
    let rig = Rig::new(upstream);
    let mut client = rig.client();
    client.send(format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", size() / 4));
    pour(&mut client.0, size() / 4).unwrap();
    client.expect(crate::support::response("ok"));
    assert_eq!(rig.memory.wait(1)[0].body.req.as_ref().unwrap().size, Some(size() / 4));
}

#[test]
fn a_client_that_never_reads_holds_a_bounded_part_of_the_answer() {
    let rig = Rig::new(big_answer());
    let mut client = rig.client();
    client.send(get("/big"));
    // The gateway stops reading once its queue to the client is full; what has moved by then stays put.
    let mut last = 0;
    until("the server is held back", || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = rig.gateway.stats().bytes_down;
        let stands = now == last && now > 0;
        last = now;
        stands
    });
    // Kernel buffers on both sockets take a few MiB; the gateway itself at most its high mark and one block.
    assert!(last < 16 << 20, "{last} bytes were read from the server");
}
