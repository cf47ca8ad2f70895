//! The bounds on one route's connections, `[routes.NAME.limits]`. Floor 1; `None` is unlimited throughout.

use std::time::Duration;

/// Bounds on the messages, the pace and the patience of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of one message.
    pub message_bytes_max: Option<u64>,
    /// The most frames of one message; empty ones count.
    pub message_fragments_max: Option<u32>,
    /// Whether permessage-deflate is agreed on with clients that offer it; limits and rates see inflated bytes.
    pub compression: bool,
    /// The most bytes that compressed messages of one side of a connection may inflate to in a second.
    pub inflated_bytes_per_second: Option<u64>,
    /// How fast clients may send.
    pub pace: Pace,
    /// The time from a message's first byte to its last.
    pub message_timeout: Option<Duration>,
    /// How long no message may go either way; pings and pongs are none.
    pub idle_timeout: Option<Duration>,
    /// The time from the authentication, or from the `101` where there is none, to the end.
    pub session_time_max: Option<Duration>,
    /// How often a quiet connection is pinged.
    pub ping_interval: Option<Duration>,
    /// How long a pinged peer may send nothing at all.
    pub pong_timeout: Option<Duration>,
    /// How long a blocked output may make no progress at all.
    pub stall_timeout: Option<Duration>,
    /// How long the peer may take to answer our Close; always bounded.
    pub close_timeout: Duration,
}

impl Default for Limits {
    /// The defaults of docs/defaults.md, for messages that are streamed.
    fn default() -> Self {
        Self {
            message_bytes_max: Some(1024 * 1024),
            message_fragments_max: Some(1024),
            compression: false,
            inflated_bytes_per_second: Some(32 * 1024 * 1024),
            pace: Pace::default(),
            message_timeout: Some(Duration::from_secs(30)),
            idle_timeout: None,
            session_time_max: None,
            ping_interval: Some(Duration::from_secs(20)),
            pong_timeout: Some(Duration::from_secs(10)),
            stall_timeout: Some(Duration::from_secs(15)),
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// How fast clients may send, each count over what one session, one subject and one client do on the route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// One connection.
    pub session: Rates,
    /// All connections of one subject.
    pub subject: Rates,
    /// All connections of one client: an IPv4 address, or an IPv6 /64.
    pub client: Rates,
    /// What becomes of one that is faster.
    pub over_rate: OverRate,
}

/// How much may come in a second. As much may come at once, and of bytes one message of the largest size in any case. Inflated bytes
/// count, and so do messages that are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Messages; `None` is unlimited.
    pub messages_per_second: Option<u64>,
    /// Bytes of their payload; `None` is unlimited.
    pub bytes_per_second: Option<u64>,
}

/// What becomes of a client that sends faster than it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverRate {
    /// The connection is closed.
    #[default]
    Close,
    /// It is not read until it has waited long enough: the network slows the client.
    Slow,
}
