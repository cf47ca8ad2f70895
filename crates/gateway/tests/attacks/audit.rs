//! The audit log through real sockets: what it has, and O5: what happens while it cannot be written.

use std::path::Path;

use drawgate::audit::{Key, Link};
use drawgate::reason::Reason;
use serde_json::{Value, json};

use crate::sessions::{logout, open, revoke, with_sessions};
use crate::support::{Case, eventually, request};

const FIRST: [u8; 32] = [7; 32];

/// The configuration of an audit log in `folder`, with the key beside it.
fn audited(folder: &Path, toml: &str, when_full: &str) -> String {
    let (log, key) = (folder.join("log/audit.log"), folder.join("audit.key"));
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&key, &*Link::first(Key::new(FIRST)).to_text()).unwrap();
    format!(
        "{toml}\n[audit]\npath = {log:?}\nkey_file = {key:?}\nbytes_max = \"4KiB\"\nwhen_full = \"{when_full}\"\n"
    )
}

/// The lines of the log, all files, verified.
fn lines(folder: &Path) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(folder.join("log")) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    // The numbered ones first: "audit.log" is the shortest.
    files.sort_by_key(|path| (path.extension().is_some_and(|ext| ext == "log"), path.clone()));
    let mut link = Link::first(Key::new(FIRST));
    let mut found = Vec::new();
    for file in files {
        // One that has just been given another name is found by it the next time.
        let Ok(text) = std::fs::read_to_string(file) else { return Vec::new() };
        for line in text.lines().filter(|line| line.ends_with('}')) {
            // A file that turns while the others are read leaves a gap, which the next look does not find; one that stays is waited for
            // in vain.
            if link.verify(line.as_bytes()).is_err() {
                return Vec::new();
            }
            found.push(serde_json::from_str(line).unwrap());
        }
    }
    found
}

fn of_kind(folder: &Path, kind: &str) -> Vec<Value> {
    lines(folder).into_iter().filter(|line| line["kind"] == kind).collect()
}

#[tokio::test]
async fn who_connects_is_refused_and_ends_is_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut case = Case::start(&audited(folder.path(), &with_sessions("", ""), "closed")).await;
    let alice = open(&case, "alice", &json!({})).await;
    eventually(
        || of_kind(folder.path(), "connected").iter().any(|line| line["subject"] == "alice"),
        || case.log_text(),
    )
    .await;
    let mut nobody = case.connect().await;
    nobody.send(request("/token", "Authorization: Bearer hunter2-correct-horse\r\n").as_bytes()).await;
    nobody.expect_refusal(Reason::TokenInvalid).await;
    revoke(&case, logout("alice"));
    eventually(|| of_kind(folder.path(), "ended").len() == 1, || case.log_text()).await;
    let ended = &of_kind(folder.path(), "ended")[0];
    assert_eq!(
        (&ended["subject"], &ended["reason"], &ended["route"]),
        (&"alice".into(), &"token_revoked".into(), &"token".into())
    );
    eventually(|| of_kind(folder.path(), "refused").len() == 1, || case.log_text()).await;
    let refused = &of_kind(folder.path(), "refused")[0];
    assert_eq!(
        (&refused["reason"], &refused["client"]),
        (&"token_invalid".into(), &"127.0.0.1".into()),
        "{refused}"
    );
    assert_eq!(of_kind(folder.path(), "started").len(), 1);
    let lines = lines(folder.path());
    assert!(lines.len() >= 4 && lines.iter().all(|line| !line.to_string().contains("hunter2")));
    assert!(case.metric("drawgate_audit_lines") >= 4);
    drop(alice);
    case.neighbour_is_unharmed().await;
}

/// A gateway whose audit log has just been taken from under it, so that it has to make another file and cannot.
async fn without_a_place(folder: &Path, when_full: &str) -> Case {
    let case = Case::start(&audited(folder, &with_sessions("", ""), when_full)).await;
    for _ in 0..20 {
        drop(open(&case, "alice", &json!({})).await);
    }
    eventually(|| of_kind(folder, "ended").len() == 20, || case.log_text()).await;
    std::fs::rename(folder.join("log"), folder.join("away")).unwrap();
    // Until the file is full, lines go where it has gone.
    let is_unwritable = || case.metric("drawgate_audit_unwritable") == 1;
    let mut connected = 0;
    while !is_unwritable() {
        connected += 1;
        assert!(connected < 1000, "{}", case.log_text());
        let lines = || case.metric("drawgate_audit_lines");
        let before = lines();
        let mut client = case.connect().await;
        client.send(request("/", "").as_bytes()).await;
        client.read_head().await;
        eventually(|| lines() > before || is_unwritable(), || case.log_text()).await;
    }
    case
}

#[tokio::test]
async fn o05_while_the_audit_log_cannot_be_written_nobody_is_let_in_where_it_is_to_be_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut case = without_a_place(folder.path(), "closed").await;
    let mut late = case.connect().await;
    late.send(request("/", "").as_bytes()).await;
    late.expect_refusal(Reason::AuditUnavailable).await;
    case.neighbour_is_unharmed().await;
    std::fs::rename(folder.path().join("away"), folder.path().join("log")).unwrap();
    eventually(|| case.metric("drawgate_audit_unwritable") == 0, || case.log_text()).await;
    case.open().await;
    assert_eq!(case.metric("drawgate_audit_lost_total"), 0);
    let is_there =
        || of_kind(folder.path(), "refused").iter().any(|line| line["reason"] == "audit_unavailable");
    eventually(is_there, || case.log_text()).await;
}

#[tokio::test]
async fn o05_while_the_audit_log_cannot_be_written_traffic_goes_on_where_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let mut case = without_a_place(folder.path(), "open").await;
    for _ in 0..3 {
        open(&case, "alice", &json!({})).await;
    }
    case.neighbour_is_unharmed().await;
}
