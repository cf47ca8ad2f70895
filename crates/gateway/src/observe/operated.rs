//! What an operator or an application changed through the admin listener, as one record: who, what, on whom, and whether
//! it was done. And who was not let in.

use super::Observer;
use super::audit::Members;
use super::encode::Encoded;
use super::events::Event;
use super::log::TARGET;
use super::suppress::RecordKind;
use crate::principal::ClientAddr;

/// A change that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operated<'a> {
    /// The name of the token.
    pub(crate) who: &'a str,
    pub(crate) action: Action,
    /// The subject, the session, the token's id. Chosen by a peer, most often: it is encoded before it is logged.
    pub(crate) on: &'a str,
    /// What it ended, where it could end anything.
    pub(crate) closed: Closed,
    /// Why it was not done, where it was not.
    pub(crate) failure: Option<&'a str>,
}

/// What a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    Nothing,
    Sessions(usize),
    Connections(usize),
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    EndSessions,
    EndSession,
    Revoke,
    Ban,
    Unban,
    BanAddress,
    UnbanAddress,
    DrainUpstream,
    ResumeUpstream,
    IssueTicket,
    Reload,
}

impl Action {
    const fn label(self) -> &'static str {
        match self {
            Self::EndSessions => "end_sessions",
            Self::EndSession => "end_session",
            Self::Revoke => "revoke",
            Self::Ban => "ban",
            Self::Unban => "unban",
            Self::BanAddress => "ban_address",
            Self::UnbanAddress => "unban_address",
            Self::DrainUpstream => "drain_upstream",
            Self::ResumeUpstream => "resume_upstream",
            Self::IssueTicket => "issue_ticket",
            Self::Reload => "reload",
        }
    }
}

impl Observer {
    /// A request to the admin listener was refused for its token: for none, an unknown one, or one for something else.
    pub(crate) fn operator_refused(&self, client: ClientAddr, status: u16) {
        let Some(suppressed) = self.0.suppressor.pass(RecordKind::NotLetIn, self.0.clock.now()) else {
            return self.count_suppressed();
        };
        self.audit(|| {
            Members::of("operator_refused")
                .with("client", client.to_string())
                .with("http_status", status)
                .with("suppressed", suppressed)
        });
        tracing::warn!(
            target: TARGET,
            %client,
            http_status = status,
            suppressed = Some(suppressed).filter(|count| *count > 0),
            "admin request refused"
        );
    }

    /// A change was made, or was not: to be called once for each that an operator asked for.
    pub(crate) fn operated(&self, operated: &Operated<'_>) {
        self.audit(|| {
            Members::of("operated")
                .with("operator", operated.who)
                .with("action", operated.action.label())
                .with("on", operated.on)
                .with("outcome", if operated.failure.is_none() { "done" } else { "not_done" })
                .maybe("detail", operated.failure)
        });
        let suppressed = match operated.action {
            // An application issues one whenever one of its pages is loaded.
            Action::IssueTicket => match self.0.suppressor.pass(RecordKind::Ticket, self.0.clock.now()) {
                Some(suppressed) => suppressed,
                None => return self.count_suppressed(),
            },
            Action::EndSessions
            | Action::EndSession
            | Action::Revoke
            | Action::Ban
            | Action::Unban
            | Action::BanAddress
            | Action::UnbanAddress
            | Action::DrainUpstream
            | Action::ResumeUpstream
            | Action::Reload => 0,
        };
        let detail = format!("{}: {}", operated.who, operated.on);
        let event = Event::new("operated", operated.action.label()).detailed(Some(&detail));
        self.0.events.push(event, self.0.clock.unix_now());
        let (sessions, connections) = match operated.closed {
            Closed::Nothing => (None, None),
            Closed::Sessions(count) => (Some(count), None),
            Closed::Connections(count) => (None, Some(count)),
        };
        tracing::info!(
            target: TARGET,
            operator = operated.who,
            action = operated.action.label(),
            on = %Encoded(&operated.on),
            outcome = if operated.failure.is_none() { "done" } else { "not_done" },
            sessions_closed = sessions,
            connections_closed = connections,
            detail = operated.failure.map(tracing::field::display),
            suppressed = Some(suppressed).filter(|count| *count > 0),
            "operator's change"
        );
    }
}
