//! What comes in pieces: the same messages whatever the pieces, whole frames out, and never a byte that did not come.

use drawgate::reason::Reason;

use crate::support::{Case, Frame, echo, eventually, frame, payload};

#[tokio::test]
async fn f13_one_byte_a_segment_gives_the_same_messages() {
    let case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    let text = "κόσμε €😀".as_bytes();
    let large = pattern(1, 300);
    let stream = [
        frame(0x81, b""),
        frame(0x81, text),
        frame(0x01, &text[..3]),
        frame(0x89, b"between"),
        frame(0x80, &text[3..]),
        frame(0x82, &large),
        frame(0x88, b"\x0f\xa0bye"),
    ]
    .concat();
    for byte in stream {
        raw.send(&[byte]).await;
        // The gateway runs on this thread: it gets its turn to read this byte alone.
        tokio::task::yield_now().await;
    }
    for expected in [
        Frame::whole(0x81, b""),
        Frame::whole(0x81, text),
        Frame::whole(0x01, &text[..3]),
        Frame::whole(0x8A, b"between"),
        Frame::whole(0x80, &text[3..]),
        Frame::whole(0x82, &large),
        Frame::whole(0x88, b"\x0f\xa0"),
    ] {
        assert_eq!(raw.read_frame().await, expected);
    }
    raw.expect_end().await;
}

#[tokio::test]
async fn f13_a_frame_that_comes_a_byte_at_a_time_leaves_in_fragments_of_at_least_1_kib() {
    let case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    let plain = pattern(2, 3000);
    for byte in frame(0x82, &plain) {
        raw.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    let frames = raw.read_message().await;
    let (_, fragments) = frames.split_last().unwrap();
    assert!(fragments.iter().all(|fragment| fragment.payload.len() >= 1024), "{}", frames.len());
    assert_eq!(payload(&frames), plain);
}

#[tokio::test]
async fn a_frame_that_stops_in_the_middle_is_echoed_as_far_as_it_came_in_whole_frames() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    let plain = pattern(3, 10_000);
    let sent = frame(0x82, &plain);
    raw.send(&sent[..8 + 5000]).await;
    let mut frames = Vec::new();
    while payload(&frames).len() < 5000 - 1023 {
        frames.push(raw.read_frame().await);
    }
    assert!(frames.iter().all(|frame| frame.first & 0x80 == 0 && frame.payload.len() >= 1024));
    // Control frames go between them, and less than a fragment waits.
    raw.send(&sent[8 + 5000..8 + 5010]).await;
    let bytes_in = |case: &Case| case.bytes_in("binary");
    eventually(|| bytes_in(&case) == 5010, || "ten more bytes have not come".to_owned()).await;
    case.neighbour_is_unharmed().await;
    raw.send(&[&sent[8 + 5010..], &frame(0x89, b"after it")].concat()).await;
    frames.extend(raw.read_message().await);
    assert_eq!(raw.read_frame().await, Frame::whole(0x8A, b"after it"));
    assert_eq!((frames[0].first, payload(&frames)), (0x02, plain));
}

#[tokio::test]
async fn a_frame_that_arrives_whole_leaves_whole() {
    let case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    for bytes in [0, 1, 125, 126, 1000, 1023, 1024, 4000] {
        raw.send_frame(0x82, &pattern(4, bytes)).await;
        assert_eq!(raw.read_frame().await, Frame::whole(0x82, &pattern(4, bytes)));
    }
    // Many of them in one read leave as many.
    let many: Vec<u8> = (0..100).flat_map(|number| frame(0x81, format!("{number}").as_bytes())).collect();
    raw.send(&many).await;
    for number in 0..100 {
        assert_eq!(raw.read_frame().await, Frame::whole(0x81, format!("{number}").as_bytes()));
    }
}

#[tokio::test]
async fn f27_what_is_echoed_is_exactly_what_came_at_every_size_and_alignment() {
    let mut case = Case::start(&echo("", "")).await;
    let mut stale = case.open().await;
    let mut raw = case.open().await;
    let around = |size: usize| [size.saturating_sub(1), size, size + 1];
    let sizes = [1, 4, 8, 16, 32, 64, 125, 127, 255, 1024, 4096, 16_384, 65_536, 131_072].map(around);
    for (seed, size) in (0..).zip(sizes.into_iter().flatten()) {
        // Somebody else's bytes lie in the same buffers before.
        stale.send_frame(0x82, &vec![0xAA; size + 100]).await;
        assert_eq!(payload(&stale.read_message().await), vec![0xAA; size + 100]);
        let plain = pattern(seed, size);
        for cut in [0, 1, 2, 3, 5, 7, 8, 13, 14, 15, 1030] {
            let sent = frame(0x82, &plain);
            let (head, tail) = sent.split_at(cut.min(sent.len()));
            raw.send(head).await;
            tokio::task::yield_now().await;
            raw.send(tail).await;
            assert!(payload(&raw.read_message().await) == plain, "{size} bytes, cut at {cut}");
        }
    }
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn f27_messages_that_share_a_read_do_not_share_bytes() {
    let case = Case::start(&echo("", "")).await;
    let mut raw = case.open().await;
    let sizes: Vec<usize> = (0..200).map(|number| number * 37 % 701).collect();
    for start in 0..8 {
        let sent: Vec<u8> = sizes.iter().flat_map(|&size| frame(0x82, &pattern(size, size))).collect();
        // The same frames at another alignment.
        raw.send(&frame(0x81, &vec![b'x'; start])).await;
        raw.send(&sent).await;
        assert_eq!(payload(&raw.read_message().await), vec![b'x'; start]);
        for &size in &sizes {
            assert!(payload(&raw.read_message().await) == pattern(size, size), "{size} bytes");
        }
    }
    assert_eq!(case.ends(Reason::InternalError), 0);
}

/// Bytes of which no stretch is like another.
fn pattern(seed: usize, bytes: usize) -> Vec<u8> {
    let mut state = u32::try_from(seed).unwrap().wrapping_mul(0x9E37_79B9) | 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(bytes).collect()
}
