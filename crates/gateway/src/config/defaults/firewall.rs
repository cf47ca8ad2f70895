//! What one client may have, and how long it is kept out: `firewall`. Read in `operations.rs`.

use super::{Amount, DAY, SECOND, Unit};

pub(in crate::config) static BAN_PER_MINUTE: Amount = Amount::new(
    "firewall.automatic_bans.per_minute.*",
    Unit::Count,
    30,
    [1, 100_000],
    "Which refusals are somebody's attack and which are a fault of theirs differs; each that is named must say how many.",
);
pub(in crate::config) static BAN_FIRST: Amount = Amount::new(
    "firewall.automatic_bans.first",
    Unit::Milliseconds,
    60 * SECOND,
    DEADLINE_OF_BAN,
    "Long enough that guessing does not pay, short enough for somebody who made a mistake.",
);
pub(in crate::config) static BAN_LONGEST: Amount = Amount::new(
    "firewall.automatic_bans.longest",
    Unit::Milliseconds,
    60 * 60 * SECOND,
    DEADLINE_OF_BAN,
    "Addresses change hands; for longer an operator bans, or fail2ban.",
);
pub(in crate::config) static CONNECTIONS_PER_CLIENT_MAX: Amount = Amount::new(
    "firewall.connections_per_client_max",
    Unit::Count,
    1000,
    [1, 1 << 30],
    "An office behind one address fits; one machine cannot take all sockets.",
)
.or_unlimited();
pub(in crate::config) static CONNECTIONS_PER_V6_48_MAX: Amount = Amount::derived(
    "firewall.connections_per_v6_48_max",
    "four times `connections_per_client_max`",
    [1, 1 << 30],
    "A subscriber may be given an IPv6 /48, which holds 65,536 of what counts as one client; a campus may share one.",
)
.or_unlimited();
pub(in crate::config) static HANDSHAKES_PER_V6_48_PER_MINUTE: Amount = Amount::derived(
    "firewall.handshakes_per_v6_48_per_minute",
    "four times `handshakes_per_client_per_minute`",
    [1, 1 << 30],
    "As above; a tenth of the rate in one burst.",
)
.or_unlimited();
pub(in crate::config) static HANDSHAKES_PER_CLIENT_PER_MINUTE: Amount = Amount::new(
    "firewall.handshakes_per_client_per_minute",
    Unit::Count,
    3000,
    [1, 1 << 30],
    "Every client of a full address may reconnect three times a minute, a tenth of the rate in one burst.",
)
.or_unlimited();

/// How long a ban may last that nobody made.
const DEADLINE_OF_BAN: [u64; 2] = [100, 30 * DAY];
