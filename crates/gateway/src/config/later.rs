//! What the configuration of Drawgate has and this version cannot do yet: refused by name, so that nobody takes a
//! setting to be in force that is not, and nobody takes it for a slip of the pen either.
//!
//! Asked by `read.rs` for each key that no reader has taken.

/// What to do about the key of this shape (`routes.*.inspect`) meanwhile; `None` if it is not one of these.
pub(super) fn advice(shape: &str) -> Option<&'static str> {
    KEYS.iter().find(|(key, _)| *key == shape).map(|(_, advice)| *advice)
}

/// The names within the table of this shape.
pub(super) fn names_in(table_shape: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |(key, _)| match key.rsplit_once('.') {
        Some((table, name)) => (table == table_shape).then_some(name),
        None => table_shape.is_empty().then_some(*key),
    })
}

/// Key shapes, and what to do meanwhile.
const KEYS: &[(&str, &str)] = &[("state.store.redis_url", "write store = \"embedded\"")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_shape_and_by_table() {
        assert!(advice("state.store.redis_url").is_some());
        assert_eq!(advice("routes.*.origins"), None);
        assert_eq!(names_in("").count(), 0);
        assert_eq!(names_in("state.store").collect::<Vec<_>>(), ["redis_url"]);
        assert_eq!(names_in("firewall").count(), 0);
    }
}
