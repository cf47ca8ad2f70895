//! U: applications that are asked from time to time whether they are well, and what is done with those that are not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use drawgate::Server;
use drawgate::config::Config;
use drawgate::observe::ReloadedBy;
use drawgate::reason::Reason;
use drawgate::server::ReloadSource;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::application::{Application, Seen, accepting, before};
use crate::support::{Case, Raw, eventually, request, settled};

/// An application that answers whoever asks it anything, or takes connections and says nothing, as it is told.
struct Moody {
    address: SocketAddr,
    is_well: Arc<AtomicBool>,
    /// How many clients it took, checks aside.
    came: Arc<AtomicUsize>,
    /// How many checks it answered.
    checks: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Moody {
    /// One that answers a check that is no upgrade with this status line.
    async fn start(status: &'static str) -> Self {
        let application = Application::start().await;
        let address = application.address;
        let is_well = Arc::new(AtomicBool::new(true));
        let (came, checks) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let task = {
            let (is_well, came, checks) = (Arc::clone(&is_well), Arc::clone(&came), Arc::clone(&checks));
            tokio::spawn(async move {
                while let Ok((stream, _)) = application.take().await {
                    let mut seen = Seen::over(stream);
                    let is_well = Arc::clone(&is_well);
                    let (came, checks) = (Arc::clone(&came), Arc::clone(&checks));
                    tokio::spawn(async move {
                        let head = seen.read_head().await;
                        if !is_well.load(Ordering::SeqCst) {
                            // As a stopped process: the kernel has taken the connection, and that is all.
                            return sleep(Duration::from_mins(1)).await;
                        }
                        let is_check = head.contains("drawgate-health-check");
                        if is_check { &checks } else { &came }.fetch_add(1, Ordering::SeqCst);
                        if !head.contains("Upgrade: websocket") {
                            let answer =
                                format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nLocation: /\r\n\r\nok");
                            return seen.send(answer.as_bytes()).await;
                        }
                        seen.send(accepting(&head, "").as_bytes()).await;
                        if is_check {
                            assert_eq!(seen.read_close().await, (1000, String::new()));
                            seen.send_frame(0x88, &1000_u16.to_be_bytes()).await;
                            return seen.expect_end().await;
                        }
                        sleep(Duration::from_mins(1)).await;
                    });
                }
            })
        };
        Self { address, is_well, came, checks, task }
    }

    fn set_well(&self, is_well: bool) {
        self.is_well.store(is_well, Ordering::SeqCst);
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }

    fn checks(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }
}

impl Drop for Moody {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const WEBSOCKET: &str = "kind = \"websocket\"";
const HTTP: &str = "kind = \"http\", path = \"/healthz?deep=1\"";

fn checking(applications: &[SocketAddr], check: &str) -> String {
    let urls: Vec<String> = applications.iter().map(|address| format!("\"ws://{address}\"")).collect();
    let health =
        format!("health = {{ {check}, interval = \"50ms\", timeout = \"100ms\", failures_max = 2 }}");
    let one = format!("urls = [\"ws://{}\"],", applications[0]);
    before(applications[0], "", "[admin]\naddress = \"127.0.0.1:0\"")
        .replace(&one, &format!("urls = [{}], {health}, balance = \"round_robin\",", urls.join(", ")))
}

async fn start(applications: &[SocketAddr], check: &str) -> Case {
    Case::start(&checking(applications, check)).await
}

async fn ask(case: &Case) -> Raw {
    let mut client = case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    client
}

async fn open(case: &Case) -> Raw {
    let mut client = ask(case).await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client
}

fn metric(case: &Case, family: &str, address: SocketAddr, more: &str) -> u64 {
    case.metric(&format!(r#"drawgate_upstream_{family}{{route="app",upstream="ws://{address}"{more}}}"#))
}

async fn found(case: &Case, address: SocketAddr, is_unhealthy: bool) {
    let is_so = || metric(case, "unhealthy", address, "") == u64::from(is_unhealthy);
    eventually(is_so, || case.log_text()).await;
}

#[tokio::test]
async fn u07_a_stopped_application_is_found_by_its_checks_and_by_those_alone_who_come() {
    let (one, other) = (Moody::start("200 OK").await, Moody::start("200 OK").await);
    let case = start(&[one.address, other.address], WEBSOCKET).await;
    eventually(|| one.checks() > 1 && other.checks() > 1, || case.log_text()).await;
    one.set_well(false);
    found(&case, one.address, true).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let began = Instant::now();
        clients.push(open(&case).await);
        assert!(began.elapsed() < Duration::from_millis(250), "nobody waits for the one that has stopped");
    }
    assert_eq!((one.came(), other.came()), (0, 4));
    eventually(|| case.log_text().contains("upstream fails its health checks"), || case.log_text()).await;
    one.set_well(true);
    found(&case, one.address, false).await;
    for _ in 0..4 {
        clients.push(open(&case).await);
    }
    assert_eq!((one.came(), other.came()), (2, 6));
    assert!(case.log_text().contains("upstream passes its health checks again"));
    assert!(metric(&case, "checks_total", one.address, r#",result="failed""#) >= 2);
    assert!(metric(&case, "checks_total", other.address, r#",result="ok""#) >= 2);
}

#[tokio::test]
async fn u07_where_the_only_one_has_stopped_the_answer_is_a_fast_503() {
    let alone = Moody::start("200 OK").await;
    let mut case = start(&[alone.address], WEBSOCKET).await;
    alone.set_well(false);
    found(&case, alone.address, true).await;
    let began = Instant::now();
    ask(&case).await.expect_refusal(Reason::UpstreamsUnavailable).await;
    assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
    case.ended(Reason::UpstreamsUnavailable).await;
    alone.set_well(true);
    found(&case, alone.address, false).await;
    open(&case).await;
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn an_answer_to_get_of_2xx_is_well_and_any_other_is_not() {
    for (status, is_well) in [
        ("200 OK", true),
        ("204 No Content", true),
        ("302 Found", false),
        ("404 Not Found", false),
        ("500 Internal Server Error", false),
    ] {
        let one = Moody::start(status).await;
        let case = start(&[one.address], HTTP).await;
        if is_well {
            eventually(|| one.checks() > 4, || case.log_text()).await;
        }
        found(&case, one.address, !is_well).await;
        let log = case.log_text();
        let told = format!("the answer has the status {}", &status[..3]);
        assert_eq!(log.contains(&told), !is_well, "{status}: {log}");
    }
}

#[tokio::test]
async fn the_application_sees_which_path_it_is_asked_for() {
    let application = Application::start().await;
    let case = start(&[application.address], HTTP).await;
    let head = application.accept().await.read_head().await;
    assert!(head.starts_with("GET /healthz?deep=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains(&format!("host: {}\r\n", application.address)), "{head}");
    drop(case);
    let case = start(&[application.address], "kind = \"websocket\", path = \"/well\"").await;
    let head = application.accept().await.read_head().await;
    assert!(head.starts_with("GET /well HTTP/1.1\r\n"), "{head}");
    assert!(
        !head.contains("Origin") && !head.contains("X-Forwarded"),
        "a check speaks for no client: {head}"
    );
    drop(case);
}

#[tokio::test]
async fn a_port_at_which_nobody_listens_is_found_by_tcp() {
    let (there, dead) = (Moody::start("200 OK").await, Application::start().await.address);
    let case = start(&[dead, there.address], "kind = \"tcp\"").await;
    found(&case, dead, true).await;
    // Nobody's dial was spent on it.
    assert_eq!(metric(&case, "dials_total", dead, r#",result="failed""#), 0);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(open(&case).await);
    }
    assert_eq!((there.came(), metric(&case, "dials_total", dead, r#",result="failed""#)), (3, 0));
    let (status, page) = case.ask_admin("/metrics").await;
    let line = format!("drawgate_upstream_unhealthy{{route=\"app\",upstream=\"ws://{dead}\"}} 1");
    assert!(status == 200 && page.contains(&line), "{page}");
}

#[tokio::test]
async fn checks_take_no_client_s_place_and_say_nothing_while_the_gateway_drains() {
    let one = Moody::start("200 OK").await;
    // The application does not answer its Close, so that the drain lasts while several checks would be made.
    let toml =
        checking(&[one.address], WEBSOCKET).replace("close_timeout = \"300ms\"", "close_timeout = \"2s\"");
    let mut case = Case::start(&toml).await;
    let mut client = open(&case).await;
    eventually(|| one.checks() > 3, || case.log_text()).await;
    assert_eq!(metric(&case, "connections", one.address, ""), 1);
    one.set_well(false);
    case.drain();
    // As long as several checks would take to fail.
    sleep(Duration::from_millis(600)).await;
    assert!(metric(&case, "checks_total", one.address, r#",result="failed""#) < 2, "they end with the drain");
    assert!(!case.log_text().contains("fails its health checks"), "{}", case.log_text());
    assert_eq!(client.read_close().await.0, 1012);
}

#[tokio::test]
async fn another_configuration_ends_checks_and_begins_anew() {
    let (one, other) = (Moody::start("200 OK").await, Moody::start("200 OK").await);
    let checked = checking(&[one.address, other.address], WEBSOCKET);
    let (front, rest) = checked.split_once("health = {").unwrap();
    let unchecked = format!("{front}{}", rest.split_once("}, ").unwrap().1);
    let texts = [checked.clone(), unchecked, checked.replace("failures_max = 2", "failures_max = 1000")];
    let read = |text: &str| Config::from_toml(text, Path::new("."), &|_| None).unwrap();
    let turn = AtomicUsize::new(0);
    let server = Server::from_config(read(&checked));
    let source = ReloadSource::new("none.toml".into(), {
        move || Ok(Server::from_config(read(&texts[turn.fetch_add(1, Ordering::SeqCst) + 1])))
    });
    let case = Case::start_with(server.reload_from(source)).await;
    one.set_well(false);
    found(&case, one.address, true).await;
    case.reloader.reload(ReloadedBy::Signal).await.unwrap();
    // Nobody asks any more, so nothing is known against it.
    assert_eq!(metric(&case, "unhealthy", one.address, ""), 0);
    // Those that were under way end; in the time behind that five more would come.
    let before = settled(async || other.checks() as u64).await;
    sleep(Duration::from_millis(250)).await;
    assert_eq!(other.checks() as u64, before, "no check is made");
    case.reloader.reload(ReloadedBy::Signal).await.unwrap();
    eventually(|| other.checks() as u64 > before + 2, || case.log_text()).await;
    assert_eq!(
        metric(&case, "unhealthy", one.address, ""),
        0,
        "by other settings it has not failed often enough"
    );
}
