//! What the engine allocates: nothing for a frame, nothing for what a header declares.

use allocation_counter::measure;
use drawgate_protocol::deflate::{Agreement, Contexts, Deflation, INFLATER_BYTES_MAX, Inflation};
use drawgate_protocol::{Assembler, Event, Limits, MessageKind, Receiver, Role, Sender, Violation};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[test]
fn ten_thousand_frames_are_received_without_an_allocation() {
    let mut stream = Vec::new();
    let mut sender = Sender::new(Role::Client);
    for number in 0_u32..2500 {
        sender.data(&mut stream, MessageKind::Text, false, &["caf\u{e9}".as_bytes()], Some(KEY)).unwrap();
        sender.ping(&mut stream, &number.to_be_bytes(), Some(KEY)).unwrap();
        sender.data(&mut stream, MessageKind::Text, true, &[&[b'x'; 200]], Some(KEY)).unwrap();
        sender.data(&mut stream, MessageKind::Binary, true, &[&[0xff; 20]], Some(KEY)).unwrap();
    }
    let (mut frames, mut receiver) = (0, Receiver::new(Role::Server, Limits::default()));
    let allocated = measure(|| {
        // Cut as a socket cuts: what is left of one read begins the next.
        let (mut start, mut end) = (0, 0);
        while end < stream.len() {
            end = stream.len().min(end + 1500);
            let mut input = &mut stream[start..end];
            while let Ok(Some(event)) = receiver.receive(&mut input) {
                frames += match event {
                    Event::Data(chunk) => usize::from(chunk.frame_end),
                    Event::Ping(_) => 1,
                    Event::Pong(_) | Event::Close(_) => 0,
                };
            }
            start = end - input.len();
        }
    });
    assert_eq!(frames, 10_000);
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn a_declared_length_of_2_to_62_allocates_nothing() {
    let mut refused = *b"\x82\xff\x40\0\0\0\0\0\0\0\x01\x02\x03\x04abc";
    let mut streamed = refused;
    let allocated = measure(|| {
        let mut receiver = Receiver::new(Role::Server, Limits::default());
        assert_eq!(receiver.receive(&mut &mut refused[..]), Err(Violation::MessageTooBig));
        // Where no limit is set the frame is begun, and what has come of it handed out.
        let mut receiver = Receiver::new(Role::Server, Limits::UNLIMITED);
        let mut input = &mut streamed[..];
        assert!(
            matches!(receiver.receive(&mut input), Ok(Some(Event::Data(chunk))) if chunk.payload.len() == 3)
        );
        assert_eq!(receiver.receive(&mut input), Ok(None));
    });
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn the_assembler_holds_what_has_arrived_and_not_what_is_declared() {
    let mut stream = [0; 14 + 64];
    stream[..14].copy_from_slice(b"\x82\xff\x40\0\0\0\0\0\0\0\x01\x02\x03\x04");
    let allocated = measure(|| {
        let mut receiver = Receiver::new(Role::Server, Limits::UNLIMITED);
        let mut assembler = Assembler::new(Limits::UNLIMITED);
        let mut input = &mut stream[..];
        while let Ok(Some(Event::Data(chunk))) = receiver.receive(&mut input) {
            assert_eq!(assembler.push(&chunk), Ok(None));
        }
    });
    assert!((1..=128).contains(&allocated.bytes_max), "{} bytes", allocated.bytes_max);
}

#[test]
fn sending_into_a_buffer_with_room_allocates_nothing() {
    let (mut out, mut sender) = (Vec::with_capacity(64 * 1024), Sender::new(Role::Server));
    let allocated = measure(|| {
        for _ in 0..500 {
            sender.data(&mut out, MessageKind::Text, true, &[b"Server received: ", b"hello"], None).unwrap();
            sender.pong(&mut out, b"payload", None).unwrap();
        }
        sender.close(&mut out, None, None).unwrap();
    });
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn a_bomb_is_inflated_within_a_context_and_the_callers_buffer() {
    let (mut contexts, mut payload, mut wire) = (Contexts::default(), Vec::new(), Vec::new());
    let zeros = vec![0; 16 * 1024 * 1024];
    Deflation::new(Agreement::FRUGAL.client).deflate(&[&zeros], true, &mut payload, &mut contexts);
    assert!(payload.len() < zeros.len() / 500);
    Sender::new(Role::Client)
        .compressed_data(&mut wire, MessageKind::Binary, true, &[&payload], Some(KEY))
        .unwrap();
    let mut receiver = Receiver::new(Role::Server, Limits::UNLIMITED);
    receiver.allow_compression();
    let Ok(Some(Event::Data(mut piece))) = receiver.receive(&mut &mut wire[..]) else { panic!() };
    let (mut output, mut inflated) = (vec![0; 4096], 0);
    let mut contexts = Contexts::default();
    let limits = Limits { message_bytes_max: 15 * 1024 * 1024, ..Limits::UNLIMITED };
    let allocated = measure(|| {
        let mut inflation = Inflation::new(Agreement::FRUGAL.client);
        let end = loop {
            match inflation.inflate(&mut piece, &mut output, &limits, &mut contexts) {
                Ok(chunk) => inflated += chunk.map_or(0, |chunk| chunk.payload.len() as u64),
                Err(violation) => break violation,
            }
        };
        assert_eq!(end, Violation::MessageTooBig);
    });
    assert_eq!(inflated, limits.message_bytes_max);
    let bytes_max = usize::try_from(allocated.bytes_max).unwrap();
    assert!((32 * 1024..=INFLATER_BYTES_MAX).contains(&bytes_max), "{bytes_max} bytes");
}

#[test]
fn messages_are_deflated_and_inflated_with_the_contexts_of_those_before() {
    let (mut contexts, mut payload, mut wire) = (Contexts::default(), Vec::with_capacity(8192), Vec::new());
    let text = "{\"kind\":\"quote\",\"symbol\":\"EXMPL\",\"price\":1.25}".repeat(20);
    let (mut output, mut messages) = (vec![0; 4096], 0);
    let mut run = || {
        let mut deflation = Deflation::new(Agreement::FRUGAL.client);
        payload.clear();
        deflation.deflate(&[text.as_bytes()], true, &mut payload, &mut contexts);
        wire.clear();
        Sender::new(Role::Client)
            .compressed_data(&mut wire, MessageKind::Text, true, &[&payload], Some(KEY))
            .unwrap();
        let mut receiver = Receiver::new(Role::Server, Limits::default());
        receiver.allow_compression();
        let Ok(Some(Event::Data(mut piece))) = receiver.receive(&mut &mut wire[..]) else { panic!() };
        let mut inflation = Inflation::new(Agreement::FRUGAL.client);
        let chunk = inflation.inflate(&mut piece, &mut output, &Limits::default(), &mut contexts);
        assert!(chunk.is_ok_and(|chunk| chunk.is_some_and(|chunk| chunk.payload == text.as_bytes())));
        messages += 1;
    };
    run();
    let allocated = measure(|| (0..100).for_each(|_| run()));
    assert_eq!((messages, allocated.count_total), (101, 0));
}
