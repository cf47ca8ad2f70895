//! `[firewall.automatic_bans]`.

use super::*;

#[test]
fn what_is_no_reason_to_ban_a_client_is_told() {
    for (lines, key) in [
        ("per_minute = {}", "per_minute"),
        ("first = \"1m\"", "per_minute"),
        ("per_minute = { token_invalid = 0 }", "token_invalid"),
        ("per_minute = { token_invalid = \"unlimited\" }", "token_invalid"),
        ("per_minute = { no_such_reason = 5 }", "no_such_reason"),
        // Neither is the client's doing.
        ("per_minute = { internal_error = 5 }", "internal_error"),
        ("per_minute = { address_banned = 5 }", "address_banned"),
        ("per_minute = { token_invalid = 5 }\nshadow = 1", "shadow"),
    ] {
        let text = format!("{}\n[firewall.automatic_bans]\n{lines}\n", with_auth(AUTH));
        let problem = problem_with_secret(&text);
        assert!(problem.key.ends_with(key), "{lines}: {problem}");
    }
}

fn problem_with_secret(text: &str) -> Problem {
    only(read_with_secret(text, SECRET))
}
