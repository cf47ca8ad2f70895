//! A TLS server that is nothing else: rustls on tokio as their documentation shows them, and answers that are always the same.
//! `bare_tls PORT CERTIFICATE KEY`.
//!
//! It reads a request, says `101` without looking at it, sends back the next frame as it came but for its mask of zeros, and
//! closes when the client does. What it takes is what encryption itself takes.

use std::io;
use std::sync::Arc;

use drawgate_bench::peer;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(2);
    let mut argument = || arguments.next().ok_or_else(|| io::Error::other("bare_tls PORT CERTIFICATE KEY"));
    let certificate = CertificateDer::from_pem_file(argument()?).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(argument()?).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    peer::serve(move |socket| {
        let acceptor = acceptor.clone();
        async move {
            // Who leaves is nobody's fault.
            let _ = live(acceptor, socket).await;
        }
    })
}

async fn live(acceptor: TlsAcceptor, socket: TcpStream) -> io::Result<()> {
    let mut stream = acceptor.accept(socket).await?;
    let mut buffer = [0; 4096];
    let mut count = 0;
    while !buffer[..count].ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer[count..]).await? {
            0 => return Ok(()),
            more => count += more,
        }
    }
    stream.write_all(ANSWER).await?;
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        // A Close, which has a body of two bytes.
        if buffer[0] == 0x88 {
            stream.write_all(b"\x88\x02\x03\xe8").await?;
            break;
        }
        stream.write_all(&buffer[..count]).await?;
    }
    stream.shutdown().await
}

const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
