//! Sessions: what a verified credential begins, and what may end it before its connection does.
//!
//! [`Sessions`] is one per server: the table of those that live (`table.rs`), the revocations and bans that are in force
//! (`kept.rs`), and one lock over both. A session is registered before it is checked against them, and whoever revokes
//! adds the revocation before it looks for sessions, so that a logout that races a connect always wins. Never logs, waits
//! or reads time; `now` is an argument. Comes after a credential has become a principal; the connection then lives under
//! it, and ends when it is told to.

mod kept;
mod live;
pub mod revocation;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Map, Value};

pub(crate) use self::kept::OVER_TIME;
pub use self::kept::{KeepError, NAME_BYTES_MAX};
use self::kept::{Kept, Out};
use self::live::Verified;
pub use self::live::{End, NotASessionId, SessionId};
pub(crate) use self::live::{Live, Opening};
use self::revocation::{Revocation, SubjectBan, Target};
pub use self::table::Which;
use self::table::{Serial, Table};
use crate::chance::Chance;
use crate::clock::UnixTime;
use crate::principal::{ClientAddr, ConnectionId, Principal};
use crate::reason::Reason;

/// The rules for the sessions of one `[auth.NAME]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The most sessions that one subject may have on one route; `None` is unlimited.
    pub per_subject_max: Option<u32>,
    /// What happens at that limit.
    pub at_limit: AtLimit,
    /// Whether a client may send another token over the connection that it has.
    pub refresh: bool,
    /// How long before its token's `exp` a client is warned, where its route tells clients by JSON; `None` is never.
    pub expiry_warning: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            per_subject_max: None,
            at_limit: AtLimit::Refuse,
            refresh: false,
            expiry_warning: Some(Duration::from_mins(1)),
        }
    }
}

/// What happens when a subject has as many sessions on a route as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLimit {
    /// The new one is refused.
    Refuse,
    /// The oldest one ends.
    EndOldest,
}

/// The sessions of one server, and what keeps tokens and subjects out of it.
#[derive(Debug)]
pub struct Sessions {
    chance: Chance,
    /// Beside the lock, under which it is asked for.
    token_time_max: RwLock<Option<Duration>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    table: Table,
    kept: Kept,
}

impl Sessions {
    /// No sessions and nothing revoked. `token_time_max` is the longest that a token of this server can be valid, leeway
    /// included: for so long a revocation has to be remembered; `None` is for good.
    #[must_use]
    pub fn new(chance: Chance, token_time_max: Option<Duration>) -> Self {
        let state = State { table: Table::default(), kept: Kept::new(KEPT_MAX) };
        Self { chance, token_time_max: RwLock::new(token_time_max), state: Mutex::new(state) }
    }

    /// Remembers revocations for so long from now on.
    pub(crate) fn set_token_time_max(&self, token_time_max: Option<Duration>) {
        *self.token_time_max.write().unwrap_or_else(PoisonError::into_inner) = token_time_max;
    }

    /// Begins the session of `principal`.
    ///
    /// # Errors
    /// When the principal is kept out, or has as many sessions as `config` allows and the oldest is not to end for it.
    pub(crate) fn open(
        self: &Arc<Self>,
        principal: Arc<Principal>,
        opening: &Opening<'_>,
        config: &Config,
        now: UnixTime,
    ) -> Result<SessionGuard, SessionRefused> {
        let id = SessionId::new(self.chance.bytes());
        let mut state = self.locked();
        let State { table, kept } = &mut *state;
        let serial = table.next_serial();
        let live = Arc::new(Live::new(Arc::clone(self), (serial, id), opening, principal, now));
        table.add(Arc::clone(&live));
        let replaced = match admit(table, kept, &live, config, now) {
            Ok(replaced) => replaced,
            Err(refused) => {
                table.remove(serial);
                return Err(refused);
            }
        };
        drop(state);
        tell(&replaced, End::Replaced);
        Ok(SessionGuard(live))
    }

    /// How many sessions live.
    #[must_use]
    pub fn count(&self) -> usize {
        self.locked().table.len()
    }

    /// At most `count_max` of the sessions that are meant, younger than `after`; see [`Page::next`].
    #[must_use]
    pub fn list(&self, which: Which<'_>, after: Option<u64>, count_max: usize) -> Page {
        let state = self.locked();
        let mut found = state.table.find(which, after.unwrap_or(0));
        let sessions: Vec<_> = found.by_ref().take(count_max).cloned().collect();
        let has_more = found.next().is_some();
        drop(found);
        drop(state);
        let next = sessions.last().filter(|_| has_more).map(|last| last.serial);
        Page { sessions: sessions.iter().map(|live| SessionInfo::of(live)).collect(), next }
    }

    /// What is known of one session.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<SessionInfo> {
        self.list(Which::Id(id), None, 1).sessions.pop()
    }

    /// Ends the sessions that are meant; how many.
    pub fn end(&self, which: Which<'_>, end: End) -> usize {
        self.end_where(which, end, |_, _| true)
    }

    /// Ends those of the sessions that are meant whose principal and route `is_to_end`: for a check that is made anew,
    /// such as whether the key that signed a token is still there. `is_to_end` is called under the lock: it asks nothing of
    /// these sessions.
    pub fn end_where(
        &self,
        which: Which<'_>,
        end: End,
        is_to_end: impl Fn(&Principal, &str) -> bool,
    ) -> usize {
        let ended = {
            let mut state = self.locked();
            state.table.take(which, |live| is_to_end(&live.principal(), &live.route))
        };
        tell(&ended, end);
        ended.len()
    }

    /// Puts `revocation` in force and ends the sessions that it is about.
    ///
    /// # Errors
    /// When it cannot be kept; nothing is ended then.
    pub fn revoke(&self, revocation: &Revocation, now: UnixTime) -> Result<Revoked, KeepError> {
        if revocation.is_over(now) {
            return Ok(Revoked { closed: 0 });
        }
        let ended = {
            let mut state = self.locked();
            state.kept.revoke(revocation, now)?;
            let ended = state.table.revoked(&revocation.target, now);
            if let Some(covering) = self.covering(revocation, &ended, now) {
                state.kept.revoke(&covering, now)?;
            }
            ended
        };
        tell(&ended, End::Revoked);
        Ok(Revoked { closed: ended.len() })
    }

    /// `revocation` where its cut-off comes before the token of a session that it has `ended` was issued: with a cut-off that
    /// does not, so that the token does not come back. Its issuer's clock is ahead of ours, by the leeway at most; what it
    /// issues later says so, and works.
    fn covering(&self, revocation: &Revocation, ended: &[Arc<Live>], now: UnixTime) -> Option<Revocation> {
        let cutoff = revocation.target.cutoff()?;
        let last = ended.iter().filter_map(|live| live.principal().issued_at).max()?;
        (last > cutoff).then(|| self.revocation(revocation.target.until(last), now))
    }

    /// `revocation` as it is in force: together with others of its name.
    pub(crate) fn in_force(&self, revocation: &Revocation) -> Revocation {
        self.locked().kept.in_force(revocation)
    }

    /// Keeps a subject out and ends its sessions. Another ban of the same subject takes the place of the first.
    ///
    /// # Errors
    /// When it cannot be kept; nothing is ended then.
    pub fn ban(&self, ban: &SubjectBan, now: UnixTime) -> Result<Revoked, KeepError> {
        if ban.is_over(now) {
            self.unban(&ban.subject, now);
            return Ok(Revoked { closed: 0 });
        }
        let ended = {
            let mut state = self.locked();
            state.kept.ban(ban, now)?;
            state.table.take(Which::Subject(&ban.subject), |_| true)
        };
        tell(&ended, End::Banned);
        Ok(Revoked { closed: ended.len() })
    }

    /// Lets a subject in again; whether it had been kept out.
    pub fn unban(&self, subject: &str, now: UnixTime) -> bool {
        self.locked().kept.unban(subject, now)
    }

    /// Puts what was stored in force, before the first session begins.
    ///
    /// # Errors
    /// When it cannot all be kept.
    pub fn load<'s>(
        &self,
        revocations: impl IntoIterator<Item = &'s Revocation>,
        bans: impl IntoIterator<Item = &'s SubjectBan>,
        now: UnixTime,
    ) -> Result<(), KeepError> {
        revocations.into_iter().try_for_each(|revocation| self.revoke(revocation, now).map(|_| ()))?;
        bans.into_iter().try_for_each(|ban| self.ban(ban, now).map(|_| ()))
    }

    /// The revocations that are in force.
    #[must_use]
    pub fn revocations(&self, now: UnixTime) -> Vec<Revocation> {
        self.locked().kept.revocations(now)
    }

    /// The bans of subjects that are in force, in the order of their names.
    #[must_use]
    pub fn bans(&self, now: UnixTime) -> Vec<SubjectBan> {
        self.locked().kept.bans(now)
    }

    /// At most `count_max` of the revocations that are in force, those behind `after`: everyone's first, then sessions,
    /// subjects and tokens, each by name. Whether there are more.
    #[must_use]
    pub fn revocations_after(
        &self,
        after: Option<&Target>,
        count_max: usize,
        now: UnixTime,
    ) -> (Vec<Revocation>, bool) {
        let state = self.locked();
        let mut found = state.kept.revocations_after(after, now);
        let page = found.by_ref().take(count_max).collect();
        (page, found.next().is_some())
    }

    /// At most `count_max` of the bans that are in force, those of subjects behind `after`, in the order of their names.
    /// Whether there are more.
    #[must_use]
    pub fn bans_after(
        &self,
        after: Option<&str>,
        count_max: usize,
        now: UnixTime,
    ) -> (Vec<SubjectBan>, bool) {
        let state = self.locked();
        let mut found = state.kept.bans_after(after, now);
        let page = found.by_ref().take(count_max).collect();
        (page, found.next().is_some())
    }

    /// How many names are revoked or banned, or have been until lately.
    #[must_use]
    pub fn kept_count(&self) -> usize {
        self.locked().kept.count()
    }

    /// Gives up revocations and bans that have been over for an hour; they are without force before that too.
    pub fn forget(&self, now: UnixTime) {
        self.locked().kept.forget(now);
    }

    /// A revocation of `target` from `now` on, remembered for as long as a token can be valid.
    #[must_use]
    pub fn revocation(&self, target: Target, now: UnixTime) -> Revocation {
        let token_time_max = *self.token_time_max.read().unwrap_or_else(PoisonError::into_inner);
        Revocation::new(target, now, token_time_max)
    }

    /// What to revoke so that neither this session nor its token comes back: the token, where that has an id.
    #[must_use]
    pub fn target_of(&self, id: SessionId) -> Target {
        match self.get(id).and_then(|session| session.principal.token_id.clone()) {
            Some(token_id) => Target::Token { token_id: token_id.to_string() },
            None => Target::Session { session: id.to_string() },
        }
    }

    /// Another token speaks for `live` from now on.
    fn refresh(&self, live: &Live, principal: Arc<Principal>, now: UnixTime) -> Result<(), RefreshError> {
        let mut state = self.locked();
        let State { table, kept } = &mut *state;
        if !table.contains(live.serial) {
            return Err(RefreshError::Over);
        }
        let before = live.principal();
        if principal.subject != before.subject {
            return Err(RefreshError::SubjectDiffers);
        }
        kept.refuse(&principal, now).map_err(|out| RefreshError::Refused(SessionRefused::from(out)))?;
        table.rename(live.serial, &before, &principal);
        live.set_verified(Verified { principal, at: now });
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a session that has been added may stay; the ones that end for it. Those who are kept out end nobody's session.
fn admit(
    table: &mut Table,
    kept: &Kept,
    live: &Live,
    config: &Config,
    now: UnixTime,
) -> Result<Vec<Arc<Live>>, SessionRefused> {
    let principal = live.principal();
    kept.refuse(&principal, now)?;
    let Some(limit) = config.per_subject_max else { return Ok(Vec::new()) };
    let count_max = usize::try_from(limit).unwrap_or(usize::MAX);
    let excess = table.of(&principal.subject, &live.route).skip(count_max).count();
    if excess == 0 {
        return Ok(Vec::new());
    }
    match config.at_limit {
        AtLimit::EndOldest if count_max > 0 => {
            let oldest: Vec<Serial> = table.of(&principal.subject, &live.route).take(excess).collect();
            Ok(oldest.into_iter().filter_map(|serial| table.remove(serial)).collect())
        }
        AtLimit::Refuse | AtLimit::EndOldest => Err(SessionRefused::Exceeded { limit }),
    }
}

/// Outside the lock, since waking a connection is the runtime's work.
fn tell(ended: &[Arc<Live>], end: End) {
    for live in ended {
        live.tell(end);
    }
}

impl Table {
    /// Takes out those of the sessions that are meant that `is_to_end`.
    fn take(&mut self, which: Which<'_>, is_to_end: impl Fn(&Live) -> bool) -> Vec<Arc<Live>> {
        let serials: Vec<Serial> =
            self.find(which, 0).filter(|live| is_to_end(live)).map(|live| live.serial).collect();
        serials.into_iter().filter_map(|serial| self.remove(serial)).collect()
    }

    /// Takes out the sessions that a revocation of `target` is about.
    fn revoked(&mut self, target: &Target, now: UnixTime) -> Vec<Arc<Live>> {
        // What was verified before the cut-off existed before it, whatever the clock of its issuer says; and a cut-off
        // that has not passed leaves nothing.
        let is_cut_off = |cutoff: UnixTime| {
            move |live: &Live| {
                let Verified { principal, at } = live.verified();
                cutoff >= now
                    || at <= cutoff
                    || principal.issued_at.is_none_or(|issued_at| issued_at <= cutoff)
            }
        };
        match target {
            Target::Everyone { cutoff } => self.take(Which::All, is_cut_off(*cutoff)),
            Target::Subject { subject, cutoff } => self.take(Which::Subject(subject), is_cut_off(*cutoff)),
            Target::Token { token_id } => self.take(Which::Token(token_id), |_| true),
            Target::Session { session } => {
                let mut ended = self.take(Which::Provider(session), |_| true);
                if let Ok(id) = session.parse() {
                    ended.extend(self.take(Which::Id(id), |_| true));
                }
                ended
            }
        }
    }
}

/// Holds a session; dropping it ends the session, if nothing has before.
#[derive(Debug)]
pub(crate) struct SessionGuard(Arc<Live>);

impl SessionGuard {
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.0
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        let _removed = self.0.sessions.locked().table.remove(self.0.serial);
    }
}

/// Why a session does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionRefused {
    #[error("the token has been revoked")]
    Revoked,
    #[error("the subject is banned")]
    Banned,
    #[error("the subject has {limit} sessions on this route")]
    Exceeded { limit: u32 },
}

impl SessionRefused {
    /// What the client is told.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Revoked => Reason::TokenRevoked,
            Self::Banned => Reason::SubjectBanned,
            Self::Exceeded { .. } => Reason::SessionsExceeded,
        }
    }

    /// The limit that was reached.
    pub(crate) const fn limit(self) -> Option<u32> {
        match self {
            Self::Exceeded { limit } => Some(limit),
            Self::Revoked | Self::Banned => None,
        }
    }
}

impl From<Out> for SessionRefused {
    fn from(out: Out) -> Self {
        match out {
            Out::Revoked => Self::Revoked,
            Out::Banned => Self::Banned,
        }
    }
}

/// Why another token does not speak for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefreshError {
    #[error("the token is another subject's")]
    SubjectDiffers,
    #[error("{0}")]
    Refused(SessionRefused),
    #[error("the session has been ended")]
    Over,
}

/// How a revocation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// How many sessions it ended.
    pub closed: usize,
}

/// Sessions, as many as were asked for at once.
#[derive(Clone, Debug)]
pub struct Page {
    /// The sessions.
    pub sessions: Vec<SessionInfo>,
    /// What to pass as `after` for those that follow; `None` if none do.
    pub next: Option<u64>,
}

/// What is known of a session.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its name.
    pub id: SessionId,
    /// Who speaks, until when, and what the token says of them.
    pub principal: Arc<Principal>,
    /// The name of its route.
    pub route: Arc<str>,
    /// Where it comes from.
    pub client: ClientAddr,
    /// The name of its connection.
    pub connection: ConnectionId,
    /// When it was authenticated.
    pub started_at: UnixTime,
    /// When its token was last verified: later than its start after a refresh.
    pub verified_at: UnixTime,
}

impl SessionInfo {
    fn of(live: &Live) -> Self {
        let Verified { principal, at } = live.verified();
        Self {
            id: live.id,
            principal,
            route: Arc::clone(&live.route),
            client: live.client,
            connection: live.connection,
            started_at: live.started_at,
            verified_at: at,
        }
    }

    /// Every claim of its token.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        self.principal.claims.object()
    }
}

/// The most names that are revoked or banned at a time: some 200 MB where each is a UUID.
const KEPT_MAX: usize = 1_000_000;

#[cfg(test)]
mod tests;
