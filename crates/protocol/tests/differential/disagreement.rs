//! Every way in which we and the other engines differ, and why: the source of docs/differential.md.

use core::fmt::Write;

/// An engine that we compare ourselves with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// tungstenite 0.30.
    Tungstenite,
    /// tokio-websockets 0.13.
    TokioWebsockets,
}

/// A class of streams on which a peer does something else than we do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Disagreement {
    LaterVerdict,
    FragmentsUncounted,
    OtherRuleNamed,
    LengthNotMinimalAccepted,
    CloseCodeAnswered,
    Code1014Refused,
    CharacterCutByEmptyFrame,
    LongMessageWithoutClose,
}

impl Peer {
    pub(crate) const ALL: [Self; 2] = [Self::Tungstenite, Self::TokioWebsockets];

    const fn name(self) -> &'static str {
        match self {
            Self::Tungstenite => "tungstenite 0.30",
            Self::TokioWebsockets => "tokio-websockets 0.13",
        }
    }
}

impl Disagreement {
    pub(crate) const ALL: [Self; 8] = [
        Self::LaterVerdict,
        Self::FragmentsUncounted,
        Self::OtherRuleNamed,
        Self::LengthNotMinimalAccepted,
        Self::CloseCodeAnswered,
        Self::Code1014Refused,
        Self::CharacterCutByEmptyFrame,
        Self::LongMessageWithoutClose,
    ];

    /// Who differs from us in this way.
    pub(crate) const fn peers(self) -> &'static [Peer] {
        match self {
            Self::LaterVerdict | Self::FragmentsUncounted | Self::OtherRuleNamed => &Peer::ALL,
            Self::LengthNotMinimalAccepted | Self::CloseCodeAnswered | Self::Code1014Refused => {
                &[Peer::Tungstenite]
            }
            Self::CharacterCutByEmptyFrame | Self::LongMessageWithoutClose => &[Peer::TokioWebsockets],
        }
    }

    /// What is sent, what we do, what they do, and why we do not do the same.
    const fn explanation(self) -> [&'static str; 4] {
        match self {
            Self::LaterVerdict => [
                "a frame that breaks a rule, before all of it has come",
                "refuse it at the first byte that proves it",
                "wait for the header's second byte, for the whole header, or for the whole frame, and refuse it then",
                "what is certain needs no waiting: a peer that sends slowly cannot hold a connection that is lost, \
                 and nothing of a wrong frame is buffered",
            ],
            Self::FragmentsUncounted => [
                "a message in more frames than our limit",
                "1008 at the first frame over the limit",
                "take it: they bound bytes alone",
                "empty frames cost work and never reach a bound in bytes (RFC 6455 §10.4)",
            ],
            Self::OtherRuleNamed => [
                "a frame that breaks several rules with different close codes",
                "name the rule that the earliest byte breaks",
                "name another of them, in the order of their own checks: the declared size before the rules of the \
                 header (1009 for a length with its top bit set), or bad text before the size of the message",
                "the earliest proof is the same however the bytes are cut",
            ],
            Self::LengthNotMinimalAccepted => [
                "a length written in more bytes than it needs",
                "1002",
                "take it, in control frames too",
                "RFC 6455 §5.2: the minimal number of bytes MUST be used; one reading for each message also leaves \
                 no room for two hops to differ",
            ],
            Self::CloseCodeAnswered => [
                "a Close with a code that may not be sent (0-999, 1004-1006, 1015-2999, 5000 and more)",
                "1002, as a violation",
                "take it for an orderly Close, show the caller 1002 in place of the code, and answer 1002",
                "the peer sees the same code; our log tells a broken rule from an orderly end",
            ],
            Self::Code1014Refused => [
                "a Close with 1014",
                "take it",
                "treat it as a code that may not be sent",
                "1014 is registered with IANA (bad gateway), and gateways send it",
            ],
            Self::CharacterCutByEmptyFrame => [
                "text that ends inside a character, its last frame empty",
                "1007 at the last frame's header",
                "deliver it as checked text, which `as_text` then trusts, and begin the next message inside the \
                 character",
                "RFC 6455 §8.1: text that is not UTF-8 fails the connection; they skip the check for empty frames",
            ],
            Self::LongMessageWithoutClose => [
                "fragments that together are larger than the limit",
                "1009 at the header that declares too much",
                "tell the caller once the fragment has come, and send no Close frame",
                "RFC 6455 §7.1.7: the peer should learn why",
            ],
        }
    }
}

/// The page that explains them all.
pub(crate) fn page(streams: u64) -> String {
    let mut page = format!(
        "# Where other engines differ\n\n\
         Generated by `crates/protocol/tests/differential`: {streams} streams (valid frames, every rule broken on \
         purpose, random damage) through our receiver, {} and {}, each as a server with the same limits. Whole \
         messages, control frames, the verdict and its close code are compared. Each difference is proven to be of \
         one of these kinds; any other fails the test.\n\n\
         tungstenite leaves the Close frame after an error to its caller: the code compared is that of its error \
         (1002 protocol, 1007 UTF-8, 1009 capacity). tokio-websockets sends one itself, and it is read.\n",
        Peer::Tungstenite.name(),
        Peer::TokioWebsockets.name(),
    );
    for disagreement in Disagreement::ALL {
        let peers: Vec<_> = disagreement.peers().iter().map(|peer| peer.name()).collect();
        let [stream, ours, theirs, why] = disagreement.explanation();
        let rows = [("sent", stream), ("we", ours), ("they", theirs), ("why", why)];
        write!(page, "\n## {disagreement:?}\n{}\n\n| | |\n|---|---|\n", peers.join(", "))
            .expect("a string takes everything");
        for (head, text) in rows {
            writeln!(page, "| {head} | {text} |").expect("a string takes everything");
        }
    }
    page
}
