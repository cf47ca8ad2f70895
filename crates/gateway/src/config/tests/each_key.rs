//! Each key by itself: missing, out of its bounds, none of its choices, and its default written out.

use super::*;
use crate::config::defaults::{AMOUNTS, REQUIRED, WORDS};

#[test]
fn every_required_key_is_missed() {
    let full = format!(
        "{}{AUTH}\n[log]\nerror_file = {{ path = \"e.log\" }}\n[state]\nstore = \"none\"\n{AUDIT}[admin]\naddress = \"127.0.0.1:0\"\n\
         tokens.operator = {{ file = \"admin.token\", scopes = [\"read\"] }}\n",
        with_auth("")
    );
    assert!(read_with_secret(&full, SECRET).is_ok());
    for required in &REQUIRED {
        let full = if required.key.contains(".tls.") { tls::encrypted(&full) } else { full.clone() };
        let full = inspecting(required.key, full);
        let mut table: toml::Table = full.parse().unwrap();
        assert!(remove(&mut table, required.key), "{} is in the full configuration", required.key);
        let problems = read_with_secret(&toml::to_string(&table).unwrap(), SECRET).unwrap_err();
        let shape =
            required.key.replace("listeners.*", "listeners.public").replace("routes.*", "routes.chat");
        let key = shape.replace("auth.*", "auth.users").replace("tokens.*", "tokens.operator");
        let missing =
            problems.iter().find(|problem| problem.kind == ProblemKind::Missing && problem.key == key);
        assert!(
            missing.is_some_and(|problem| problem.advice.contains(required.allowed)),
            "{key}: {problems}"
        );
    }
}

/// Removes the key of this shape; whether it was there.
fn remove(table: &mut toml::Table, shape: &str) -> bool {
    let Some((first, rest)) = shape.split_once('.') else {
        return table.remove(shape).is_some();
    };
    let names: Vec<String> =
        if first == "*" { table.keys().cloned().collect() } else { vec![first.to_owned()] };
    names.iter().any(|name| match table.get_mut(name) {
        Some(toml::Value::Table(inner)) => remove(inner, rest),
        _ => false,
    })
}

/// A configuration in which this key can stand.
fn base(shape: &str) -> String {
    let is_of_application = shape.starts_with("routes.*.backend.") && !shape.contains(".echo");
    inspecting(shape, if is_of_application { before_an_application() } else { with_auth(AUTH) })
}

/// `text`, with the table that this key belongs to where that inspects.
fn inspecting(shape: &str, mut text: String) -> String {
    if shape.starts_with("routes.*.seal.") {
        let seal = "seal = { key_id = \"k1\", secret_file = \"token.secret\" }";
        text = text.replace("backend = \"echo\"", &format!("backend = \"echo\"\n{seal}"));
    }
    for (prefix, table) in
        [("inspect.", "inspect"), ("inspect_replies.", "inspect_replies"), ("json.", "inspect")]
    {
        if shape.strip_prefix("routes.*.").is_some_and(|rest| rest.starts_with(prefix)) {
            text =
                text.replace("backend = \"echo\"", &format!("backend = \"echo\"\n{table}.format = \"json\""));
        }
    }
    text
}

fn before_an_application() -> String {
    with_auth(AUTH).replace("backend = \"echo\"", "backend = { urls = [\"ws://127.0.0.1:9000\"] }")
}

/// A configuration in which the setting of this shape has this value.
fn set(shape: &str, value: &str) -> String {
    let mut table: toml::Table = base(shape).parse().unwrap();
    if shape.starts_with("log.error_file") {
        table.insert("log".to_owned(), "error_file.path = \"e.log\"".parse::<toml::Table>().unwrap().into());
    }
    if shape.starts_with("audit.") {
        table.extend(AUDIT.parse::<toml::Table>().unwrap());
    }
    if shape.starts_with("firewall.automatic_bans.") {
        let bans = "automatic_bans.per_minute.token_invalid = 30".parse::<toml::Table>().unwrap();
        table.insert("firewall".to_owned(), bans.into());
    }
    if shape.starts_with("auth.*.keys.") {
        let keys = "{ jwks_url = \"https://a.example\", refresh_interval = \"1s\", stale_max = \"30d\" }";
        let auth =
            with_auth(AUTH).replace("{ secret_file = \"token.secret\" }", keys).replace("HS256", "ES256");
        table = auth.parse().unwrap();
    }
    if shape.contains(".tls.") {
        table = tls::encrypted(&with_auth(AUTH)).parse().unwrap();
    }
    if shape.starts_with("routes.*.backend.") && !shape.contains(".echo") {
        table = before_an_application().parse().unwrap();
    }
    if let Some(name) = shape.strip_prefix("routes.*.backend.urls.*.") {
        let member = format!("{{ url = \"ws://127.0.0.1:9000\", {name} = {value} }}");
        return before_an_application().replace("\"ws://127.0.0.1:9000\"", &member);
    }
    let path = shape.replace("listeners.*", "listeners.public").replace("routes.*", "routes.chat");
    let path = path.replace("auth.*", "auth.users");
    let segments: Vec<&str> = path.split('.').collect();
    let (last, tables) = segments.split_last().unwrap();
    let mut at = &mut table;
    for name in tables {
        let entry = at.entry(*name).or_insert_with(|| toml::Table::new().into());
        if entry.is_str() {
            *entry = toml::Table::new().into();
        }
        at = entry.as_table_mut().unwrap();
    }
    at.insert(
        (*last).to_owned(),
        format!("x = {value}").parse::<toml::Table>().unwrap().remove("x").unwrap(),
    );
    toml::to_string(&table).unwrap()
}

#[test]
fn every_number_is_held_to_its_bounds() {
    for amount in AMOUNTS {
        let good = [amount.least, amount.most, amount.default.unwrap_or(amount.least)];
        for value in good {
            let text = set(amount.key, &amount.render(value));
            assert!(read_with_secret(&text, SECRET).is_ok(), "{} = {value}", amount.key);
        }
        let too_much = amount.most.saturating_add(1);
        let below = amount.least.checked_sub(1);
        for value in below.into_iter().chain([too_much]) {
            let problem = problem(&set(amount.key, &amount.render(value)));
            assert_eq!(problem.kind, ProblemKind::NotAllowed, "{} = {value}", amount.key);
            assert!(problem.advice.contains(&amount.render(amount.most)), "{problem}");
        }
        let unlimited = read_with_secret(&set(amount.key, "\"unlimited\""), SECRET);
        assert_eq!(unlimited.is_ok(), amount.unlimited_allowed, "{}", amount.key);
        for wrong in ["true", "[]", "1.5", "{}", "-1", "\"x\"", "\"\"", "\"99999999999999999999d\""] {
            let key = problem(&set(amount.key, wrong)).key;
            assert_eq!(key.rsplit('.').next(), Some(amount.name()), "{wrong}");
        }
    }
}

#[test]
fn every_word_is_held_to_its_choices() {
    for word in WORDS {
        for wrong in ["5", "\"nonsense\"", "[[]]"] {
            let problems = read_with_secret(&set(word.key, wrong), SECRET);
            let takes_any_text = ["echo.prefix", "identity.subject", "identity.session"]
                .iter()
                .any(|key| word.key == format!("routes.*.backend.{key}"));
            let accepted = takes_any_text && wrong.starts_with('"');
            assert_eq!(problems.is_ok(), accepted, "{} = {wrong}", word.key);
        }
    }
}

#[test]
fn what_the_table_of_choices_calls_the_default_is_the_default() {
    for word in WORDS {
        if word.is_toml() {
            let left_out = read_with_secret(&base(word.key), SECRET).unwrap();
            let written = read_with_secret(&set(word.key, word.default), SECRET).unwrap();
            assert_eq!(format!("{written:?}"), format!("{left_out:?}"), "{}", word.key);
        }
    }
}

const AUDIT: &str = "[audit]\npath = \"a.log\"\nkey_file = \"a.key\"\nwhen_full = \"open\"\n";
