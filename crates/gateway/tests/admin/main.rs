//! The operators' API through real sockets: who may, what it does to connections that live, and what is refused.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests: what fails here should panic"
)]

mod access;
mod description;
mod effects;
mod encrypted;
mod reload;
mod strict;
#[allow(dead_code, reason = "the catalogue's gateway and raw client, of which these tests need a part")]
#[path = "../attacks/support.rs"]
mod support;

use std::fmt::Write as _;
use std::net::SocketAddr;

use drawgate::auth::token::sign_hs256;
use drawgate::clock::Clock;
use drawgate::config::Config;
use drawgate::reason::Reason;
use drawgate::secret::Secret;
use drawgate::server::ReloadSource;
use drawgate::{CloseCode, Server};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Case, Frame, PATIENCE, Raw, echo, request};

/// An application that a route leads to; nobody is there.
const UPSTREAM: &str = "ws://127.0.0.1:9";

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The tokens of these tests, by the name of what they are for.
const TOKENS: [(&str, &str); 4] = [
    ("reader", "[\"read\"]"),
    ("operator", "[\"operate\"]"),
    ("issuer", "[\"tickets\"]"),
    ("all", "[\"read\", \"operate\", \"tickets\"]"),
];

/// The token with this name: nothing else in any answer or record may contain it.
fn secret_of(name: &str) -> String {
    format!("{name}-6f1d2c-the-token-of-a-test-93b7c1aa")
}

/// A gateway with an open echo, one at `/token` that takes tokens and tickets, and one at `/other`.
struct Gate {
    case: Case,
    admin: SocketAddr,
    folder: TempDir,
}

/// An answer of the admin listener.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A refusal of this status, as RFC 9457 has it; its detail.
    #[track_caller]
    fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json\r\n"), "{self:?}");
        let problem = self.json();
        assert_eq!(
            (&problem["type"], &problem["status"]),
            (&"about:blank".into(), &status.into()),
            "{self:?}"
        );
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{self:?}");
        problem["detail"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("cache-control: no-store\r\n"), "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }
}

impl Gate {
    /// `admin` is further lines of `[admin]`.
    async fn start(admin: &str) -> Self {
        let mut more = String::new();
        for (name, scopes) in TOKENS {
            writeln!(more, "tokens.{name} = {{ file = \"{name}.token\", scopes = {scopes} }}").unwrap();
        }
        Self::start_with(&format!("{more}{admin}")).await
    }

    async fn start_with(admin: &str) -> Self {
        Self::start_at("127.0.0.1:0", admin).await
    }

    async fn start_at(address: &str, admin: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token.secret"), KEY).unwrap();
        for (name, _) in TOKENS {
            std::fs::write(folder.path().join(format!("{name}.token")), format!("{}\n", secret_of(name)))
                .unwrap();
        }
        let route = |name: &str, auth: &str| {
            format!(
                "[routes.{name}]\nlisteners = [\"main\"]\npath = \"/{name}\"\norigins = \"any\"\nauth = \"{auth}\"\n\
                 backend = \"echo\"\nnotice = \"close\"\n"
            )
        };
        let auth = |name: &str, credentials: &str| {
            format!(
                "[auth.{name}]\ncredentials = {credentials}\nalgorithms = [\"HS256\"]\n\
                 keys = {{ secret_file = \"token.secret\" }}\nissuer = \"any\"\naudience = \"any\"\nleeway = \"5s\"\n"
            )
        };
        let more = [
            route("token", "users"),
            route("other", "others"),
            route("app", "others").replace("\"echo\"", &format!("{{ urls = [\"{UPSTREAM}\"] }}")),
            auth("users", "[\"authorization_header\", \"ticket\"]"),
            auth("others", "[\"authorization_header\"]"),
            format!("[admin]\naddress = \"{address}\"\n{admin}"),
        ];
        let toml = echo("", &more.concat());
        let file = folder.path().join("drawgate.toml");
        std::fs::write(&file, toml).unwrap();
        let read = {
            let file = file.clone();
            move || {
                let text = std::fs::read_to_string(&file).map_err(|error| vec![error.to_string()])?;
                let config = Config::from_toml(&text, file.parent().unwrap(), &|_| None);
                config
                    .map(Server::from_config)
                    .map_err(|problems| problems.iter().map(ToString::to_string).collect())
            }
        };
        let builder = read().unwrap_or_else(|problems: Vec<String>| panic!("{problems:?}"));
        let case = Case::start_with(builder.reload_from(ReloadSource::new(file, read))).await;
        let admin = case.admin.unwrap();
        Self { case, admin, folder }
    }

    /// Writes another configuration, or another token, where the gateway finds it when it is told to read it again.
    fn rewrite(&self, file: &str, change: impl Fn(&str) -> String) {
        let path = self.folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, change(&text)).unwrap();
    }

    /// Asks with the token `name`, and with `body` as JSON.
    async fn ask(&self, name: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut lines = format!("Authorization: Bearer {}\r\n", secret_of(name));
        let body = body.map(ToString::to_string).unwrap_or_default();
        if !body.is_empty() {
            write!(lines, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()).unwrap();
        }
        self.send(method, path, &lines, body.as_bytes()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("all", "GET", path, None).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("all", "POST", path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.ask("all", "DELETE", path, None).await
    }

    /// Asks with these header lines beside Host.
    async fn send(&self, method: &str, path: &str, lines: &str, body: &[u8]) -> Answer {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{lines}\r\n", self.admin);
        raw_answer(self.admin, &[head.as_bytes(), body].concat()).await
    }

    /// A session of `subject` on `route`, with `claims` beside the usual ones.
    async fn open(&self, route: &str, subject: &str, claims: &Value) -> Raw {
        let (raw, head) = self.show(route, &token(subject, claims)).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    /// A connection that shows `token` in its request, and the head of the answer.
    async fn show(&self, route: &str, token: &str) -> (Raw, String) {
        let mut raw = self.case.connect().await;
        let line = format!("Authorization: Bearer {token}\r\n");
        raw.send(request(&format!("/{route}"), &line).as_bytes()).await;
        let head = raw.read_head().await;
        (raw, head)
    }

    /// The records of operators' changes so far.
    fn changes(&self) -> Vec<Value> {
        let records = self.case.records().into_iter();
        records.filter(|record| record["message"] == "operator's change").collect()
    }
}

/// All that comes back to these bytes.
async fn raw_answer(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer comes, and the end");
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: format!("{head}\r\n"), body: body.to_owned() }
}

/// A token of `subject`, issued ten seconds ago, with `claims` over that.
fn token(subject: &str, claims: &Value) -> String {
    let now = Clock::system().unix_now().seconds();
    let mut all = json!({ "sub": subject, "iat": now - 10, "exp": now + 600 });
    let members: &mut Map<String, Value> = all.as_object_mut().unwrap();
    members.extend(claims.as_object().unwrap().clone());
    sign_hs256(&Secret::new(KEY.as_bytes()), members)
}

/// The session still gets its echo.
async fn lives(raw: &mut Raw) {
    raw.send_frame(0x81, b"still here?").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"still here?"));
}

/// The connection is closed for `reason` within 100 ms.
async fn closed(raw: &mut Raw, reason: Reason) {
    let (code, text) =
        timeout(std::time::Duration::from_millis(100), raw.read_close()).await.expect("a Close comes");
    let row = reason.row();
    assert_eq!((Some(code), &*text), (row.close.map(CloseCode::get), row.close_reason));
}
