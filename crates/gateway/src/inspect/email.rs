//! E-mail addresses as people have them and mail systems take them: less than RFC 5322 allows, and all of what is in use.
//!
//! RFC 5321 §4.1.2: a dot-string, `@`, a domain with a dot in it. No display name, no comment, no quoted local part, no address
//! literal; at most 64 bytes before the `@` and 254 in all (RFC 5321 §4.5.3.1, RFC 3696 erratum 1690). Two texts that name
//! the same mailbox come out the same, as far as anybody but its own server can tell: the domain in lower case and in ASCII
//! (UTS #46), the local part as it is.

use email_address::{EmailAddress, Options};

/// Whether a domain may be written in Unicode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// In ASCII alone: what the format `email` is.
    Ascii,
    /// In either: what `idn-email` is.
    Any,
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// More than 254 bytes.
    #[error("the address has more than 254 bytes")]
    TooLong,
    /// More than 64 bytes before the `@`.
    #[error("the part before the @ has more than 64 bytes")]
    LocalTooLong,
    /// The part before the `@` is not letters, digits and the marks of RFC 5321's `atext`, with single dots between.
    #[error("the part before the @ is not letters, digits and marks with single dots between them")]
    LocalMalformed,
    /// The part behind the `@` is no domain name with a dot in it.
    #[error("the part behind the @ is no domain name with a dot in it")]
    DomainMalformed,
    /// It is no address at all.
    #[error("this is no e-mail address")]
    Malformed,
}

/// Reads an address; gives it with its domain in lower case and ASCII.
///
/// # Errors
/// The first rule that it breaks.
pub fn parse(text: &str, domain: Domain) -> Result<String, Flaw> {
    // Before anything else looks at it. A domain in Unicode may become longer in ASCII, so it is asked again.
    if text.len() > ADDRESS_BYTES_MAX {
        return Err(Flaw::TooLong);
    }
    let (local, host) = text.rsplit_once('@').ok_or(Flaw::Malformed)?;
    if local.len() > LOCAL_BYTES_MAX {
        return Err(Flaw::LocalTooLong);
    }
    if !local.split('.').all(is_atom) {
        return Err(Flaw::LocalMalformed);
    }
    let host = match domain {
        Domain::Ascii if !host.is_ascii() => return Err(Flaw::DomainMalformed),
        // The strict profile: letters, digits and hyphens in their places, 63 bytes a label, 253 in all, no label that
        // decodes to another than it was made of.
        Domain::Ascii | Domain::Any => {
            idna::domain_to_ascii_strict(host).map_err(|_| Flaw::DomainMalformed)?
        }
    };
    // RFC 3696 §2: a top-level domain is not all digits; such a name would be an IPv4 address.
    let top = host.rsplit_once('.').map(|(_, top)| top).ok_or(Flaw::DomainMalformed)?;
    if top.len() < 2 || top.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Flaw::DomainMalformed);
    }
    let address = format!("{local}@{host}");
    if address.len() > ADDRESS_BYTES_MAX {
        return Err(Flaw::TooLong);
    }
    let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
    EmailAddress::parse_with_options(&address, options).map_err(|_| Flaw::Malformed)?;
    Ok(address)
}

/// Whether this is an address: as [`parse`] says, which is not asked where a look tells.
#[must_use]
pub fn is_address(text: &str, domain: Domain) -> bool {
    is_plain(text) || parse(text, domain).is_ok()
}

/// Whether it is one of those that nearly everybody has: in ASCII, with nothing in its domain that could stand for something else.
fn is_plain(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    let Some((_, top)) = host.rsplit_once('.') else { return false };
    text.len() <= ADDRESS_BYTES_MAX
        && local.len() <= LOCAL_BYTES_MAX
        && local.split('.').all(is_atom)
        && host.split('.').all(is_plain_label)
        && top.len() >= 2
        && top.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// RFC 1035 §2.3.1 and RFC 1123 §2.1. A label with two hyphens in a row may be one in Unicode (RFC 5891 §4.2.3.1).
fn is_plain_label(label: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(is_inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.contains("--")
}

/// RFC 5322 §3.2.3.
fn is_atom(text: &str) -> bool {
    let is_atext = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_atext)
}

/// The longest address: a path of 256 bytes less its brackets.
pub const ADDRESS_BYTES_MAX: usize = 254;

/// The longest part before the `@`.
pub const LOCAL_BYTES_MAX: usize = 64;

/// The longest part of a domain between two dots (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_a_look_takes_for_an_address_is_one(
            text in "[a-zA-Z0-9.+_!'-]{0,66}@([a-zA-Z0-9-]{0,8}\\.){0,3}[a-z0-9-]{0,64}",
        ) {
            if is_plain(&text) {
                prop_assert!(parse(&text, Domain::Ascii).is_ok(), "{}", text);
            }
        }
    }

    #[test]
    fn a_look_tells_of_most_addresses() {
        let long = format!("{}@example.com", "a".repeat(LOCAL_BYTES_MAX));
        for text in ["ada@example.com", "Ada.Lovelace+news@mail-1.example.co.uk", "o'hara@9.example", &long] {
            assert!(is_plain(text), "{text}");
        }
        for text in [
            "",
            "@",
            "a@b",
            "a@b.c",
            "a@b.12",
            "a@-b.com",
            "a@xn--a.com",
            "a..b@c.com",
            "a@b..com",
            "a@c.com.",
        ] {
            assert!(!is_plain(text), "{text}");
        }
        assert!(!is_plain(&format!("a{long}")));
    }
}
