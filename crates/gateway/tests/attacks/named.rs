//! U8: applications that are known by a name: what it leads to may change, and may be several.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drawgate::backend::upstream::{Config as Upstream, Resolver};
use drawgate::config::Config;
use drawgate::reason::Reason;
use drawgate::{Access, Origins, Route, Server};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::application::Seen;
use crate::support::{Case, PATIENCE, Raw, echo, request};

/// What the name leads to, which can be changed, and how often somebody has asked.
#[derive(Clone, Default)]
struct Names {
    leads_to: Arc<Mutex<Vec<Ipv4Addr>>>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    fn resolver(&self) -> Resolver {
        let this = self.clone();
        Resolver::new(move |name, port| {
            assert_eq!(name, "app.internal");
            this.asked.fetch_add(1, Ordering::SeqCst);
            let found: Vec<SocketAddr> =
                this.leads_to.lock().unwrap().iter().map(|ip| SocketAddr::from((*ip, port))).collect();
            async move {
                if found.is_empty() { Err(io::Error::other("there is no such name")) } else { Ok(found) }
            }
        })
    }

    fn lead_to(&self, addresses: &[Ipv4Addr]) {
        *self.leads_to.lock().unwrap() = addresses.to_vec();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Applications at `127.0.0.1`, `.2` and `.3`, all at one port, and a gateway that knows them by one name.
async fn start(names: &Names) -> (Case, [TcpListener; 3]) {
    let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = one.local_addr().unwrap().port();
    let at = |last| TcpListener::bind((ip(last), port));
    let listeners = [one, at(2).await.unwrap(), at(3).await.unwrap()];
    let url = format!("ws://app.internal:{port}").parse().unwrap();
    let connect_timeout = Duration::from_millis(300);
    let upstream = Upstream { resolver: names.resolver(), connect_timeout, ..Upstream::new(url) };
    let route = Route::upstream("app", "/app/*", Origins::Any, Access::Open, upstream).unwrap();
    let config = Config::from_toml(&echo("", ""), Path::new("."), &|_| None).unwrap();
    (Case::start_with(Server::from_config(config).route(route)).await, listeners)
}

const fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

async fn ask(case: &Case) -> Raw {
    let mut client = case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    client
}

/// A client gets to the application at `listener`.
async fn gets_to(case: &Case, listener: &TcpListener) -> (Raw, Seen) {
    let mut client = ask(case).await;
    let accepted = timeout(PATIENCE, listener.accept()).await.expect("this one is dialled");
    let mut seen = Seen::over(accepted.unwrap().0);
    seen.upgrade("").await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
    (client, seen)
}

#[tokio::test]
async fn u08_connections_are_spread_over_the_addresses_of_a_name() {
    let names = Names::default();
    names.lead_to(&[ip(3), ip(1), ip(2)]);
    let (case, listeners) = start(&names).await;
    let mut held = Vec::new();
    for turn in 0..6 {
        held.push(gets_to(&case, &listeners[turn % 3]).await);
        names.lead_to(&[[ip(1), ip(2), ip(3)], [ip(2), ip(3), ip(1)]][turn % 2]);
    }
    assert_eq!(names.asked(), 6, "what was found is what was connected to");
}

#[tokio::test]
async fn u08_a_name_that_leads_elsewhere_is_followed_by_the_next_connection() {
    let names = Names::default();
    names.lead_to(&[ip(1)]);
    let (mut case, listeners) = start(&names).await;
    let mut held = vec![gets_to(&case, &listeners[0]).await];
    names.lead_to(&[ip(2)]);
    held.push(gets_to(&case, &listeners[1]).await);
    names.lead_to(&[]);
    ask(&case).await.expect_refusal(Reason::UpstreamUnreachable).await;
    let record = case.ended(Reason::UpstreamUnreachable).await;
    assert!(record["detail"].as_str().is_some_and(|detail| detail.contains("no such name")), "{record}");
    names.lead_to(&[ip(3)]);
    held.push(gets_to(&case, &listeners[2]).await);
    assert_eq!(names.asked(), 4);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn u08_an_address_at_which_nobody_is_costs_nobody_the_others() {
    let names = Names::default();
    names.lead_to(&[ip(1), ip(9), ip(2)]);
    let (case, listeners) = start(&names).await;
    let mut held = Vec::new();
    for place in [0, 1, 0, 0, 1, 0] {
        // In turn: the first; the second; the one that is dead, and then the first.
        held.push(gets_to(&case, &listeners[place]).await);
    }
    assert_eq!(names.asked(), 6);
}
