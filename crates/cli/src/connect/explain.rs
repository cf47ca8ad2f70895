//! How a connection ended, in words.

use drawgate::reason::Reason;
use drawgate_protocol::Violation;

use crate::token::shown;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The server closed, or answered our Close.
    Closed { code: Option<u16>, reason: String, by_us: bool },
    /// The transport ended without a Close.
    Lost(String),
    /// The server broke a rule.
    Violated(Violation),
    /// The server did not answer our Close.
    Unanswered,
}

impl Ending {
    /// Whether that is how a conversation should end.
    pub(super) fn is_good(&self) -> bool {
        match self {
            Self::Closed { by_us: true, .. } | Self::Closed { code: None | Some(1000 | 1001), .. } => true,
            Self::Closed { .. } | Self::Lost(_) | Self::Violated(_) | Self::Unanswered => false,
        }
    }

    /// What to tell the user.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Closed { by_us: true, .. } => "closed".to_owned(),
            Self::Closed { code: None, .. } => "closed by the server, without a code".to_owned(),
            Self::Closed { code: Some(code), reason, by_us: false } => {
                let meaning = meaning(*code).map(|meaning| format!(" ({meaning})")).unwrap_or_default();
                let colon = if reason.is_empty() { "" } else { ": " };
                let advice = advice(reason).map(|advice| format!("\n  {advice}")).unwrap_or_default();
                format!("closed by the server with {code}{meaning}{colon}{}{advice}", shown(reason))
            }
            Self::Lost(how) => format!("the connection ended without a Close frame (1006): {how}"),
            Self::Violated(violation) => {
                format!("the server broke RFC {} §{}: {violation}", violation.rfc(), violation.section())
            }
            Self::Unanswered => "the server did not answer our Close".to_owned(),
        }
    }
}

/// What a close code says (RFC 6455 §7.4.1, IANA's registry).
const fn meaning(code: u16) -> Option<&'static str> {
    match code {
        1000 => Some("normal"),
        1001 => Some("going away"),
        1002 => Some("protocol error"),
        1003 => Some("unsupported data"),
        1007 => Some("invalid payload"),
        1008 => Some("policy violation"),
        1009 => Some("message too big"),
        1010 => Some("mandatory extension"),
        1011 => Some("internal error"),
        1012 => Some("service restart"),
        1013 => Some("try again later"),
        1014 => Some("bad gateway"),
        3000 => Some("unauthorized"),
        3003 => Some("forbidden"),
        3008 => Some("timeout"),
        4000..=4999 => Some("the application's own"),
        _ => None,
    }
}

/// What Drawgate's table says of the label that a reason begins with. It names our own labels only.
fn advice(reason: &str) -> Option<String> {
    let label = reason.split(':').next()?;
    let reason = Reason::ALL.into_iter().find(|reason| reason.row().label == label)?;
    // The table's text is Markdown, wrapped.
    let words: Vec<&str> = reason.row().explanation.split_whitespace().collect();
    Some(words.join(" ").replace('`', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_of_ours_is_explained() {
        let reason = Reason::TokenExpired.close_reason().to_owned();
        let text = Ending::Closed { code: Some(3000), reason, by_us: false }.text();
        assert!(text.starts_with("closed by the server with 3000 (unauthorized): token_expired: "), "{text}");
        assert!(text.contains("\n  The token was good"), "{text}");
    }

    #[test]
    fn only_normal_closes_are_good() {
        let closed = |code, by_us| Ending::Closed { code, reason: String::new(), by_us }.is_good();
        assert!(closed(Some(1000), false) && closed(None, false) && closed(Some(1008), true));
        assert!(!closed(Some(1008), false) && !closed(Some(4000), false));
        assert!(!Ending::Unanswered.is_good() && !Ending::Lost(String::new()).is_good());
    }
}
