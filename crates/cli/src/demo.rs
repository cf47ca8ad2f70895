//! `drawgate demo`: two servers to try, through the same stages as any other configuration.

mod authority;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drawgate::auth::token::sign_hs256;
use drawgate::chance::Chance;
use drawgate::clock::Clock;
use drawgate::config::{Config, demo_text};
use serde_json::json;

use crate::logging::{Log, say};
use crate::service::Service;
use crate::token::{
    ADMIN_FILE_NAME, DATA_FOLDER, SecretFile, demo_config, ensure_admin_token, ensure_secret,
};
use crate::{Failure, Outcome, admin, print, run};

/// `drawgate demo`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the key and the logs; it is made if it is not there
    #[arg(long, value_name = "DIR", default_value = DATA_FOLDER)]
    data: PathBuf,
    /// Encrypt: with a certificate that an authority of the folder's own signs
    #[arg(long)]
    tls: bool,
    /// Print the configuration that the demo runs with, and start nothing
    #[arg(long)]
    print_config: bool,
}

pub(crate) fn demo(args: &Args) -> Result<Outcome, Failure> {
    if args.print_config {
        return print(&text(args.tls));
    }
    let folder = args.data.as_path();
    let chance =
        Chance::system().map_err(|error| Failure(format!("the system gives no randomness: {error}")))?;
    let SecretFile { path, created, warning } =
        ensure_secret(folder, &chance).map_err(|error| Failure(error.to_string()))?;
    let admin_token = ensure_admin_token(folder, &chance).map_err(|error| Failure(error.to_string()))?;
    for warning in [warning, admin_token.warning].into_iter().flatten() {
        say(&format!("warning: {warning}"));
    }
    // What is wrong with the key is told better by those who know it as one.
    demo_config(folder).map_err(|error| Failure(error.to_string()))?;
    let authority = if args.tls { Some(authority::ensure(folder)?) } else { None };
    let config = Config::from_toml(&text(args.tls), folder, &|_| None)
        .map_err(|problems| Failure(format!("the demo's configuration has {problems}")))?;
    let log = Log::to_file(&config.log, &folder.join(LOG_FILE))?;
    let key = config.auth.values().next().and_then(|auth| auth.keys.secret().cloned());
    let key = key.ok_or_else(|| Failure("the demo has no key".to_owned()))?;
    let now = Clock::system().unix_now();
    let claims = json!({
        "sub": "demo",
        "iat": now.seconds(),
        "exp": now.plus(TOKEN_LIFETIME).seconds(),
    });
    let token = claims.as_object().map(|claims| sign_hs256(&key, claims)).unwrap_or_default();
    run::serve(config, &log, Service::none(), Some(&other_ports(folder, args.tls)), |server| {
        let welcome = Welcome {
            program: std::env::args().next().unwrap_or_else(|| "drawgate".to_owned()),
            folder,
            token,
            secret: &path,
            secret_is_new: created,
            authority: authority.as_deref(),
            has_ipv6: server.addresses().any(|(name, _)| name == "echo_ipv6"),
            admin_token: &admin_token.path,
        };
        if let Some(address) = server.admin_address() {
            admin::remember(folder, address, ADMIN_FILE_NAME)?;
        }
        print(&welcome.to_string()).map(|_| ())
    })
}

/// How to have the demo elsewhere: its ports are what its configuration says.
fn other_ports(folder: &Path, tls: bool) -> String {
    let file = folder.join("demo.toml");
    let file = file.display();
    let tls = if tls { " --tls" } else { "" };
    format!(
        "for other ports than the demo's: drawgate demo{tls} --print-config > {file}, change them there, then \
         drawgate run --config {file}"
    )
}

/// The configuration, encrypted or not.
fn text(tls: bool) -> String {
    if !tls {
        return demo_text().to_owned();
    }
    demo_text()
        .replace(
            "tls = \"none\"                        # plain ws://; only this machine can connect",
            "tls = { certificate_file = \"cert.pem\", private_key_file = \"key.pem\" }   # signed by ca.pem",
        )
        .replace(
            "tls = \"none\"",
            "tls = { certificate_file = \"cert.pem\", private_key_file = \"key.pem\" }",
        )
}

/// What a newcomer needs to see: where the servers are, a token, and what to type next.
struct Welcome<'a> {
    /// As it was called, so that what is printed can be typed.
    program: String,
    folder: &'a Path,
    token: String,
    secret: &'a Path,
    secret_is_new: bool,
    /// Who has signed the certificate, where there is one.
    authority: Option<&'a Path>,
    has_ipv6: bool,
    /// The file with the token that opens the admin listener.
    admin_token: &'a Path,
}

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, token, .. } = self;
        let (scheme, pad) = if self.authority.is_some() { ("wss", "") } else { ("ws", " ") };
        let ipv6 = if self.has_ipv6 {
            format!("  {scheme}://[::1]:8765{pad}               the same, over IPv6\n")
        } else {
            String::new()
        };
        let ca = self.authority.map(|file| format!(" --ca {}", file.display())).unwrap_or_default();
        let data = if self.folder == Path::new(DATA_FOLDER) {
            String::new()
        } else {
            format!(" --data {}", self.folder.display())
        };
        let secret = self.secret.display();
        let admin_token = self.admin_token.display();
        let made = if self.secret_is_new { "was made just now" } else { "is that of the last start" };
        write!(
            f,
            "Drawgate {version} is running; Ctrl-C ends it.

  {scheme}://127.0.0.1:8765{pad}           answers each message with: Server received: <message>
{ipv6}  {scheme}://127.0.0.1:8765/email{pad}     checks e-mail addresses, such as {{\"email\": \"ada@example.com\"}}
  {scheme}://127.0.0.1:8888{pad}           the same, to whoever sends a valid token as the first message
  http://127.0.0.1:9090/metrics  what happens, in numbers; there are /healthz and /readyz, too

A token for \"demo\", valid for one hour:

  {token}

Try it in another terminal; any other WebSocket client will do as well:

  {program} connect {scheme}://127.0.0.1:8765{ca}
      type a line, and it comes back
  {program} token issue --subject alice{data} | {program} connect {scheme}://127.0.0.1:8888{ca}
      Authenticated!
  {program} token issue --subject alice --expires-in -1h{data} | {program} connect {scheme}://127.0.0.1:8888{ca}
      Token Expired
  {program} sessions{data}
      who is connected with a token; revoke, ban and unban change who may be

The key that signs tokens is {secret}; it {made}. The logs lie beside it.
Whoever has the token in {admin_token} may see and end sessions: {program} help sessions
",
            version = env!("CARGO_PKG_VERSION"),
        )?;
        self.authority.map_or(Ok(()), |authority| write!(f, "{}", Trust(authority)))
    }
}

/// How clients come to trust the certificate.
struct Trust<'a>(&'a Path);

impl fmt::Display for Trust<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.0.display();
        write!(
            f,
            "
The certificate is signed by an authority of this folder's own, {file}, of which clients must be told:

  curl      curl --cacert {file} https://127.0.0.1:8765/
  Python    ssl.create_default_context(cafile=\"{file}\")
  Node      NODE_EXTRA_CA_CERTS={file} node client.js
  browsers  import {file} in the settings for certificates, as an authority for web sites;
            it can vouch for localhost, 127.0.0.0/8 and ::1 alone. Take it out again when you are done.
"
        )
    }
}

/// The demo's own log: the terminal is for people.
const LOG_FILE: &str = "drawgate.log";
const TOKEN_LIFETIME: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn made(folder: &str, secret_is_new: bool, has_ipv6: bool) -> Welcome<'_> {
        Welcome {
            program: "drawgate".to_owned(),
            folder: Path::new(folder),
            token: "a.b.c".to_owned(),
            secret: Path::new(if folder == DATA_FOLDER {
                "drawgate-data/token.secret"
            } else {
                "token.secret"
            }),
            secret_is_new,
            authority: None,
            has_ipv6,
            admin_token: Path::new("drawgate-data/admin.token"),
        }
    }

    #[test]
    fn the_welcome_names_addresses_and_commands_that_can_be_typed() {
        let welcome =
            |folder: &str, secret_is_new, has_ipv6| made(folder, secret_is_new, has_ipv6).to_string();
        let text = welcome(DATA_FOLDER, true, true);
        for line in [
            "  ws://[::1]:8765                the same, over IPv6\n",
            "\n  a.b.c\n",
            "\n  drawgate connect ws://127.0.0.1:8765\n",
            "\n  drawgate token issue --subject alice --expires-in -1h | drawgate connect ws://127.0.0.1:8888\n",
            "\nThe key that signs tokens is drawgate-data/token.secret; it was made just now. ",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let encrypted =
            Welcome { authority: Some(Path::new("/tmp/x/ca.pem")), ..made("/tmp/x", false, true) };
        let text = encrypted.to_string();
        for line in [
            "  wss://127.0.0.1:8765           answers",
            "\n  wss://[::1]:8765               the same, over IPv6\n",
            "\n  drawgate connect wss://127.0.0.1:8765 --ca /tmp/x/ca.pem\n",
            "--data /tmp/x | drawgate connect wss://127.0.0.1:8888 --ca /tmp/x/ca.pem\n",
            "curl --cacert /tmp/x/ca.pem https://127.0.0.1:8765/\n",
            "ssl.create_default_context(cafile=\"/tmp/x/ca.pem\")\n",
            "NODE_EXTRA_CA_CERTS=/tmp/x/ca.pem node",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains(" ws://"), "{text}");
        let text = welcome("/tmp/x", false, false);
        assert!(!text.contains("[::1]"), "{text}");
        assert!(text.contains(" --expires-in -1h --data /tmp/x | drawgate connect "), "{text}");
        assert!(text.contains("token.secret; it is that of the last start."), "{text}");
        // What the welcome says is what the configuration says.
        for address in ["127.0.0.1:8765", "[::1]:8765", "127.0.0.1:8888", "127.0.0.1:9090"] {
            assert!(demo_text().contains(&format!("address = \"{address}\"")), "{address}");
        }
    }
}
