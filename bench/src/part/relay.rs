//! What it costs to stand in front of an application: beside the tunnels of nginx, `HAProxy` and Caddy, and beside a relay of
//! the bench's own that knows no protocol.
//!
//! The application is the product's own echo, on the core of the load generator; what is measured is the proxy alone.

use std::io;

use super::messages::{CONNECTIONS, ascii, message_ns};
use super::{Plan, Section, handshake as shaking, idle as idling};
use crate::client::{Batch, Opcode};
use crate::configuration::{ADMIN_TOKEN_FILE, SEAL_KEY_FILE};
use crate::figures::{Figure, Table, rounded};
use crate::load::Load;
use crate::sealed::SECRET;
use crate::server::{Kind, Server, pin};
use crate::token::{Issuer, write_secret};

/// CPU time for a message over 100 connections.
///
/// # Errors
/// A server does not start, or the echo does not come back through it.
pub fn messages(plan: &Plan) -> io::Result<Section> {
    let field = Field::start(plan, &KINDS)?;
    let cases = CASES
        .map(|(label, bytes, messages)| (label, Batch::new(Opcode::Text, ascii(bytes).as_bytes(), messages)));
    let headings: Vec<&str> = ["proxy"].into_iter().chain(cases.iter().map(|(label, _)| *label)).collect();
    let mut costs = cases.each_ref().map(|_| Costs::of(&field));
    for round in 0..plan.rounds {
        for ((_, batch), costs) in cases.iter().zip(&mut costs) {
            costs.push(&field, round, |server| message_ns(plan, server, batch))?;
        }
        eprintln!("relay, messages: round {} of {}", round + 1, plan.rounds);
    }
    let mut table = Table::new(&headings);
    let row = |label: &str, cell: &dyn Fn(&Costs) -> String| {
        [label.to_owned()].into_iter().chain(costs.iter().map(cell)).collect()
    };
    for (number, server) in field.proxies.iter().enumerate() {
        table.push(row(server.kind.label(), &|costs| costs.ns[number].scaled(0.001).text(2)));
    }
    for (number, server) in field.proxies.iter().enumerate().skip(1) {
        let label = format!("{} over the bare relay", server.kind.label());
        table.push(row(&label, &|costs| costs.over_bare[number].text(2)));
    }
    let mut figures = Vec::new();
    for ((label, _), costs) in cases.iter().zip(&costs) {
        figures.push((format!("drawgate, relayed {label}"), costs.over_bare[DRAWGATE].median()));
    }
    if field.has_nginx() {
        table.push(row("drawgate over nginx", &|costs| costs.over_nginx[DRAWGATE].text(2)));
    }
    field.stop()?;
    let body = format!(
        "CPU time of the proxy for a message there and back, in microseconds, and as ratios of the same round. {} {CONNECTIONS} \
         connections, each of which sends its next write when all of the last has come back. Goals: 1.15 of nginx's at 20 B, 1 KiB \
         and with 16 messages a write, half of it at 16 KiB; 1.3 of the bare relay's at 20 B and 1 KiB, 1.5 at 16 KiB. {}\n\n{}",
        SET_UP,
        medians(plan),
        table.markdown()
    );
    Ok(Section { title: "A relayed message", body, figures })
}

/// CPU time for a relayed connection's life.
///
/// # Errors
/// A server does not start, or refuses.
pub fn handshake(plan: &Plan) -> io::Result<Section> {
    let field = Field::start(plan, &SHAKING)?;
    let token = field.issuer.token("alice")?;
    let (mut costs, mut signature) = (Costs::of(&field), Signature::default());
    for round in 0..plan.rounds {
        costs.push(&field, round, |server| {
            shaking::shake_hands_for(server, plan.warm_up())?;
            shaking::shake_hands_for(server, plan.measured)
        })?;
        // Where the proxies run: cores differ.
        pin(plan.places.cores.0)?;
        let ns = field.issuer.verify_ns(&token, plan.measured);
        pin(plan.places.cores.1)?;
        signature.push(ns?, costs.last_nginx_ns);
        eprintln!("relay, handshake: round {} of {}", round + 1, plan.rounds);
    }
    let over_nginx = |figure: &Figure| if field.has_nginx() { figure.text(2) } else { String::new() };
    let mut table = Table::new(&["proxy", "CPU, µs", "over the bare relay", "over nginx"]);
    for (number, server) in field.proxies.iter().enumerate() {
        table.push(vec![
            match server.kind {
                Kind::DrawgateRelay => "drawgate, ES256".to_owned(),
                other => other.label().to_owned(),
            },
            costs.ns[number].scaled(0.001).text(1),
            costs.over_bare[number].text(2),
            over_nginx(&costs.over_nginx[number]),
        ]);
    }
    table.push(vec![
        "one ES256 signature, and nothing else".to_owned(),
        signature.ns.scaled(0.001).text(1),
        String::new(),
        over_nginx(&signature.over_nginx),
    ]);
    let figures = [("HS256", DRAWGATE), ("ES256", DRAWGATE_ES256)].map(|(token, number)| {
        (format!("drawgate, relayed handshake, {token}"), costs.over_bare[number].median())
    });
    field.stop()?;
    let body = format!(
        "CPU time of the proxy for a connection's whole life: accept, dial, both handshakes, Close from both sides, close of both. {} \
         Drawgate verifies a token in it, opens a session, and logs a record at open and one at the end. Goal: 1.1 of nginx's, \
         judged with the session of an HS256 token: the last row is what aws-lc-rs alone takes to verify one ES256 signature, again and \
         again, where nothing else has been in the processor's caches in between (\"Who speaks\" has what it takes as part of a \
         handshake, which is more). Where that is beyond nginx's whole handshake, nothing that verifies one can be within 1.1 of it. \
         The row with an ES256 token stands there all the same. {}\n\n{}",
        SET_UP,
        medians(plan),
        table.markdown()
    );
    Ok(Section { title: "A relayed handshake", body, figures: figures.to_vec() })
}

/// Whether a message costs more where there are many connections.
///
/// # Errors
/// A server does not start, or the echo does not come back through it.
pub fn many(plan: &Plan) -> io::Result<Section> {
    let field = Field::start(plan, &KINDS[..2])?;
    let batch = Batch::new(Opcode::Text, ascii(20).as_bytes(), 1);
    let count = plan.many / 2;
    let (mut few, mut many) = (Costs::of(&field), Costs::of(&field));
    let mut growth = Figure::default();
    for round in 0..plan.rounds {
        few.push(&field, round, |server| message_ns(plan, server, &batch))?;
        many.push(&field, round, |server| {
            Ok(Load::open(server, count, &batch)?.run(server, plan.warm_up(), plan.measured)?.cpu_ns)
        })?;
        growth.push(many.last_over_bare / few.last_over_bare);
        eprintln!("relay, many: round {} of {}", round + 1, plan.rounds);
    }
    let count = rounded(count as f64, 0);
    let mut table = Table::new(&[
        "proxy",
        "100 connections, µs",
        &format!("{count} connections, µs"),
        "growth over the bare relay's",
    ]);
    for (number, server) in field.proxies.iter().enumerate() {
        let growth = if number == DRAWGATE { growth.text(2) } else { "1".to_owned() };
        let [few, many] = [&few, &many].map(|costs| costs.ns[number].scaled(0.001).text(2));
        table.push(vec![server.kind.label().to_owned(), few, many, growth]);
    }
    let figures = vec![("drawgate, many relayed connections".to_owned(), growth.median())];
    field.stop()?;
    let body = format!(
        "CPU time of the proxy for a message of 20 B there and back, all connections busy. {} Goal: 1.15. {}\n\n{}",
        SET_UP,
        medians(plan),
        table.markdown()
    );
    Ok(Section { title: "Many relayed connections", body, figures })
}

/// Memory of relayed connections that do nothing.
///
/// # Errors
/// A server does not start, or the echo does not come back through it.
pub fn idle(plan: &Plan) -> io::Result<Section> {
    let kinds = plan.of(&KINDS);
    let rounds = plan.rounds.min(idling::ROUNDS_MAX);
    let count = plan.many / 2;
    let mut bytes = vec![Figure::default(); kinds.len()];
    for round in 0..rounds {
        for (kind, bytes) in kinds.iter().zip(&mut bytes) {
            let Field { mut proxies, application, .. } = Field::start(plan, &[*kind])?;
            if let Some(proxy) = proxies.pop() {
                bytes.push(idling::idle_bytes_of(proxy, count)?.0);
            }
            application.stop()?;
        }
        eprintln!("relay, idle: round {} of {rounds}", round + 1);
    }
    let mut table = Table::new(&["proxy", "bytes a connection"]);
    let mut figures = Vec::new();
    for (kind, bytes) in kinds.iter().zip(&bytes) {
        table.push(vec![kind.label().to_owned(), bytes.text(0)]);
        figures.push((format!("{}, relayed", kind.label()), bytes.median()));
    }
    let body = format!(
        "Resident memory of the proxy above what it was with {} idle relayed connections, for each of {} more, each after an echo of 1 KB \
         through it. Goal: 2,560. Medians of {rounds} fresh starts.\n\n{}",
        idling::FIRST,
        rounded(count as f64, 0),
        table.markdown()
    );
    Ok(Section { title: "An idle relayed connection", body, figures })
}

/// The proxies that are measured, the bare one first, and the application that all of them stand before.
pub(super) struct Field {
    pub(super) proxies: Vec<Server>,
    application: Server,
    issuer: Issuer,
}

impl Field {
    pub(super) fn start(plan: &Plan, kinds: &[Kind]) -> io::Result<Self> {
        let issuer = credentials(plan)?;
        let application = Server::start(&plan.places.beside_the_generator(), Kind::DrawgateQuiet, &[])?;
        let proxies = plan.of(kinds).into_iter().map(|kind| {
            let proxy = Server::start_before(&plan.places, kind, application.port)?;
            Ok(match kind {
                Kind::DrawgateRelayHmac => proxy.with_token(&issuer.token_by_secret("alice")?),
                _ if kind.is_drawgate_relay() => proxy.with_token(&issuer.token("alice")?),
                _ => proxy,
            })
        });
        Ok(Self { proxies: proxies.collect::<io::Result<_>>()?, application, issuer })
    }

    fn has_nginx(&self) -> bool {
        self.proxies.iter().any(|proxy| proxy.kind == Kind::Nginx)
    }

    pub(super) fn stop(self) -> io::Result<()> {
        self.proxies.into_iter().chain([self.application]).try_for_each(Server::stop)
    }
}

/// Who signs users' tokens, and the files that the product's configuration names.
pub(super) fn credentials(plan: &Plan) -> io::Result<Issuer> {
    for (name, secret) in [(ADMIN_TOKEN_FILE, &[b'b'; 60][..]), (SEAL_KEY_FILE, SECRET)] {
        write_secret(&plan.places.run.join(name), secret)?;
    }
    Issuer::new(&plan.places.run)
}

/// What something took each proxy of a field.
struct Costs {
    ns: Vec<Figure>,
    over_bare: Vec<Figure>,
    over_nginx: Vec<Figure>,
    /// The product's in the last round.
    last_over_bare: f64,
    /// nginx's in the last round, if it takes part.
    last_nginx_ns: f64,
}

impl Costs {
    fn of(field: &Field) -> Self {
        let figures = vec![Figure::default(); field.proxies.len()];
        Self {
            ns: figures.clone(),
            over_bare: figures.clone(),
            over_nginx: figures,
            last_over_bare: f64::NAN,
            last_nginx_ns: f64::NAN,
        }
    }

    /// One round, in which everyone takes a turn; who begins changes.
    fn push(
        &mut self,
        field: &Field,
        round: usize,
        mut cost_ns: impl FnMut(&Server) -> io::Result<f64>,
    ) -> io::Result<()> {
        let count = field.proxies.len();
        let mut ns = vec![f64::NAN; count];
        for turn in 0..count {
            let number = (turn + round) % count;
            ns[number] = cost_ns(&field.proxies[number])?;
        }
        let nginx = field.proxies.iter().position(|proxy| proxy.kind == Kind::Nginx);
        self.last_nginx_ns = nginx.map_or(f64::NAN, |number| ns[number]);
        for (number, ns_of_this) in ns.iter().enumerate() {
            self.ns[number].push(*ns_of_this);
            self.over_bare[number].push(ns_of_this / ns[0]);
            self.over_nginx[number].push(ns_of_this / self.last_nginx_ns);
        }
        self.last_over_bare = ns[DRAWGATE] / ns[0];
        Ok(())
    }
}

/// What one signature takes.
#[derive(Default)]
struct Signature {
    ns: Figure,
    over_nginx: Figure,
}

impl Signature {
    fn push(&mut self, ns: f64, nginx_ns: f64) {
        self.ns.push(ns);
        self.over_nginx.push(ns / nginx_ns);
    }
}

fn medians(plan: &Plan) -> String {
    let measured = rounded(plan.measured.as_secs_f64(), 1);
    format!(
        "Medians of {} runs of {measured} s, with their quartiles; proxies and cases take turns.",
        plan.rounds
    )
}

/// The bare one and the product stand first.
const KINDS: [Kind; 5] = [Kind::BareRelay, Kind::DrawgateRelay, Kind::Nginx, Kind::HaProxy, Kind::Caddy];
const DRAWGATE: usize = 1;
/// Those whose handshakes are measured, in the same order.
const SHAKING: [Kind; 6] =
    [Kind::BareRelay, Kind::DrawgateRelayHmac, Kind::DrawgateRelay, Kind::Nginx, Kind::HaProxy, Kind::Caddy];
const DRAWGATE_ES256: usize = 2;
const CASES: [(&str, usize, u32); 5] = [
    ("20 B", 20, 1),
    ("1 KiB", 1024, 1),
    ("20 B, 16 a write", 20, 16),
    ("1 KiB, 16 a write", 1024, 16),
    ("16 KiB", 16 * 1024, 1),
];
const SET_UP: &str = "Each proxy has one worker on one core; the application, Drawgate's own echo, shares the other with the load \
                      generator. Drawgate terminates the protocol on both sides, with a session, limits and metrics on; the \
                      others tunnel blindly.";
