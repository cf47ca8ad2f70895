//! A store whose disk is the test: nothing is kept before it says so. For the tests of whoever changes what is kept.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::{Change, Inner, QUEUE_LENGTH_MAX, StateError, Store, Task, Work};

/// What waits for the disk.
pub(crate) struct Hands(Receiver<Work>);

impl Store {
    pub(crate) fn by_hand() -> (Self, Hands) {
        let (queue, waiting) = sync_channel(QUEUE_LENGTH_MAX);
        (Self(Arc::new(Inner { queue: Some(queue), thread: None })), Hands(waiting))
    }
}

/// Answers whoever waits for one change.
type Answer = Box<dyn FnOnce(Result<(), StateError>)>;

impl Hands {
    /// The next change that waits, if one does, and how to answer it.
    pub(crate) fn take(&self) -> Option<(Change, Answer)> {
        let Work { task, done } = self.0.try_recv().ok()?;
        let Task::Keep(change) = task else { panic!("not a change: {task:?}") };
        Some((change, Box::new(move |outcome| drop(done.send(outcome)))))
    }
}
