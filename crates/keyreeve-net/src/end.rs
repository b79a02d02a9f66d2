//! The end of a connection that is written to.

use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    net::{TcpStream, tcp::OwnedWriteHalf},
    runtime::Handle,
    task::AbortHandle,
};

/// That end, which the outbox writes to, too.
pub(crate) struct End {
    half: OwnedWriteHalf,
    /// Whether the outbox has something for it.
    waits: AtomicBool,
    /// Whether something was taken that could not be written: until it is, nothing more is taken.
    is_late: AtomicBool,
    late: Mutex<Late>,
}

/// What was taken and could not be written.
#[derive(Default)]
struct Late {
    rest: Vec<u8>,
    /// Why it never will be.
    broken: Option<ErrorKind>,
    /// Who waits for it to be gone.
    waker: Option<Waker>,
    /// The task that writes it.
    writer: Option<AbortHandle>,
    /// Whether nobody has the connection any more.
    is_abandoned: bool,
}

impl End {
    pub(crate) fn new(half: OwnedWriteHalf) -> Arc<Self> {
        Arc::new(Self {
            half,
            waits: AtomicBool::new(false),
            is_late: AtomicBool::new(false),
            late: Mutex::default(),
        })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.half.as_ref()
    }

    /// Whether something waits in the outbox. If not, what was there is written, or late.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waits.load(Ordering::Acquire)
    }

    /// To be said under the lock of the outbox.
    pub(crate) fn set_waiting(&self, it: bool) {
        self.waits.store(it, Ordering::Release);
    }

    /// Whether something that was taken could not be written.
    pub(crate) fn is_late(&self) -> bool {
        self.is_late.load(Ordering::Acquire)
    }

    /// Writes. What the other side does not take is written by a task of its own.
    pub(crate) fn write(this: &Arc<Self>, mut bytes: &[u8]) {
        if this.is_late() {
            let mut late = this.late.lock();
            if late.broken.is_some() {
                return;
            }
            if !late.rest.is_empty() {
                late.rest.extend_from_slice(bytes);
                return;
            }
        }
        while !bytes.is_empty() {
            match this.half.try_write(bytes) {
                Ok(0) => return this.breaks(ErrorKind::WriteZero),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Self::leave_to_a_task(this, bytes);
                }
                Err(error) => return this.breaks(error.kind()),
            }
        }
    }

    fn leave_to_a_task(this: &Arc<Self>, bytes: &[u8]) {
        let runtime = Handle::try_current();
        let mut late = this.late.lock();
        this.is_late.store(true, Ordering::Release);
        let (Ok(runtime), false) = (runtime, late.is_abandoned) else {
            // There is nobody left who could write it, or nobody whom it was from.
            late.broken = Some(ErrorKind::BrokenPipe);
            return;
        };
        late.rest.extend_from_slice(bytes);
        drop(late);
        let late_writer = LateWriter { end: this.clone(), is_done: false };
        let write = async move {
            poll_fn(|context| late_writer.end.poll_rest(context)).await;
            late_writer.done();
        };
        let writer = runtime.spawn(write).abort_handle();
        let mut late = this.late.lock();
        let is_abandoned = late.is_abandoned;
        late.writer = Some(writer.clone());
        drop(late);
        if is_abandoned {
            writer.abort();
        }
    }

    fn breaks(&self, why: ErrorKind) {
        let mut late = self.late.lock();
        self.is_late.store(true, Ordering::Release);
        late.broken = Some(why);
    }

    /// Writes the rest as the other side takes it.
    fn poll_rest(&self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let ready = ready!(self.stream().poll_write_ready(context));
            let mut late = self.late.lock();
            let written = ready.and_then(|()| self.half.try_write(&late.rest));
            match written.map_err(|error| error.kind()) {
                Ok(0) => late.broken = Some(ErrorKind::WriteZero),
                Ok(count) if count < late.rest.len() => {
                    late.rest.drain(..count);
                    continue;
                }
                Ok(_) => self.is_late.store(false, Ordering::Release),
                Err(ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
                Err(why) => late.broken = Some(why),
            }
            Self::is_over(late);
            return Poll::Ready(());
        }
    }

    /// Nothing more of the rest will be written.
    fn is_over(mut late: MutexGuard<'_, Late>) {
        // It is overwritten as it is freed.
        late.rest = Vec::new();
        late.writer = None;
        let waker = late.waker.take();
        drop(late);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready once nothing is late.
    pub(crate) fn poll_in_time(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_late() {
            return Poll::Ready(Ok(()));
        }
        let mut late = self.late.lock();
        if let Some(why) = late.broken {
            return Poll::Ready(Err(why.into()));
        }
        if late.rest.is_empty() {
            return Poll::Ready(Ok(()));
        }
        late.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Nobody has the connection any more: what the other side has not taken so far, it need not take.
    pub(crate) fn abandon(&self) {
        let mut late = self.late.lock();
        late.is_abandoned = true;
        let writer = late.writer.take();
        drop(late);
        if let Some(writer) = writer {
            writer.abort();
        }
    }
}

/// Whoever writes what is late, until it is written or its runtime ends.
struct LateWriter {
    end: Arc<End>,
    /// Whether it has come to its end: what is late from then on is another one's.
    is_done: bool,
}

impl LateWriter {
    fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for LateWriter {
    fn drop(&mut self) {
        if !self.is_done {
            let mut late = self.end.late.lock();
            late.broken = Some(ErrorKind::BrokenPipe);
            End::is_over(late);
        }
    }
}
