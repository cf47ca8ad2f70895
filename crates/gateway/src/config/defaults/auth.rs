//! How long credentials and keys are good for, and how many may be guessed: `auth`. Read in `auth.rs` and `keys.rs`.

use super::{Amount, DAY, DEADLINE, HOUR, SECOND, Unit};

pub(in crate::config) static FIRST_MESSAGE_TIMEOUT: Amount = Amount::new(
    "auth.*.first_message_timeout",
    Unit::Milliseconds,
    5 * SECOND,
    DEADLINE,
    "The client has its token before it connects; until it is verified the connection is nobody's.",
);
pub(in crate::config) static TOKEN_LIFETIME_MAX: Amount = Amount::new(
    "auth.*.token_lifetime_max",
    Unit::Milliseconds,
    DAY,
    [SECOND, 3650 * DAY],
    "A stolen token ends within a day, and a revocation has to be remembered no longer.",
)
.or_unlimited();
pub(in crate::config) static LEEWAY: Amount = Amount::new(
    "auth.*.leeway",
    Unit::Milliseconds,
    30 * SECOND,
    [0, 30 * SECOND],
    "Clocks kept by NTP differ by far less; every second of leeway is a second that an expired token lives on.",
);
pub(in crate::config) static FAILURES_PER_CLIENT_PER_MINUTE: Amount = Amount::new(
    "auth.*.failures_per_client_per_minute",
    Unit::Count,
    30,
    [1, 1 << 30],
    "A client with a bad token that tries again every two seconds is a fault; one that does so faster guesses.",
)
.or_unlimited();
pub(in crate::config) static FAILURES_PER_SUBJECT_PER_MINUTE: Amount = Amount::new(
    "auth.*.failures_per_subject_per_minute",
    Unit::Count,
    100,
    [1, 1 << 30],
    "Some programs of one user that go on with a bad token are a fault; more, from however many addresses, are somebody's guesses. Good \
     tokens of that subject are let in all the same, since anybody can name any.",
)
.or_unlimited();
pub(in crate::config) static KEYS_REFRESH_INTERVAL: Amount = Amount::new(
    "auth.*.keys.refresh_interval",
    Unit::Milliseconds,
    300 * SECOND,
    [SECOND, DAY],
    "A key that an issuer withdraws is out of use within minutes; one request in that time is nothing to any issuer.",
);
pub(in crate::config) static KEYS_STALE_MAX: Amount = Amount::new(
    "auth.*.keys.stale_max",
    Unit::Milliseconds,
    HOUR,
    [2 * SECOND, 30 * DAY],
    "An issuer may be away for a while without anybody noticing; whoever cuts it off does not keep a withdrawn key in use for \
     longer.",
);
pub(in crate::config) static SESSIONS_PER_SUBJECT_MAX: Amount = Amount::unlimited(
    "auth.*.sessions_per_subject_max",
    Unit::Count,
    [1, 1 << 30],
    "How many tabs and devices a user has, on each route, is the application's to say.",
);
pub(in crate::config) static EXPIRY_WARNING: Amount = Amount::new(
    "auth.*.expiry_warning",
    Unit::Milliseconds,
    60 * SECOND,
    [SECOND, DAY],
    "Time enough to get another token. Clients are told only on routes with `notice = \"json\"`.",
)
.or_unlimited();
