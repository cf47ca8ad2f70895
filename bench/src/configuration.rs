//! What the product is configured as, for each kind of it that is measured.
//!
//! One worker, no limit on what one address may do, a verbatim echo, and all else as it comes, but for what the kind is about.

use crate::sealed::KEY_ID;
use crate::server::{Kind, Ports};

/// The configuration of the product as `kind`; `None` if that is another program.
#[must_use]
pub fn of(kind: Kind, ports: Ports) -> Option<String> {
    let plain = plain(ports.server);
    let text = match kind {
        Kind::Drawgate => plain,
        Kind::DrawgateQuiet => plain.replace("level = \"info\"", "level = \"error\""),
        Kind::DrawgateTls => plain.replace(
            "tls = \"none\"",
            "tls = { certificate_file = \"cert.pem\", private_key_file = \"key.pem\" }",
        ),
        Kind::DrawgateToken => with_token(&plain),
        Kind::DrawgateGuarded => guarded(&with_token(&plain), ports.admin),
        Kind::DrawgateRelay => relay(&plain, ports),
        Kind::DrawgateRelayHmac => by_secret(&relay(&plain, ports)),
        Kind::DrawgateSchema => relay(&plain, ports) + &inspecting(""),
        Kind::DrawgateRules => relay(&plain, ports) + &inspecting(RULES),
        Kind::DrawgateSealed => {
            let seal = format!("key_id = \"{KEY_ID}\"\nsecret_file = \"{SEAL_KEY_FILE}\"\n");
            relay(&plain, ports) + "\n[routes.echo.seal]\n" + &seal
        }
        Kind::BareEcho
        | Kind::BareTokio
        | Kind::BareHandshake
        | Kind::BareVerifying
        | Kind::BareTls
        | Kind::BareRelay
        | Kind::Nginx
        | Kind::HaProxy
        | Kind::Caddy
        | Kind::FastWebSockets
        | Kind::TokioWebSockets
        | Kind::Tungstenite
        | Kind::NodeWs
        | Kind::PythonWebSockets => return None,
    };
    Some(text)
}

fn plain(port: u16) -> String {
    format!(
        r#"[server]
workers = 1
drain_timeout = "1s"

[listeners.bench]
address = "127.0.0.1:{port}"
tls = "none"

[routes.echo]
listeners = ["bench"]
path = "/"
origins = "any"
auth = "none"
backend = "echo"

[firewall]
connections_per_client_max = "unlimited"
handshakes_per_client_per_minute = "unlimited"

[log]
level = "info"
"#
    )
}

/// Nobody is let in without a token of the issuer's.
fn with_token(plain: &str) -> String {
    let users = format!(
        r#"
[auth.users]
credentials = ["authorization_header"]
algorithms = ["ES256"]
keys = {{ public_key_file = "{PUBLIC_KEY_FILE}" }}
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
"#
    );
    plain.replace("auth = \"none\"", "auth = \"users\"") + &users
}

/// The same, where tokens are signed by the secret that the issuer shares with the gate.
fn by_secret(text: &str) -> String {
    let [public_key, secret] = [("public_key_file", PUBLIC_KEY_FILE), ("secret_file", SECRET_FILE)]
        .map(|(source, file)| format!("{source} = \"{file}\""));
    text.replace("\"ES256\"", "\"HS256\"").replace(&public_key, &secret)
}

/// Every limit that is off by default is on, and so high that nobody reaches it. No ping is due while anything is measured.
fn guarded(text: &str, admin_port: u16) -> String {
    text.replace("= \"unlimited\"", "= 1000000000")
        + &format!(
            r#"sessions_per_subject_max = 100000
refresh = "on"

[routes.echo.limits]
ping_interval = "1h"
idle_timeout = "1h"
session_time_max = "12h"

[admin]
address = "127.0.0.1:{admin_port}"
tokens.operator = {{ file = "{ADMIN_TOKEN_FILE}", scopes = ["operate"] }}
"#
        )
}

/// In front of an application.
fn relay(plain: &str, ports: Ports) -> String {
    let backend = format!("backend = {{ urls = [\"ws://127.0.0.1:{}\"] }}", ports.upstream);
    guarded(&with_token(plain), ports.admin).replace("backend = \"echo\"", &backend)
}

/// Messages are orders, as `part/validation.rs` has them, or of another type.
fn inspecting(rules: &str) -> String {
    // A dollar of its own is written twice in a configuration.
    let schema = SCHEMA.replace('$', "$$");
    format!("\n[routes.echo.inspect]\nformat = \"json\"\nschema = '{schema}'\n{rules}")
}

const SCHEMA: &str = r##"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["type"],"properties":{"type":{"type":"string","maxLength":64}},"if":{"properties":{"type":{"const":"order.place"}}},"then":{"required":["id","email","at","items"],"additionalProperties":false,"properties":{"type":true,"id":{"type":"string","format":"uuid"},"email":{"type":"string","format":"email"},"at":{"type":"string","format":"date-time"},"note":{"type":"string","maxLength":2000},"items":{"type":"array","minItems":1,"maxItems":100,"items":{"$ref":"#/$defs/item"}}}},"$defs":{"item":{"type":"object","required":["sku","count","cents"],"additionalProperties":false,"properties":{"sku":{"type":"string","pattern":"^SKU-[0-9]{5}$"},"name":{"type":"string","maxLength":100},"count":{"type":"integer","minimum":1,"maximum":99},"cents":{"type":"integer","minimum":0}}}}}"##;
const RULES: &str = r#"rules = [
  { name = "admins only", when = 'message.type.startsWith("admin.") && !("admin" in claims.roles)', then = "refuse" },
  { name = "own address", when = 'has(message.email) && message.email == "root@example.com" && session.subject != "root"', then = "refuse" },
  { name = "large orders", when = 'has(message.items) && size(message.items) > 50', then = "refuse" },
  { name = "dear things", when = 'has(message.items) && message.items.exists(item, item.cents > 1000000)', then = "log" },
  { name = "near by", when = '!client.address.inNetwork("127.0.0.0/8")', then = "close" },
]
"#;

/// The issuer's public key, beside the configuration.
pub const PUBLIC_KEY_FILE: &str = "issuer.pem";
/// The secret by which the issuer signs HS256 tokens, also beside it.
pub const SECRET_FILE: &str = "issuer.secret";
/// What the operator shows, also beside it.
pub const ADMIN_TOKEN_FILE: &str = "admin.token";
/// What messages are sealed under, also beside it.
pub const SEAL_KEY_FILE: &str = "seal.key";
/// Who signs tokens.
pub const ISSUER: &str = "https://issuer.example.com/";
/// Whom they are for.
pub const AUDIENCE: &str = "wss://chat.example.com/";
