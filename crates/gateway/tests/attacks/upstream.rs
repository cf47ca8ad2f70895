//! U: what an application behind the gate may do wrong, and what must reach it and what must not.

use std::net::SocketAddr;

use drawgate::reason::Reason;
use tokio::time::Instant;

use crate::application::{Application, before};
use crate::support::{Case, request};

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    Application::start().await.address
}

#[tokio::test]
async fn u01_an_application_that_is_not_there_is_a_502() {
    let mut case = Case::start(&before(nobody().await, "", "")).await;
    let mut client = case.connect().await;
    let sent = request("/app/", "X-Tracer: tracer-7f3a-0123456789\r\n");
    client.send(sent.as_bytes()).await;
    client.expect_refusal(Reason::UpstreamRefused).await;
    drop(client);
    case.refused(Reason::UpstreamRefused, b"tracer-7f3a-0123456789").await;
}

#[tokio::test]
async fn u03_an_application_that_does_not_answer_is_a_504_at_its_deadline() {
    let application = Application::start().await;
    let mut case = Case::start(&before(application.address, "", "")).await;
    let mut client = case.connect().await;
    client.send(request("/app/", "").as_bytes()).await;
    let began = Instant::now();
    let _silent = application.accept().await;
    client.expect_refusal(Reason::UpstreamTimeout).await;
    assert!((250..2000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let record = case.ended(Reason::UpstreamTimeout).await;
    assert_eq!(record["limit"], 300, "{record}");
}
