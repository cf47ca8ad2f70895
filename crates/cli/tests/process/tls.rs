//! The real program with TLS, and a blocking client of it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{PATIENCE, Program, REQUEST, drawgate, echo, eventually};

pub(crate) type Encrypted = StreamOwned<ClientConnection, TcpStream>;

/// Writes a certificate for `localhost` that is its own authority, and its key; the key's text.
pub(crate) fn write_certificate(folder: &Path) -> String {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    key.serialize_pem()
}

/// Connects to `address` as `localhost`, trusting what `write_certificate` has written into `folder`.
pub(crate) fn connect(address: SocketAddr, folder: &Path) -> Encrypted {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket)
}

/// An encrypted listener `secure` with the route of `echo`, which `more` may follow.
pub(crate) fn encrypted_echo(more: &str) -> String {
    let listener = "[listeners.secure]\naddress = \"127.0.0.1:0\"\n\
        tls = { certificate_file = \"cert.pem\", private_key_file = \"key.pem\" }\n";
    echo("", &format!("{listener}{more}"))
        .replace("listeners = [\"main\"]", "listeners = [\"main\", \"secure\"]")
}

#[test]
fn the_program_echoes_within_tls_and_ends_it_well() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    write_certificate(folder.path());
    let mut program = Program::start_in(folder, &encrypted_echo(""));
    let address = program.listening("secure");
    let mut client = connect(address, program.folder.path());
    client.write_all(REQUEST).unwrap();
    let mut refused = String::new();
    // Its Host is not the name in the handshake; read to the end, which is one of TLS.
    client.read_to_string(&mut refused).unwrap();
    assert!(refused.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{refused}");

    let mut client = connect(address, program.folder.path());
    client
        .write_all(String::from_utf8_lossy(REQUEST).replace("gate.example", "localhost").as_bytes())
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    client.write_all(b"\x82\x85\0\0\0\0hello").unwrap();
    let mut answer = [0; 7];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\x82\x05hello");
    assert_eq!(
        program.metric(r#"drawgate_tls_handshakes_total{listener="secure",version="1.3",outcome="full"}"#),
        2
    );
    // The drain closes it; once that is answered, the end is one of TLS.
    program.signal(Signal::TERM);
    let mut header = [0; 4];
    client.read_exact(&mut header).unwrap();
    assert_eq!((header[0], &header[2..]), (0x88, &1012_u16.to_be_bytes()[..]));
    client.write_all(b"\x88\x82\0\0\0\0\x03\xf4").unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    drop(client);
    assert!(program.wait().success());
    eventually(|| program.log().contains("drained"), || program.log());
}

/// `drawgate connect` to `url` with these arguments, and one line to send.
fn connected(url: &str, arguments: &[&str], environment: &[(&str, &Path)]) -> (Option<i32>, String, String) {
    let mut command = drawgate();
    command.args(["connect", url]).args(arguments).envs(environment.iter().copied());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that refuses may be gone already.
    let _ = child.stdin.take().unwrap().write_all(b"hello\n");
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_client_trusts_who_it_is_told_to_and_says_why_it_does_not() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    write_certificate(folder.path());
    let mut program = Program::start_in(folder, &encrypted_echo(""));
    let port = program.listening("secure").port();
    let url = format!("wss://localhost:{port}");
    let authority = program.path("cert.pem");
    let ca = ["--ca", authority.to_str().unwrap()];
    let (code, stdout, stderr) = connected(&url, &ca, &[]);
    assert_eq!((code, &*stdout), (Some(0), "hello\n"), "{stderr}");
    assert!(
        stderr.starts_with(&format!("connected to {url}/\n")) && stderr.ends_with("\nclosed\n"),
        "{stderr}"
    );
    // The system's authorities are those of a file that OpenSSL's variable names, too.
    let (code, ..) = connected(&url, &[], &[("SSL_CERT_FILE", &authority)]);
    assert_eq!(code, Some(0));

    let other = tempfile::tempdir().unwrap();
    write_certificate(other.path());
    let stranger = other.path().join("cert.pem");
    let (key, nowhere) = (program.path("key.pem"), program.path("none.pem"));
    let plain = format!("wss://{}", program.address);
    let by_address = format!("wss://127.0.0.1:{port}");
    for (url, file, told) in [
        (&url, &stranger, "is not signed by an authority in the file of --ca"),
        (&by_address, &authority, "is for another host"),
        (&plain, &authority, "speaks no TLS; try ws://"),
        (&url, &key, "has no certificate in PEM"),
        (&url, &nowhere, "none.pem: "),
    ] {
        let (code, _, stderr) = connected(url, &["--ca", file.to_str().unwrap()], &[]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(told), "{told}: {stderr}");
    }
    let (code, _, stderr) = connected(&url, &[], &[("SSL_CERT_FILE", &stranger)]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("name the authority with --ca FILE"), "{stderr}");
}

#[test]
fn the_demo_makes_an_authority_whose_certificate_works() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let demo = ["demo", "--tls", "--data", folder.path().to_str().unwrap()];
    // Its ports may be taken on this machine; its files are made before that is known.
    let mut child = drawgate().args(demo).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let made = ["ca.pem", "ca.key", "cert.pem", "key.pem"];
    eventually(
        || made.iter().all(|name| folder.path().join(name).is_file()),
        || "the demo has made no certificates".to_owned(),
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let printed = drawgate().args(demo).arg("--print-config").output().unwrap();
    let config = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(config.matches("certificate_file = \"cert.pem\"").count(), 3, "{config}");
    assert!(!config.contains("tls = \"none\"") && !config.contains("plain"), "{config}");
    // The same on ports of the system's choice.
    let config = config
        .replace("[listeners.echo]", "[listeners.main]")
        .replace("listeners = [\"echo\", ", "listeners = [\"main\", ")
        .replace(":8765", ":0")
        .replace(":8888", ":0")
        .replace(":9090", ":0");
    let program = Program::start_in(folder, &config);
    let authority = program.path("ca.pem");
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("wss://{host}:{}", program.address.port());
        let (code, stdout, stderr) = connected(&url, &["--ca", authority.to_str().unwrap()], &[]);
        assert_eq!((code, &*stdout), (Some(0), "Server received: hello\n"), "{stderr}");
    }
}
