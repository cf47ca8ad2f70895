//! Signature algorithms, and the kinds of keys that they are for. Only words: nothing is signed or verified here.
//!
//! `jose.rs` finds the one that a token names, `keys.rs` knows those that a key is for.

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
///
/// `none` is not among them, and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// Ed25519, which is also the name that RFC 9864 §2.2 has for it; Ed448 is not supported.
    EdDsa,
}

impl Algorithm {
    /// Each of them.
    pub const ALL: [Self; 12] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// Its name in tokens and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The one of this name. RFC 7515 §4.1.1: names are compared as they are, case included.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::names().find(|(known, _)| *known == name).map(|(_, algorithm)| algorithm)
    }

    /// Every name that there is, and what it means. RFC 9864 §2.2: what `EdDSA` means depends on the key, and for one kind
    /// of key alone there is a name that says it. Here there is only that kind.
    pub fn names() -> impl Iterator<Item = (&'static str, Self)> {
        let usual = Self::ALL.into_iter().map(|algorithm| (algorithm.name(), algorithm));
        usual.chain([("Ed25519", Self::EdDsa)])
    }

    /// The only kind of key that it is for.
    #[must_use]
    pub const fn key_kind(self) -> KeyKind {
        match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => KeyKind::Secret,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => KeyKind::Rsa,
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
            Self::EdDsa => KeyKind::Ed25519,
        }
    }

    /// RFC 7518 §3.2: a secret must be at least as long as the hash. Nothing for algorithms whose keys are no secrets.
    #[must_use]
    pub const fn secret_bytes_min(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
            Self::Rs256
            | Self::Rs384
            | Self::Rs512
            | Self::Ps256
            | Self::Ps384
            | Self::Ps512
            | Self::Es256
            | Self::Es384
            | Self::EdDsa => 0,
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a key is, which decides what it can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Bytes that both sides know.
    Secret,
    /// RSA.
    Rsa,
    /// A point on the curve P-256.
    P256,
    /// A point on the curve P-384.
    P384,
    /// An Ed25519 key.
    Ed25519,
}

impl KeyKind {
    /// The algorithms that it is for, the most usual first.
    pub fn algorithms(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(move |algorithm| algorithm.key_kind() == self)
    }

    /// Its name in sentences, such as `an RSA key`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Secret => "a secret",
            Self::Rsa => "an RSA key",
            Self::P256 => "a P-256 key",
            Self::P384 => "a P-384 key",
            Self::Ed25519 => "an Ed25519 key",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_is_found_by_its_own_names_alone() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
            assert_eq!(Algorithm::named(&algorithm.name().to_lowercase()), None);
            assert!(algorithm.key_kind().algorithms().any(|fitting| fitting == algorithm));
        }
        assert_eq!(Algorithm::named("Ed25519"), Some(Algorithm::EdDsa));
        for name in ["none", "", "ES512", "ES256K", "RS1", "HS256 ", "ed25519", "Ed448"] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }
}
