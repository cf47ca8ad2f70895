//! Target `audit`: lines of an audit log, after a byte that says what is done to a good one.
//!
//! Promises: no panic; nothing but what was written under the key is verified, wherever it is changed; a link that refuses stays where
//! it was; the text of a key file is read as it was written, or refused.

use drawgate::audit::{Flaw, Key, Link};

use crate::Seed;

/// Checks one input.
pub fn run(data: &[u8]) {
    let first = Key::new([7; 32]);
    let mut writer = Link::first(first.clone());
    let good: Vec<String> = (0..3)
        .map(|number| writer.add(&"2026-11-26T12:00:00Z", &format!(r#""kind":"test","n":{number}"#)))
        .collect();
    let mut link = Link::first(first);
    for line in data.split(|byte| *byte == b'\n') {
        let before = link.clone();
        match link.verify(line) {
            // Nobody guesses a code: what is verified is what was written.
            Ok(()) => {
                let own = usize::try_from(before.count()).ok().and_then(|place| good.get(place));
                assert_eq!(Some(line), own.map(|own| own.trim_end().as_bytes()));
            }
            Err(Flaw::OutOfOrder { expected, found }) => assert!(expected != found && link == before),
            Err(_) => {
                assert_eq!(link, before);
                break;
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(link) = Link::from_text(text)
    {
        assert_eq!(Link::from_text(&link.to_text()), Some(link));
    }
}

/// A good log, ways in which it is not, and key files.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut writer = Link::first(Key::new([7; 32]));
    let mut link_text = String::new();
    let lines: String = (0..3)
        .map(|number| {
            link_text = writer.to_text().to_string();
            writer.add(&"2026-11-26T12:00:00Z", &format!(r#""kind":"test","n":{number}"#))
        })
        .collect();
    let seed = |name: &str, text: String| Seed { name: name.to_owned(), bytes: text.into_bytes() };
    let reversed: Vec<&str> = lines.lines().rev().collect();
    vec![
        seed("good", lines.clone()),
        seed("changed", lines.replacen("\"n\":1", "\"n\":2", 1)),
        seed("moved", reversed.join("\n")),
        seed("cut", lines[..lines.len() - 9].to_owned()),
        seed("no_code", r#"{"seq":1,"time":"","mac":""}"#.to_owned()),
        seed("no_line", "[1]\n{}".to_owned()),
        seed("key_file", link_text),
    ]
}
