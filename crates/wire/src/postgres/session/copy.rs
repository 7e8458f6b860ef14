//! Copy data of the running statement, both ways.
//!
//! Invariant: data is counted and digested, never kept.

use super::super::record::{Copy, CopyWay, End, Executed, Message};
use super::{Digest, PROGRESS_BYTES, PROGRESS_NS, Pending, Session};

/// Data of a copy that runs now, or that the client has begun to send before the server asked for it.
pub(super) struct Running {
    /// `None` = the server has not said yet that it copies.
    pub(super) way: Option<CopyWay>,
    messages: (u64, u64),
    bytes: (u64, u64),
    digest: Box<dyn Digest>,
    pub(super) failed: bool,
    lsn: Option<(u64, u64)>,
    /// Time and bytes of the last progress record.
    told: (u64, u64),
}

impl Running {
    fn copy(&self, way: CopyWay) -> Copy {
        let (messages, bytes) = (self.messages, self.bytes);
        Copy { way, messages, bytes, digest: None, failed: self.failed, lsn: self.lsn }
    }
}

impl Session {
    fn running(&mut self) -> &mut Running {
        let digests = &self.digests;
        self.copy.get_or_insert_with(|| Running {
            way: None,
            messages: (0, 0),
            bytes: (0, 0),
            digest: digests.start(),
            failed: false,
            lsn: None,
            told: (0, 0),
        })
    }

    /// The server begins to copy.
    pub(super) fn begin_copy(&mut self, way: CopyWay, t: u64) {
        let running = self.running();
        running.way = Some(way);
        running.told = (t, 0);
        if way == CopyWay::In {
            self.copy_in();
        }
    }

    /// The server ignores the Syncs before the data's end, which may be here already.
    fn copy_in(&mut self) {
        self.settle();
        let Some(head) = self.queue.pop_front() else { return };
        loop {
            match self.queue.front() {
                Some(Pending::Sync(_)) => {
                    self.queue.pop_front();
                }
                Some(Pending::CopyEnd { failed }) => {
                    let failed = *failed;
                    self.running().failed |= failed;
                    self.queue.pop_front();
                    break;
                }
                Some(_) => break,
                None => {
                    self.copying_in = true;
                    break;
                }
            }
        }
        self.queue.push_front(head);
    }

    /// Copy data in passing.
    pub(super) fn copied(&mut self, part: &[u8], up: bool) {
        let running = self.running();
        running.digest.update(part);
        let bytes = if up { &mut running.bytes.0 } else { &mut running.bytes.1 };
        *bytes += part.len() as u64;
    }

    /// A message of copy data has passed.
    pub(super) fn copy_message(&mut self, front: &[u8], up: bool, t: u64) {
        let running = self.running();
        let messages = if up { &mut running.messages.0 } else { &mut running.messages.1 };
        *messages += 1;
        if running.way == Some(CopyWay::Both)
            && !up
            && let Some((first, last)) = positions(front)
        {
            let (from, to) = running.lsn.unwrap_or((first, last));
            running.lsn = Some((from, to.max(last)));
        }
        self.progress(t);
    }

    /// The running statement has ended.
    pub(super) fn end_copy(&mut self, run: &mut Executed) {
        if let Some(way) = self.copy.as_ref().and_then(|c| c.way)
            && let Some(running) = self.copy.take()
        {
            let copy = running.copy(way);
            run.copy = Some(Copy { digest: Some(running.digest.finish()), ..copy });
        }
        self.copying_in = false;
    }

    /// Tells of a copy or replication stream that is still running, when `t` says that it is time. Call it
    /// now and then: a silent stream is told of too.
    pub fn progress(&mut self, t: u64) {
        let Some(running) = &mut self.copy else { return };
        let Some(way) = running.way else { return };
        let bytes = running.bytes.0 + running.bytes.1;
        if t.saturating_sub(running.told.0) < PROGRESS_NS && bytes - running.told.1 < PROGRESS_BYTES {
            return;
        }
        running.told = (t, bytes);
        let copy = running.copy(way);
        let Some(mut run) = self.head_run().cloned() else { return };
        run.statement = run.statement.or_else(|| self.head_part());
        run.copy = Some(copy);
        run.end = End::Running;
        run.at.2 = t;
        run.state = self.state;
        run.transaction = self.transaction;
        self.told.push_back(Message::Progress(Box::new(run)));
    }
}

/// First and last position that a replication message speaks of: XLogData (`w`) has a start and the server's
/// end, a keep-alive (`k`) has the server's end alone.
fn positions(front: &[u8]) -> Option<(u64, u64)> {
    let mut reader = super::super::message::Reader::new(front);
    match reader.u8()? {
        b'w' => {
            let start = reader.u64()?;
            let end = reader.u64()?;
            Some((start, end.max(start)))
        }
        b'k' => reader.u64().map(|end| (end, end)),
        _ => None,
    }
}
