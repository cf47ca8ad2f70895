//! The header of a token (RFC 7515 §4): what it may say. It decides nothing; it only has to agree with the key.
//!
//! Never fetches what a header points to, and never uses a key that it carries. Comes after the strict reading in
//! `token.rs`, before the signature.

use super::{Algorithm, TokenError, TokenType};
use crate::json::{Element, Kind};

/// What a header says of how its token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'header> {
    pub(super) algorithm: Algorithm,
    /// The name of the key; chooses among our keys, and means nothing else.
    pub(super) key_id: Option<&'header str>,
}

/// What `header` names; the algorithm is one of `allowed`, and so is the type, where `types` are.
pub(super) fn read<'header>(
    header: Element<'header>,
    allowed: &[Algorithm],
    types: Option<&[TokenType]>,
) -> Result<Named<'header>, TokenError> {
    let (mut typ, mut kid, mut alg) = (None, None, None);
    for (name, value) in header.members() {
        match name {
            "typ" => typ = Some(value),
            "kid" => kid = Some(value),
            "alg" => alg = Some(value),
            other => {
                if let Some(name) = MEMBERS_REFUSED.into_iter().find(|refused| *refused == other) {
                    return Err(TokenError::HeaderMemberRefused(name));
                }
            }
        }
    }
    check_type(typ, types)?;
    let key_id = key_id(kid)?;
    let algorithm = alg.and_then(Element::as_str).and_then(Algorithm::named);
    match algorithm.filter(|algorithm| allowed.contains(algorithm)) {
        Some(algorithm) => Ok(Named { algorithm, key_id }),
        None => Err(TokenError::AlgorithmRefused),
    }
}

/// RFC 8725 §3.11: a token made for another use, such as an ID token that says so, is no access token. RFC 7515 §4.1.9:
/// media types are compared without case, and `application/` may be left out. Where `types` are given it must be one of them.
fn check_type(media_type: Option<Element<'_>>, types: Option<&[TokenType]>) -> Result<(), TokenError> {
    if let Some(types) = types {
        let typ = media_type.and_then(Element::as_str).ok_or(TokenError::TypeRefused)?;
        let is_allowed = types.iter().any(|allowed| allowed.is(typ));
        return if is_allowed { Ok(()) } else { Err(TokenError::TypeRefused) };
    }
    let Some(media_type) = media_type else { return Ok(()) };
    let media_type = media_type.as_str().ok_or(TokenError::TypeRefused)?;
    let is = |allowed: &&str| media_type.eq_ignore_ascii_case(allowed);
    if TYPES.iter().any(is) { Ok(()) } else { Err(TokenError::TypeRefused) }
}

fn key_id(key_id: Option<Element<'_>>) -> Result<Option<&str>, TokenError> {
    match key_id.map(Element::kind) {
        None => Ok(None),
        Some(Kind::String(key_id)) if key_id.len() <= KEY_ID_BYTES_MAX => Ok(Some(key_id)),
        Some(_) => Err(TokenError::KeyIdRefused),
    }
}

/// Members that ask for what this gateway never does, whatever they say: extensions that must be understood (RFC 7515
/// §4.1.11), another choice of signed bytes (RFC 7797), keys that the token brings along or points to (RFC 7515 §4.1.2 to
/// §4.1.6), encryption (RFC 7516 §4.1, RFC 7518 §4).
const MEMBERS_REFUSED: [&str; 11] =
    ["crit", "b64", "jwk", "jku", "x5c", "x5u", "enc", "zip", "epk", "p2c", "p2s"];

/// What `typ` may say where nothing else is asked for.
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// The longest `kid`. Key sets are looked up by it and by nothing else.
pub(super) const KEY_ID_BYTES_MAX: usize = 128;
