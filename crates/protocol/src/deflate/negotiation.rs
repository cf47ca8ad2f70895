//! What two ends agree on (RFC 7692 §5, §7.1): offers judged by a server, an answer judged by a client.
//!
//! An offer that is not understood in full is declined and the next one tried, as the RFC wants it; an answer that is not
//! understood ends the connection. A window of 8 bits is never agreed on: no deflater makes one.

use core::fmt;
use std::fmt::Write as _;

use super::EXTENSION;
use crate::handshake::{Extension, Parameter};

/// How both directions of a connection are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Agreement {
    /// Messages from the server.
    pub server: Flow,
    /// Messages from the client.
    pub client: Flow,
}

/// How one direction is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// A message may refer to those before it, so that both ends must remember a window of them.
    pub takeover: bool,
    /// How far back it may refer.
    pub window_bits: WindowBits,
}

/// The base-2 logarithm of a window's size: 9 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

/// Why the answer to our offer does not accept it (RFC 7692 §5.1): the connection is to be failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerFault {
    /// A parameter that nobody has defined, twice the same one, or a value that it cannot have.
    ParameterInvalid,
    /// `server_no_context_takeover` was asked for and is not granted (§7.1.1.1).
    TakeoverKept,
    /// A larger window for messages from the server than was asked for, or none (§7.1.2.1).
    WindowTooLarge,
    /// A window of 8 bits for our messages, which we cannot keep to (§7.1.2.2).
    WindowTooSmall,
}

impl WindowBits {
    /// 512 bytes.
    pub const MIN: Self = Self(9);
    /// 32 KiB: what holds where nothing is said (§7.1.2).
    pub const MAX: Self = Self(15);

    /// `bits`, if it is 9 to 15.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if bits >= Self::MIN.0 && bits <= Self::MAX.0 { Some(Self(bits)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The size of the window.
    #[must_use]
    pub const fn window_bytes(self) -> usize {
        1 << self.0
    }
}

impl Flow {
    /// What holds where nothing is said: the largest window, kept from message to message.
    pub const FULL: Self = Self { takeover: true, window_bits: WindowBits::MAX };
    /// No memory between messages, and a window of 4 KiB.
    pub const FRUGAL: Self = Self { takeover: false, window_bits: WindowBits(12) };
}

impl Agreement {
    /// What holds where an answer has no parameters.
    pub const FULL: Self = Self { server: Flow::FULL, client: Flow::FULL };
    /// No memory between messages, in either direction.
    pub const FRUGAL: Self = Self { server: Flow::FRUGAL, client: Flow::FRUGAL };

    /// As a server: accepts the first of `offers` that can be, in no case with more than `self` has; gives what was agreed
    /// on and how the answer says it. A window for the client's messages can be asked for only where the client says that
    /// it can be (§7.1.2.2).
    #[must_use]
    pub fn accept(&self, offers: &[Extension<'_>]) -> Option<(Self, String)> {
        let offers = offers.iter().filter(|offer| offer.name == EXTENSION);
        offers.filter_map(|offer| self.accept_one(&Parameters::read(&offer.parameters)?)).next()
    }

    fn accept_one(&self, offer: &Parameters) -> Option<(Self, String)> {
        let server_window = offer.server_window.map(Window::nine_or_more).transpose().ok()?;
        let client_window = match offer.client_window {
            None => WindowBits::MAX,
            Some(None) => self.client.window_bits,
            Some(Some(window)) => self.client.window_bits.min(window.nine_or_more().ok()?),
        };
        let agreement = Self {
            server: Flow {
                takeover: self.server.takeover && !offer.server_no_takeover,
                window_bits: self.server.window_bits.min(server_window.unwrap_or(WindowBits::MAX)),
            },
            client: Flow {
                takeover: self.client.takeover && !offer.client_no_takeover,
                window_bits: client_window,
            },
        };
        let mut answer = agreement.takeover_parameters();
        // Writing to a string cannot fail.
        if server_window.is_some() {
            let _ = write!(answer, "; {SERVER_WINDOW}={}", agreement.server.window_bits.0);
        }
        if client_window < WindowBits::MAX {
            let _ = write!(answer, "; {CLIENT_WINDOW}={}", client_window.0);
        }
        Some((agreement, answer))
    }

    /// As a client: the offer that asks for `self`, as the header's value. It lets the server ask for a smaller window.
    #[must_use]
    pub fn offer(&self) -> String {
        let mut offer = self.takeover_parameters();
        // Writing to a string cannot fail.
        if self.server.window_bits < WindowBits::MAX {
            let _ = write!(offer, "; {SERVER_WINDOW}={}", self.server.window_bits.0);
        }
        offer.push_str("; ");
        offer.push_str(CLIENT_WINDOW);
        if self.client.window_bits < WindowBits::MAX {
            let _ = write!(offer, "={}", self.client.window_bits.0);
        }
        offer
    }

    /// As a client: what the server agreed to of [`Agreement::offer`]; `None` if it left the extension out.
    ///
    /// # Errors
    /// An answer that does not accept the offer. The connection is to be failed.
    pub fn verify(&self, answer: &[Extension<'_>]) -> Result<Option<Self>, AnswerFault> {
        let Some(answer) = answer.iter().find(|extension| extension.name == EXTENSION) else {
            return Ok(None);
        };
        let answer = Parameters::read(&answer.parameters).ok_or(AnswerFault::ParameterInvalid)?;
        if !self.server.takeover && !answer.server_no_takeover {
            return Err(AnswerFault::TakeoverKept);
        }
        // What a window of 8 bits holds, one of 9 holds too.
        let server_window = match answer.server_window {
            Some(window) => window.nine_or_more().unwrap_or(WindowBits::MIN),
            None => WindowBits::MAX,
        };
        if server_window > self.server.window_bits {
            return Err(AnswerFault::WindowTooLarge);
        }
        let client_window = match answer.client_window {
            None => WindowBits::MAX,
            Some(window) => window
                .ok_or(AnswerFault::ParameterInvalid)?
                .nine_or_more()
                .map_err(|_| AnswerFault::WindowTooSmall)?,
        };
        Ok(Some(Self {
            server: Flow { takeover: !answer.server_no_takeover, window_bits: server_window },
            client: Flow {
                takeover: self.client.takeover && !answer.client_no_takeover,
                window_bits: self.client.window_bits.min(client_window),
            },
        }))
    }

    fn takeover_parameters(&self) -> String {
        let mut parameters = EXTENSION.to_owned();
        for (flow, name) in [(self.server, SERVER_NO_TAKEOVER), (self.client, CLIENT_NO_TAKEOVER)] {
            if !flow.takeover {
                parameters.push_str("; ");
                parameters.push_str(name);
            }
        }
        parameters
    }
}

/// The parameters of one offer or answer, each understood and there once.
#[derive(Debug, Default)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_window: Option<Window>,
    /// In an offer it may stand without a value.
    client_window: Option<Option<Window>>,
}

/// A window as it may be written: 8 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window(u8);

impl Window {
    fn read(value: &str) -> Option<Self> {
        // RFC 7692 §7.1.2.1: a decimal integer without leading zeros, between 8 and 15.
        match value {
            "8" => Some(Self(8)),
            "9" => Some(Self(9)),
            "10" => Some(Self(10)),
            "11" => Some(Self(11)),
            "12" => Some(Self(12)),
            "13" => Some(Self(13)),
            "14" => Some(Self(14)),
            "15" => Some(Self(15)),
            _ => None,
        }
    }

    /// The error is 8.
    fn nine_or_more(self) -> Result<WindowBits, ()> {
        WindowBits::new(self.0).ok_or(())
    }
}

impl Parameters {
    /// `None` where anything is not understood (RFC 7692 §7.1).
    fn read(parameters: &[Parameter<'_>]) -> Option<Self> {
        let mut read = Self::default();
        for parameter in parameters {
            let is_first = match (parameter.name, parameter.value.as_deref()) {
                (SERVER_NO_TAKEOVER, None) => !core::mem::replace(&mut read.server_no_takeover, true),
                (CLIENT_NO_TAKEOVER, None) => !core::mem::replace(&mut read.client_no_takeover, true),
                (SERVER_WINDOW, Some(value)) => read.server_window.replace(Window::read(value)?).is_none(),
                (CLIENT_WINDOW, None) => read.client_window.replace(None).is_none(),
                (CLIENT_WINDOW, Some(value)) => {
                    read.client_window.replace(Some(Window::read(value)?)).is_none()
                }
                (_, _) => false,
            };
            if !is_first {
                return None;
            }
        }
        Some(read)
    }
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ParameterInvalid => "a parameter of permessage-deflate is unknown, doubled or out of range",
            Self::TakeoverKept => "the server keeps its context though it was asked not to",
            Self::WindowTooLarge => "the server's window is larger than it was asked for",
            Self::WindowTooSmall => "the server wants a window of 8 bits from us",
        })
    }
}

impl core::error::Error for AnswerFault {}

const SERVER_NO_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_WINDOW: &str = "server_max_window_bits";
const CLIENT_WINDOW: &str = "client_max_window_bits";

#[cfg(test)]
mod tests {
    use super::*;

    /// The extensions that a header's value lists, read by hand: no quotes, no odd spaces.
    fn extensions(value: &str) -> Vec<Extension<'_>> {
        let parameter = |text: &'static str| match text.split_once('=') {
            Some((name, value)) => Parameter { name, value: Some(value.into()) },
            None => Parameter { name: text, value: None },
        };
        let leaked: &'static str = value.to_owned().leak();
        leaked
            .split(", ")
            .filter(|extension| !extension.is_empty())
            .map(|extension| {
                let mut parts = extension.split("; ");
                let name = parts.next().unwrap();
                Extension { name, parameters: parts.map(parameter).collect() }
            })
            .collect()
    }

    fn flow(takeover: bool, bits: u8) -> Flow {
        Flow { takeover, window_bits: WindowBits::new(bits).unwrap() }
    }

    fn answer(wish: Agreement, offers: &str) -> Option<String> {
        wish.accept(&extensions(offers)).map(|(_, answer)| answer)
    }

    #[test]
    fn section_7_1_offers_are_answered_with_no_more_than_both_want() {
        for (wish, offer, expected) in [
            (Agreement::FULL, "permessage-deflate", "permessage-deflate"),
            (
                Agreement::FRUGAL,
                "permessage-deflate",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            ),
            (
                Agreement::FRUGAL,
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 client_max_window_bits=12",
            ),
            (
                Agreement::FULL,
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
            ),
            (
                Agreement::FRUGAL,
                "permessage-deflate; server_max_window_bits=15; client_max_window_bits=9",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=12; client_max_window_bits=9",
            ),
            (
                Agreement::FULL,
                "permessage-deflate; client_no_context_takeover; client_max_window_bits=15",
                "permessage-deflate; client_no_context_takeover",
            ),
        ] {
            assert_eq!(answer(wish, offer).as_deref(), Some(expected), "{offer}");
        }
    }

    #[test]
    fn section_7_1_2_2_a_smaller_client_window_is_asked_for_only_if_the_client_offers_it() {
        let (agreement, answer) = Agreement::FRUGAL.accept(&extensions("permessage-deflate")).unwrap();
        assert_eq!(agreement.client.window_bits, WindowBits::MAX);
        assert!(!answer.contains("client_max_window_bits"));
    }

    #[test]
    fn z07_offers_that_are_not_understood_are_declined() {
        for parameter in [
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=8",
            "server_max_window_bits=16",
            "server_max_window_bits=09",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits=7",
            "client_max_window_bits=8",
            "client_max_window_bits=16",
            "client_max_window_bits=-9",
            "client_max_window_bits; client_max_window_bits=10",
            "client_max_window_bits; client_max_window_bits",
            "server_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover=1",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window",
            "Server_No_Context_Takeover",
        ] {
            let offer = format!("permessage-deflate; {parameter}");
            assert_eq!(answer(Agreement::FULL, &offer), None, "{parameter}");
            // The next one is tried.
            let offers = format!("{offer}, x-other, permessage-deflate; server_no_context_takeover");
            let expected = "permessage-deflate; server_no_context_takeover";
            assert_eq!(answer(Agreement::FULL, &offers).as_deref(), Some(expected), "{parameter}");
        }
        assert_eq!(answer(Agreement::FULL, ""), None);
        assert_eq!(answer(Agreement::FULL, "permessage-bzip2, Permessage-Deflate"), None);
    }

    #[test]
    fn what_a_client_offers_a_server_accepts_and_the_client_verifies() {
        for server_bits in 9..=15 {
            for client_bits in 9..=15 {
                for takeovers in 0..16_u8 {
                    let is = |bit: u8| takeovers & (1 << bit) != 0;
                    let wish =
                        Agreement { server: flow(is(0), server_bits), client: flow(is(1), client_bits) };
                    let own = Agreement { server: flow(is(2), 12), client: flow(is(3), 12) };
                    let (agreed, answer) = own.accept(&extensions(&wish.offer())).unwrap();
                    let verified = wish.verify(&extensions(&answer)).unwrap().unwrap();
                    // A server need not say that its window is smaller than it may be.
                    assert!(agreed.server.window_bits <= verified.server.window_bits);
                    assert_eq!(agreed.server.takeover, verified.server.takeover);
                    assert_eq!(agreed.client, verified.client, "{answer}");
                    assert_eq!(agreed.server.takeover, is(0) && is(2));
                    assert_eq!(agreed.client, flow(is(1) && is(3), client_bits.min(12)));
                }
            }
        }
    }

    #[test]
    fn section_5_1_an_answer_that_does_not_accept_the_offer_fails() {
        let wish = Agreement { server: flow(false, 12), client: flow(true, 15) };
        assert_eq!(
            wish.offer(),
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits"
        );
        assert_eq!(wish.verify(&[]), Ok(None));
        for (answer, fault) in [
            ("", AnswerFault::TakeoverKept),
            ("; server_max_window_bits=12", AnswerFault::TakeoverKept),
            ("; server_no_context_takeover", AnswerFault::WindowTooLarge),
            ("; server_no_context_takeover; server_max_window_bits=13", AnswerFault::WindowTooLarge),
            ("; client_max_window_bits", AnswerFault::TakeoverKept),
            ("; x", AnswerFault::ParameterInvalid),
            ("; server_max_window_bits=16", AnswerFault::ParameterInvalid),
        ] {
            let answer = format!("permessage-deflate{answer}");
            assert_eq!(wish.verify(&extensions(&answer)), Err(fault), "{answer}");
        }
        for (parameter, fault) in [
            ("client_max_window_bits", AnswerFault::ParameterInvalid),
            ("client_max_window_bits=8", AnswerFault::WindowTooSmall),
        ] {
            let answer = format!("permessage-deflate; {parameter}");
            assert_eq!(Agreement::FULL.verify(&extensions(&answer)), Err(fault), "{answer}");
        }
        let answer = extensions("permessage-deflate; server_max_window_bits=8");
        let agreed = Agreement::FULL.verify(&answer).unwrap().unwrap();
        assert_eq!(agreed.server.window_bits, WindowBits::MIN);
    }
}
