//! Reads `[routes.NAME.seal]`: the key under which a route's messages are sealed.

use crate::config::keys;
use crate::config::read::{Context, Value};
use crate::inspect::seal::{Config, KeyId};

pub(super) fn seal(context: &mut Context<'_>, value: &Value<'_>) -> Option<Config> {
    let mut table = value.table(context)?;
    let key_id = table.required(context, "key_id").and_then(|value| {
        let key_id = KeyId::parse(&value.text(context)?);
        if key_id.is_none() {
            value.not_allowed(context, "is no name of a key", KEY_ID_ADVICE);
        }
        key_id
    });
    let secret = table.required(context, "secret_file").and_then(|value| keys::secret_file(context, &value));
    table.finish(context);
    Some(Config::new(key_id?, secret?))
}

const KEY_ID_ADVICE: &str = "write 1 to 64 of A-Z a-z 0-9 . _ -, such as \"2026-11\"";
