//! O4: certificates that are replaced while connections live.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::support::{Authority, Gateway};
use crate::support::eventually_within;

const RELOADED: &str = r#"drawgate_certificate_reloads_total{listener="secure",result="ok"}"#;
const REFUSED: &str = r#"drawgate_certificate_reloads_total{listener="secure",result="failed"}"#;

/// Files are looked at every second.
async fn until_metric_is(gateway: &Gateway, name: &str, value: u64) {
    let metric = || gateway.case.metric(name);
    eventually_within(Duration::from_secs(8), || metric() == value, || format!("{name} is {}", metric()))
        .await;
}

/// The certificate that a new connection gets.
async fn served(gateway: &Gateway) -> CertificateDer<'static> {
    let mut client = gateway.connect().await;
    client.upgrade().await;
    client.stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn o04_new_files_are_used_bad_ones_are_not_and_live_connections_stay() {
    let mut gateway = Gateway::start().await;
    let folder = gateway.folder.path().to_owned();
    let mut lasting = gateway.connect().await;
    lasting.upgrade().await;
    let first = served(&gateway).await;
    let days = days_left(&gateway);
    assert!(days > 1000.0, "{days}");

    // Each of these is refused whole, once, and the old certificate stays.
    let (other, expired) = (gateway.authority.server(&["localhost"]), expired(&gateway.authority));
    type Spoil<'a> = (&'a str, &'a dyn Fn(&Path));
    let spoils: [Spoil<'_>; 4] = [
        ("is not the key of the certificate", &|folder| {
            fs::write(folder.join("server.key"), &other.key).unwrap();
        }),
        ("is empty", &|folder| {
            fs::write(folder.join("server.pem"), "").unwrap();
        }),
        ("cannot be read", &|folder| {
            fs::remove_file(folder.join("server.pem")).unwrap();
        }),
        ("has expired", &|folder| {
            fs::write(folder.join("server.pem"), &expired.0).unwrap();
            fs::write(folder.join("server.key"), &expired.1).unwrap();
        }),
    ];
    for (times, (wrong, spoil)) in (1..).zip(spoils) {
        spoil(&folder);
        until_metric_is(&gateway, REFUSED, times).await;
        assert_eq!(served(&gateway).await, first);
        let log = gateway.case.log_text();
        let told = log.lines().filter(|line| line.contains("certificates not reloaded")).count();
        assert_eq!(u64::try_from(told).unwrap(), times, "{log}");
        assert!(log.contains(wrong), "{wrong}: {log}");
        assert!(!log.contains("PRIVATE KEY"), "{log}");
    }

    other.write(&folder, "server");
    until_metric_is(&gateway, RELOADED, 1).await;
    assert_eq!(served(&gateway).await, other.chain()[0]);
    lasting.echo(b"nothing has happened to this one").await;
    gateway.case.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn o04_a_swap_of_links_is_seen() {
    let gateway = Gateway::start().await;
    let folder = gateway.folder.path();
    // As Kubernetes lays out a volume: the files are links into a folder that is itself a link.
    let mount = |version: &str, certificate: &str, key: &str| {
        fs::create_dir(folder.join(version)).unwrap();
        fs::write(folder.join(version).join("server.pem"), certificate).unwrap();
        fs::write(folder.join(version).join("server.key"), key).unwrap();
        symlink(version, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    let pairs = [gateway.authority.server(&["localhost"]), gateway.authority.server(&["localhost"])];
    mount("..2026_1", &pairs[0].certificate, &pairs[0].key);
    for name in ["server.pem", "server.key"] {
        symlink(Path::new("..data").join(name), folder.join("link")).unwrap();
        fs::rename(folder.join("link"), folder.join(name)).unwrap();
    }
    until_metric_is(&gateway, RELOADED, 1).await;
    assert_eq!(served(&gateway).await, pairs[0].chain()[0]);
    mount("..2026_2", &pairs[1].certificate, &pairs[1].key);
    until_metric_is(&gateway, RELOADED, 2).await;
    assert_eq!(served(&gateway).await, pairs[1].chain()[0]);
}

fn days_left(gateway: &Gateway) -> f64 {
    let page = gateway.case.observer.render();
    let line = page.lines().find(|line| {
        line.starts_with("drawgate_certificate_expires_in_days{listener=\"secure\",certificate=\"")
    });
    line.and_then(|line| line.rsplit_once(' ')).unwrap().1.parse().unwrap()
}

/// A certificate that ended long ago, and its key.
fn expired(authority: &Authority) -> (String, String) {
    let pair = authority.expired_server("localhost");
    (pair.certificate, pair.key)
}
