//! Accepting: takes a place in the limits, hands the socket to a task, pauses when descriptors run out.

use crate::pump::door::Door;
use crate::pump::{Worker, serve};
use crate::ring::{ConnOpen, Tap, What};
use crate::stats::count;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout_at};

/// Pause after an error of accept: out of descriptors, or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refusals at a limit are folded into one record so often.
const FOLD: Duration = Duration::from_secs(1);

/// Accepts until dropped.
pub(crate) async fn accept(worker: Arc<Worker>, door: Arc<Door>, listener: TcpListener) {
    let mut folded: Option<(u64, SocketAddr, &'static str)> = None;
    let mut report = Instant::now() + FOLD;
    loop {
        let next = match folded {
            None => Ok(listener.accept().await),
            Some(_) => timeout_at(report, listener.accept()).await,
        };
        if let Some((n, src, which)) = folded
            && Instant::now() >= report
        {
            limited(&worker, &door, &listener, n, src, which);
            folded = None;
        }
        let (stream, src) = match next {
            Err(_) => continue,
            Ok(Ok(accepted)) => accepted,
            Ok(Err(_)) => {
                count(&worker.counters.accept_paused);
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        count(&worker.counters.connections);
        if let Some(which) = full(&worker, &door) {
            count(&worker.counters.refused_limit);
            if folded.is_none() {
                report = Instant::now() + FOLD;
            }
            folded = Some((folded.map_or(0, |f| f.0) + 1, src, which));
            continue;
        }
        worker.counters.open.fetch_add(1, Ordering::Relaxed);
        door.open.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(serve(Arc::clone(&worker), Arc::clone(&door), stream, src));
    }
}

fn full(worker: &Worker, door: &Door) -> Option<&'static str> {
    if worker.counters.open.load(Ordering::Relaxed) as usize >= worker.limits.connections {
        return Some("connections of the process");
    }
    let listener = door.open.load(Ordering::Relaxed) >= worker.limits.connections_listener;
    listener.then_some("connections of the listener")
}

fn limited(
    worker: &Worker,
    door: &Door,
    listener: &TcpListener,
    n: u64,
    src: SocketAddr,
    which: &'static str,
) {
    let dst = listener.local_addr().unwrap_or(src);
    let open =
        ConnOpen { route: door.own.index, src, dst, waiting: Arc::new(AtomicUsize::new(0)), gate: None };
    worker.will_record_on(&door.own, 1);
    let what = What::Limited { open: Box::new(open), n, which };
    worker.push(&door.own, &mut vec![Tap { conn: 0, t: worker.clock.monotonic_ns(), what }]);
}
