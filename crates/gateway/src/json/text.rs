//! Characters that people do not see, and that make one text look like another, or end it for some readers.

use std::fmt;

/// A kind of such characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unseen {
    /// U+0000, at which readers in C end a text.
    Nul,
    /// The controls of bidirectional text (Unicode UAX #9 §2), which show it in another order than it is read in.
    Bidi,
    /// Characters of no width: spaces, joiners, the soft hyphen, the byte order mark. Some scripts, and emoji, need the joiners.
    ZeroWidth,
}

impl Unseen {
    /// All of them, with the word for each in configurations.
    pub const ALL: [(&'static str, Self); 3] =
        [("nul", Self::Nul), ("bidi", Self::Bidi), ("zero_width", Self::ZeroWidth)];

    /// Whether `text` holds one of this kind.
    #[must_use]
    pub fn is_in(self, text: &str) -> bool {
        match self {
            Self::Nul => text.as_bytes().contains(&0),
            // All of the others are beyond ASCII, as most texts are not.
            Self::Bidi => !text.is_ascii() && text.contains(is_bidi_control),
            Self::ZeroWidth => !text.is_ascii() && text.contains(has_no_width),
        }
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nul => "a NUL",
            Self::Bidi => "a control of bidirectional text",
            Self::ZeroWidth => "a character of no width",
        })
    }
}

const fn is_bidi_control(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

const fn has_no_width(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200d}'
            | '\u{2060}'..='\u{2064}'
            | '\u{206a}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m09_m10_what_is_not_seen_is_found_and_nothing_else_is() {
        for (text, found) in [
            ("a\0b", Some(Unseen::Nul)),
            ("\u{202e}abc", Some(Unseen::Bidi)),
            ("a\u{2066}", Some(Unseen::Bidi)),
            ("a\u{200b}b", Some(Unseen::ZeroWidth)),
            ("a\u{feff}", Some(Unseen::ZeroWidth)),
            ("\u{e0041}", Some(Unseen::ZeroWidth)),
            ("", None),
            ("caf\u{e9} \u{5d0}\u{5d1} \u{4e2d} \u{1f600} e\u{301} \u{a0}", None),
        ] {
            for (_, unseen) in Unseen::ALL {
                assert_eq!(unseen.is_in(text), found == Some(unseen), "{text:?} {unseen}");
            }
        }
    }
}
