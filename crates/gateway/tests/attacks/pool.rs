//! U: several applications behind one route: how connections are spread, what is tried instead, who is left alone, and how many each has.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drawgate::reason::Reason;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::application::{Application, before};
use crate::sessions::with_sessions;
use crate::support::{Case, Raw, eventually, request};

/// An application that takes whoever comes, and holds them.
struct Crowd {
    address: SocketAddr,
    came: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Crowd {
    async fn start() -> Self {
        let application = Application::start().await;
        let (address, came) = (application.address, Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&came);
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let Ok((stream, _)) = application.take().await else { return };
                let mut seen = crate::application::Seen::over(stream);
                seen.upgrade("").await;
                count.fetch_add(1, Ordering::SeqCst);
                held.push(seen);
            }
        });
        Self { address, came, task }
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A gateway before these, each an address or a table, with lines of the backend.
async fn start(members: &[String], more: &str) -> Case {
    let toml = before(nobody().await, "", "");
    let (front, rest) = toml.split_once("urls = [").unwrap();
    let (_, rest) = rest.split_once(']').unwrap();
    Case::start(&format!("{front}urls = [{}], {more}{}", members.join(", "), rest.trim_start_matches(',')))
        .await
}

async fn nobody() -> SocketAddr {
    Application::start().await.address
}

fn at(address: SocketAddr) -> String {
    format!("\"ws://{address}\"")
}

async fn open(case: &Case, more: &str) -> Raw {
    let mut client = case.connect().await;
    client.send(request("/app/", more).as_bytes()).await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client
}

fn upstream(case: &Case, family: &str, address: SocketAddr, more: &str) -> u64 {
    case.metric(&format!(r#"drawgate_upstream_{family}{{route="app",upstream="ws://{address}"{more}}}"#))
}

#[tokio::test]
async fn connections_go_to_whoever_has_the_fewest() {
    let (one, other) = (Crowd::start().await, Crowd::start().await);
    let case = start(&[at(one.address), at(other.address)], "").await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(open(&case, "").await);
    }
    assert_eq!((one.came(), other.came()), (5, 5));
    assert_eq!(upstream(&case, "connections", one.address, ""), 5);
    clients.clear();
    eventually(|| upstream(&case, "connections", one.address, "") == 0, || case.log_text()).await;
}

#[tokio::test]
async fn weights_and_turns_are_as_the_configuration_says() {
    let (one, other) = (Crowd::start().await, Crowd::start().await);
    let heavy = format!("{{ url = {}, weight = 3 }}", at(one.address));
    let case = start(&[heavy, at(other.address)], "balance = \"round_robin\",").await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(open(&case, "").await);
    }
    assert_eq!((one.came(), other.came()), (6, 2));
}

#[tokio::test]
async fn those_of_one_key_go_together() {
    let crowds = [Crowd::start().await, Crowd::start().await, Crowd::start().await];
    let members: Vec<String> = crowds.iter().map(|crowd| at(crowd.address)).collect();
    let case = start(&members, "balance = { hash = { header = \"X-Room\" } },").await;
    let mut clients = Vec::new();
    let counts = || crowds.iter().map(Crowd::came).collect::<Vec<_>>();
    for room in 0..12 {
        let before = counts();
        for _ in 0..3 {
            clients.push(open(&case, &format!("X-Room: {room}\r\n")).await);
        }
        let grown: Vec<usize> = counts().iter().zip(&before).map(|(now, before)| now - before).collect();
        assert_eq!(grown.iter().filter(|count| **count == 3).count(), 1, "room {room}: {grown:?}");
    }
    assert!(crowds.iter().filter(|crowd| crowd.came() > 0).count() > 1, "{:?}", counts());
}

#[tokio::test]
async fn those_of_one_subject_go_together() {
    let (one, other) = (Crowd::start().await, Crowd::start().await);
    let backend = format!(
        "backend = {{ urls = [{}, {}], balance = {{ hash = \"subject\" }} }}\n        notice",
        at(one.address),
        at(other.address)
    );
    let toml = with_sessions("", "").replace("backend = \"echo\"\n        notice", &backend);
    let case = Case::start(&toml).await;
    let mut clients = Vec::new();
    for subject in ["alice", "bob", "carol", "dave", "erin", "frank"] {
        let before = one.came();
        for _ in 0..2 {
            clients.push(crate::sessions::open(&case, subject, &json!({})).await);
        }
        assert!([0, 2].contains(&(one.came() - before)), "{subject} is at one alone");
    }
    assert_eq!(one.came() + other.came(), 12);
}

#[tokio::test]
async fn u10_another_application_is_tried_before_anything_is_asked() {
    let (dead, there) = (nobody().await, Crowd::start().await);
    let mut case = start(&[at(dead), at(there.address)], "balance = \"round_robin\",").await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(open(&case, "").await);
    }
    assert_eq!(there.came(), 4);
    assert!(upstream(&case, "dials_total", dead, r#",result="failed""#) >= 2);
    assert_eq!(upstream(&case, "connections", dead, ""), 0);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn u10_no_other_is_tried_once_one_has_been_asked() {
    let (cutting, other) = (Application::start().await, Crowd::start().await);
    let mut case = start(&[at(cutting.address), at(other.address)], "balance = \"round_robin\",").await;
    let mut client = case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    let mut seen = cutting.accept().await;
    seen.read_head().await;
    drop(seen);
    client.expect_refusal(Reason::UpstreamAnswerInvalid).await;
    assert_eq!(other.came(), 0);
    case.ended(Reason::UpstreamAnswerInvalid).await;
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn u11_one_that_fails_again_and_again_is_left_alone() {
    let (dead, there) = (nobody().await, Crowd::start().await);
    let case = start(&[at(dead), at(there.address)], "balance = \"round_robin\", failures_max = 3,").await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(open(&case, "").await);
    }
    assert_eq!(there.came(), 12);
    assert_eq!(upstream(&case, "dials_total", dead, r#",result="failed""#), 3);
    assert_eq!(upstream(&case, "ejected", dead, ""), 1);
    eventually(|| case.log_text().contains("upstream left alone"), || case.log_text()).await;
}

#[tokio::test]
async fn u11_where_all_are_left_alone_the_answer_is_a_fast_503() {
    let dead = [nobody().await, nobody().await];
    let mut case = start(&dead.map(at), "failures_max = 2,").await;
    for _ in 0..2 {
        let mut client = case.connect().await;
        client.send(request("/app/", "").as_bytes()).await;
        client.expect_refusal(Reason::UpstreamRefused).await;
    }
    let began = Instant::now();
    let mut client = case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    client.expect_refusal(Reason::UpstreamsUnavailable).await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    case.refused(Reason::UpstreamsUnavailable, b"").await;
}

/// An application that fails at whatever it is asked, and takes connections all the same.
async fn failing(count: Arc<AtomicUsize>) -> (SocketAddr, JoinHandle<()>) {
    let application = Application::start().await;
    let address = application.address;
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = application.take().await {
            let mut seen = crate::application::Seen::over(stream);
            seen.read_head().await;
            seen.send(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n").await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, task)
}

#[tokio::test]
async fn u11_requests_that_applications_fail_at_do_not_take_the_last_one_away() {
    let counts = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let (one, first) = failing(Arc::clone(&counts[0])).await;
    let (other, second) = failing(Arc::clone(&counts[1])).await;
    let case = start(&[at(one), at(other)], "balance = \"round_robin\", failures_max = 2,").await;
    for _ in 0..12 {
        let mut client = case.connect().await;
        client.send(request("/app/", "").as_bytes()).await;
        client.expect_refusal(Reason::UpstreamDeclined).await;
    }
    let ejected = [one, other].map(|address| upstream(&case, "ejected", address, ""));
    assert_eq!(ejected.iter().sum::<u64>(), 1, "{ejected:?}");
    let asked: usize = counts.iter().map(|count| count.load(Ordering::SeqCst)).sum();
    assert_eq!(asked, 12, "each has been asked for");
    first.abort();
    second.abort();
}

#[tokio::test]
async fn u17_applications_without_room_are_a_503_until_there_is_some() {
    let crowd = Crowd::start().await;
    let member = format!("{{ url = {}, connections_max = 2 }}", at(crowd.address));
    let mut case = start(&[member], "").await;
    let mut clients = vec![open(&case, "").await, open(&case, "").await];
    let mut late = case.connect().await;
    late.send(request("/app/", "").as_bytes()).await;
    late.expect_refusal(Reason::UpstreamFull).await;
    case.refused(Reason::UpstreamFull, b"").await;
    clients.pop();
    eventually(|| upstream(&case, "connections", crowd.address, "") == 1, || case.log_text()).await;
    open(&case, "").await;
    assert_eq!(crowd.came(), 3);
}

#[tokio::test]
async fn u09_when_many_come_at_once_only_so_many_are_dialled_at_a_time() {
    let slow = Application::start().await;
    let case = start(&[at(slow.address)], "dials_max = 3,").await;
    let (mut clients, mut held) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let mut client = case.connect().await;
        client.send(request("/app/", "").as_bytes()).await;
        clients.push(client);
    }
    for _ in 0..3 {
        let mut asked = [slow.accept().await, slow.accept().await, slow.accept().await];
        slow.sees_nothing().await;
        for seen in &mut asked {
            seen.upgrade("").await;
        }
        // Those whose turn it was are in, and stay.
        held.extend(asked);
    }
    for client in &mut clients {
        assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
    }
}

#[tokio::test]
async fn u09_a_thousand_who_are_refused_are_told_to_come_back_at_different_times() {
    let crowd = Crowd::start().await;
    let url = format!("\"ws://{}\"", crowd.address);
    let firewall = "[firewall]\nhandshakes_per_client_per_minute = \"unlimited\"";
    let full = format!("{{ url = {url}, connections_max = 1 }}");
    let case = Case::start(&before(crowd.address, "", firewall).replace(&url, &full)).await;
    let _held = open(&case, "").await;
    let mut told = BTreeMap::<u32, usize>::new();
    for _ in 0..1000 {
        let mut client = case.connect().await;
        client.send(request("/app/", "").as_bytes()).await;
        let response = client.expect_refusal(Reason::UpstreamFull).await;
        *told.entry(response.retry_after().unwrap()).or_default() += 1;
    }
    // A thousand over eleven seconds are 91 in each.
    assert!(told.keys().copied().eq(10..=20), "{told:?}");
    assert!(told.values().all(|count| (40..160).contains(count)), "{told:?}");
}
