//! Where an issuer says that its keys are.

use std::time::Duration;

use super::super::discovery::{LocateError, fetch};
use super::super::fetch::{Bounds, FetchError};
use super::site::{Answer, Authority, Site};
use crate::auth::{Issuer, KeyLocation};
use crate::tls::Trust;
use crate::url::UrlError;

const DOCUMENT: &str = "/.well-known/openid-configuration";
const KEYS: &str = r#"{"keys":[]}"#;

/// An issuer at loopback whose document is what `document` makes of its own name.
async fn found(
    path: &str,
    document: impl Fn(&str) -> String + Send + Sync + 'static,
) -> (Result<Vec<u8>, LocateError>, Site) {
    let listener_name = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let name = std::sync::Arc::clone(&listener_name);
    let site = Site::start_with(
        move |target| match target {
            "/jwks" => Answer::body(KEYS),
            target if target.ends_with(DOCUMENT) => Answer::body(&document(name.get().unwrap())),
            _ => Answer::text("HTTP/1.1 404 Not Found\r\n\r\n"),
        },
        None,
    )
    .await;
    listener_name.set(site.name("")).unwrap();
    let issuer: Issuer = site.name(path).parse().unwrap();
    (fetch(&KeyLocation::Issuer(issuer), &Trust::System, Bounds::default()).await, site)
}

#[tokio::test]
async fn an_issuers_keys_are_where_its_document_says() {
    let targets = |site: &Site| -> Vec<String> {
        site.heads().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect()
    };
    for (path, document) in
        [("", DOCUMENT), ("/", DOCUMENT), ("/tenant", "/tenant/.well-known/openid-configuration")]
    {
        let (keys, site) = found(path, move |site| {
            format!(r#"{{"issuer":"{site}{path}","jwks_uri":"{site}/jwks","x":[1]}}"#)
        })
        .await;
        assert_eq!(keys.unwrap(), KEYS.as_bytes(), "{path}");
        assert_eq!(targets(&site), [document, "/jwks"]);
    }
}

#[tokio::test]
async fn a33_a_document_of_another_issuer_is_not_believed() {
    for issuer in ["SITE/", "SITE/other", "https://other.example", ""] {
        let (keys, site) = found("", move |site| {
            let issuer = issuer.replace("SITE", site);
            format!(r#"{{"issuer":"{issuer}","jwks_uri":"{site}/jwks"}}"#)
        })
        .await;
        assert!(matches!(keys, Err(LocateError::IssuerDiffers)), "{issuer}: {keys:?}");
        assert_eq!(site.connections(), 1, "the keys are not asked for");
    }
    for document in [r#"{"jwks_uri":"SITE/jwks"}"#, r#"{"issuer":7,"jwks_uri":"SITE/jwks"}"#, "[]"] {
        let (keys, _site) = found("", move |site| document.replace("SITE", site)).await;
        assert!(matches!(keys, Err(LocateError::IssuerDiffers)), "{document}: {keys:?}");
    }
}

#[tokio::test]
async fn a33_an_address_that_nobody_could_configure_is_not_asked() {
    for address in ["http://keys.example/", "file:///etc/passwd", "https://a@keys.example/", ""] {
        let (keys, _site) =
            found("", move |site| format!(r#"{{"issuer":"{site}","jwks_uri":"{address}"}}"#)).await;
        assert!(matches!(keys, Err(LocateError::AddressRefused(_))), "{address}: {keys:?}");
    }
    for rest in ["", r#","jwks_uri":7"#, r#","jwks_uri":null"#] {
        let (keys, _site) = found("", move |site| format!(r#"{{"issuer":"{site}"{rest}}}"#)).await;
        assert!(matches!(keys, Err(LocateError::NoAddress)), "{rest}: {keys:?}");
    }
}

#[tokio::test]
async fn a33_an_issuer_elsewhere_does_not_lead_to_this_machine() {
    let inner = Site::start(Answer::body(KEYS)).await;
    let (authority, address) = (Authority::new(), inner.name("/admin"));
    let name = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let own = std::sync::Arc::clone(&name);
    let site = Site::start_with(
        move |_| Answer::body(&format!(r#"{{"issuer":"{}","jwks_uri":"{address}"}}"#, own.get().unwrap())),
        Some(authority.server("localhost", false)),
    )
    .await;
    name.set(site.name("")).unwrap();
    let location = KeyLocation::Issuer(site.name("").parse().unwrap());
    let keys = fetch(&location, &Trust::File(authority.file()), Bounds::default()).await;
    assert!(matches!(keys, Err(LocateError::AddressRefused(UrlError::NotEncrypted))), "{keys:?}");
    assert_eq!(inner.connections(), 0);
}

#[tokio::test]
async fn a33_a_document_is_bounded_as_keys_are() {
    let (keys, _site) = found("", |site| format!(r#"{{"issuer":"{site}","issuer":"{site}"}}"#)).await;
    assert!(matches!(keys, Err(LocateError::NotJson)), "{keys:?}");
    let (keys, _site) = found("", |_| "a".repeat(65 * 1024)).await;
    assert!(matches!(keys, Err(LocateError::Document(FetchError::TooLong(_)))), "{keys:?}");
}

#[tokio::test]
async fn a33_a_document_that_takes_most_of_the_time_leaves_less_for_the_keys() {
    let name = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let own = std::sync::Arc::clone(&name);
    let site = Site::start_with(
        move |target| match target {
            "/jwks" => Answer::Unfinished(Vec::new()),
            _ => {
                let site = own.get().unwrap();
                let document = format!(r#"{{"issuer":"{site}","jwks_uri":"{site}/jwks"}}"#);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", document.len());
                Answer::Late(Duration::from_millis(150), (head + &document).into())
            }
        },
        None,
    )
    .await;
    name.set(site.name("")).unwrap();
    let location = KeyLocation::Issuer(site.name("").parse().unwrap());
    let bounds = Bounds { deadline: Duration::from_millis(300), ..Bounds::default() };
    let keys = fetch(&location, &Trust::System, bounds).await;
    assert!(matches!(keys, Err(LocateError::TooSlow(_))), "{keys:?}");
    assert_eq!(site.connections(), 2);
}
