//! Tokens in their compact form (RFC 7515 §7.1), taken apart strictly.
//!
//! Never trusts what it takes apart: `keys.rs` says who made it. Comes first; `jose.rs`, `keys.rs` and `claims.rs` follow.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

pub use super::sign::sign_hs256;
use crate::json::{self, Document, Kind, Limits};

/// Why a token is refused. The client is told no more than whether it expired; the rest is for the log.
///
/// Holds and prints nothing of the token: names are those of the specifications, places are counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It has not exactly three parts: five would be an encrypted token (RFC 7516).
    #[error("the token has not exactly three parts")]
    NotThreeParts,
    /// A part is not base64url in its one canonical form, without padding (RFC 7515 §2).
    #[error("the {0} is not canonical base64url")]
    NotBase64(Part),
    /// A part is not UTF-8.
    #[error("the {0} is not UTF-8")]
    NotUtf8(Part),
    /// A part is not strict JSON: for example a name appears twice (RFC 7519 §4).
    #[error("the {0} is not strict JSON")]
    NotJson(Part, #[source] json::Fault),
    /// A part is not a JSON object.
    #[error("the {0} is not a JSON object")]
    NotAnObject(Part),
    /// The header asks for what this gateway never does: `crit`, a key of the token's own, encryption.
    #[error("the header has the member \"{0}\"")]
    HeaderMemberRefused(&'static str),
    /// `typ` names something else than an access token, such as an ID token.
    #[error("the header's typ is not that of an access token")]
    TypeRefused,
    /// `kid` is no string, or too long.
    #[error("the header's kid is no short string")]
    KeyIdRefused,
    /// `kid` names none of our keys.
    #[error("the header's kid names no key that is known")]
    KeyUnknown,
    /// `alg` is missing, is `none`, or is not what the key is for.
    #[error("the header's alg is not what the key is for")]
    AlgorithmRefused,
    /// The signature was not made with our key over these bytes.
    #[error("the signature does not fit")]
    SignatureRefused,
    /// A claim is there and is not what its definition asks for: malformed is not absent.
    #[error("the claim {0} is malformed")]
    ClaimMalformed(&'static str),
    /// There is no `exp`.
    #[error("the claim exp is missing")]
    ExpiryMissing,
    /// `iss` is missing or another.
    #[error("the issuer is missing or not the one expected")]
    IssuerRefused,
    /// `aud` is missing or does not name us.
    #[error("the audience is missing or does not include the one expected")]
    AudienceRefused,
    /// None of the claims that may name the subject is there.
    #[error("no claim names the subject")]
    SubjectMissing,
    /// The claim that names the subject is no string of 1 to 256 bytes without control characters.
    #[error("the subject is not a short string without control characters")]
    SubjectRefused,
    /// It would be valid for longer than the configuration allows.
    #[error("the token is valid for longer than is allowed")]
    LifetimeTooLong,
    /// `iat` is later than now, beyond the leeway.
    #[error("the token says that it was issued in the future")]
    IssuedInTheFuture,
    /// `nbf` is later than now, beyond the leeway.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Everything else is right, signature included, and `exp` has passed, beyond the leeway.
    #[error("the token has expired")]
    Expired,
}

impl TokenError {
    /// Whether the token was good until its time was up, so that a newer one would do.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        *self == Self::Expired
    }
}

/// A part of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first: how it is signed.
    Header,
    /// The second: what it says.
    Claims,
    /// The third.
    Signature,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims part",
            Self::Signature => "signature",
        })
    }
}

/// What a token says, whoever made it: for showing to a person, never for deciding.
#[derive(Clone, Debug, PartialEq)]
pub struct Unverified {
    /// The header's members.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
}

/// Reads `token` without looking at its signature.
///
/// # Errors
/// When it is no token in strict compact form.
pub fn read_unverified(token: &[u8]) -> Result<Unverified, TokenError> {
    let compact = Compact::split(token)?;
    Ok(Unverified {
        header: members(compact.header, Part::Header)?,
        claims: members(compact.claims, Part::Claims)?,
    })
}

/// A token taken apart; nothing is decoded yet.
pub(super) struct Compact<'token> {
    pub(super) header: &'token [u8],
    pub(super) claims: &'token [u8],
    pub(super) signature: &'token [u8],
    /// What the signature is over: the first two parts and the dot between them.
    pub(super) signed: &'token [u8],
}

impl<'token> Compact<'token> {
    /// Looks at no more than four parts and allocates nothing, however many dots there are.
    pub(super) fn split(token: &'token [u8]) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let mut dots = memchr::memchr_iter(b'.', token);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(TokenError::NotThreeParts);
        };
        let (signed, signature) = (&token[..second], &token[second + 1..]);
        let (header, claims) = (&token[..first], &token[first + 1..second]);
        Ok(Self { header, claims, signature, signed })
    }
}

/// The text that a part holds.
pub(super) fn text(encoded: &[u8], part: Part) -> Result<String, TokenError> {
    String::from_utf8(decode(encoded, part)?).map_err(|_| TokenError::NotUtf8(part))
}

/// The object that the `text` of a part is, read strictly.
pub(super) fn object(text: &str, part: Part) -> Result<Document<'_>, TokenError> {
    let document = json::read(text, &Limits::UNCOUNTED).map_err(|fault| TokenError::NotJson(part, fault))?;
    match document.root().kind() {
        Kind::Object(_) => Ok(document),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Array(_) => {
            Err(TokenError::NotAnObject(part))
        }
    }
}

/// The members of that object, for whoever keeps them.
fn members(encoded: &[u8], part: Part) -> Result<Map<String, Value>, TokenError> {
    match object(&text(encoded, part)?, part)?.to_value() {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(TokenError::NotAnObject(part))
        }
    }
}

/// RFC 7515 §2: base64url without padding, line breaks or white space. Bits that carry nothing must be zero (RFC 4648
/// §3.5), so that a token has one spelling.
pub(super) fn decode(encoded: &[u8], part: Part) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::NotBase64(part))
}

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
