//! The floors of ARCHITECTURE.md hold: a module imports only from modules below it, so that none can be entangled with another.
//!
//! Reads the sources as text: what a module names as `crate::…`, and what it reaches by `super::…`, outside its tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules from the ground up, a floor a line; each may use what stands before it in this list.
const MODULES: [&str; 41] = [
    // Words that all others use.
    "clock",
    "chance",
    "hex",
    "trace",
    "secret",
    "network",
    "json",
    "principal",
    "limits",
    "causes",
    "reason",
    "route",
    "pulse",
    "rate",
    "url",
    // Decide, with `now` as an argument.
    "address",
    "balance",
    "audit",
    "firewall",
    "overload",
    "session",
    "compression",
    "auth",
    "ticket",
    "inspect",
    // Touch sockets and disk.
    "timers",
    "disk",
    "meter",
    "state",
    "observe",
    "tls",
    "jwks",
    "backend",
    "upgrade",
    "connection",
    // Compose.
    "control",
    "address_bans",
    "upstream_drains",
    "admin",
    "config",
    "server",
];

#[test]
fn modules_import_only_from_those_below_them() {
    let mut problems = Vec::new();
    let mut modules = BTreeSet::new();
    for (module, file, text) in sources() {
        let Some(floor) = MODULES.iter().position(|name| *name == module) else {
            problems.push(format!("{}: {module} is not in the list of modules", file.display()));
            continue;
        };
        let folder_depth = file.components().count() - 1;
        for import in imports(&text, &module, folder_depth) {
            if !MODULES[..=floor].contains(&import.as_str()) {
                problems.push(format!("{}: imports {import}, which is not below {module}", file.display()));
            }
        }
        modules.insert(module);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let listed: BTreeSet<String> = MODULES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(modules, listed, "the list names each module once, and none that is gone");
}

#[test]
fn imports_are_found_in_every_form() {
    let found = |text: &str| imports(text, "auth", 1).into_iter().collect::<Vec<_>>();
    assert_eq!(
        found("use crate::{admin, auth as stage, observe::{Traffic, Side}};"),
        ["admin", "auth", "observe"]
    );
    assert_eq!(found("fn f() -> crate::server::Server { $crate::config::x() }"), ["config", "server"]);
    assert_eq!(found("use super::keys; use super::super::server::Server;"), ["auth", "server"]);
    assert_eq!(found("use crate::{\n    admin,\n    route::Origins,\n};"), ["admin", "route"]);
    assert_eq!(
        found(
            "/// See crate::server.\n// super::super::server\n#[cfg(test)]\nmod tests { use crate::server; }"
        ),
        [""; 0]
    );
    assert_eq!(found("use crate::*;"), ["*"]);
    let at_top = |text: &str| imports(text, "auth", 0).into_iter().collect::<Vec<_>>();
    assert_eq!(at_top("use super::server::Server;"), ["server"]);
}

/// Every source file with the module that it belongs to, `lib.rs` and tests aside.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.file_stem().is_some_and(|name| name == "tests");
            if is_test || path == root.join("lib.rs") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.strip_prefix(&root).unwrap().to_owned();
                let first = Path::new(file.components().next().unwrap().as_os_str());
                let module = first.file_stem().unwrap().to_str().unwrap().to_owned();
                sources.push((module, file, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    sources
}

/// The modules of this crate that `text` names. It is a file of `module`, as many folders below the crate's root as
/// `folder_depth` says.
fn imports(text: &str, module: &str, folder_depth: usize) -> BTreeSet<String> {
    let code = code(text);
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        found.extend(heads(&code[at + "crate::".len()..]));
    }
    for (at, _) in code.match_indices("super::").filter(|(at, _)| !code[..*at].ends_with("super::")) {
        let path = &code[at..];
        let rest = path.trim_start_matches("super::");
        let levels = (path.len() - rest.len()) / "super::".len();
        if levels > folder_depth {
            found.extend(heads(rest));
        } else {
            found.insert(module.to_owned());
        }
    }
    found
}

/// The first names of `a::b`, `{a, b::{c, d}}` or `*`.
fn heads(path: &str) -> Vec<String> {
    let name = |text: &str| {
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        let name: String = text.trim_start().chars().take_while(|character| is_part(*character)).collect();
        if name.is_empty() { text.trim_start().chars().take(1).collect() } else { name }
    };
    let Some(list) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut depth = 1;
    let mut heads = vec![name(list)];
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => heads.push(name(&list[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    // What follows a comma at the end of a list.
    heads.retain(|head| head != "}");
    heads
}

/// `text` without comments and without its tests, which come last.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}
