//! Where the admin listener is, and the token for it: from a configuration, from the folder of the demo, or as it is named.

use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use drawgate::admin::{Config, Scope};
use drawgate::secret::Secret;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::ask::Door;
use crate::connect::Url;
use crate::token::DATA_FOLDER;
use crate::{Failure, configuration};

/// Which gateway is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// The gateway's configuration: its [admin] address, and the first token there that is for this
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "admin", "token_file"])]
    config: Option<PathBuf>,
    /// The data folder of `drawgate demo`, which keeps the address and a token there
    #[arg(long, value_name = "DIR", default_value = DATA_FOLDER, conflicts_with = "admin")]
    data: PathBuf,
    /// The admin listener: http://HOST:PORT, or https:// for TLS
    #[arg(long, value_name = "URL", requires = "token_file", value_parser = address)]
    admin: Option<Url>,
    /// The file with the token for it; - is standard input
    #[arg(long, value_name = "FILE", requires = "admin")]
    token_file: Option<PathBuf>,
    /// Trust the authorities in this PEM file, and not the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Where {
    /// The listener, with a token that is for `scope` as far as can be known here.
    pub(super) fn door(&self, scope: Scope) -> Result<Door, Failure> {
        let (url, connect_to, token, origin) = if let Some(file) = &self.config {
            configured(file, scope)?
        } else if let (Some(url), Some(file)) = (&self.admin, &self.token_file) {
            (url.clone(), None, read_token(file)?, file.display().to_string())
        } else {
            demo(&self.data)?
        };
        if !url.is_private() {
            return Err(Failure(format!(
                "{url} is not encrypted, and whoever is between could read the token: write https://, or forward a port of \
                 this machine and name that"
            )));
        }
        Ok(Door { url, connect_to, token, origin, authority: self.ca.clone() })
    }
}

fn address(text: &str) -> Result<Url, &'static str> {
    text.parse().map_err(|_| "write it as http://HOST:PORT, or https:// for TLS")
}

/// What a door is made of: its address, where that is reached if elsewhere, the token, and where that comes from.
type Found = (Url, Option<SocketAddr>, Secret, String);

/// The listener of a configuration.
fn configured(file: &Path, scope: Scope) -> Result<Found, Failure> {
    let place = file.display();
    let config = configuration::read(file)?;
    let Some(admin) = config.admin else {
        return Err(Failure(format!(
            "{place} has no [admin] table: add one with an address and tokens (docs/admin.md), and start the gateway anew"
        )));
    };
    let Some(token) = admin.tokens.iter().find(|token| token.scopes.contains(&scope)) else {
        return Err(Failure(format!(
            "{place} has no admin token with the scope \"{scope}\": add tokens.NAME = {{ file = \"admin.token\", scopes = \
             [\"{scope}\"] }} to its [admin], and start the gateway anew"
        )));
    };
    if admin.address.port() == 0 {
        return Err(Failure(format!(
            "{place} lets the system choose the admin listener's port: name the listener with --admin URL --token-file FILE"
        )));
    }
    let (url, connect_to) = url_of(&admin).map_err(Failure)?;
    Ok((url, Some(connect_to), token.secret.clone(), format!("admin.tokens.{} of {place}", token.name)))
}

/// How a listener is addressed, and where it is reached.
fn url_of(admin: &Config) -> Result<(Url, SocketAddr), String> {
    let mut reached = admin.address;
    // Who listens everywhere is reached on this machine.
    match reached.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => reached.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => reached.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    let scheme = if admin.tls.is_some() { "https" } else { "http" };
    // A certificate is for a name, most often.
    let text = match admin.hosts.first() {
        Some(host) if admin.tls.is_some() => format!("{scheme}://{host}:{}", reached.port()),
        Some(_) | None => format!("{scheme}://{reached}"),
    };
    Ok((text.parse()?, reached))
}

/// The listener of the demo whose files lie in `folder`.
fn demo(folder: &Path) -> Result<Found, Failure> {
    let file = folder.join(FILE_NAME);
    let place = file.display();
    let advice = "start `drawgate demo`, which writes it; or name the gateway with --config FILE, or with --admin URL \
                  --token-file FILE";
    let text = fs::read_to_string(&file).map_err(|error| {
        Failure(match error.kind() {
            io::ErrorKind::NotFound => format!("there is no {place}: {advice}"),
            _ => format!("{place} cannot be read ({error}): {advice}"),
        })
    })?;
    let damaged = || Failure(format!("{place} is not what the demo writes: remove it, and {advice}"));
    let value: Value = serde_json::from_str(&text).map_err(|_| damaged())?;
    let (Some(url), Some(token_file)) = (value["url"].as_str(), value["token_file"].as_str()) else {
        return Err(damaged());
    };
    let url: Url = url.parse().map_err(|_| damaged())?;
    // Whoever has written the file must not make us send another file, or the token elsewhere.
    if !url.is_loopback() || Path::new(token_file).file_name() != Some(token_file.as_ref()) {
        return Err(damaged());
    }
    let token_file = folder.join(token_file);
    Ok((url, None, read_token(&token_file)?, token_file.display().to_string()))
}

/// Writes where the demo's admin listener is, for [`demo`].
pub(crate) fn remember(folder: &Path, address: SocketAddr, token_file: &str) -> Result<(), Failure> {
    let file = folder.join(FILE_NAME);
    let value = json!({ "url": format!("http://{address}"), "token_file": token_file });
    fs::write(&file, format!("{value}\n")).map_err(|error| {
        Failure(format!("{} cannot be written: {error}; choose a folder with --data DIR", file.display()))
    })
}

/// The token in a file, less one line end; `-` is standard input.
fn read_token(file: &Path) -> Result<Secret, Failure> {
    let failed = |error: io::Error| {
        let advice = "name the file with a token of the gateway's admin.tokens";
        Failure(format!("{} cannot be read: {error}; {advice}", file.display()))
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(TOKEN_BYTES_MAX));
    let room = u64::try_from(TOKEN_BYTES_MAX).unwrap_or(u64::MAX);
    if file == Path::new("-") {
        io::stdin().lock().take(room).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        fs::File::open(file).map_err(failed)?.take(room).read_to_end(&mut bytes).map_err(failed)?;
    }
    let token = Secret::from_file_bytes(&bytes);
    if token.expose().is_empty() || !token.expose().iter().all(u8::is_ascii_graphic) {
        return Err(Failure(format!(
            "{} holds no token: one is letters, digits and ASCII punctuation, on one line",
            file.display()
        )));
    }
    Ok(token)
}

/// What the demo writes into its folder.
const FILE_NAME: &str = "admin.json";
/// More than any token has.
const TOKEN_BYTES_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_listener_is_reached_on_this_machine_and_named_as_its_certificate_is() {
        let of = |address: &str, hosts: &[&str], is_encrypted: bool| {
            let tls = is_encrypted.then(|| drawgate::tls::Config {
                certificates: Vec::new(),
                clients: drawgate::tls::ClientCertificates::NotAsked,
            });
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            let admin = Config { hosts, tls, ..Config::new(address.parse().unwrap()) };
            let (url, reached) = url_of(&admin).unwrap();
            (url.to_string(), reached.to_string())
        };
        let pair = |url: &str, reached: &str| (url.to_owned(), reached.to_owned());
        let named = &["admin.example.com"];
        assert_eq!(of("127.0.0.1:9090", named, false), pair("http://127.0.0.1:9090/", "127.0.0.1:9090"));
        assert_eq!(of("0.0.0.0:9090", &[], true), pair("https://127.0.0.1:9090/", "127.0.0.1:9090"));
        assert_eq!(of("[::]:9090", named, true), pair("https://admin.example.com:9090/", "[::1]:9090"));
    }

    #[test]
    fn a_token_goes_to_this_machine_or_over_tls_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("admin.token");
        fs::write(&file, "0123\n").unwrap();
        let door = |url: &str| {
            let at = Where {
                config: None,
                data: PathBuf::new(),
                admin: Some(url.parse().unwrap()),
                token_file: Some(file.clone()),
                ca: None,
            };
            at.door(Scope::Read).map(|door| door.url.to_string())
        };
        for url in
            ["http://127.0.0.1:9090/", "http://[::1]:9090/", "http://localhost:9090/", "https://192.0.2.1/"]
        {
            assert_eq!(door(url).unwrap(), url);
        }
        for url in ["http://192.0.2.1:9090/", "http://gateway.example:9090/", "http://127.0.0.1.example/"] {
            let Failure(refused) = door(url).unwrap_err();
            assert!(refused.contains("is not encrypted") && !refused.contains("0123"), "{refused}");
        }
    }

    #[test]
    fn what_the_demo_writes_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let Failure(missing) = demo(folder.path()).unwrap_err();
        assert!(missing.contains("start `drawgate demo`"), "{missing}");
        remember(folder.path(), "127.0.0.1:9090".parse().unwrap(), "admin.token").unwrap();
        fs::write(folder.path().join("admin.token"), "0123\n").unwrap();
        let (url, _, token, origin) = demo(folder.path()).unwrap();
        assert_eq!((url.to_string().as_str(), token.expose()), ("http://127.0.0.1:9090/", &b"0123"[..]));
        assert!(origin.ends_with("admin.token"), "{origin}");
        for text in [
            "",
            "{}",
            "[]",
            r#"{"url":"x","token_file":"admin.token"}"#,
            r#"{"url":"http://127.0.0.1:9090","token_file":"/etc/hostname"}"#,
            r#"{"url":"http://127.0.0.1:9090","token_file":"../admin.token"}"#,
            r#"{"url":"http://127.0.0.1:9090","token_file":".."}"#,
            r#"{"url":"http://127.0.0.1:9090","token_file":"admin.token/"}"#,
            r#"{"url":"https://192.0.2.1:9090","token_file":"admin.token"}"#,
            r#"{"url":"http://localhost.example:9090","token_file":"admin.token"}"#,
        ] {
            fs::write(folder.path().join("admin.json"), text).unwrap();
            let Failure(damaged) = demo(folder.path()).unwrap_err();
            assert!(damaged.contains("is not what the demo writes"), "{damaged}");
        }
    }
}
