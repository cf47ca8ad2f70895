//! A: keys that are fetched from an issuer, or read again from a file, while clients come and go.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drawgate::Server;
use drawgate::auth::{Keys, RemoteKeys};
use drawgate::clock::Clock;
use drawgate::config::Config;
use drawgate::firewall::AddressBan;
use drawgate::reason::Reason;
use drawgate::session::revocation::{SubjectBan, Target};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::support::{Case, Frame, Raw, echo, eventually, eventually_within, request};
use crate::tls::support::{Authority, Pair};

/// Keys by their names, and a server that publishes them.
struct Issuer {
    address: SocketAddr,
    published: Arc<Mutex<Published>>,
    requests: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Published {
    keys: Vec<(String, Ed25519KeyPair)>,
    is_down: bool,
    /// Requests are taken and not answered.
    is_stuck: bool,
    /// What is answered instead of keys.
    document: Option<String>,
}

impl Issuer {
    async fn start(names: &[&str]) -> Self {
        Self::start_with(names, None).await
    }

    async fn start_with(names: &[&str], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let published = Arc::new(Mutex::new(Published::default()));
        let requests = Arc::new(AtomicUsize::new(0));
        let serving = tokio::spawn({
            let (published, requests) = (Arc::clone(&published), Arc::clone(&requests));
            async move {
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    match &tls {
                        None => answer(socket, &published, &requests).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                answer(socket, &published, &requests).await;
                            }
                        }
                    }
                }
            }
        });
        let issuer = Self { address, published, requests, serving };
        names.iter().for_each(|name| issuer.publish(name));
        issuer
    }

    /// Another key from now on.
    fn publish(&self, name: &str) {
        let key = Ed25519KeyPair::generate().unwrap();
        self.published.lock().unwrap().keys.push((name.to_owned(), key));
    }

    /// No longer this one.
    fn withdraw(&self, name: &str) {
        self.published.lock().unwrap().keys.retain(|(own, _)| own != name);
    }

    fn set_down(&self, is_down: bool) {
        self.published.lock().unwrap().is_down = is_down;
    }

    fn set_stuck(&self, is_stuck: bool) {
        self.published.lock().unwrap().is_stuck = is_stuck;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn url(&self) -> String {
        format!("http://{}/jwks", self.address)
    }

    /// A token of `subject` by the key of this name.
    fn token(&self, name: &str, subject: &str) -> String {
        let published = self.published.lock().unwrap();
        let (_, key) = published.keys.iter().find(|(own, _)| own == name).unwrap();
        signed(name, key, subject)
    }

    fn key_set(&self) -> String {
        self.published.lock().unwrap().key_set()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Published {
    fn key_set(&self) -> String {
        let keys: Vec<Value> = self
            .keys
            .iter()
            .map(|(name, key)| {
                let x = URL_SAFE_NO_PAD.encode(key.public_key());
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": name, "x": x })
            })
            .collect();
        json!({ "keys": keys }).to_string()
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: S,
    published: &Mutex<Published>,
    requests: &AtomicUsize,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    if published.lock().unwrap().is_stuck {
        // Until whoever asked gives up.
        let _ = socket.read_u8().await;
        return;
    }
    let answer = {
        let published = published.lock().unwrap();
        let is_document = head.starts_with(b"GET /.well-known/openid-configuration ");
        let body = match &published.document {
            Some(document) if is_document => document.clone(),
            Some(_) | None => published.key_set(),
        };
        match published.is_down {
            true => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(),
            false => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        }
    };
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
}

fn signed(name: &str, key: &Ed25519KeyPair, subject: &str) -> String {
    let now = Clock::system().unix_now().seconds();
    let write = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "alg": "EdDSA", "kid": name });
    let claims =
        json!({ "sub": subject, "iat": now - 10, "exp": now + 600, "iss": "https://issuer.example" });
    let text = format!("{}.{}", write(&header), write(&claims));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()).as_ref()))
}

/// A token by a key that nobody publishes.
fn strange(name: &str) -> String {
    signed(name, &Ed25519KeyPair::generate().unwrap(), "mallory")
}

/// An open echo, and one at `/token` with these keys.
fn with_keys(keys: &str, issuer: &str) -> String {
    let more = format!(
        r#"
        [routes.token]
        listeners = ["main"]
        path = "/token"
        origins = "any"
        auth = "users"
        backend = "echo"
        [routes.token.limits]
        close_timeout = "300ms"
        [auth.users]
        credentials = ["authorization_header", "first_message"]
        algorithms = ["EdDSA"]
        keys = {{ {keys} }}
        issuer = {issuer:?}
        audience = "any"
        refresh = "on"
        failures_per_client_per_minute = "unlimited"
        failures_per_subject_per_minute = "unlimited"
        [firewall]
        handshakes_per_client_per_minute = "unlimited"
        "#
    );
    echo("", &more)
}

/// A gateway that has fetched the keys of `issuer`.
async fn start(issuer: &Issuer) -> Case {
    let case = Case::start(&with_keys(&format!("jwks_url = {:?}", issuer.url()), "any")).await;
    has_keys(&case).await;
    case
}

/// A gateway with the keys of `issuer`, fetched again at these times.
async fn start_with_times(issuer: &Issuer, refresh_interval: Duration, stale_max: Duration) -> Case {
    let toml = with_keys(&format!("jwks_url = {:?}", issuer.url()), "any");
    let mut config = Config::from_toml(&toml, Path::new("."), &|_| None).unwrap();
    let users = config.auth.get_mut("users").unwrap();
    let Keys::Remote(remote) = users.keys.clone() else { panic!("{:?}", users.keys) };
    users.keys = Keys::Remote(RemoteKeys { refresh_interval, stale_max, ..remote });
    let case = Case::start_with(Server::from_config(config)).await;
    has_keys(&case).await;
    case
}

async fn has_keys(case: &Case) {
    eventually(|| usable(case) == 1, || format!("no keys:\n{}", case.log_text())).await;
}

/// Whether there are keys, as the metrics say.
fn usable(case: &Case) -> u64 {
    of_keys(case, "drawgate_keys_usable{", "")
}

/// How many fetches have ended so.
fn fetches(case: &Case, result: &str) -> u64 {
    of_keys(case, "drawgate_keys_fetches_total{", &format!("result=\"{result}\""))
}

fn of_keys(case: &Case, name: &str, label: &str) -> u64 {
    let page = case.observer.render();
    let line = page.lines().find(|line| line.starts_with(name) && line.contains(label)).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// A connection to `/token` that shows this token in its request.
async fn show(case: &Case, token: &str) -> Raw {
    let mut raw = case.connect().await;
    raw.send(request("/token", &format!("Authorization: Bearer {token}\r\n")).as_bytes()).await;
    raw
}

/// A session.
async fn open(case: &Case, token: &str) -> Raw {
    let mut raw = show(case, token).await;
    let head = raw.read_head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    raw
}

/// A connection to `/token` that has shown this token as its first message.
async fn show_first(case: &Case, token: &str) -> Raw {
    let mut raw = case.connect().await;
    raw.upgrade("/token").await;
    raw.send_frame(0x81, token.as_bytes()).await;
    raw
}

async fn lives(raw: &mut Raw) {
    raw.send_frame(0x81, b"still here?").await;
    assert_eq!(raw.read_frame().await, Frame::whole(0x81, b"still here?"));
}

/// For the list of reasons: before the `101` and after it.
pub(crate) async fn provoke() {
    let reason = Reason::KeysUnavailable;
    for is_first in [false, true] {
        let issuer = Issuer::start(&["k1"]).await;
        issuer.set_down(true);
        let mut case = Case::start(&with_keys(&format!("jwks_url = {:?}", issuer.url()), "any")).await;
        let token = issuer.token("k1", "alice");
        if is_first {
            let mut raw = show_first(&case, &token).await;
            let (code, text) = raw.read_close().await;
            assert_eq!((code, &*text), (1013, reason.row().close_reason));
            raw.send_frame(0x88, &code.to_be_bytes()).await;
            raw.expect_end().await;
        } else {
            let response = show(&case, &token).await.expect_refusal(reason).await;
            assert!(
                response.retry_after().is_some_and(|seconds| (30..=60).contains(&seconds)),
                "{response:?}"
            );
        }
        case.refused(reason, token.as_bytes()).await;
    }
}

#[tokio::test]
async fn a31_down_its_keys_are_used_up_to_the_stated_age_and_then_refused() {
    let issuer = Issuer::start(&["k1"]).await;
    let stale_max = Duration::from_millis(900);
    let case = start_with_times(&issuer, Duration::from_millis(100), stale_max).await;
    issuer.set_down(true);
    eventually(|| fetches(&case, "failed") > 0, || "it is never found to be down".to_owned()).await;
    lives(&mut open(&case, &issuer.token("k1", "alice")).await).await;
    let mut earlier = open(&case, &issuer.token("k1", "bob")).await;
    let mut refreshing = open(&case, &issuer.token("k1", "erin")).await;
    assert_eq!(usable(&case), 1);
    let is_over = || usable(&case) == 0;
    eventually_within(stale_max * 3, is_over, || "the metric never says so".to_owned()).await;
    show(&case, &issuer.token("k1", "carol")).await.expect_refusal(Reason::KeysUnavailable).await;
    assert!(case.log_text().contains("keys have become too old"), "{}", case.log_text());
    assert!(case.log_text().contains("status 503 instead of 200"), "{}", case.log_text());
    // A session whose next token cannot be verified is told to come back later, not that its token is bad.
    let refresh = format!("drawgate.refresh {}", issuer.token("k1", "erin"));
    refreshing.send_frame(0x81, refresh.as_bytes()).await;
    let (code, text) = refreshing.read_close().await;
    assert_eq!((code, &*text), (1013, Reason::KeysUnavailable.row().close_reason));
    // Nobody has taken the key back: whoever was let in with it stays.
    lives(&mut earlier).await;
    issuer.set_down(false);
    has_keys(&case).await;
    lives(&mut open(&case, &issuer.token("k1", "dave")).await).await;
}

#[tokio::test]
async fn a22_a_session_whose_next_token_waits_for_keys_ends_at_once_all_the_same() {
    for reason in [Reason::TokenRevoked, Reason::SubjectBanned, Reason::AddressBanned, Reason::Draining] {
        let issuer = Issuer::start(&["k1"]).await;
        let mut case = start(&issuer).await;
        let mut raw = open(&case, &issuer.token("k1", "alice")).await;
        lives(&mut raw).await;
        issuer.set_stuck(true);
        raw.send_frame(0x81, format!("drawgate.refresh {}", strange("k9")).as_bytes()).await;
        eventually(|| issuer.requests() == 2, || "it does not ask".to_owned()).await;
        let told_at = Instant::now();
        match reason {
            Reason::TokenRevoked => {
                let cutoff = Clock::system().unix_now();
                let target = Target::Subject { subject: "alice".to_owned(), cutoff };
                let revocation = case.control.revocation(target);
                assert_eq!(case.control.revoke(revocation).await.unwrap().closed, 1);
            }
            Reason::SubjectBanned => {
                let ban = SubjectBan { subject: "alice".to_owned(), until: None };
                assert_eq!(case.control.ban(ban).await.unwrap().closed, 1);
            }
            Reason::AddressBanned => {
                let network = "127.0.0.1".parse().unwrap();
                let ban = AddressBan { network, until: None, reason: String::new() };
                case.bans.ban_address(ban).await.unwrap();
            }
            _ => case.drain(),
        }
        let (code, text) = raw.read_close().await;
        let row = reason.row();
        assert_eq!((Some(code), &*text), (row.close.map(drawgate::CloseCode::get), row.close_reason));
        assert!(told_at.elapsed() < Duration::from_secs(1), "{:?} for {}", told_at.elapsed(), row.label);
    }
}

#[tokio::test]
async fn o03_fetched_keys_stay_with_their_address_when_the_configuration_is_read_again() {
    let (issuer, other) = (Issuer::start(&["k1"]).await, Issuer::start(&["k2"]).await);
    let mut case = start(&issuer).await;
    let mut session = open(&case, &issuer.token("k1", "alice")).await;
    let requests = issuer.requests();
    let with = |url: String, expected: &str| {
        let toml = with_keys(&format!("jwks_url = {url:?}"), expected);
        Server::from_config(Config::from_toml(&toml, Path::new("."), &|_| None).unwrap())
    };
    // The issuer is not there, and is not needed: the keys are those that it gave before.
    issuer.set_down(true);
    for expected in ["https://issuer.example", "any"] {
        let reloaded = case.reloader.replace(with(issuer.url(), expected)).await.unwrap();
        assert_eq!(reloaded.routes_changed, ["token"]);
        lives(&mut session).await;
    }
    open(&case, &issuer.token("k1", "bob")).await;
    assert_eq!(issuer.requests(), requests);
    // What is withdrawn afterwards ends also what was begun before.
    issuer.set_down(false);
    issuer.publish("k3");
    let token = issuer.token("k1", "carol");
    issuer.withdraw("k1");
    open(&case, &issuer.token("k3", "alice")).await;
    assert_eq!(session.read_close().await.0, 3000);
    show(&case, &token).await.expect_refusal(Reason::TokenInvalid).await;
    // Another address is another issuer: nobody knows of its keys whether they are the old ones.
    let mut session = open(&case, &issuer.token("k3", "alice")).await;
    case.reloader.replace(with(other.url(), "any")).await.unwrap();
    assert_eq!(session.read_close().await.0, 1012);
    open(&case, &other.token("k2", "alice")).await;
    show(&case, &issuer.token("k3", "alice")).await.expect_refusal(Reason::TokenInvalid).await;
    drop(session);
    case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn a32_a_new_key_is_known_by_the_first_token_that_names_it() {
    for way in ["request", "first message", "refresh"] {
        let issuer = Issuer::start(&["k1"]).await;
        let case = start(&issuer).await;
        let mut raw = open(&case, &issuer.token("k1", "alice")).await;
        issuer.publish("k2");
        let token = issuer.token("k2", "alice");
        match way {
            "request" => raw = open(&case, &token).await,
            "first message" => raw = show_first(&case, &token).await,
            _ => raw.send_frame(0x81, format!("drawgate.refresh {token}").as_bytes()).await,
        }
        lives(&mut raw).await;
        assert_eq!(issuer.requests(), 2, "{way}");
    }
}

#[tokio::test]
async fn a32_a_flood_of_unknown_kids_causes_one_request() {
    let issuer = Issuer::start(&["k1"]).await;
    let case = start(&issuer).await;
    for _ in 0..3 {
        let mut showing = JoinSet::new();
        for number in 0..40 {
            let address = case.address;
            showing.spawn(async move {
                let mut raw = Raw::connect(address).await;
                let token = strange(&format!("unknown-{number}"));
                let header = format!("Authorization: Bearer {token}\r\n");
                raw.send(request("/token", &header).as_bytes()).await;
                raw.expect_refusal(Reason::TokenInvalid).await;
            });
        }
        showing.join_all().await;
    }
    assert_eq!(issuer.requests(), 2, "the first, and one for all of them");
    lives(&mut open(&case, &issuer.token("k1", "alice")).await).await;
}

#[tokio::test]
async fn a33_a_key_set_that_is_too_large_changes_nothing() {
    let issuer = Issuer::start(&["k1"]).await;
    let case = start_with_times(&issuer, Duration::from_millis(100), Duration::from_mins(1)).await;
    let token = issuer.token("k1", "alice");
    (0..32).for_each(|number| issuer.publish(&format!("more-{number}")));
    eventually(|| fetches(&case, "failed") > 1, || "33 keys are taken".to_owned()).await;
    assert!(case.log_text().contains("more than 32 keys"), "{}", case.log_text());
    lives(&mut open(&case, &token).await).await;
}

#[tokio::test]
async fn a34_what_a_withdrawn_key_has_signed_is_refused_and_its_sessions_end() {
    let issuer = Issuer::start(&["k1", "k2"]).await;
    let case = start(&issuer).await;
    let token = issuer.token("k1", "alice");
    let mut withdrawn = [open(&case, &token).await, show_first(&case, &token).await];
    let mut kept = open(&case, &issuer.token("k2", "alice")).await;
    for raw in &mut withdrawn {
        lives(raw).await;
    }
    issuer.withdraw("k1");
    // What names no known key brings the next look forward.
    show(&case, &strange("k3")).await.expect_refusal(Reason::TokenInvalid).await;
    for raw in &mut withdrawn {
        let (code, text) = raw.read_close().await;
        assert_eq!((code, &*text), (3000, Reason::TokenRevoked.row().close_reason));
    }
    lives(&mut kept).await;
    show(&case, &token).await.expect_refusal(Reason::TokenInvalid).await;
    assert!(case.log_text().contains("keys replaced"), "{}", case.log_text());
}

#[tokio::test]
async fn a34_another_key_by_the_same_name_is_another_key() {
    let issuer = Issuer::start(&["k1"]).await;
    let case = start_with_times(&issuer, Duration::from_millis(100), Duration::from_mins(1)).await;
    let mut raw = open(&case, &issuer.token("k1", "alice")).await;
    issuer.withdraw("k1");
    issuer.publish("k1");
    let (code, _) = raw.read_close().await;
    assert_eq!(code, 3000);
    lives(&mut open(&case, &issuer.token("k1", "alice")).await).await;
}

#[tokio::test]
async fn a34_a_key_set_in_a_file_is_read_again_whole_or_not_at_all() {
    let issuer = Issuer::start(&["k1"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, issuer.key_set()).unwrap();
    let case = Case::start(&with_keys(&format!("jwks_file = {file:?}"), "any")).await;
    let token = issuer.token("k1", "alice");
    let mut raw = open(&case, &token).await;
    lives(&mut raw).await;
    let until = async |is_so: &dyn Fn() -> bool, what: &str| {
        eventually_within(Duration::from_secs(5), is_so, || format!("{what}:\n{}", case.log_text())).await;
    };
    // A bad one changes nothing, and is told of once.
    std::fs::write(&file, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#).unwrap();
    until(&|| fetches(&case, "failed") > 0, "the bad file is not seen").await;
    lives(&mut raw).await;
    lives(&mut open(&case, &token).await).await;
    assert_eq!((fetches(&case, "ok"), usable(&case)), (1, 1));
    // A good one does: the key that is not in it is gone.
    issuer.withdraw("k1");
    issuer.publish("k2");
    std::fs::write(&file, issuer.key_set()).unwrap();
    until(&|| fetches(&case, "ok") > 1, "the good file is not seen").await;
    let (code, text) = raw.read_close().await;
    assert_eq!((code, &*text), (3000, Reason::TokenRevoked.row().close_reason));
    show(&case, &token).await.expect_refusal(Reason::TokenInvalid).await;
    lives(&mut open(&case, &issuer.token("k2", "alice")).await).await;
    assert_eq!(fetches(&case, "failed"), 1);
}

pub(crate) fn acceptor(pair: &Pair) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(pair.chain(), pair.private_key())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a33_an_issuer_is_asked_over_tls_and_believed_by_its_authority_alone() {
    let authority = Authority::new("the issuer's authority");
    let tls = acceptor(&authority.server(&["localhost"]));
    let issuer = Issuer::start_with(&["k1"], Some(tls)).await;
    let name = format!("https://localhost:{}", issuer.address.port());
    let document = json!({ "issuer": name, "jwks_uri": format!("{name}/jwks") });
    issuer.published.lock().unwrap().document = Some(document.to_string());
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, authority: &Authority| {
        let path = folder.path().join(file);
        std::fs::write(&path, authority.certificate.pem()).unwrap();
        path
    };
    let good = write("good.pem", &authority);
    let wrong = write("wrong.pem", &Authority::new("another"));
    for keys in [format!("jwks_url = \"{name}/jwks\""), "issuer_discovery = true".to_owned()] {
        let mut case = Case::start(&with_keys(&format!("{keys}, jwks_ca_file = {good:?}"), &name)).await;
        has_keys(&case).await;
        // It is verified with those keys, and refused for its `iss`.
        show(&case, &issuer.token("k1", "alice")).await.expect_refusal(Reason::TokenInvalid).await;
        let record = case.ended(Reason::TokenInvalid).await;
        assert_eq!(record["detail"], "the issuer is missing or not the one expected");
        drop(case);
        let before = issuer.requests();
        let case = Case::start(&with_keys(&format!("{keys}, jwks_ca_file = {wrong:?}"), &name)).await;
        let token = issuer.token("k1", "alice");
        show(&case, &token).await.expect_refusal(Reason::KeysUnavailable).await;
        assert!(case.log_text().contains("the TLS handshake failed"), "{}", case.log_text());
        assert_eq!(issuer.requests(), before, "whom nobody believes is asked nothing");
    }
}
