//! What happens between a client and the application behind the gate once both are there.

use crate::application::Application;
use crate::support::{Frame, payload};

#[tokio::test]
async fn messages_go_through_both_ways() {
    let application = Application::start().await;
    let (_case, mut client, mut seen) = application.open("message_bytes_max = \"4MiB\"").await;
    for (first, size) in [(0x81, 0), (0x81, 5), (0x82, 125), (0x82, 126), (0x81, 60_000)] {
        let sent = vec![b'm'; size];
        client.send_frame(first, &sent).await;
        let frames = seen.read_message().await;
        assert_eq!((frames[0].first & 0x0F, payload(&frames)), (first & 0x0F, sent.clone()));
        seen.send_frame(first, &sent).await;
        let frames = client.read_message().await;
        assert_eq!((frames[0].first & 0x0F, payload(&frames)), (first & 0x0F, sent));
    }
    // Small frames that arrive whole leave as they came.
    client.send_frame(0x01, b"fr").await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x01, b"fr"));
    client.send_frame(0x80, b"agments").await;
    assert_eq!(seen.read_frame().await, Frame::whole(0x80, b"agments"));
    seen.send_frame(0x02, b"and").await;
    assert_eq!(client.read_frame().await, Frame::whole(0x02, b"and"));
    seen.send_frame(0x80, b" back").await;
    assert_eq!(client.read_frame().await, Frame::whole(0x80, b" back"));
}
