//! How long one subject's connections go on after it has been revoked, among many of others, and that theirs do.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{ADMIN_TOKEN, Outcome};
use crate::client::{self, Batch, Opcode};
use crate::figures::{Figure, Table, rounded};
use crate::part::Plan;
use crate::server::{Kind, Server};
use crate::token::Issuer;

/// Revokes a few subjects one after the other.
pub(super) fn measure(plan: &Plan, issuer: &Issuer) -> io::Result<Outcome> {
    let server = Server::start(&plan.places, Kind::DrawgateGuarded, &[])?;
    let subjects = plan.many / EACH;
    let mut crowd = open(&server, issuer, subjects)?;
    let (mut closed, mut answered, mut longest) = (Figure::default(), Figure::default(), 0.0_f64);
    for subject in 0..plan.rounds.min(subjects - 1) {
        let own = std::mem::take(&mut crowd[subject]);
        let (closed_ms, answered_ms) = revoke(&server, &name(subject), &own)?;
        closed.push(closed_ms);
        answered.push(answered_ms);
        longest = longest.max(closed_ms);
        sleep(SETTLE_TIME);
        let others: Vec<&TcpStream> = crowd.iter().flatten().collect();
        check_untouched(&others)?;
    }
    server.stop()?;
    let mut table = Table::new(&["after the call", "ms", "at most"]);
    table.push(vec!["the last of its Closes is here".to_owned(), closed.text(1), rounded(longest, 1)]);
    table.push(vec!["the call is answered".to_owned(), answered.text(1), String::new()]);
    let text = format!(
        "**A revocation** of one subject with {EACH} connections, by the admin API, while {} connections of {subjects} subjects \
         are open: from the call to the last Close. Each time no other connection has received a byte {} ms later, and {ECHOES} of \
         them echo. Goal: 100 ms.\n\n{}",
        rounded((subjects * EACH) as f64, 0),
        SETTLE_TIME.as_millis(),
        table.markdown()
    );
    Ok((text, vec![("drawgate, revocation, ms".to_owned(), longest)]))
}

/// The connections of each subject. They come in turn, so that nobody's lie side by side.
fn open(server: &Server, issuer: &Issuer, subjects: usize) -> io::Result<Vec<Vec<TcpStream>>> {
    let requests = (0..subjects)
        .map(|subject| Ok(client::request(Some(&issuer.token(&name(subject))?))))
        .collect::<io::Result<Vec<_>>>()?;
    let mut crowd: Vec<Vec<TcpStream>> = (0..subjects).map(|_| Vec::new()).collect();
    for _ in 0..EACH {
        for (request, own) in requests.iter().zip(&mut crowd) {
            own.push(client::connect(server.port, Some(request))?);
        }
    }
    Ok(crowd)
}

/// Revokes `subject`, whose connections are `own`: after how many milliseconds the last has its Close, and the call its answer.
fn revoke(server: &Server, subject: &str, own: &[TcpStream]) -> io::Result<(f64, f64)> {
    let body = format!("{{\"subject\":\"{subject}\"}}");
    let call = format!(
        "POST /v1/revocations HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        server.admin_port,
        body.len()
    );
    let mut admin = TcpStream::connect(("127.0.0.1", server.admin_port))?;
    let called = Instant::now();
    let ms = || called.elapsed().as_secs_f64() * 1000.0;
    admin.write_all(call.as_bytes())?;
    for mut socket in own {
        let mut close = [0; 4];
        socket.read_exact(&mut close)?;
        // RFC 6455 §5.5.1, with the code of a credential that is good no more.
        if !matches!(close, [0x88, _, 0x0b, 0xb8]) {
            return Err(io::Error::other(format!("{subject} was told {close:02x?}")));
        }
    }
    let closed_ms = ms();
    let mut answer = String::new();
    admin.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 201 ") && answer.contains(&format!("\"closed\":{}", own.len())) {
        return Ok((closed_ms, ms()));
    }
    Err(io::Error::other(format!("the revocation was answered with {answer}")))
}

/// That none of `others` has received anything, and that some of them, from all over, echo.
fn check_untouched(others: &[&TcpStream]) -> io::Result<()> {
    for socket in others {
        socket.set_nonblocking(true)?;
        let mut piece = [0; 8];
        match socket.peek(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.set_nonblocking(false)?,
            Err(error) => return Err(error),
            Ok(count) => {
                let received = &piece[..count];
                return Err(io::Error::other(format!("somebody else has received {received:02x?}")));
            }
        }
    }
    let batch = Batch::new(Opcode::Text, b"still here", 1);
    let step = (others.len() / ECHOES).max(1);
    others.iter().step_by(step).take(ECHOES).try_for_each(|socket| client::check_echo(socket, &batch, true))
}

fn name(subject: usize) -> String {
    format!("subject-{subject}")
}

/// The connections of each subject.
const EACH: usize = 30;
const ECHOES: usize = 100;
/// How long a byte may take to somebody who should get none.
const SETTLE_TIME: Duration = Duration::from_millis(300);
