//! From a text to what it holds, in one pass and without recursion; the first rule that it breaks ends it.

use std::borrow::Cow;

use serde_json::Number;

use super::document::{Document, Extent, Node, Ordered, SCANNED_MAX};
use super::{Fault, Limits, NUMBER_DIGITS_MAX, Rule};

pub(super) struct Reader<'t, 'l> {
    text: &'t str,
    limits: &'l Limits,
    /// The byte to look at next; never beyond the text's length.
    at: usize,
    /// How many values have begun.
    values: u32,
    /// What has been read.
    document: Document<'t>,
    /// What is open, outermost first; at most [`Limits::depth_max`].
    open: Vec<Open>,
    /// The names of all objects that are open, those of one behind those of the one around it.
    names: Vec<Name>,
}

/// An array or an object, as far as it has been read.
struct Open {
    /// Where its node is.
    node: usize,
    count: usize,
    within: Within,
}

/// What is open.
#[derive(Clone, Copy)]
enum Within {
    Array,
    Object {
        /// Where its names begin among all that are kept.
        names: usize,
        /// The name whose value comes next.
        name: Name,
    },
}

/// The name of a member.
#[derive(Clone, Copy, Default)]
struct Name {
    /// Where its node is.
    node: usize,
    /// Where it stands in the text.
    offset_bytes: usize,
}

/// Whether a value is whole that has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begun {
    Whole,
    Open,
}

impl<'t, 'l> Reader<'t, 'l> {
    pub(super) fn new(text: &'t str, limits: &'l Limits) -> Self {
        let nodes = Vec::with_capacity((text.len() / NODE_BYTES + NODES_AT_LEAST).min(NODES_AT_FIRST));
        let document = Document { nodes, ordered: Vec::new() };
        Self { text, limits, at: 0, values: 0, document, open: Vec::new(), names: Vec::new() }
    }

    pub(super) fn run(mut self) -> Result<Document<'t>, Fault> {
        if self.text.starts_with('\u{feff}') {
            return Err(self.fault(Rule::ByteOrderMark));
        }
        if u32::try_from(self.text.len()).is_err() {
            return Err(self.fault(Rule::TooManyValues));
        }
        loop {
            self.skip_white_space();
            let mut begun = self.begin()?;
            // A value that is whole may be the last of what is open, and that in turn.
            while begun == Begun::Whole {
                self.skip_white_space();
                if self.open.is_empty() {
                    let is_all = self.at == self.text.len();
                    return if is_all { Ok(self.document) } else { Err(self.fault(Rule::TrailingData)) };
                }
                begun = self.follow()?;
            }
        }
    }

    /// The value that begins here, which is whole unless it is an array or an object with anything in it.
    fn begin(&mut self) -> Result<Begun, Fault> {
        self.values += 1;
        if self.values > self.limits.values_max {
            return Err(self.fault(Rule::TooManyValues));
        }
        let whole = match self.peek() {
            Some(b'[') => {
                self.enter(Within::Array)?;
                self.skip_white_space();
                return if self.peek() == Some(b']') { self.leave() } else { Ok(Begun::Open) };
            }
            Some(b'{') => {
                self.enter(Within::Object { names: self.names.len(), name: Name::default() })?;
                self.skip_white_space();
                return if self.peek() == Some(b'}') { self.leave() } else { self.name() };
            }
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Node::Bool(true)),
            Some(b'f') => self.word("false", Node::Bool(false)),
            Some(b'n') => self.word("null", Node::Null),
            other => Err(self.unexpected(other)),
        };
        whole.map(|()| Begun::Whole)
    }

    /// Counts the value that is whole to what it is in, and looks at what follows it: the end of the array or object, if it is.
    fn follow(&mut self) -> Result<Begun, Fault> {
        let Some(open) = self.open.last_mut() else { return Err(self.fault(Rule::TrailingData)) };
        open.count += 1;
        let (count, within) = (open.count, open.within);
        let close = match within {
            Within::Array => b']',
            Within::Object { names, name } => {
                let fault = |rule| Fault { rule, offset_bytes: name.offset_bytes };
                if self.keep_name(names, name) {
                    return Err(fault(Rule::DuplicateName));
                }
                if count > self.limits.members_max {
                    return Err(fault(Rule::TooManyMembers));
                }
                b'}'
            }
        };
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                if close == b']' {
                    return Ok(Begun::Open);
                }
                self.skip_white_space();
                self.name()
            }
            Some(byte) if byte == close => self.leave(),
            other => Err(self.unexpected(other)),
        }
    }

    /// Puts `name` to those of its object, which begin at `first`; true if it is found there already. Among many it is looked for when the
    /// object is whole: in whatever order they come, that takes no more than to sort them once.
    fn keep_name(&mut self, first: usize, name: Name) -> bool {
        let Self { document, names, .. } = self;
        let (text, others) = (document.name_at(name.node), &names[first..]);
        let is_among = |others: &[Name]| others.iter().any(|other| document.name_at(other.node) == text);
        if others.len() < SCANNED_MAX && is_among(others) {
            return true;
        }
        names.push(name);
        false
    }

    fn enter(&mut self, within: Within) -> Result<(), Fault> {
        if self.open.len() == self.limits.depth_max {
            return Err(self.fault(Rule::TooDeep));
        }
        self.open.push(Open { node: self.document.nodes.len(), count: 0, within });
        // Holds the place; what it is in the end is known when it is left.
        self.document.nodes.push(Node::Null);
        self.at += 1;
        Ok(())
    }

    /// Closes the innermost array or object, whose last byte is next.
    fn leave(&mut self) -> Result<Begun, Fault> {
        self.at += 1;
        if let Some(Open { node, count, within }) = self.open.pop() {
            let extent = Extent { count: narrow(count), nodes: narrow(self.document.nodes.len() - node) };
            self.document.nodes[node] = match within {
                Within::Array => Node::Array(extent),
                Within::Object { names, .. } => Node::Object(extent, self.forget_names(names)?),
            };
        }
        Ok(Begun::Whole)
    }

    /// The names from this place on are those of an object that is whole.
    fn forget_names(&mut self, first: usize) -> Result<Ordered, Fault> {
        let Self { document, names: all, .. } = self;
        let names = &mut all[first..];
        if names.len() <= SCANNED_MAX {
            all.truncate(first);
            return Ok(Ordered::Not);
        }
        let text = |name: &Name| document.name_at(name.node);
        names.sort_unstable_by(|one, other| text(one).cmp(text(other)).then(one.node.cmp(&other.node)));
        let again = names.windows(2).filter(|pair| text(&pair[0]) == text(&pair[1]));
        if let Some(offset_bytes) = again.map(|pair| pair[1].offset_bytes).min() {
            return Err(Fault { rule: Rule::DuplicateName, offset_bytes });
        }
        let from = narrow(document.ordered.len());
        document.ordered.extend(names.iter().map(|name| name.node));
        all.truncate(first);
        Ok(Ordered::From(from))
    }

    /// A member's name and its colon. A value has not begun with it.
    fn name(&mut self) -> Result<Begun, Fault> {
        let this = Name { node: self.document.nodes.len(), offset_bytes: self.at };
        match self.peek() {
            Some(b'"') => self.string()?,
            other => return Err(self.unexpected(other)),
        }
        self.skip_white_space();
        match self.peek() {
            Some(b':') => self.at += 1,
            other => return Err(self.unexpected(other)),
        }
        if let Some(Open { within: Within::Object { name, .. }, .. }) = self.open.last_mut() {
            *name = this;
        }
        Ok(Begun::Open)
    }

    /// RFC 8259 §7. Both quotes are ASCII, so the slice between two positions is always whole characters.
    fn string(&mut self) -> Result<(), Fault> {
        let text = self.text;
        let start = self.at;
        self.at += 1;
        let mut has_escapes = false;
        loop {
            self.at += plain_bytes(&text.as_bytes()[self.at..]);
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
        let quoted = &text[start..self.at];
        if has_escapes {
            let fault = Fault { rule: Rule::UnknownEscape, offset_bytes: start };
            let read: String = serde_json::from_str(quoted).map_err(|_| fault)?;
            // Looked for in what was read: an escape hides nothing.
            self.look_for_refused(&read, start)?;
            self.document.nodes.push(Node::String(Cow::Owned(read)));
        } else {
            let read = &quoted[1..quoted.len() - 1];
            self.look_for_refused(read, start)?;
            self.document.nodes.push(Node::String(Cow::Borrowed(read)));
        }
        Ok(())
    }

    fn look_for_refused(&self, read: &str, offset_bytes: usize) -> Result<(), Fault> {
        match self.limits.refused.iter().find(|unseen| unseen.is_in(read)) {
            Some(unseen) => Err(Fault { rule: Rule::UnseenCharacter(*unseen), offset_bytes }),
            None => Ok(()),
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
    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let is_negative = self.peek() == Some(b'-');
        if is_negative {
            self.at += 1;
        }
        let mut digits = if self.peek() == Some(b'0') {
            self.at += 1;
            1
        } else {
            self.digits()?
        };
        let is_whole = !matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        if is_whole && let Some(number) = self.whole_number(start, is_negative) {
            self.document.nodes.push(Node::Number(number));
            return Ok(());
        }
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
        let read = serde_json::from_str(number).map_err(|_| fault)?;
        self.document.nodes.push(Node::Number(read));
        Ok(())
    }

    /// The number that began at `start` and ends here; `None` if it is for the long way: it has many digits, or is -0, which is a double.
    fn whole_number(&self, start: usize, is_negative: bool) -> Option<Number> {
        let digits = &self.text.as_bytes()[start + usize::from(is_negative)..self.at];
        if digits.len() > EXACT_DIGITS.min(self.limits.number_digits_max) {
            return None;
        }
        let number = digits.iter().fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0'));
        match (is_negative, number) {
            (true, 0) => None,
            (true, _) => Some(Number::from(-number)),
            (false, _) => Some(Number::from(number)),
        }
    }

    /// One digit or more; says how many.
    fn digits(&mut self) -> Result<usize, Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.unexpected(self.peek())) } else { Ok(self.at - start) }
    }

    fn word(&mut self, word: &str, value: Node<'t>) -> Result<(), Fault> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            self.document.nodes.push(value);
            Ok(())
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

/// A count of what is in a text, whose bytes an `u32` counts, and which has no more of anything.
fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// How many bytes there are before the first that a string does not hold as it is: a quote, a backslash, a control character.
fn plain_bytes(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            // At most 7.
            return number * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..=0x1f);
    let first = words.len() * 8;
    let rest = &bytes[first..];
    first + rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len())
}

/// Eight bytes at once: the lowest bit that is set is the highest of the first of them that is not plain. Bits above it may be wrong.
const fn special_bytes(word: u64) -> u64 {
    const LOWEST: u64 = 0x0101_0101_0101_0101;
    // A byte less than `limit`, which is at most 128, borrows from its own highest bit, if that was clear.
    const fn less_than(word: u64, limit: u64) -> u64 {
        word.wrapping_sub(LOWEST * limit) & !word
    }
    let quote = less_than(word ^ (LOWEST * b'"' as u64), 1);
    let backslash = less_than(word ^ (LOWEST * b'\\' as u64), 1);
    (less_than(word, 0x20) | quote | backslash) & (LOWEST * 0x80)
}

/// Messages have a value or a name in about so many bytes; room is made for that at once, up to some kilobytes.
const NODE_BYTES: usize = 8;
const NODES_AT_FIRST: usize = 512;
/// A short text may have more.
const NODES_AT_LEAST: usize = 4;

/// So many digits are always within an `i64`.
const EXACT_DIGITS: usize = 18;
