//! Reads how applications are asked whether they are well: `health` of a backend.

use crate::backend::upstream::{Check, CheckKind};
use crate::config::defaults;
use crate::config::problem::ProblemKind;
use crate::config::read::{Context, Table, Value};

/// The checks that `value` asks for.
pub(super) fn health(context: &mut Context<'_>, value: &Value<'_>) -> Option<Check> {
    let mut table = value.table(context)?;
    let kind = table.required(context, "kind").and_then(|value| value.choice(context, &KINDS, &[]));
    let path = match table.take("path") {
        None => Some(None),
        Some(value) => path(context, &value).map(|path| Some((path, value))),
    };
    let check = Check {
        kind: CheckKind::Tcp,
        interval: table.deadline(context, &defaults::CHECK_INTERVAL),
        timeout: table.deadline(context, &defaults::CHECK_TIMEOUT),
        failures_max: table.count(context, &defaults::CHECK_FAILURES_MAX).unwrap_or(u32::MAX),
        successes_min: table.count(context, &defaults::CHECK_SUCCESSES_MIN).unwrap_or(1),
    };
    let kind = kind.zip(path).and_then(|(kind, path)| asked(context, &table, kind, path));
    table.finish(context);
    Some(Check { kind: kind?, ..check })
}

/// What is asked, where a path stands with it that has one and with no other.
fn asked(
    context: &mut Context<'_>,
    table: &Table<'_>,
    kind: Kind,
    path: Option<(String, Value<'_>)>,
) -> Option<CheckKind> {
    match (kind, path) {
        (Kind::Tcp, None) => Some(CheckKind::Tcp),
        (Kind::Tcp, Some((_, value))) => {
            value.not_allowed(
                context,
                "is for a check that asks nothing",
                "leave it out, or write kind = \"http\"",
            );
            None
        }
        (Kind::Http, Some((path, _))) => Some(CheckKind::Http { path }),
        (Kind::Http, None) => {
            let (wrong, advice) = (
                "asks for no path",
                "add path = \"/healthz\", or where the application says that it is well",
            );
            context.report_unseen(table.place(), ProblemKind::Missing, wrong, advice);
            None
        }
        (Kind::WebSocket, path) => Some(CheckKind::WebSocket { path: path.map(|(path, _)| path) }),
    }
}

fn path(context: &mut Context<'_>, value: &Value<'_>) -> Option<String> {
    let path = value.text(context)?;
    // RFC 3986 §3.3: everything else stands in it escaped.
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte));
    if path.starts_with('/') && !path.starts_with("//") && is_plain && path.len() <= PATH_BYTES_MAX {
        return Some(path);
    }
    value.not_allowed(context, "is no path", "write one such as \"/healthz\"; other characters as %XX");
    None
}

#[derive(Clone, Copy)]
enum Kind {
    Tcp,
    Http,
    WebSocket,
}

const KINDS: [(&str, Kind); 3] = [("tcp", Kind::Tcp), ("http", Kind::Http), ("websocket", Kind::WebSocket)];
const PATH_BYTES_MAX: usize = 2048;
