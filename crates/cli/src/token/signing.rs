//! The key that `drawgate token issue` signs with, and the algorithm that it signs by.
//!
//! Never prints a key. Called once the rules are read, whose secret it is unless a private key is named.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use drawgate::auth::{Algorithm, Config, PEM_BYTES_MAX, SigningKey};
use zeroize::Zeroizing;

use super::{Error, World, secret_file};

/// How a token is signed.
#[derive(Debug, clap::Args)]
pub(super) struct SigningArgs {
    /// Sign with the private key in this file: PKCS#8 in PEM, as `openssl genpkey` writes it
    #[arg(long, value_name = "FILE", requires = "config")]
    private_key_file: Option<PathBuf>,
    /// Sign by this algorithm; left out, by the first of the configuration that the key is for
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    /// The name of the key, which a gateway with a key set looks it up by
    #[arg(long, value_name = "NAME")]
    key_id: Option<String>,
}

impl SigningArgs {
    /// The key and the algorithm.
    pub(super) fn choose(
        &self,
        config: &Config,
        world: &mut World<'_>,
    ) -> Result<(SigningKey, Algorithm), Error> {
        let key = match &self.private_key_file {
            Some(file) => {
                if let Some(warning) = secret_file::exposure(file) {
                    writeln!(world.stderr, "warning: {warning}")?;
                }
                private_key(file)?
            }
            None => SigningKey::secret(config.keys.secret().ok_or(Error::NoSigningKey)?),
        };
        let kind = key.kind();
        let listed = config.algorithms.iter().copied().find(|algorithm| algorithm.key_kind() == kind);
        let algorithm = self.algorithm.or(listed).or_else(|| kind.algorithms().next());
        Ok((key, algorithm.expect("every kind of key has an algorithm")))
    }

    /// The name of the key.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }
}

fn private_key(path: &Path) -> Result<SigningKey, Error> {
    let unreadable = |error| Error::SecretUnreadable(path.to_owned(), error);
    // Room for all of it from the start: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(PEM_BYTES_MAX + 64));
    let limit = u64::try_from(PEM_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let file = File::open(path).map_err(unreadable)?;
    file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    SigningKey::from_pem(&bytes).map_err(|error| Error::PrivateKey(path.to_owned(), error))
}

/// Reads the name of an algorithm.
fn algorithm(name: &str) -> Result<Algorithm, String> {
    Algorithm::named(name).ok_or_else(|| {
        let names: Vec<&str> = Algorithm::names().map(|(name, _)| name).collect();
        format!("write one of {}", names.join(", "))
    })
}
