//! `[routes.NAME.inspect]`, `inspect_replies` and `json`.

use super::*;
use crate::inspect::policy::Action;
use crate::inspect::{Consequence, Format, Schemas};
use crate::json::{Limits as JsonLimits, Unseen};

/// A route with these lines behind its own, in a folder with schemas.
fn read_inspecting(lines: &str) -> Result<Config, Problems> {
    let folder = secret_folder(SECRET);
    for (name, text) in [
        ("good.json", r#"{"type":"object"}"#),
        ("bad.json", r##"{"properties":{"a":{"format":"emial"},"b":{"$ref":"https://x.example/"}}}"##),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let text = with_auth(AUTH).replace("backend = \"echo\"", &format!("backend = \"echo\"\n{lines}\n"));
    Config::from_toml(&text, folder.path(), &no_environment)
}

#[test]
fn a_route_inspects_what_it_says_and_its_messages_are_smaller() {
    let config = read_inspecting(
        "inspect = { format = \"json\", schema_file = \"good.json\", on_refusal = \"close\", refusals_max = 3 }\n\
         inspect_replies = { format = \"json\", schemas = { member = \"type\", files = { a = \"good.json\" }, unknown = \"pass\" } }\n\
         json = { depth_max = 5, refused_characters = [\"nul\", \"bidi\"] }",
    )
    .unwrap();
    let route = &config.routes[0];
    let json = JsonLimits { depth_max: 5, refused: vec![Unseen::Nul, Unseen::Bidi], ..JsonLimits::default() };
    let (messages, replies) =
        (route.inspections.messages.as_ref().unwrap(), route.inspections.replies.as_ref().unwrap());
    assert_eq!(messages.format, Format::Json(json));
    assert_eq!((messages.on_refusal, messages.refusals_max), (Consequence::Close, Some(3)));
    assert!(matches!(messages.schemas, Some(Schemas::One(_))));
    assert_eq!((replies.on_refusal, replies.refusals_max), (Consequence::Drop, Some(10)));
    let Some(Schemas::ByType(by_type)) = &replies.schemas else { panic!("{replies:?}") };
    assert!(by_type.member == "type" && by_type.unknown_passes && by_type.schemas.contains_key("a"));
    assert_eq!(route.limits.message_bytes_max, Some(64 * 1024));
}

#[test]
fn whatever_is_wrong_with_an_inspection_is_told_in_its_place() {
    for (lines, key, part) in [
        ("inspect = {}", "routes.chat.inspect.format", "is missing"),
        ("inspect = { format = \"xml\" }", "routes.chat.inspect.format", "no choice"),
        (
            "inspect = { format = \"json\", on_refusal = \"drop\" }",
            "routes.chat.inspect.on_refusal",
            "no choice",
        ),
        (
            "inspect = { format = \"text\", schema_file = \"good.json\" }",
            "routes.chat.inspect.schema_file",
            "is for JSON",
        ),
        (
            "inspect = { format = \"json\", schema = '{}', schema_file = \"good.json\" }",
            "routes.chat.inspect.schema",
            "another schema",
        ),
        ("inspect = { format = \"json\", schema = '{' }", "routes.chat.inspect.schema", "strict JSON"),
        (
            "inspect = { format = \"json\", schema_file = \"none.json\" }",
            "routes.chat.inspect.schema_file",
            "cannot be read",
        ),
        (
            "inspect = { format = \"json\", schema_file = \".\" }",
            "routes.chat.inspect.schema_file",
            "no plain file",
        ),
        (
            "inspect = { format = \"json\", schemas = { member = \"t\", files = {}, unknown = \"pass\" } }",
            "routes.chat.inspect.schemas.files",
            "is empty",
        ),
        (
            "inspect = { format = \"json\", schemas = { member = \"t\", files = { a = \"good.json\" } } }",
            "routes.chat.inspect.schemas.unknown",
            "is missing",
        ),
        ("inspect.format = \"text\"\njson.depth_max = 3", "routes.chat.json", "inspected as JSON"),
        (
            "inspect.format = \"text\"\nlimits.message_bytes_max = \"unlimited\"",
            "routes.chat.limits.message_bytes_max",
            "",
        ),
        (
            "inspect.format = \"text\"\nlimits.message_bytes_max = \"17MiB\"",
            "routes.chat.limits.message_bytes_max",
            "too much",
        ),
    ] {
        let problem = only(read_inspecting(lines));
        assert_eq!(problem.key, key, "{problem}");
        assert!(problem.to_string().contains(part) && !problem.advice.is_empty(), "{problem}");
    }
}

#[test]
fn m07_every_flaw_of_a_schema_is_a_problem_with_its_pointer() {
    let problems =
        read_inspecting("inspect = { format = \"json\", schema_file = \"bad.json\" }").unwrap_err();
    let text = problems.to_string();
    for part in ["/properties/a/format: is no format", "/properties/b/$ref: leads out of this file"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(problems.len(), 2);
}

#[test]
fn rules_are_read_in_their_order_and_what_is_wrong_with_one_is_told_in_its_place() {
    let rules =
        |rules: &str| read_inspecting(&format!("inspect = {{ format = \"json\", rules = [{rules}] }}"));
    let config = rules(
        "{ name = \"a\", when = 'true', then = \"drop\" }, { name = \"b\", when = 'message.n > 1', then = \"log\", shadow = true }",
    )
    .unwrap();
    let policy = config.routes[0].inspections.messages.as_ref().unwrap().policy.clone().unwrap();
    let read: Vec<_> = policy.rules().map(|rule| (&*rule.name, rule.then, rule.is_shadow)).collect();
    assert_eq!(read, [("a", Action::Drop, false), ("b", Action::Log, true)]);
    let many = "{ name = \"a\", when = 'true', then = \"log\" },".repeat(65);
    for (written, part) in [
        ("{ when = 'true', then = \"log\" }", "rules[0].name"),
        ("{ name = \"a\", then = \"log\" }", "rules[0].when"),
        ("{ name = \"a\", when = 'true' }", "rules[0].then"),
        ("{ name = \"a\", when = 'true', then = \"ban\" }", "no choice"),
        ("{ name = \"a\", when = 'true', then = \"log\", shadow = 1 }", "rules[0].shadow"),
        ("{ name = \"a\", when = 'true', then = \"log\", shadowed = true }", "rules[0].shadowed"),
        ("{ name = \" \", when = 'true', then = \"log\" }", "is no name"),
        ("{ name = \"a\", when = 'nobody', then = \"log\" }", "names \"nobody\""),
        ("\"true\"", "rules[0]"),
        (&many, "has 65 rules"),
    ] {
        let problems = rules(written).unwrap_err().to_string();
        assert!(problems.contains(part), "{written}: {problems}");
    }
}

#[test]
fn a_route_seals_under_the_key_that_it_names() {
    let config = read_inspecting("seal = { key_id = \"2026-11\", secret_file = \"token.secret\" }").unwrap();
    let route = &config.routes[0];
    let seal = route.inspections.seal.as_ref().unwrap();
    assert_eq!((seal.key_id.as_str(), seal.secret.expose()), ("2026-11", SECRET.as_bytes()));
    assert_eq!(route.limits.message_bytes_max, Some(64 * 1024));
    for (key_id, file, key) in [
        ("a b", "token.secret", "routes.chat.seal.key_id"),
        ("", "token.secret", "routes.chat.seal.key_id"),
        ("k1", "none.secret", "routes.chat.seal.secret_file"),
    ] {
        let seal = format!("seal = {{ key_id = \"{key_id}\", secret_file = \"{file}\" }}");
        let problems = read_inspecting(&seal).unwrap_err();
        assert!(problems.iter().any(|problem| problem.key == key), "{problems}");
    }
}

#[test]
fn what_lets_binary_pass_alone_does_not_go_with_a_seal() {
    let seal = "seal = { key_id = \"k1\", secret_file = \"token.secret\" }";
    for table in ["inspect", "inspect_replies"] {
        let with = |format: &str| read_inspecting(&format!("{seal}\n{table} = {{ format = \"{format}\" }}"));
        let problems = with("binary").unwrap_err();
        let keys: Vec<_> = problems.iter().map(|problem| &*problem.key).collect();
        assert_eq!(keys, [format!("routes.chat.{table}")]);
        let shown = problems.to_string();
        assert!(shown.contains("what is sealed is text") && shown.contains("or leave out seal"), "{shown}");
        for format in ["text", "json"] {
            with(format).unwrap();
        }
    }
}

#[test]
fn what_a_variable_brings_into_a_schema_or_a_condition_is_not_told() {
    let secret = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
    for lines in [
        r#"inspect = { format = "json", schema = '{"properties":{"${SECRET}":{"type":"no"}}}' }"#,
        r#"inspect = { format = "json", rules = [{ name = "a", when = "${SECRET}(message.a)", then = "refuse" }] }"#,
    ] {
        let folder = secret_folder(SECRET);
        let told = |variable: &dyn Fn(&str) -> Option<String>, lines: &str| {
            let text =
                with_auth(AUTH).replace("backend = \"echo\"", &format!("backend = \"echo\"\n{lines}\n"));
            Config::from_toml(&text, folder.path(), variable).unwrap_err().to_string()
        };
        let shown = told(&secret, lines);
        assert!(shown.contains("with the variable's value in it") && !shown.contains("hunter2"), "{shown}");
        // Written out, it is what is told.
        let shown = told(&no_environment, &lines.replace("${SECRET}", "hunter2"));
        assert!(shown.contains("hunter2"), "{shown}");
    }
}
