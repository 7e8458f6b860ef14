//! A SPIFFE Workload API on a Unix socket, written by hand: HTTP/2 by `h2`, gRPC framing and protobuf by bytes.

use bytes::{BufMut, Bytes, BytesMut};
use countersign_identity::authority::{Authority, Issued};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::net::UnixListener;
use tokio::sync::watch;

/// What the agent says next.
#[derive(Clone)]
pub(crate) enum Says {
    /// Nothing yet.
    Nothing,
    /// One update: a whole `X509SVIDResponse`.
    Update(Bytes),
    /// Ends the call with this gRPC status.
    Status(u32),
}

/// A running agent; ends when dropped.
pub(crate) struct Agent {
    pub(crate) endpoint: String,
    says: watch::Sender<Says>,
    /// Paths that were called, and whether each had the metadata that the standard demands.
    pub(crate) calls: Arc<Mutex<Vec<(String, bool)>>>,
    _runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Agent {
    pub(crate) fn new() -> Agent {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("agent.sock");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (says, hears) = watch::channel(Says::Nothing);
        let calls: Arc<Mutex<Vec<(String, bool)>>> = Arc::default();
        let listener = runtime.block_on(async { UnixListener::bind(&path).unwrap() });
        runtime.spawn(accept(listener, hears, calls.clone()));
        Agent { endpoint: format!("unix://{}", path.display()), says, calls, _runtime: runtime, _dir: dir }
    }

    pub(crate) fn say(&self, what: Says) {
        self.says.send_replace(what);
    }

    /// Gives out one SVID and the bundles of `trusted` and of federated trust domains.
    pub(crate) fn issue(&self, svid: &Issued, trusted: &[&Authority], federated: &[&Authority]) {
        let bundle: Vec<u8> = trusted.iter().flat_map(|a| ca_der(a)).collect();
        let mut message = BytesMut::new();
        let mut entry = BytesMut::new();
        field(&mut entry, 1, svid.spiffe_id.as_bytes());
        field(&mut entry, 2, &CertificateDer::from_pem_slice(svid.cert_pem.as_bytes()).unwrap());
        field(&mut entry, 3, PrivateKeyDer::from_pem_slice(svid.key_pem.as_bytes()).unwrap().secret_der());
        field(&mut entry, 4, &bundle);
        field(&mut message, 1, &entry);
        for authority in federated {
            let mut pair = BytesMut::new();
            field(&mut pair, 1, format!("spiffe://{}", authority.trust_domain()).as_bytes());
            field(&mut pair, 2, &ca_der(authority));
            field(&mut message, 3, &pair);
        }
        self.say(Says::Update(message.freeze()));
    }
}

fn ca_der(authority: &Authority) -> Vec<u8> {
    CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap().to_vec()
}

/// A length-delimited protobuf field.
pub(crate) fn field(out: &mut BytesMut, number: u8, value: &[u8]) {
    out.put_u8(number << 3 | 2);
    let mut length = value.len();
    while length > 0x7f {
        out.put_u8((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
    out.put_slice(value);
}

async fn accept(
    listener: UnixListener,
    hears: watch::Receiver<Says>,
    calls: Arc<Mutex<Vec<(String, bool)>>>,
) {
    while let Ok((socket, _)) = listener.accept().await {
        let (hears, calls) = (hears.clone(), calls.clone());
        tokio::spawn(async move {
            let Ok(mut connection) = h2::server::handshake(socket).await else { return };
            while let Some(Ok((request, reply))) = connection.accept().await {
                let marked = request.headers().get("workload.spiffe.io").is_some_and(|v| v == "true");
                calls.lock().unwrap().push((request.uri().path().to_owned(), marked));
                tokio::spawn(answer(reply, hears.clone(), marked));
            }
        });
    }
}

async fn answer(mut reply: h2::server::SendResponse<Bytes>, mut hears: watch::Receiver<Says>, marked: bool) {
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let Ok(mut body) = reply.send_response(head, false) else { return };
    loop {
        let says = hears.borrow_and_update().clone();
        let status = match says {
            // The standard: a call without the metadata must be rejected with InvalidArgument.
            _ if !marked => Some(3),
            Says::Nothing => None,
            Says::Update(message) => {
                let mut frame = BytesMut::new();
                frame.put_u8(0);
                frame.put_u32(message.len() as u32);
                frame.put_slice(&message);
                if body.send_data(frame.freeze(), false).is_err() {
                    return;
                }
                None
            }
            Says::Status(code) => Some(code),
        };
        if let Some(code) = status {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", code.into());
            let _ = body.send_trailers(trailers);
            return;
        }
        if hears.changed().await.is_err() {
            return;
        }
    }
}
