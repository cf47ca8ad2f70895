//! Who may do what: the tokens of `[admin] tokens`, and what each of them is for.
//!
//! A token that is shown is hashed and held against every token that there is, each comparison as long as any other, so that
//! time tells nothing of them; nothing of it is kept or logged. Pure; `now` is an argument. Comes after the request is
//! known to mean this listener, and before anything is read of its body.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use hyper::StatusCode;
use hyper::header::{self, HeaderMap};

use super::answer::Refused;
use crate::clock::{Instant, Moment};
use crate::rate::{Gcra, Rate};
use crate::secret::Secret;

/// One `[admin.tokens.NAME]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What records call whoever shows it.
    pub name: String,
    /// The token itself: at least 32 bytes, of characters that a header can carry.
    pub secret: Secret,
    /// What it is for.
    pub scopes: Vec<Scope>,
}

/// What a token may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To see metrics, sessions, revocations and bans.
    Read,
    /// To end sessions, to revoke and to ban.
    Operate,
    /// To issue one-time tickets.
    Tickets,
}

impl Scope {
    /// Every scope, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Tickets];

    /// Its name in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Tickets => "tickets",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The tokens that there are, and how often others have been shown of late.
#[derive(Debug)]
pub(super) struct Access {
    tokens: Vec<Known>,
    epoch: Instant,
    rate: Rate,
    failures: Mutex<Gcra>,
}

#[derive(Debug)]
struct Known {
    name: Arc<str>,
    /// SHA-256 of the token: all are of one length.
    hash: Secret,
    scopes: Vec<Scope>,
}

impl Access {
    pub(super) fn new(tokens: &[Token], now: Instant) -> Self {
        let tokens = tokens.iter().map(|token| Known {
            name: token.name.as_str().into(),
            hash: Secret::new(&hash(token.secret.expose())),
            scopes: token.scopes.clone(),
        });
        Self {
            tokens: tokens.collect(),
            epoch: now,
            rate: Rate::new(FAILURES_PER_MINUTE, Duration::from_mins(1), FAILURES_BURST),
            failures: Mutex::default(),
        }
    }

    /// The same with other tokens: what was refused of late stays counted.
    pub(super) fn with(&self, tokens: &[Token]) -> Self {
        let failures = *self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        Self { failures: Mutex::new(failures), ..Self::new(tokens, self.epoch) }
    }

    pub(super) fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// The name of the token that the request shows, which must be for `scope`.
    ///
    /// A good token is taken however many bad ones have been shown: nobody keeps an operator out by guessing, and who would
    /// guess 32 bytes is not slowed down by a count. What is bounded is the noise.
    pub(super) fn check(&self, headers: &HeaderMap, scope: Scope, now: Instant) -> Result<Arc<str>, Refused> {
        let Some(shown) = bearer(headers) else {
            return Err(self.unauthorized(
                "",
                "Show one token of admin.tokens: `Authorization: Bearer …`.",
                now,
            ));
        };
        let shown = hash(shown);
        // Every one of them is compared, whichever it is.
        let found = self.tokens.iter().fold(None, |found, known| {
            let is_it = known.hash.is(&shown);
            if is_it { Some(known) } else { found }
        });
        let Some(known) = found else {
            return Err(self.unauthorized(
                ", error=\"invalid_token\"",
                "No token of admin.tokens is this one.",
                now,
            ));
        };
        if !known.scopes.contains(&scope) {
            let detail =
                format!("This needs a token with the scope \"{scope}\", which this one does not have.");
            let challenge = format!("{CHALLENGE}, error=\"insufficient_scope\", scope=\"{scope}\"");
            return Err(
                Refused::new(StatusCode::FORBIDDEN, detail).with(header::WWW_AUTHENTICATE, &challenge)
            );
        }
        Ok(Arc::clone(&known.name))
    }

    /// RFC 6750 §3, until there have been too many.
    fn unauthorized(&self, error: &str, detail: &'static str, now: Instant) -> Refused {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.check(&self.rate, Moment::after(self.epoch, now)) {
            Ok(()) => Refused::new(StatusCode::UNAUTHORIZED, detail)
                .with(header::WWW_AUTHENTICATE, &format!("{CHALLENGE}{error}")),
            Err(wait) => {
                let seconds = wait.as_secs().saturating_add(1).to_string();
                let detail = "Too many requests without a good token; one with a good token is answered.";
                Refused::new(StatusCode::TOO_MANY_REQUESTS, detail).with(header::RETRY_AFTER, &seconds)
            }
        }
    }
}

/// The one token in the request (RFC 6750 §2.1); `None` also where there are several.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked(SCHEME.len())?;
    let token = token.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty()).then_some(token)
}

fn hash(token: &[u8]) -> [u8; 32] {
    digest(&SHA256, token).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

const SCHEME: &[u8] = b"Bearer ";
const CHALLENGE: &str = "Bearer realm=\"drawgate admin\"";
/// How many requests without a good token are answered as such; a person with the wrong file needs fewer.
const FAILURES_PER_MINUTE: u32 = 30;
const FAILURES_BURST: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const GOOD: &str = "0123456789abcdef0123456789abcdef";

    fn access(now: Instant) -> Access {
        let token = |name: &str, secret: &str, scopes: &[Scope]| Token {
            name: name.to_owned(),
            secret: Secret::new(secret.as_bytes()),
            scopes: scopes.to_vec(),
        };
        let other = GOOD.replace('0', "9");
        Access::new(&[token("one", GOOD, &[Scope::Read]), token("two", &other, &[Scope::Operate])], now)
    }

    fn shown(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_token_is_known_whole_and_for_its_scopes() {
        let now = Clock::system().now();
        let access = access(now);
        let good = format!("Bearer {GOOD}");
        assert_eq!(&*access.check(&shown(&[&good]), Scope::Read, now).unwrap(), "one");
        assert_eq!(&*access.check(&shown(&[&format!("bearer  {GOOD}")]), Scope::Read, now).unwrap(), "one");
        let refused = access.check(&shown(&[&good]), Scope::Operate, now).unwrap_err();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        for wrong in [
            &[][..],
            &[GOOD],
            &[&format!("Basic {GOOD}")],
            &["Bearer "],
            &[&good[..good.len() - 1]],
            &[&format!("{good}0")],
            &[&good, &good],
        ] {
            let refused = access.check(&shown(wrong), Scope::Read, now).unwrap_err();
            assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{wrong:?}");
        }
    }

    #[test]
    fn failures_are_counted_and_a_good_token_is_taken_all_the_same() {
        let now = Clock::system().now();
        let access = access(now);
        let wrong = shown(&["Bearer wrong"]);
        let status = |now| access.check(&wrong, Scope::Read, now).unwrap_err().status();
        for _ in 0..FAILURES_BURST {
            assert_eq!(status(now), StatusCode::UNAUTHORIZED);
        }
        assert_eq!(status(now), StatusCode::TOO_MANY_REQUESTS);
        assert!(access.check(&shown(&[&format!("Bearer {GOOD}")]), Scope::Read, now).is_ok());
        assert_eq!(status(now + Duration::from_secs(3)), StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn o19_debug_prints_nothing_of_a_token() {
        let access = access(Clock::system().now());
        let printed = format!("{access:?}");
        assert!(printed.contains("redacted") && !printed.contains(GOOD), "{printed}");
    }
}
