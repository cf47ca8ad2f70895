//! The request-target: path and query, in one spelling only (RFC 9112 §3.2, RFC 3986 §3.3).
//!
//! A path is refused, never repaired: what is routed is byte for byte what is forwarded, and no upstream can read in it
//! a path other than the one that was routed. What is left are paths whose letters, digits, `-`, `.`, `_`, `~` and `/`
//! stand for themselves and cannot be written in another way.

use super::refusal::Refusal;

/// A request-target in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'h> {
    /// The authority, where the target is in absolute form; still unchecked.
    pub(super) authority: Option<&'h str>,
    /// Path and query together: the target in origin form.
    pub(super) local: &'h str,
    pub(super) path: &'h str,
    pub(super) query: Option<&'h str>,
}

impl<'h> Target<'h> {
    pub(super) fn parse(target: &'h str) -> Result<Self, Refusal> {
        let (authority, local) = split_authority(target)?;
        let (path, query) = match local.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (local, None),
        };
        check_path(path)?;
        if let Some(query) = query {
            check_query(query)?;
        }
        Ok(Self { authority, local, path, query })
    }
}

/// RFC 9112 §3.2: origin-form, or absolute-form (RFC 6455 §4.1) of a scheme that we could be serving; nothing else.
fn split_authority(target: &str) -> Result<(Option<&str>, &str), Refusal> {
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(Refusal::TargetFormUnsupported)?;
    let (authority, local) =
        rest.find('/').and_then(|end| rest.split_at_checked(end)).ok_or(Refusal::TargetFormUnsupported)?;
    if SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        Ok((Some(authority), local))
    } else {
        Err(Refusal::TargetFormUnsupported)
    }
}

fn check_path(path: &str) -> Result<(), Refusal> {
    // RFC 3986 §3.3: a path under an authority begins with a slash.
    let segments = path.strip_prefix('/').ok_or(Refusal::TargetFormUnsupported)?;
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        // Only the last segment may be empty: `/chat/`.
        let is_last = segments.peek().is_none();
        if segment.is_empty() && !is_last {
            return Err(Refusal::PathNotNormal);
        }
        check_segment(segment)?;
    }
    Ok(())
}

/// RFC 3986 §3.3: `segment = *pchar`, less the semicolon, which some servers cut paths at.
fn check_segment(segment: &str) -> Result<(), Refusal> {
    // RFC 3986 §6.2.2.3: dot segments. Dots cannot be escaped, see below.
    if matches!(segment, "." | "..") {
        return Err(Refusal::PathNotNormal);
    }
    if !segment.bytes().all(|byte| is_path_byte(byte) || byte == b'%') {
        return Err(Refusal::PathCharacter);
    }
    if !segment.contains('%') {
        return Ok(());
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let byte = escaped_byte(&mut bytes).ok_or(Refusal::PathEscape)?;
        if is_unreserved(byte) {
            // RFC 3986 §6.2.2.2: the same path has a spelling without the escape, and that one would be routed elsewhere.
            return Err(Refusal::PathNotNormal);
        }
        if byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b';') {
            return Err(Refusal::PathEscape);
        }
        decoded.push(byte);
    }
    // Overlong forms of dot and slash hide here.
    if simdutf8::basic::from_utf8(&decoded).is_err() { Err(Refusal::PathEscape) } else { Ok(()) }
}

/// Anything visible goes but what ends a URI or was never in one: browsers leave brackets, braces and bars as they are.
fn check_query(query: &str) -> Result<(), Refusal> {
    let mut bytes = query.bytes();
    while let Some(byte) = bytes.next() {
        let is_sound = match byte {
            b'%' => escaped_byte(&mut bytes).is_some(),
            b'"' | b'#' | b'<' | b'>' => false,
            _ => byte.is_ascii_graphic(),
        };
        if !is_sound {
            return Err(Refusal::QueryMalformed);
        }
    }
    Ok(())
}

/// The byte that two hexadecimal digits stand for.
fn escaped_byte(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (high, low) = (digit()?, digit()?);
    Some(high << 4 | low)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

const SCHEMES: [&str; 4] = ["ws", "wss", "http", "https"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_targets_are_read() {
        for (target, authority, path, query) in [
            ("/", None, "/", None),
            ("/chat", None, "/chat", None),
            ("/chat/", None, "/chat/", None),
            ("/a/b.c/...?", None, "/a/b.c/...", Some("")),
            ("/%C3%A4%20/%25", None, "/%C3%A4%20/%25", None),
            ("/a:@!$&'()*+,=b", None, "/a:@!$&'()*+,=b", None),
            ("/?a[]=1&b={|}^`\\%2f//../;?", None, "/", Some("a[]=1&b={|}^`\\%2f//../;?")),
            ("ws://a:80/b?c", Some("a:80"), "/b", Some("c")),
            ("HTTPS://a/b/", Some("a"), "/b/", None),
            ("http:///b", Some(""), "/b", None),
        ] {
            let local = &target[target.find(path).unwrap()..];
            assert_eq!(Target::parse(target), Ok(Target { authority, local, path, query }), "{target}");
        }
    }

    #[test]
    fn h14_other_forms_of_target_are_refused() {
        for target in [
            "*",
            "a:80",
            "a",
            "ftp://a/",
            "http:/a",
            "http://a",
            "http://a?b",
            "://a/",
            "?",
            "",
            "javascript:a",
        ] {
            assert_eq!(Target::parse(target), Err(Refusal::TargetFormUnsupported), "{target}");
        }
    }

    #[test]
    fn h22_paths_with_a_second_reading_are_refused() {
        for (path, refusal) in [
            ("//", Refusal::PathNotNormal),
            ("//a", Refusal::PathNotNormal),
            ("/a//b", Refusal::PathNotNormal),
            ("/a//", Refusal::PathNotNormal),
            ("/http://a/", Refusal::PathNotNormal),
            ("/.", Refusal::PathNotNormal),
            ("/..", Refusal::PathNotNormal),
            ("/a/./b", Refusal::PathNotNormal),
            ("/a/../b", Refusal::PathNotNormal),
            ("/a/..", Refusal::PathNotNormal),
            ("/a/..?b", Refusal::PathNotNormal),
            ("/a/%2e%2E/b", Refusal::PathNotNormal),
            ("/a/.%2e/b", Refusal::PathNotNormal),
            ("/%61dmin", Refusal::PathNotNormal),
            ("/%7e", Refusal::PathNotNormal),
            ("/a%00", Refusal::PathEscape),
            ("/a%2fb", Refusal::PathEscape),
            ("/a%2Fb", Refusal::PathEscape),
            ("/a%5cb", Refusal::PathEscape),
            ("/a%3bb", Refusal::PathEscape),
            ("/a%0d%0ab", Refusal::PathEscape),
            ("/a%7f", Refusal::PathEscape),
            ("/%c0%ae%c0%ae/", Refusal::PathEscape),
            ("/%ff", Refusal::PathEscape),
            ("/%", Refusal::PathEscape),
            ("/%4", Refusal::PathEscape),
            ("/%4/1", Refusal::PathEscape),
            ("/%zz", Refusal::PathEscape),
            ("/%+1", Refusal::PathEscape),
            ("/a;b", Refusal::PathCharacter),
            ("/a\\b", Refusal::PathCharacter),
            ("/a#b", Refusal::PathCharacter),
            ("/a\"b", Refusal::PathCharacter),
            ("/a[b", Refusal::PathCharacter),
            ("/a|b", Refusal::PathCharacter),
            ("/\u{e4}", Refusal::PathCharacter),
            ("/a?b#c", Refusal::QueryMalformed),
            ("/a?b%", Refusal::QueryMalformed),
            ("/a?%4", Refusal::QueryMalformed),
            ("/a?<b", Refusal::QueryMalformed),
            ("/a?\u{e4}", Refusal::QueryMalformed),
        ] {
            assert_eq!(Target::parse(path), Err(refusal), "{path}");
        }
    }
}
