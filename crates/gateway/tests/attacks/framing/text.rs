//! Text that is not UTF-8: 1007 at the first byte that proves it, though the rest of the frame has not been sent.

use drawgate::reason::Reason;

use super::refused;
use crate::support::{Case, echo, eventually, frame};

/// Good bytes, and the one behind them that no text can have there.
const WRONG: [(&[u8], u8); 16] = [
    (b"", 0x80),
    (b"plain and then ", 0xFF),
    (b"plain and then ", 0xFE),
    ("κόσμε ".as_bytes(), 0xBF),
    // Cut short by a plain byte.
    (b"ab\xc3", b'c'),
    (b"ab\xe2\x82", b'c'),
    (b"ab\xf0\x9f\x98", b'c'),
    // Overlong: of two bytes, of three, of four.
    (b"overlong ", 0xC0),
    (b"overlong ", 0xC1),
    (b"overlong \xe0", 0x9F),
    (b"overlong \xf0", 0x8F),
    // Surrogates, a high one and a low one.
    (b"surrogate \xed", 0xA0),
    (b"surrogate \xed", 0xBF),
    // Beyond U+10FFFF.
    (b"beyond \xf4", 0x90),
    (b"beyond ", 0xF5),
    (b"beyond ", 0xF8),
];

/// A text frame of 120 bytes of which only `sent` come.
fn cut_frame(first: u8, sent: &[u8]) -> Vec<u8> {
    let whole = [sent, &vec![b'x'; 120 - sent.len()]].concat();
    let mut frame = frame(first, &whole);
    frame.truncate(6 + sent.len());
    frame
}

#[tokio::test]
async fn f17_wrong_text_is_refused_at_its_first_wrong_byte() {
    for (good, wrong) in WRONG {
        let sent = [good, &[wrong]].concat();
        let record = refused(&echo("", ""), &cut_frame(0x81, &sent), &sent, Reason::TextNotUtf8).await;
        assert_eq!(record["section"], "RFC 6455 §8.1");
    }
}

#[tokio::test]
async fn f17_text_is_not_refused_before_its_first_wrong_byte() {
    for (good, wrong) in WRONG {
        let mut case = Case::start(&echo("", "")).await;
        let mut raw = case.open().await;
        let sent = cut_frame(0x81, &[good, &[wrong]].concat());
        let (before, last) = sent.split_at(sent.len() - 1);
        raw.send(before).await;
        let bytes = good.len() as u64;
        eventually(|| case.bytes_in("text") == bytes, || "what was good is not counted".to_owned()).await;
        assert_eq!(case.ends(Reason::TextNotUtf8), 0);
        raw.send(last).await;
        raw.expect_close(Reason::TextNotUtf8).await;
        drop(raw);
        case.refused(Reason::TextNotUtf8, good).await;
    }
}

#[tokio::test]
async fn f17_a_character_split_over_frames_is_still_checked() {
    for (good, wrong) in WRONG.into_iter().filter(|(good, _)| good.last().is_some_and(|last| *last >= 0x80)) {
        let (head, tail) = good.split_at(good.len() - 1);
        let sent = [
            frame(0x01, head),
            frame(0x00, tail),
            frame(0x89, b"between"),
            frame(0x00, b""),
            cut_frame(0x00, &[wrong]),
        ]
        .concat();
        refused(&echo("", ""), &sent, good, Reason::TextNotUtf8).await;
    }
}

#[tokio::test]
async fn f17_text_that_ends_inside_a_character_is_refused() {
    for cut in [&b"ab\xc3"[..], b"ab\xe2", b"ab\xe2\x82", b"ab\xf0", b"ab\xf0\x9f", b"ab\xf0\x9f\x98"] {
        refused(&echo("", ""), &frame(0x81, cut), cut, Reason::TextNotUtf8).await;
        // In the last of two frames.
        let sent = [frame(0x01, b"ab"), frame(0x80, &cut[2..])].concat();
        refused(&echo("", ""), &sent, cut, Reason::TextNotUtf8).await;
        // A last frame that is too short to finish it: its second byte says so.
        let sent = [&frame(0x01, cut)[..], &[0x80, 0x80]].concat();
        refused(&echo("", ""), &sent, cut, Reason::TextNotUtf8).await;
    }
}

#[tokio::test]
async fn f17_the_same_bytes_are_fine_as_binary_and_good_text_at_every_cut() {
    let case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    for (good, wrong) in WRONG {
        let sent = [good, &[wrong]].concat();
        raw.send_frame(0x82, &sent).await;
        assert_eq!(raw.read_frame().await.payload, sent);
    }
    let text = "κόσμε €😀 \u{10ffff}\u{d7ff}\u{e000}\u{80}\u{800}".as_bytes();
    for cut in 0..=text.len() {
        raw.send_frame(0x01, &text[..cut]).await;
        raw.send_frame(0x80, &text[cut..]).await;
        assert_eq!(crate::support::payload(&raw.read_message().await), text);
    }
}
