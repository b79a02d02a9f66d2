//! Where what comes is put until it is taken.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use super::super::dial::MOST_HEAD_BYTES;

/// Enough for most answers, and little enough for connections that only wait.
const USUAL: usize = if cfg!(fuzzing) { 64 } else { 8 << 10 };

/// Bytes that have come. It grows for a long head, and what was in it is overwritten when the answer has
/// ended.
#[derive(Default)]
pub(super) struct Room {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// How far there may be something that was read.
    used: usize,
}

impl Room {
    /// What has come and is not taken.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether what came last may be only a part of what was there.
    pub(super) fn is_full(&self) -> bool {
        self.end == self.bytes.len()
    }

    /// Whether it holds as much as it ever will.
    pub(super) fn is_at_its_limit(&self) -> bool {
        self.end - self.start >= MOST_HEAD_BYTES
    }

    /// So many bytes were taken.
    pub(super) fn take(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads what is there; 0 if nothing will come any more. It must not be at its limit.
    pub(super) fn poll_fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.is_full() {
            self.make_place();
        }
        let mut buffer = ReadBuf::new(&mut self.bytes[self.end..]);
        ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
        let count = buffer.filled().len();
        self.end += count;
        self.used = self.used.max(self.end);
        Poll::Ready(Ok(count))
    }

    fn make_place(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        } else {
            let larger = (self.bytes.len() * 2).clamp(USUAL, MOST_HEAD_BYTES);
            self.bytes.resize(larger, 0);
        }
    }

    /// Leaves nothing of what was read.
    pub(super) fn wipe(&mut self) {
        if self.bytes.len() > USUAL {
            // Overwritten as it is freed.
            self.bytes = Vec::new();
        } else {
            self.bytes[..self.used].fill(0);
        }
        (self.start, self.end, self.used) = (0, 0, 0);
    }
}
