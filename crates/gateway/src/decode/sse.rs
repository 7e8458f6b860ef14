//! Server-sent events on an HTTP route: counted, with a record of progress while the stream goes on.

use super::bodies::{Bodies, Here};
use super::progress::Progress;
use crate::ring::Way;
use countersign_wire::http1::fields::Fields;
use countersign_wire::sse::{self, Reader};

/// Counts the events of one response.
#[derive(Default)]
pub(super) struct Counting {
    reader: Reader,
    bytes: u64,
    progress: Progress,
}

struct Nothing;

impl sse::Events for Nothing {
    fn data(&mut self, _: &[u8]) {}
    fn event(&mut self, _: &sse::Event<'_>) {}
}

impl Bodies for Counting {
    fn response(&mut self, here: &mut Here<'_>, _: Fields<'_>, _: &str) {
        self.progress = Progress::new(here.t);
    }

    fn data(&mut self, here: &mut Here<'_>, way: Way, bytes: &[u8]) {
        if way == Way::Up {
            return;
        }
        self.reader.feed(bytes, &mut Nothing);
        self.bytes += bytes.len() as u64;
        if self.progress.due(here.t, self.bytes) {
            let mut event = here.event.clone();
            let rsp = event.body.rsp.get_or_insert_default();
            (rsp.size, rsp.messages) = (Some(self.bytes), Some(self.reader.events()));
            super::progress::mark(&mut event, here.context, here.started, here.t);
            here.out.push(event);
        }
    }

    fn end(&mut self, _: &mut Here<'_>, _: Way) {}

    fn replaces(&self) -> bool {
        false
    }

    fn finish(self: Box<Self>, here: &mut Here<'_>, _: u64) {
        let mut event = here.event.clone();
        if let Some(rsp) = &mut event.body.rsp {
            rsp.messages = Some(self.reader.events());
        }
        here.out.push(event);
    }
}
