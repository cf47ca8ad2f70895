//! docs/defaults.md: the tables of `defaults.rs` as a page. Writes no file; a test compares, and writes where told to.

use super::defaults::{AMOUNTS, Amount, REQUIRED, WORDS, Word};

/// Every default of the configuration with its bounds and its reason, and what has none: docs/defaults.md.
#[must_use]
pub fn defaults_page() -> String {
    let numbers: String = AMOUNTS.iter().map(|amount| amount_row(amount)).collect();
    let choices: String = WORDS.iter().map(|word| word_row(word)).collect();
    let required: String = REQUIRED
        .iter()
        .map(|required| format!("| `{}` | {} | {} |\n", required.key, required.allowed, required.reason))
        .collect();
    format!(
        "{PAGE_HEAD}\n## Numbers\n\n{ROWS_HEAD}{numbers}\n## Choices\n\n{ROWS_HEAD}{choices}\n\
         ## No default, on purpose\n\n| key | what to write | why nothing is assumed |\n|---|---|---|\n{required}"
    )
}

fn amount_row(amount: &Amount) -> String {
    let default = match amount.derived {
        Some(derived) => derived.to_owned(),
        None => format!("`{}`", amount.default_text()),
    };
    let unlimited = if amount.unlimited_allowed { ", or `\"unlimited\"`" } else { "" };
    let (least, most) = (amount.render(amount.least), amount.render(amount.most));
    format!("| `{}` | {default} | `{least}` to `{most}`{unlimited} | {} |\n", amount.key, amount.reason)
}

fn word_row(word: &Word) -> String {
    let default = if word.is_toml() { format!("`{}`", word.default) } else { word.default.to_owned() };
    format!("| `{}` | {default} | {} | {} |\n", word.key, word.allowed, word.reason)
}

const ROWS_HEAD: &str = "| key | default | allowed | reason |\n|---|---|---|---|\n";
const PAGE_HEAD: &str = "# Defaults\n\n\
    Every setting that may be left out, what it is then, what it may be, and why. `*` stands for a name of your\n\
    own. This page is generated from `crates/gateway/src/config/defaults.rs`, the table that Drawgate itself\n\
    reads, by `UPDATE_DOCS=1 cargo test -p drawgate defaults`; a test keeps the two the same.\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_defaults_says_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/defaults.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, defaults_page()).expect("docs/defaults.md can be written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == defaults_page(),
            "docs/defaults.md differs from config/defaults.rs; run: UPDATE_DOCS=1 cargo test -p drawgate defaults"
        );
    }
}
