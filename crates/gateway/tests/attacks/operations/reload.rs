//! O: another configuration while the server runs. What is wrong changes nothing; what is right holds for those who come then,
//! and reaches those who live only where this says so.

mod live;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use drawgate::Server;
use drawgate::config::Config;
use drawgate::observe::ReloadedBy;
use drawgate::reason::Reason;
use drawgate::server::{ReloadError, ReloadSource, Reloaded};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

pub(crate) use self::live::route_changed;
use crate::support::{Case, Frame, Raw, echo, eventually_within};

/// A gateway with a file that can be written anew.
struct Reloading {
    case: Case,
    folder: TempDir,
}

fn read(file: &PathBuf) -> Result<Config, Vec<String>> {
    let text = std::fs::read_to_string(file).map_err(|error| vec![error.to_string()])?;
    let folder = file.parent().unwrap();
    Config::from_toml(&text, folder, &|_| None)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

impl Reloading {
    async fn start(toml: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), toml).await
    }

    async fn start_in(folder: TempDir, toml: &str) -> Self {
        let file = folder.path().join("drawgate.toml");
        std::fs::write(&file, toml).unwrap();
        let builder = Server::from_config(read(&file).unwrap_or_else(|problems| panic!("{problems:?}")));
        let source = {
            let file = file.clone();
            ReloadSource::new(file.clone(), move || read(&file).map(Server::from_config))
        };
        Self { case: Case::start_with(builder.reload_from(source)).await, folder }
    }

    fn write(&self, toml: &str) {
        std::fs::write(self.folder.path().join("drawgate.toml"), toml).unwrap();
    }

    async fn reload(&self, toml: &str) -> Result<Reloaded, ReloadError> {
        self.write(toml);
        self.case.reloader.reload(ReloadedBy::Signal).await
    }

    async fn reloaded(&self, toml: &str) -> Reloaded {
        self.reload(toml).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The message comes back.
async fn lives(raw: &mut Raw) {
    raw.send_frame(0x81, b"still here?").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"still here?"));
}

/// The gateway closes for `reason`; the client answers, and that is the end.
async fn told(raw: &mut Raw, reason: Reason) {
    let (code, text) = raw.read_close().await;
    assert_eq!(
        (Some(code), &*text),
        (reason.row().close.map(drawgate::CloseCode::get), reason.row().close_reason)
    );
    raw.send_frame(0x88, &code.to_be_bytes()).await;
    raw.expect_end().await;
}

/// Whether somebody accepts there.
async fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_ok()
}

/// An address where nobody listens.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn with_listener(toml: &str, address: SocketAddr) -> String {
    format!("{toml}\n[listeners.side]\naddress = \"{address}\"\ntls = \"none\"\n")
        .replace(r#"listeners = ["main"]"#, r#"listeners = ["main", "side"]"#)
}

fn with_route(toml: &str, name: &str) -> String {
    format!(
        "{toml}\n[routes.{name}]\nlisteners = [\"main\"]\npath = \"/{name}\"\norigins = \"any\"\nauth = \"none\"\nbackend = \"echo\"\n\
         [routes.{name}.limits]\nclose_timeout = \"300ms\"\n"
    )
}

#[tokio::test]
async fn o01_a_bad_configuration_is_refused_whole_with_every_reason_and_the_old_one_stays() {
    let good = echo("message_bytes_max = \"1KiB\"", "");
    let mut reloading = Reloading::start(&good).await;
    let mut before = reloading.case.open().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken_address, free) = (taken.local_addr().unwrap(), free_address());
    let other = good.replace("1KiB", "2KiB").replace("path = \"/*\"", "path = \"/elsewhere\"");
    let bad: [(&str, String, &[&str]); 6] = [
        ("is no TOML", format!("{other}\n[[["), &["is no TOML"]),
        (
            "has two problems",
            other.replace("\"any\"", "\"anyy\"").replace("300ms", "300 fortnights"),
            &["origins", "head_timeout"],
        ),
        ("names a file that is not there", format!("{other}\n[server]\nworkers = \"many\""), &["workers"]),
        (
            "has a port that is taken",
            with_listener(&with_listener(&other, free).replace("side", "free"), taken_address)
                .replace(r#""main", "free"]"#, r#""main", "free", "side"]"#),
            &["another program has it"],
        ),
        (
            "has certificates that are not there",
            with_listener(&other, free).replacen(
                "tls = \"none\"\n        head",
                "tls = { certificate_file = \"no.pem\", private_key_file = \"no.key\" }\n        head",
                1,
            ),
            &["no.pem"],
        ),
        ("is empty", String::new(), &["listeners", "routes"]),
    ];
    for (what, toml, problems) in &bad {
        let refused = reloading.reload(toml).await;
        let Err(ReloadError::Refused(said)) = refused else { panic!("{what}: {refused:?}") };
        for problem in *problems {
            assert!(said.iter().any(|said| said.contains(problem)), "{what}: no {problem} in {said:?}");
            let log = reloading.case.log_text();
            assert!(log.contains(problem), "{what}: no {problem} in {log}");
        }
        lives(&mut before).await;
        // New connections find the old limits at the old path, and nobody listens where only the new one says so.
        let mut new = reloading.case.open().await;
        new.send_frame(0x82, &[0; 1025]).await;
        told(&mut new, Reason::MessageTooBig).await;
        assert!(!is_open(free).await, "{what}");
    }
    std::fs::remove_file(reloading.folder.path().join("drawgate.toml")).unwrap();
    let refused = reloading.case.reloader.reload(ReloadedBy::Signal).await;
    assert!(matches!(refused, Err(ReloadError::Refused(_))), "{refused:?}");
    assert_eq!(reloading.case.metric(r#"drawgate_reloads_total{result="failed"}"#), 7);
    assert_eq!(reloading.case.metric(r#"drawgate_reloads_total{result="ok"}"#), 0);
    assert!(
        !reloading.case.observer.render().contains(r#"drawgate_reload_timestamp_seconds{result="failed"} 0"#)
    );
    let refusals = reloading.case.records();
    let refusals = refusals
        .iter()
        .filter(|record| record["message"] == "configuration not reloaded, the old one stays in force");
    assert_eq!(refusals.clone().count(), 7);
    assert!(refusals.clone().all(|record| record["by"] == "signal" && record["level"] == "ERROR"));
    // What is good after all is taken.
    assert_eq!(reloading.reloaded(&other).await.routes_changed, ["echo"]);
    lives(&mut before).await;
    drop(before);
    reloading.case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn o02_a_hundred_reloads_a_second_under_load_lose_no_connection_no_message_and_no_connect() {
    let main = format!("address = \"{}\"", free_address());
    let plain = echo("", "[firewall]\nhandshakes_per_client_per_minute = \"unlimited\"")
        .replace("address = \"127.0.0.1:0\"", &main);
    let side = free_address();
    // A route whose terms change each time, another one and a listener that come and go, and lists that change.
    let other = with_listener(
        &with_route(&plain.replace("head_timeout = \"300ms\"", "head_timeout = \"2s\""), "other"),
        side,
    )
    .replace("[routes.echo.limits]", "[routes.echo.limits]\nmessage_fragments_max = 900")
    .replace("[firewall]", "[firewall]\ndeny = [\"192.0.2.0/24\"]");
    let reloading = Reloading::start(&plain).await;
    let address = reloading.case.address;
    let done = Arc::new(AtomicBool::new(false));
    let (answered, opened) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = Vec::new();
    for client in 0..8_u8 {
        let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
        clients.push(tokio::spawn(async move {
            let mut raw = Raw::connect(address).await;
            raw.upgrade("/").await;
            while !done.load(Ordering::Relaxed) {
                raw.send_frame(0x82, &[client; 200]).await;
                assert_eq!(raw.read_frame().await, Frame::whole(0x82, &[client; 200]));
                answered.fetch_add(1, Ordering::Relaxed);
            }
            raw.send_frame(0x88, &1000_u16.to_be_bytes()).await;
            assert_eq!(raw.read_close().await.0, 1000);
        }));
    }
    for _ in 0..2 {
        let (done, opened) = (Arc::clone(&done), Arc::clone(&opened));
        clients.push(tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let mut raw = Raw::connect(address).await;
                raw.upgrade("/").await;
                lives(&mut raw).await;
                raw.send_frame(0x88, &1000_u16.to_be_bytes()).await;
                assert_eq!(raw.read_close().await.0, 1000);
                opened.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    // At the pace that is asked for, or as fast as this machine can.
    let (begun, mut reloads) = (Instant::now(), 0_u32);
    while reloads < RELOADS {
        let reloaded = reloading.reloaded(if reloads.is_multiple_of(2) { &other } else { &plain }).await;
        assert_eq!(reloaded.routes_changed, ["echo"]);
        reloads += 1;
        tokio::time::sleep_until(begun + Duration::from_millis(10) * reloads).await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let (answered, opened) = (answered.load(Ordering::Relaxed), opened.load(Ordering::Relaxed));
    println!("{reloads} reloads in {:?}: {answered} messages, {opened} connections", begun.elapsed());
    assert!(answered > 100 && opened > 20, "{answered} messages, {opened} connections");
    // What has come and gone leaves no series once the last who came by it has gone; each reload is counted.
    reloading.reloaded(&plain).await;
    let case = reloading.case;
    let page = case.observer.render();
    assert!(!page.contains(r#"route="other""#), "{page}");
    assert_eq!(case.metric(r#"drawgate_reloads_total{result="ok"}"#), u64::from(RELOADS) + 1);
    for reason in [Reason::RouteChanged, Reason::Draining, Reason::InternalError, Reason::ConnectionLost] {
        assert_eq!(case.ends(reason), 0, "{}", reason.row().label);
    }
    assert!(!is_open(side).await);
}

#[tokio::test]
async fn o03_what_is_read_once_is_named_and_the_rest_is_in_force() {
    let plain = echo("", "[server]\nworkers = 2\n");
    let mut reloading = Reloading::start(&plain).await;
    let other = plain
        .replace("workers = 2", "workers = 3\nbuffers_bytes_max = \"1MiB\"\ndrain_timeout = \"1s\"")
        + "\n[log]\nlevel = \"debug\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
    let reloaded = reloading.reloaded(&with_route(&other, "other")).await;
    assert_eq!(reloaded.needs_restart, ["server.workers", "server.buffers_bytes_max", "log", "admin"]);
    assert_eq!(reloaded.routes_added, ["other"]);
    let mut raw = reloading.case.connect().await;
    raw.upgrade("/other").await;
    lives(&mut raw).await;
    // It is named for as long as it is so.
    let reloaded = reloading.reloaded(&with_route(&other, "other")).await;
    assert_eq!(reloaded.needs_restart, ["server.workers", "server.buffers_bytes_max", "log", "admin"]);
    assert!(reloading.case.log_text().contains("some of what has changed needs a restart"));
    reloading.case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn o03_a_file_that_changes_is_read_again_where_the_configuration_says_so() {
    let plain = echo("", "[server]\nreload_on_change = false\n");
    let watched = plain.replace("reload_on_change = false", "reload_on_change = true");
    let mut reloading = Reloading::start(&plain).await;
    assert_eq!(reloading.reloaded(&watched).await, Reloaded::default());
    let count = |case: &Case| case.metric(r#"drawgate_reloads_total{result="ok"}"#);
    // The look that it is compared with comes first.
    sleep(Duration::from_millis(1200)).await;
    reloading.write(&with_route(&watched, "other"));
    let is_read = || count(&reloading.case) >= 2;
    eventually_within(Duration::from_secs(10), is_read, || reloading.case.log_text()).await;
    let mut raw = reloading.case.connect().await;
    raw.upgrade("/other").await;
    assert!(reloading.case.records().iter().any(|record| record["by"] == "file"));
    reloading.case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn a_server_that_was_made_of_no_file_has_none_to_read_again_and_one_that_ends_takes_no_other() {
    let mut case = Case::start(&echo("", "")).await;
    assert_eq!(case.reloader.reload(ReloadedBy::Signal).await, Err(ReloadError::NoSource));
    let reloader = case.reloader.clone();
    case.drain();
    case.neighbour_is_told(Reason::Draining).await;
    let config = Config::from_toml(&echo("", ""), std::path::Path::new("."), &|_| None).unwrap();
    assert_eq!(reloader.replace(Server::from_config(config)).await, Err(ReloadError::Ending));
}

/// Two seconds at the pace that is asked for.
const RELOADS: u32 = 200;
