//! H 25: what stands behind a request is read when its time comes, as what it then is.

use drawgate::reason::Reason;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::exchange::{Counted, SWITCHING, changed, read_of, refused, refuses, serve};
use crate::support::{Case, Frame, echo, frame, request};

#[tokio::test]
async fn h25_a_request_behind_one_that_is_refused_is_never_read() {
    let second = request("/tracer-7f3a", "");
    for (first, reason) in [
        (changed("Upgrade: websocket", "Upgrade: foo"), Reason::UpgradeRequired),
        (changed("GET", "POST"), Reason::MethodNotAllowed),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Reason::HostInvalid),
    ] {
        refuses([first, second.repeat(100).into_bytes()].concat(), reason).await;
    }
}

#[tokio::test]
async fn h25_what_stands_behind_an_upgrade_is_frames() {
    let mut case = Case::start(&echo("", "")).await;
    let sent = [request("/", "").into_bytes(), b"GET /tracer-7f3a HTTP/1.1\r\n\r\n".to_vec()].concat();
    let mut raw = case.connect().await;
    raw.send(&sent).await;
    assert_eq!(raw.read_response().await.head, SWITCHING);
    raw.expect_close(Reason::FrameReservedBits).await;
    drop(raw);
    refused(&mut case, Reason::FrameReservedBits, &sent).await;

    let mut case = Case::start(&echo("", "")).await;
    let frames = [frame(0x81, b"one"), frame(0x82, b"two"), frame(0x89, b"three")].concat();
    let mut raw = case.connect().await;
    // The last frame comes in two pieces, the first of them behind the head.
    let (behind, later) = frames.split_at(frames.len() - 2);
    raw.send(&[request("/", "").as_bytes(), behind].concat()).await;
    assert_eq!(raw.read_response().await.head, SWITCHING);
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"one"));
    assert_eq!(raw.read_frame().await, Frame::whole(0x82, b"two"));
    raw.send(later).await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x8a, b"three"));
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn h25_a_flood_behind_a_request_stays_in_the_kernel() {
    let mut case = Case::start(&echo("", "")).await;
    let mut raw = case.connect().await;
    // So that only the gateway's own reading makes room for more.
    SockRef::from(&raw.stream).set_send_buffer_size(16 * 1024).unwrap();
    let head = changed("Upgrade: websocket", "Upgrade: foo");
    let flood = request("/tracer-7f3a", "").repeat(FLOOD_BYTES / 150);
    let (mut reading, mut writing) = raw.stream.split();
    let mut answer = Vec::new();
    let (written_bytes, _) = tokio::join!(
        async {
            writing.write_all(&head).await.unwrap();
            let mut written_bytes = 0;
            while let Some(rest) = flood.as_bytes().get(written_bytes..).filter(|rest| !rest.is_empty())
                && let Ok(count) = writing.write(rest).await
            {
                written_bytes += count;
            }
            written_bytes
        },
        // Ends with a reset, since not all was read.
        reading.read_to_end(&mut answer),
    );
    assert!(written_bytes < flood.len(), "all {written_bytes} bytes were taken");
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    refused(&mut case, Reason::UpgradeRequired, &flood.as_bytes()[..1_000]).await;

    let read_bytes = read_of(&[head, flood.into_bytes()].concat(), 426).await;
    assert!(read_bytes <= READ_BYTES_MAX, "{read_bytes} bytes were read");
}

#[tokio::test]
async fn h25_no_more_than_a_head_is_read_before_the_answer() {
    let frames = frame(0x82, &[7; 1_000]).repeat(1_000);
    let sent = [request("/", "").into_bytes(), frames].concat();
    let (mut client, server) = tokio::io::duplex(sent.len());
    let (counted, reading) = Counted::new(server);
    client.write_all(&sent).await.unwrap();
    let serving = serve(counted, &echo("", ""));
    let mut answer = vec![0; SWITCHING.len()];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), SWITCHING);
    let read_bytes = reading.bytes_before_answer();
    assert!(read_bytes <= HEAD_READ_BYTES_MAX, "{read_bytes} bytes were read");
    // None of the frames is lost to that.
    let mut echoed = vec![0; 1_000 * (4 + 1_000)];
    client.read_exact(&mut echoed).await.unwrap();
    assert!(echoed.ends_with(&[7; 1_000]));
    drop(client);
    serving.await.unwrap();
}

const FLOOD_BYTES: usize = 10_000_000;
/// The largest head, and the byte that proves one larger.
const HEAD_READ_BYTES_MAX: usize = 16 * 1024 + 1;
/// That, and what is read of a client that was refused until it is cut off: 64 KiB, and what the last read brings.
const READ_BYTES_MAX: usize = HEAD_READ_BYTES_MAX + 65 * 1024;
