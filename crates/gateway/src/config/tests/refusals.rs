//! What is refused: each kind of problem, its place, and that no secret is told with it.

use std::fs;
use std::path::Path;

use super::*;

#[test]
fn unknown_keys_are_refused_at_every_level() {
    for (line, key) in [
        ("[serve]\n", "serve"),
        ("[server]\nworker = 1", "server.worker"),
        ("[listeners.public.x]", "listeners.public.x"),
        ("[routes.chat.limits]\nping = \"1s\"", "routes.chat.limits.ping"),
        ("[firewall]\n\"a b\" = 1", "firewall.\"a b\""),
        ("[log]\nerror_file = { path = \"x\", bytes = 1 }", "log.error_file.bytes"),
        ("[admin]\naddress = \"127.0.0.1:1\"\nport = 1", "admin.port"),
    ] {
        let problem = problem(&format!("{LEAST}\n{line}"));
        assert_eq!((problem.kind, problem.key.as_str()), (ProblemKind::UnknownKey, key), "{problem}");
    }
    assert_eq!(
        problem(&with("backend = \"echo\"", "backend = { echo = { x = 1 } }")).key,
        "routes.chat.backend.echo.x"
    );
    assert_eq!(problem(&auth_with("token.secret\" }", "token.secret\", x = 1 }")).key, "auth.users.keys.x");
    assert_eq!(problem(&with_auth(&format!("{AUTH}\nissuers = 1"))).advice, "did you mean issuer?");
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    for (find, replacement) in [
        ("address = \"127.0.0.1:8080\"", "address = 8080"),
        ("tls = \"none\"", "tls = false"),
        ("listeners = [\"public\"]", "listeners = \"public\""),
        ("listeners = [\"public\"]", "listeners = [1]"),
        ("path = \"/chat\"", "path = [\"/chat\"]"),
        ("origins = \"any\"", "origins = true"),
        ("auth = \"none\"", "auth = false"),
        ("backend = \"echo\"", "backend = 1979-05-27"),
        ("backend = \"echo\"", "backend = { echo = \"x\" }"),
        ("[routes.chat]", "[log]\nlevel = 1\n[routes.chat]"),
        ("[routes.chat]", "[routes]\nother = 1\n[routes.chat]"),
    ] {
        assert_eq!(problem(&with(find, replacement)).kind, ProblemKind::WrongType, "{replacement}");
    }
    for table in ["server", "firewall", "log", "admin", "auth"] {
        let problem = problem(&format!("{table} = 1\n{LEAST}"));
        assert_eq!((problem.kind, problem.key.as_str()), (ProblemKind::WrongType, table));
    }
    assert!(read("listeners = 1\nroutes = []").unwrap_err().iter().all(|p| p.kind == ProblemKind::WrongType));
}

#[test]
fn values_that_are_not_allowed_are_refused() {
    for (find, replacement) in [
        ("127.0.0.1:8080", "localhost:8080"),
        ("127.0.0.1:8080", "127.0.0.1"),
        ("tls = \"none\"", "tls = \"off\""),
        ("[\"public\"]", "[]"),
        ("\"/chat\"", "\"/a/../b\""),
        ("path =", "hosts = []\npath ="),
        ("path =", "hosts = [\"a:80\"]\npath ="),
        ("path =", "hosts = [\"*.example.com\"]\npath ="),
        ("origins = \"any\"", "origins = \"https://a\""),
        ("origins = \"any\"", "origins = []"),
        ("origins = \"any\"", "origins = [\"null\"]"),
        ("origins = \"any\"", "origins = [\"any\"]"),
        ("origins = \"any\"", "origins = [\"https://a/\"]"),
        ("backend = \"echo\"", "backend = \"ehco\""),
        ("backend = \"echo\"", "backend = {}"),
        ("backend = \"echo\"", "backend = { urls = [] }"),
        ("backend = \"echo\"", "backend = { urls = [\"http://127.0.0.1:9000\"] }"),
        ("backend = \"echo\"", "backend = { urls = [\"ws://127.0.0.1:9000\"], echo = {} }"),
        ("backend = \"echo\"", "backend = \"echo\"\nnotice = \"xml\""),
        ("backend = \"echo\"", "backend = \"echo\"\n[log]\nerror_file = { path = \"\" }"),
    ] {
        assert_eq!(problem(&with(find, replacement)).kind, ProblemKind::NotAllowed, "{replacement}");
    }
    let prefix = format!("backend = {{ echo = {{ prefix = \"{}\" }} }}", "x".repeat(1025));
    let problem = problem(&with("backend = \"echo\"", &prefix));
    assert_eq!(problem.kind, ProblemKind::NotAllowed);
    assert!(problem.found.unwrap().len() < 100, "what is shown is bounded");
}

#[test]
fn r24_a_network_that_could_be_read_in_two_ways_is_refused_with_what_to_write() {
    for (text, wrong, advice) in [
        ("010.0.0.1", "is no address", "without leading zeros"),
        ("1.2.3", "is no address", "four decimal numbers"),
        ("localhost", "is no address", "names are not resolved"),
        ("1.2.3.4/33", "has a prefix longer than the 32 bits of its address", "write / and at most 32"),
        ("1.2.3.0/255.255.255.0", "has a prefix that is no number", "such as 192.0.2.0/24"),
        ("::ffff:1.2.3.4/96", "has bits set beyond its prefix", "write \"0.0.0.0/0\" for the whole network"),
        ("::/80", "holds addresses of IPv4 among those of IPv6", "write \"::/0\" for all of IPv6"),
        ("1.2.3.4/24", "has bits set beyond its prefix", "write \"1.2.3.0/24\" for the whole network"),
    ] {
        for list in ["allow", "deny"] {
            let problem = problem(&format!("{LEAST}\n[firewall]\n{list} = [\"192.0.2.0/24\", \"{text}\"]"));
            assert_eq!(problem.kind, ProblemKind::NotAllowed, "{problem}");
            assert_eq!((problem.key, &*problem.wrong), (format!("firewall.{list}[1]"), wrong), "{text}");
            assert!(problem.advice.contains(advice), "{text}: {}", problem.advice);
        }
    }
    let list = |list: &str| problem(&format!("{LEAST}\n[firewall]\ndeny = {list}")).kind;
    assert_eq!(list("[]"), ProblemKind::NotAllowed, "an empty list says nothing");
    assert_eq!(list("\"192.0.2.0/24\""), ProblemKind::WrongType);
    assert_eq!(
        list("[\"192.0.2.0/24\", \"::ffff:192.0.2.0/120\"]"),
        ProblemKind::Duplicate,
        "the same network"
    );
}

#[test]
fn what_is_found_is_shown_without_moving_the_terminal() {
    let problem = problem(&with("\"/chat\"", "\"/\u{202e}\u{200b}\tx\""));
    assert_eq!(problem.found.as_deref(), Some("\"/\\u{202e}\\u{200b} x\""));
}

#[test]
fn names_are_short_and_plain() {
    for name in ["\"\"", "\"a b\"", "\"a.b\"", "\"\\u001b[31m\"", &"x".repeat(65)] {
        let problems =
            read(&format!("{LEAST}\n[listeners.{name}]\naddress = \"127.0.0.1:1\"\ntls = \"none\""))
                .unwrap_err();
        assert!(problems.iter().all(|problem| problem.kind == ProblemKind::NotAllowed), "{problems}");
        assert!(!problems.to_string().contains('\u{1b}'), "nothing moves the terminal");
    }
}

#[test]
fn names_that_lead_nowhere_are_refused() {
    let wrong_listener = problem(&with("[\"public\"]", "[\"public\", \"pulbic\"]"));
    assert_eq!(
        (wrong_listener.kind, wrong_listener.key.as_str()),
        (ProblemKind::NoSuchReference, "routes.chat.listeners[1]")
    );
    let wrong_auth = problem(&with("auth = \"none\"", "auth = \"user\""));
    assert_eq!(
        (wrong_auth.kind, wrong_auth.found.as_deref()),
        (ProblemKind::NoSuchReference, Some("\"user\""))
    );
    assert!(wrong_auth.advice.contains("\"none\""));
    let slip = problem(&with("[\"public\"]", "[\"pulbic\"]"));
    assert_eq!(
        slip.kind,
        ProblemKind::NoSuchReference,
        "and the listener that was meant is not called unused"
    );
}

#[test]
fn what_no_route_uses_is_refused() {
    let listener = problem(&format!("{LEAST}\n[listeners.other]\naddress = \"127.0.0.1:1\"\ntls = \"none\""));
    assert_eq!((listener.kind, listener.key.as_str()), (ProblemKind::Unused, "listeners.other"));
    let auth = problem(&format!("{LEAST}\n[auth.users]\n{AUTH}"));
    assert_eq!((auth.kind, auth.key.as_str()), (ProblemKind::Unused, "auth.users"));
}

#[test]
fn routes_and_addresses_that_are_there_twice_are_refused() {
    let route = |lines: &str| {
        let rest = "listeners = [\"public\"]\norigins = \"any\"\nauth = \"none\"\nbackend = \"echo\"";
        format!("{LEAST}\n[routes.again]\n{rest}\n{lines}\n")
    };
    let twice = problem(&route("path = \"/chat\""));
    assert_eq!((twice.kind, twice.key.as_str()), (ProblemKind::Duplicate, "routes.again.path"));
    assert!(twice.wrong.contains("routes.chat"), "{twice}");
    for different in ["path = \"/chat/*\"", "path = \"/other\"", "path = \"/chat\"\nhosts = [\"a.example\"]"]
    {
        assert!(read(&route(different)).is_ok(), "{different}");
    }
    let listener = |address: &str| {
        let both = with("[\"public\"]", "[\"public\", \"other\"]");
        format!("{both}\n[listeners.other]\naddress = \"{address}\"\ntls = \"none\"")
    };
    for taken in ["127.0.0.1:8080", "0.0.0.0:8080"] {
        assert_eq!(problem(&listener(taken)).kind, ProblemKind::Duplicate, "{taken}");
    }
    for free in ["127.0.0.1:8081", "[::1]:8080", "[::]:8080", "127.0.0.2:8080"] {
        assert!(read(&listener(free)).is_ok(), "{free}");
    }
    let swapped = listener("127.0.0.1:1").replace("127.0.0.1:8080", "0.0.0.0:1");
    assert_eq!(problem(&swapped).kind, ProblemKind::Duplicate, "the wider address first");
    let any_ports = listener("127.0.0.1:0").replace("127.0.0.1:8080", "127.0.0.1:0");
    assert!(read(&any_ports).is_ok(), "port 0 is another each time");
    let admin = problem(&format!("{LEAST}\n[admin]\naddress = \"127.0.0.1:8080\""));
    assert_eq!((admin.kind, admin.key.as_str()), (ProblemKind::Duplicate, "admin.address"));
    assert_eq!(problem(&with("[\"public\"]", "[\"public\", \"public\"]")).kind, ProblemKind::Duplicate);
}

#[test]
fn environment_variables_are_put_into_strings() {
    let environment = |name: &str| match name {
        "ADDRESS" => Some("127.0.0.1".to_owned()),
        "WORKERS" => Some("4".to_owned()),
        "DOLLARS" => Some("${ADDRESS} $".to_owned()),
        _ => None,
    };
    let read = |text: &str| Config::from_toml(text, Path::new("/nowhere"), &environment);
    let echo = "backend = { echo = { prefix = \"$$5 ${DOLLARS}\" } }\n[server]\nworkers = \"${WORKERS}\"";
    let text = with("127.0.0.1:8080", "${ADDRESS}:80").replace("backend = \"echo\"", echo);
    let config = read(&text).unwrap();
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:80");
    assert_eq!(config.routes[0].backend, echoing("$5 ${ADDRESS} $"), "values are not expanded again");
    assert_eq!(config.server.workers, Some(4));
    let missing = only(read(&with("127.0.0.1:8080", "${MISSING}:80")));
    assert_eq!(missing.kind, ProblemKind::Environment);
    assert!(missing.wrong.contains("MISSING"), "{missing}");
    for malformed in ["$", "$X", "${", "${}", "${1X}", "${A B}"] {
        let text = with("\"/chat\"", &format!("'/{malformed}'"));
        let problem = only(Config::from_toml(&text, Path::new("/nowhere"), &|_| Some(String::new())));
        assert_eq!(problem.kind, ProblemKind::Environment, "{malformed}, whatever the environment answers");
    }
    let number = only(read(&format!("{LEAST}\n[server]\nworkers = \"4\"")));
    assert_eq!(number.kind, ProblemKind::WrongType, "a quoted number that the file itself has");
}

#[test]
fn a_variables_value_is_never_printed() {
    let environment = |_: &str| Some("hunter2-hunter2".to_owned());
    for text in [
        with("127.0.0.1:8080", "${SECRET}"),
        with("\"/chat\"", "\"${SECRET}\""),
        with("auth = \"none\"", "auth = \"${SECRET}\""),
        with("origins = \"any\"", "origins = [\"${SECRET}/\"]"),
        auth_with("token.secret", "${SECRET}"),
    ] {
        let problem = only(Config::from_toml(&text, Path::new("/nowhere"), &environment));
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
        assert!(problem.to_string().contains("${SECRET}"), "{problem}");
    }
}

#[test]
fn a15_secrets_under_256_bits_are_refused_without_a_byte_of_them() {
    let text = with_auth(AUTH);
    let short = "short-and-secret-0123456789abcd";
    assert_eq!(short.len(), 31);
    for content in [short, &format!("{short}\n"), "", &"x".repeat(4097)] {
        let problem = only(read_with_secret(&text, content));
        assert_eq!((problem.kind, problem.found.as_deref()), (ProblemKind::File, Some("\"token.secret\"")));
        assert!(problem.advice.contains("32"), "{problem}");
        assert!(!problem.to_string().contains("short-and"), "{problem}");
    }
    assert!(read_with_secret(&text, &format!("{short}!")).is_ok());
    assert!(read_with_secret(&text, &"x".repeat(4096)).is_ok());
    assert_eq!(problem(&auth_with("token.secret", "..")).kind, ProblemKind::File, "a folder");
    assert_eq!(problem(&auth_with("token.secret", "absent")).kind, ProblemKind::File);
}

#[test]
fn o19_keys_written_into_the_configuration_are_never_printed() {
    for line in [
        "keys = \"hunter2hunter2\"",
        "keys = [\"hunter2hunter2\"]",
        "keys = { secret = \"hunter2hunter2\" }",
        "keys = { secret_file = [\"hunter2hunter2\"] }",
        "keys = { secret_file = \"hunter2hunter2hunter2hunter2hunter2\" }",
        "keys = { jwks_url = \"https://user:hunter2@issuer.example\" }",
    ] {
        let text = auth_with("keys = { secret_file = \"token.secret\" }", line);
        let problems = read_with_secret(&text, SECRET).unwrap_err();
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
    }
    let as_table = format!(
        "{LEAST}\n[auth]\nkeys = \"hunter2hunter2\"\n[admin]\naddress = \"127.0.0.1:1\"\ntokens = \"hunter2\""
    );
    assert!(!read(&as_table).unwrap_err().to_string().contains("hunter2"));
    let config = read_with_secret(&with_auth(AUTH), SECRET).unwrap();
    assert!(!format!("{config:?}").contains(SECRET));
}

#[test]
fn authentication_that_cannot_be_done_is_refused() {
    for (find, replacement, kind) in [
        ("[\"first_message\"]", "[\"cookie\"]", ProblemKind::NotAllowed),
        ("[\"first_message\"]", "[{}]", ProblemKind::NotAllowed),
        ("[\"first_message\"]", "[{ cookie = \"a b\" }]", ProblemKind::NotAllowed),
        ("[\"first_message\"]", "[{ query = \"\" }]", ProblemKind::NotAllowed),
        ("[\"first_message\"]", "[{ cookie = \"a\", query = \"b\" }]", ProblemKind::NotAllowed),
        ("[\"first_message\"]", "[{ header = \"a\" }]", ProblemKind::UnknownKey),
        // The route takes any origin.
        ("[\"first_message\"]", "[{ cookie = \"session\" }]", ProblemKind::NotAllowed),
        ("[\"first_message\"]", "[\"first_message\", \"first_message\"]", ProblemKind::Duplicate),
        ("[\"HS256\"]", "[\"none\"]", ProblemKind::NotAllowed),
        ("[\"HS256\"]", "[\"ES512\"]", ProblemKind::NotSupportedYet),
        ("[\"HS256\"]", "\"HS256\"", ProblemKind::WrongType),
        ("{ secret_file = \"token.secret\" }", "{}", ProblemKind::Missing),
        ("{ secret_file = \"token.secret\" }", "{ jwks_url = \"x\" }", ProblemKind::NotAllowed),
        ("\"chat\"", "\"\"", ProblemKind::NotAllowed),
        ("issuer =", "subject_claims = []\nissuer =", ProblemKind::NotAllowed),
        ("[\"HS256\"]", "[\"Ed448\"]", ProblemKind::NotAllowed),
        ("issuer =", "token_types = []\nissuer =", ProblemKind::NotAllowed),
        ("issuer =", "token_types = \"at+jwt\"\nissuer =", ProblemKind::WrongType),
        ("issuer =", "token_types = [\"text/jwt\"]\nissuer =", ProblemKind::NotAllowed),
        ("issuer =", "token_types = [\"at+jwt\", \"AT+JWT\"]\nissuer =", ProblemKind::Duplicate),
    ] {
        assert_eq!(problem(&auth_with(find, replacement)).kind, kind, "{replacement}");
    }
    let none = format!("{LEAST}\n[auth.none]\n{AUTH}");
    assert!(read_with_secret(&none, SECRET).unwrap_err().iter().any(|p| p.kind == ProblemKind::NotAllowed));
}

#[test]
fn r23_the_admin_listener_stays_on_loopback_unless_it_is_encrypted() {
    for address in ["0.0.0.0:9090", "192.0.2.1:9090", "[::]:9090", "[::ffff:192.0.2.1]:9090"] {
        for tls in ["", "tls = \"none\""] {
            let problem = problem(&format!("{LEAST}\n[admin]\naddress = \"{address}\"\n{tls}"));
            assert_eq!(
                (problem.kind, &*problem.key),
                (ProblemKind::NotAllowed, "admin.address"),
                "{address}"
            );
            assert!(problem.wrong.contains("TLS is required"), "{problem}");
        }
    }
    let missing = problem(&format!(
        "{LEAST}\n[admin]\naddress = \"0.0.0.0:9090\"\ntls = {{ certificate_file = \"a\", private_key_file = \"b\" }}"
    ));
    assert_eq!((missing.kind, &*missing.key), (ProblemKind::File, "admin.tls.certificate_file"));
}

#[test]
fn admin_tokens_are_files_of_their_own_with_scopes_that_exist() {
    let with = |lines: &str| format!("{LEAST}\n[admin]\naddress = \"127.0.0.1:1\"\n{lines}");
    let token = "file = \"token.secret\", scopes = [\"read\"]";
    let config = read_with_secret(&with(&format!("tokens.a = {{ {token} }}")), SECRET).unwrap();
    let tokens = config.admin.unwrap().tokens;
    assert_eq!((tokens[0].name.as_str(), tokens[0].secret.expose()), ("a", SECRET.as_bytes()));
    for (lines, kind, key) in [
        ("tokens = \"x\"".to_owned(), ProblemKind::WrongType, "admin.tokens"),
        ("tokens.a = {}".to_owned(), ProblemKind::Missing, "admin.tokens.a.file"),
        (format!("tokens.a = {{ {token}, x = 1 }}"), ProblemKind::UnknownKey, "admin.tokens.a.x"),
        (format!("tokens.\"a b\" = {{ {token} }}"), ProblemKind::NotAllowed, "admin.tokens.\"a b\""),
        (
            format!("tokens.a = {{ {token} }}\ntokens.b = {{ {token} }}"),
            ProblemKind::Duplicate,
            "admin.tokens.b",
        ),
        (with_scopes("[]"), ProblemKind::NotAllowed, "admin.tokens.a.scopes"),
        (with_scopes("[\"write\"]"), ProblemKind::NotAllowed, "admin.tokens.a.scopes[0]"),
        (with_scopes("[\"read\", \"read\"]"), ProblemKind::Duplicate, "admin.tokens.a.scopes[1]"),
        ("hosts = [\"a:1\"]".to_owned(), ProblemKind::NotAllowed, "admin.hosts[0]"),
    ] {
        let problems = read_with_secret(&with(&lines), SECRET).unwrap_err();
        let first = problems.iter().next().unwrap();
        assert_eq!((first.kind, first.key.as_str()), (kind, key), "{lines}");
    }
    for unfit in ["too-short#1", &"ü".repeat(32), &"a b ".repeat(10)] {
        let problems = read_with_secret(&with(&format!("tokens.a = {{ {token} }}")), unfit).unwrap_err();
        let first = problems.iter().next().unwrap();
        assert_eq!((first.kind, first.key.as_str()), (ProblemKind::File, "admin.tokens.a.file"), "{unfit}");
        assert!(!problems.to_string().contains(unfit), "{problems}");
    }
}

fn with_scopes(scopes: &str) -> String {
    format!("tokens.a = {{ file = \"token.secret\", scopes = {scopes} }}")
}

#[test]
fn what_is_allowed_and_probably_not_meant_is_a_warning() {
    let open = read(&with("127.0.0.1:8080", "0.0.0.0:8080")).unwrap();
    assert!(
        matches!(&open.warnings[..], [warning] if warning.contains("without TLS")),
        "{:?}",
        open.warnings
    );
    let ticket = read_with_secret(&auth_with("[\"first_message\"]", "[\"ticket\"]"), SECRET).unwrap();
    assert!(
        matches!(&ticket.warnings[..], [warning] if warning.contains("nobody can issue tickets")),
        "{:?}",
        ticket.warnings
    );
    let issuer = "[admin]\naddress = \"127.0.0.1:1\"\n\
        tokens.app = { file = \"token.secret\", scopes = [\"tickets\"] }";
    let issued = format!("{}\n{issuer}", auth_with("[\"first_message\"]", "[\"ticket\"]"));
    assert_eq!(read_with_secret(&issued, SECRET).unwrap().warnings, Vec::<String>::new());
    let trailing = read_with_secret(&with_auth(AUTH), &format!("{SECRET}\r\n")).unwrap();
    assert!(
        matches!(&trailing.warnings[..], [warning] if warning.contains("white space")),
        "{:?}",
        trailing.warnings
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = secret_folder(SECRET);
        fs::set_permissions(folder.path().join("token.secret"), fs::Permissions::from_mode(0o640)).unwrap();
        let config = Config::from_toml(&with_auth(AUTH), folder.path(), &no_environment).unwrap();
        assert!(
            matches!(&config.warnings[..], [warning] if warning.contains("chmod 600")),
            "{:?}",
            config.warnings
        );
    }
}
