//! One byte stream of a connection, clear or encrypted, behind one type. Boxes keep the clear case small.

use rustls::pki_types::CertificateDer;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{client, server};

/// A byte stream.
pub(crate) enum Io {
    Clear(TcpStream),
    Accepted(Box<server::TlsStream<TcpStream>>),
    Connected(Box<client::TlsStream<TcpStream>>),
    Unix(UnixStream),
}

macro_rules! each {
    ($io:expr, $stream:ident => $call:expr) => {
        match $io.get_mut() {
            Io::Clear($stream) => $call,
            Io::Accepted($stream) => $call,
            Io::Connected($stream) => $call,
            Io::Unix($stream) => $call,
        }
    };
}

impl Io {
    /// Whether written bytes may stay behind in a buffer of ours until flushed.
    pub(crate) fn buffers(&self) -> bool {
        !matches!(self, Io::Clear(_) | Io::Unix(_))
    }

    /// Whether nobody between can read it.
    pub(crate) fn is_private(&self) -> bool {
        !matches!(self, Io::Clear(_))
    }

    /// Channel binding to the certificate of the server that we are connected to (RFC 5929, section 4).
    pub(crate) fn end_point(&self) -> Option<Vec<u8>> {
        let Io::Connected(stream) = self else { return None };
        countersign_wire::scram::end_point(stream.get_ref().1.peer_certificates()?.first()?)
    }

    /// The protocol that TLS agreed on.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Io::Clear(_) | Io::Unix(_) => None,
            Io::Accepted(s) => s.get_ref().1.alpn_protocol(),
            Io::Connected(s) => s.get_ref().1.alpn_protocol(),
        }
    }

    /// What the server showed, leaf first; empty without TLS.
    pub(crate) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        match self {
            Io::Connected(s) => s.get_ref().1.peer_certificates().unwrap_or_default().to_vec(),
            Io::Clear(_) | Io::Unix(_) | Io::Accepted(_) => Vec::new(),
        }
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Io::Clear(s) => s.peer_addr(),
            Io::Accepted(s) => s.get_ref().0.peer_addr(),
            Io::Connected(s) => s.get_ref().0.peer_addr(),
            Io::Unix(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, s => Pin::new(s).poll_write(cx, buf))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, s => Pin::new(s).poll_write_vectored(cx, bufs))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_shutdown(cx))
    }
}
