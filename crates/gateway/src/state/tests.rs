//! What a disk can do to a store: lose what was not synced, fail, fill up, and change behind its back.

mod damage;
mod lossy;

use super::*;
use crate::session::revocation::Target;

const fn at(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(seconds)
}

fn token(name: &str, until: Option<u64>) -> Revocation {
    Revocation { target: Target::Token { token_id: name.to_owned() }, until: until.map(at) }
}

fn ban(subject: &str, until: Option<u64>) -> SubjectBan {
    SubjectBan { subject: subject.to_owned(), until: until.map(at) }
}

fn address_ban(network: &str, until: Option<u64>) -> AddressBan {
    AddressBan { network: network.to_owned(), until: until.map(at), reason: "abuse".to_owned() }
}

/// What is in `directory`, read by a store that is given up at once.
fn loaded(directory: &Path, now: u64) -> Loaded {
    Store::open(directory, at(now)).unwrap().1
}

fn mark(lines: u64) -> Mark {
    Mark { lines, head: "a".repeat(64) }
}

async fn keep_all(store: &Store, changes: impl IntoIterator<Item = Change>) {
    for change in changes {
        store.keep(change).await.unwrap();
    }
}

#[tokio::test]
async fn o10_what_is_kept_is_there_again_and_what_is_taken_back_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("made/here");
    let (store, loaded_first) = Store::open(&directory, at(100)).unwrap();
    assert_eq!(loaded_first, Loaded::default());
    let everyone =
        |cutoff| Revocation { target: Target::Everyone { cutoff: at(cutoff) }, until: Some(at(900)) };
    let subject = |cutoff, until| Revocation {
        target: Target::Subject { subject: "alice".to_owned(), cutoff: at(cutoff) },
        until: Some(at(until)),
    };
    let session = Revocation { target: Target::Session { session: "alice".to_owned() }, until: None };
    let changes = [
        Change::Revoke(token("alice", None)),
        Change::Revoke(session.clone()),
        Change::Revoke(subject(50, 300)),
        Change::Revoke(subject(40, 400)),
        Change::Revoke(everyone(60)),
        Change::Revoke(everyone(20)),
        Change::Ban(ban("alice", None)),
        Change::Ban(ban("alice", Some(500))),
        Change::Ban(ban("bob", None)),
        Change::Unban { subject: "bob".to_owned() },
        Change::Unban { subject: "nobody".to_owned() },
        Change::BanAddress(address_ban("203.0.113.0/24", None)),
        Change::BanAddress(address_ban("2001:db8::/64", Some(600))),
        Change::UnbanAddress { network: "203.0.113.0/24".to_owned() },
        Change::Audit(Some(mark(6))),
        Change::Audit(None),
        Change::Audit(Some(mark(7))),
    ];
    keep_all(&store, changes).await;
    drop(store);
    let expected = Loaded {
        audit: Some(mark(7)),
        revocations: vec![everyone(60), session, subject(50, 400), token("alice", None)],
        bans: vec![ban("alice", Some(500))],
        address_bans: vec![address_ban("2001:db8::/64", Some(600))],
    };
    assert_eq!(loaded(&directory, 100), expected);
    assert_eq!(loaded(&directory, 100), expected);
}

#[tokio::test]
async fn o07_what_is_over_is_not_loaded_and_an_hour_later_not_on_disk_either() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), at(100)).unwrap();
    let ends = [Some(1000), Some(2000), None];
    for (number, until) in ends.into_iter().enumerate() {
        let name = number.to_string();
        let changes = [
            Change::Revoke(token(&name, until)),
            Change::Ban(ban(&name, until)),
            Change::BanAddress(address_ban(&name, until)),
        ];
        keep_all(&store, changes).await;
    }
    drop(store);
    let counts = |loaded: &Loaded| [loaded.revocations.len(), loaded.bans.len(), loaded.address_bans.len()];
    assert_eq!(counts(&loaded(folder.path(), 999)), [3; 3]);
    assert_eq!(counts(&loaded(folder.path(), 1000)), [2; 3]);
    assert_eq!(counts(&loaded(folder.path(), 2000)), [1; 3]);
    // The clock was wrong, and is right again: nothing is gone for it.
    assert_eq!(counts(&loaded(folder.path(), 999)), [3; 3]);
    // Over for an hour at the start.
    assert_eq!(counts(&loaded(folder.path(), 1000 + 3600)), [1; 3]);
    assert_eq!(counts(&loaded(folder.path(), 999)), [2; 3]);
    // And while it runs.
    let (store, _) = Store::open(folder.path(), at(999)).unwrap();
    store.forget(at(2000 + 3599)).await.unwrap();
    drop(store);
    assert_eq!(counts(&loaded(folder.path(), 999)), [2; 3]);
    let (store, _) = Store::open(folder.path(), at(999)).unwrap();
    store.forget(at(2000 + 3600)).await.unwrap();
    drop(store);
    assert_eq!(counts(&loaded(folder.path(), 999)), [1; 3]);
}

#[tokio::test]
async fn changes_that_wait_are_written_together_and_each_is_answered_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), at(100)).unwrap();
    let long = AddressBan { reason: "x".repeat(VALUE_BYTES_MAX), ..address_ban("10.0.0.0/8", None) };
    let mut waiting = Vec::new();
    for number in 0..500 {
        let store = store.clone();
        let change = match number {
            250 => Change::BanAddress(long.clone()),
            number => Change::Revoke(token(&number.to_string(), None)),
        };
        waiting.push(tokio::spawn(async move { store.keep(change).await }));
    }
    for (number, waiting) in waiting.into_iter().enumerate() {
        let outcome = waiting.await.unwrap();
        match number {
            250 => assert!(matches!(outcome, Err(StateError::TooLong)), "{outcome:?}"),
            _ => outcome.unwrap(),
        }
    }
    drop(store);
    let loaded = loaded(folder.path(), 100);
    assert_eq!((loaded.revocations.len(), loaded.address_bans.len()), (499, 0));
}

#[tokio::test]
async fn a_queue_that_is_full_is_an_error_and_takes_no_memory() {
    let (queue, waiting) = sync_channel(2);
    let store = Store(Arc::new(Inner { queue: Some(queue), thread: None }));
    let keep = |name: &str| {
        let (store, change) = (store.clone(), Change::Revoke(token(name, None)));
        tokio::spawn(async move { store.keep(change).await })
    };
    let held = [keep("a"), keep("b")];
    tokio::task::yield_now().await;
    assert!(matches!(keep("c").await.unwrap(), Err(StateError::Busy)));
    drop(waiting);
    for held in held {
        assert!(matches!(held.await.unwrap(), Err(StateError::Stopped)));
    }
    assert!(matches!(keep("d").await.unwrap(), Err(StateError::Stopped)));
}
