//! Comma-separated lists: tokens, and extensions with their parameters (RFC 9110 §5.6.1, RFC 6455 §9.1).
//!
//! All lines of a header are one list. Each byte is looked at a fixed number of times, and the list is bounded in bytes
//! and entries before anything is done with it. What the entries mean is judged elsewhere.

use std::borrow::Cow;

use super::head::HeadLimits;
use super::header::{Field, FieldFault, Headers, is_token, is_token_byte};

/// An extension that a peer offers or accepts (RFC 6455 §9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<'h> {
    /// A token, such as `permessage-deflate`.
    pub name: &'h str,
    /// In their order; one name may come twice, which the extension judges.
    pub parameters: Vec<Parameter<'h>>,
}

/// A parameter of an [`Extension`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<'h> {
    /// A token, such as `client_max_window_bits`.
    pub name: &'h str,
    /// A token, without the quotes that may have stood around it.
    pub value: Option<Cow<'h, str>>,
}

/// The tokens that `field` lists, in their order; empty if there is no such header. In `Upgrade` a token may have a
/// version (`HTTP/2.0`).
pub(super) fn tokens<'h>(
    headers: &Headers<'h>,
    field: Field,
    limits: &HeadLimits,
) -> Result<Vec<&'h str>, FieldFault> {
    let mut bounds = Bounds::new(field, limits);
    let mut tokens = Vec::new();
    for line in headers.lines(field) {
        for entry in line?.split(',') {
            bounds.count_entry()?;
            // Of the white space that is trimmed only space and tab can stand in a value (RFC 9110 §5.5).
            let token = entry.trim_ascii();
            if !bounds.is_uncounted(token) {
                // The comma before or behind it included.
                bounds.count_bytes(entry.len().saturating_add(1))?;
            }
            // RFC 9110 §5.6.1.2: empty entries are skipped, a reasonable number of them.
            if token.is_empty() {
                continue;
            }
            if !is_listed_token(token, field) {
                return Err(FieldFault::ListMalformed(field));
            }
            tokens.push(token);
        }
    }
    // RFC 6455 §11.3.4 wants one entry at least, where the header is there.
    if field == Field::Protocol && tokens.is_empty() && headers.contains(field.name()) {
        return Err(FieldFault::ListMalformed(field));
    }
    Ok(tokens)
}

/// The extensions that `Sec-WebSocket-Extensions` lists, in their order; empty if there is no such header.
pub(super) fn extensions<'h>(
    headers: &Headers<'h>,
    limits: &HeadLimits,
) -> Result<Vec<Extension<'h>>, FieldFault> {
    let mut bounds = Bounds::new(Field::Extensions, limits);
    let mut extensions = Vec::new();
    for line in headers.lines(Field::Extensions) {
        let line = line?;
        bounds.count_bytes(line.len().saturating_add(1))?;
        extend_extensions(line, &mut bounds, &mut extensions)?;
    }
    if extensions.is_empty() && headers.contains(Field::Extensions.name()) {
        return Err(FieldFault::ListMalformed(Field::Extensions));
    }
    Ok(extensions)
}

/// The extensions in a value that we are to send.
pub(super) fn parse_extensions<'t>(
    value: &'t str,
    limits: &HeadLimits,
) -> Result<Vec<Extension<'t>>, FieldFault> {
    let mut extensions = Vec::new();
    extend_extensions(value, &mut Bounds::new(Field::Extensions, limits), &mut extensions)?;
    Ok(extensions)
}

/// What is left of a list's bounds.
struct Bounds {
    field: Field,
    bytes_left: usize,
    entries_left: usize,
    parameters_max: usize,
    uncounted_prefix: Option<&'static str>,
}

impl Bounds {
    fn new(field: Field, limits: &HeadLimits) -> Self {
        Self {
            field,
            // Each piece is counted with a comma, and a list has one comma less than pieces.
            bytes_left: limits.list_bytes_max.saturating_add(1),
            entries_left: limits.list_entries_max,
            parameters_max: limits.list_entries_max,
            uncounted_prefix: if field == Field::Protocol { limits.uncounted_protocol_prefix } else { None },
        }
    }

    fn count_bytes(&mut self, bytes: usize) -> Result<(), FieldFault> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(FieldFault::ListTooLong(self.field))?;
        Ok(())
    }

    fn count_entry(&mut self) -> Result<(), FieldFault> {
        self.entries_left =
            self.entries_left.checked_sub(1).ok_or(FieldFault::ListEntriesTooMany(self.field))?;
        Ok(())
    }

    /// Whether this is the one entry that goes uncounted.
    fn is_uncounted(&mut self, token: &str) -> bool {
        self.uncounted_prefix.take_if(|prefix| token.starts_with(*prefix)).is_some()
    }
}

fn is_listed_token(token: &str, field: Field) -> bool {
    // RFC 9110 §7.8: protocol = protocol-name ["/" protocol-version].
    is_token(token)
        || field == Field::Upgrade
            && token.split_once('/').is_some_and(|(name, version)| is_token(name) && is_token(version))
}

fn extend_extensions<'h>(
    line: &'h str,
    bounds: &mut Bounds,
    extensions: &mut Vec<Extension<'h>>,
) -> Result<(), FieldFault> {
    let malformed = FieldFault::ListMalformed(bounds.field);
    let mut cursor = Cursor { rest: line };
    loop {
        bounds.count_entry()?;
        cursor.skip_space();
        // RFC 9110 §5.6.1.2: empty entries are skipped, a reasonable number of them.
        if !cursor.rest.is_empty() && !cursor.rest.starts_with(',') {
            let name = cursor.token().ok_or(malformed)?;
            let mut parameters = Vec::new();
            while cursor.take(';') {
                if parameters.len() >= bounds.parameters_max {
                    return Err(FieldFault::ListEntriesTooMany(bounds.field));
                }
                parameters.push(cursor.parameter().ok_or(malformed)?);
            }
            extensions.push(Extension { name, parameters });
        }
        if cursor.rest.is_empty() {
            return Ok(());
        }
        if !cursor.take(',') {
            return Err(malformed);
        }
    }
}

/// Reads from the front of a value; RFC 6455 §9.1 allows space between any two of its parts.
struct Cursor<'h> {
    rest: &'h str,
}

impl<'h> Cursor<'h> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Takes `mark` and the space around it, if it comes next.
    fn take(&mut self, mark: char) -> bool {
        self.skip_space();
        let Some(rest) = self.rest.strip_prefix(mark) else { return false };
        self.rest = rest;
        self.skip_space();
        true
    }

    fn token(&mut self) -> Option<&'h str> {
        let length = self.rest.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        if token.is_empty() { None } else { Some(token) }
    }

    fn parameter(&mut self) -> Option<Parameter<'h>> {
        let name = self.token()?;
        let value = match self.take('=') {
            false => None,
            true if self.rest.starts_with('"') => Some(self.quoted_token()?),
            true => Some(Cow::Borrowed(self.token()?)),
        };
        self.skip_space();
        Some(Parameter { name, value })
    }

    /// RFC 6455 §9.1: what the quotes hold must be a token, once its backslashes are taken out.
    fn quoted_token(&mut self) -> Option<Cow<'h, str>> {
        let inside = self.rest.strip_prefix('"')?;
        let mut escaped = false;
        let end = inside.bytes().position(|byte| {
            let is_end = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            is_end
        })?;
        self.rest = inside.get(end.checked_add(1)?..)?;
        let quoted = inside.get(..end)?;
        // A token holds no backslash, so that none can be meant as one.
        let value =
            if quoted.contains('\\') { Cow::Owned(quoted.replace('\\', "")) } else { Cow::Borrowed(quoted) };
        let doubled = quoted.contains("\\\\");
        if is_token(&value) && !doubled { Some(value) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::Header;
    use super::*;

    fn headers<'h>(field: Field, lines: &[&'h str]) -> Headers<'h> {
        let name = field.name();
        Headers::new(lines.iter().map(|line| Header { name, value: line.as_bytes() }).collect())
    }

    fn protocols<'h>(lines: &[&'h str]) -> Result<Vec<&'h str>, FieldFault> {
        tokens(&headers(Field::Protocol, lines), Field::Protocol, &HeadLimits::default())
    }

    fn offers<'h>(lines: &[&'h str]) -> Result<Vec<Extension<'h>>, FieldFault> {
        extensions(&headers(Field::Extensions, lines), &HeadLimits::default())
    }

    fn parameter(name: &'static str, value: Option<&'static str>) -> Parameter<'static> {
        Parameter { name, value: value.map(Cow::Borrowed) }
    }

    #[test]
    fn tokens_of_all_lines_are_one_list() {
        assert_eq!(protocols(&[]), Ok(vec![]));
        assert_eq!(protocols(&["chat, superchat", "v2\t,,\tv1"]), Ok(vec!["chat", "superchat", "v2", "v1"]));
    }

    #[test]
    fn h20_what_is_no_token_is_refused() {
        for line in ["", ",", " , ", "a b", "a;b", "\"a\"", "a/b", "a, b c", "a=b", "(a)"] {
            assert_eq!(protocols(&[line]), Err(FieldFault::ListMalformed(Field::Protocol)), "{line}");
        }
        assert_eq!(protocols(&["\u{e4}"]), Err(FieldFault::NotAscii(Field::Protocol)));
    }

    #[test]
    fn h20_extensions_that_are_not_ascii_are_refused() {
        assert_eq!(offers(&["x-a; b=\"\u{e4}\""]), Err(FieldFault::NotAscii(Field::Extensions)));
        assert_eq!(offers(&["x-a", "\u{e4}"]), Err(FieldFault::NotAscii(Field::Extensions)));
    }

    #[test]
    fn h09_lists_are_bounded_in_bytes_and_entries() {
        assert_eq!(protocols(&["a,".repeat(15).as_str()]).map(|list| list.len()), Ok(15));
        let too_many = Err(FieldFault::ListEntriesTooMany(Field::Protocol));
        assert_eq!(protocols(&["a,".repeat(16).as_str()]), too_many);
        assert_eq!(protocols(&[",".repeat(16).as_str()]), too_many);
        assert_eq!(protocols(&["a"; 17]), too_many);

        assert_eq!(protocols(&["a".repeat(1024).as_str()]).map(|list| list.len()), Ok(1));
        let too_long = Err(FieldFault::ListTooLong(Field::Protocol));
        assert_eq!(protocols(&["a".repeat(1025).as_str()]), too_long);
        assert_eq!(protocols(&["a".repeat(512).as_str(), "b".repeat(512).as_str()]), too_long);
        let spaces = format!("a,{}b", " ".repeat(1023));
        assert_eq!(protocols(&[spaces.as_str()]), too_long);
    }

    #[test]
    fn a29_one_credential_is_not_counted_where_the_limits_say_so() {
        let credential = format!("token.{}", "x".repeat(4000));
        let two = format!("chat, {credential}, {credential}");
        let one = format!("chat, {credential}");
        let list = headers(Field::Protocol, &[&one]);
        let limits = HeadLimits { uncounted_protocol_prefix: Some("token."), ..HeadLimits::default() };
        assert_eq!(tokens(&list, Field::Protocol, &limits).unwrap(), ["chat", &credential]);
        let too_long = Err(FieldFault::ListTooLong(Field::Protocol));
        assert_eq!(tokens(&headers(Field::Protocol, &[&two]), Field::Protocol, &limits), too_long);
        assert_eq!(protocols(&[&one]), too_long);
    }

    #[test]
    fn an_upgrade_may_name_a_version() {
        let list = |line| tokens(&headers(Field::Upgrade, &[line]), Field::Upgrade, &HeadLimits::default());
        assert_eq!(list("HTTP/2.0, websocket"), Ok(vec!["HTTP/2.0", "websocket"]));
        assert_eq!(list(""), Ok(vec![]));
        for line in ["/1", "a/", "a/b/c"] {
            assert_eq!(list(line), Err(FieldFault::ListMalformed(Field::Upgrade)), "{line}");
        }
    }

    #[test]
    fn extensions_are_read_as_section_9_1_says() {
        let deflate = |parameters| Extension { name: "permessage-deflate", parameters };
        assert_eq!(offers(&[]), Ok(vec![]));
        assert_eq!(
            offers(&[
                "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate"
            ]),
            Ok(vec![
                deflate(vec![
                    parameter("client_max_window_bits", None),
                    parameter("server_max_window_bits", Some("10"))
                ]),
                deflate(vec![]),
            ])
        );
        let quoted = Ok(vec![deflate(vec![parameter("a", Some("10"))])]);
        assert_eq!(offers(&["permessage-deflate;a=\"10\""]), quoted);
        assert_eq!(offers(&["permessage-deflate\t; a = \"\\1\\0\" "]), quoted);
        assert_eq!(offers(&[",permessage-deflate;a=10,"]), quoted);
    }

    #[test]
    fn h09_malformed_extensions_are_refused() {
        for line in [
            "",
            ",",
            ";",
            "a;",
            "a;;b",
            "a;=1",
            "a;b=",
            "a;b=,c",
            "a b",
            "a;b c",
            "a;b=1 2",
            "a;b=\"",
            "a;b=\"1",
            "a;b=\"\"",
            "a;b=\"1,2\"",
            "a;b=\"1\"2",
            "a;b=\"\\\"\"",
            "a;b=\"1\\\\\"",
            "a;b=\"1\\\"",
            "a=b",
            "a/b",
        ] {
            assert_eq!(offers(&[line]), Err(FieldFault::ListMalformed(Field::Extensions)), "{line}");
        }
    }

    #[test]
    fn h09_extensions_are_bounded_in_bytes_entries_and_parameters() {
        let too_many = Err(FieldFault::ListEntriesTooMany(Field::Extensions));
        assert_eq!(offers(&["a,".repeat(15).as_str()]).map(|list| list.len()), Ok(15));
        assert_eq!(offers(&["a,".repeat(16).as_str()]), too_many);
        assert_eq!(offers(&["a"; 17]), too_many);
        let parameters = |count| format!("a{}", ";b".repeat(count));
        assert_eq!(offers(&[&parameters(16)]).map(|list| list[0].parameters.len()), Ok(16));
        assert_eq!(offers(&[&parameters(17)]), too_many);
        let too_long = Err(FieldFault::ListTooLong(Field::Extensions));
        assert_eq!(offers(&["a".repeat(1025).as_str()]), too_long);
        // CVE-2021-32640: quadratic in the spaces.
        assert_eq!(
            offers(&[format!("a{}b", " ".repeat(1022)).as_str()]),
            Err(FieldFault::ListMalformed(Field::Extensions))
        );
        assert_eq!(offers(&["a".repeat(512).as_str(), "b".repeat(512).as_str()]), too_long);
    }
}
