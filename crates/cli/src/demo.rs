//! `drawgate demo`: two servers to try, through the same stages as any other configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use drawgate::Server;
use drawgate::auth::token::sign_hs256;
use drawgate::chance::Chance;
use drawgate::clock::Clock;
use drawgate::config::demo_text;
use serde_json::json;

use crate::logging::{Log, say};
use crate::token::{DATA_FOLDER, SecretFile, ensure_secret};
use crate::{Failure, Outcome, configuration, print, run};

/// `drawgate demo`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the key and the logs; it is made if it is not there
    #[arg(long, value_name = "DIR", default_value = DATA_FOLDER)]
    data: PathBuf,
    /// Print the configuration that the demo runs with, and start nothing
    #[arg(long)]
    print_config: bool,
}

pub(crate) fn demo(args: &Args) -> Result<Outcome, Failure> {
    if args.print_config {
        return print(demo_text());
    }
    let folder = args.data.as_path();
    let chance =
        Chance::system().map_err(|error| Failure(format!("the system gives no randomness: {error}")))?;
    let SecretFile { path, created, warning } = ensure_secret(folder, &chance).map_err(|error| {
        Failure(format!("{error}; name a folder that this user may write with: drawgate demo --data DIR"))
    })?;
    if let Some(warning) = warning {
        say(&format!("warning: {warning}"));
    }
    let config = configuration::parse(demo_text(), folder)?;
    let log = Log::to_file(&config.log, &folder.join(LOG_FILE))?;
    let key = config.auth.values().next().map(|auth| auth.key.clone());
    let key = key.ok_or_else(|| Failure("the demo has no key".to_owned()))?;
    let now = Clock::system().unix_now();
    let claims = json!({
        "sub": "demo",
        "iat": now.seconds(),
        "exp": now.plus(TOKEN_LIFETIME).seconds(),
    });
    let token = claims.as_object().map(|claims| sign_hs256(&key, claims)).unwrap_or_default();
    run::serve(config, &log, |server| {
        let text = welcome(server, folder, &token, created.then_some(path.as_path()));
        print(&text).map(|_| ())
    })
}

/// What a newcomer needs to see: where the servers are, a token, and what to type next.
fn welcome(server: &Server, folder: &Path, token: &str, created: Option<&Path>) -> String {
    let is_bound = |wanted: &str| server.addresses().any(|(name, _)| name == wanted);
    let program = std::env::args().next().unwrap_or_else(|| "drawgate".to_owned());
    let data = if folder == Path::new(DATA_FOLDER) {
        String::new()
    } else {
        format!(" --data {}", folder.display())
    };
    let ipv6 = if is_bound("echo_ipv6") { "   (and ws://[::1]:8765)" } else { "" };
    let secret = created.map(|path| format!("made a new key: {}\n\n", path.display())).unwrap_or_default();
    let folder = folder.display();
    format!(
        "{secret}Drawgate {version} is running.

  ws://127.0.0.1:8765              answers each message with: Server received: <message>{ipv6}
  ws://127.0.0.1:8888              wants a token as first message, then answers the same way
  http://127.0.0.1:9090/metrics    counts what happens; /healthz and /readyz are there too

A token for \"demo\", good for an hour:

  {token}

Try it, in another terminal:

  npx wscat -c ws://127.0.0.1:8765                             (or: python3 -m websockets ws://127.0.0.1:8765)
  {program} token issue --subject alice{data}
  {program} token issue --subject alice --expires-in -1h{data}   (send this one to port 8888: Token Expired)

The key and the logs are in {folder}. Ctrl-C ends the demo.
",
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// The demo's own log: the terminal is for people.
const LOG_FILE: &str = "drawgate.log";
const TOKEN_LIFETIME: Duration = Duration::from_hours(1);
