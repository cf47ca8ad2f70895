//! The type that a token's header may have to name (RFC 7515 §4.1.9, RFC 8725 §3.11). Only words: `jose.rs` asks for it.

use std::fmt;
use std::str::FromStr;

/// A media type as tokens name it, such as `at+jwt` (RFC 9068 §2.1): the prefix `application/` is left out, and case says
/// nothing.
#[derive(Clone, Debug)]
pub struct TokenType(Box<str>);

impl TokenType {
    /// The word for it, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a header that says `typ` names it.
    pub(super) fn is(&self, typ: &str) -> bool {
        without_prefix(typ).eq_ignore_ascii_case(&self.0)
    }
}

impl PartialEq for TokenType {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for TokenType {}

impl fmt::Display for TokenType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TokenType {
    type Err = TokenTypeError;

    fn from_str(text: &str) -> Result<Self, TokenTypeError> {
        let name = without_prefix(text);
        // RFC 6838 §4.2: restricted-name.
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        let begins_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !begins_well || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_of_name) {
            return Err(TokenTypeError);
        }
        Ok(Self(name.into()))
    }
}

/// What is no type of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no type of tokens")]
pub struct TokenTypeError;

/// RFC 7515 §4.1.9: what has no other slash means the same with `application/` before it.
fn without_prefix(text: &str) -> &str {
    match text.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        Some(_) | None => text,
    }
}

const PREFIX: &str = "application/";
/// RFC 6838 §4.2.
const NAME_BYTES_MAX: usize = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_the_same_in_any_case_and_with_its_prefix() {
        let read = |text: &str| text.parse::<TokenType>();
        let access = read("at+jwt").unwrap();
        for text in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
            assert!(access.is(text) && read(text).unwrap() == access, "{text}");
        }
        for typ in
            ["", "jwt", "at+jwt ", "at+jwt;x=1", "text/at+jwt", "application/application/at+jwt", "ät+jwt"]
        {
            assert!(!access.is(typ), "{typ}");
        }
        assert_eq!(read("JWT").unwrap().to_string(), "JWT");
        for text in ["", "application/", "+jwt", "at jwt", "at/jwt", "at+jwt;x=1", "ätjwt", &"a".repeat(128)]
        {
            assert_eq!(read(text), Err(TokenTypeError), "{text}");
        }
    }
}
