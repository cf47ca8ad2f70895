//! Headers that break a rule: the verdict comes at the byte that proves it, though no payload has been sent.

use drawgate::reason::Reason;

use super::{all_refused, refused};
use crate::support::{echo, frame};

#[tokio::test]
async fn f01_each_reserved_bit_is_refused_at_the_first_byte() {
    let opcodes = [0x01, 0x02, 0x81, 0x82, 0x88, 0x89, 0x8A];
    let bits = (1..=7).map(|bits: u8| bits << 4);
    let attacks = bits.flat_map(|bits| opcodes.map(|first| vec![first | bits]));
    all_refused(attacks, Reason::FrameReservedBits).await;
}

#[tokio::test]
async fn f01_a_reserved_bit_on_a_continuation_is_refused() {
    let begun = frame(0x01, b"begun");
    all_refused([[&begun[..], &[0xC0]].concat(), [&begun[..], &[0x10]].concat()], Reason::FrameReservedBits)
        .await;
}

#[tokio::test]
async fn f01_a_whole_frame_with_a_reserved_bit_is_neither_echoed_nor_logged() {
    let plain = b"sixteen bytes or more of payload";
    let record = refused(&echo("", ""), &frame(0xC1, plain), plain, Reason::FrameReservedBits).await;
    assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&serde_json::json!(0), &serde_json::json!(0)));
    assert_eq!(record["section"], "RFC 6455 §5.2");
}

#[tokio::test]
async fn f02_each_unknown_opcode_is_refused_at_the_first_byte() {
    let opcodes = (0x3..=0x7).chain(0xB..=0xF);
    let attacks = opcodes.flat_map(|opcode: u8| [vec![opcode], vec![0x80 | opcode]]);
    all_refused(attacks, Reason::FrameOpcodeUnknown).await;
}

#[tokio::test]
async fn f03_each_fragmented_control_frame_is_refused_at_the_first_byte() {
    all_refused([0x08, 0x09, 0x0A].map(|first| vec![first]), Reason::ControlFragmented).await;
}

#[tokio::test]
async fn f04_each_control_frame_over_125_bytes_is_refused_at_the_second_byte() {
    let attacks = [0x88, 0x89, 0x8A].into_iter().flat_map(|first| [vec![first, 0xFE], vec![first, 0xFF]]);
    all_refused(attacks, Reason::ControlTooLong).await;
}

#[tokio::test]
async fn f06_a_length_that_is_not_minimal_is_refused_before_the_mask() {
    let in_two = [0_u16, 1, 124, 125].map(|length| [&[0x82, 0xFE][..], &length.to_be_bytes()].concat());
    let in_eight =
        [0_u64, 125, 126, 0xFFFF].map(|length| [&[0x82, 0xFF][..], &length.to_be_bytes()].concat());
    // The high bytes alone prove it.
    let cut = vec![0x81, 0xFF, 0, 0, 0, 0, 0, 0];
    all_refused(in_two.into_iter().chain(in_eight).chain([cut]), Reason::FrameLengthNotMinimal).await;
}

#[tokio::test]
async fn f07_a_length_with_its_top_bit_set_is_refused_at_that_byte() {
    let whole = [&[0x82, 0xFF][..], &[0xFF; 8], &[1, 2, 3, 4]].concat();
    let least = [&[0x81, 0xFF, 0x80][..], &[0; 7]].concat();
    all_refused([vec![0x82, 0xFF, 0x80], whole, least], Reason::FrameLengthInvalid).await;
}

#[tokio::test]
async fn f09_each_data_frame_inside_a_message_is_refused_at_its_first_byte() {
    let begun = [frame(0x01, b"begun"), frame(0x00, b"goes on"), frame(0x89, b"a ping may come")].concat();
    let attacks = [0x01, 0x02, 0x81, 0x82].map(|first| [&begun[..], &[first]].concat());
    all_refused(attacks, Reason::MessageInterleaved).await;
    let begun = frame(0x02, b"");
    let attacks = [0x01, 0x82].map(|first| [&begun[..], &[first]].concat());
    all_refused(attacks, Reason::MessageInterleaved).await;
}

#[tokio::test]
async fn f10_a_continuation_of_nothing_is_refused_at_its_first_byte() {
    let ended = [frame(0x01, b"begun"), frame(0x80, b"ended")].concat();
    let after = |first| [&ended[..], &[first]].concat();
    let attacks = [vec![0x00], vec![0x80], after(0x00), after(0x80), [frame(0x81, b""), vec![0x80]].concat()];
    all_refused(attacks, Reason::ContinuationUnexpected).await;
}

#[tokio::test]
async fn f25_http_after_the_101_is_refused_as_a_frame_and_reflected_nowhere() {
    for (request, reason) in [
        (
            &b"GET /admin HTTP/1.1\r\nHost: internal\r\nCookie: session=0123456789\r\n\r\n"[..],
            Reason::FrameReservedBits,
        ),
        (b"POST /admin HTTP/1.1\r\nHost: internal\r\nContent-Length: 0\r\n\r\n", Reason::FrameReservedBits),
        (b"HEAD / HTTP/1.1\r\nHost: internal\r\n\r\n", Reason::FrameReservedBits),
        // TLS and HTTP/2 where frames are expected.
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Reason::FrameReservedBits),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Reason::FrameReservedBits),
        (b"\r\nGET / HTTP/1.1\r\nHost: internal\r\n\r\n", Reason::FrameOpcodeUnknown),
    ] {
        if reason == Reason::FrameOpcodeUnknown {
            // A carriage return is opcode 13 without FIN.
            assert_eq!(request[0], 0x0D);
        }
        let record = refused(&echo("", ""), request, request, reason).await;
        assert_eq!((record["close_code"].as_u64(), record["bytes_out"].as_u64()), (Some(1002), Some(0)));
    }
}
