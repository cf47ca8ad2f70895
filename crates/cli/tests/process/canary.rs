//! O19: secrets that nothing else contains go through the whole of a run, in their places and in wrong ones; then all that
//! the program has said anywhere is searched for them. That the search finds what is there is shown first.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rustix::process::Signal;

use crate::support::{Client, Program, drawgate, eventually};
use crate::tls::{connect, encrypted_echo, write_certificate};

/// The key that signs tokens; made for this test.
const KEY: &str = "3f9ac27be1-a-canary-among-keys-05d84c6b";
/// What a client may say wherever it can: no answer repeats it and no log keeps it.
const PASSWORD: &str = "a7e0c4d2b9-a-canary-among-words-61f3";

/// All that a run has said.
#[derive(Default)]
struct Said(Vec<(&'static str, String)>);

impl Said {
    fn add(&mut self, place: &'static str, bytes: &[u8]) {
        self.0.push((place, String::from_utf8_lossy(bytes).into_owned()));
    }

    /// The places in which a piece of one of `secrets` stands, plainly, escaped or encoded.
    fn leaks(&self, secrets: &[&str]) -> Vec<&'static str> {
        let pieces: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
        let leaks = self.0.iter().filter(|(_, text)| pieces.iter().any(|piece| text.contains(piece)));
        leaks.map(|(place, _)| *place).collect()
    }
}

/// Pieces of 12 bytes of a secret, as they are, in hexadecimal and in base64.
fn forms(secret: &str) -> Vec<String> {
    let whole = secret.as_bytes();
    let hexadecimal: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
    // A piece that begins at any of three places has each of the three ways to be encoded.
    let encoded = (0..3).map(|skipped| base64(&whole[skipped..]));
    let texts =
        [secret.to_owned(), hexadecimal.clone(), hexadecimal.to_uppercase()].into_iter().chain(encoded);
    texts
        .flat_map(|text| text.as_bytes().chunks_exact(12).map(<[u8]>::to_vec).collect::<Vec<_>>())
        .map(|piece| String::from_utf8(piece).unwrap())
        .collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks_exact(3).map(|group| u32::from_be_bytes([0, group[0], group[1], group[2]]));
    let digits = groups.flat_map(|group| [18, 12, 6, 0].map(|shift| DIGITS[(group >> shift) as usize & 63]));
    digits.map(char::from).collect()
}

const ROUTES: &str = r#"
    [routes.token]
    listeners = ["main", "secure"]
    path = "/token"
    origins = "any"
    auth = "users"
    notice = "json"
    backend = "echo"
    [auth.users]
    credentials = ["first_message"]
    algorithms = ["HS256"]
    keys = { secret_file = "token.secret" }
    issuer = "any"
    audience = "any"
    [log]
    level = "trace"
    error_file = { path = "websocket_errors.log" }
"#;

/// One run, and all that it has said; `banner` is what its open echo puts before each answer.
fn run(banner: &str) -> (Said, Vec<String>) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let private_key = write_certificate(folder.path());
    fs::write(folder.path().join("token.secret"), KEY).unwrap();
    fs::set_permissions(folder.path().join("token.secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let echo = format!("backend = {{ echo = {{ prefix = \"{banner}\" }} }}");
    let mut program =
        Program::start_in(folder, &encrypted_echo(ROUTES).replacen("backend = \"echo\"", &echo, 1));
    let secure = program.listening("secure");
    let mut said = Said::default();

    let file = program.path("drawgate.toml");
    let issued =
        drawgate().args(["token", "issue", "--subject", "alice", "--config"]).arg(&file).output().unwrap();
    let token = String::from_utf8(issued.stdout).unwrap().trim().to_owned();
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    // Inspecting a token shows its claims, which are no secret, and not the rest.
    let inspected =
        drawgate().args(["token", "inspect", "--config"]).arg(&file).arg(&forged).output().unwrap();
    said.add("token inspect", &[inspected.stdout, inspected.stderr].concat());
    let checked = drawgate().arg("check").arg(&file).output().unwrap();
    said.add("check", &[checked.stdout, checked.stderr].concat());

    // In its place and in every wrong one: target, headers, first message, plain bytes, within TLS.
    for first in [&*token, &*forged, KEY, PASSWORD] {
        for target in [format!("/token?access_token={first}"), format!("/{first}"), format!("/{first}/../x")]
        {
            for headers in [
                String::new(),
                format!("Authorization: Bearer {first}\r\nCookie: session={first}\r\n"),
                // An origin is logged on purpose; what is none is not.
                format!("Origin: {first}\r\n"),
                format!("Origin: https://{PASSWORD}@page.example\r\n"),
                format!("Sec-WebSocket-Protocol: drawgate, drawgate.token.{first}\r\n"),
                format!("Sec-WebSocket-Extensions: {PASSWORD}\r\n"),
                format!("Authorization: Basic {first}\r\n{PASSWORD} : {first}\r\n"),
                format!("Host: {PASSWORD}\r\n"),
            ] {
                let request = format!(
                    "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
                );
                let mut client = Client::connect(program.address);
                client.send(request.as_bytes());
                if target.starts_with("/token") {
                    client.send_frame(0x81, if headers.is_empty() { first.as_bytes() } else { b"no token" });
                }
                client.send_frame(0x88, b"\x03\xe8");
                let mut answer = Vec::new();
                let _ = client.0.read_to_end(&mut answer);
                said.add("answer", &answer);
            }
        }
        let mut client = Client::connect(program.address);
        client.send(first.as_bytes());
        client.send(b"\r\n\r\n");
        said.add("answer", client.read_to_end().as_bytes());
        let mut client = Client::connect(secure);
        client.send(first.as_bytes());
        let mut answer = Vec::new();
        let _ = client.0.read_to_end(&mut answer);
        said.add("answer on the encrypted listener", &answer);
        let mut client = connect(secure, program.folder.path());
        let request = format!("GET /token HTTP/1.1\r\nHost: {PASSWORD}.example\r\nX: {first}\r\n\r\n");
        let _ = client.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        said.add("answer within TLS", &answer);
    }
    // The open echo says something of its own.
    let mut client = program.open();
    client.send_frame(0x81, b"hello");
    said.add("answer", &client.read_frame().1);
    client.close();

    // A key that does not fit is refused, and named by its file alone.
    fs::write(program.path("key.pem"), &private_key[..private_key.len() / 2]).unwrap();
    let refused = r#"drawgate_certificate_reloads_total{listener="secure",result="failed"}"#;
    eventually(|| program.metric(refused) > 0, || program.log());
    for path in ["/metrics", "/healthz", "/readyz", &format!("/{PASSWORD}"), &format!("/metrics?token={KEY}")]
    {
        said.add("admin", program.ask_admin(path).1.as_bytes());
    }
    program.signal(Signal::TERM);
    program.wait();
    said.add("standard error", program.log().as_bytes());
    said.add("error file", &fs::read(program.path("websocket_errors.log")).unwrap());
    let mut secrets = vec![KEY.to_owned(), PASSWORD.to_owned()];
    // A token's header and claims are not secret, and the same for all; what signs it is.
    secrets.extend(
        [token, forged]
            .iter()
            .filter_map(|token| token.rsplit_once('.'))
            .map(|(_, signature)| signature.to_owned()),
    );
    // The lines of the private key, less those that mark its ends.
    secrets.extend(private_key.lines().filter(|line| !line.starts_with('-')).map(str::to_owned));
    (said, secrets)
}

#[test]
fn o19_canaries_leave_no_trace_and_a_leak_would_be_found() {
    // A run that leaks for once, by a configuration that tells it to.
    let (mut said, secrets) = run(&format!("the key is {KEY}: "));
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    assert_eq!(said.leaks(&secrets), ["answer"]);
    // And a leak in any other place, of any secret, in part and in any form.
    let places: Vec<&'static str> = said.0.iter().map(|(place, _)| *place).collect();
    assert!(
        ["answer within TLS", "admin", "standard error", "error file", "check", "token inspect"]
            .iter()
            .all(|place| places.contains(place))
    );
    said.0.retain(|(place, _)| *place != "answer");
    said.0.dedup_by_key(|(place, _)| *place);
    for (place, text) in &said.0 {
        for secret in &secrets {
            let piece = &secret[secret.len().saturating_sub(30)..];
            for form in [piece.to_owned(), base64(piece.as_bytes())] {
                let planted = Said(vec![(place, format!("{text}{form}"))]);
                assert_eq!(planted.leaks(&[secret]), [*place]);
            }
        }
    }

    let (said, secrets) = run("Server received: ");
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    assert_eq!(
        said.leaks(&secrets),
        [""; 0],
        "{:?}",
        said.0.iter().map(|(_, text)| text.len()).collect::<Vec<_>>()
    );
}
