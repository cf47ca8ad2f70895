//! What a connection may send, and how long it may be silent or slow: `routes.*.limits`, `inspect`, `inspect_replies` and `json`. Read in
//! `routes.rs` and `inspect.rs`.

use super::{Amount, DAY, DEADLINE, GIB, KIB, MIB, SECOND, Unit};

pub(in crate::config) static MESSAGE_BYTES_MAX: Amount = Amount::new(
    "routes.*.limits.message_bytes_max",
    Unit::Bytes,
    MIB,
    [1, GIB],
    "Messages pass in chunks, so size costs no memory here; a mebibyte is what backends commonly accept. Where messages are inspected each is held whole: then it is 64 KiB, at most 16 MiB, and never unlimited.",
)
.or_unlimited();
/// The same setting where messages are inspected; docs/defaults.md says it in one row.
pub(in crate::config) static WHOLE_MESSAGE_BYTES_MAX: Amount = Amount::new(
    MESSAGE_BYTES_MAX.key,
    Unit::Bytes,
    64 * KIB,
    [1, 16 * MIB],
    "Each message is held whole while it comes.",
);
pub(in crate::config) static MESSAGE_FRAGMENTS_MAX: Amount = Amount::new(
    "routes.*.limits.message_fragments_max",
    Unit::Count,
    1024,
    [1, 1 << 30],
    "Real clients send a message in a handful of frames; each frame costs work however empty it is.",
)
.or_unlimited();
pub(in crate::config) static INFLATED_BYTES_PER_SECOND: Amount = Amount::new(
    "routes.*.limits.inflated_bytes_per_second",
    Unit::Bytes,
    32 * MIB,
    [KIB, GIB],
    "A kilobyte can inflate to a mebibyte; this much is a twentieth of a core's time, and more than clients send. One message may always come.",
)
.or_unlimited();
pub(in crate::config) static MESSAGE_TIMEOUT: Amount = Amount::new(
    "routes.*.limits.message_timeout",
    Unit::Milliseconds,
    30 * SECOND,
    PATIENCE,
    "A mebibyte arrives in 30 s at 35 KB/s; a message that takes longer is stuck or is meant to hold resources.",
)
.or_unlimited();
pub(in crate::config) static MESSAGES_PER_SECOND: Amount = Amount::unlimited(
    "routes.*.limits.messages_per_second",
    Unit::Count,
    MESSAGE_RATES,
    "How much an application takes is for it to say; a slow one slows its clients by itself.",
);
pub(in crate::config) static BYTES_PER_SECOND: Amount = Amount::unlimited(
    "routes.*.limits.bytes_per_second",
    Unit::Bytes,
    BYTE_RATES,
    "As for messages; inflated bytes have a rate of their own.",
);
pub(in crate::config) static SUBJECT_MESSAGES_PER_SECOND: Amount = Amount::unlimited(
    "routes.*.limits.messages_per_second_per_subject",
    Unit::Count,
    MESSAGE_RATES,
    "All sessions of a subject together.",
);
pub(in crate::config) static SUBJECT_BYTES_PER_SECOND: Amount = Amount::unlimited(
    "routes.*.limits.bytes_per_second_per_subject",
    Unit::Bytes,
    BYTE_RATES,
    "All sessions of a subject together.",
);
pub(in crate::config) static CLIENT_MESSAGES_PER_SECOND: Amount = Amount::unlimited(
    "routes.*.limits.messages_per_second_per_client",
    Unit::Count,
    MESSAGE_RATES,
    "All connections of a client together; many people may share an address.",
);
pub(in crate::config) static CLIENT_BYTES_PER_SECOND: Amount = Amount::unlimited(
    "routes.*.limits.bytes_per_second_per_client",
    Unit::Bytes,
    BYTE_RATES,
    "All connections of a client together; many people may share an address.",
);
pub(in crate::config) static IDLE_TIMEOUT: Amount = Amount::unlimited(
    "routes.*.limits.idle_timeout",
    Unit::Milliseconds,
    PATIENCE,
    "Many applications are silent for hours and mean it; a peer that is gone is found by its pings.",
);
pub(in crate::config) static SESSION_TIME_MAX: Amount = Amount::unlimited(
    "routes.*.limits.session_time_max",
    Unit::Milliseconds,
    PATIENCE,
    "A token ends the sessions that authenticate; how long the others may last is the application's to say.",
);
pub(in crate::config) static PING_INTERVAL: Amount = Amount::new(
    "routes.*.limits.ping_interval",
    Unit::Milliseconds,
    20 * SECOND,
    PATIENCE,
    "Home routers and load balancers forget a quiet connection after 30 to 60 s.",
)
.or_unlimited();
pub(in crate::config) static PONG_TIMEOUT: Amount = Amount::new(
    "routes.*.limits.pong_timeout",
    Unit::Milliseconds,
    10 * SECOND,
    PATIENCE,
    "With the ping interval, a peer that is gone is noticed within 30 s; a phone that changes networks has time to.",
)
.or_unlimited();
pub(in crate::config) static STALL_TIMEOUT: Amount = Amount::new(
    "routes.*.limits.stall_timeout",
    Unit::Milliseconds,
    15 * SECOND,
    PATIENCE,
    "Counts only time without any progress; a peer that reads nothing for so long keeps memory that others need.",
)
.or_unlimited();
pub(in crate::config) static CLOSE_TIMEOUT: Amount = Amount::new(
    "routes.*.limits.close_timeout",
    Unit::Milliseconds,
    5 * SECOND,
    DEADLINE,
    "A Close is answered at once by every library; who does not answer is not waited for.",
);
pub(in crate::config) static REFUSALS_MAX: Amount = Amount::new(
    "routes.*.inspect.refusals_max",
    Unit::Count,
    crate::inspect::REFUSALS_MAX as u64,
    [1, 1_000_000],
    "In a minute, of one connection. Some slips are a person's or a new version's; more are a fault, or somebody who tries what passes.",
)
.or_unlimited();
pub(in crate::config) static REPLIES_REFUSALS_MAX: Amount = Amount::new(
    "routes.*.inspect_replies.refusals_max",
    Unit::Count,
    crate::inspect::REFUSALS_MAX as u64,
    [1, 1_000_000],
    "In a minute, of one connection. A client that misses that many answers is better told that its application is at fault.",
)
.or_unlimited();
pub(in crate::config) static JSON_DEPTH_MAX: Amount = Amount::new(
    "routes.*.json.depth_max",
    Unit::Count,
    crate::json::DEPTH_MAX as u64,
    [1, 128],
    "Documents that people design are some levels deep; readers that recurse break at a few thousand.",
);
pub(in crate::config) static JSON_NUMBER_DIGITS_MAX: Amount = Amount::new(
    "routes.*.json.number_digits_max",
    Unit::Count,
    crate::json::NUMBER_DIGITS_MAX as u64,
    [1, 300],
    "A double has 17 digits that mean something and an exponent of three; some readers take the square of the time for more.",
);
pub(in crate::config) static JSON_VALUES_MAX: Amount = Amount::new(
    "routes.*.json.values_max",
    Unit::Count,
    crate::json::Limits::VALUES_MAX as u64,
    [1, 1 << 30],
    "A message of 64 KiB can hold 32,000 numbers of one digit, and each costs its reader a hundred bytes and more.",
);
pub(in crate::config) static JSON_MEMBERS_MAX: Amount = Amount::new(
    "routes.*.json.members_max",
    Unit::Count,
    crate::json::Limits::MEMBERS_MAX as u64,
    [1, 1 << 30],
    "Of one object. Names are a design's and not data; tables of many keys are what attacks on hashing need.",
);

/// The slowest and the fastest that messages can be told to come.
const MESSAGE_RATES: [u64; 2] = [1, 1_000_000];
/// The same for their bytes, up to what a nanosecond can be told from.
const BYTE_RATES: [u64; 2] = [1024, 256 * MIB];
/// Bounds of what may be unlimited: short enough for tests, long enough that more is the same as no limit.
const PATIENCE: [u64; 2] = [10, 7 * DAY];
