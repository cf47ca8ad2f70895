//! Arbitrary texts: read or refused, and nothing else.

use proptest::prelude::*;

use super::*;

/// Pieces that make interesting text more likely than chance does.
fn pieces() -> impl Strategy<Value = String> {
    let lines: Vec<String> =
        include_str!("../example.toml").lines().chain(demo_text().lines()).map(str::to_owned).collect();
    let line = proptest::sample::select(lines);
    let noise = "[\\[\\]{}=.,\"'$#\\na-z0-9 é\u{1b}\u{202e}]{0,20}";
    proptest::collection::vec(prop_oneof![3 => line, 1 => noise], 0..40).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn arbitrary_text_is_read_or_refused(text: String) {
        if let Err(problems) = read(&text) {
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn shuffled_configurations_are_read_or_refused(text in pieces()) {
        if let Err(problems) = read(&text) {
            let shown = problems.to_string();
            prop_assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{}", shown);
        }
    }

    #[test]
    fn configurations_cut_anywhere_are_read_or_refused(at in 0..4096_usize, character: char) {
        let text = demo_text();
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let _ = read(&text[..at]);
        let _ = read(&format!("{}{character}{}", &text[..at], &text[at..]));
    }
}
