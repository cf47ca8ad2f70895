//! Every default and bound of the configuration, each with its reason: the only copy of these numbers that the
//! readers beside it use, and the source of docs/defaults.md (`page.rs`).
//!
//! Decides nothing itself: `amount.rs` holds what was written against these bounds. A test keeps
//! `limits::Limits::default()`, which the library has for programs without a file, equal to the table.

mod admin;

pub(super) use self::admin::{ADMIN, ADMIN_HOSTS, ADMIN_TLS, ADMIN_TOKENS};
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

/// A setting that is no number: its default, and why.
#[derive(Debug)]
pub(super) struct Word {
    /// The key path with `*` for names.
    pub(super) key: &'static str,
    /// The default as a configuration writes it, or what its absence means.
    pub(super) default: &'static str,
    /// What may be written.
    pub(super) allowed: &'static str,
    /// Why the default is what it is.
    pub(super) reason: &'static str,
}

impl Word {
    /// The name within its table.
    pub(super) fn name(&self) -> &'static str {
        last_segment(self.key)
    }

    /// Whether the default is written as TOML; the others say what absence means.
    pub(super) fn is_toml(&self) -> bool {
        self.default.starts_with(['"', '[']) || self.default == "true"
    }

    /// The default without its quotes, where it is a choice of words.
    pub(super) fn choice(&self) -> &'static str {
        self.default.trim_matches('"')
    }
}

/// A setting without a default: what to write, and why nothing is assumed.
#[derive(Debug)]
pub(super) struct Required {
    /// The key path with `*` for names.
    pub(super) key: &'static str,
    /// What may be written.
    pub(super) allowed: &'static str,
    /// Why there is no default.
    pub(super) reason: &'static str,
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
    "48 KiB is set aside for each compressed connection, of which idle ones use nothing; some 5,000 fit, more go uncompressed.",
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
    "Messages pass in chunks, so size costs no memory here; a mebibyte is what backends commonly accept.",
)
.or_unlimited();
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

/// Every [`Amount`], in the order of docs/defaults.md.
pub(super) static AMOUNTS: [&Amount; 36] = [
    &WORKERS,
    &DRAIN_TIMEOUT,
    &CONNECTIONS_MAX,
    &UNAUTHENTICATED_MAX,
    &BUFFERS_BYTES_MAX,
    &COMPRESSION_BYTES_MAX,
    &TLS_HANDSHAKES_MAX,
    &TLS_TIMEOUT,
    &HEAD_TIMEOUT,
    &PROXY_HEADER_TIMEOUT,
    &MESSAGE_BYTES_MAX,
    &MESSAGE_FRAGMENTS_MAX,
    &INFLATED_BYTES_PER_SECOND,
    &MESSAGE_TIMEOUT,
    &IDLE_TIMEOUT,
    &SESSION_TIME_MAX,
    &PING_INTERVAL,
    &PONG_TIMEOUT,
    &STALL_TIMEOUT,
    &CLOSE_TIMEOUT,
    &CONNECT_TIMEOUT,
    &ANSWER_TIMEOUT,
    &FIRST_MESSAGE_TIMEOUT,
    &TOKEN_LIFETIME_MAX,
    &LEEWAY,
    &FAILURES_PER_CLIENT_PER_MINUTE,
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

pub(super) static LISTENER_REQUIRED: Word = Word {
    key: "listeners.*.required",
    default: "true",
    allowed: "true, false",
    reason: "A gateway that serves half of its addresses looks healthy; where an address family may be missing, say so.",
};
pub(super) static PROXY_PROTOCOL: Word = Word {
    key: "listeners.*.proxy_protocol",
    default: "connections begin with TLS or HTTP",
    allowed: "\"v1\", \"v2\", \"any\"",
    reason: "With it every connection must begin with a PROXY header, and only trusted_proxies may connect: there is no guessing.",
};
pub(super) static CLIENT_CA_FILE: Word = Word {
    key: "listeners.*.tls.client_ca_file",
    default: "clients are not asked for a certificate",
    allowed: "a PEM file, relative to the configuration's folder",
    reason: "Few clients have a certificate; those who demand one know whose.",
};
pub(super) static CLIENT_AUTH: Word = Word {
    key: "listeners.*.tls.client_auth",
    default: "required, with client_ca_file",
    allowed: "\"required\", \"optional\"",
    reason: "Who names authorities means to let nobody else in.",
};
pub(super) static HOSTS: Word = Word {
    key: "routes.*.hosts",
    default: "any host",
    allowed: "a list of host names, without ports",
    reason: "One application behind one gateway needs no list; path and origins are checked all the same.",
};
pub(super) static NOTICE: Word = Word {
    key: "routes.*.notice",
    default: "\"close\"",
    allowed: "\"close\", \"json\", \"text\"",
    reason: "The close code and reason are always sent; messages that the application did not define could confuse it.",
};
pub(super) static REFUSE: Word = Word {
    key: "routes.*.refuse",
    default: "\"http\"",
    allowed: "\"http\" or \"close\"",
    reason: "A refusal is an HTTP status, as RFC 6455 has it; browsers keep it from scripts, which \"close\" tells by code.",
};
pub(super) static ECHO_PREFIX: Word = Word {
    key: "routes.*.backend.echo.prefix",
    default: "\"\"",
    allowed: "a string of at most 1024 bytes",
    reason: "An echo is verbatim unless it is told otherwise.",
};
pub(super) static COMPRESSION: Word = Word {
    key: "routes.*.limits.compression",
    default: "\"off\"",
    allowed: "\"off\", \"on\"",
    reason: "Compression costs memory for each connection and can leak secrets that share a message with foreign text.",
};
pub(super) static TOKEN_TYPES: Word = Word {
    key: "auth.*.token_types",
    default: "absent, JWT or at+jwt",
    allowed: "a list of what `typ` must be one of, such as [\"at+jwt\"]",
    reason: "Most issuers write `JWT` or nothing. Where an ID token has the same audience as an access token, demand a type \
             that it has not.",
};
pub(super) static SUBJECT_CLAIMS: Word = Word {
    key: "auth.*.subject_claims",
    default: "[\"sub\"]",
    allowed: "a list of claim names",
    reason: "RFC 7519 §4.1.2 names the subject `sub`.",
};
pub(super) static SESSIONS_AT_LIMIT: Word = Word {
    key: "auth.*.sessions_at_limit",
    default: "\"refuse\"",
    allowed: "\"refuse\", \"end_oldest\"",
    reason: "Nobody who has got hold of a token ends the sessions of its owner.",
};
pub(super) static REFRESH: Word = Word {
    key: "auth.*.refresh",
    default: "\"off\"",
    allowed: "\"off\", \"on\"",
    reason: "Without it every text is the application's; with it one that begins `drawgate.refresh ` is ours.",
};
pub(super) static ALLOW: Word = Word {
    key: "firewall.allow",
    default: "every address",
    allowed: "a list of networks, `[\"192.0.2.0/24\", \"2001:db8::/32\"]`",
    reason: "Who is not known cannot be listed; where all clients are, a list keeps out everybody else.",
};
pub(super) static DENY: Word = Word {
    key: "firewall.deny",
    default: "no address",
    allowed: "a list of networks; the longest that matches counts, and deny on a tie",
    reason: "Nobody is kept out unless somebody said so.",
};
pub(super) static TRUSTED_PROXIES: Word = Word {
    key: "firewall.trusted_proxies",
    default: "[]",
    allowed: "a list of networks such as [\"10.0.0.0/8\", \"2001:db8::/32\"]",
    reason: "Who is trusted can be any client that it likes, past every limit and ban.",
};
pub(super) static CLIENT_ADDRESS_HEADER: Word = Word {
    key: "firewall.client_address_header",
    default: "\"none\"",
    allowed: "\"none\", \"forwarded\", \"x_forwarded_for\"",
    reason: "A proxy passes on, as clients wrote it, the header that it does not set: only the operator knows which one that is.",
};
pub(super) static LOG_LEVEL: Word = Word {
    key: "log.level",
    default: "\"info\"",
    allowed: "\"error\", \"warn\", \"info\", \"debug\", \"trace\"",
    reason: "One record when a connection opens and one when it ends; never one a message.",
};
pub(super) static LOG_FORMAT: Word = Word {
    key: "log.format",
    default: "\"json\"",
    allowed: "\"json\", \"text\"",
    reason: "Fields stay apart whatever a peer sends, and every log system reads it.",
};
pub(super) static ERROR_FILE: Word = Word {
    key: "log.error_file",
    default: "no file",
    allowed: "{ path = \"…\", bytes_max = \"…\", files_max = … }",
    reason: "Writing to disk is for the operator to ask for; the same records are in the log.",
};
pub(super) static STATE: Word = Word {
    key: "state",
    default: "nothing outlives the process",
    allowed: "a table with `store`",
    reason: "Writing to disk is for the operator to ask for. Without it a restart forgets revocations and bans.",
};
pub(super) static STATE_DIRECTORY: Word = Word {
    key: "state.directory",
    default: "`drawgate-data`",
    allowed: "a folder, relative to the configuration's",
    reason: "Beside the configuration it is found again. It is made where it is missing, for this user alone.",
};
/// Every [`Word`], in the order of docs/defaults.md.
pub(super) static WORDS: [&Word; 26] = [
    &LISTENER_REQUIRED,
    &PROXY_PROTOCOL,
    &CLIENT_CA_FILE,
    &CLIENT_AUTH,
    &HOSTS,
    &NOTICE,
    &REFUSE,
    &ECHO_PREFIX,
    &COMPRESSION,
    &TOKEN_TYPES,
    &SUBJECT_CLAIMS,
    &SESSIONS_AT_LIMIT,
    &REFRESH,
    &ALLOW,
    &DENY,
    &TRUSTED_PROXIES,
    &CLIENT_ADDRESS_HEADER,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &ERROR_FILE,
    &STATE,
    &STATE_DIRECTORY,
    &ADMIN,
    &ADMIN_TLS,
    &ADMIN_HOSTS,
    &ADMIN_TOKENS,
];

/// What must be written out, in the order of docs/defaults.md.
pub(super) static REQUIRED: [Required; 21] = [
    Required {
        key: "listeners",
        allowed: "at least one table [listeners.NAME]",
        reason: "Without one there is nothing to connect to.",
    },
    Required {
        key: "routes",
        allowed: "at least one table [routes.NAME]",
        reason: "Without one every request is refused.",
    },
    Required {
        key: "listeners.*.address",
        allowed: "an IP address and a port: \"127.0.0.1:8765\", \"[::1]:8765\"",
        reason: "Who can reach the gateway is the first security choice.",
    },
    Required {
        key: "listeners.*.tls",
        allowed: "\"none\", or { certificate_file = \"…\", private_key_file = \"…\" }",
        reason: "Unencrypted traffic must be somebody's decision.",
    },
    Required {
        key: "listeners.*.tls.certificate_file",
        allowed: "a PEM file, relative to the configuration's folder",
        reason: "Clients know the gateway by it.",
    },
    Required {
        key: "listeners.*.tls.private_key_file",
        allowed: "the PEM file of the certificate's key",
        reason: "Without its key a certificate proves nothing.",
    },
    Required {
        key: "routes.*.listeners",
        allowed: "a list of names of [listeners.NAME] tables",
        reason: "A route must not appear on a listener that is added later.",
    },
    Required {
        key: "routes.*.path",
        allowed: "a path \"/chat\", or \"/chat/*\" for all below it",
        reason: "What a route takes decides who reaches its backend.",
    },
    Required {
        key: "routes.*.origins",
        allowed: "\"any\", \"same\", or a list such as [\"https://app.example.com\"]",
        reason: "Which web pages may connect is a security choice (RFC 6455 §10.2).",
    },
    Required {
        key: "routes.*.auth",
        allowed: "the name of an [auth.NAME] table, or \"none\"",
        reason: "An open route must be somebody's decision.",
    },
    Required {
        key: "routes.*.backend",
        allowed: "{ urls = [\"ws://127.0.0.1:9000\"] }, \"echo\", or { echo = { prefix = \"…\" } }",
        reason: "Messages must go somewhere.",
    },
    Required {
        key: "auth.*.credentials",
        allowed: "[\"first_message\"], or { client_certificate = \"subject\" } in the list",
        reason: "Each place that a credential is taken from is a door.",
    },
    Required {
        key: "auth.*.algorithms",
        allowed: "a list such as [\"ES256\"]: HS256, HS384, HS512 with a secret; RS256, RS384, RS512, PS256, PS384, PS512, \
                  ES256, ES384, EdDSA (or Ed25519, the same) with public keys",
        reason: "A token's own header must not choose how it is checked.",
    },
    Required {
        key: "auth.*.keys",
        allowed: "one of { secret_file = \"…\" }, { public_key_file = \"…\" }, { jwks_file = \"…\" }, { jwks_url = \"…\" } and \
                  { issuer_discovery = true }",
        reason: "There is no built-in key anywhere.",
    },
    Required {
        key: "auth.*.issuer",
        allowed: "what `iss` must be, or \"any\"",
        reason: "A key may sign for several issuers; accepting all of them must be somebody's decision.",
    },
    Required {
        key: "auth.*.audience",
        allowed: "what `aud` must be or contain, or \"any\"",
        reason: "A token for another service must not open this one by oversight.",
    },
    Required {
        key: "log.error_file.path",
        allowed: "a file, relative to the configuration's folder",
        reason: "A file needs a name.",
    },
    Required {
        key: "state.store",
        allowed: "\"embedded\", or \"none\"",
        reason: "Whether a revocation outlives a restart must be somebody's decision.",
    },
    Required {
        key: "admin.address",
        allowed: "a loopback address and a port: \"127.0.0.1:9090\"; another one with admin.tls",
        reason: "Metrics and health are not for everyone.",
    },
    Required {
        key: "admin.tokens.*.file",
        allowed: "a file of at least 32 bytes, relative to the configuration's folder",
        reason: "A token never stands in a configuration.",
    },
    Required {
        key: "admin.tokens.*.scopes",
        allowed: "a list of \"read\", \"operate\", \"tickets\"",
        reason: "What a token opens must be somebody's decision.",
    },
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
