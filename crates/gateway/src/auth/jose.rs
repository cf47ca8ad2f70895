//! The header of a token (RFC 7515 §4): what it may say. It decides nothing; it only has to agree with the key.
//!
//! Never fetches what a header points to, and never uses a key that it carries. Comes after the strict reading in
//! `token.rs`, before the signature.

use serde_json::{Map, Value};

use super::{Algorithm, TokenError, TokenType};

/// What a header says of how its token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'header> {
    pub(super) algorithm: Algorithm,
    /// The name of the key; chooses among our keys, and means nothing else.
    pub(super) key_id: Option<&'header str>,
}

/// What `header` names; the algorithm is one of `allowed`, and so is the type, where `types` are.
pub(super) fn read<'header>(
    header: &'header Map<String, Value>,
    allowed: &[Algorithm],
    types: Option<&[TokenType]>,
) -> Result<Named<'header>, TokenError> {
    // A header has two or three members: to compare each is less than to look each of these up.
    let is_there = |refused: &&str| header.keys().any(|name| name == refused);
    if let Some(name) = MEMBERS_REFUSED.into_iter().find(is_there) {
        return Err(TokenError::HeaderMemberRefused(name));
    }
    check_type(header.get("typ"), types)?;
    let key_id = key_id(header.get("kid"))?;
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::named);
    match algorithm.filter(|algorithm| allowed.contains(algorithm)) {
        Some(algorithm) => Ok(Named { algorithm, key_id }),
        None => Err(TokenError::AlgorithmRefused),
    }
}

/// RFC 8725 §3.11: a token made for another use, such as an ID token that says so, is no access token. RFC 7515 §4.1.9:
/// media types are compared without case, and `application/` may be left out. Where `types` are given it must be one of them.
fn check_type(media_type: Option<&Value>, types: Option<&[TokenType]>) -> Result<(), TokenError> {
    if let Some(types) = types {
        let typ = media_type.and_then(Value::as_str).ok_or(TokenError::TypeRefused)?;
        let is_allowed = types.iter().any(|allowed| allowed.is(typ));
        return if is_allowed { Ok(()) } else { Err(TokenError::TypeRefused) };
    }
    let Some(media_type) = media_type else { return Ok(()) };
    let media_type = media_type.as_str().ok_or(TokenError::TypeRefused)?.to_ascii_lowercase();
    match media_type.strip_prefix("application/").unwrap_or(&media_type) {
        "jwt" | "at+jwt" => Ok(()),
        _ => Err(TokenError::TypeRefused),
    }
}

fn key_id(key_id: Option<&Value>) -> Result<Option<&str>, TokenError> {
    match key_id {
        None => Ok(None),
        Some(Value::String(key_id)) if key_id.len() <= KEY_ID_BYTES_MAX => Ok(Some(key_id)),
        Some(_) => Err(TokenError::KeyIdRefused),
    }
}

/// Members that ask for what this gateway never does, whatever they say: extensions that must be understood (RFC 7515
/// §4.1.11), another choice of signed bytes (RFC 7797), keys that the token brings along or points to (RFC 7515 §4.1.2 to
/// §4.1.6), encryption (RFC 7516 §4.1, RFC 7518 §4).
const MEMBERS_REFUSED: [&str; 11] =
    ["crit", "b64", "jwk", "jku", "x5c", "x5u", "enc", "zip", "epk", "p2c", "p2s"];

/// The longest `kid`. Key sets are looked up by it and by nothing else.
pub(super) const KEY_ID_BYTES_MAX: usize = 128;
