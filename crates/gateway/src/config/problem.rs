//! What is wrong with a configuration: every problem at once, each with its place, what was found there and what to do.
//!
//! Never holds the value of a secret: what was found is what the file has written, and nothing where that could be
//! a key (`read.rs` decides). Made by the readers beside it, printed by the program.

use std::fmt;

/// All that is wrong with one configuration, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems, ordered by place; `None` where there are none.
    pub(super) fn new(mut problems: Vec<Problem>) -> Option<Self> {
        // What has no place, such as a table that is missing altogether, comes last.
        problems.sort_by(|a, b| {
            let place = |problem: &Problem| problem.position.unwrap_or(Position::END);
            place(a).cmp(&place(b)).then_with(|| a.key.cmp(&b.key))
        });
        if problems.is_empty() { None } else { Some(Self(problems)) }
    }

    /// What is said where nothing was reported and nothing could be read either.
    pub(super) fn unexplained() -> Self {
        Self(vec![Problem {
            kind: ProblemKind::NotAllowed,
            key: String::new(),
            position: None,
            found: None,
            wrong: "could not be read".to_owned(),
            advice: "this is a fault in Drawgate; please report it".to_owned(),
        }])
    }

    /// Each problem.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    /// A list for people: one problem after the other, two lines each, no newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("1 problem:")?,
            count => write!(f, "{count} problems:")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

impl std::error::Error for Problems {}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of wrong it is.
    pub kind: ProblemKind,
    /// The key path, `routes.chat.limits.ping_interval`; empty where the file as a whole is meant.
    pub key: String,
    /// Where in the file, if it stands there at all.
    pub position: Option<Position>,
    /// The value as the file has it, on one line; absent for tables and wherever it could be a secret.
    pub found: Option<String>,
    /// What is wrong with it, as the end of a sentence that the key begins: `is not a duration`.
    pub wrong: String,
    /// What is allowed, or what to do.
    pub advice: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "line {}", position.line)?;
            if self.kind == ProblemKind::Syntax {
                write!(f, ", column {}", position.column)?;
            }
            f.write_str(": ")?;
        }
        match (self.key.as_str(), &self.found) {
            ("", Some(found)) => f.write_str(found)?,
            ("", None) => f.write_str("the file")?,
            (key, Some(found)) => write!(f, "{key} = {found}")?,
            (key, None) => f.write_str(key)?,
        }
        write!(f, "\n    {}; {}", self.wrong, self.advice)
    }
}

/// What kind of wrong a problem is; closed, so that a program can tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// The file is no TOML.
    Syntax,
    /// No such key exists.
    UnknownKey,
    /// The key or value is part of Drawgate's configuration, and this version cannot do it.
    NotSupportedYet,
    /// A string where a number belongs, and the like.
    WrongType,
    /// Of the right type, and not allowed: out of range, no such choice, malformed.
    NotAllowed,
    /// Required, and not there.
    Missing,
    /// Names a listener or an authenticator that does not exist.
    NoSuchReference,
    /// Defined, and used by nothing.
    Unused,
    /// Says the same as another place.
    Duplicate,
    /// An environment variable is not set, or `$` is not followed by what it must be.
    Environment,
    /// A file that the configuration names cannot be used.
    File,
}

/// A place in the file; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl Position {
    /// After every place in any file.
    const END: Self = Self { line: usize::MAX, column: usize::MAX };

    /// The place of byte `offset` in `text`.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(key: &str, position: Option<Position>) -> Problem {
        Problem {
            kind: ProblemKind::NotAllowed,
            key: key.to_owned(),
            position,
            found: Some("\"x\"".to_owned()),
            wrong: "is not a duration".to_owned(),
            advice: "write one".to_owned(),
        }
    }

    #[test]
    fn problems_are_listed_by_place_and_those_without_one_come_last() {
        let at = |line| Some(Position { line, column: 1 });
        let problems = Problems::new(vec![problem("none", None), problem("b", at(7)), problem("a", at(3))]);
        assert_eq!(
            problems.expect("three problems").to_string(),
            "3 problems:\nline 3: a = \"x\"\n    is not a duration; write one\nline 7: b = \"x\"\n    \
             is not a duration; write one\nnone = \"x\"\n    is not a duration; write one"
        );
        assert_eq!(Problems::new(Vec::new()), None);
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "ab\nü=1\n";
        assert_eq!(Position::of(text, 0), Position { line: 1, column: 1 });
        assert_eq!(Position::of(text, 5), Position { line: 2, column: 2 });
        assert_eq!(Position::of(text, 999), Position { line: 3, column: 1 });
    }
}
