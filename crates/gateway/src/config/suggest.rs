//! "Did you mean": the known word that a misspelt one is nearest to. Advice only; decides nothing.

/// What to do about the unknown key `name`, given those that exist.
pub(super) fn advice(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(word) => format!("did you mean {word}?"),
        None if known.is_empty() => "leave it out".to_owned(),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// What to do about the word `text`, which is none of `known`, of which there is at least one.
pub(super) fn advice_quoted(text: &str, known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|word| format!("\"{word}\"")).collect();
    let list = quoted.join(" or ");
    match nearest(text, known) {
        Some(word) if known.len() > 1 => format!("did you mean \"{word}\"? allowed: {list}"),
        Some(_) | None => format!("write {list}"),
    }
}

/// The nearest of `known`, if it is near enough to be meant.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    // The distance costs the product of the lengths, and what is long is no slip of the pen.
    if name.len() > WORD_BYTES_MAX {
        return None;
    }
    let lower = name.to_ascii_lowercase().replace('-', "_");
    let near = known.iter().map(|word| (distance(lower.as_bytes(), word.as_bytes()), *word)).min()?;
    let (distance, word) = near;
    // A third of the word may be wrong: `origin` is origins, `port` is not path.
    (distance * 3 <= word.len().max(3)).then_some(word)
}

/// The least number of single bytes to insert, delete, replace or swap with their neighbour to get from `a` to `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before_last: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, byte) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, other) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(byte != other);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *byte == b[j - 1] && a[i - 1] == *other {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// The most bytes of a word that is compared.
const WORD_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_find_the_word_that_was_meant() {
        let known = ["listeners", "path", "hosts", "origins", "auth", "backend"];
        for (slip, meant) in [
            ("origin", "origins"),
            ("paht", "path"),
            ("Backend", "backend"),
            ("lsiteners", "listeners"),
            ("host", "hosts"),
        ] {
            assert_eq!(nearest(slip, &known), Some(meant), "{slip}");
        }
        assert_eq!(nearest("port", &known), None);
        assert_eq!(nearest("", &known), None);
        assert_eq!(nearest(&"x".repeat(100_000), &known), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn advice_lists_what_exists_where_nothing_is_near() {
        assert_eq!(advice("tempo", &["path", "hosts"]), "known here: path, hosts");
        assert_eq!(advice("x", &[]), "leave it out");
        assert_eq!(
            advice_quoted("jsno", &["json", "text"]),
            "did you mean \"json\"? allowed: \"json\" or \"text\""
        );
    }
}
