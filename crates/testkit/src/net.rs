//! Free ports and bounded waiting.

use crate::{TestkitError, io};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A port of the loopback address that nobody listened on a moment ago.
///
/// Another process may take it before the caller does; callers that can, bind port 0 themselves.
pub fn free_port() -> Result<u16, TestkitError> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(io("binding a free port"))?;
    Ok(listener.local_addr().map_err(io("reading the port"))?.port())
}

/// Waits until something accepts connections at `address`, at most `bound`.
pub fn wait_for_port(address: SocketAddr, bound: Duration) -> Result<(), TestkitError> {
    wait_until(&format!("a listener on {address}"), bound, || {
        TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
    })
}

/// Polls `ready` every 20 ms, at most `bound`.
pub fn wait_until(what: &str, bound: Duration, mut ready: impl FnMut() -> bool) -> Result<(), TestkitError> {
    let start = Instant::now();
    while start.elapsed() < bound {
        if ready() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(TestkitError::NotReady { what: what.to_owned(), seconds: bound.as_secs(), output: String::new() })
}
