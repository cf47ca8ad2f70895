//! Target `configuration`: any text as a configuration, in a folder with two secrets and an environment with more.
//!
//! The input is the file's text. Promises: no panic; each problem says where it is and what is wrong, on a place that
//! the text has; the same text is read the same way again; and no byte of a secret, be it a file's or a variable's, is
//! in anything that is shown.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use drawgate::config::{self, Config, Problem, ProblemKind, Problems};

use crate::Seed;

/// Checks one input.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = read(&text);
    assert_eq!(format!("{read:?}"), format!("{:?}", self::read(&text)), "it is read in two ways");
    match read {
        Ok(config) => {
            assert!(!config.listeners.is_empty() && !config.routes.is_empty());
            assert_hidden(&text, &config.warnings.join("\n"), VARIABLE_MARKS);
            assert_hidden(&text, &format!("{config:?} {config:#?}"), FILE_MARKS);
        }
        Err(problems) => {
            assert!(problems.iter().count() > 0, "refused for nothing");
            problems.iter().for_each(|problem| assert_helpful(&text, problem));
            let shown = format!("{problems} {problems:?}");
            assert_hidden(&text, &shown, VARIABLE_MARKS);
            assert_hidden(&text, &shown, FILE_MARKS);
        }
    }
}

fn read(text: &str) -> Result<Config, Problems> {
    Config::from_toml(text, folder(), &variable)
}

/// It says where and what, on a place that there is.
fn assert_helpful(text: &str, problem: &Problem) {
    let is_placed = !problem.key.is_empty() || problem.position.is_some();
    assert!(is_placed || problem.kind == ProblemKind::Syntax, "{problem:?} is nowhere");
    assert!(!problem.wrong.is_empty() && !problem.advice.is_empty(), "{problem:?} says nothing");
    let found = problem.found.as_deref().unwrap_or_default();
    assert!(!found.contains('\n'), "{problem:?} shows more than a line");
    let Some(position) = problem.position else { return };
    let line = text.split('\n').nth(position.line.wrapping_sub(1)).expect("the line is one of the text's");
    let columns = line.chars().count() + 1;
    assert!((1..=columns).contains(&position.column), "{problem:?} is beyond its line's end");
}

/// No mark of a secret is shown but what the text itself has.
fn assert_hidden(text: &str, shown: &str, marks: &[&str]) {
    for mark in marks {
        assert!(!shown.contains(mark) || text.contains(mark), "{mark:?} is shown: {shown}");
    }
}

/// The environment.
fn variable(name: &str) -> Option<String> {
    let value = match name {
        "SECRET" => "zq7-planted.zq7",
        "SECRET_LINES" => "zq7\nzq7\r\n\u{1b}[31mzq7",
        "SECRET_NUMBER" => "97531864209753",
        "SECRET_URL" => "https://zq7:zq7@zq7.example/zq7?zq7#zq7",
        "SECRET_PATH" => "/zq7/zq7/*",
        "SECRET_LONG" => return Some("zq7".repeat(2000)),
        "ADDRESS" => "127.0.0.1:8080",
        "WORKERS" => "4",
        "DURATION" => "30s",
        "NAME" => "public",
        "REFERENCE" => "${SECRET}",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.to_owned())
}

/// What is in every secret variable.
const VARIABLE_MARKS: &[&str] = &["zq7", "9753186420"];

/// The folder of the configuration: with a key, and with what is too short for one. Made once.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/configuration");
        fs::create_dir_all(&folder).expect("the target folder can be written");
        for (name, content) in FILES {
            // Other processes may read it at the same time.
            let draft = folder.join(format!("{name}.{}", std::process::id()));
            fs::write(&draft, content).expect("the target folder can be written");
            fs::rename(&draft, folder.join(name)).expect("the target folder can be written");
        }
        folder
    })
}

const FILES: &[(&str, &str)] =
    &[("token.secret", "kx5-kx5-kx5-kx5-kx5-kx5-kx5-kx5-kx5 "), ("short.secret", "kx5-kx5")];

/// What is in every secret file.
const FILE_MARKS: &[&str] = &["kx5"];

/// The whole of it, and a dozen mistakes.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, text: &str| Seed { name: name.to_owned(), bytes: text.as_bytes().to_vec() };
    let mut seeds =
        vec![seed("demo", config::demo_text()), seed("start", config::start_text()), seed("least", LEAST)];
    seeds.extend(MISTAKES.iter().map(|(name, from, to)| {
        assert!(LEAST.contains(from), "{name} changes nothing");
        seed(name, &LEAST.replace(from, to))
    }));
    seeds
}

/// All that must be there, and a token.
const LEAST: &str = r#"[listeners.public]
address = "127.0.0.1:8080"
tls = "none"
[routes.main]
listeners = ["public"]
path = "/chat"
origins = ["https://app.example.com"]
auth = "users"
backend = "echo"
[routes.main.limits]
message_bytes_max = "1MiB"
[auth.users]
credentials = ["authorization_header", { cookie = "session" }]
algorithms = ["HS256"]
keys = { secret_file = "token.secret" }
issuer = "any"
audience = "chat"
"#;

/// Mistakes by name: what is replaced in [`LEAST`], by what.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("address-is-a-secret", "127.0.0.1:8080", "${SECRET}"),
    (
        "address-twice",
        "[routes.main]",
        "[listeners.other]\naddress = \"${ADDRESS}\"\ntls = \"none\"\n[routes.main]",
    ),
    ("auth-of-another-name", "auth = \"users\"", "auth = \"user\""),
    ("bound-exceeded", "\"1MiB\"", "\"99999999GiB\""),
    ("key-in-place-of-a-file", "token.secret", "0123456789abcdef0123456789abcdef"),
    ("key-too-short", "token.secret", "short.secret"),
    ("key-unknown", "message_bytes_max", "message_byte_max"),
    ("line-in-a-string", "\"/chat\"", "\"\"\"/chat\n${SECRET_LINES}\"\"\""),
    ("number-in-a-variable", "\"1MiB\"", "\"${SECRET_NUMBER}\""),
    ("origin-with-a-path", "https://app.example.com", "${SECRET_URL}"),
    ("string-never-ends", "\"HS256\"", "\"HS256"),
    ("table-for-a-string", "\"none\"", "{ certificate_file = \"tschüss\" }"),
    ("table-twice", "[auth.users]", "[routes.main]"),
    ("variable-not-set", "\"chat\"", "\"${MISSING} $$ ${\""),
    ("wrong-types", "[\"public\"]", "{ a = [1979-05-27T07:32:00Z, 1.5, nan, 0x10, true] }"),
];
