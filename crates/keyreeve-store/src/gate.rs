//! The way into a queue, which can be shut.

use keyreeve_engine::store::StoreError;
use parking_lot::RwLock;
use tokio::sync::mpsc;

/// Gives out senders until it is shut. What was sent before that is still worked off; the worker
/// ends when it has done so.
pub(crate) struct Gate<T> {
    sender: RwLock<Option<mpsc::Sender<T>>>,
}

impl<T> Gate<T> {
    /// An open gate.
    pub(crate) fn new(sender: mpsc::Sender<T>) -> Self {
        Self { sender: RwLock::new(Some(sender)) }
    }

    /// A sender of one's own. Whoever keeps it keeps the worker going.
    pub(crate) fn sender(&self) -> Result<mpsc::Sender<T>, StoreError> {
        self.sender.read().clone().ok_or(StoreError::Closed)
    }

    /// Lets nobody in any more.
    pub(crate) fn shut(&self) {
        *self.sender.write() = None;
    }
}
