//! Sealed payloads: messages as compact JWE (RFC 7516), `dir` with `A256GCM` and nothing else, opened before any other step and
//! sealed after the last.
//!
//! Pure (floor 2): the salt is an argument. Keys are derived for each session and direction (HKDF-SHA-256, RFC 5869), so that nothing
//! of one session, or of the other direction, opens in this one; messages are numbered from 1 without a gap, so that one that was
//! left out, repeated or moved is noticed. Never says what was wrong: whoever sealed a message knows, and nobody else is to.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Toward;
use crate::json;
use crate::secret::Secret;

/// The key that a route's sessions are sealed under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What clients know the key by.
    pub key_id: KeyId,
    /// What session keys are derived from: at least 32 bytes.
    pub secret: Secret,
    /// How many messages each direction of a session may have; at most [`MESSAGES_MAX`].
    pub messages_max: u32,
}

impl Config {
    /// Sealing under this key.
    #[must_use]
    pub const fn new(key_id: KeyId, secret: Secret) -> Self {
        Self { key_id, secret, messages_max: MESSAGES_MAX }
    }
}

/// The name of a key: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyId(String);

impl KeyId {
    /// Reads a name; `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_name = (1..=KEY_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_allowed);
        is_name.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The keys of one session, and how many messages each has had.
#[derive(Debug)]
pub struct Sealing {
    key_id: KeyId,
    messages_max: u32,
    to_gate: Direction,
    to_client: Direction,
}

struct Direction {
    key: LessSafeKey,
    /// The number of the last message; 0 before the first.
    last_seq: u32,
}

impl fmt::Debug for Direction {
    /// Prints nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direction").field("last_seq", &self.last_seq).finish_non_exhaustive()
    }
}

/// The message is not what the other side sealed for this session next. Why is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not sealed as this session's next has to be")]
pub struct Unsealed;

/// The key of this direction has had as many messages as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session's key has sealed as many messages as it may")]
pub struct Spent;

impl Sealing {
    /// The keys of the session whose salt this is. A salt is never used twice.
    #[must_use]
    pub fn new(config: &Config, salt: &[u8; SALT_BYTES]) -> Self {
        let direction =
            |toward| Direction { key: derive(&config.secret, salt, &config.key_id, toward), last_seq: 0 };
        Self {
            key_id: config.key_id.clone(),
            messages_max: config.messages_max.min(MESSAGES_MAX),
            to_gate: direction(Toward::Backend),
            to_client: direction(Toward::Client),
        }
    }

    /// As if so many messages had gone each way.
    #[must_use]
    pub const fn after(mut self, count: u32) -> Self {
        self.to_gate.last_seq = count;
        self.to_client.last_seq = count;
        self
    }

    /// What the client is told first: which key, and the salt.
    #[must_use]
    pub fn announcement(config: &Config, salt: &[u8; SALT_BYTES]) -> String {
        let salt = URL_SAFE_NO_PAD.encode(salt);
        json!({ "type": "session_sealed", "kid": config.key_id.as_str(), "salt": salt }).to_string()
    }

    /// Opens what the side that sends in this direction has sealed; what it sealed is UTF-8.
    ///
    /// # Errors
    /// When it is anything else than the next message of this session and direction.
    pub fn open(&mut self, toward: Toward, sealed: &[u8]) -> Result<String, Unsealed> {
        if self.is_spent(toward) {
            return Err(Unsealed);
        }
        let seq = self.direction(toward).last_seq + 1;
        let parts = Parts::read(sealed).ok_or(Unsealed)?;
        if !parts.is_headed(&self.key_id, toward, seq) {
            return Err(Unsealed);
        }
        let Parts { protected, iv, mut body, .. } = parts;
        let direction = self.direction(toward);
        let nonce = Nonce::assume_unique_for_key(iv);
        let plain = direction.key.open_in_place(nonce, Aad::from(protected), &mut body);
        let plain_bytes = plain.map_err(|_| Unsealed)?.len();
        body.truncate(plain_bytes);
        let text = String::from_utf8(body).map_err(|_| Unsealed)?;
        direction.last_seq = seq;
        Ok(text)
    }

    /// Seals the next message in this direction.
    ///
    /// # Errors
    /// When the key has sealed as many as it may.
    pub fn seal(&mut self, toward: Toward, plain: &str) -> Result<String, Spent> {
        // NIST SP 800-38D §8.2.1: a counter is a nonce that cannot repeat under a key, and each key has one session and direction.
        let seq = self.direction(toward).last_seq.wrapping_add(1);
        let mut iv = [0; NONCE_LEN];
        iv[NONCE_LEN - 4..].copy_from_slice(&seq.to_be_bytes());
        self.seal_with(toward, plain, iv)
    }

    /// The same with this nonce: for who cannot know whether another message has had this number, and draws one.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_with(&mut self, toward: Toward, plain: &str, iv: [u8; IV_BYTES]) -> Result<String, Spent> {
        if self.is_spent(toward) {
            return Err(Spent);
        }
        let seq = self.direction(toward).last_seq + 1;
        let mut sealed = String::with_capacity(PROTECTED_BYTES_MAX + plain.len() * 4 / 3);
        URL_SAFE_NO_PAD.encode_string(header(&self.key_id, toward, seq), &mut sealed);
        let direction = self.direction(toward);
        let mut body = plain.as_bytes().to_vec();
        let nonce = Nonce::assume_unique_for_key(iv);
        // Fails for more bytes than a message can have.
        let tag = direction.key.seal_in_place_separate_tag(nonce, Aad::from(sealed.as_bytes()), &mut body);
        let tag = tag.map_err(|_| Spent)?;
        direction.last_seq = seq;
        sealed.push_str("..");
        URL_SAFE_NO_PAD.encode_string(iv, &mut sealed);
        sealed.push('.');
        URL_SAFE_NO_PAD.encode_string(body, &mut sealed);
        sealed.push('.');
        URL_SAFE_NO_PAD.encode_string(tag, &mut sealed);
        Ok(sealed)
    }

    /// Whether the key of this direction has had as many messages as it may.
    #[must_use]
    pub const fn is_spent(&self, toward: Toward) -> bool {
        let direction = match toward {
            Toward::Backend => &self.to_gate,
            Toward::Client => &self.to_client,
        };
        direction.last_seq.saturating_add(1) >= self.messages_max
    }

    const fn direction(&mut self, toward: Toward) -> &mut Direction {
        match toward {
            Toward::Backend => &mut self.to_gate,
            Toward::Client => &mut self.to_client,
        }
    }
}

/// RFC 7516 §7.1: the five parts of the compact form, of which the encrypted key is empty (§5.1, `dir`).
struct Parts<'s> {
    /// As it came: it is what the tag covers.
    protected: &'s str,
    iv: [u8; NONCE_LEN],
    /// The ciphertext, and the tag behind it.
    body: Vec<u8>,
}

impl<'s> Parts<'s> {
    fn read(sealed: &'s [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(sealed).ok()?.split('.');
        let mut part = || parts.next();
        let (protected, key, iv, ciphertext, tag) = (part()?, part()?, part()?, part()?, part()?);
        if parts.next().is_some() || !key.is_empty() || protected.len() > PROTECTED_BYTES_MAX {
            return None;
        }
        let iv = URL_SAFE_NO_PAD.decode(iv).ok()?.try_into().ok()?;
        // With room for the tag behind it.
        let mut body = Vec::with_capacity(ciphertext.len());
        URL_SAFE_NO_PAD.decode_vec(ciphertext, &mut body).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        // RFC 7518 §5.3: the tag has 128 bits; a shorter one is easier to guess.
        if tag.len() != AES_256_GCM.tag_len() {
            return None;
        }
        body.extend_from_slice(&tag);
        Some(Self { protected, iv, body })
    }

    /// Whether the header says this and nothing else.
    fn is_headed(&self, key_id: &KeyId, toward: Toward, seq: u32) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(self.protected) else { return false };
        // As most clients write it, and as it is written here.
        if bytes == header(key_id, toward, seq).as_bytes() {
            return true;
        }
        let text = String::from_utf8(bytes).ok();
        let Some(Ok(Value::Object(header))) = text.map(|text| json::parse(&text)) else { return false };
        let says = |name: &str, value: &str| header.get(name).and_then(Value::as_str) == Some(value);
        header.len() == 5
            && says("alg", "dir")
            && says("enc", "A256GCM")
            && says("kid", key_id.as_str())
            && says("to", to(toward))
            && header.get("seq").and_then(Value::as_u64) == Some(u64::from(seq))
    }
}

/// The salt that this text says, as [`Sealing::announcement`] has it.
#[must_use]
pub fn salt_from(text: &str) -> Option<[u8; SALT_BYTES]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// The protected header of the message of this number. No name of a key has a character that JSON would escape.
fn header(key_id: &KeyId, toward: Toward, seq: u32) -> String {
    format!(
        r#"{{"alg":"dir","enc":"A256GCM","kid":"{}","seq":{seq},"to":"{}"}}"#,
        key_id.as_str(),
        to(toward)
    )
}

/// The word for a direction, in headers and in what keys are derived from.
const fn to(toward: Toward) -> &'static str {
    match toward {
        Toward::Backend => "gate",
        Toward::Client => "client",
    }
}

/// RFC 5869. No name of a key has a space, so no two keys and directions have the same `info`.
fn derive(secret: &Secret, salt: &[u8; SALT_BYTES], key_id: &KeyId, toward: Toward) -> LessSafeKey {
    let info = format!("drawgate seal 1 {} to {}", key_id.as_str(), to(toward));
    let info = [info.as_bytes()];
    let derived = Salt::new(HKDF_SHA256, salt).extract(secret.expose());
    let material = derived.expand(&info, &AES_256_GCM).expect("32 bytes are less than HKDF has to give");
    LessSafeKey::new(UnboundKey::from(material))
}

/// How long nonces are (RFC 7518 §5.3).
pub const IV_BYTES: usize = NONCE_LEN;

/// How long salts are.
pub const SALT_BYTES: usize = 32;

/// A key seals fewer messages than this: well below the 2^32 that random nonces of 96 bits, such as clients may draw, are good
/// for under one key (NIST SP 800-38D §8.3).
pub const MESSAGES_MAX: u32 = 1 << 31;

const KEY_ID_BYTES_MAX: usize = 64;

/// A header of the five members, with the longest name, has 135 bytes, 180 as base64url; the rest is for white space.
const PROTECTED_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests;
