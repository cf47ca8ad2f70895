//! The library's face, as an application meets it: a handler, its sessions, and real clients over loopback.
//!
//! The clients are tungstenite's. How the protocol is kept and limits are held is tested in `attacks/`.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drawgate::auth::token::sign_hs256;
use drawgate::auth::{self, Algorithm, CredentialSource, Expected, Keys};
use drawgate::backend::upstream;
use drawgate::clock::Clock;
use drawgate::limits::Limits;
use drawgate::reason::Reason;
use drawgate::secret::Secret;
use drawgate::server::Builder;
use drawgate::{Access, CloseCode, Handler, Message, Origins, Route, Server, Session, SessionEnded};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message as ClientMessage, WebSocket};

#[test]
fn a_handler_is_told_opened_each_message_in_order_and_ended_once() {
    let (application, events) = Application::new();
    let gateway = Gateway::start(Server::builder().route(open_route("main", "/", application)));
    let mut client = gateway.connect("/");
    for text in ["one", "two", "three"] {
        client.send(ClientMessage::text(text)).unwrap();
    }
    client.close(None).unwrap();
    let session = events.opened();
    assert_eq!(session.route(), "main");
    assert!(session.client().to_string() == "127.0.0.1" && session.principal().is_none());
    for text in ["one", "two", "three"] {
        assert_eq!(events.next(), Event::Message("main".into(), text.into()));
    }
    assert_eq!(events.next(), Event::Ended(Reason::ClosedByClient));
    drop((client, gateway));
    events.assert_over();
}

#[test]
fn a_session_sends_from_anywhere_until_it_has_ended() {
    let (application, events) = Application::new();
    let gateway = Gateway::start(Server::builder().route(open_route("main", "/", application)));
    let mut client = gateway.connect("/");
    let session = events.opened();
    let send = |message| gateway.runtime.block_on(session.clone().send(message));
    assert_eq!(send(Message::Text("pushed".into())), Ok(()));
    assert_eq!(client.read().unwrap(), ClientMessage::text("pushed"));
    assert_eq!(send(Message::Binary(vec![0, 255])), Ok(()));
    assert_eq!(client.read().unwrap(), ClientMessage::binary(vec![0, 255]));

    client.close(None).unwrap();
    assert_eq!(events.next(), Event::Ended(Reason::ClosedByClient));
    assert_eq!(send(Message::Text("too late".into())), Err(SessionEnded));
    assert_eq!(SessionEnded.to_string(), "the session has ended");
}

#[test]
fn a_session_closes_behind_what_was_sent_with_a_code_of_its_own_and_a_reason_that_fits() {
    let (application, events) = Application::new();
    let gateway = Gateway::start(Server::builder().route(open_route("main", "/", application)));
    let mut client = gateway.connect("/");
    let session = events.opened();
    gateway.runtime.block_on(session.send(Message::Text("last".into()))).unwrap();
    let code = CloseCode::new(4321).unwrap();
    // 200 bytes; the 123rd is the first half of a character.
    session.close(code, &"ü".repeat(100));
    session.close(CloseCode::NORMAL, "a second Close is not sent");
    assert_eq!(gateway.runtime.block_on(session.send(Message::Text("no".into()))), Err(SessionEnded));

    assert_eq!(client.read().unwrap(), ClientMessage::text("last"));
    let close = CloseFrame { code: 4321.into(), reason: "ü".repeat(61).into() };
    assert_eq!(client.read().unwrap(), ClientMessage::Close(Some(close)));
    assert!(client.read().is_err());
    assert_eq!(events.next(), Event::Ended(Reason::ClosedByApplication));
}

#[test]
fn a_program_stands_before_an_application_that_speaks_websocket_itself() {
    // An engine of others on both sides.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/app", listener.local_addr().unwrap());
    let application = std::thread::spawn(move || {
        let mut path = String::new();
        let (socket, _) = listener.accept().unwrap();
        #[expect(clippy::result_large_err, reason = "it is tungstenite's own")]
        let note = |request: &Request, response: Response| {
            path.push_str(request.uri().path());
            Ok(response)
        };
        let mut socket = tungstenite::accept_hdr(socket, note).unwrap();
        loop {
            match socket.read().unwrap() {
                ClientMessage::Text(text) if text.as_str() == "enough" => break,
                message => socket.send(message).unwrap(),
            }
        }
        let close = CloseFrame { code: 4000.into(), reason: "enough".into() };
        socket.close(Some(close)).unwrap();
        while socket.read().is_ok() {}
        path
    });
    let upstream = upstream::Config::new(url.parse().unwrap());
    let route = Route::upstream("front", "/front/*", Origins::Any, Access::Open, upstream).unwrap();
    let gateway = Gateway::start(Server::builder().route(route));
    let mut client = gateway.connect("/front/room");
    for message in
        [ClientMessage::text("hello"), ClientMessage::binary(vec![7; 300_000]), ClientMessage::text("")]
    {
        client.send(message.clone()).unwrap();
        assert_eq!(client.read().unwrap(), message);
    }
    client.send(ClientMessage::text("enough")).unwrap();
    let close = CloseFrame { code: 4000.into(), reason: "enough".into() };
    assert_eq!(client.read().unwrap(), ClientMessage::Close(Some(close)));
    while client.read().is_ok() {}
    assert_eq!(application.join().unwrap(), "/app/room");
}

#[test]
fn a_handler_behind_a_token_sees_who_speaks_and_nobody_before() {
    let key = Secret::new(b"0123456789abcdef0123456789abcdef");
    let config = auth::Config {
        credentials: vec![CredentialSource::FirstMessage],
        algorithms: vec![Algorithm::Hs256],
        token_types: None,
        keys: Keys::Secret(key.clone()),
        issuer: Expected::Any,
        audience: Expected::Any,
        subject_claims: vec!["sub".to_owned()],
        first_message_timeout: Duration::from_secs(5),
        token_lifetime_max: None,
        leeway: Duration::ZERO,
        failures_per_client_per_minute: None,
        failures_per_subject_per_minute: None,
        sessions: drawgate::session::Config::default(),
    };
    let (application, events) = Application::new();
    let route = Route::new("main", "/", Origins::Any, Access::Token(config), application).unwrap();
    let gateway = Gateway::start(Server::builder().route(route));

    let mut stranger = gateway.connect("/");
    stranger.send(ClientMessage::text("no.good.token")).unwrap();
    let ClientMessage::Close(Some(close)) = stranger.read().unwrap() else { panic!("no Close with a code") };
    assert_eq!(u16::from(close.code), 3000);

    let mut client = gateway.connect("/");
    let expires_at = Clock::system().unix_now().plus(Duration::from_secs(60));
    let claims = json!({ "sub": "alice", "exp": expires_at.seconds() });
    client.send(ClientMessage::text(sign_hs256(&key, claims.as_object().unwrap()))).unwrap();
    client.send(ClientMessage::text("hello")).unwrap();
    // The first that the handler hears of is alice: of the stranger it was told nothing, and of the token neither.
    let session = events.opened();
    assert_eq!(session.principal().unwrap().subject.as_ref(), "alice");
    assert_eq!(events.next(), Event::Message("main".into(), "hello".into()));
}

#[test]
fn two_routes_have_a_handler_each() {
    let ((chat, chat_events), (news, news_events)) = (Application::new(), Application::new());
    let builder =
        Server::builder().route(open_route("chat", "/chat", chat)).route(open_route("news", "/news/*", news));
    let gateway = Gateway::start(builder);
    for (path, name, events) in [("/news/today", "news", &news_events), ("/chat", "chat", &chat_events)] {
        let mut client = gateway.connect(path);
        client.send(ClientMessage::text("hello")).unwrap();
        assert_eq!(events.opened().route(), name);
        assert_eq!(events.next(), Event::Message(name.into(), "hello".into()));
        client.close(None).unwrap();
        assert_eq!(events.next(), Event::Ended(Reason::ClosedByClient));
    }
    drop(gateway);
    chat_events.assert_over();
    news_events.assert_over();
}

#[test]
fn a_slow_handler_slows_its_client_and_nothing_piles_up() {
    let (application, events) = Application::new();
    let permits = Arc::clone(&application.permits);
    let gateway = Gateway::start(Server::builder().route(open_route("main", "/", application)));
    let mut client = gateway.connect("/");
    // So that a write which cannot go on says so, long after whatever waits in the kernel has filled up.
    client.get_ref().set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let text = format!("wait{}", "x".repeat(32 * 1024));
    let mut sent = 0;
    loop {
        match client.send(ClientMessage::text(&text)) {
            Ok(()) => sent += 1,
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 1024, "32 MiB were taken while the handler was busy with the first message");
    }
    events.opened();
    let arrived = |events: &Events| matches!(events.next(), Event::Message(_, found) if found == text);
    assert!(arrived(&events));
    events.assert_quiet();

    // The one that did not go out whole is the last.
    permits.add_permits(sent + 1);
    client.flush().unwrap();
    for _ in 0..sent {
        assert!(arrived(&events));
    }
}

#[test]
fn a_call_that_waits_is_dropped_when_its_connection_is_closed_from_elsewhere() {
    let (application, events) = Application::new();
    let gateway = Gateway::start(Server::builder().route(open_route("main", "/", application)));
    let mut client = gateway.connect("/");
    let session = events.opened();
    client.send(ClientMessage::text("wait")).unwrap();
    assert_eq!(events.next(), Event::Message("main".into(), "wait".into()));
    session.close(CloseCode::NORMAL, "enough");
    assert!(matches!(client.read().unwrap(), ClientMessage::Close(Some(_))));
    assert!(client.read().is_err());
    assert_eq!(events.next(), Event::CallDropped);
    assert_eq!(events.next(), Event::Ended(Reason::ClosedByApplication));
}

#[test]
fn a_client_that_leaves_during_a_call_is_missed_within_the_close_timeout() {
    let (application, events) = Application::new();
    let limits = Limits { close_timeout: Duration::from_millis(100), ..Limits::default() };
    let gateway =
        Gateway::start(Server::builder().route(open_route("main", "/", application).limits(limits)));
    let mut client = gateway.connect("/");
    events.opened();
    client.send(ClientMessage::text("wait")).unwrap();
    assert_eq!(events.next(), Event::Message("main".into(), "wait".into()));
    drop(client);
    assert_eq!(events.next(), Event::CallDropped);
    assert_eq!(events.next(), Event::Ended(Reason::ConnectionLost));
}

#[test]
fn a_client_that_closes_its_side_during_a_call_still_gets_the_answer() {
    let (application, events) = Application::new();
    let permits = Arc::clone(&application.permits);
    let gateway = Gateway::start(Server::builder().route(open_route("main", "/", application)));
    let mut client = gateway.connect("/");
    events.opened();
    client.send(ClientMessage::text("wait")).unwrap();
    assert_eq!(events.next(), Event::Message("main".into(), "wait".into()));
    client.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    events.assert_quiet();
    permits.add_permits(1);
    assert_eq!(events.next(), Event::CallDone);
    assert_eq!(events.next(), Event::Ended(Reason::ConnectionLost));
}

/// An application that tells all that it is told. A message that begins with `wait` takes a permit, and until there is
/// one the call waits.
struct Application {
    events: Mutex<Sender<(Event, Session)>>,
    permits: Arc<Semaphore>,
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Opened,
    /// The route's name, and the text.
    Message(String, String),
    /// A call that waited has come to its end.
    CallDone,
    /// A call that waited was given up.
    CallDropped,
    Ended(Reason),
}

impl Application {
    fn new() -> (Self, Events) {
        let (events, told) = channel();
        (Self { events: Mutex::new(events), permits: Arc::new(Semaphore::new(0)) }, Events(told))
    }

    fn tell(&self, event: Event, session: &Session) {
        // The test may be over.
        let _ = self.events.lock().unwrap().send((event, session.clone()));
    }
}

impl Handler for Application {
    async fn opened(&self, session: &Session) {
        self.tell(Event::Opened, session);
    }

    async fn message(&self, session: &Session, message: Message) {
        let text = String::from_utf8(message.as_bytes().to_vec()).unwrap();
        self.tell(Event::Message(session.route().to_owned(), text.clone()), session);
        // Long messages wait in masses, and are counted by their arrival alone.
        let mut call = (text == "wait").then(|| Call { application: self, session, is_done: false });
        if text.starts_with("wait") {
            self.permits.acquire().await.unwrap().forget();
        }
        if let Some(call) = &mut call {
            call.is_done = true;
        }
    }

    fn ended(&self, session: &Session, reason: Reason) {
        self.tell(Event::Ended(reason), session);
    }
}

struct Call<'a> {
    application: &'a Application,
    session: &'a Session,
    is_done: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let event = if self.is_done { Event::CallDone } else { Event::CallDropped };
        self.application.tell(event, self.session);
    }
}

/// What an application was told.
struct Events(Receiver<(Event, Session)>);

impl Events {
    fn next(&self) -> Event {
        self.0.recv_timeout(PATIENCE).expect("the application is told something").0
    }

    fn opened(&self) -> Session {
        let (event, session) = self.0.recv_timeout(PATIENCE).expect("the application is told something");
        assert_eq!(event, Event::Opened);
        session
    }

    /// For a while nothing comes.
    fn assert_quiet(&self) {
        let told = self.0.recv_timeout(Duration::from_millis(100)).map(|(event, _)| event);
        assert_eq!(told, Err(RecvTimeoutError::Timeout));
    }

    /// Nothing has come since, and nothing can: the gateway and its applications are gone.
    fn assert_over(&self) {
        let told = self.0.recv_timeout(PATIENCE).map(|(event, _)| event);
        assert_eq!(told, Err(RecvTimeoutError::Disconnected));
    }
}

fn open_route(name: &str, path: &str, application: Application) -> Route {
    Route::new(name, path, Origins::Any, Access::Open, application).unwrap()
}

/// A gateway that runs until it is dropped.
struct Gateway {
    runtime: Runtime,
    address: SocketAddr,
}

impl Gateway {
    fn start(builder: Builder) -> Self {
        let runtime = Runtime::new().unwrap();
        let entered = runtime.enter();
        let server = builder.listen("127.0.0.1:0".parse().unwrap()).bind().unwrap();
        let address = server.address();
        runtime.spawn(server.run(std::future::pending()));
        drop(entered);
        Self { runtime, address }
    }

    fn connect(&self, path: &str) -> WebSocket<TcpStream> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        tungstenite::client(format!("ws://{}{path}", self.address), stream).unwrap().0
    }
}

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(5);
