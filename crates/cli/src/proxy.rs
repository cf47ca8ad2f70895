//! `drawgate proxy`: one application behind a gate, without a file.
//!
//! What it runs with is a configuration like any other, which `--print-config` prints to go on from. What is not said is as the
//! defaults have it; pages of other origins are refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use drawgate::config::Config;
use drawgate::url::UpstreamUrl;

use crate::logging::{Log, say};
use crate::service::Service;
use crate::{Failure, Outcome, print, run};

/// `drawgate proxy`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where clients connect
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// Where the application is: `ws://HOST:PORT`, `wss://HOST` or `unix:/SOCKET`, and a path if it is to take the place of the client's
    #[arg(long, value_name = "URL")]
    to: UpstreamUrl,
    /// The authorities, in PEM, one of which must have signed the application's certificate; the system's without it
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print the configuration that this runs with, and start nothing
    #[arg(long)]
    print_config: bool,
}

pub(crate) fn proxy(args: &Args) -> Result<Outcome, Failure> {
    let text = text(args)?;
    if args.print_config {
        return print(&text);
    }
    let config = Config::from_toml(&text, Path::new("."), &|_| None)
        .map_err(|problems| Failure(format!("these arguments have {problems}")))?;
    let log = Log::to_stderr(&config.log)?;
    for warning in &config.warnings {
        say(&format!("warning: {warning}"));
    }
    let if_taken = "for another port: drawgate proxy --listen ADDRESS:PORT";
    run::serve(config, &log, Service::none(), Some(if_taken), |server| {
        let (address, to) = (server.address(), &args.to);
        print(&format!(
            "Drawgate passes ws://{address} on to {to}; Ctrl-C ends it.\n\n  \
             any path and host; pages of the same origin only; no credential is asked for; the default limits\n  \
             for more: drawgate proxy --to {to} --print-config > drawgate.toml, change it, then\n            \
             drawgate run --config drawgate.toml\n\n",
        ))
        .map(|_| ())
    })
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address and a port, such as 127.0.0.1:8080 or [::]:8080")
}

/// The configuration.
fn text(args: &Args) -> Result<String, Failure> {
    let ca_file = match args.ca.as_ref().map(|file| file.to_str()) {
        None => String::new(),
        Some(Some(file)) => format!(", ca_file = {}", quoted(file)),
        Some(None) => return Err(Failure("--ca names a file whose name is not UTF-8: rename it".to_owned())),
    };
    Ok(format!(
        "[listeners.main]\n\
         address = \"{listen}\"\n\
         tls = \"none\"                        # or {{ certificate_file = \"cert.pem\", private_key_file = \"key.pem\" }}\n\
         \n\
         [routes.app]\n\
         listeners = [\"main\"]\n\
         path = \"/*\"\n\
         origins = \"same\"                    # or a list such as [\"https://app.example.com\"]\n\
         auth = \"none\"                       # or the name of an [auth.NAME] table\n\
         backend = {{ urls = [\"{to}\"]{ca_file} }}\n",
        listen = args.listen,
        to = args.to,
    ))
}

/// `text` as a string of TOML.
fn quoted(text: &str) -> String {
    // What JSON escapes, TOML has the same escapes for.
    serde_json::Value::from(text).to_string()
}
