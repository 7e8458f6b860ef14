//! The one connection to the server: made with the first request, used for all.

use super::wire::{Half, Wire};
use super::{CONNECTION_WINDOW, Http2, SEND_BUFFER, SERVER, STREAM_WINDOW};
use crate::config::Limits;
use crate::pump::connect::{ConnectError, dial_h2};
use crate::pump::io::Io;
use crate::ring::What;
use crate::stats::count;
use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

type Opening = Result<(SendRequest<Bytes>, Connection<Half, Bytes>), h2::Error>;

/// How far the connection to the server has come.
pub(super) enum Up {
    /// Nothing was asked yet.
    Idle,
    Connecting(Pin<Box<dyn Future<Output = Result<Io, ConnectError>> + Send>>),
    Handshake(Pin<Box<dyn Future<Output = Opening> + Send>>),
    /// `ready`: the server has shown that it speaks HTTP/2.
    Open {
        connection: Box<Connection<Half, Bytes>>,
        sender: SendRequest<Bytes>,
        ready: bool,
    },
    Gone,
}

impl Up {
    /// What requests are sent with.
    pub(super) fn sender(&self) -> Option<&SendRequest<Bytes>> {
        match self {
            Up::Open { sender, ready: true, .. } => Some(sender),
            _ => None,
        }
    }
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(limits.h2_header_list)
        .initial_max_send_streams(limits.h2_streams as usize);
    builder
}

impl Http2 {
    /// Begins to connect, once.
    pub(super) fn connect(&mut self) {
        if matches!(self.up, Up::Idle) {
            self.deadlines.connecting(self.now);
            self.up = Up::Connecting(dial_h2(Arc::clone(&self.route), Arc::clone(&self.worker.limits)));
            self.wakers.wake(SERVER);
        }
    }

    pub(super) fn poll_server(&mut self) {
        let waker = self.wakers.get(SERVER);
        let mut cx = Context::from_waker(&waker);
        loop {
            match &mut self.up {
                Up::Idle | Up::Gone => return,
                Up::Connecting(attempt) => match attempt.as_mut().poll(&mut cx) {
                    Poll::Pending => return,
                    Poll::Ready(Err(e)) => return self.no_server(e),
                    Poll::Ready(Ok(io)) => self.connected(io),
                },
                Up::Handshake(opening) => match opening.as_mut().poll(&mut cx) {
                    Poll::Pending => break,
                    Poll::Ready(Err(_)) => return self.server_ended(),
                    Poll::Ready(Ok((sender, connection))) => {
                        self.up = Up::Open { connection: Box::new(connection), sender, ready: false };
                    }
                },
                Up::Open { connection, .. } => {
                    let ended = Pin::new(connection.as_mut()).poll(&mut cx).is_ready();
                    self.count_bytes();
                    self.look_at_server();
                    if ended {
                        return self.server_ended();
                    }
                    break;
                }
            }
        }
        let Some(server) = &self.server else { return };
        let flushed = server.lock().flush(&mut cx);
        match flushed {
            Ok(done) => self.flushed(false, done.is_ready()),
            // Reading tells the same.
            Err(_) => self.flushed(false, true),
        }
    }

    fn connected(&mut self, io: Io) {
        if let Ok(address) = io.peer_addr() {
            self.now = self.worker.clock.monotonic_ns();
            self.tap(What::Upstream(address, io.certificates()));
        }
        let wire = Wire::server(io, Arc::clone(&self.worker.clock));
        wire.lock().shut = self.gate.blocked;
        let (half, builder) = (wire.half(), builder(&self.worker.limits));
        self.up = Up::Handshake(Box::pin(async move { builder.handshake(half).await }));
        self.server = Some(wire);
    }

    fn look_at_server(&mut self) {
        let Some(server) = &self.server else { return };
        let (settings, goaway) = {
            let wire = server.lock();
            (wire.seen.settings, wire.seen.goaway)
        };
        if let Up::Open { ready, .. } = &mut self.up
            && settings
            && !*ready
        {
            *ready = true;
            self.route.no_h2.store(false, Ordering::Relaxed);
            self.wake_streams();
        }
        if goaway != self.goaway {
            // The server takes no further stream, so neither do we.
            self.goaway = goaway;
            self.leave();
        }
    }

    /// There will be no connection: every request gets to know, and the client shall come again.
    pub(super) fn no_server(&mut self, why: ConnectError) {
        count(&self.worker.counters.upstream_failed);
        self.up = Up::Gone;
        self.failed = Some(why);
        self.wake_streams();
        self.leave();
    }

    fn server_ended(&mut self) {
        let (settings, http1) = self.server.as_ref().map_or((false, false), |s| {
            let wire = s.lock();
            (wire.seen.settings, wire.seen.http1)
        });
        if !settings {
            let why = if http1 {
                self.route.no_h2.store(true, Ordering::Relaxed);
                "upstream speaks HTTP/1 only"
            } else {
                "upstream closed without speaking HTTP/2"
            };
            return self.no_server(ConnectError { status: 502, why });
        }
        self.up = Up::Gone;
        self.gone = true;
        self.wake_streams();
        self.leave();
    }
}
