//! The commands as they are called, on a folder of their own.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Barrier;

use clap::Parser as _;
use drawgate::auth::Expected;
use drawgate::auth::token::sign_hs256;
use drawgate::chance::Chance;
use drawgate::secret::Secret;
use serde_json::{Value, json};

use super::secret_file::SecretFile;
use super::*;

mod signing;

#[derive(clap::Parser)]
struct Program {
    #[command(flatten)]
    args: Args,
}

struct Ran {
    result: Result<Outcome, Error>,
    stdout: String,
    stderr: String,
}

const NOW_SECONDS: u64 = 1_795_338_000;
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Runs `drawgate token` with `words` and, where there is a folder, its `--data`.
fn run_with(words: &[&str], folder: Option<&Path>, stdin: &str, tables: &[(&str, auth::Config)]) -> Ran {
    let mut line = vec!["token".to_owned()];
    line.extend(words.iter().map(|word| (*word).to_owned()));
    if let Some(folder) = folder {
        line.extend(["--data".to_owned(), folder.to_str().unwrap().to_owned()]);
    }
    let program = Program::try_parse_from(line).unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut world = World {
        stdin: &mut stdin.as_bytes(),
        stdin_is_terminal: false,
        stdout: &mut stdout,
        stderr: &mut stderr,
        now: UnixTime::from_seconds(NOW_SECONDS),
        read_config: &|_| {
            Ok(tables.iter().map(|(name, config)| ((*name).to_owned(), config.clone())).collect())
        },
        fetch_keys: &|_| Err("it is down".to_owned()),
    };
    let result = run(&program.args, &mut world);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { result, stdout: text(stdout), stderr: text(stderr) }
}

fn data_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    ensure_secret(folder.path(), &Chance::seeded(1)).unwrap();
    folder
}

fn issue(folder: &Path, words: &[&str]) -> Ran {
    run_with(&[&["issue", "--subject", "alice"], words].concat(), Some(folder), "", &[])
}

fn inspect(folder: &Path, token: &str) -> Ran {
    run_with(&["inspect"], Some(folder), token, &[])
}

fn claims_of(token: &str) -> Map {
    auth::token::read_unverified(token.trim_end().as_bytes()).unwrap().claims
}

type Map = serde_json::Map<String, Value>;

fn object(value: &Value) -> Map {
    value.as_object().unwrap().clone()
}

#[test]
fn an_issued_token_stands_alone_and_is_valid() {
    let folder = data_folder();
    let issued = issue(folder.path(), &[]);
    assert_eq!(issued.result.unwrap(), Outcome::Done);
    assert_eq!(issued.stderr, "");
    assert_eq!(issued.stdout.lines().count(), 1);
    assert_eq!(
        claims_of(&issued.stdout),
        object(&json!({ "sub": "alice", "iat": NOW_SECONDS, "exp": NOW_SECONDS + 3600 }))
    );
    let inspected = inspect(folder.path(), &issued.stdout);
    assert_eq!(inspected.result.unwrap(), Outcome::Done);
    assert!(
        inspected.stdout.starts_with("This token is valid for another 60 minutes.\n"),
        "{}",
        inspected.stdout
    );
    assert_eq!(inspected.stderr, "");
}

#[test]
fn claims_are_added_and_times_are_as_asked() {
    let folder = data_folder();
    let issued =
        issue(folder.path(), &["--expires-in", "15m", "--claim", "roles=[\"a\"]", "--claim", "team=blue"]);
    assert_eq!(
        claims_of(&issued.stdout),
        object(&json!({
            "sub": "alice", "iat": NOW_SECONDS, "exp": NOW_SECONDS + 900, "roles": ["a"], "team": "blue"
        }))
    );
}

#[test]
fn an_expired_token_can_be_issued_and_is_explained() {
    let folder = data_folder();
    for time in ["-1h", "-48h"] {
        let issued = issue(folder.path(), &["--expires-in", time]);
        assert_eq!((issued.result.unwrap(), &*issued.stderr), (Outcome::Done, ""));
        let claims = claims_of(&issued.stdout);
        assert_eq!(claims["iat"], claims["exp"]);
        let inspected = inspect(folder.path(), &issued.stdout);
        assert_eq!(inspected.result.unwrap(), Outcome::NotValid);
        assert!(
            inspected.stdout.starts_with("This token is not valid: the token has expired.\n"),
            "{}",
            inspected.stdout
        );
    }
    let issued = issue(folder.path(), &["--expires-in", "-10s"]);
    let inspected = inspect(folder.path(), &issued.stdout);
    assert!(inspected.stdout.starts_with("This token is valid only by the leeway of 30 seconds"));
}

#[test]
fn a_token_that_the_gateway_will_refuse_is_issued_with_a_note() {
    let folder = data_folder();
    let issued = issue(folder.path(), &["--expires-in", "7d"]);
    assert_eq!(
        issued.stderr,
        "note: the gateway will refuse this token: the token is valid for longer than is allowed\n"
    );
    assert_eq!(issued.stdout.lines().count(), 1);
}

#[test]
fn an_expiry_before_1970_is_refused() {
    let folder = data_folder();
    let issued = issue(folder.path(), &["--expires-in", "-36500d"]);
    assert!(matches!(issued.result, Err(Error::ExpiryOutOfRange)));
    assert_eq!(issued.stdout, "");
}

#[test]
fn inspecting_says_what_each_claim_means() {
    let folder = data_folder();
    let secret = demo_config(folder.path()).unwrap().auth["users"].keys.secret().unwrap().clone();
    let claims = object(&json!({
        "user_id": "bob", "iat": NOW_SECONDS - 300, "nbf": NOW_SECONDS - 60, "exp": NOW_SECONDS + 720, "jti": "t-1",
        "role": "admin"
    }));
    let inspected = inspect(folder.path(), &sign_hs256(&secret, &claims));
    assert_eq!(
        inspected.stdout,
        r#"This token is valid for another 12 minutes.

Header
  alg  "HS256"  how it is signed; the gateway's key decides whether that is allowed
  typ  "JWT"    what kind of token it is

Claims
  exp      1795338720  expires at 2026-11-22T09:12:00Z, in 12 minutes
  iat      1795337700  issued at 2026-11-22T08:55:00Z, 5 minutes ago
  jti      "t-1"       the token's own name, by which it can be revoked
  nbf      1795337940  not valid before 2026-11-22T08:59:00Z, 60 seconds ago
  role     "admin"
  user_id  "bob"       the subject: who speaks on the connection
"#
    );
}

#[test]
fn distances_in_time_are_said_in_words() {
    let folder = data_folder();
    let secret = demo_config(folder.path()).unwrap().auth["users"].keys.secret().unwrap().clone();
    for (seconds_ago, words) in [
        (0, "now"),
        (1, "1 second ago"),
        (119, "119 seconds ago"),
        (120, "2 minutes ago"),
        (7199, "119 minutes ago"),
        (7200, "2 hours ago"),
        (172_799, "47 hours ago"),
        (172_800, "2 days ago"),
    ] {
        let claims = object(&json!({ "iat": NOW_SECONDS - seconds_ago }));
        let inspected = inspect(folder.path(), &sign_hs256(&secret, &claims)).stdout;
        assert!(inspected.ends_with(&format!("Z, {words}\n")), "{inspected}");
    }
}

#[test]
fn a_forged_token_is_explained_without_being_believed() {
    let folder = data_folder();
    let claims = object(&json!({ "sub": "root", "exp": "soon" }));
    let inspected = inspect(folder.path(), &sign_hs256(&Secret::new(KEY.as_bytes()), &claims));
    assert_eq!(inspected.result.unwrap(), Outcome::NotValid);
    assert!(inspected.stdout.starts_with(
        "This token is not valid: the signature does not fit.\nWhat follows is what it says; nothing proves"
    ));
    assert!(inspected.stdout.contains("not a time: it must be a number of seconds since 1970"));
}

#[test]
fn what_is_no_token_is_said_to_be_none() {
    let folder = data_folder();
    for (text, why) in [
        ("", "the token has not exactly three parts"),
        ("hello", "the token has not exactly three parts"),
        ("e30.e30.!", "the header's alg is not what the key is for"),
        ("eyI.e30.e30", "the header is not strict JSON: the text ends too early at byte 2"),
    ] {
        let inspected = inspect(folder.path(), text);
        assert_eq!(inspected.result.unwrap(), Outcome::NotValid);
        assert!(
            inspected.stdout.starts_with(&format!("This token is not valid: {why}.\n")),
            "{}",
            inspected.stdout
        );
    }
    let inspected = inspect(folder.path(), &"a".repeat(1_000_000));
    assert_eq!(inspected.stdout, "This token is not valid: the token is longer than 8192 bytes.\n");
}

#[test]
fn r16_nothing_in_a_token_can_steer_the_terminal() {
    let folder = data_folder();
    let claims = object(&json!({ "sub": "a\u{1b}[31m\n\u{9b}2J\u{202e}", "\u{200b}\u{7}": "\u{e0041}" }));
    let inspected = inspect(folder.path(), &sign_hs256(&Secret::new(KEY.as_bytes()), &claims));
    assert!(
        inspected.stdout.contains(r#""a\u001b[31m\n\u009b2J\u202e""#)
            && inspected.stdout.contains(r#"\u200b\u0007  "\ue0041""#),
        "{}",
        inspected.stdout
    );
    assert!(!inspected.stdout.contains(|shown: char| shown.is_control() && shown != '\n'));
}

#[test]
fn a_token_in_the_arguments_is_warned_about_and_a_dash_reads_standard_input() {
    let folder = data_folder();
    let token = issue(folder.path(), &[]).stdout.trim_end().to_owned();
    let given = run_with(&["inspect", &token], Some(folder.path()), "", &[]);
    assert_eq!(given.result.unwrap(), Outcome::Done);
    assert!(given.stderr.starts_with("warning: a token in the arguments can be seen"), "{}", given.stderr);
    assert!(!given.stderr.contains(&token));
    let piped = run_with(&["inspect", "-"], Some(folder.path()), &format!("{token}\n"), &[]);
    assert_eq!(
        (piped.result.unwrap(), piped.stderr, piped.stdout),
        (Outcome::Done, String::new(), given.stdout)
    );
}

#[test]
fn o19_the_key_is_never_printed() {
    let folder = data_folder();
    let key = std::fs::read_to_string(folder.path().join("token.secret")).unwrap();
    let issued = issue(folder.path(), &[]);
    let inspected = inspect(folder.path(), &issued.stdout);
    for text in [&issued.stdout, &issued.stderr, &inspected.stdout, &inspected.stderr] {
        assert!(!text.contains(&key));
    }
}

#[test]
fn a_missing_key_is_not_made_but_said_how_to_make() {
    let folder = tempfile::tempdir().unwrap();
    for ran in [issue(folder.path(), &[]), inspect(folder.path(), "a.b.c")] {
        let error = ran.result.unwrap_err().to_string();
        assert!(error.contains("run `drawgate demo` once") && error.contains("token.secret"), "{error}");
        assert_eq!(ran.stdout, "");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_key_that_is_too_short_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token.secret"), "short\n").unwrap();
    let error = issue(folder.path(), &[]).result.unwrap_err().to_string();
    assert!(
        error.contains("too short for a key, which could be guessed; remove it, and `drawgate demo`"),
        "{error}"
    );
    assert!(!error.contains("short\n"));
}

#[test]
fn a_configuration_gives_key_rules_and_names() {
    let folder = data_folder();
    let rules = choose(demo_config(folder.path()).unwrap().auth, None).unwrap();
    let users = auth::Config {
        issuer: Expected::Exactly("issuer".to_owned()),
        audience: Expected::Exactly("chat".to_owned()),
        subject_claims: vec!["user_id".to_owned()],
        ..rules.clone()
    };
    let words = ["issue", "--subject", "bob", "--config", "gate.toml"];
    let one = run_with(&words, None, "", &[("users", users.clone())]);
    assert_eq!(one.stderr, "");
    assert_eq!(
        claims_of(&one.stdout),
        object(&json!({
            "user_id": "bob", "iss": "issuer", "aud": "chat", "iat": NOW_SECONDS, "exp": NOW_SECONDS + 3600
        }))
    );
    let inspected =
        run_with(&["inspect", "--config", "gate.toml"], None, &one.stdout, &[("users", users.clone())]);
    assert_eq!(inspected.result.unwrap(), Outcome::Done);

    let two = [("bots", rules), ("users", users)];
    let unclear = run_with(&words, None, "", &two).result.unwrap_err().to_string();
    assert!(unclear.ends_with("choose with `--auth NAME` one of bots, users"), "{unclear}");
    let named = run_with(&[&words[..], &["--auth", "bots"]].concat(), None, "", &two);
    assert_eq!(claims_of(&named.stdout)["sub"], "bob");
    let unknown =
        run_with(&[&words[..], &["--auth", "x"]].concat(), None, "", &two).result.unwrap_err().to_string();
    assert_eq!(unknown, "the configuration has no [auth.x] table; it has bots, users");
    let none = run_with(&words, None, "", &[]).result.unwrap_err().to_string();
    assert!(none.starts_with("the configuration has no [auth.NAME] table"), "{none}");
}

#[test]
fn the_secret_is_made_once_whole_and_private() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    let made = ensure_secret(&folder, &Chance::seeded(1)).unwrap();
    assert_eq!(made, SecretFile { path: folder.join("token.secret"), created: true, warning: None });
    let text = std::fs::read_to_string(&made.path).unwrap();
    assert!(text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{text}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&made.path)), (0o700, 0o600));

    let again = ensure_secret(&folder, &Chance::seeded(2)).unwrap();
    assert_eq!(again, SecretFile { created: false, ..made });
    assert_eq!(std::fs::read_to_string(&again.path).unwrap(), text);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn a_secret_that_others_can_read_is_warned_about() {
    let folder = data_folder();
    let path = folder.path().join("token.secret");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let warning = ensure_secret(folder.path(), &Chance::seeded(1)).unwrap().warning.unwrap();
    assert!(warning.contains("(mode 0640): run `chmod 600"), "{warning}");
    assert!(issue(folder.path(), &[]).stderr.starts_with("warning: others on this machine"));
}

#[test]
fn of_many_that_start_at_once_one_makes_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    let barrier = Barrier::new(8);
    let created: Vec<bool> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|seed| {
                let (barrier, folder) = (&barrier, folder.path());
                scope.spawn(move || {
                    barrier.wait();
                    let file = ensure_secret(folder, &Chance::seeded(seed)).unwrap();
                    assert_eq!(std::fs::read(&file.path).unwrap().len(), 64);
                    file.created
                })
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(created.iter().filter(|created| **created).count(), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_named_with_what_to_do() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = ensure_secret(&file.path().join("data"), &Chance::seeded(1)).unwrap_err().to_string();
    assert!(error.contains("cannot be made") && error.contains("--data DIR"), "{error}");
}

#[test]
fn arguments_that_contradict_each_other_are_refused() {
    for words in [
        &["issue"][..],
        &["issue", "--subject", ""],
        &["issue", "--subject", "a", "--expires-in", "soon"],
        &["issue", "--subject", "a", "--claim", "novalue"],
        &["issue", "--subject", "a", "--data", "d", "--config", "f"],
        &["issue", "--subject", "a", "--auth", "users"],
        &["inspect", "a.b.c", "d.e.f"],
        &[],
    ] {
        let line = ["token"].iter().chain(words);
        assert!(Program::try_parse_from(line).is_err(), "{words:?}");
    }
}

#[test]
fn where_keys_cannot_be_fetched_nothing_is_said_of_a_token() {
    let folder = data_folder();
    let token = issue(folder.path(), &[]).stdout;
    let users = auth::Config {
        algorithms: vec![auth::Algorithm::Es256],
        keys: auth::Keys::Remote(RemoteKeys {
            location: auth::KeyLocation::Url("https://issuer.example/jwks".parse().unwrap()),
            authorities_file: None,
            refresh_interval: std::time::Duration::from_mins(5),
            stale_max: std::time::Duration::from_hours(1),
        }),
        ..choose(demo_config(folder.path()).unwrap().auth, None).unwrap()
    };
    let inspected = run_with(&["inspect", "--config", "gate.toml"], None, &token, &[("users", users)]);
    let error = inspected.result.unwrap_err().to_string();
    assert_eq!(error, "the keys to verify with cannot be fetched: it is down");
    assert_eq!(inspected.stdout, "");
}
