//! Keeps tokens and subjects out, and lets them in again: what is in force and what is on disk, in an order that is safe.
//!
//! Whoever is kept out is so at once, whatever the disk does; nobody is told that it will last before it is on disk; and
//! nobody is let in whom a restart would keep out. Decides nothing: before it is whoever has the right to, after it are
//! the sessions and the store.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::clock::{Clock, UnixTime};
use crate::observe::Observer;
use crate::session::revocation::{Revocation, SubjectBan, Target};
use crate::session::{KeepError, Revoked, Sessions};
use crate::state::{Change, StateError, Store};

/// Revokes and bans. Cheap to clone; the directory of the state is given back when the last clone and its server are gone.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sessions: Arc<Sessions>,
    /// `None` where nothing outlives the process.
    store: Option<Store>,
    clock: Clock,
    observer: Observer,
    /// Held by whoever changes the bans of a name, which has one of them: what is in force and what is on disk must change in
    /// the same order.
    turns: [Mutex<()>; TURNS_COUNT],
}

impl Control {
    pub(crate) fn new(
        sessions: Arc<Sessions>,
        store: Option<Store>,
        clock: Clock,
        observer: Observer,
    ) -> Self {
        let turns = std::array::from_fn(|_| Mutex::default());
        Self(Arc::new(Inner { sessions, store, clock, observer, turns }))
    }

    /// The sessions that it is about.
    #[must_use]
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.0.sessions
    }

    /// Whether anything outlives the process.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        self.0.store.is_some()
    }

    /// A revocation of `target` from now on, remembered for as long as a token can be valid.
    #[must_use]
    pub fn revocation(&self, target: Target) -> Revocation {
        self.0.sessions.revocation(target, self.now())
    }

    /// Puts `revocation` in force, ends the sessions that it is about, and is ready when it is on disk.
    ///
    /// # Errors
    /// When it is not in force, or is and will not outlive the process.
    pub async fn revoke(&self, revocation: Revocation) -> Result<Revoked, ControlError> {
        let now = self.now();
        let revoked = self.0.sessions.revoke(&revocation, now)?;
        if revocation.is_over(now) {
            return Ok(revoked);
        }
        // It may reach further now, for what it has ended.
        let revocation = self.0.sessions.in_force(&revocation);
        self.keep(Change::Revoke(revocation)).await.map_err(|source| not_kept(revoked, source))?;
        Ok(revoked)
    }

    /// Keeps a subject out, ends its sessions, and is ready when that is on disk. Another ban of the same subject takes the
    /// place of the first.
    ///
    /// # Errors
    /// When it is not in force, or is and will not outlive the process.
    pub async fn ban(&self, ban: SubjectBan) -> Result<Revoked, ControlError> {
        if ban.is_over(self.now()) {
            self.unban(ban.subject).await?;
            return Ok(Revoked { closed: 0 });
        }
        let _turn = self.turn(&ban.subject).lock().await;
        let revoked = self.0.sessions.ban(&ban, self.now())?;
        self.keep(Change::Ban(ban)).await.map_err(|source| not_kept(revoked, source))?;
        Ok(revoked)
    }

    /// Lets a subject in again, as soon as a restart would let it in too; whether it had been kept out.
    ///
    /// # Errors
    /// When the disk refuses: the ban stays in force.
    pub async fn unban(&self, subject: String) -> Result<bool, ControlError> {
        let control = self.clone();
        // To its end, also if nobody waits for it any more: a ban that is off the disk must not stay in force.
        let unban = tokio::spawn(async move {
            let _turn = control.turn(&subject).lock().await;
            control.keep(Change::Unban { subject: subject.clone() }).await?;
            Ok(control.0.sessions.unban(&subject, control.now()))
        });
        unban.await.unwrap_or(Err(StateError::Stopped)).map_err(ControlError::NotLifted)
    }

    /// Keeps what another part of the gateway has put in force, or is about to take out of force; at once done where nothing
    /// outlives the process.
    ///
    /// # Errors
    /// When it is not on disk.
    pub async fn keep(&self, change: Change) -> Result<(), StateError> {
        let Some(store) = &self.0.store else { return Ok(()) };
        let result = store.keep(change).await;
        self.0.observer.state_written(result.as_ref().copied().map_err(|error| error as _));
        result
    }

    /// Gives back the memory of what is over.
    pub(crate) fn forget_in_memory(&self) {
        self.0.sessions.forget(self.now());
    }

    /// Deletes from the disk what has been over for long.
    pub(crate) async fn forget_on_disk(&self) {
        let Some(store) = &self.0.store else { return };
        // What is over is without force anyway, and a disk that refuses says so at the next change.
        let _ = store.forget(self.now()).await;
    }

    /// Whose turn it is to change the bans of a name.
    pub(crate) fn turn(&self, subject: &str) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        subject.hash(&mut hasher);
        let turns = &self.0.turns;
        let index = usize::try_from(hasher.finish() % TURNS_COUNT as u64).unwrap_or(0);
        &turns[index]
    }

    fn now(&self) -> UnixTime {
        self.0.clock.unix_now()
    }
}

fn not_kept(revoked: Revoked, source: StateError) -> ControlError {
    ControlError::NotKept { closed: revoked.closed, source }
}

/// Why something is not as it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ControlError {
    /// It is not in force, and not on disk either.
    #[error(transparent)]
    Refused(#[from] KeepError),
    /// It is in force, and the process may end before it is on disk.
    #[error("it is in force and will not outlive the process; ask again when what is in the way is gone")]
    NotKept {
        /// How many sessions it ended.
        closed: usize,
        /// What is in the way.
        source: StateError,
    },
    /// The ban is in force as before.
    #[error("the ban stays in force; ask again when what is in the way is gone")]
    NotLifted(#[source] StateError),
}

/// How many subjects can be banned at a time without waiting for one another; which these are is up to their names.
const TURNS_COUNT: usize = 64;

#[cfg(test)]
mod tests {
    use tokio::task::{JoinHandle, yield_now};

    use super::*;
    use crate::chance::Chance;
    use crate::principal::{Claims, ClientAddr, ConnectionId, Principal};
    use crate::session::{self, Opening};
    use crate::state::by_hand::Hands;

    fn control() -> (Control, Hands) {
        let clock = Clock::anchored(UnixTime::from_seconds(1000));
        let observer = Observer::new(None, &["chat"], clock.clone()).unwrap();
        let sessions = Arc::new(Sessions::new(Chance::seeded(1), None));
        let (store, hands) = Store::by_hand();
        (Control::new(sessions, Some(store), clock, observer), hands)
    }

    fn ban(subject: &str) -> SubjectBan {
        SubjectBan { subject: subject.to_owned(), until: None }
    }

    fn logout(subject: &str) -> Target {
        Target::Subject { subject: subject.to_owned(), cutoff: UnixTime::from_seconds(1000) }
    }

    fn refusal() -> StateError {
        StateError::NotWritten { file: "state.redb".to_owned(), detail: "no space".to_owned() }
    }

    fn start<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        tokio::spawn(task)
    }

    /// Lets everybody go on for as long as they can.
    async fn settle() {
        for _ in 0..10 {
            yield_now().await;
        }
    }

    fn is_banned(control: &Control, subject: &str) -> bool {
        control.sessions().bans(control.now()).iter().any(|ban| ban.subject == subject)
    }

    fn written(control: &Control, result: &str) -> String {
        let page = control.0.observer.render();
        let name = format!("drawgate_state_writes_total{{result=\"{result}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{name} is not in\n{page}")).to_owned()
    }

    #[tokio::test]
    async fn o10_a_revocation_is_in_force_at_once_and_acknowledged_when_it_is_on_disk() {
        let (control, hands) = control();
        let revocation = control.revocation(logout("alice"));
        let revoking = start({
            let (control, revocation) = (control.clone(), revocation.clone());
            async move { control.revoke(revocation).await }
        });
        settle().await;
        assert!(control.sessions().revocations(control.now()).contains(&revocation));
        assert!(!revoking.is_finished(), "acknowledged before it is on disk");
        let (change, answer) = hands.take().expect("it waits for the disk");
        assert_eq!(change, Change::Revoke(revocation));
        answer(Ok(()));
        assert_eq!(revoking.await.unwrap().unwrap(), Revoked { closed: 0 });
        assert_eq!((&*written(&control, "ok"), &*written(&control, "failed")), ("1", "0"));
    }

    #[tokio::test]
    async fn a22_what_is_kept_of_a_logout_covers_a_token_of_an_issuer_whose_clock_is_ahead() {
        let (control, hands) = control();
        let principal = Principal {
            subject: "alice".into(),
            token_id: None,
            issued_at: Some(UnixTime::from_seconds(1010)),
            expires_at: UnixTime::from_seconds(1600),
            key: None,
            claims: Claims::default(),
        };
        let opening = Opening {
            route: &"chat".into(),
            client: ClientAddr::new([192, 0, 2, 1].into()),
            connection: ConnectionId::new(1),
            pulse: &Arc::default(),
        };
        let sessions = control.sessions();
        let guard = sessions.open(Arc::new(principal), &opening, &session::Config::default(), control.now());
        let guard = guard.unwrap();
        let revoking = start({
            let now = Target::Subject { subject: "alice".to_owned(), cutoff: control.now() };
            let (control, revocation) = (control.clone(), control.revocation(now));
            async move { control.revoke(revocation).await }
        });
        settle().await;
        let (change, answer) = hands.take().expect("it waits for the disk");
        let target = Target::Subject { subject: "alice".to_owned(), cutoff: UnixTime::from_seconds(1010) };
        assert_eq!(change, Change::Revoke(control.revocation(target)));
        answer(Ok(()));
        assert_eq!(revoking.await.unwrap().unwrap(), Revoked { closed: 1 });
        assert!(guard.live().end().is_some());
    }

    #[tokio::test]
    async fn o05_what_the_disk_refuses_stays_in_force_and_says_that_it_will_not_last() {
        let (control, hands) = control();
        let revocation = control.revocation(logout("alice"));
        let revoking = start({
            let (control, revocation) = (control.clone(), revocation.clone());
            async move { control.revoke(revocation).await }
        });
        let banning = start({
            let control = control.clone();
            async move { control.ban(ban("bob")).await }
        });
        settle().await;
        for _ in 0..2 {
            hands.take().expect("both wait").1(Err(refusal()));
        }
        for error in [revoking.await.unwrap().unwrap_err(), banning.await.unwrap().unwrap_err()] {
            assert!(matches!(error, ControlError::NotKept { closed: 0, .. }), "{error}");
            assert!(error.to_string().contains("will not outlive the process"), "{error}");
        }
        assert_eq!(control.sessions().revocations(control.now()), [revocation]);
        assert!(is_banned(&control, "bob"));
        assert_eq!((&*written(&control, "ok"), &*written(&control, "failed")), ("0", "2"));
    }

    #[tokio::test]
    async fn o10_a_ban_is_lifted_when_the_disk_has_let_go_of_it_and_not_before() {
        let (control, hands) = control();
        control.sessions().ban(&ban("alice"), control.now()).unwrap();
        for (outcome, is_lifted) in [(Err(refusal()), false), (Ok(()), true)] {
            let unbanning = start({
                let control = control.clone();
                async move { control.unban("alice".to_owned()).await }
            });
            settle().await;
            assert!(is_banned(&control, "alice"), "in before the disk knows");
            let (change, answer) = hands.take().expect("it waits for the disk");
            assert_eq!(change, Change::Unban { subject: "alice".to_owned() });
            answer(outcome);
            match unbanning.await.unwrap() {
                Ok(had_been_out) => assert!(is_lifted && had_been_out),
                Err(error) => assert!(matches!(error, ControlError::NotLifted(_)) && !is_lifted, "{error}"),
            }
            assert_eq!(is_banned(&control, "alice"), !is_lifted);
        }
    }

    #[tokio::test]
    async fn o10_a_ban_is_lifted_in_memory_too_when_nobody_waits_for_it_any_more() {
        let (control, hands) = control();
        control.sessions().ban(&ban("alice"), control.now()).unwrap();
        let unbanning = start({
            let control = control.clone();
            async move { control.unban("alice".to_owned()).await }
        });
        settle().await;
        unbanning.abort();
        settle().await;
        hands.take().expect("it waits for the disk").1(Ok(()));
        settle().await;
        assert!(!is_banned(&control, "alice"), "off the disk, and in force");
    }

    #[tokio::test]
    async fn o10_bans_of_one_subject_are_in_force_and_on_disk_in_the_same_order() {
        let (control, hands) = control();
        control.sessions().ban(&ban("alice"), control.now()).unwrap();
        let unbanning = start({
            let control = control.clone();
            async move { control.unban("alice".to_owned()).await }
        });
        settle().await;
        let banning = start({
            let control = control.clone();
            async move { control.ban(ban("alice")).await }
        });
        settle().await;
        let (change, answer) = hands.take().expect("the first waits for the disk");
        assert_eq!(change, Change::Unban { subject: "alice".to_owned() });
        assert!(hands.take().is_none(), "the second waits for the first");
        answer(Ok(()));
        settle().await;
        let (change, answer) = hands.take().expect("the second waits for the disk");
        assert_eq!(change, Change::Ban(ban("alice")));
        answer(Ok(()));
        unbanning.await.unwrap().unwrap();
        banning.await.unwrap().unwrap();
        assert!(is_banned(&control, "alice"), "on disk, and not in force");
    }

    #[tokio::test]
    async fn what_is_over_or_cannot_be_in_force_is_not_put_on_disk() {
        let (control, hands) = control();
        let over = Some(UnixTime::from_seconds(1000));
        let revocation = Revocation { target: logout("alice"), until: over };
        control.revoke(revocation).await.unwrap();
        let nameless = Target::Token { token_id: String::new() };
        let error = control.revoke(control.revocation(nameless)).await.unwrap_err();
        assert!(matches!(error, ControlError::Refused(KeepError::NameInvalid)), "{error}");
        let error = control.ban(ban("")).await.unwrap_err();
        assert!(matches!(error, ControlError::Refused(KeepError::NameInvalid)), "{error}");
        assert!(hands.take().is_none());
        // A ban that is over is the end of the one before it.
        let banning = start({
            let control = control.clone();
            async move { control.ban(SubjectBan { until: over, ..ban("alice") }).await }
        });
        settle().await;
        let (change, answer) = hands.take().expect("it waits for the disk");
        assert_eq!(change, Change::Unban { subject: "alice".to_owned() });
        answer(Ok(()));
        banning.await.unwrap().unwrap();
    }
}
