//! How applications are asked whether they are well: `health` of a backend.

use super::*;
use crate::backend::upstream::{Check, CheckKind};

fn with(health: &str) -> Result<Config, Problems> {
    let backend = format!("backend = {{ urls = [\"ws://127.0.0.1:9000\"], health = {health} }}");
    read_with_secret(&with_auth(AUTH).replace("backend = \"echo\"", &backend), SECRET)
}

fn check(health: &str) -> Check {
    let config = with(health).unwrap_or_else(|problems| panic!("{problems}"));
    let BackendConfig::Upstream(upstream) = &config.routes[0].backend else { panic!("{config:?}") };
    *upstream.check.clone().unwrap()
}

#[test]
fn a_check_is_what_the_backend_says() {
    assert_eq!(check("{ kind = \"tcp\" }"), Check::new(CheckKind::Tcp), "the library has the same defaults");
    assert_eq!(
        check(
            "{ kind = \"http\", path = \"/up?x=%20\", interval = \"1s\", timeout = \"200ms\", failures_max = 1, successes_min = 9 }"
        ),
        Check {
            kind: CheckKind::Http { path: "/up?x=%20".to_owned() },
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(200),
            failures_max: 1,
            successes_min: 9,
        }
    );
    assert_eq!(check("{ kind = \"websocket\" }").kind, CheckKind::WebSocket { path: None });
    let path = Some("/well".to_owned());
    assert_eq!(check("{ kind = \"websocket\", path = \"/well\" }").kind, CheckKind::WebSocket { path });
}

#[test]
fn what_is_no_check_is_told() {
    for (health, key) in [
        ("true", ""),
        ("\"tcp\"", ""),
        ("{}", ".kind"),
        ("{ kind = \"ping\" }", ".kind"),
        ("{ kind = \"http\" }", ""),
        ("{ kind = \"tcp\", path = \"/\" }", ".path"),
        ("{ kind = \"http\", path = \"healthz\" }", ".path"),
        ("{ kind = \"http\", path = \"//elsewhere\" }", ".path"),
        ("{ kind = \"http\", path = \"http://elsewhere/\" }", ".path"),
        ("{ kind = \"http\", path = \"/a b\" }", ".path"),
        ("{ kind = \"http\", path = \"/a\\r\\nX: y\" }", ".path"),
        ("{ kind = \"http\", path = \"/a#b\" }", ".path"),
        ("{ kind = \"websocket\", path = \"\" }", ".path"),
        ("{ kind = \"tcp\", every = \"5s\" }", ".every"),
    ] {
        let problem = only(with(health));
        assert_eq!(problem.key, format!("routes.chat.backend.health{key}"), "{health}: {problem}");
        assert!(!problem.advice.is_empty(), "{problem}");
    }
}
