//! The configuration through its public door: what is accepted, and each kind of problem.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::backend::upstream;
use crate::balance::{Balance, HashBy};
use crate::limits::Limits;
use crate::observe::{LogFormat, LogLevel};
use crate::route::{Echo, Notice};

mod addresses;
mod arbitrary;
mod bans;
mod each_key;
mod everything;
mod health;
mod inspect;
mod keys;
mod passing;
mod refusals;
mod state;
mod tls;

/// The least that is valid: everything required, nothing else.
const LEAST: &str = r#"
[listeners.public]
address = "127.0.0.1:8080"
tls = "none"

[routes.chat]
listeners = ["public"]
path = "/chat"
origins = "any"
auth = "none"
backend = "echo"
"#;

/// What the secret file holds in these tests.
const SECRET: &str = "0123456789abcdef0123456789abcdef-the-secret";

fn no_environment(_name: &str) -> Option<String> {
    None
}

fn read(text: &str) -> Result<Config, Problems> {
    Config::from_toml(text, Path::new("/nowhere"), &no_environment)
}

/// Reads `text` beside a file `token.secret` with this content, for its owner only.
fn read_with_secret(text: &str, secret: &str) -> Result<Config, Problems> {
    let folder = secret_folder(secret);
    fs::write(folder.path().join("chat.schema.json"), "{}").unwrap();
    Config::from_toml(text, folder.path(), &no_environment)
}

fn secret_folder(secret: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["token.secret", "admin.token"] {
        let file = folder.path().join(name);
        fs::write(&file, secret).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    tls::write_pair(folder.path(), tls::pair());
    folder
}

/// The only problem with `text`.
#[track_caller]
fn problem(text: &str) -> Problem {
    only(read_with_secret(text, SECRET))
}

#[track_caller]
fn only(result: Result<Config, Problems>) -> Problem {
    let problems = result.expect_err("this has a problem");
    assert_eq!(problems.len(), 1, "{problems}");
    problems.iter().next().unwrap().clone()
}

/// [`LEAST`] with `find` replaced, which must be there.
#[track_caller]
fn with(find: &str, replacement: &str) -> String {
    assert!(LEAST.contains(find), "{find}");
    LEAST.replace(find, replacement)
}

/// [`LEAST`] with an authenticator `users` that the route uses; `keys` are its lines.
fn with_auth(lines: &str) -> String {
    format!("{}\n[auth.users]\n{lines}", with("auth = \"none\"", "auth = \"users\""))
}

/// An authenticator's required lines.
const AUTH: &str = r#"
credentials = ["first_message"]
algorithms = ["HS256"]
keys = { secret_file = "token.secret" }
issuer = "any"
audience = "chat"
"#;

/// The lines of [`AUTH`] with one of them replaced.
#[track_caller]
fn auth_with(find: &str, replacement: &str) -> String {
    assert!(AUTH.contains(find), "{find}");
    with_auth(&AUTH.replace(find, replacement))
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = read_with_secret(&with_auth(AUTH), SECRET).unwrap();
    assert_eq!(
        config.server,
        ServerConfig {
            workers: None,
            drain_timeout: Duration::from_secs(10),
            reload_on_change: false,
            connections_max: None,
            unauthenticated_max: 10_000,
            overload: crate::overload::Config::default(),
        }
    );
    assert_eq!(config.buffers_bytes_max, 256 * 1024 * 1024);
    assert_eq!(config.compression_bytes_max, 256 * 1024 * 1024);
    let [listener] = &config.listeners[..] else { panic!("one listener") };
    assert_eq!((listener.name.as_str(), listener.address.port()), ("public", 8080));
    assert_eq!((listener.head_timeout, listener.required), (Duration::from_secs(5), true));
    let [route] = &config.routes[..] else { panic!("one route") };
    assert_eq!(route.limits, Limits::default(), "the library's defaults are the table's");
    assert_eq!(
        (&route.hosts, route.notice, &route.backend),
        (&Vec::new(), Notice::Close, &BackendConfig::Echo(Echo::default()))
    );
    let auth = &config.auth["users"];
    assert_eq!((auth.subject_claims.as_slice(), &auth.token_types), (&["sub".to_owned()][..], &None));
    assert_eq!(auth.first_message_timeout, Duration::from_secs(5));
    assert_eq!(auth.token_lifetime_max, Some(Duration::from_secs(86_400)));
    assert_eq!(auth.leeway, Duration::from_secs(30));
    assert_eq!(auth.failures_per_client_per_minute, Some(30));
    assert_eq!(auth.failures_per_subject_per_minute, Some(100));
    assert_eq!(config.firewall, firewall::Config::default(), "the library's defaults are the table's");
    assert_eq!(config.firewall.connections_per_client_max, Some(1000));
    assert_eq!(config.firewall.handshakes_per_client_per_minute, Some(3000));
    assert_eq!(
        config.log,
        observe::Config { level: LogLevel::Info, format: LogFormat::Json, error_file: None }
    );
    assert_eq!(config.admin, None);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn r03_what_a_48_may_have_follows_what_a_client_may_unless_it_is_written() {
    for (lines, expected) in [
        ("connections_per_client_max = 7", Some(28)),
        ("connections_per_client_max = \"unlimited\"", None),
        ("connections_per_client_max = \"unlimited\"\nconnections_per_v6_48_max = 5", Some(5)),
        ("connections_per_v6_48_max = \"unlimited\"", None),
        ("connections_per_client_max = 1073741824", Some(u32::MAX)),
    ] {
        let config = read(&format!("{LEAST}\n[firewall]\n{lines}")).unwrap();
        assert_eq!(config.firewall.connections_per_v6_48_max, expected, "{lines}");
    }
}

#[test]
fn every_problem_is_reported_at_once_in_the_order_of_the_file() {
    let text = "[listeners.public]\naddress = \"localhost:80\"\ntls = \"none\"\n\n[routes.chat]\n\
        listeners = [\"pubic\"]\npath = \"chat\"\norigin = \"any\"\nauth = \"none\"\nbackend = \"echo\"\n\
        [routes.chat.limits]\nping_interval = \"20 parsecs\"\nmessages_per_second = 0\nmessage_bytes_max = 5\n";
    let problems = read(text).expect_err("nearly all of it is wrong");
    let seen: Vec<_> = problems
        .iter()
        .map(|problem| (problem.position.map_or(0, |at| at.line), problem.key.as_str(), problem.kind))
        .collect();
    use ProblemKind::{Missing, NoSuchReference, NotAllowed, UnknownKey};
    assert_eq!(
        seen,
        [
            (2, "listeners.public.address", NotAllowed),
            (5, "routes.chat.origins", Missing),
            (6, "routes.chat.listeners[0]", NoSuchReference),
            (7, "routes.chat.path", NotAllowed),
            (8, "routes.chat.origin", UnknownKey),
            (12, "routes.chat.limits.ping_interval", NotAllowed),
            (13, "routes.chat.limits.messages_per_second", NotAllowed),
            (14, "routes.chat.limits.message_bytes_max", NotAllowed),
        ],
        "{problems}"
    );
    let text = problems.to_string();
    assert!(
        text.starts_with("8 problems:\nline 2: listeners.public.address = \"localhost:80\"\n    "),
        "{text}"
    );
    assert!(text.contains("did you mean origins?"), "{text}");
    assert!(text.contains("did you mean \"public\"?") || text.contains("write \"public\""), "{text}");
    assert!(text.contains("line 12: routes.chat.limits.ping_interval = \"20 parsecs\"\n"), "{text}");
    assert!(text.contains("from \"10ms\" to \"7d\", or \"unlimited\""), "{text}");
}

#[test]
fn broken_toml_is_a_problem_with_line_and_column_and_without_its_text() {
    let problem = problem("[listeners.a]\nsecret = \"abc\ntls = 'none'\n");
    assert_eq!(problem.kind, ProblemKind::Syntax);
    assert_eq!(problem.position.unwrap().line, 2);
    assert!(problem.to_string().starts_with("line 2, column "), "{problem}");
    assert!(!problem.to_string().contains("abc"), "{problem}");
    assert_eq!(read("a = 1\na = 2\n").unwrap_err().iter().next().unwrap().kind, ProblemKind::Syntax);
    let many = read(&"= [\n".repeat(1000)).unwrap_err();
    assert!(many.len() <= 20, "{}", many.len());
    assert_eq!(only(read(&"#".repeat(TEXT_BYTES_MAX + 1))).kind, ProblemKind::Syntax);
}

fn echoing(prefix: &str) -> BackendConfig {
    BackendConfig::Echo(Echo { prefix: prefix.to_owned() })
}

#[test]
fn an_application_is_named_by_its_addresses() {
    let text = with_auth(AUTH).replace(
        "backend = \"echo\"",
        "backend = { urls = [\"ws://127.0.0.1:9000\", { url = \"ws://app.example/ws\", weight = 3, connections_max = 9 }], \
         balance = { hash = { header = \"X-Room\" } }, failures_max = \"unlimited\", dials_max = 7, compression = \"on\", connect_timeout = \"1s\" }",
    );
    let config = read_with_secret(&text, SECRET).unwrap();
    let BackendConfig::Upstream(upstream) = &config.routes[0].backend else { panic!("{config:?}") };
    let defaults = upstream::Config::new("ws://127.0.0.1:9000".parse().unwrap());
    let members: Vec<_> = upstream
        .members
        .iter()
        .map(|member| (member.url.to_string(), member.weight, member.connections_max))
        .collect();
    assert_eq!(
        members,
        [("ws://127.0.0.1:9000".to_owned(), 1, None), ("ws://app.example/ws".to_owned(), 3, Some(9))]
    );
    assert_eq!(upstream.balance, Balance::Hash(HashBy::Header("X-Room".to_owned())));
    assert_eq!((upstream.failures_max, upstream.dials_max), (None, 7));
    assert!(upstream.compression && !defaults.compression);
    assert_eq!((upstream.connect_timeout.as_secs(), upstream.answer_timeout), (1, defaults.answer_timeout));
    let table = [defaults::CONNECT_TIMEOUT.default, defaults::ANSWER_TIMEOUT.default];
    let library =
        [defaults.connect_timeout, defaults.answer_timeout].map(|time| u64::try_from(time.as_millis()).ok());
    assert_eq!(library, table, "a program without a file has the same deadlines");
}

#[test]
fn every_key_of_the_example_is_supported_or_refused_as_not_supported_yet() {
    let example = include_str!("example.toml");
    // Keys that the example shows in comments belong to it as well.
    let more = example
        .replace("# proxy_protocol", "proxy_protocol")
        .replace("trusted_proxies = []", "trusted_proxies = [\"10.0.0.0/8\"]")
        .replace("refuse = \"http\"", "refuse = \"close\"")
        .replace("store = \"embedded\"", "store = { redis_url = \"redis://127.0.0.1:6379\" }")
        .replace(
            "[routes.chat.inspect] ",
            "[routes.chat.inspect_replies]\nformat = \"json\"\n[routes.chat.inspect] ",
        );
    read_with_secret(example, SECRET).expect("all of the example");
    let problems = read_with_secret(&more, SECRET).expect_err("it has more than this version");
    let told: Vec<_> = problems.iter().map(|problem| (problem.key.as_str(), problem.kind)).collect();
    assert_eq!(told, [("state.store.redis_url", ProblemKind::NotSupportedYet)]);
}

#[test]
fn the_demo_is_valid_beside_its_secret() {
    let config = read_with_secret(demo_text(), &"0a".repeat(32)).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    let addresses: Vec<String> =
        config.listeners.iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:8765", "[::1]:8765", "127.0.0.1:8888"]);
    let required: Vec<bool> = config.listeners.iter().map(|listener| listener.required).collect();
    assert_eq!(required, [true, false, true]);
    let by_name = |name: &str| config.routes.iter().find(|route| route.name == name).unwrap();
    for (name, prefix, auth) in [
        ("echo", "Server received: ", None),
        ("email", "Valid: ", None),
        ("token", "Server received: ", Some("users")),
    ] {
        let route = by_name(name);
        assert_eq!((&route.backend, route.auth.as_deref()), (&echoing(prefix), auth), "{name}");
        assert_eq!(route.inspections.messages.is_some(), name == "email");
    }
    assert_eq!(config.auth["users"].subject_claims, ["sub", "user_id"]);
    let admin = config.admin.unwrap();
    assert_eq!((admin.address.to_string().as_str(), admin.tokens.len()), ("127.0.0.1:9090", 1));
    assert!(config.log.error_file.unwrap().path.ends_with("websocket_errors.log"));
    let missing: Vec<_> =
        read(demo_text()).unwrap_err().iter().map(|problem| (problem.kind, problem.key.clone())).collect();
    let files = ["auth.users.keys.secret_file", "admin.tokens.demo.file"];
    assert_eq!(missing, files.map(|key| (ProblemKind::File, key.to_owned())));
}

#[test]
fn the_starting_configuration_is_valid_as_it_is_and_with_all_its_suggestions() {
    let config = read(start_text()).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.routes[0].limits, Limits::default());
    let uncommented: String = start_text()
        .lines()
        .filter(|line| *line != "auth = \"none\"")
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => format!("{setting}\n"),
            Some(_) | None => format!("{line}\n"),
        })
        .collect();
    let config = read_with_secret(&uncommented, SECRET).unwrap();
    assert_eq!(config.auth.len(), 1);
    assert_eq!(config.server.workers, Some(2));
    assert_eq!(config.routes[0].limits, Limits::default(), "what it calls defaults are the defaults");
}
