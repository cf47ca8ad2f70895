//! Walks a TOML document by hand: each table knows which of its keys were asked for, each value knows its place,
//! and whatever is wrong is added to one list while reading goes on.
//!
//! Never stops at the first problem, never panics on any text, never repeats what could be a secret. Reads no file.
//! The readers of the single tables (`server.rs`, `routes.rs`, …) call it; `problem.rs` is what it reports.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::defaults::{REQUIRED, Word};
use super::later;
use super::problem::{Position, Problem, ProblemKind};
use super::suggest;

/// What all readers share: the text, what surrounds it, and what was found wrong with it.
pub(super) struct Context<'a> {
    text: &'a str,
    base_directory: &'a Path,
    environment: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: Vec<Problem>,
    /// What is allowed and probably not meant.
    pub(super) warnings: Vec<String>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        text: &'a str,
        base_directory: &'a Path,
        environment: &'a dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self { text, base_directory, environment, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Adds a problem at `place`, with the value as it is written.
    pub(super) fn report(&mut self, place: &Place, kind: ProblemKind, wrong: &str, advice: &str) {
        let found = self.written(place);
        self.add(place, kind, found, wrong, advice);
    }

    /// Adds a problem at `place` without what is written there.
    pub(super) fn report_unseen(&mut self, place: &Place, kind: ProblemKind, wrong: &str, advice: &str) {
        self.add(place, kind, None, wrong, advice);
    }

    /// Adds a problem with the file as a whole, at `offset` where it has one.
    pub(super) fn report_file(
        &mut self,
        kind: ProblemKind,
        offset: Option<usize>,
        wrong: &str,
        advice: &str,
    ) {
        self.problems.push(Problem {
            kind,
            key: String::new(),
            position: offset.map(|offset| Position::of(self.text, offset)),
            found: None,
            wrong: wrong.to_owned(),
            advice: advice.to_owned(),
        });
    }

    /// `path` as the configuration means it: relative to its own folder.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.base_directory.join(path)
    }

    fn add(&mut self, place: &Place, kind: ProblemKind, found: Option<String>, wrong: &str, advice: &str) {
        self.problems.push(Problem {
            kind,
            key: place.key.clone(),
            position: place.span.as_ref().map(|span| Position::of(self.text, span.start)),
            found,
            wrong: wrong.to_owned(),
            advice: advice.to_owned(),
        });
    }

    /// A value as the file has it, on one line of bounded length, without anything that moves a terminal.
    fn written(&self, place: &Place) -> Option<String> {
        let written = self.text.get(place.span.clone()?)?;
        let mut shown: String = written.chars().take(FOUND_CHARACTERS_MAX).flat_map(printable).collect();
        if written.chars().nth(FOUND_CHARACTERS_MAX).is_some() {
            shown.push('…');
        }
        if written.contains("${") {
            shown.push_str(" (with the variable's value)");
        }
        Some(shown)
    }

    /// Whether the value at `place` is written with an environment variable.
    pub(super) fn has_variable(&self, place: &Place) -> bool {
        place.span.clone().and_then(|span| self.text.get(span)).is_some_and(|written| written.contains("${"))
    }

    /// Puts environment variables into `text`: `${NAME}`, and `$$` for a dollar sign.
    fn expand(&mut self, place: &Place, text: &str) -> Option<String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                expanded.push('$');
                rest = after;
                continue;
            }
            let Some((name, after)) = after.strip_prefix('{').and_then(|inner| inner.split_once('}')) else {
                let wrong = "has a `$` that begins no variable";
                self.report(
                    place,
                    ProblemKind::Environment,
                    wrong,
                    "write ${NAME} for a variable, $$ for a dollar",
                );
                return None;
            };
            if !is_variable_name(name) {
                let wrong = "names a variable that no environment has";
                self.report(
                    place,
                    ProblemKind::Environment,
                    wrong,
                    "names have letters, digits and underscores",
                );
                return None;
            }
            let Some(value) = (self.environment)(name) else {
                let wrong = format!("needs the environment variable {name}, which is not set (or not UTF-8)");
                self.report_unseen(place, ProblemKind::Environment, &wrong, "set it, or write the value");
                return None;
            };
            expanded.push_str(&value);
            rest = after;
        }
        expanded.push_str(rest);
        Some(expanded)
    }
}

/// Where a key or value stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The key path: `routes.chat.origins`.
    pub(super) key: String,
    /// The key path with `*` for names: `routes.*.origins`.
    shape: String,
    /// The bytes in the file; `None` for the file as a whole.
    span: Option<Range<usize>>,
}

impl Place {
    /// The byte at which it begins; for ordering.
    pub(super) fn offset(&self) -> usize {
        self.span.as_ref().map_or(0, |span| span.start)
    }

    /// The value of `name` in the table at this place.
    fn child(&self, name: &str, shape_name: &str, span: Option<Range<usize>>) -> Self {
        Self { key: joined(&self.key, &segment(name)), shape: joined(&self.shape, shape_name), span }
    }
}

/// A table, and which of its keys were asked for.
pub(super) struct Table<'t> {
    pub(super) place: Place,
    entries: &'t DeTable<'t>,
    asked: Vec<&'static str>,
}

impl<'t> Table<'t> {
    /// The document itself.
    pub(super) fn root(entries: &'t DeTable<'t>) -> Self {
        let place = Place { key: String::new(), shape: String::new(), span: None };
        Self { place, entries, asked: Vec::new() }
    }

    /// The value of `name`, if it is there.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value<'t>> {
        self.asked.push(name);
        let (key, value) = self.entries.get_key_value(name)?;
        let value_span = value.span();
        // A table made by a dotted key has no text of its own.
        let span = if value_span.is_empty() { key.span() } else { value_span };
        Some(Value { place: self.place.child(name, name, Some(span)), value: value.get_ref() })
    }

    /// The value of `name`; a problem if it is not there.
    pub(super) fn required(&mut self, context: &mut Context<'_>, name: &'static str) -> Option<Value<'t>> {
        let value = self.take(name);
        if value.is_none() {
            let place = self.place.child(name, name, self.place.span.clone());
            let required = REQUIRED.iter().find(|required| required.key == place.shape);
            let advice = required.map_or_else(
                || "write it".to_owned(),
                |required| format!("write {} ({})", required.allowed, required.reason.trim_end_matches('.')),
            );
            context.report_unseen(&place, ProblemKind::Missing, "is missing and has no default", &advice);
        }
        value
    }

    /// Every entry, for a table whose keys are names of the operator's choice; in the order of the file.
    pub(super) fn named(mut self, context: &mut Context<'_>) -> Vec<(String, Value<'t>)> {
        let mut named = Vec::with_capacity(self.entries.len());
        for (key, value) in self.entries {
            let name = key.get_ref().as_ref();
            let span = if value.span().is_empty() { key.span() } else { value.span() };
            let place = self.place.child(name, "*", Some(span));
            if is_name(name) {
                named.push((name.to_owned(), Value { place, value: value.get_ref() }));
            } else {
                let wrong = "is no name for a table";
                context.report_unseen(
                    &place,
                    ProblemKind::NotAllowed,
                    wrong,
                    "use up to 64 of A-Z a-z 0-9 _ -",
                );
            }
        }
        self.asked.clear();
        named.sort_by_key(|(_, value)| value.place.offset());
        named
    }

    /// The value of `name`; not the same as asking for it.
    pub(super) fn peek(&self, name: &'static str) -> Option<Value<'t>> {
        let (_, value) = self.entries.get_key_value(name)?;
        let place = self.place.child(name, name, Some(value.span()));
        Some(Value { place, value: value.get_ref() })
    }

    /// Where it is.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether `name` is there; not the same as asking for it.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Reports each key that nobody asked for.
    pub(super) fn finish(self, context: &mut Context<'_>) {
        for key in self.entries.keys() {
            let name = key.get_ref().as_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let place = self.place.child(name, name, Some(key.span()));
            if let Some(advice) = later::advice(&place.shape) {
                context.report_unseen(&place, ProblemKind::NotSupportedYet, "is not supported yet", advice);
                continue;
            }
            let mut known: Vec<&str> = self.asked.clone();
            known.extend(later::names_in(&self.place.shape));
            let advice = suggest::advice(name, &known);
            context.report_unseen(&place, ProblemKind::UnknownKey, "is no key that exists", &advice);
        }
    }
}

/// A value and its place.
#[derive(Clone)]
pub(super) struct Value<'t> {
    pub(super) place: Place,
    pub(super) value: &'t DeValue<'t>,
}

impl<'t> Value<'t> {
    /// The string, with environment variables put in.
    pub(super) fn text(&self, context: &mut Context<'_>) -> Option<String> {
        match self.value {
            DeValue::String(text) => context.expand(&self.place, text),
            _ => self.wrong_type(context, "a string"),
        }
    }

    /// The truth value.
    pub(super) fn boolean(&self, context: &mut Context<'_>) -> Option<bool> {
        match self.value {
            DeValue::Boolean(boolean) => Some(*boolean),
            _ => self.wrong_type(context, "true or false"),
        }
    }

    /// The table.
    pub(super) fn table(&self, context: &mut Context<'_>) -> Option<Table<'t>> {
        match self.value {
            DeValue::Table(entries) => Some(Table { place: self.place.clone(), entries, asked: Vec::new() }),
            // What stands where a table belongs could be anything, a key included: it is not shown.
            _ => {
                let wrong = format!("is {}", self.type_name());
                context.report_unseen(&self.place, ProblemKind::WrongType, &wrong, "write a table");
                None
            }
        }
    }

    /// The elements of a list that is not empty.
    pub(super) fn list(&self, context: &mut Context<'_>, what: &str) -> Option<Vec<Value<'t>>> {
        let DeValue::Array(elements) = self.value else {
            return self.wrong_type(context, what);
        };
        if elements.is_empty() {
            self.not_allowed(context, "is empty", &format!("write {what}"));
            return None;
        }
        let element = |(index, element): (usize, &'t toml::Spanned<DeValue<'t>>)| {
            let Place { key, shape, .. } = &self.place;
            let (key, shape) = (format!("{key}[{index}]"), shape.clone());
            Value { place: Place { key, shape, span: Some(element.span()) }, value: element.get_ref() }
        };
        Some(elements.iter().enumerate().map(element).collect())
    }

    /// A list of strings, each `read` to what it stands for; each may stand there once.
    pub(super) fn list_of<T: PartialEq>(
        &self,
        context: &mut Context<'_>,
        what: &str,
        mut read: impl FnMut(&mut Context<'_>, &Value<'t>) -> Option<T>,
    ) -> Option<Vec<(T, Place)>> {
        let elements = self.list(context, what)?;
        let count = elements.len();
        let mut list: Vec<(T, Place)> = Vec::with_capacity(count);
        let mut all_read = true;
        for element in elements {
            match read(context, &element) {
                Some(item) if list.iter().any(|(other, _)| *other == item) => {
                    context.report(&element.place, ProblemKind::Duplicate, "is there twice", "leave one out");
                }
                Some(item) => list.push((item, element.place)),
                None => all_read = false,
            }
        }
        all_read.then_some(list)
    }

    /// One of the words in `allowed`; a word in `later` is refused as such.
    pub(super) fn choice<T: Clone>(
        &self,
        context: &mut Context<'_>,
        allowed: &[(&str, T)],
        later: &[&str],
    ) -> Option<T> {
        let text = self.text(context)?;
        if let Some((_, choice)) = allowed.iter().find(|(word, _)| *word == text) {
            return Some(choice.clone());
        }
        let words: Vec<&str> = allowed.iter().map(|(word, _)| *word).collect();
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        if later.contains(&text.as_str()) {
            let advice = format!("write {}", quoted.join(" or "));
            context.report(&self.place, ProblemKind::NotSupportedYet, "is not supported yet", &advice);
        } else {
            self.not_allowed(context, "is no choice here", &suggest::advice_quoted(&text, &words));
        }
        None
    }

    /// Adds a problem: of the right type, but not allowed.
    pub(super) fn not_allowed(&self, context: &mut Context<'_>, wrong: &str, advice: &str) {
        context.report(&self.place, ProblemKind::NotAllowed, wrong, advice);
    }

    /// Adds a problem: this is not what belongs here.
    pub(super) fn wrong_type<T>(&self, context: &mut Context<'_>, expected: &str) -> Option<T> {
        let (wrong, advice) = (format!("is {}", self.type_name()), format!("write {expected}"));
        match self.value {
            // Tables, and lists that may hold tables, can have anything in them.
            DeValue::Table(_) | DeValue::Array(_) => {
                context.report_unseen(&self.place, ProblemKind::WrongType, &wrong, &advice);
            }
            _ => context.report(&self.place, ProblemKind::WrongType, &wrong, &advice),
        }
        None
    }

    fn type_name(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a decimal number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }
}

impl Table<'_> {
    /// The choice written for `word`, or its default, which is one of `allowed`.
    pub(super) fn choice<T: Copy>(
        &mut self,
        context: &mut Context<'_>,
        word: &Word,
        allowed: &[(&str, T)],
        later: &[&str],
    ) -> T {
        let default = allowed.iter().find(|(name, _)| *name == word.choice()).or(allowed.first());
        let (_, default) = default.expect("every choice allows something");
        match self.take(word.name()) {
            None => *default,
            Some(value) => value.choice(context, allowed, later).unwrap_or(*default),
        }
    }
}

/// Whether `name` may name a listener, a route or an authenticator: it goes into logs, metrics and messages.
fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A key as TOML writes it: quoted and escaped unless it is bare; of bounded length.
fn segment(name: &str) -> String {
    if is_name(name) {
        return name.to_owned();
    }
    let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
    if shown.len() == name.len() { format!("{shown:?}") } else { format!("{shown:?}…") }
}

/// `character`, or its escape where it is a control or changes the direction of text.
fn printable(character: char) -> impl Iterator<Item = char> {
    let escaped = character.escape_debug();
    let keep = !character.is_control() && (escaped.len() == 1 || matches!(character, '"' | '\'' | '\\'));
    let plain = if character.is_whitespace() { Some(' ') } else { keep.then_some(character) };
    plain.into_iter().chain(escaped.take(if plain.is_some() { 0 } else { usize::MAX }))
}

/// The most characters of a value that a problem repeats.
const FOUND_CHARACTERS_MAX: usize = 80;
/// The most bytes of a name.
const NAME_BYTES_MAX: usize = 64;
