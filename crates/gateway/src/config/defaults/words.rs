//! The settings that are no numbers, each with its default and the reason for it, and those that have no default at all.
//!
//! Beside the numbers of `defaults.rs` this is the other half of docs/defaults.md.

use super::{ADMIN, ADMIN_HOSTS, ADMIN_TLS, ADMIN_TOKENS, last_segment};

/// A setting that is no number: its default, and why.
#[derive(Debug)]
pub(in crate::config) struct Word {
    /// The key path with `*` for names.
    pub(in crate::config) key: &'static str,
    /// The default as a configuration writes it, or what its absence means.
    pub(in crate::config) default: &'static str,
    /// What may be written.
    pub(in crate::config) allowed: &'static str,
    /// Why the default is what it is.
    pub(in crate::config) reason: &'static str,
}

impl Word {
    /// The name within its table.
    pub(in crate::config) fn name(&self) -> &'static str {
        last_segment(self.key)
    }

    /// Whether the default is written as TOML; the others say what absence means.
    pub(in crate::config) fn is_toml(&self) -> bool {
        self.default.starts_with(['"', '[']) || self.default == "true"
    }

    /// The default without its quotes, where it is a choice of words.
    pub(in crate::config) fn choice(&self) -> &'static str {
        self.default.trim_matches('"')
    }
}

/// A setting without a default: what to write, and why nothing is assumed.
#[derive(Debug)]
pub(in crate::config) struct Required {
    /// The key path with `*` for names.
    pub(in crate::config) key: &'static str,
    /// What may be written.
    pub(in crate::config) allowed: &'static str,
    /// Why there is no default.
    pub(in crate::config) reason: &'static str,
}

pub(in crate::config) static RELOAD_ON_CHANGE: Word = Word {
    key: "server.reload_on_change",
    default: "false",
    allowed: "true, false",
    reason: "Whoever saves a file half done does not mean it yet; SIGHUP and drawgate reload say when it is. Where files are only ever replaced whole, as from a ConfigMap, write true.",
};
pub(in crate::config) static LISTENER_REQUIRED: Word = Word {
    key: "listeners.*.required",
    default: "true",
    allowed: "true, false",
    reason: "A gateway that serves half of its addresses looks healthy; where an address family may be missing, say so.",
};
pub(in crate::config) static PROXY_PROTOCOL: Word = Word {
    key: "listeners.*.proxy_protocol",
    default: "connections begin with TLS or HTTP",
    allowed: "\"v1\", \"v2\", \"any\"",
    reason: "With it every connection must begin with a PROXY header, and only trusted_proxies may connect: there is no guessing.",
};
pub(in crate::config) static CLIENT_CA_FILE: Word = Word {
    key: "listeners.*.tls.client_ca_file",
    default: "clients are not asked for a certificate",
    allowed: "a PEM file, relative to the configuration's folder",
    reason: "Few clients have a certificate; those who demand one know whose.",
};
pub(in crate::config) static CLIENT_AUTH: Word = Word {
    key: "listeners.*.tls.client_auth",
    default: "required, with client_ca_file",
    allowed: "\"required\", \"optional\"",
    reason: "Who names authorities means to let nobody else in.",
};
pub(in crate::config) static ON_REFUSAL: Word = Word {
    key: "routes.*.inspect.on_refusal",
    default: "\"notice\"",
    allowed: "\"notice\", \"close\"",
    reason: "One bad message says little about the next; the client is told as the route's notice says, and may go on.",
};
pub(in crate::config) static REPLIES_ON_REFUSAL: Word = Word {
    key: "routes.*.inspect_replies.on_refusal",
    default: "\"drop\"",
    allowed: "\"drop\", \"close\"",
    reason: "The client can do nothing about it and loses one answer; the operator has the record.",
};
pub(in crate::config) static INSPECT_SCHEMA_FILE: Word = Word {
    key: "routes.*.inspect.schema_file",
    default: "messages may say anything",
    allowed: "a file with a JSON Schema 2020-12, relative to the configuration's folder",
    reason: "What messages say is the application's to know (docs/validation.md).",
};
pub(in crate::config) static INSPECT_SCHEMA: Word = Word {
    key: "routes.*.inspect.schema",
    default: "as schema_file",
    allowed: "a JSON Schema as text, instead of schema_file",
    reason: "A small one is read best where it is used.",
};
pub(in crate::config) static INSPECT_SCHEMAS: Word = Word {
    key: "routes.*.inspect.schemas",
    default: "as schema_file",
    allowed: "{ member, files = { TYPE = \"FILE\" }, unknown = \"refuse\" or \"pass\" }, instead of schema_file",
    reason: "Protocols of several messages name the type in one of them; what becomes of other types must be said.",
};
pub(in crate::config) static INSPECT_RULES: Word = Word {
    key: "routes.*.inspect.rules",
    default: "no rules",
    allowed: "a list of { name, when = \"CEL\", then = \"refuse\", \"close\", \"drop\" or \"log\", shadow = true or false }",
    reason: "What a message may ask for is the application's to say (docs/policy.md).",
};
pub(in crate::config) static INSPECT_REPLIES_SCHEMA_FILE: Word = Word {
    key: "routes.*.inspect_replies.schema_file",
    default: "messages may say anything",
    allowed: "a file with a JSON Schema 2020-12, relative to the configuration's folder",
    reason: "What messages say is the application's to know (docs/validation.md).",
};
pub(in crate::config) static INSPECT_REPLIES_SCHEMA: Word = Word {
    key: "routes.*.inspect_replies.schema",
    default: "as schema_file",
    allowed: "a JSON Schema as text, instead of schema_file",
    reason: "A small one is read best where it is used.",
};
pub(in crate::config) static INSPECT_REPLIES_SCHEMAS: Word = Word {
    key: "routes.*.inspect_replies.schemas",
    default: "as schema_file",
    allowed: "{ member, files = { TYPE = \"FILE\" }, unknown = \"refuse\" or \"pass\" }, instead of schema_file",
    reason: "Protocols of several messages name the type in one of them; what becomes of other types must be said.",
};
pub(in crate::config) static INSPECT_REPLIES_RULES: Word = Word {
    key: "routes.*.inspect_replies.rules",
    default: "no rules",
    allowed: "a list of { name, when = \"CEL\", then = \"refuse\", \"close\", \"drop\" or \"log\", shadow = true or false }",
    reason: "As for what clients send.",
};
pub(in crate::config) static JSON_REFUSED: Word = Word {
    key: "routes.*.json.refused_characters",
    default: "all that JSON has may stand in strings and names",
    allowed: "a list of \"nul\", \"bidi\", \"zero_width\"",
    reason: "Messages of people hold them rightly: right-to-left scripts, emoji. Where strings are names or addresses, refuse them.",
};
pub(in crate::config) static HOSTS: Word = Word {
    key: "routes.*.hosts",
    default: "any host",
    allowed: "a list of host names, without ports",
    reason: "One application behind one gateway needs no list; path and origins are checked all the same.",
};
pub(in crate::config) static NOTICE: Word = Word {
    key: "routes.*.notice",
    default: "\"close\"",
    allowed: "\"close\", \"json\", \"text\"",
    reason: "The close code and reason are always sent; messages that the application did not define could confuse it.",
};
pub(in crate::config) static REFUSE: Word = Word {
    key: "routes.*.refuse",
    default: "\"http\"",
    allowed: "\"http\" or \"close\"",
    reason: "A refusal is an HTTP status, as RFC 6455 has it; browsers keep it from scripts, which \"close\" tells by code.",
};
pub(in crate::config) static ECHO_PREFIX: Word = Word {
    key: "routes.*.backend.echo.prefix",
    default: "\"\"",
    allowed: "a string of at most 1024 bytes",
    reason: "An echo is verbatim unless it is told otherwise.",
};
pub(in crate::config) static COMPRESSION: Word = Word {
    key: "routes.*.limits.compression",
    default: "\"off\"",
    allowed: "\"off\", \"on\"",
    reason: "Compression costs memory for each connection and can leak secrets that share a message with foreign text.",
};
pub(in crate::config) static BALANCE: Word = Word {
    key: "routes.*.backend.balance",
    default: "\"least_connections\"",
    allowed: "\"least_connections\", \"round_robin\", { hash = \"subject\" }, { hash = \"client\" }, or { hash = { header = \"X-Room\" } }",
    reason: "Connections last for hours: whoever has the fewest has the most room, however they came about.",
};
pub(in crate::config) static UPSTREAM_COMPRESSION: Word = Word {
    key: "routes.*.backend.compression",
    default: "\"off\"",
    allowed: "\"off\", \"on\"",
    reason: "Between machines in one place bytes cost less than the time to deflate them, and secrets can leak as they do towards clients.",
};
pub(in crate::config) static HEALTH: Word = Word {
    key: "routes.*.backend.health",
    default: "applications are not asked whether they are well",
    allowed: "{ kind = \"tcp\", \"http\" or \"websocket\", path = \"/healthz\", … }",
    reason: "What an application answers when nobody is there is for it to say; connections that fail are seen anyway.",
};
pub(in crate::config) static HEALTH_PATH: Word = Word {
    key: "routes.*.backend.health.path",
    default: "the address's own, or `/`; with `kind = \"http\"` it must be written",
    allowed: "a path, perhaps with a query",
    reason: "A WebSocket application that takes clients anywhere takes a check there.",
};
pub(in crate::config) static UPSTREAM_CERTIFICATE_FILE: Word = Word {
    key: "routes.*.backend.certificate_file",
    default: "no certificate is shown to applications",
    allowed: "a PEM file, relative to the configuration's folder, beside private_key_file; for `wss:` addresses",
    reason: "Most applications know the gateway by where it connects from; one that asks for a certificate says whose it takes.",
};
pub(in crate::config) static UPSTREAM_PRIVATE_KEY_FILE: Word = Word {
    key: "routes.*.backend.private_key_file",
    default: "as certificate_file",
    allowed: "the PEM file of that certificate's key",
    reason: "Without its key a certificate proves nothing.",
};
pub(in crate::config) static UPSTREAM_SERVER_NAME: Word = Word {
    key: "routes.*.backend.server_name",
    default: "the host of each address",
    allowed: "a host name or an IP address; for `wss:` addresses",
    reason: "Whoever is connected to proves to be whom the address names. Where that is an IP address or a balancer's name, say whose certificate it is.",
};
pub(in crate::config) static UPSTREAM_HOST: Word = Word {
    key: "routes.*.backend.host",
    default: "\"client\"",
    allowed: "\"client\", \"address\", or { set = \"app.internal\" }",
    reason: "Applications make links of it and compare it with Origin; one that is chosen by its name wants \"address\", which is that of `urls`.",
};
pub(in crate::config) static UPSTREAM_ORIGIN: Word = Word {
    key: "routes.*.backend.origin",
    default: "\"client\"",
    allowed: "\"client\", \"none\", or { set = \"https://app.example.com\" }",
    reason: "An application that checks it goes on doing so; what was checked here may be set where it checks for one page alone.",
};
pub(in crate::config) static UPSTREAM_COOKIES: Word = Word {
    key: "routes.*.backend.cookies",
    default: "\"all\"",
    allowed: "\"all\", \"none\", or a list of their names",
    reason: "Applications find their sessions by them; a credential that is checked here never goes on. The same for what the answer sets.",
};
pub(in crate::config) static ANSWER_HEADERS: Word = Word {
    key: "routes.*.backend.answer_headers",
    default: "the subprotocol and the cookies alone",
    allowed: "a list of names of headers",
    reason: "What an application says of itself to the gate is not meant for clients: its version, addresses within.",
};
pub(in crate::config) static IDENTITY_SUBJECT: Word = Word {
    key: "routes.*.backend.identity.subject",
    default: "\"X-Drawgate-Subject\"",
    allowed: "the name of a header",
    reason: "No other gateway's, so that what it says is ours. An application that reads another name goes on doing so.",
};
pub(in crate::config) static IDENTITY_SESSION: Word = Word {
    key: "routes.*.backend.identity.session",
    default: "\"X-Drawgate-Session\"",
    allowed: "the name of a header",
    reason: "As for the subject.",
};
pub(in crate::config) static IDENTITY_CLAIMS: Word = Word {
    key: "routes.*.backend.identity.claims",
    default: "no claim goes on",
    allowed: "{ X-User-Email = \"email\" }: headers, and the claims that they say",
    reason: "Which claims an application needs is for it to say; others are nobody's business.",
};
pub(in crate::config) static OVER_RATE: Word = Word {
    key: "routes.*.limits.over_rate",
    default: "\"close\"",
    allowed: "\"close\", \"slow\"",
    reason: "A client that is told can mend its ways; one that is only slowed looks like a slow network.",
};
pub(in crate::config) static TOKEN_TYPES: Word = Word {
    key: "auth.*.token_types",
    default: "absent, JWT or at+jwt",
    allowed: "a list of what `typ` must be one of, such as [\"at+jwt\"]",
    reason: "Most issuers write `JWT` or nothing. Where an ID token has the same audience as an access token, demand a type \
             that it has not.",
};
pub(in crate::config) static SUBJECT_CLAIMS: Word = Word {
    key: "auth.*.subject_claims",
    default: "[\"sub\"]",
    allowed: "a list of claim names",
    reason: "RFC 7519 §4.1.2 names the subject `sub`.",
};
pub(in crate::config) static SESSIONS_AT_LIMIT: Word = Word {
    key: "auth.*.sessions_at_limit",
    default: "\"refuse\"",
    allowed: "\"refuse\", \"end_oldest\"",
    reason: "Nobody who has got hold of a token ends the sessions of its owner.",
};
pub(in crate::config) static REFRESH: Word = Word {
    key: "auth.*.refresh",
    default: "\"off\"",
    allowed: "\"off\", \"on\"",
    reason: "Without it every text is the application's; with it one that begins `drawgate.refresh ` is ours.",
};
pub(in crate::config) static ALLOW: Word = Word {
    key: "firewall.allow",
    default: "every address",
    allowed: "a list of networks, `[\"192.0.2.0/24\", \"2001:db8::/32\"]`",
    reason: "Who is not known cannot be listed; where all clients are, a list keeps out everybody else.",
};
pub(in crate::config) static DENY: Word = Word {
    key: "firewall.deny",
    default: "no address",
    allowed: "a list of networks; the longest that matches counts, and deny on a tie",
    reason: "Nobody is kept out unless somebody said so.",
};
pub(in crate::config) static TRUSTED_PROXIES: Word = Word {
    key: "firewall.trusted_proxies",
    default: "[]",
    allowed: "a list of networks such as [\"10.0.0.0/8\", \"2001:db8::/32\"]",
    reason: "Who is trusted can be any client that it likes, past every limit and ban.",
};
pub(in crate::config) static CLIENT_ADDRESS_HEADER: Word = Word {
    key: "firewall.client_address_header",
    default: "\"none\"",
    allowed: "\"none\", \"forwarded\", \"x_forwarded_for\"",
    reason: "A proxy passes on, as clients wrote it, the header that it does not set: only the operator knows which one that is.",
};
pub(in crate::config) static LOG_LEVEL: Word = Word {
    key: "log.level",
    default: "\"info\"",
    allowed: "\"error\", \"warn\", \"info\", \"debug\", \"trace\"",
    reason: "One record when a connection opens and one when it ends; never one a message.",
};
pub(in crate::config) static LOG_FORMAT: Word = Word {
    key: "log.format",
    default: "\"json\"",
    allowed: "\"json\", \"text\"",
    reason: "Fields stay apart whatever a peer sends, and every log system reads it.",
};
pub(in crate::config) static ERROR_FILE: Word = Word {
    key: "log.error_file",
    default: "no file",
    allowed: "{ path = \"…\", bytes_max = \"…\", files_max = … }",
    reason: "Writing to disk is for the operator to ask for; the same records are in the log.",
};
pub(in crate::config) static STATE: Word = Word {
    key: "state",
    default: "nothing outlives the process",
    allowed: "a table with `store`",
    reason: "Writing to disk is for the operator to ask for. Without it a restart forgets revocations and bans.",
};
pub(in crate::config) static STATE_DIRECTORY: Word = Word {
    key: "state.directory",
    default: "`drawgate-data`",
    allowed: "a folder, relative to the configuration's",
    reason: "Beside the configuration it is found again. It is made where it is missing, for this user alone.",
};
/// Every [`Word`], in the order of docs/defaults.md.
pub(in crate::config) static WORDS: [&Word; 53] = [
    &RELOAD_ON_CHANGE,
    &LISTENER_REQUIRED,
    &PROXY_PROTOCOL,
    &CLIENT_CA_FILE,
    &CLIENT_AUTH,
    &HOSTS,
    &NOTICE,
    &REFUSE,
    &ON_REFUSAL,
    &REPLIES_ON_REFUSAL,
    &INSPECT_SCHEMA_FILE,
    &INSPECT_SCHEMA,
    &INSPECT_SCHEMAS,
    &INSPECT_RULES,
    &INSPECT_REPLIES_SCHEMA_FILE,
    &INSPECT_REPLIES_SCHEMA,
    &INSPECT_REPLIES_SCHEMAS,
    &INSPECT_REPLIES_RULES,
    &JSON_REFUSED,
    &ECHO_PREFIX,
    &COMPRESSION,
    &OVER_RATE,
    &BALANCE,
    &UPSTREAM_CERTIFICATE_FILE,
    &UPSTREAM_PRIVATE_KEY_FILE,
    &UPSTREAM_SERVER_NAME,
    &UPSTREAM_COMPRESSION,
    &HEALTH,
    &HEALTH_PATH,
    &UPSTREAM_HOST,
    &UPSTREAM_ORIGIN,
    &UPSTREAM_COOKIES,
    &ANSWER_HEADERS,
    &IDENTITY_SUBJECT,
    &IDENTITY_SESSION,
    &IDENTITY_CLAIMS,
    &TOKEN_TYPES,
    &SUBJECT_CLAIMS,
    &SESSIONS_AT_LIMIT,
    &REFRESH,
    &ALLOW,
    &DENY,
    &TRUSTED_PROXIES,
    &CLIENT_ADDRESS_HEADER,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &ERROR_FILE,
    &STATE,
    &STATE_DIRECTORY,
    &ADMIN,
    &ADMIN_TLS,
    &ADMIN_HOSTS,
    &ADMIN_TOKENS,
];

/// What must be written out, in the order of docs/defaults.md.
pub(in crate::config) static REQUIRED: [Required; 29] = [
    Required {
        key: "listeners",
        allowed: "at least one table [listeners.NAME]",
        reason: "Without one there is nothing to connect to.",
    },
    Required {
        key: "routes",
        allowed: "at least one table [routes.NAME]",
        reason: "Without one every request is refused.",
    },
    Required {
        key: "routes.*.seal.key_id",
        allowed: "1 to 64 of A-Z a-z 0-9 . _ -",
        reason: "Clients find the key by it; a key that follows another has another name.",
    },
    Required {
        key: "routes.*.seal.secret_file",
        allowed: "a file of 32 to",
        reason: "Whoever has the key reads the messages: there is none that a program could come with.",
    },
    Required {
        key: "routes.*.inspect.format",
        allowed: "\"text\", \"binary\", \"json\" or \"any\"",
        reason: "What messages are is the application's to say; a guess would refuse good ones or let bad ones through.",
    },
    Required {
        key: "routes.*.inspect_replies.format",
        allowed: "\"text\", \"binary\", \"json\" or \"any\"",
        reason: "As for what clients send.",
    },
    Required {
        key: "listeners.*.address",
        allowed: "an IP address and a port: \"127.0.0.1:8765\", \"[::1]:8765\"",
        reason: "Who can reach the gateway is the first security choice.",
    },
    Required {
        key: "listeners.*.tls",
        allowed: "\"none\", or { certificate_file = \"…\", private_key_file = \"…\" }",
        reason: "Unencrypted traffic must be somebody's decision.",
    },
    Required {
        key: "listeners.*.tls.certificate_file",
        allowed: "a PEM file, relative to the configuration's folder",
        reason: "Clients know the gateway by it.",
    },
    Required {
        key: "listeners.*.tls.private_key_file",
        allowed: "the PEM file of the certificate's key",
        reason: "Without its key a certificate proves nothing.",
    },
    Required {
        key: "routes.*.listeners",
        allowed: "a list of names of [listeners.NAME] tables",
        reason: "A route must not appear on a listener that is added later.",
    },
    Required {
        key: "routes.*.path",
        allowed: "a path \"/chat\", or \"/chat/*\" for all below it",
        reason: "What a route takes decides who reaches its backend.",
    },
    Required {
        key: "routes.*.origins",
        allowed: "\"any\", \"same\", or a list such as [\"https://app.example.com\"]",
        reason: "Which web pages may connect is a security choice (RFC 6455 §10.2).",
    },
    Required {
        key: "routes.*.auth",
        allowed: "the name of an [auth.NAME] table, or \"none\"",
        reason: "An open route must be somebody's decision.",
    },
    Required {
        key: "routes.*.backend",
        allowed: "{ urls = [\"ws://127.0.0.1:9000\"] }, \"echo\", or { echo = { prefix = \"…\" } }",
        reason: "Messages must go somewhere.",
    },
    Required {
        key: "routes.*.backend.health.kind",
        allowed: "\"tcp\", \"http\" or \"websocket\"",
        reason: "That a port is open says little, and what else says more the application knows.",
    },
    Required {
        key: "auth.*.credentials",
        allowed: "[\"first_message\"], or { client_certificate = \"subject\" } in the list",
        reason: "Each place that a credential is taken from is a door.",
    },
    Required {
        key: "auth.*.algorithms",
        allowed: "a list such as [\"ES256\"]: HS256, HS384, HS512 with a secret; RS256, RS384, RS512, PS256, PS384, PS512, \
                  ES256, ES384, EdDSA (or Ed25519, the same) with public keys",
        reason: "A token's own header must not choose how it is checked.",
    },
    Required {
        key: "auth.*.keys",
        allowed: "one of { secret_file = \"…\" }, { public_key_file = \"…\" }, { jwks_file = \"…\" }, { jwks_url = \"…\" } and \
                  { issuer_discovery = true }",
        reason: "There is no built-in key anywhere.",
    },
    Required {
        key: "auth.*.issuer",
        allowed: "what `iss` must be, or \"any\"",
        reason: "A key may sign for several issuers; accepting all of them must be somebody's decision.",
    },
    Required {
        key: "auth.*.audience",
        allowed: "what `aud` must be or contain, or \"any\"",
        reason: "A token for another service must not open this one by oversight.",
    },
    Required {
        key: "log.error_file.path",
        allowed: "a file, relative to the configuration's folder",
        reason: "A file needs a name.",
    },
    Required {
        key: "state.store",
        allowed: "\"embedded\", or \"none\"",
        reason: "Whether a revocation outlives a restart must be somebody's decision.",
    },
    Required {
        key: "audit.path",
        allowed: "a file, relative to the configuration's folder",
        reason: "A log needs a place.",
    },
    Required {
        key: "audit.key_file",
        allowed: "a file that `drawgate audit create` makes, relative to the configuration's folder",
        reason: "It must not be where the log is copied to.",
    },
    Required {
        key: "audit.when_full",
        allowed: "\"open\": traffic goes on and what is not recorded is counted; \"closed\": nobody is let in",
        reason: "Whether service or its record is given up first must be somebody's decision.",
    },
    Required {
        key: "admin.address",
        allowed: "a loopback address and a port: \"127.0.0.1:9090\"; another one with admin.tls",
        reason: "Metrics and health are not for everyone.",
    },
    Required {
        key: "admin.tokens.*.file",
        allowed: "a file of at least 32 bytes, relative to the configuration's folder",
        reason: "A token never stands in a configuration.",
    },
    Required {
        key: "admin.tokens.*.scopes",
        allowed: "a list of \"read\", \"operate\", \"tickets\"",
        reason: "What a token opens must be somebody's decision.",
    },
];
