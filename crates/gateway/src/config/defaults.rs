//! Every default and bound of the configuration, each with its reason: the only copy of these numbers that the
//! readers beside it use, and the source of docs/defaults.md (`page.rs`). Those of the server, its listeners and its files stand here, the
//! others in a file for each part.
//!
//! Decides nothing itself: `amount.rs` holds what was written against these bounds. A test keeps
//! `limits::Limits::default()`, which the library has for programs without a file, equal to the table.

mod admin;
mod auth;
mod backend;
mod firewall;
mod limits;
mod overload;
mod words;

pub(super) use self::admin::{ADMIN, ADMIN_HOSTS, ADMIN_TLS, ADMIN_TOKENS};
pub(super) use self::auth::*;
pub(super) use self::backend::*;
pub(super) use self::firewall::*;
pub(super) use self::limits::*;
pub(super) use self::overload::*;
pub(super) use self::words::*;
use super::units::Unit;

/// A setting that is a number: its default, its bounds and why.
#[derive(Debug)]
pub(super) struct Amount {
    /// The key path with `*` for names.
    pub(super) key: &'static str,
    /// What it counts.
    pub(super) unit: Unit,
    /// What it is where it is not written; `None` is unlimited, or what `derived` says.
    pub(super) default: Option<u64>,
    /// What it depends on where it is not written, and there is no one number for that.
    pub(super) derived: Option<&'static str>,
    /// The least that may be written.
    pub(super) least: u64,
    /// The most that may be written.
    pub(super) most: u64,
    /// Whether `"unlimited"` may be written.
    pub(super) unlimited_allowed: bool,
    /// Why the default is what it is.
    pub(super) reason: &'static str,
}

impl Amount {
    /// A setting with these bounds, never unlimited.
    const fn new(key: &'static str, unit: Unit, default: u64, range: [u64; 2], reason: &'static str) -> Self {
        let [least, most] = range;
        let default = Some(default);
        Self { key, unit, default, derived: None, least, most, unlimited_allowed: false, reason }
    }

    /// A setting that is unlimited where it is not written.
    const fn unlimited(key: &'static str, unit: Unit, range: [u64; 2], reason: &'static str) -> Self {
        let [least, most] = range;
        Self { key, unit, default: None, derived: None, least, most, unlimited_allowed: true, reason }
    }

    /// A count that is what `derived` says where it is not written, never unlimited.
    const fn derived(
        key: &'static str,
        derived: &'static str,
        range: [u64; 2],
        reason: &'static str,
    ) -> Self {
        let ([least, most], unit, derived) = (range, Unit::Count, Some(derived));
        Self { key, unit, default: None, derived, least, most, unlimited_allowed: false, reason }
    }

    /// The same, and `"unlimited"` may be written.
    const fn or_unlimited(self) -> Self {
        Self { unlimited_allowed: true, ..self }
    }

    /// The name within its table.
    pub(super) fn name(&self) -> &'static str {
        last_segment(self.key)
    }

    /// The default as docs/defaults.md and a configuration say it.
    pub(super) fn default_text(&self) -> String {
        match (self.default, self.derived) {
            (Some(default), _) => self.render(default),
            (None, Some(derived)) => derived.to_owned(),
            (None, None) => "\"unlimited\"".to_owned(),
        }
    }

    /// `amount` as a configuration writes it.
    pub(super) fn render(&self, amount: u64) -> String {
        let rendered = self.unit.render(amount);
        match self.unit {
            Unit::Count => rendered.to_string(),
            Unit::Milliseconds | Unit::Bytes => format!("\"{rendered}\""),
        }
    }
}

fn last_segment(key: &'static str) -> &'static str {
    key.rsplit('.').next().unwrap_or(key)
}

/// The folder of what outlives the process.
pub(super) const STATE_DIRECTORY_DEFAULT: &str = "drawgate-data";

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Bounds of deadlines that hold a connection which is nobody's, or is over: always bounded.
const DEADLINE: [u64; 2] = [10, HOUR];

pub(super) static WORKERS: Amount = Amount::derived(
    "server.workers",
    "one a core",
    [1, 1024],
    "The work is nearly all system calls; more threads than cores only switch.",
);
pub(super) static CONNECTIONS_MAX: Amount = Amount::derived(
    "server.connections_max",
    "as many as there are descriptors, less a few",
    [1, 1 << 30],
    "Each takes a descriptor and a kibibyte; who is told `server_full` at this number is not cut later for want of memory.",
);
pub(super) static UNAUTHENTICATED_MAX: Amount = Amount::new(
    "server.unauthenticated_max",
    Unit::Count,
    10_000,
    [1, 1 << 30],
    "Each waits for its first message for five seconds at most; 2,000 a second may come and be slow.",
);
pub(super) static DRAIN_TIMEOUT: Amount = Amount::new(
    "server.drain_timeout",
    Unit::Milliseconds,
    10 * SECOND,
    DEADLINE,
    "Most messages under way are done within seconds, and service managers kill after 30 s or more.",
);
pub(super) static BUFFERS_BYTES_MAX: Amount = Amount::new(
    "server.buffers_bytes_max",
    Unit::Bytes,
    256 * MIB,
    [64 * KIB, 1024 * GIB],
    "A thousand peers that read slowly fit at 256 KiB each; beyond it the slowest are closed, before memory runs out.",
);
pub(super) static COMPRESSION_BYTES_MAX: Amount = Amount::new(
    "server.compression_bytes_max",
    Unit::Bytes,
    256 * MIB,
    [0, 1024 * GIB],
    "48 KiB is set aside for each compressed side of a connection, of which idle ones use nothing; some 5,000 fit, more go uncompressed.",
);
pub(super) static TLS_HANDSHAKES_MAX: Amount = Amount::new(
    "server.tls_handshakes_max",
    Unit::Count,
    2000,
    [1, 1 << 30],
    "Some 1,000 a second fit on a core, and each takes a round trip or two; clients that stay silent hold places, three of full rate fit.",
);
pub(super) static TLS_TIMEOUT: Amount = Amount::new(
    "listeners.*.tls_timeout",
    Unit::Milliseconds,
    5 * SECOND,
    DEADLINE,
    "A handshake is two round trips; five seconds forgive lost packets and end those who send half of one.",
);
pub(super) static HEAD_TIMEOUT: Amount = Amount::new(
    "listeners.*.head_timeout",
    Unit::Milliseconds,
    5 * SECOND,
    DEADLINE,
    "A request head is one packet or a few; five seconds forgive lost packets and end those who trickle bytes.",
);
pub(super) static PROXY_HEADER_TIMEOUT: Amount = Amount::new(
    "listeners.*.proxy_header_timeout",
    Unit::Milliseconds,
    3 * SECOND,
    DEADLINE,
    "A proxy sends it with the first packet; three seconds are what the protocol's own text has for one that was lost.",
);
pub(super) static AUDIT_BYTES_MAX: Amount = Amount::new(
    "audit.bytes_max",
    Unit::Bytes,
    100 * MIB,
    [4 * KIB, 1024 * 1024 * MIB],
    "Some 300,000 lines; full files stay, and are the operator's to keep elsewhere.",
);
pub(super) static ERROR_FILE_BYTES_MAX: Amount = Amount::new(
    "log.error_file.bytes_max",
    Unit::Bytes,
    10 * MIB,
    [4 * KIB, 1024 * GIB],
    "Some 20,000 records: days of a calm server, and a file that an editor still opens.",
);
pub(super) static ERROR_FILE_FILES_MAX: Amount = Amount::new(
    "log.error_file.files_max",
    Unit::Count,
    5,
    [1, 1000],
    "With the size it bounds the disk at 50 MiB, whatever peers do.",
);

/// Every [`Amount`], in the order of docs/defaults.md.
pub(super) static AMOUNTS: [&Amount; 66] = [
    &WORKERS,
    &DRAIN_TIMEOUT,
    &CONNECTIONS_MAX,
    &UNAUTHENTICATED_MAX,
    &BUFFERS_BYTES_MAX,
    &COMPRESSION_BYTES_MAX,
    &TLS_HANDSHAKES_MAX,
    &OVERLOAD_MEMORY_MAX,
    &OVERLOAD_MEMORY_REFUSE_PERCENT,
    &OVERLOAD_MEMORY_SHED_PERCENT,
    &OVERLOAD_DESCRIPTORS_REFUSE_PERCENT,
    &OVERLOAD_DELAY_MAX,
    &TLS_TIMEOUT,
    &HEAD_TIMEOUT,
    &PROXY_HEADER_TIMEOUT,
    &MESSAGE_BYTES_MAX,
    &MESSAGE_FRAGMENTS_MAX,
    &INFLATED_BYTES_PER_SECOND,
    &MESSAGE_TIMEOUT,
    &MESSAGES_PER_SECOND,
    &BYTES_PER_SECOND,
    &SUBJECT_MESSAGES_PER_SECOND,
    &SUBJECT_BYTES_PER_SECOND,
    &CLIENT_MESSAGES_PER_SECOND,
    &CLIENT_BYTES_PER_SECOND,
    &IDLE_TIMEOUT,
    &SESSION_TIME_MAX,
    &PING_INTERVAL,
    &PONG_TIMEOUT,
    &STALL_TIMEOUT,
    &CLOSE_TIMEOUT,
    &REFUSALS_MAX,
    &REPLIES_REFUSALS_MAX,
    &JSON_DEPTH_MAX,
    &JSON_NUMBER_DIGITS_MAX,
    &JSON_VALUES_MAX,
    &JSON_MEMBERS_MAX,
    &BAN_FIRST,
    &BAN_LONGEST,
    &AUDIT_BYTES_MAX,
    &UPSTREAM_FAILURES_MAX,
    &DIALS_MAX,
    &CHECK_INTERVAL,
    &CHECK_TIMEOUT,
    &CHECK_FAILURES_MAX,
    &CHECK_SUCCESSES_MIN,
    &UPSTREAM_WEIGHT,
    &UPSTREAM_CONNECTIONS_MAX,
    &TOTAL_TIMEOUT,
    &CONNECT_TIMEOUT,
    &ANSWER_TIMEOUT,
    &FIRST_MESSAGE_TIMEOUT,
    &TOKEN_LIFETIME_MAX,
    &LEEWAY,
    &FAILURES_PER_CLIENT_PER_MINUTE,
    &FAILURES_PER_SUBJECT_PER_MINUTE,
    &KEYS_REFRESH_INTERVAL,
    &KEYS_STALE_MAX,
    &SESSIONS_PER_SUBJECT_MAX,
    &EXPIRY_WARNING,
    &CONNECTIONS_PER_CLIENT_MAX,
    &CONNECTIONS_PER_V6_48_MAX,
    &HANDSHAKES_PER_CLIENT_PER_MINUTE,
    &HANDSHAKES_PER_V6_48_PER_MINUTE,
    &ERROR_FILE_BYTES_MAX,
    &ERROR_FILE_FILES_MAX,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_lies_within_its_bounds() {
        for amount in AMOUNTS {
            assert!(amount.least <= amount.most, "{}", amount.key);
            let default = amount.default.unwrap_or(amount.least);
            assert!((amount.least..=amount.most).contains(&default), "{}", amount.key);
            if amount.unit == Unit::Count {
                assert!(u32::try_from(amount.most).is_ok(), "{} is kept in 32 bits", amount.key);
            }
        }
    }

    #[test]
    fn every_key_has_one_default_or_none() {
        let mut keys: Vec<_> = AMOUNTS.iter().map(|amount| amount.key).collect();
        keys.extend(WORDS.iter().map(|word| word.key));
        keys.extend(REQUIRED.iter().map(|required| required.key));
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}
