//! `drawgate connect` to servers that are not ours, some of them rude; and how it is interrupted.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Output, Stdio};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use crate::support::{PATIENCE, drawgate};

/// A server for one connection.
struct Server<T> {
    address: SocketAddr,
    thread: JoinHandle<T>,
}

/// Serves one connection by `serve`.
fn serve<T: Send + 'static>(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> Server<T> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        serve(stream)
    });
    Server { address, thread }
}

/// The same, of WebSocket.
fn serve_websocket<T: Send + 'static>(
    talk: impl FnOnce(WebSocket<TcpStream>) -> T + Send + 'static,
) -> Server<T> {
    serve(|stream| {
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        talk(tungstenite::accept_with_config(stream, Some(config)).unwrap())
    })
}

/// The client, with pipes.
fn client(address: SocketAddr, arguments: &[&str]) -> Child {
    drawgate()
        .args(["connect", &format!("ws://{address}/")])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What comes of a client that has nothing to say.
fn output(address: SocketAddr, arguments: &[&str]) -> Output {
    let mut child = client(address, arguments);
    drop(child.stdin.take());
    child.wait_with_output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Takes what comes, and answers a Close, until the connection has ended; the code of the client's Close.
fn close_code(websocket: &mut WebSocket<TcpStream>) -> Option<u16> {
    let mut code = None;
    loop {
        match websocket.read() {
            Ok(Message::Close(close)) => code = close.map(|close| close.code.into()),
            Ok(_) => {}
            Err(tungstenite::Error::ConnectionClosed) => return code,
            Err(error) => panic!("{error}"),
        }
    }
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn a_pipe_gets_the_bytes_of_messages_and_no_more() {
    let server = serve_websocket(|mut websocket| {
        websocket.send(Message::Ping("are you there".into())).unwrap();
        websocket.send(Message::Binary(vec![0, 0xff, 0x1b].into())).unwrap();
        websocket.send(Message::text("\u{1b}[31mred")).unwrap();
        assert_eq!(websocket.read().unwrap(), Message::Pong("are you there".into()));
        websocket.close(None).unwrap();
        let _ = websocket.read();
    });
    let output = output(server.address, &["--verbose"]);
    server.thread.join().unwrap();
    assert_eq!(output.stdout, b"\x00\xff\x1b\n\x1b[31mred\n");
    let stderr = stderr(&output);
    for told in [", not compressed\n", "ping of 13 bytes from the server, answered\n", "without a code\n"] {
        assert!(stderr.contains(told), "{stderr}");
    }
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn two_who_both_speak_first_are_both_heard() {
    // More than all buffers between the two hold: one who only wrote would wait for ever.
    const BYTES: usize = 32 * 1024 * 1024;
    let server = serve_websocket(|mut websocket| {
        websocket.send(Message::text("s".repeat(BYTES))).unwrap();
        let heard = websocket.read().unwrap().len();
        close_code(&mut websocket);
        heard
    });
    let mut child = client(server.address, &[]);
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || stdin.write_all(&vec![b'c'; BYTES]));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(server.thread.join().unwrap(), BYTES);
    assert_eq!(output.stdout.len(), BYTES + 1);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn input_that_is_no_text_is_told_after_what_was() {
    let server = serve_websocket(|mut websocket| {
        let first = websocket.read().unwrap();
        (first, close_code(&mut websocket))
    });
    let mut child = client(server.address, &["--wait-ms", "0"]);
    child.stdin.take().unwrap().write_all(b"good\nb\xffd\nlost\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(server.thread.join().unwrap(), (Message::text("good"), Some(1000)));
    assert!(stderr(&output).contains("error: standard input cannot be sent from here on: "), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_reader_that_has_heard_enough_is_no_failure() {
    let server = serve_websocket(|mut websocket| {
        // Until the client says that it goes: a pipe breaks only when it is written to.
        let writer = (0..10_000).try_for_each(|_| websocket.send(Message::text("more")));
        writer.map_or(None, |()| close_code(&mut websocket))
    });
    let mut child = client(server.address, &[]);
    let mut first = [0; 5];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    server.thread.join().unwrap();
    assert_eq!(first, *b"more\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn ctrl_c_closes_the_connection_and_fails_a_script() {
    let server = serve_websocket(|mut websocket| {
        websocket.send(Message::text("hello")).unwrap();
        close_code(&mut websocket)
    });
    let mut child = client(server.address, &[]);
    let mut hello = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut hello).unwrap();
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(server.thread.join().unwrap(), Some(1000));
    assert!(stderr(&output).ends_with("\nclosed\nerror: interrupted\n"), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_second_ctrl_c_waits_for_nobody() {
    // A server that answers no Close.
    let server = serve_websocket(|mut websocket| {
        websocket.send(Message::text("hello")).unwrap();
        let mut bytes = Vec::new();
        // The Close, and then the end of the connection.
        websocket.get_mut().read_to_end(&mut bytes).map(|_| bytes.first().copied())
    });
    let mut child = client(server.address, &[]);
    let mut hello = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut hello).unwrap();
    let mut code = None;
    crate::support::eventually(
        || {
            interrupt(&child);
            code = child.try_wait().unwrap();
            code.is_some()
        },
        || "the client does not end".to_owned(),
    );
    assert_eq!(code.unwrap().code(), Some(3));
    let _ = server.thread.join().unwrap();
}

#[test]
fn what_is_no_websocket_is_told_in_words() {
    for (answer, told) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "status 200 (it answers plain HTTP there"),
        ("HTTP/1.1 302 Found\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n", "redirects are not followed"),
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "--token-as header"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "the server's answer is not HTTP/1.1"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "RFC 6455 §4.1): Upgrade is not websocket"),
        ("", "the server ended the connection before it answered"),
    ] {
        let server = serve(|mut stream| {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let output = output(server.address, &[]);
        server.thread.join().unwrap();
        assert!(stderr(&output).starts_with("error: ") && stderr(&output).contains(told), "{output:?}");
        assert_eq!(output.status.code(), Some(1), "{answer}");
    }
}

#[test]
fn a_server_that_breaks_a_rule_is_told_which_and_the_user_too() {
    for (frame, code, told) in [
        (b"\x81\x81\0\0\0\0a".as_slice(), CloseCode::Protocol, "the server broke RFC 6455 §5.1: "),
        (b"\x81\x01\xff", CloseCode::Invalid, "the server broke RFC 6455 §8.1: "),
    ] {
        let server = serve_websocket(move |mut websocket| {
            websocket.get_mut().write_all(frame).unwrap();
            close_code(&mut websocket)
        });
        let output = output(server.address, &[]);
        assert_eq!(server.thread.join().unwrap(), Some(code.into()));
        assert!(stderr(&output).contains(told), "{output:?}");
        assert_eq!(output.status.code(), Some(1));
    }
}
