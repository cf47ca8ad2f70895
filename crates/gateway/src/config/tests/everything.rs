//! What `everything.toml` writes out arrives where it belongs, table by table.

use super::*;
use crate::address::{ClientAddressHeader, ProxyProtocol};
use crate::admin::Scope;
use crate::audit::{self, WhenFull};
use crate::auth::{Algorithm, CredentialSource, Expected, TokenType};
use crate::limits::{OverRate, Pace, Rates};
use crate::observe::ErrorFile;
use crate::reason::Reason;
use crate::route::{Origins, PathPattern};
use crate::session::{self, AtLimit};

/// The configuration that `everything.toml` is, and the folder that its paths begin with.
fn everything() -> (Config, tempfile::TempDir) {
    let folder = secret_folder(&format!("{SECRET}\n"));
    let text = include_str!("everything.toml");
    (Config::from_toml(text, folder.path(), &no_environment).unwrap(), folder)
}

#[test]
fn the_server_is_as_it_is_written() {
    let (config, _) = everything();
    assert_eq!(
        config.server,
        ServerConfig {
            workers: Some(3),
            drain_timeout: Duration::from_millis(250),
            reload_on_change: true,
            connections_max: Some(5000),
            unauthenticated_max: 50,
            overload: crate::overload::Config {
                memory_max: crate::overload::MemoryMax::Bytes(256 << 20),
                memory_refuse_percent: Some(60),
                memory_shed_percent: Some(70),
                descriptors_refuse_percent: None,
                delay_max: Some(Duration::from_millis(300)),
            },
        }
    );
    assert_eq!((config.buffers_bytes_max, config.compression_bytes_max), (1 << 30, 0));
    assert_eq!(config.tls_handshakes_max, 9);
}

#[test]
fn a_listener_is_as_it_is_written() {
    let (config, folder) = everything();
    let listener = &config.listeners[0];
    assert!(!listener.required);
    assert_eq!(listener.tls_timeout, Duration::from_millis(200));
    assert_eq!(listener.head_timeout, Duration::from_millis(300));
    let [certificate_file, private_key_file] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    let clients = crate::tls::ClientCertificates::Optional(certificate_file.clone());
    let certificates = vec![crate::tls::CertificateFiles { certificate_file, private_key_file }];
    assert_eq!(listener.tls, Some(crate::tls::Config { certificates, clients }));
    assert_eq!(
        (listener.proxy_protocol, listener.proxy_header_timeout),
        (Some(ProxyProtocol::V2), Duration::from_millis(100))
    );
}

#[test]
fn a_route_is_as_it_is_written() {
    let (config, _) = everything();
    let route = &config.routes[0];
    assert_eq!((route.listeners.as_slice(), route.auth.as_deref()), (&["a".to_owned()][..], Some("users")));
    assert_eq!(route.path, PathPattern::Prefix("/chat/".to_owned()));
    assert_eq!(route.hosts, ["chat.example.com", "127.0.0.1"]);
    let origins = ["https://app.example.com", "http://localhost:3000"].map(str::to_owned).to_vec();
    assert_eq!(route.origins, Origins::Listed(origins));
    assert_eq!((route.notice, &route.backend), (Notice::Json, &echoing("> ")));
    let limits = Limits {
        message_bytes_max: Some(65_536),
        message_fragments_max: Some(7),
        compression: true,
        inflated_bytes_per_second: Some(1 << 20),
        pace: Pace {
            session: Rates { messages_per_second: Some(50), bytes_per_second: Some(256 << 10) },
            subject: Rates { messages_per_second: Some(60), bytes_per_second: Some(1 << 20) },
            client: Rates { messages_per_second: Some(70), bytes_per_second: None },
            over_rate: OverRate::Slow,
        },
        message_timeout: None,
        idle_timeout: Some(Duration::from_mins(5)),
        session_time_max: Some(Duration::from_hours(12)),
        ping_interval: Some(Duration::from_millis(10)),
        pong_timeout: None,
        stall_timeout: Some(Duration::from_secs(7 * 86_400)),
        close_timeout: Duration::from_millis(100),
    };
    assert_eq!(route.limits, limits);
}

#[test]
fn an_authenticator_is_as_it_is_written() {
    let (config, _) = everything();
    let auth = &config.auth["users"];
    assert_eq!(auth.keys.secret().unwrap().expose(), SECRET.as_bytes(), "less one newline");
    assert_eq!(auth.credentials, [CredentialSource::FirstMessage]);
    assert_eq!(auth.algorithms, [Algorithm::Hs256]);
    assert_eq!((&auth.issuer, &auth.audience), (&Expected::Any, &Expected::Exactly("chat".to_owned())));
    let types = auth.token_types.as_ref().unwrap();
    assert_eq!(types.iter().map(TokenType::as_str).collect::<Vec<_>>(), ["at+jwt", "JWT"]);
    assert_eq!(auth.subject_claims, ["user_id", "sub"]);
    assert_eq!(auth.first_message_timeout, Duration::from_millis(50));
    assert_eq!((auth.token_lifetime_max, auth.leeway), (None, Duration::ZERO));
    assert_eq!(auth.failures_per_client_per_minute, Some(7));
    assert_eq!(auth.failures_per_subject_per_minute, Some(9));
    let sessions = session::Config {
        per_subject_max: Some(5),
        at_limit: AtLimit::EndOldest,
        refresh: true,
        expiry_warning: None,
    };
    assert_eq!(auth.sessions, sessions);
}

#[test]
fn the_firewall_is_as_it_is_written() {
    let (config, _) = everything();
    let networks =
        |texts: [&str; 2]| texts.map(|text| text.parse::<crate::network::Network>().unwrap()).to_vec();
    assert_eq!(config.firewall.addresses.allow, Some(networks(["0.0.0.0/0", "2001:db8::/32"])));
    assert_eq!(config.firewall.addresses.deny, networks(["192.0.2.7", "198.51.100.0/24"]));
    assert_eq!(config.firewall.connections_per_client_max, None);
    assert_eq!(config.firewall.connections_per_v6_48_max, Some(9000));
    assert_eq!(config.firewall.handshakes_per_client_per_minute, Some(60));
    assert_eq!(config.firewall.handshakes_per_v6_48_per_minute, Some(240), "four times what one client may");
    let trusted_proxies = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).to_vec();
    let client_address_header = ClientAddressHeader::XForwardedFor;
    assert_eq!(config.addresses, address::Config { trusted_proxies, client_address_header });
    let bans = config.firewall.automatic_bans.unwrap();
    assert_eq!(bans.per_minute, [(Reason::TokenInvalid, 30), (Reason::PolicyRefused, 20)]);
    assert_eq!((bans.first.as_secs(), bans.longest.as_secs(), bans.is_shadow), (10, 7 * 24 * 3600, true));
    assert_eq!(bans.never, config.addresses.trusted_proxies);
}

#[test]
fn what_operators_read_is_as_it_is_written() {
    let (config, folder) = everything();
    let path = folder.path().join("logs/errors.log");
    assert_eq!(config.log.error_file, Some(ErrorFile { path, bytes_max: 65_536, files_max: 2 }));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Text));
    let [path, key_file] = ["logs/audit.log", "audit.key"].map(|name| folder.path().join(name));
    let when_full = WhenFull::Closed;
    assert_eq!(config.audit, Some(audit::Config { path, key_file, bytes_max: 1 << 20, when_full }));
    let admin = config.admin.unwrap();
    assert!(admin.tls.is_some() && admin.hosts == ["admin.example.com"]);
    assert_eq!((admin.tokens[0].name.as_str(), &admin.tokens[0].scopes[..]), ("operator", &Scope::ALL[..]));
}
