//! Every default and bound of the configuration, each with its reason: the only copy of these numbers that the
//! readers beside it use, and the source of docs/defaults.md (`page.rs`).
//!
//! Decides nothing itself: `amount.rs` holds what was written against these bounds. A test keeps
//! `limits::Limits::default()`, which the library has for programs without a file, equal to the table.

mod admin;
mod overload;
mod words;

pub(super) use self::admin::{ADMIN, ADMIN_HOSTS, ADMIN_TLS, ADMIN_TOKENS};
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

/// How long a ban may last that nobody made.
const DEADLINE_OF_BAN: [u64; 2] = [100, 30 * DAY];
/// The slowest and the fastest that messages can be told to come.
const MESSAGE_RATES: [u64; 2] = [1, 1_000_000];
/// The same for their bytes, up to what a nanosecond can be told from.
const BYTE_RATES: [u64; 2] = [1024, 256 * MIB];
/// Bounds of what may be unlimited: short enough for tests, long enough that more is the same as no limit.
const PATIENCE: [u64; 2] = [10, 7 * DAY];
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
pub(super) static MESSAGE_BYTES_MAX: Amount = Amount::new(
    "routes.*.limits.message_bytes_max",
    Unit::Bytes,
    MIB,
    [1, GIB],
    "Messages pass in chunks, so size costs no memory here; a mebibyte is what backends commonly accept. Where messages are inspected each is held whole: then it is 64 KiB, at most 16 MiB, and never unlimited.",
)
.or_unlimited();
/// The same setting where messages are inspected; docs/defaults.md says it in one row.
pub(super) static WHOLE_MESSAGE_BYTES_MAX: Amount = Amount::new(
    MESSAGE_BYTES_MAX.key,
    Unit::Bytes,
    64 * KIB,
    [1, 16 * MIB],
    "Each message is held whole while it comes.",
);
pub(super) static MESSAGE_FRAGMENTS_MAX: Amount = Amount::new(
    "routes.*.limits.message_fragments_max",
    Unit::Count,
    1024,
    [1, 1 << 30],
    "Real clients send a message in a handful of frames; each frame costs work however empty it is.",
)
.or_unlimited();
pub(super) static INFLATED_BYTES_PER_SECOND: Amount = Amount::new(
    "routes.*.limits.inflated_bytes_per_second",
    Unit::Bytes,
    32 * MIB,
    [KIB, GIB],
    "A kilobyte can inflate to a mebibyte; this much is a twentieth of a core's time, and more than clients send. One message may always come.",
)
.or_unlimited();
pub(super) static MESSAGE_TIMEOUT: Amount = Amount::new(
    "routes.*.limits.message_timeout",
    Unit::Milliseconds,
    30 * SECOND,
    PATIENCE,
    "A mebibyte arrives in 30 s at 35 KB/s; a message that takes longer is stuck or is meant to hold resources.",
)
.or_unlimited();
pub(super) static MESSAGES_PER_SECOND: Amount = Amount::unlimited(
    "routes.*.limits.messages_per_second",
    Unit::Count,
    MESSAGE_RATES,
    "How much an application takes is for it to say; a slow one slows its clients by itself.",
);
pub(super) static BYTES_PER_SECOND: Amount = Amount::unlimited(
    "routes.*.limits.bytes_per_second",
    Unit::Bytes,
    BYTE_RATES,
    "As for messages; inflated bytes have a rate of their own.",
);
pub(super) static SUBJECT_MESSAGES_PER_SECOND: Amount = Amount::unlimited(
    "routes.*.limits.messages_per_second_per_subject",
    Unit::Count,
    MESSAGE_RATES,
    "All sessions of a subject together.",
);
pub(super) static SUBJECT_BYTES_PER_SECOND: Amount = Amount::unlimited(
    "routes.*.limits.bytes_per_second_per_subject",
    Unit::Bytes,
    BYTE_RATES,
    "All sessions of a subject together.",
);
pub(super) static CLIENT_MESSAGES_PER_SECOND: Amount = Amount::unlimited(
    "routes.*.limits.messages_per_second_per_client",
    Unit::Count,
    MESSAGE_RATES,
    "All connections of a client together; many people may share an address.",
);
pub(super) static CLIENT_BYTES_PER_SECOND: Amount = Amount::unlimited(
    "routes.*.limits.bytes_per_second_per_client",
    Unit::Bytes,
    BYTE_RATES,
    "All connections of a client together; many people may share an address.",
);
pub(super) static IDLE_TIMEOUT: Amount = Amount::unlimited(
    "routes.*.limits.idle_timeout",
    Unit::Milliseconds,
    PATIENCE,
    "Many applications are silent for hours and mean it; a peer that is gone is found by its pings.",
);
pub(super) static SESSION_TIME_MAX: Amount = Amount::unlimited(
    "routes.*.limits.session_time_max",
    Unit::Milliseconds,
    PATIENCE,
    "A token ends the sessions that authenticate; how long the others may last is the application's to say.",
);
pub(super) static PING_INTERVAL: Amount = Amount::new(
    "routes.*.limits.ping_interval",
    Unit::Milliseconds,
    20 * SECOND,
    PATIENCE,
    "Home routers and load balancers forget a quiet connection after 30 to 60 s.",
)
.or_unlimited();
pub(super) static PONG_TIMEOUT: Amount = Amount::new(
    "routes.*.limits.pong_timeout",
    Unit::Milliseconds,
    10 * SECOND,
    PATIENCE,
    "With the ping interval, a peer that is gone is noticed within 30 s; a phone that changes networks has time to.",
)
.or_unlimited();
pub(super) static STALL_TIMEOUT: Amount = Amount::new(
    "routes.*.limits.stall_timeout",
    Unit::Milliseconds,
    15 * SECOND,
    PATIENCE,
    "Counts only time without any progress; a peer that reads nothing for so long keeps memory that others need.",
)
.or_unlimited();
pub(super) static CLOSE_TIMEOUT: Amount = Amount::new(
    "routes.*.limits.close_timeout",
    Unit::Milliseconds,
    5 * SECOND,
    DEADLINE,
    "A Close is answered at once by every library; who does not answer is not waited for.",
);
pub(super) static BAN_PER_MINUTE: Amount = Amount::new(
    "firewall.automatic_bans.per_minute.*",
    Unit::Count,
    30,
    [1, 100_000],
    "Which refusals are somebody's attack and which are a fault of theirs differs; each that is named must say how many.",
);
pub(super) static BAN_FIRST: Amount = Amount::new(
    "firewall.automatic_bans.first",
    Unit::Milliseconds,
    60 * SECOND,
    DEADLINE_OF_BAN,
    "Long enough that guessing does not pay, short enough for somebody who made a mistake.",
);
pub(super) static BAN_LONGEST: Amount = Amount::new(
    "firewall.automatic_bans.longest",
    Unit::Milliseconds,
    60 * 60 * SECOND,
    DEADLINE_OF_BAN,
    "Addresses change hands; for longer an operator bans, or fail2ban.",
);
pub(super) static AUDIT_BYTES_MAX: Amount = Amount::new(
    "audit.bytes_max",
    Unit::Bytes,
    100 * MIB,
    [4 * KIB, 1024 * 1024 * MIB],
    "Some 300,000 lines; full files stay, and are the operator's to keep elsewhere.",
);
pub(super) static UPSTREAM_FAILURES_MAX: Amount = Amount::new(
    "routes.*.backend.failures_max",
    Unit::Count,
    5,
    [1, 1000],
    "One failure is an accident. Of one application alone nothing is made of it: there is no other to go to.",
)
.or_unlimited();
pub(super) static DIALS_MAX: Amount = Amount::new(
    "routes.*.backend.dials_max",
    Unit::Count,
    256,
    [1, 1_000_000],
    "When thousands come back at once, more at a time would only wait in the application's backlog.",
);
pub(super) static CHECK_INTERVAL: Amount = Amount::new(
    "routes.*.backend.health.interval",
    Unit::Milliseconds,
    5 * SECOND,
    DEADLINE,
    "With the other defaults of health, one that has stopped is found within 20 s; a check costs an application less than a client does.",
);
pub(super) static CHECK_TIMEOUT: Amount = Amount::new(
    "routes.*.backend.health.timeout",
    Unit::Milliseconds,
    2 * SECOND,
    DEADLINE,
    "Who says that it is well looks nothing up; one that takes longer makes its clients wait as well.",
);
pub(super) static CHECK_FAILURES_MAX: Amount = Amount::new(
    "routes.*.backend.health.failures_max",
    Unit::Count,
    3,
    [1, 1000],
    "One failure is an accident, and two come with a restart.",
);
pub(super) static CHECK_SUCCESSES_MIN: Amount = Amount::new(
    "routes.*.backend.health.successes_min",
    Unit::Count,
    2,
    [1, 1000],
    "Who has just come back and goes again is not sent everybody in between.",
);
pub(super) static UPSTREAM_WEIGHT: Amount = Amount::new(
    "routes.*.backend.urls.*.weight",
    Unit::Count,
    1,
    [1, 1000],
    "Each application gets as much as any other.",
);
pub(super) static UPSTREAM_CONNECTIONS_MAX: Amount = Amount::unlimited(
    "routes.*.backend.urls.*.connections_max",
    Unit::Count,
    [1, 10_000_000],
    "How many an application can have is for it to say.",
);
pub(super) static TOTAL_TIMEOUT: Amount = Amount::new(
    "routes.*.backend.total_timeout",
    Unit::Milliseconds,
    15 * SECOND,
    DEADLINE,
    "One that is slow to connect, and another that takes its time to answer.",
);
pub(super) static CONNECT_TIMEOUT: Amount = Amount::new(
    "routes.*.backend.connect_timeout",
    Unit::Milliseconds,
    3 * SECOND,
    DEADLINE,
    "A handshake across an ocean takes a third of a second, and a lost packet one more; what takes longer will not come.",
);
pub(super) static ANSWER_TIMEOUT: Amount = Amount::new(
    "routes.*.backend.answer_timeout",
    Unit::Milliseconds,
    10 * SECOND,
    DEADLINE,
    "An application may look the user up before it answers; a client that waits longer has given up.",
);
pub(super) static FIRST_MESSAGE_TIMEOUT: Amount = Amount::new(
    "auth.*.first_message_timeout",
    Unit::Milliseconds,
    5 * SECOND,
    DEADLINE,
    "The client has its token before it connects; until it is verified the connection is nobody's.",
);
pub(super) static TOKEN_LIFETIME_MAX: Amount = Amount::new(
    "auth.*.token_lifetime_max",
    Unit::Milliseconds,
    DAY,
    [SECOND, 3650 * DAY],
    "A stolen token ends within a day, and a revocation has to be remembered no longer.",
)
.or_unlimited();
pub(super) static LEEWAY: Amount = Amount::new(
    "auth.*.leeway",
    Unit::Milliseconds,
    30 * SECOND,
    [0, 30 * SECOND],
    "Clocks kept by NTP differ by far less; every second of leeway is a second that an expired token lives on.",
);
pub(super) static FAILURES_PER_CLIENT_PER_MINUTE: Amount = Amount::new(
    "auth.*.failures_per_client_per_minute",
    Unit::Count,
    30,
    [1, 1 << 30],
    "A client with a bad token that tries again every two seconds is a fault; one that does so faster guesses.",
)
.or_unlimited();
pub(super) static FAILURES_PER_SUBJECT_PER_MINUTE: Amount = Amount::new(
    "auth.*.failures_per_subject_per_minute",
    Unit::Count,
    100,
    [1, 1 << 30],
    "Some programs of one user that go on with a bad token are a fault; more, from however many addresses, are somebody's guesses. Good \
     tokens of that subject are let in all the same, since anybody can name any.",
)
.or_unlimited();
pub(super) static KEYS_REFRESH_INTERVAL: Amount = Amount::new(
    "auth.*.keys.refresh_interval",
    Unit::Milliseconds,
    300 * SECOND,
    [SECOND, DAY],
    "A key that an issuer withdraws is out of use within minutes; one request in that time is nothing to any issuer.",
);
pub(super) static KEYS_STALE_MAX: Amount = Amount::new(
    "auth.*.keys.stale_max",
    Unit::Milliseconds,
    HOUR,
    [2 * SECOND, 30 * DAY],
    "An issuer may be away for a while without anybody noticing; whoever cuts it off does not keep a withdrawn key in use for \
     longer.",
);
pub(super) static SESSIONS_PER_SUBJECT_MAX: Amount = Amount::unlimited(
    "auth.*.sessions_per_subject_max",
    Unit::Count,
    [1, 1 << 30],
    "How many tabs and devices a user has, on each route, is the application's to say.",
);
pub(super) static EXPIRY_WARNING: Amount = Amount::new(
    "auth.*.expiry_warning",
    Unit::Milliseconds,
    60 * SECOND,
    [SECOND, DAY],
    "Time enough to get another token. Clients are told only on routes with `notice = \"json\"`.",
)
.or_unlimited();
pub(super) static CONNECTIONS_PER_CLIENT_MAX: Amount = Amount::new(
    "firewall.connections_per_client_max",
    Unit::Count,
    1000,
    [1, 1 << 30],
    "An office behind one address fits; one machine cannot take all sockets.",
)
.or_unlimited();
pub(super) static CONNECTIONS_PER_V6_48_MAX: Amount = Amount::derived(
    "firewall.connections_per_v6_48_max",
    "four times `connections_per_client_max`",
    [1, 1 << 30],
    "A subscriber may be given an IPv6 /48, which holds 65,536 of what counts as one client; a campus may share one.",
)
.or_unlimited();
pub(super) static HANDSHAKES_PER_V6_48_PER_MINUTE: Amount = Amount::derived(
    "firewall.handshakes_per_v6_48_per_minute",
    "four times `handshakes_per_client_per_minute`",
    [1, 1 << 30],
    "As above; a tenth of the rate in one burst.",
)
.or_unlimited();
pub(super) static HANDSHAKES_PER_CLIENT_PER_MINUTE: Amount = Amount::new(
    "firewall.handshakes_per_client_per_minute",
    Unit::Count,
    3000,
    [1, 1 << 30],
    "Every client of a full address may reconnect three times a minute, a tenth of the rate in one burst.",
)
.or_unlimited();
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

pub(super) static REFUSALS_MAX: Amount = Amount::new(
    "routes.*.inspect.refusals_max",
    Unit::Count,
    crate::inspect::REFUSALS_MAX as u64,
    [1, 1_000_000],
    "In a minute, of one connection. Some slips are a person's or a new version's; more are a fault, or somebody who tries what passes.",
)
.or_unlimited();
pub(super) static REPLIES_REFUSALS_MAX: Amount = Amount::new(
    "routes.*.inspect_replies.refusals_max",
    Unit::Count,
    crate::inspect::REFUSALS_MAX as u64,
    [1, 1_000_000],
    "In a minute, of one connection. A client that misses that many answers is better told that its application is at fault.",
)
.or_unlimited();

pub(super) static JSON_DEPTH_MAX: Amount = Amount::new(
    "routes.*.json.depth_max",
    Unit::Count,
    crate::json::DEPTH_MAX as u64,
    [1, 128],
    "Documents that people design are some levels deep; readers that recurse break at a few thousand.",
);
pub(super) static JSON_NUMBER_DIGITS_MAX: Amount = Amount::new(
    "routes.*.json.number_digits_max",
    Unit::Count,
    crate::json::NUMBER_DIGITS_MAX as u64,
    [1, 300],
    "A double has 17 digits that mean something and an exponent of three; some readers take the square of the time for more.",
);
pub(super) static JSON_VALUES_MAX: Amount = Amount::new(
    "routes.*.json.values_max",
    Unit::Count,
    crate::json::Limits::VALUES_MAX as u64,
    [1, 1 << 30],
    "A message of 64 KiB can hold 32,000 numbers of one digit, and each costs its reader a hundred bytes and more.",
);
pub(super) static JSON_MEMBERS_MAX: Amount = Amount::new(
    "routes.*.json.members_max",
    Unit::Count,
    crate::json::Limits::MEMBERS_MAX as u64,
    [1, 1 << 30],
    "Of one object. Names are a design's and not data; tables of many keys are what attacks on hashing need.",
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
