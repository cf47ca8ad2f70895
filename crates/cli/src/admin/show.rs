//! What the gateway answered, for people: tables and sentences. What a client could have chosen is made harmless.

use std::fmt::Write as _;

use serde_json::Value;

use crate::token::shown;

/// A table of sessions, with its head where it is the first page.
pub(super) fn sessions(sessions: &[Value], is_first: bool) -> String {
    if sessions.is_empty() && is_first {
        return "no sessions\n".to_owned();
    }
    let names = ["id", "subject", "route", "client", "started_at", "expires_at"];
    let rows = sessions.iter().map(|session| names.map(|name| text(&session[name])));
    let head = ["SESSION", "SUBJECT", "ROUTE", "CLIENT", "SINCE", "UNTIL"];
    table(is_first.then_some(head), rows)
}

/// A table of applications.
pub(super) fn upstreams(upstreams: &[Value]) -> String {
    if upstreams.is_empty() {
        return "no route leads to an application\n".to_owned();
    }
    let rows = upstreams.iter().map(|upstream| {
        let count = |name: &str| upstream[name].as_i64().unwrap_or_default().to_string();
        let state = text(&upstream["state"]).replace('_', " ");
        [
            text(&upstream["upstream"]),
            text(&upstream["route"]),
            state,
            count("connections"),
            count("dials_failed"),
        ]
    });
    table(Some(["APPLICATION", "ROUTE", "STATE", "CONNECTIONS", "DIALS FAILED"]), rows)
}

/// What a drain does.
pub(super) fn drained(answer: &Value) -> String {
    let told = match answer["connections"].as_u64().unwrap_or_default() {
        0 => "it has no connection".to_owned(),
        1 => "1 connection is told to go".to_owned(),
        count => format!("{count} connections are told to go"),
    };
    format!("nobody is sent to {} any more: {told}\n", text(&answer["upstream"]))
}

/// A table of bans of either kind, with its head where it is the first page.
pub(super) fn bans(bans: &[Value], is_first: bool) -> String {
    let rows = bans.iter().map(|ban| {
        let kind = if ban["network"].is_string() { "address" } else { "subject" };
        let until = if ban["until"].is_null() { "for good".to_owned() } else { text(&ban["until"]) };
        let reason = ban["reason"].as_str().map(shown).unwrap_or_default();
        [kind.to_owned(), banned_name(ban), until, reason]
    });
    table(is_first.then_some(["KIND", "BANNED", "UNTIL", "REASON"]), rows)
}

/// Rows in columns of one width each, beneath `head`.
fn table<const N: usize>(head: Option<[&str; N]>, rows: impl Iterator<Item = [String; N]>) -> String {
    let head = head.map(|names| names.map(str::to_owned));
    let rows: Vec<[String; N]> = head.into_iter().chain(rows).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// What a revocation did.
pub(super) fn revoked(answer: &Value) -> String {
    let target = ["subject", "token_id", "session"]
        .iter()
        .find_map(|name| Some(format!("{} {}", name.replace('_', " "), shown(answer[*name].as_str()?))))
        .unwrap_or_else(|| "everyone".to_owned());
    let until = match &answer["issued_until"] {
        Value::String(time) => format!("; tokens issued until {} are refused", shown(time)),
        _ => "; it is refused from now on".to_owned(),
    };
    format!("revoked {target}: {}{until}\n", closed(answer, "session"))
}

/// What a ban did.
pub(super) fn banned(answer: &Value) -> String {
    let time = match &answer["until"] {
        Value::String(until) => format!("until {}", shown(until)),
        _ => "for good".to_owned(),
    };
    let what = if answer["network"].is_string() { "connection" } else { "session" };
    format!("banned {} {time}: {}\n", banned_name(answer), closed(answer, what))
}

/// What another configuration changed.
pub(super) fn reloaded(answer: &Value) -> String {
    let mut lines = "the configuration was read again and is in force\n".to_owned();
    for (member, what) in [
        ("routes_added", "new routes"),
        ("routes_changed", "changed routes"),
        ("routes_removed", "routes that are gone"),
        ("listeners_added", "new listeners"),
        ("listeners_removed", "listeners that are gone"),
        ("needs_restart", "changed, and needs a restart"),
    ] {
        let names: Vec<String> =
            answer[member].as_array().into_iter().flatten().filter_map(Value::as_str).map(shown).collect();
        if !names.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "  {what}: {}", names.join(", "));
        }
    }
    for (member, what) in [
        ("sessions_ended", "sessions ended, for their keys are gone"),
        ("connections_denied", "connections ended, for their addresses are denied"),
    ] {
        if let Some(count) = answer[member].as_u64().filter(|count| *count > 0) {
            let _ = writeln!(lines, "  {count} {what}");
        }
    }
    for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(lines, "warning: {}", shown(warning));
    }
    lines
}

/// The network or the subject of a ban.
fn banned_name(ban: &Value) -> String {
    text(if ban["network"].is_string() { &ban["network"] } else { &ban["subject"] })
}

/// Each on a line of its own, as JSON.
pub(super) fn lines(values: &[Value]) -> String {
    values.iter().map(line).collect()
}

pub(super) fn line(value: &Value) -> String {
    format!("{value}\n")
}

/// A string, or a dash where there is none.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), shown)
}

fn closed(answer: &Value, what: &str) -> String {
    match answer["closed"].as_u64().unwrap_or_default() {
        1 => format!("1 {what} closed"),
        count => format!("{count} {what}s closed"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_aligned_and_shows_nothing_that_steers_a_terminal() {
        let session = |id: &str, subject: &str| {
            json!({
                "id": id, "subject": subject, "route": "chat", "client": "::1",
                "started_at": "2026-11-22T08:44:14Z", "expires_at": "2026-11-22T09:44:14Z",
            })
        };
        let table = sessions(&[session("a1", "alice"), session("b2", "b\u{1b}[2J")], true);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "SESSION  SUBJECT     ROUTE  CLIENT  SINCE                 UNTIL");
        assert_eq!(
            lines[1],
            "a1       alice       chat   ::1     2026-11-22T08:44:14Z  2026-11-22T09:44:14Z"
        );
        assert!(lines[2].contains("b\\u001b[2J"), "{table}");
        assert_eq!(sessions(&[], true), "no sessions\n");
        assert_eq!(sessions(&[], false), "");
        assert_eq!(sessions(&[session("a1", "a")], false).lines().count(), 1);
    }

    #[test]
    fn what_was_done_is_one_sentence() {
        let answer =
            json!({ "subject": "alice", "issued_until": "2026-11-22T08:44:14Z", "until": null, "closed": 2 });
        assert_eq!(
            revoked(&answer),
            "revoked subject alice: 2 sessions closed; tokens issued until 2026-11-22T08:44:14Z are refused\n"
        );
        let answer = json!({ "token_id": "t1", "until": null, "closed": 1 });
        assert_eq!(revoked(&answer), "revoked token id t1: 1 session closed; it is refused from now on\n");
        let answer = json!({ "everyone": true, "issued_until": "2026-11-22T08:44:14Z", "closed": 0 });
        assert!(revoked(&answer).starts_with("revoked everyone: 0 sessions closed; "));
        assert_eq!(
            banned(&json!({ "subject": "alice", "until": null, "closed": 1 })),
            "banned alice for good: 1 session closed\n"
        );
        let answer = json!({ "network": "192.0.2.0/24", "until": "2026-11-22T08:44:14Z", "closed": 2 });
        assert_eq!(banned(&answer), "banned 192.0.2.0/24 until 2026-11-22T08:44:14Z: 2 connections closed\n");
    }

    #[test]
    fn bans_of_both_kinds_stand_in_one_table_and_steer_no_terminal() {
        let networks = [json!({ "network": "192.0.2.0/24", "until": null, "reason": "flood\u{1b}[2J" })];
        let subjects = [json!({ "subject": "alice", "until": "2026-11-22T08:44:14Z" })];
        let table = bans(&networks, true) + &bans(&subjects, false);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "KIND     BANNED        UNTIL     REASON");
        assert_eq!(lines[1], "address  192.0.2.0/24  for good  flood\\u001b[2J");
        assert_eq!(lines[2], "subject  alice  2026-11-22T08:44:14Z");
    }
}
