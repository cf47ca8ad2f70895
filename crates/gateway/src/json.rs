//! Strict JSON: reads a text that every reader reads the same way, and no other.
//!
//! RFC 8259 leaves duplicate names, lone surrogates, huge numbers and depth to each reader, and readers differ; here they
//! are refused. Never recurses, works in one pass, and its memory is bounded by the text. What it reads is what `serde_json`,
//! which is lenient about names, would read of the same text; whoever calls it bounds the text first.

mod limits;
mod text;

use std::mem;

use serde_json::{Map, Value};

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
/// With the first rule that it breaks. A duplicate name is found once its value has been read.
pub fn parse(text: &str) -> Result<Value, Fault> {
    parse_within(text, &Limits::UNCOUNTED)
}

/// Reads `text`, which must be strict JSON within `limits`.
///
/// # Errors
/// As [`parse`].
pub fn parse_within(text: &str, limits: &Limits) -> Result<Value, Fault> {
    Reader { text, limits, at: 0, values: 0, open: Vec::new() }.run()
}

struct Reader<'text> {
    text: &'text str,
    limits: &'text Limits,
    /// The byte to look at next; never beyond the text's length.
    at: usize,
    /// How many values have begun.
    values: u32,
    /// What is open, outermost first; at most [`Limits::depth_max`].
    open: Vec<Open>,
}

/// An array or an object, as far as it has been read.
enum Open {
    Array(Vec<Value>),
    /// With the name whose value comes next, and its place.
    Object(Map<String, Value>, (String, usize)),
}

impl Reader<'_> {
    fn run(mut self) -> Result<Value, Fault> {
        if self.text.starts_with('\u{feff}') {
            return Err(self.fault(Rule::ByteOrderMark));
        }
        loop {
            self.skip_white_space();
            let mut begun = self.begin()?;
            // A value that is whole may be the last of what is open, and that in turn.
            while let Some(whole) = begun {
                self.skip_white_space();
                if self.open.is_empty() {
                    let is_all = self.at == self.text.len();
                    return if is_all { Ok(whole) } else { Err(self.fault(Rule::TrailingData)) };
                }
                begun = self.put(whole)?;
            }
        }
    }

    /// The value that begins here, unless it is an array or an object with anything in it: that is open now.
    fn begin(&mut self) -> Result<Option<Value>, Fault> {
        self.values += 1;
        if self.values > self.limits.values_max {
            return Err(self.fault(Rule::TooManyValues));
        }
        match self.peek() {
            Some(b'[') => {
                self.enter(Open::Array(Vec::new()))?;
                self.skip_white_space();
                if self.peek() == Some(b']') { self.leave().map(Some) } else { Ok(None) }
            }
            Some(b'{') => {
                self.enter(Open::Object(Map::new(), (String::new(), 0)))?;
                self.skip_white_space();
                if self.peek() == Some(b'}') { self.leave().map(Some) } else { self.name() }
            }
            Some(b'"') => self.string().map(|text| Some(Value::String(text))),
            Some(b'-' | b'0'..=b'9') => self.number().map(Some),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            other => Err(self.unexpected(other)),
        }
    }

    /// Puts a value where it belongs, and looks at what follows it: the array or object that ends there, if it does.
    fn put(&mut self, value: Value) -> Result<Option<Value>, Fault> {
        let close = match self.open.last_mut() {
            Some(Open::Array(values)) => {
                values.push(value);
                b']'
            }
            Some(Open::Object(members, (name, offset_bytes))) => {
                if members.insert(mem::take(name), value).is_some() {
                    return Err(Fault { rule: Rule::DuplicateName, offset_bytes: *offset_bytes });
                }
                if members.len() > self.limits.members_max {
                    return Err(Fault { rule: Rule::TooManyMembers, offset_bytes: *offset_bytes });
                }
                b'}'
            }
            None => return Err(self.fault(Rule::TrailingData)),
        };
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                if close == b']' {
                    return Ok(None);
                }
                self.skip_white_space();
                self.name()
            }
            Some(byte) if byte == close => self.leave().map(Some),
            other => Err(self.unexpected(other)),
        }
    }

    fn enter(&mut self, open: Open) -> Result<(), Fault> {
        if self.open.len() == self.limits.depth_max {
            return Err(self.fault(Rule::TooDeep));
        }
        self.open.push(open);
        self.at += 1;
        Ok(())
    }

    /// Closes the innermost array or object, whose last byte is next.
    fn leave(&mut self) -> Result<Value, Fault> {
        self.at += 1;
        match self.open.pop() {
            Some(Open::Array(values)) => Ok(Value::Array(values)),
            Some(Open::Object(members, _)) => Ok(Value::Object(members)),
            None => Err(self.fault(Rule::Unexpected)),
        }
    }

    /// A member's name and its colon. A value has not begun with it.
    fn name(&mut self) -> Result<Option<Value>, Fault> {
        let start = self.at;
        let read = match self.peek() {
            Some(b'"') => self.string()?,
            other => return Err(self.unexpected(other)),
        };
        self.skip_white_space();
        match self.peek() {
            Some(b':') => self.at += 1,
            other => return Err(self.unexpected(other)),
        }
        if let Some(Open::Object(_, name)) = self.open.last_mut() {
            *name = (read, start);
        }
        Ok(None)
    }

    /// RFC 8259 §7. Both quotes are ASCII, so the slice between two positions is always whole characters.
    fn string(&mut self) -> Result<String, Fault> {
        let start = self.at;
        self.at += 1;
        let mut has_escapes = false;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..=0x1f);
            self.at += rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.fault(Rule::ControlCharacter)),
                None => return Err(self.fault(Rule::UnexpectedEnd)),
            }
        }
        self.at += 1;
        let quoted = &self.text[start..self.at];
        let read = if has_escapes {
            let fault = Fault { rule: Rule::UnknownEscape, offset_bytes: start };
            serde_json::from_str(quoted).map_err(|_| fault)?
        } else {
            quoted[1..quoted.len() - 1].to_owned()
        };
        // Looked for in what was read: an escape hides nothing.
        match self.limits.refused.iter().find(|unseen| unseen.is_in(&read)) {
            Some(unseen) => Err(Fault { rule: Rule::UnseenCharacter(*unseen), offset_bytes: start }),
            None => Ok(read),
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let unit = self.code_unit()?;
                let low_follows = self.text.as_bytes()[self.at..].starts_with(b"\\u");
                let whole = match unit {
                    0xd800..=0xdbff if low_follows => {
                        self.at += 1;
                        matches!(self.code_unit()?, 0xdc00..=0xdfff)
                    }
                    0xd800..=0xdfff => false,
                    _ => true,
                };
                if !whole {
                    return Err(Fault { rule: Rule::LoneSurrogate, offset_bytes: start });
                }
            }
            Some(_) => return Err(Fault { rule: Rule::UnknownEscape, offset_bytes: start }),
            None => return Err(self.fault(Rule::UnexpectedEnd)),
        }
        Ok(())
    }

    /// The `u` that is next and its four hexadecimal digits.
    fn code_unit(&mut self) -> Result<u32, Fault> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            let digit = match self.peek() {
                Some(byte) => char::from(byte).to_digit(16).ok_or_else(|| self.fault(Rule::UnknownEscape))?,
                None => return Err(self.fault(Rule::UnexpectedEnd)),
            };
            unit = unit * 16 + digit;
            self.at += 1;
        }
        Ok(unit)
    }

    /// RFC 8259 §6.
    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let mut digits = if self.peek() == Some(b'0') {
            self.at += 1;
            1
        } else {
            self.digits()?
        };
        if self.peek() == Some(b'.') {
            self.at += 1;
            digits += self.digits()?;
        }
        let has_exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            digits += self.digits()?;
        }
        if digits > self.limits.number_digits_max {
            return Err(Fault { rule: Rule::NumberTooLong, offset_bytes: start });
        }
        // A number of few digits without an exponent lies inside the range of a double.
        let fault = Fault { rule: Rule::NumberTooLarge, offset_bytes: start };
        let number = &self.text[start..self.at];
        if (has_exponent || digits > NUMBER_DIGITS_MAX) && !number.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(fault);
        }
        serde_json::from_str(number).map_err(|_| fault)
    }

    /// One digit or more; says how many.
    fn digits(&mut self) -> Result<usize, Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.unexpected(self.peek())) } else { Ok(self.at - start) }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Option<Value>, Fault> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(Some(value))
        } else {
            Err(self.fault(Rule::Unexpected))
        }
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn unexpected(&self, found: Option<u8>) -> Fault {
        self.fault(if found.is_some() { Rule::Unexpected } else { Rule::UnexpectedEnd })
    }

    fn fault(&self, rule: Rule) -> Fault {
        Fault { rule, offset_bytes: self.at }
    }
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
            // Quarters are exact; serde_json may miss the last bit of other fractions.
            any::<i32>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
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
