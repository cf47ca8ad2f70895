//! What went over a connection, in numbers: added up on the stack, handed on once a read. Pure.
//!
//! Bytes are those of payloads as the application sees them, without headers and masks.

/// Which way a frame went, seen from the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    In,
    /// To the client.
    Out,
}

impl Direction {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::In, Self::Out];

    /// The word for it in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// What a message or a control frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A Ping frame.
    Ping,
    /// A Pong frame.
    Pong,
    /// A Close frame.
    Close,
}

impl FrameKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Text, Self::Binary, Self::Ping, Self::Pong, Self::Close];

    /// The word for it in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Close => "close",
        }
    }
}

/// Messages, and the bytes of their payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Messages that are complete, or control frames.
    pub messages: u64,
    /// Bytes of payload, of incomplete messages too.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What one read, or one write, moved. Made on the stack for each and given to
/// [`RouteMetrics::add`](super::RouteMetrics::add) and [`Traffic::add`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficDelta([[Count; FrameKind::ALL.len()]; Direction::ALL.len()]);

impl TrafficDelta {
    /// Counts a piece of payload.
    pub fn payload(&mut self, direction: Direction, kind: FrameKind, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.0[direction as usize][kind as usize].add(Count { messages: 0, bytes });
    }

    /// Counts a message that is now complete, or a control frame.
    pub fn message(&mut self, direction: Direction, kind: FrameKind) {
        self.0[direction as usize][kind as usize].add(Count { messages: 1, bytes: 0 });
    }

    /// Counts a piece of payload that may be the last of its message.
    pub fn chunk(&mut self, direction: Direction, kind: FrameKind, bytes: usize, is_last: bool) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.0[direction as usize][kind as usize].add(Count { messages: u64::from(is_last), bytes });
    }

    /// One whole message or control frame.
    #[must_use]
    pub fn whole(direction: Direction, kind: FrameKind, bytes: usize) -> Self {
        let mut delta = Self::default();
        delta.chunk(direction, kind, bytes, true);
        delta
    }

    /// What was counted of one kind.
    #[must_use]
    pub const fn count(&self, direction: Direction, kind: FrameKind) -> Count {
        self.0[direction as usize][kind as usize]
    }
}

/// What one connection moved in its life: text and binary messages only, for its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages from the client, complete ones.
    pub messages_in: u64,
    /// Their payload, in bytes.
    pub bytes_in: u64,
    /// Messages to the client, complete ones.
    pub messages_out: u64,
    /// Their payload, in bytes.
    pub bytes_out: u64,
}

impl Traffic {
    /// Adds what a read or a write moved.
    pub fn add(&mut self, delta: &TrafficDelta) {
        for kind in [FrameKind::Text, FrameKind::Binary] {
            let (received, sent) = (delta.count(Direction::In, kind), delta.count(Direction::Out, kind));
            self.messages_in = self.messages_in.saturating_add(received.messages);
            self.bytes_in = self.bytes_in.saturating_add(received.bytes);
            self.messages_out = self.messages_out.saturating_add(sent.messages);
            self.bytes_out = self.bytes_out.saturating_add(sent.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_messages_and_not_control_frames() {
        let mut delta = TrafficDelta::default();
        delta.payload(Direction::In, FrameKind::Text, 3);
        delta.payload(Direction::In, FrameKind::Text, 4);
        delta.message(Direction::In, FrameKind::Text);
        delta.payload(Direction::In, FrameKind::Ping, 125);
        delta.message(Direction::In, FrameKind::Ping);
        delta.payload(Direction::Out, FrameKind::Binary, 9);
        let mut traffic = Traffic::default();
        traffic.add(&delta);
        traffic.add(&delta);
        assert_eq!(traffic, Traffic { messages_in: 2, bytes_in: 14, messages_out: 0, bytes_out: 18 });
    }

    #[test]
    fn numbers_follow_the_order_of_the_lists() {
        assert!(Direction::ALL.iter().enumerate().all(|(number, direction)| *direction as usize == number));
        assert!(FrameKind::ALL.iter().enumerate().all(|(number, kind)| *kind as usize == number));
    }
}
