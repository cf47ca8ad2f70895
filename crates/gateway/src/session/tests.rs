//! What sessions promise, with threads where threads would break it.

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::principal::Claims;
use crate::pulse::Pulse;

fn sessions() -> Arc<Sessions> {
    Arc::new(Sessions::new(Chance::seeded(1), Some(Duration::from_hours(24))))
}

const fn at(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(seconds)
}

const NOW: UnixTime = at(1_000_000);

fn principal(subject: &str, claims: &Value) -> Arc<Principal> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(Arc::from);
    Arc::new(Principal {
        key: None,
        subject: subject.into(),
        token_id: text("jti"),
        issued_at: claims.get("iat").and_then(Value::as_u64).map(at),
        expires_at: NOW.plus(Duration::from_hours(1)),
        claims: Claims::new(claims.as_object().unwrap()),
    })
}

/// One session, with its connection's ear.
struct Opened {
    guard: SessionGuard,
    pulse: Arc<Pulse>,
}

impl Opened {
    fn end(&self) -> Option<End> {
        self.guard.live().end()
    }

    fn is_told(&self) -> bool {
        self.pulse.listen(std::task::Waker::noop()).contains(crate::pulse::Signal::Session)
    }
}

fn open_on(
    sessions: &Arc<Sessions>,
    route: &str,
    principal: Arc<Principal>,
    config: &Config,
) -> Result<Opened, SessionRefused> {
    let pulse = Arc::new(Pulse::default());
    let opening = Opening {
        route: &route.into(),
        client: ClientAddr::new([192, 0, 2, 1].into()),
        connection: ConnectionId::new(7),
        pulse: &pulse,
    };
    let guard = sessions.open(principal, &opening, config, NOW)?;
    Ok(Opened { guard, pulse })
}

fn open(sessions: &Arc<Sessions>, subject: &str, claims: &Value) -> Result<Opened, SessionRefused> {
    open_on(sessions, "chat", principal(subject, claims), &Config::default())
}

fn limited(limit: u32, at_limit: AtLimit) -> Config {
    Config { per_subject_max: Some(limit), at_limit, ..Config::default() }
}

#[test]
fn a26_each_authentication_begins_a_session_with_a_new_id() {
    let sessions = sessions();
    let one = principal("alice", &json!({}));
    let opened: Vec<_> = (0..1000)
        .map(|_| open_on(&sessions, "chat", Arc::clone(&one), &Config::default()).unwrap())
        .collect();
    let ids: HashSet<_> = opened.iter().map(|opened| opened.guard.live().id()).collect();
    assert_eq!(ids.len(), 1000);
}

#[test]
fn a_session_is_found_by_all_that_it_is_known_by_and_leaves_nothing() {
    let sessions = sessions();
    let alice = open(&sessions, "alice", &json!({ "jti": "t1", "sid": "s1" })).unwrap();
    let bob = open(&sessions, "bob", &json!({})).unwrap();
    let id = alice.guard.live().id();
    let client = ClientAddr::new([192, 0, 2, 1].into()).key();
    let found = |which| {
        let page = sessions.list(which, None, 10);
        page.sessions.iter().map(|session| session.principal.subject.to_string()).collect::<Vec<_>>()
    };
    for which in [Which::Id(id), Which::Subject("alice"), Which::Token("t1"), Which::Provider("s1")] {
        assert_eq!(found(which), ["alice"], "{which:?}");
    }
    for which in [Which::All, Which::Route("chat"), Which::Client(client)] {
        assert_eq!(found(which), ["alice", "bob"], "{which:?}");
    }
    let other = ClientAddr::new([192, 0, 2, 2].into()).key();
    for which in [Which::Subject("alic"), Which::Token("s1"), Which::Provider("t1"), Which::Route("cha")] {
        assert_eq!(found(which), [""; 0], "{which:?}");
    }
    assert_eq!(found(Which::Client(other)), [""; 0]);
    let session = sessions.get(id).unwrap();
    assert_eq!((session.id, session.started_at, session.verified_at), (id, NOW, NOW));
    assert_eq!((&*session.route, session.connection), ("chat", ConnectionId::new(7)));
    drop((alice, bob));
    assert_eq!((sessions.count(), sessions.locked().table.entries()), (0, 0));
    assert!(sessions.get(id).is_none());
}

#[test]
fn a_list_goes_on_where_it_stopped() {
    let sessions = sessions();
    let _opened: Vec<_> = (0..5).map(|_| open(&sessions, "alice", &json!({})).unwrap()).collect();
    for which in [Which::All, Which::Route("chat"), Which::Subject("alice")] {
        let (mut seen, mut after) = (HashSet::new(), None);
        let mut pages = 0;
        loop {
            let page = sessions.list(which, after, 2);
            pages += 1;
            seen.extend(page.sessions.iter().map(|session| session.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((seen.len(), pages), (5, 3), "{which:?}");
    }
}

#[test]
fn a27_a_hundred_handshakes_at_once_never_pass_the_limit() {
    for (at_limit, survivors) in [(AtLimit::Refuse, 5), (AtLimit::EndOldest, 100)] {
        let sessions = sessions();
        let barrier = Barrier::new(100);
        let most = AtomicUsize::new(0);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..100)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let config = limited(5, at_limit);
                        let opened = open_on(&sessions, "chat", principal("alice", &json!({})), &config);
                        most.fetch_max(sessions.count(), Ordering::Relaxed);
                        opened.ok()
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!((opened.len(), sessions.count()), (survivors, 5), "{at_limit:?}");
        assert!(most.into_inner() <= 5, "{at_limit:?}");
        let told = opened.iter().filter(|opened| opened.end() == Some(End::Replaced)).count();
        assert_eq!(told, survivors - 5);
        drop(opened);
        assert_eq!(sessions.locked().table.entries(), 0);
    }
}

#[test]
fn a_limit_is_by_subject_and_route_and_a_place_that_is_given_back_is_free() {
    let sessions = sessions();
    let config = limited(1, AtLimit::Refuse);
    let open =
        |route: &str, subject: &str| open_on(&sessions, route, principal(subject, &json!({})), &config);
    let first = open("chat", "alice").unwrap();
    assert_eq!(open("chat", "alice").err(), Some(SessionRefused::Exceeded { limit: 1 }));
    let _elsewhere = open("feed", "alice").unwrap();
    let _other = open("chat", "bob").unwrap();
    drop(first);
    let _again = open("chat", "alice").unwrap();
    assert_eq!(sessions.count(), 3);
}

#[test]
fn at_the_limit_the_oldest_ends_and_nobody_who_is_kept_out_ends_it() {
    let sessions = sessions();
    let config = limited(2, AtLimit::EndOldest);
    let open = |claims: &Value| open_on(&sessions, "chat", principal("alice", claims), &config);
    let oldest = open(&json!({})).unwrap();
    let older = open(&json!({})).unwrap();
    sessions.revoke(&sessions.revocation(Target::Token { token_id: "t1".to_owned() }, NOW), NOW).unwrap();
    assert_eq!(open(&json!({ "jti": "t1" })).err(), Some(SessionRefused::Revoked));
    assert_eq!((oldest.end(), older.end()), (None, None));
    let newest = open(&json!({})).unwrap();
    assert_eq!((oldest.end(), older.end(), newest.end()), (Some(End::Replaced), None, None));
    assert!(oldest.is_told() && !older.is_told());
    // What ends is no session any more, and its end takes nothing from the others.
    drop(oldest);
    assert_eq!(sessions.count(), 2);
}

#[test]
fn a22_revoking_ends_what_it_is_about_and_nothing_else() {
    let claims = json!({ "jti": "t1", "sid": "s1", "iat": 999_000 });
    let token = |name: &str| Target::Token { token_id: name.to_owned() };
    let session = |name: &str| Target::Session { session: name.to_owned() };
    let subject = |cutoff| Target::Subject { subject: "alice".to_owned(), cutoff };
    let everyone = |cutoff| Target::Everyone { cutoff };
    for (target, ends_alice, ends_bob) in [
        (token("t1"), true, false),
        (token("s1"), false, false),
        (session("s1"), true, false),
        (session("t1"), false, false),
        (subject(NOW), true, false),
        (everyone(NOW), true, true),
        // Issued before it.
        (subject(at(999_000)), true, false),
        (everyone(at(999_000)), true, true),
        // Issued after it; bob's token does not say when.
        (subject(at(998_999)), false, false),
        (everyone(at(998_999)), false, true),
    ] {
        let sessions = sessions();
        let alice = open(&sessions, "alice", &claims).unwrap();
        let bob = open(&sessions, "bob", &json!({})).unwrap();
        let revoked = sessions.revoke(&sessions.revocation(target.clone(), NOW), NOW).unwrap();
        assert_eq!(revoked.closed, usize::from(ends_alice) + usize::from(ends_bob), "{target:?}");
        let ended = |opened: &Opened| (opened.end() == Some(End::Revoked), opened.is_told());
        assert_eq!(ended(&alice), (ends_alice, ends_alice), "{target:?}");
        assert_eq!(ended(&bob), (ends_bob, ends_bob), "{target:?}");
        assert_eq!(sessions.count(), 2 - revoked.closed);
        // And they do not come back.
        assert_eq!(open(&sessions, "alice", &claims).is_err(), ends_alice, "{target:?}");
    }
}

#[test]
fn a22_a_token_from_an_issuer_whose_clock_is_ahead_does_not_outlive_a_logout() {
    let sessions = sessions();
    let ahead = open(&sessions, "alice", &json!({ "iat": 1_000_010 })).unwrap();
    let cutoff = Target::Subject { subject: "alice".to_owned(), cutoff: at(1_000_005) };
    sessions.revoke(&sessions.revocation(cutoff, at(1_000_020)), at(1_000_020)).unwrap();
    assert_eq!(ahead.end(), Some(End::Revoked));
}

#[test]
fn a22_a_token_from_an_issuer_whose_clock_is_ahead_does_not_come_back_after_a_logout() {
    for is_for_all in [false, true] {
        let sessions = sessions();
        let iat = |ahead: u64| json!({ "iat": 1_000_000 + ahead });
        let (token, other) = (iat(10), iat(3));
        let ahead = open(&sessions, "alice", &token).unwrap();
        let neighbour = open(&sessions, "bob", &other).unwrap();
        let target = match is_for_all {
            true => Target::Everyone { cutoff: NOW },
            false => Target::Subject { subject: "alice".to_owned(), cutoff: NOW },
        };
        let revoked = sessions.revoke(&sessions.revocation(target, NOW), NOW).unwrap();
        assert_eq!((revoked.closed, ahead.end()), (if is_for_all { 2 } else { 1 }, Some(End::Revoked)));
        assert_eq!(neighbour.is_told(), is_for_all);
        let again = |subject, claims: &Value| open(&sessions, subject, claims).err();
        assert_eq!(again("alice", &token), Some(SessionRefused::Revoked));
        // What the same issuer issues a second later works.
        assert_eq!(again("alice", &iat(11)), None);
        assert_eq!(again("bob", &other), is_for_all.then_some(SessionRefused::Revoked));
    }
}

#[test]
fn a_session_is_revoked_by_its_id_together_with_its_token() {
    let sessions = sessions();
    let named = open(&sessions, "alice", &json!({ "jti": "t1" })).unwrap();
    let nameless = open(&sessions, "alice", &json!({})).unwrap();
    let ids = [named.guard.live().id(), nameless.guard.live().id()];
    let targets = ids.map(|id| sessions.target_of(id));
    assert_eq!(targets[0], Target::Token { token_id: "t1".to_owned() });
    assert_eq!(targets[1], Target::Session { session: ids[1].to_string() });
    for target in targets {
        assert_eq!(sessions.revoke(&sessions.revocation(target, NOW), NOW), Ok(Revoked { closed: 1 }));
    }
    assert_eq!((named.end(), nameless.end()), (Some(End::Revoked), Some(End::Revoked)));
    assert_eq!(open(&sessions, "alice", &json!({ "jti": "t1" })).err(), Some(SessionRefused::Revoked));
}

#[test]
fn a25_no_session_survives_a_logout_that_races_it() {
    for round in 0..200 {
        let sessions = sessions();
        let barrier = Barrier::new(5);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        open(&sessions, "alice", &json!({ "iat": 1 })).ok()
                    })
                })
                .collect();
            barrier.wait();
            // Not always in the first moment.
            for _ in 0..(round % 20) * 50 {
                std::hint::spin_loop();
            }
            let logout = Target::Subject { subject: "alice".to_owned(), cutoff: NOW };
            sessions.revoke(&sessions.revocation(logout, NOW), NOW).unwrap();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(sessions.count(), 0);
        assert!(opened.iter().all(|opened| opened.end() == Some(End::Revoked) && opened.is_told()));
    }
}

#[test]
fn a_ban_ends_the_sessions_of_its_subject_and_lasts_as_long_as_it_says() {
    let sessions = sessions();
    let alice = open(&sessions, "alice", &json!({})).unwrap();
    let _bob = open(&sessions, "bob", &json!({})).unwrap();
    let ban = SubjectBan { subject: "alice".to_owned(), until: Some(NOW.plus(Duration::from_secs(1))) };
    assert_eq!(sessions.ban(&ban, NOW), Ok(Revoked { closed: 1 }));
    assert_eq!(alice.end(), Some(End::Banned));
    assert_eq!(open(&sessions, "alice", &json!({})).err(), Some(SessionRefused::Banned));
    assert_eq!(sessions.bans(NOW), std::slice::from_ref(&ban));
    // One that is over lifts it.
    let over = SubjectBan { until: Some(NOW), ..ban };
    assert_eq!(sessions.ban(&over, NOW), Ok(Revoked { closed: 0 }));
    let _again = open(&sessions, "alice", &json!({})).unwrap();
    assert!(!sessions.unban("alice", NOW));
}

#[test]
fn what_was_stored_is_in_force_after_a_start_and_what_is_over_is_not_kept() {
    let stored = sessions();
    let target = Target::Subject { subject: "alice".to_owned(), cutoff: NOW };
    let long_ago = stored.revocation(Target::Token { token_id: "t1".to_owned() }, at(1));
    let revocations = [stored.revocation(target, NOW), long_ago];
    let bans = [SubjectBan { subject: "bob".to_owned(), until: None }];
    let sessions = sessions();
    sessions.load(&revocations, &bans, NOW).unwrap();
    assert_eq!(open(&sessions, "alice", &json!({ "iat": 1 })).err(), Some(SessionRefused::Revoked));
    assert_eq!(open(&sessions, "bob", &json!({})).err(), Some(SessionRefused::Banned));
    assert_eq!(
        (sessions.kept_count(), sessions.revocations(NOW), sessions.bans(NOW)),
        (2, revocations[..1].to_vec(), bans.to_vec())
    );
    // A day and the leeway later no token of that time is valid, and an hour after that the clock is right for sure.
    for (hours, count) in [(24, 2), (25, 1)] {
        let later = NOW.plus(Duration::from_hours(hours));
        sessions.forget(later);
        assert_eq!((sessions.revocations(later), sessions.kept_count()), (vec![], count));
    }
}

#[test]
fn a24_another_token_speaks_for_a_session_only_of_the_same_subject_and_not_revoked() {
    let sessions = sessions();
    let opened = open(&sessions, "alice", &json!({ "jti": "t1" })).unwrap();
    let live = opened.guard.live();
    let later = at(1_000_100);
    assert_eq!(
        live.refresh(principal("mallory", &json!({ "jti": "t2" })), later),
        Err(RefreshError::SubjectDiffers)
    );
    sessions.revoke(&sessions.revocation(Target::Token { token_id: "t3".to_owned() }, later), later).unwrap();
    assert_eq!(
        live.refresh(principal("alice", &json!({ "jti": "t3" })), later),
        Err(RefreshError::Refused(SessionRefused::Revoked))
    );
    assert_eq!(live.principal().token_id.as_deref(), Some("t1"));
    live.refresh(principal("alice", &json!({ "jti": "t2" })), later).unwrap();
    let session = sessions.get(live.id()).unwrap();
    assert_eq!((session.started_at, session.verified_at), (NOW, later));
    // The old token's id finds it no more, the new one's does.
    assert_eq!(sessions.end(Which::Token("t1"), End::Revoked), 0);
    let logout = sessions.revocation(Target::Token { token_id: "t2".to_owned() }, later);
    assert_eq!(sessions.revoke(&logout, later), Ok(Revoked { closed: 1 }));
    assert_eq!(live.refresh(principal("alice", &json!({})), later), Err(RefreshError::Over));
    drop(opened);
    assert_eq!(sessions.locked().table.entries(), 0);
}

#[test]
fn a34_sessions_are_checked_anew_by_what_their_principals_say() {
    let sessions = sessions();
    let old = open(&sessions, "alice", &json!({ "kid": "old" })).unwrap();
    let new = open(&sessions, "alice", &json!({ "kid": "new" })).unwrap();
    let elsewhere =
        open_on(&sessions, "feed", principal("alice", &json!({ "kid": "old" })), &Config::default());
    let closed = sessions.end_where(Which::All, End::Revoked, |principal, route| {
        route == "chat" && principal.claims["kid"] == "old"
    });
    assert_eq!(closed, 1);
    assert_eq!((old.end(), new.end(), elsewhere.unwrap().end()), (Some(End::Revoked), None, None));
}

#[test]
fn the_first_word_of_an_end_counts() {
    let sessions = sessions();
    let opened = open(&sessions, "alice", &json!({})).unwrap();
    let live = opened.guard.live();
    live.tell(End::Banned);
    live.tell(End::Ended);
    assert_eq!(opened.end(), Some(End::Banned));
}

#[test]
fn a_session_is_small_and_a_flood_of_them_leaves_nothing() {
    const COUNT: usize = 5000;
    let sessions = sessions();
    let principals: Vec<_> = (0..COUNT)
        .map(|number| principal(&format!("user{number}"), &json!({ "jti": format!("t{number}") })))
        .collect();
    let route: Arc<str> = "chat".into();
    let pulse = Arc::new(Pulse::default());
    let (mut guards, config) = (Vec::with_capacity(COUNT), Config::default());
    let allocated = allocation_counter::measure(|| {
        for (number, principal) in (0_u32..).zip(&principals) {
            let client = ClientAddr::new(std::net::Ipv4Addr::from_bits(number).into());
            let opening = Opening { route: &route, client, connection: ConnectionId::new(7), pulse: &pulse };
            guards.push(sessions.open(Arc::clone(principal), &opening, &config, NOW).unwrap());
        }
    });
    let bytes = allocated.bytes_current / i64::try_from(COUNT).unwrap();
    assert!((200..BYTES_MAX).contains(&bytes), "a session holds {bytes} bytes");
    let given_back = allocation_counter::measure(|| guards.clear());
    let left = allocated.bytes_current + given_back.bytes_current;
    assert!(left < 4096, "{left} bytes are left");
}

/// Of one session, beside what its token said: one allocation, and its place in each index.
const BYTES_MAX: i64 = 640;
