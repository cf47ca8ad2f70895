//! U: applications behind a Unix socket on the same machine.

use std::os::unix::net::UnixStream as Client;
use std::path::Path;

use drawgate::reason::Reason;
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::time::{Instant, timeout};

use crate::application::{Seen, accepting, before_url, unmasked};
use crate::support::{Case, Frame, PATIENCE, Raw, eventually, request};

/// A folder, and the address of a socket in it.
fn place() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("unix:{}", folder.path().join("app.sock").display());
    (folder, url)
}

fn path(url: &str) -> &Path {
    Path::new(url.strip_prefix("unix:").unwrap())
}

async fn accept(listener: &UnixListener) -> Seen<UnixStream> {
    Seen::over(timeout(PATIENCE, listener.accept()).await.expect("the gateway dials").unwrap().0)
}

async fn ask(case: &Case) -> Raw {
    let mut client = case.connect().await;
    client.send(request("/app/room", "").as_bytes()).await;
    client
}

#[tokio::test]
async fn messages_go_through_a_unix_socket_as_through_any_other() {
    let (_folder, url) = place();
    let listener = UnixListener::bind(path(&url)).unwrap();
    let toml = before_url(&format!("{url}:/inner"), "", "").replace("urls =", "host = \"address\", urls =");
    let mut case = Case::start(&toml).await;
    let mut client = ask(&case).await;
    let mut seen = accept(&listener).await;
    let head = seen.read_head().await;
    assert!(head.starts_with("GET /inner/room HTTP/1.1\r\nHost: localhost\r\n"), "{head}");
    seen.send(accepting(&head, "").as_bytes()).await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
    let message = vec![b'm'; 300_000];
    client.send_frame(0x82, &message).await;
    let mut came = Vec::new();
    while came.len() < message.len() {
        came.extend(seen.read_frame().await.payload);
    }
    assert_eq!(came, message);
    seen.send(&unmasked(0x81, b"answer")).await;
    assert_eq!(client.read_frame().await, Frame::whole(0x81, b"answer"));
    client.send_frame(0x88, &1000_u16.to_be_bytes()).await;
    assert_eq!(seen.read_close().await.0, 1000);
    seen.send_frame(0x88, &1000_u16.to_be_bytes()).await;
    assert_eq!(client.read_close().await.0, 1000);
    let label =
        format!("drawgate_upstream_dials_total{{route=\"app\",upstream=\"{url}:/inner\",result=\"ok\"}}");
    assert_eq!(case.metric(&label), 1);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn u01_a_unix_socket_at_which_nobody_listens_is_a_502() {
    let (_folder, url) = place();
    // Nothing is there; then a plain file; then a socket whose application has gone.
    for stage in 0..3 {
        match stage {
            0 => {}
            1 => std::fs::write(path(&url), "").unwrap(),
            _ => {
                std::fs::remove_file(path(&url)).unwrap();
                drop(std::os::unix::net::UnixListener::bind(path(&url)).unwrap());
            }
        }
        let mut case = Case::start(&before_url(&url, "", "")).await;
        ask(&case).await.expect_refusal(Reason::UpstreamRefused).await;
        let record = case.refused(Reason::UpstreamRefused, b"").await;
        let told = ["No such file or directory", "Connection refused"][stage.min(1)];
        assert!(record["detail"].as_str().is_some_and(|detail| detail.contains(told)), "{record}");
    }
}

#[tokio::test]
async fn u02_a_unix_socket_with_a_full_backlog_is_a_504_at_its_deadline() {
    let (_folder, url) = place();
    let socket = UnixSocket::new_stream().unwrap();
    socket.bind(path(&url)).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(Client::connect(path(&url)).unwrap());
    }
    let mut case = Case::start(&before_url(&url, "", "")).await;
    let began = Instant::now();
    ask(&case).await.expect_refusal(Reason::UpstreamTimeout).await;
    assert!((190..2000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(case.ended(Reason::UpstreamTimeout).await["limit"], 200);
    // Who comes while there is no room yet gets there once there is.
    let mut client = ask(&case).await;
    let asking = format!("drawgate_upstream_connections{{route=\"app\",upstream=\"{url}\"}}");
    eventually(|| case.metric(&asking) == 1, || case.observer.render()).await;
    for _ in 0..2 {
        drop(listener.accept().await.unwrap());
    }
    accept(&listener).await.upgrade("").await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test]
async fn u07_checks_go_over_a_unix_socket_too() {
    let (_folder, url) = place();
    let toml = before_url(&url, "", "").replace(
        "urls =",
        "health = { kind = \"http\", path = \"/up\", interval = \"20ms\", failures_max = 1, successes_min = 1 }, urls =",
    );
    let case = Case::start(&toml).await;
    let unhealthy =
        || case.metric(&format!("drawgate_upstream_unhealthy{{route=\"app\",upstream=\"{url}\"}}"));
    eventually(|| unhealthy() == 1, || case.log_text()).await;
    ask(&case).await.expect_refusal(Reason::UpstreamsUnavailable).await;
    let listener = UnixListener::bind(path(&url)).unwrap();
    let mut seen = accept(&listener).await;
    let head = seen.read_head().await;
    assert!(head.starts_with("GET /up HTTP/1.1\r\n") && head.contains("host: localhost\r\n"), "{head}");
    seen.send(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    eventually(|| unhealthy() == 0, || case.log_text()).await;
}
