//! Keeps networks out of a running server: the ban itself, the live connections that it ends, its counts, and what outlives the
//! process.
//!
//! Comes above the connections and beside [`crate::control`]; the firewall decides by what is kept here. The order is
//! that of control: who is kept out is so at once, nobody is told that it lasts before it is on disk, and nobody is let in
//! whom a restart would keep out.

use std::fmt::Display;
use std::sync::Arc;

use crate::clock::{Instant, UnixTime};
use crate::connection::Gate;
use crate::control::Control;
use crate::firewall::{AddressBan, BanError, Firewall};
use crate::network::Network;
use crate::observe::Encoded;
use crate::state::{self, Change, StateError};

/// The bans of addresses of one server. Cheap to clone.
///
/// ```no_run
/// use std::time::Duration;
///
/// use drawgate::Server;
/// use drawgate::clock::Clock;
/// use drawgate::firewall::AddressBan;
///
/// # async fn run(server: &Server) -> Result<(), Box<dyn std::error::Error>> {
/// let bans = server.firewall();
/// let until = Some(Clock::system().unix_now().plus(Duration::from_mins(10)));
/// let ban = AddressBan { network: "203.0.113.0/24".parse()?, until, reason: "flood".to_owned() };
/// bans.ban_address(ban).await?;
/// bans.unban_address("203.0.113.0/24".parse()?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AddressBans {
    gate: Arc<Gate>,
    control: Control,
}

impl AddressBans {
    pub(crate) const fn new(gate: Arc<Gate>, control: Control) -> Self {
        Self { gate, control }
    }

    /// Keeps a network out, ends its live connections with 1008, and is ready when that is on disk; how many it ended. Another
    /// ban of the same network takes the place of the first; one whose time is over lifts that.
    ///
    /// # Errors
    /// When it is not in force, and nothing is ended; or it is, and will not outlive the process.
    pub async fn ban_address(&self, ban: AddressBan) -> Result<usize, AddressBanError> {
        let network = ban.effective();
        let unix_now = self.gate.facilities.clock.unix_now();
        if ban.is_over(unix_now) {
            self.unban_address(network).await?;
            return Ok(0);
        }
        let _turn = self.control.turn(&network.to_string()).lock().await;
        let ended = self.put_in_force(&ban)?;
        let change = Change::BanAddress(stored(&ban));
        self.control.keep(change).await.map_err(|source| AddressBanError::NotKept { ended, source })?;
        Ok(ended)
    }

    /// Lets a network in again, as soon as a restart would let it in too; whether it had been kept out by a ban of just this
    /// network. Of IPv6, whose networks longer than a /64 stand for that, any of its addresses will do.
    ///
    /// # Errors
    /// When the disk refuses: the ban stays in force.
    pub async fn unban_address(&self, network: Network) -> Result<bool, AddressBanError> {
        let bans = self.clone();
        let network = crate::firewall::ban_network(network);
        // To its end, also if nobody waits for it any more: a ban that is off the disk must not stay in force.
        let unban = tokio::spawn(async move {
            let text = network.to_string();
            let _turn = bans.control.turn(&text).lock().await;
            bans.control.keep(Change::UnbanAddress { network: text }).await?;
            let Gate { firewall, observer, facilities, .. } = &*bans.gate;
            let was_banned = firewall.unban(network, facilities.clock.now());
            observer.address_bans(firewall.bans_count());
            Ok(was_banned)
        });
        unban.await.unwrap_or(Err(StateError::Stopped)).map_err(AddressBanError::NotLifted)
    }

    /// Puts a ban in force, and ends what lives of its network; how much that was. Nothing is kept beyond the process.
    fn put_in_force(&self, ban: &AddressBan) -> Result<usize, BanError> {
        let Gate { firewall, observer, facilities, live, .. } = &*self.gate;
        let banned = firewall.ban(ban, facilities.clock.now(), facilities.clock.unix_now());
        if matches!(banned, Err(BanError::Full { .. })) {
            observer.address_ban_refused();
        }
        observer.address_bans(firewall.bans_count());
        banned?;
        // The ban first: whoever is not among the live ones yet will be asked again.
        Ok(live.ban(ban.effective()))
    }

    /// The bans that are in force, in the order of their networks.
    #[must_use]
    pub fn address_bans(&self) -> Vec<AddressBan> {
        self.gate.firewall.bans(self.gate.facilities.clock.now())
    }

    /// At most `count_max` of them, those that come after `after`; and whether more follow.
    #[must_use]
    pub fn address_bans_after(&self, after: Option<Network>, count_max: usize) -> (Vec<AddressBan>, bool) {
        self.gate.firewall.bans_after(after, count_max, self.gate.facilities.clock.now())
    }
}

/// As it is stored: under the network that is really kept out, so that each has one entry.
fn stored(ban: &AddressBan) -> state::AddressBan {
    state::AddressBan { network: ban.effective().to_string(), until: ban.until, reason: ban.reason.clone() }
}

/// Why a ban of addresses is not as it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AddressBanError {
    /// It is not in force, and not on disk either.
    #[error(transparent)]
    Refused(#[from] BanError),
    /// It is in force, and the process may end before it is on disk.
    #[error("it is in force and will not outlive the process; ask again when what is in the way is gone")]
    NotKept {
        /// How many connections it ended.
        ended: usize,
        /// What is in the way.
        source: StateError,
    },
    /// The ban is in force as before.
    #[error("the ban stays in force; ask again when what is in the way is gone")]
    NotLifted(#[source] StateError),
}

/// Puts in force what was on disk, before the first accept.
///
/// # Errors
/// What is wrong with the first that cannot be.
pub(crate) fn load(
    firewall: &Firewall,
    bans: &[state::AddressBan],
    now: Instant,
    unix_now: UnixTime,
) -> Result<(), String> {
    for state::AddressBan { network, until, reason } in bans {
        let damaged = |error: &dyn Display| format!("the ban of {}: {error}", Encoded(network));
        let ban = AddressBan {
            network: Network::from_own_text(network).map_err(|error| damaged(&error))?,
            until: *until,
            reason: reason.clone(),
        };
        firewall.ban(&ban, now, unix_now).map_err(|error| damaged(&error))?;
    }
    Ok(())
}
