//! What an application has sent and its connection has not taken yet: bounded in bytes and in messages.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drawgate_protocol::{CloseCode, Message};
use tokio::sync::Notify;

use crate::pulse::{Pulse, Signal};

/// Shared by an application's sessions and the connection that sends for them.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Told when there may be room, and when there never will be.
    room: Notify,
    pulse: Arc<Pulse>,
}

/// What an application wants sent.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A message.
    Message(Message),
    /// A Close, after which nothing follows.
    Close(CloseCode, String),
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    /// Nothing more is taken: the connection has ended, or a Close is queued.
    closed: bool,
}

impl Outbox {
    pub(crate) fn new(pulse: Arc<Pulse>) -> Self {
        Self { state: Mutex::default(), room: Notify::new(), pulse }
    }

    /// Queues `message` as soon as there is room; false if the connection has ended.
    pub(crate) async fn send(&self, message: Message) -> bool {
        let mut message = message;
        loop {
            // Listening begins before the look, so that no notice between the two is lost.
            let room = self.room.notified();
            match self.try_push(message) {
                Push::Done => return true,
                Push::Closed => return false,
                Push::Full(returned) => message = returned,
            }
            room.await;
        }
    }

    /// Queues a Close; what is queued before it is still sent.
    pub(crate) fn close(&self, code: CloseCode, reason: String) {
        let mut state = self.locked();
        if !state.closed {
            state.closed = true;
            state.queue.push_back(Outgoing::Close(code, reason));
            drop(state);
            self.room.notify_waiters();
            self.pulse.signal(Signal::Outbox);
        }
    }

    /// Takes the next of what is queued.
    pub(crate) fn pop(&self) -> Option<Outgoing> {
        let mut state = self.locked();
        let outgoing = state.queue.pop_front()?;
        if let Outgoing::Message(message) = &outgoing {
            state.bytes -= held_bytes(message);
        }
        if state.queue.is_empty() {
            state.queue = VecDeque::new();
        }
        drop(state);
        self.room.notify_waiters();
        Some(outgoing)
    }

    /// Whether nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.locked().queue.is_empty()
    }

    /// The memory of what is queued.
    pub(crate) fn held_bytes(&self) -> usize {
        self.locked().bytes
    }

    /// The connection has ended: whoever waits for room, or comes later, is told so.
    pub(crate) fn end(&self) {
        let mut state = self.locked();
        *state = State { closed: true, ..State::default() };
        drop(state);
        self.room.notify_waiters();
    }

    fn try_push(&self, message: Message) -> Push {
        let mut state = self.locked();
        if state.closed {
            return Push::Closed;
        }
        let bytes = held_bytes(&message);
        let has_room =
            state.bytes.saturating_add(bytes) <= OUTBOX_BYTES_MAX && state.queue.len() < OUTBOX_MESSAGES_MAX;
        if !has_room && !state.queue.is_empty() {
            return Push::Full(message);
        }
        state.bytes += bytes;
        state.queue.push_back(Outgoing::Message(message));
        drop(state);
        self.pulse.signal(Signal::Outbox);
        Push::Done
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Push {
    Done,
    Full(Message),
    Closed,
}

/// What a message takes while it is queued: its bytes, its place, and what every allocation costs. One of a byte takes many times that.
const fn held_bytes(message: &Message) -> usize {
    let payload = match message {
        Message::Text(text) => text.capacity(),
        Message::Binary(bytes) => bytes.capacity(),
    };
    payload + size_of::<Outgoing>() + ALLOCATION_BYTES
}

/// What an allocator adds to a small one.
const ALLOCATION_BYTES: usize = 16;

/// The most bytes that wait in an outbox, beside a single message that is larger.
const OUTBOX_BYTES_MAX: usize = 64 * 1024;

/// The most messages that wait in an outbox.
const OUTBOX_MESSAGES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn outbox() -> Outbox {
        Outbox::new(Arc::new(Pulse::default()))
    }

    fn is_ready(future: impl Future) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn r26_many_small_messages_are_bounded_by_count() {
        let outbox = outbox();
        for _ in 0..OUTBOX_MESSAGES_MAX {
            assert!(is_ready(outbox.send(Message::Binary(Vec::new()))));
        }
        assert!(!is_ready(outbox.send(Message::Binary(Vec::new()))));
        assert!(outbox.pop().is_some());
        assert!(is_ready(outbox.send(Message::Binary(Vec::new()))));
    }

    #[test]
    fn r26_messages_are_bounded_by_bytes_and_one_larger_still_goes() {
        let outbox = outbox();
        assert!(is_ready(outbox.send(Message::Binary(vec![0; 1 << 20]))));
        assert!(!is_ready(outbox.send(Message::Binary(vec![0; 1]))));
    }

    #[tokio::test]
    async fn waiting_for_room_ends_when_the_connection_does() {
        let outbox = outbox();
        assert!(outbox.send(Message::Binary(vec![0; OUTBOX_BYTES_MAX])).await);
        let (sent, ()) = tokio::join!(outbox.send(Message::Binary(vec![0])), async { outbox.end() });
        assert!(!sent);
    }

    #[test]
    fn nothing_follows_a_close() {
        let outbox = outbox();
        outbox.close(CloseCode::NORMAL, "done".into());
        outbox.close(CloseCode::GOING_AWAY, "twice".into());
        assert!(matches!(outbox.pop(), Some(Outgoing::Close(CloseCode::NORMAL, _))));
        assert!(outbox.pop().is_none());
        assert!(!outbox.try_push_is_open());
    }

    impl Outbox {
        fn try_push_is_open(&self) -> bool {
            !matches!(self.try_push(Message::Binary(Vec::new())), Push::Closed)
        }
    }
}
