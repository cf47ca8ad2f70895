//! Strict JSON: reads a text that every reader reads the same way, and no other.
//!
//! RFC 8259 leaves duplicate names, lone surrogates, huge numbers and depth to each reader, and readers differ; here they
//! are refused. Never recurses, works in one pass, and its memory is bounded by the text. What it reads is what `serde_json`,
//! which is lenient about names, would read of the same text; whoever calls it bounds the text first.

mod document;
mod limits;
mod reader;
mod text;

use serde_json::Value;

pub use document::{Document, Element, Elements, Kind, Members};
pub use limits::{DEPTH_MAX, Limits, NUMBER_DIGITS_MAX};
pub use text::Unseen;

/// Why a text is not strict JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule} at byte {offset_bytes}")]
pub struct Fault {
    /// The rule that was broken.
    pub rule: Rule,
    /// Where, in bytes from the beginning of the text.
    pub offset_bytes: usize,
}

/// What strict JSON asks for; named for the breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// RFC 8259 §8.1: the text must not begin with a byte order mark.
    #[error("the text begins with a byte order mark")]
    ByteOrderMark,
    /// RFC 8259 §2: something else than the grammar allows: a comment, `NaN`, a leading zero, a trailing comma.
    #[error("the text leaves the grammar of JSON")]
    Unexpected,
    /// The text ends inside a value, or holds none.
    #[error("the text ends too early")]
    UnexpectedEnd,
    /// Something other than white space follows the value.
    #[error("something follows the value")]
    TrailingData,
    /// RFC 8259 §9: more than [`Limits::depth_max`] arrays and objects are open at once.
    #[error("the text is nested too deeply")]
    TooDeep,
    /// RFC 8259 §4: two members of one object have the same name once escapes are resolved.
    #[error("an object has two members of the same name")]
    DuplicateName,
    /// RFC 8259 §7: a control character stands unescaped in a string.
    #[error("a string holds an unescaped control character")]
    ControlCharacter,
    /// RFC 8259 §7: a backslash is followed by what is no escape.
    #[error("a string holds an unknown escape")]
    UnknownEscape,
    /// RFC 8259 §8.2: half of a surrogate pair stands alone.
    #[error("a string holds half of a surrogate pair")]
    LoneSurrogate,
    /// RFC 8259 §6: a number has more than [`Limits::number_digits_max`] digits.
    #[error("a number has too many digits")]
    NumberTooLong,
    /// RFC 8259 §6: a number is beyond what a double-precision float can hold.
    #[error("a number is too large")]
    NumberTooLarge,
    /// RFC 8259 §9: the text has more than [`Limits::values_max`] values.
    #[error("the text has too many values")]
    TooManyValues,
    /// RFC 8259 §9: an object has more than [`Limits::members_max`] members.
    #[error("an object has too many members")]
    TooManyMembers,
    /// A string or a name holds a character that [`Limits::refused`] names.
    #[error("a string holds {0}")]
    UnseenCharacter(Unseen),
}

/// Reads `text`, which must be strict JSON, and small: whoever calls it has bounded it to some kilobytes.
///
/// # Errors
/// With the first rule that it breaks. A duplicate name is found once its value has been read, or the whole of a large object.
pub fn parse(text: &str) -> Result<Value, Fault> {
    parse_within(text, &Limits::UNCOUNTED)
}

/// Reads `text`, which must be strict JSON within `limits`.
///
/// # Errors
/// As [`parse`].
pub fn parse_within(text: &str, limits: &Limits) -> Result<Value, Fault> {
    read(text, limits).map(|document| document.to_value())
}

/// As [`parse_within`], and leaves what has been read where it is.
///
/// # Errors
/// As [`parse`].
pub fn read<'t>(text: &'t str, limits: &Limits) -> Result<Document<'t>, Fault> {
    reader::Reader::new(text, limits).run()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(text: &str) -> Option<Rule> {
        parse(text).err().map(|fault| fault.rule)
    }

    #[test]
    fn every_kind_of_value_is_read() {
        for text in [
            "0",
            " -0 ",
            "-1.5e-7",
            "1E+2",
            "true",
            "false",
            "null",
            r#""""#,
            "[]",
            "{}",
            "[ ]",
            "{ }\r\n\t",
            r#"{"a":[1,2,{"b":null}],"":"é\u00e9\ud83d\ude00\n\"\\\/"}"#,
            r#"[{"a":1},{"a":2}]"#,
            r#"{"a":{"a":{"a":1}}}"#,
        ] {
            assert_eq!(parse(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn m01_depth_is_bounded_without_recursion() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(rule(&nested(DEPTH_MAX)), None);
        assert_eq!(rule(&nested(DEPTH_MAX + 1)), Some(Rule::TooDeep));
        assert_eq!(rule(&"[".repeat(100_000)), Some(Rule::TooDeep));
        assert_eq!(rule(&r#"{"a":"#.repeat(100_000)), Some(Rule::TooDeep));
    }

    #[test]
    fn m02_duplicate_names_are_refused_however_they_are_written() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"c":3,"a":4}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"\u00e9":1,"é":2}"#,
            r#"[{"x":{"":0,"":0}}]"#,
            r#"{"a":{"b":1},"a":2}"#,
        ] {
            assert_eq!(rule(text), Some(Rule::DuplicateName), "{text}");
        }
        assert_eq!(parse(r#"{"b":1,"a":2,"b":3}"#).unwrap_err().offset_bytes, 13);
        assert_eq!(rule(r#"{"a":1,"A":2,"a ":3,"é":4,"e\u0301":5}"#), None);
    }

    #[test]
    fn m03_numbers_are_bounded_in_digits_and_size() {
        assert_eq!(rule(&"9".repeat(NUMBER_DIGITS_MAX)), None);
        assert_eq!(rule(&"9".repeat(NUMBER_DIGITS_MAX + 1)), Some(Rule::NumberTooLong));
        assert_eq!(rule(&format!("0.{}", "0".repeat(NUMBER_DIGITS_MAX))), Some(Rule::NumberTooLong));
        assert_eq!(rule(&"1".repeat(100_000)), Some(Rule::NumberTooLong));
        assert_eq!(rule(&format!("1e{}", "0".repeat(100_000))), Some(Rule::NumberTooLong));
        assert_eq!(rule("1e999999"), Some(Rule::NumberTooLarge));
        assert_eq!(rule("-1e400"), Some(Rule::NumberTooLarge));
        assert_eq!(rule("1e308"), None);
    }

    #[test]
    fn m05_a_fraction_is_the_double_that_is_nearest_to_it() {
        for text in [
            "0.41999999999999998",
            "51.24817837550540",
            "-1.2345678901234567e-7",
            "8.5e-323",
            "123456789012345678901.5",
        ] {
            assert_eq!(parse(text).unwrap().as_f64(), text.parse().ok(), "{text}");
        }
        for (text, number) in [
            ("18446744073709551615", Value::from(u64::MAX)),
            ("-9223372036854775808", Value::from(i64::MIN)),
            ("18446744073709551616", Value::from(18_446_744_073_709_551_616.0)),
            ("-9223372036854775809", Value::from(-9_223_372_036_854_775_808.0)),
        ] {
            assert_eq!(parse(text).unwrap(), number);
        }
        assert!(parse("-0").unwrap().as_f64().is_some_and(f64::is_sign_negative));
    }

    #[test]
    fn m04_what_only_lenient_readers_take_is_refused() {
        for text in [
            "NaN",
            "Infinity",
            "-Infinity",
            "01",
            "-01",
            "00",
            "1.",
            ".5",
            "+1",
            "1e",
            "1e+",
            "-",
            "0x10",
            "True",
            "nul",
            "truee",
            "'a'",
            "{a:1}",
            "[1,]",
            r#"{"a":1,}"#,
            "[,]",
            "{,}",
            "// c\n1",
            "/* c */1",
            "[1 2]",
            r#"{"a" 1}"#,
            r#"{"a":}"#,
            r#"{1:2}"#,
            "]",
            "}",
            "[}",
            "{]",
            "\u{a0}1",
            "\0",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(rule("\u{feff}{}"), Some(Rule::ByteOrderMark));
        for text in ["1 2", "{} {}", "[]]", "null,", "{}\0", "1\u{feff}", "012"] {
            assert_eq!(rule(text), Some(Rule::TrailingData), "{text}");
        }
        for text in
            ["", " ", "[", "{", "[1", "[1,", r#"{"a"#, r#"{"a""#, r#"{"a":"#, r#""\"#, r#""\u12"#, "\"", "-"]
        {
            assert_eq!(rule(text), Some(Rule::UnexpectedEnd), "{text}");
        }
    }

    #[test]
    fn m11_half_a_surrogate_pair_is_refused() {
        for text in [
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\ud800""#,
            r#""\ud800x""#,
            r#""\ud800\n""#,
            r#""\udc00\ud800""#,
            r#"{"\ud800":1}"#,
        ] {
            assert_eq!(rule(text), Some(Rule::LoneSurrogate), "{text}");
        }
        assert_eq!(rule(r#""\uD83D\uDE00""#), None);
    }

    #[test]
    fn strings_hold_no_bare_control_characters_and_no_unknown_escapes() {
        assert_eq!(rule("\"a\nb\""), Some(Rule::ControlCharacter));
        assert_eq!(rule("\"\0\""), Some(Rule::ControlCharacter));
        for text in [r#""\x41""#, r#""\'""#, r#""\u00g0""#, r#""\u+123""#, r#""\U0041""#, r#""\é""#] {
            assert_eq!(rule(text), Some(Rule::UnknownEscape), "{text}");
        }
    }

    #[test]
    fn a_fault_says_where_and_nothing_of_the_text() {
        let fault = parse(r#"{"secret": nope}"#).unwrap_err();
        assert_eq!(fault.to_string(), "the text leaves the grammar of JSON at byte 11");
    }

    /// Texts that are nearly JSON: pieces of it in any order.
    fn nearly_json() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\"a\"",
            "\"\\u0061\"",
            "\\",
            "\\ud800",
            "\\udc00",
            "1",
            "-",
            "0",
            ".",
            "e",
            "true",
            "null",
            " ",
            "\n",
            "é",
            "\u{1}",
            "\"a\":1",
            "/",
            "1e400",
        ]);
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..8)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_serde_json_reads(text in prop_oneof![nearly_json(), any::<String>()]) {
            if let Ok(value) = parse(&text) {
                prop_assert_eq!(Some(value), serde_json::from_str::<Value>(&text).ok(), "{}", text);
            }
        }

        #[test]
        fn what_serde_json_writes_is_read_back(value in any_value()) {
            prop_assert_eq!(parse(&value.to_string()), Ok(value));
        }
    }
}
