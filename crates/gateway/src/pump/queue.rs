//! Bytes that wait to be written in one direction. The reader of the other side keeps it under its high mark.

use super::io::Io;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Slices in one system call.
const SLICES: usize = 16;
/// A small rest that keeps a large shared block alive is copied out when its writer has to wait.
const COPY_OUT_MAX: usize = 8 << 10;

/// Slices in order, with absolute offsets so that an unsent tail can be taken back.
#[derive(Default)]
pub(crate) struct OutQueue {
    slices: VecDeque<Bytes>,
    len: usize,
    pushed: u64,
    unflushed: bool,
    copied: bool,
}

impl OutQueue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether everything pushed has left for the kernel.
    pub(crate) fn is_clear(&self) -> bool {
        self.len == 0 && !self.unflushed
    }

    /// Offset of the next byte to be pushed.
    pub(crate) fn end(&self) -> u64 {
        self.pushed
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        self.pushed += bytes.len() as u64;
        self.slices.push_back(bytes);
        self.copied = false;
    }

    /// Takes back everything from absolute offset `from` on; `false` when some of it was already written.
    pub(crate) fn take_back(&mut self, from: u64) -> bool {
        let written = self.pushed - self.len as u64;
        if from < written {
            return false;
        }
        while self.pushed > from {
            let Some(mut last) = self.slices.pop_back() else { break };
            let over = usize::try_from(self.pushed - from).unwrap_or(usize::MAX).min(last.len());
            last.truncate(last.len() - over);
            self.len -= over;
            self.pushed -= over as u64;
            if !last.is_empty() {
                self.slices.push_back(last);
            }
        }
        true
    }

    pub(crate) fn clear(&mut self) {
        self.slices.clear();
        self.len = 0;
        self.unflushed = false;
    }

    /// Writes as much as the stream takes. Ready(n) = everything went, n bytes now; Pending = the stream is full.
    pub(crate) fn poll_write(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_write_to(None, io, cx)
    }

    /// As [`OutQueue::poll_write`], of what lies before absolute offset `limit`.
    pub(crate) fn poll_write_to(
        &mut self,
        limit: Option<u64>,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut total = 0;
        loop {
            let written = self.pushed - self.len as u64;
            let room = limit.map_or(u64::MAX, |limit| limit.saturating_sub(written));
            if self.len == 0 || room == 0 {
                break;
            }
            match self.poll_once(usize::try_from(room).unwrap_or(usize::MAX), io, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.advance(n);
                    total += n;
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => {
                    self.copy_out();
                    return Poll::Pending;
                }
            }
        }
        self.unflushed |= total > 0 && io.buffers();
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(total))
    }

    fn poll_once(&self, room: usize, io: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(first) = self.slices.front()
            && (self.slices.len() == 1 || self.len > room)
        {
            let most = first.len().min(room);
            return Pin::new(io).poll_write(cx, first.get(..most).unwrap_or_default());
        }
        let mut list = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (place, slice) in list.iter_mut().zip(&self.slices) {
            *place = IoSlice::new(slice);
            count += 1;
        }
        Pin::new(io).poll_write_vectored(cx, list.get(..count).unwrap_or_default())
    }

    fn advance(&mut self, mut n: usize) {
        self.len -= n.min(self.len);
        while n > 0 {
            let Some(front) = self.slices.front_mut() else { return };
            if front.len() > n {
                front.advance(n);
                return;
            }
            n -= front.len();
            self.slices.pop_front();
        }
    }

    /// A slow reader with a few bytes outstanding must not pin whole blocks.
    fn copy_out(&mut self) {
        if self.copied || self.len > COPY_OUT_MAX {
            return;
        }
        for slice in &mut self.slices {
            *slice = Bytes::copy_from_slice(slice);
        }
        self.copied = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsent_tail_can_be_taken_back() {
        let mut queue = OutQueue::default();
        queue.push(Bytes::from_static(b"first"));
        let start = queue.end();
        queue.push(Bytes::from_static(b"second"));
        queue.push(Bytes::from_static(b"third"));
        queue.advance(2);
        assert!(queue.take_back(start + 1));
        assert_eq!((queue.len(), queue.end()), (4, 6));
        assert!(!queue.take_back(1));
        assert!(queue.take_back(2));
        assert_eq!((queue.len(), queue.end()), (0, 2));
    }
}
