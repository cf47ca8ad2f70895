//! O: what outlives the process, through real sockets: a gateway is stopped, and the next one keeps out whom it kept out.

use std::path::Path;

use drawgate::Server;
use drawgate::clock::Clock;
use drawgate::config::Config;
use drawgate::firewall::AddressBan;
use drawgate::reason::Reason;
use drawgate::server::{Builder, StartError};
use drawgate::session::revocation::{SubjectBan, Target};
use drawgate::state::StateError;
use serde_json::json;

use crate::sessions::{open, show, token, with_sessions};
use crate::support::{Case, Raw};

const STATE: &str = "[state]\nstore = \"embedded\"";

/// A gateway whose configuration lies in `folder`.
fn gateway(folder: &Path, state: &str) -> Builder {
    let text = format!("{}\n{state}\n", with_sessions("token_lifetime_max = \"1h\"", ""));
    let config = Config::from_toml(&text, folder, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    Server::from_config(config)
}

fn logout(subject: &str) -> Target {
    Target::Subject { subject: subject.to_owned(), cutoff: Clock::system().unix_now() }
}

fn ban(subject: &str) -> SubjectBan {
    SubjectBan { subject: subject.to_owned(), until: None }
}

async fn is_let_in(case: &Case, token: &str) -> bool {
    show(case, token).await.1.starts_with("HTTP/1.1 101 ")
}

#[tokio::test]
async fn o10_revocations_and_bans_are_in_force_after_a_restart_and_what_was_lifted_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case::start_with(gateway(folder.path(), STATE)).await;
    assert!(case.control.is_lasting());
    let tokens = ["alice", "bob", "carol", "dave", "erin"].map(|subject| token(subject, &json!({})));
    let token_of_erin = token("erin", &json!({ "jti": "t1" }));
    let mut session = open(&case, "alice", &json!({})).await;
    assert_eq!(case.control.revoke(case.control.revocation(logout("alice"))).await.unwrap().closed, 1);
    assert_eq!(session.read_close().await.0, 3000);
    for subject in ["bob", "carol"] {
        case.control.ban(ban(subject)).await.unwrap();
    }
    assert!(case.control.unban("carol".to_owned()).await.unwrap());
    assert!(!case.control.unban("dave".to_owned()).await.unwrap());
    let by_id = Target::Token { token_id: "t1".to_owned() };
    case.control.revoke(case.control.revocation(by_id)).await.unwrap();
    let kept_out = [true, true, false, false, false];
    let mut case = case;
    for _ in 0..3 {
        for (token, is_out) in tokens.iter().zip(kept_out) {
            assert_ne!(is_let_in(&case, token).await, is_out);
        }
        assert!(!is_let_in(&case, &token_of_erin).await);
        case.stop().await;
        // The directory is free as soon as the server has ended.
        case = Case::start_with(gateway(folder.path(), STATE)).await;
    }
    assert!(folder.path().join("drawgate-data/state.redb").is_file());
    assert_eq!(case.control.sessions().bans(Clock::system().unix_now()), [ban("bob")]);
    case.stop().await;
}

#[tokio::test]
async fn o10_without_a_state_nothing_is_written_and_a_restart_forgets() {
    for state in ["", "[state]\nstore = \"none\""] {
        let folder = tempfile::tempdir().unwrap();
        let case = Case::start_with(gateway(folder.path(), state)).await;
        assert!(!case.control.is_lasting());
        case.control.ban(ban("alice")).await.unwrap();
        let alice = token("alice", &json!({}));
        assert!(!is_let_in(&case, &alice).await);
        case.stop().await;
        let case = Case::start_with(gateway(folder.path(), state)).await;
        assert!(is_let_in(&case, &alice).await);
        case.stop().await;
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn o11_a_gateway_does_not_start_over_a_state_that_is_damaged_or_another_s() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case::start_with(gateway(folder.path(), STATE)).await;
    let error = gateway(folder.path(), STATE).bind().unwrap_err();
    assert!(matches!(error, StartError::State(StateError::InUse { .. })), "{error}");
    case.stop().await;
    let file = folder.path().join("drawgate-data/state.redb");
    std::fs::write(&file, "").unwrap();
    let error = gateway(folder.path(), STATE).bind().unwrap_err();
    assert!(matches!(error, StartError::State(StateError::Damaged { .. })), "{error}");
    assert!(error.to_string().contains("drawgate-data/state.redb is damaged"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"");
}

#[tokio::test]
async fn o10_a_ban_of_addresses_outlives_the_process_until_it_is_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let network = "127.0.0.2".parse().unwrap();
    let mut case = Case::start_with(gateway(folder.path(), STATE)).await;
    let ban = AddressBan { network, until: None, reason: "it guesses".to_owned() };
    case.bans.ban_address(ban.clone()).await.unwrap();
    for _ in 0..2 {
        Raw::connect_from(2, case.address).await.expect_refusal(Reason::AddressBanned).await;
        case.stop().await;
        case = Case::start_with(gateway(folder.path(), STATE)).await;
        assert_eq!(case.bans.address_bans(), std::slice::from_ref(&ban));
    }
    assert!(case.bans.unban_address(network).await.unwrap());
    case.stop().await;
    let case = Case::start_with(gateway(folder.path(), STATE)).await;
    assert_eq!(case.bans.address_bans(), []);
    case.stop().await;
}

#[tokio::test]
async fn o10_a_ban_around_the_loopback_of_ipv6_does_not_keep_a_gateway_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case::start_with(gateway(folder.path(), STATE)).await;
    let ban = AddressBan { network: "::1".parse().unwrap(), until: None, reason: String::new() };
    case.bans.ban_address(ban.clone()).await.unwrap();
    let bans = case.bans.address_bans();
    case.stop().await;
    let case = Case::start_with(gateway(folder.path(), STATE)).await;
    assert_eq!((case.bans.address_bans(), bans.len()), (bans, 1));
    assert!(case.bans.unban_address(ban.network).await.unwrap());
    case.stop().await;
    let case = Case::start_with(gateway(folder.path(), STATE)).await;
    assert_eq!(case.bans.address_bans(), []);
    case.stop().await;
}
