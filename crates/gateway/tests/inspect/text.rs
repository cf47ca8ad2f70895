//! Strict JSON: every case of `JSONTestSuite` (`suites/json_parsing.json`), and the limits of a route.
//!
//! The suite's names begin with what they ask: `y_` must be read, `n_` must be refused, `i_` is left to the reader. Cases that are not
//! UTF-8 are not here: no such text gets past the receiver.

use std::collections::BTreeMap;
use std::time::Duration;

use drawgate::clock::Clock;
use drawgate::json::{Limits, Rule, Unseen, parse_within, read};
use serde_json::Value;

const SUITE: &str = include_str!("suites/json_parsing.json");

/// Cases that must be read, by the suite, and are refused here, with the reason.
const STRICTER: [(&str, Rule, &str); 3] = [
    ("y_number_double_close_to_zero", Rule::NumberTooLong, "80 digits"),
    ("y_object_duplicated_key", Rule::DuplicateName, "readers take different ones"),
    ("y_object_duplicated_key_and_value", Rule::DuplicateName, "the same"),
];

/// Cases that are left to the reader, and are read here.
const READ: [&str; 4] = [
    "i_number_double_huge_neg_exp",
    "i_number_real_underflow",
    "i_number_too_big_neg_int",
    "i_number_too_big_pos_int",
];

#[test]
fn m04_m05_m11_the_suite_is_agreed_with_case_by_case() {
    let cases: BTreeMap<String, String> = serde_json::from_str(SUITE).unwrap();
    assert_eq!(cases.len(), 291);
    let mut disagreements = Vec::new();
    for (name, text) in &cases {
        let read = parse_within(text, &Limits::default());
        let expected = match name.split('_').next() {
            Some("y") => STRICTER.iter().find(|(stricter, ..)| stricter == name).map(|(_, rule, _)| *rule),
            Some("i") if READ.contains(&&**name) => None,
            _ => {
                if read.is_ok() {
                    disagreements.push(format!("{name} is read"));
                }
                continue;
            }
        };
        if read.as_ref().err().map(|fault| fault.rule) != expected {
            disagreements.push(format!("{name}: {read:?}"));
        }
        // What is read is read as the parser of the standard reads it.
        if let Ok(value) = read {
            assert_eq!(value, serde_json::from_str::<Value>(text).unwrap(), "{name}");
        }
    }
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}

fn rule(text: &str, limits: &Limits) -> Option<Rule> {
    parse_within(text, limits).err().map(|fault| fault.rule)
}

#[test]
fn m08_values_and_members_are_counted() {
    let limits = Limits { values_max: 5, members_max: 2, ..Limits::default() };
    assert_eq!(rule("[1,2,3,4]", &limits), None);
    assert_eq!(rule("[1,2,3,4,5]", &limits), Some(Rule::TooManyValues));
    assert_eq!(rule(r#"{"a":1,"b":2}"#, &limits), None);
    assert_eq!(rule(r#"{"a":1,"b":2,"c":3}"#, &limits), Some(Rule::TooManyMembers));
    assert_eq!(rule(r#"[{"a":1,"b":2},{"c":3}]"#, &Limits { values_max: 6, ..limits }), None);
    let members: Vec<String> = (0..1_000_000).map(|index| format!("\"{index}\":0")).collect();
    assert_eq!(rule(&format!("{{{}}}", members.join(",")), &Limits::default()), Some(Rule::TooManyMembers));
    assert_eq!(
        rule(&format!("[{}]", vec!["0"; 1_000_000].join(",")), &Limits::default()),
        Some(Rule::TooManyValues)
    );
}

#[test]
fn m01_m03_depth_and_digits_are_a_route_s_own() {
    let limits = Limits { depth_max: 2, number_digits_max: 3, ..Limits::default() };
    assert_eq!(rule("[[1.23]]", &limits), None);
    assert_eq!(rule("[[[]]]", &limits), Some(Rule::TooDeep));
    assert_eq!(rule("1234", &limits), Some(Rule::NumberTooLong));
    let wide = Limits { depth_max: 128, number_digits_max: 300, ..Limits::default() };
    assert_eq!(rule(&format!("{}{}", "[".repeat(128), "]".repeat(128)), &wide), None);
    assert_eq!(rule(&"9".repeat(300), &wide), None);
    assert_eq!(rule("1e309", &wide), Some(Rule::NumberTooLarge));
    assert_eq!(rule(&"[".repeat(100_000), &wide), Some(Rule::TooDeep));
}

#[test]
fn m09_m10_unseen_characters_are_refused_where_declared_in_names_and_escapes_too() {
    let all = Limits { refused: Unseen::ALL.map(|(_, unseen)| unseen).to_vec(), ..Limits::default() };
    for (text, unseen) in [
        (r#""a\u0000b""#, Unseen::Nul),
        (r#"{"a\u0000":1}"#, Unseen::Nul),
        ("\"\u{202e}txt.exe\"", Unseen::Bidi),
        (r#"["\u2066"]"#, Unseen::Bidi),
        ("{\"ad\u{200b}min\":1}", Unseen::ZeroWidth),
        (r#""\ufeff""#, Unseen::ZeroWidth),
        (r#""\udb40\udc41""#, Unseen::ZeroWidth),
    ] {
        assert_eq!(rule(text, &all), Some(Rule::UnseenCharacter(unseen)), "{text}");
        assert_eq!(rule(text, &Limits::default()), None, "{text}: nothing is refused unasked");
    }
    assert_eq!(rule("\"\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{1f469}\"", &all), None);
}

/// The most that the documents below may take; built without optimisation the code is some twenty times slower.
const TIME_MAX: Duration = Duration::from_millis(if cfg!(debug_assertions) { 60 } else { 2 });

/// Runs `work` on each of the worst documents of 64 KiB that we know, the best of five times each.
pub(crate) fn worst_documents(work: impl Fn(&str)) {
    let size = 64 * 1024;
    let repeated = |open: &str, item: &str, close: &str| {
        format!("{open}{}0{close}", item.repeat((size - open.len() - close.len() - 1) / item.len()))
    };
    let names = |count: usize| -> String {
        let members: Vec<String> = (0..count).map(|index| format!("\"{index:05}\":{index}")).collect();
        format!("{{{}}}", members.join(","))
    };
    for (what, text) in [
        ("numbers", repeated("[", "0,", "]")),
        ("long numbers", repeated("[", "1.2345678901234567890123456789012345e-99,", "]")),
        ("empty arrays", repeated("[", "[],", "]")),
        ("empty objects", repeated("[", "{},", "]")),
        ("escapes", format!("\"{}\"", r"\u00e9".repeat(size / 6 - 1))),
        ("pairs", format!("\"{}\"", r"\ud83d\ude00".repeat(size / 12 - 1))),
        ("one string", format!("\"{}\"", "a".repeat(size - 2))),
        ("small strings", repeated("[", "\"\",", "]")),
        ("members", names(4000)),
        ("white space", format!("{}0", " ".repeat(size - 1))),
        ("same prefix", repeated("{", &format!("\"{}\":0,", "a".repeat(40)), "}")),
        ("deep", repeated("[", &format!("{}{},", "[".repeat(31), "]".repeat(31)), "]")),
    ] {
        assert!(text.len() <= size, "{what}");
        let best = (0..5)
            .map(|_| {
                let (clock, begun) = (Clock::system(), Clock::system().now());
                work(&text);
                clock.now() - begun
            })
            .min();
        assert!(best < Some(TIME_MAX), "{what}: {best:?}");
    }
}

#[test]
fn m16_the_worst_document_takes_no_longer_than_it_may() {
    let limits = Limits {
        values_max: u32::MAX,
        members_max: usize::MAX,
        refused: Unseen::ALL.map(|(_, unseen)| unseen).to_vec(),
        ..Limits::default()
    };
    worst_documents(|text| _ = read(text, &limits));
    // What is refused is copied to say why, and has no more values than are allowed.
    worst_documents(|text| _ = parse_within(text, &Limits::default()));
}
