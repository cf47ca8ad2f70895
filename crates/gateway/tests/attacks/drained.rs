//! U, O: an application that an operator drains: nobody is sent there, and whoever is there is told to come back.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use drawgate::Server;
use drawgate::config::Config;
use drawgate::observe::ReloadedBy;
use drawgate::reason::Reason;
use drawgate::server::ReloadSource;
use drawgate::url::UpstreamUrl;
use tokio::time::{Instant, sleep};

use crate::application::{Application, Seen, before, unmasked};
use crate::support::{Case, Frame, Raw, eventually, request};

fn url(application: &Application) -> UpstreamUrl {
    format!("ws://{}", application.address).parse().unwrap()
}

fn toml(applications: &[&Application]) -> String {
    let urls: Vec<String> = applications.iter().map(|one| format!("\"{}\"", url(one))).collect();
    let one = format!("urls = [{}]", urls[0]);
    before(applications[0].address, "", "").replace(&one, &format!("urls = [{}]", urls.join(", ")))
}

/// A client that is at `application`, and the connection that this sees.
async fn open(case: &Case, application: &Application) -> (Raw, Seen) {
    application.join(case, "/app/", "").await
}

/// Both sides are told, and the application may still say something before it answers.
async fn both_are_told(client: &mut Raw, seen: &mut Seen) {
    let told = seen.read_frame().await;
    assert_eq!((told.first, &told.payload[..2]), (0x88, &1001_u16.to_be_bytes()[..]));
    assert_eq!(&told.payload[2..], Reason::UpstreamDraining.row().label.as_bytes());
    seen.send(&[unmasked(0x81, b"last words"), unmasked(0x88, &1001_u16.to_be_bytes())].concat()).await;
    assert_eq!(client.read_frame().await, Frame::whole(0x81, b"last words"));
    let row = Reason::UpstreamDraining.row();
    assert_eq!(client.read_close().await, (1012, row.close_reason.to_owned()));
    client.send_frame(0x88, &1012_u16.to_be_bytes()).await;
}

/// Provokes this end.
pub(crate) async fn drained(reason: Reason) {
    let application = Application::start().await;
    let mut case = Case::start(&toml(&[&application])).await;
    let (mut client, mut seen) = open(&case, &application).await;
    assert_eq!(case.upstreams.drain(&url(&application)), Some(1));
    both_are_told(&mut client, &mut seen).await;
    drop(client);
    case.refused(reason, b"").await;
}

#[tokio::test]
async fn o04_clients_of_a_drained_application_go_elsewhere_and_those_of_another_notice_nothing() {
    let (one, other) = (Application::start().await, Application::start().await);
    let mut case = Case::start(&toml(&[&one, &other])).await;
    let (mut here, mut seen_here) = open(&case, &one).await;
    let (mut there, mut seen_there) = open(&case, &other).await;
    assert_eq!(case.upstreams.drain(&url(&one)), Some(1));
    both_are_told(&mut here, &mut seen_here).await;
    there.send_frame(0x81, b"still here").await;
    assert_eq!(seen_there.read_frame().await, Frame::whole(0x81, b"still here"));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(open(&case, &other).await);
    }
    one.sees_nothing().await;
    // Where no other is left, clients are told at once.
    assert_eq!(case.upstreams.drain(&url(&other)), Some(4));
    let mut late = case.connect().await;
    late.send(request("/app/", "").as_bytes()).await;
    late.expect_refusal(Reason::UpstreamsUnavailable).await;
    assert!(case.upstreams.resume(&url(&one)) && !case.upstreams.resume(&url(&one)));
    open(&case, &one).await;
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn o04_goodbyes_are_spread_in_time() {
    let application = Application::start().await;
    let case = Case::start(&toml(&[&application])).await;
    let mut open_ones = Vec::new();
    for _ in 0..60 {
        open_ones.push(open(&case, &application).await);
    }
    let begun_at = Instant::now();
    assert_eq!(case.upstreams.drain(&url(&application)), Some(60));
    // Each is told 2 ms behind the one before; the neighbour's place is the first.
    let mut last = Duration::ZERO;
    let mut moments = BTreeSet::new();
    for (_, seen) in &mut open_ones {
        assert_eq!(seen.read_close().await.0, 1001);
        last = begun_at.elapsed();
        moments.insert(last.as_millis() / 10);
    }
    assert!(last >= Duration::from_millis(100) && moments.len() > 5, "{last:?}, {moments:?}");
}

#[tokio::test]
async fn o04_a_client_that_is_on_its_way_there_is_told_behind_its_101() {
    let application = Application::start().await;
    let case = Case::start(&toml(&[&application])).await;
    let mut client = case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    let mut seen = application.accept().await;
    let head = seen.read_head().await;
    assert_eq!(case.upstreams.drain(&url(&application)), Some(1));
    // Time enough to be told too early, and in vain.
    sleep(Duration::from_millis(20)).await;
    seen.send(crate::application::accepting(&head, "").as_bytes()).await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
    both_are_told(&mut client, &mut seen).await;
}

#[tokio::test]
async fn o04_another_configuration_drains_nothing_and_takes_no_drain_back() {
    let (one, other) = (Application::start().await, Application::start().await);
    let config = |text: &str| Config::from_toml(text, Path::new("."), &|_| None).unwrap();
    let (first, second) = (toml(&[&one, &other]), toml(&[&other, &one]));
    let server = Server::from_config(config(&first));
    let source = {
        let second = second.clone();
        ReloadSource::new("none.toml".into(), move || Ok(Server::from_config(config(&second))))
    };
    let case = Case::start_with(server.reload_from(source)).await;
    let drained = |case: &Case| {
        let one = url(&one);
        case.metric(&format!("drawgate_upstream_drained{{route=\"app\",upstream=\"{one}\"}}"))
    };
    assert_eq!((case.upstreams.drain(&url(&one)), drained(&case)), (Some(0), 1));
    let reloaded = case.reloader.reload(ReloadedBy::Signal).await.unwrap();
    assert_eq!((reloaded.routes_changed, drained(&case)), (vec!["app".to_owned()], 1));
    for _ in 0..3 {
        open(&case, &other).await;
    }
    one.sees_nothing().await;
    assert_eq!(case.upstreams.drain(&"ws://127.0.0.1:1".parse().unwrap()), None, "no route leads there");
    assert!(case.upstreams.resume(&url(&one)));
    eventually(|| drained(&case) == 0, || case.log_text()).await;
    open(&case, &one).await;
}
