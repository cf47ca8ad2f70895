//! Keeps networks out of a running server: the ban itself, the live connections that it ends, and its counts.
//!
//! Comes beside the connections; the firewall decides by what is kept here. It stores nothing beyond the process.

use std::sync::Arc;

use crate::connection::Gate;
use crate::firewall::{AddressBan, BanError};
use crate::network::Network;

/// The bans of addresses of one server. Cheap to clone.
///
/// ```no_run
/// use std::time::Duration;
///
/// use drawgate::Server;
/// use drawgate::clock::Clock;
/// use drawgate::firewall::AddressBan;
///
/// # fn run(server: &Server) -> Result<(), Box<dyn std::error::Error>> {
/// let bans = server.firewall();
/// let until = Some(Clock::system().unix_now().plus(Duration::from_mins(10)));
/// bans.ban_address(&AddressBan { network: "203.0.113.0/24".parse()?, until, reason: "flood".to_owned() })?;
/// bans.unban_address("203.0.113.0/24".parse()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AddressBans(pub(super) Arc<Gate>);

impl AddressBans {
    /// Keeps a network out and ends its live connections with 1008; how many. Another ban of the same network takes the place of
    /// the first; one whose time is over lifts that.
    ///
    /// # Errors
    /// When it cannot be kept; nothing is ended then.
    pub fn ban_address(&self, ban: &AddressBan) -> Result<usize, BanError> {
        let Gate { firewall, observer, facilities, live, .. } = &*self.0;
        let (now, unix_now) = (facilities.clock.now(), facilities.clock.unix_now());
        let banned = firewall.ban(ban, now, unix_now);
        if matches!(banned, Err(BanError::Full { .. })) {
            observer.address_ban_refused();
        }
        observer.address_bans(firewall.bans_count());
        banned?;
        // The ban first: whoever is not among the live ones yet will be asked again.
        Ok(if ban.is_over(unix_now) { 0 } else { live.ban(ban.effective()) })
    }

    /// Lets a network in again; whether it had been kept out by a ban of just this network. Of IPv6, whose networks longer than
    /// a /64 stand for that, any of its addresses will do.
    pub fn unban_address(&self, network: Network) -> bool {
        let Gate { firewall, observer, facilities, .. } = &*self.0;
        let was_banned = firewall.unban(network, facilities.clock.now());
        observer.address_bans(firewall.bans_count());
        was_banned
    }

    /// The bans that are in force, in the order of their networks.
    #[must_use]
    pub fn address_bans(&self) -> Vec<AddressBan> {
        self.0.firewall.bans(self.0.facilities.clock.now())
    }
}
