//! A connection to a receiver that is not HTTP: TCP, and TLS over it, with one deadline for the whole.
//!
//! Invariants: the address is the configured one; the server's certificate is checked for its name; plain TCP goes to
//! loopback addresses alone.

use crate::config::{AlertError, Timing};
use crate::queue::read_bounded;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where Debian keeps the system's authorities.
pub(crate) const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Largest file of authorities.
pub(crate) const CA_MAX_BYTES: u64 = 4 << 20;

/// A connection with a deadline.
pub(crate) struct Connection {
    stream: Stream,
    deadline: Instant,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// Between the two.
    None,
}

/// TLS with these authorities, or the system's.
pub(crate) fn tls_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, AlertError> {
    let path = ca.map_or_else(|| PathBuf::from(SYSTEM_CA), Path::to_owned);
    let wrong = |why: &str| AlertError::Setting {
        setting: format!("authorities of receivers, {}", path.display()),
        why: why.to_owned(),
    };
    let pem =
        read_bounded(&path, CA_MAX_BYTES).ok_or_else(|| wrong("cannot be read; install ca-certificates"))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if roots.is_empty() {
        return Err(wrong("holds no certificate"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|_| AlertError::Crypto("no version of TLS"))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

impl Connection {
    /// Connects by TCP. `local`: to loopback addresses alone.
    pub(crate) fn open(host: &str, port: u16, local: bool, timing: &Timing) -> Result<Connection, String> {
        let deadline = Instant::now() + timing.whole;
        let addresses = (host, port).to_socket_addrs().map_err(|_| "its name is not known".to_owned())?;
        let mut addresses = addresses.filter(|at| !local || at.ip().is_loopback()).peekable();
        if addresses.peek().is_none() {
            return Err("its name has no address that may be used".to_owned());
        }
        let mut why = String::new();
        for address in addresses {
            let left = deadline.saturating_duration_since(Instant::now()).min(timing.connect);
            if left.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => return Ok(Connection { stream: Stream::Plain(stream), deadline }),
                Err(error) => why = in_words(&error),
            }
        }
        Err(why)
    }

    /// Begins TLS; the handshake is done when this returns.
    pub(crate) fn secure(&mut self, host: &str, config: &Arc<ClientConfig>) -> Result<(), String> {
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::None) else {
            return Err("TLS over TLS".to_owned());
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| "its name cannot be in a certificate".to_owned())?;
        let client = ClientConnection::new(config.clone(), name).map_err(|e| format!("tls: {e}"))?;
        let mut stream = StreamOwned::new(client, stream);
        while stream.conn.is_handshaking() {
            limit(&stream.sock, self.deadline).map_err(|e| in_words(&e))?;
            stream.conn.complete_io(&mut stream.sock).map_err(|e| in_words(&e))?;
        }
        self.stream = Stream::Tls(Box::new(stream));
        Ok(())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let write = |connection: &mut Connection| -> std::io::Result<()> {
            limit(connection.socket()?, connection.deadline)?;
            match &mut connection.stream {
                Stream::Plain(stream) => stream.write_all(bytes),
                Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
                Stream::None => Err(std::io::ErrorKind::NotConnected.into()),
            }
        };
        write(self).map_err(|e| in_words(&e))
    }

    /// Some bytes; none when the other side is done.
    pub(crate) fn read(&mut self) -> Result<Vec<u8>, String> {
        let mut buffer = vec![0; 4096];
        let read = |connection: &mut Connection, buffer: &mut [u8]| -> std::io::Result<usize> {
            limit(connection.socket()?, connection.deadline)?;
            match &mut connection.stream {
                Stream::Plain(stream) => stream.read(buffer),
                Stream::Tls(stream) => stream.read(buffer),
                Stream::None => Err(std::io::ErrorKind::NotConnected.into()),
            }
        };
        let length = read(self, &mut buffer).map_err(|e| in_words(&e))?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Says that nothing more comes, and waits for the other side to say so too: where a protocol has no answers, that is
    /// the only sign that all was read.
    pub(crate) fn finish(mut self, patience: Duration) -> Result<(), String> {
        self.deadline = self.deadline.min(Instant::now() + patience);
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            limit(&stream.sock, self.deadline).and_then(|()| stream.flush()).map_err(|e| in_words(&e))?;
        }
        let socket = self.socket().map_err(|e| in_words(&e))?;
        socket.shutdown(std::net::Shutdown::Write).map_err(|e| in_words(&e))?;
        loop {
            match self.read() {
                Ok(bytes) if bytes.is_empty() => return Ok(()),
                Ok(_) => {}
                // It keeps the connection open, or closed it without farewell: all of it was taken by the system at
                // least, and a reset would have been an error of its own.
                Err(why) if why == NO_ANSWER || why == CLOSED => return Ok(()),
                Err(why) => return Err(why),
            }
        }
    }

    /// Our own address.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.socket().ok().and_then(|socket| socket.local_addr().ok())
    }

    fn socket(&self) -> std::io::Result<&TcpStream> {
        match &self.stream {
            Stream::Plain(stream) => Ok(stream),
            Stream::Tls(stream) => Ok(&stream.sock),
            Stream::None => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }
}

const NO_ANSWER: &str = "no answer in time";
const CLOSED: &str = "it closed the connection";

fn limit(socket: &TcpStream, deadline: Instant) -> std::io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    socket.set_read_timeout(Some(left))?;
    socket.set_write_timeout(Some(left))
}

/// The error in words, without the address.
fn in_words(error: &std::io::Error) -> String {
    use std::io::ErrorKind::*;
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return format!("tls: {tls}");
    }
    match error.kind() {
        TimedOut | WouldBlock => NO_ANSWER.to_owned(),
        UnexpectedEof => CLOSED.to_owned(),
        kind => format!("connection: {kind}"),
    }
}
