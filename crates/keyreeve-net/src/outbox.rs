//! Short messages that wait for the end of the turn (ADR 0023).
//!
//! A core serves what is ready, one task after the other, and then asks the system what is ready next. A
//! task that writes a short message in between only puts it here; when the tasks have had their turn, all
//! of it is written in a row. Whoever it is for then wakes up once for many messages and not for each.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::IoSlice,
    sync::Arc,
    task::{Poll, Waker},
};

use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};

use crate::end::End;

/// The longest message that waits, in bytes. Enough for most requests to services, and for most answers of
/// ours; of longer ones the saving is a small part.
pub(crate) const LONGEST: usize = 2 << 10;
/// How many bytes wait at most. Then they are written at once.
pub(crate) const MOST: usize = 64 << 10;

/// What the sockets of one core have to write.
///
/// Whoever writes holds the lock, so no message overtakes another one. Where a runtime stays on its thread
/// nobody ever waits for it.
pub(crate) struct Outbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Whose the bytes are, and where they end.
    messages: Vec<(Arc<End>, usize)>,
    /// Wakes the task that writes them, unless that was woken already.
    writer: Option<Waker>,
    /// Whether that task has ended, and its runtime with it.
    is_over: bool,
}

thread_local! {
    /// The outbox, and of which runtime: a thread may enter another one while its own one stands still.
    static OUTBOX: RefCell<Option<(Id, Arc<Outbox>)>> = const { RefCell::new(None) };
}

impl Outbox {
    /// That of the runtime of this thread.
    pub(crate) fn of_this_core() -> Arc<Self> {
        let runtime = Handle::current();
        OUTBOX.with_borrow_mut(|known| {
            if let Some((id, outbox)) = known
                && *id == runtime.id()
                && !outbox.0.lock().is_over
            {
                return outbox.clone();
            }
            let outbox = Arc::new(Self(Mutex::default()));
            runtime.spawn(write_each_turn(Writer(outbox.clone())));
            known.insert((runtime.id(), outbox)).1.clone()
        })
    }

    /// Takes a message of at most [`LONGEST`] bytes, to write it at the end of the turn. `false` if it is to
    /// be written by whoever has it.
    pub(crate) fn take(&self, end: &Arc<End>, pieces: &[IoSlice<'_>]) -> bool {
        let mut waiting = self.0.lock();
        if waiting.is_over || end.is_late() {
            return false;
        }
        if waiting.bytes.len() + LONGEST > MOST {
            waiting.flush();
            if end.is_late() {
                return false;
            }
        }
        for piece in pieces {
            waiting.bytes.extend_from_slice(piece);
        }
        waiting.is_for(end);
        true
    }

    /// Writes all that waits now.
    pub(crate) fn flush(&self) {
        self.0.lock().flush();
    }
}

impl Waiting {
    /// The last bytes are for that connection.
    fn is_for(&mut self, end: &Arc<End>) {
        let upto = self.bytes.len();
        match self.messages.last_mut() {
            Some((last, until)) if Arc::ptr_eq(last, end) => *until = upto,
            _ => self.messages.push((end.clone(), upto)),
        }
        end.set_waiting(true);
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn flush(&mut self) {
        let mut begin = 0;
        for (end, upto) in &self.messages {
            End::write(end, &self.bytes[begin..*upto]);
            begin = *upto;
        }
        for (end, _) in self.messages.drain(..) {
            end.set_waiting(false);
        }
        // There may have been a secret in them.
        self.bytes.fill(0);
        self.bytes.clear();
    }
}

/// What the task that writes has. When its runtime ends, what still waits is written, as far as the system
/// takes it.
struct Writer(Arc<Outbox>);

impl Drop for Writer {
    fn drop(&mut self) {
        let mut waiting = self.0.0.lock();
        waiting.is_over = true;
        waiting.flush();
    }
}

/// Goes on for as long as the runtime. Once woken, the task has its turn behind all that were ready then.
async fn write_each_turn(writer: Writer) {
    poll_fn(|context| {
        let mut waiting = writer.0.0.lock();
        waiting.flush();
        waiting.writer = Some(context.waker().clone());
        Poll::<()>::Pending
    })
    .await;
}
