//! Where the references of a schema lead: none out of the document, and none in a circle.

use std::collections::HashMap;

use serde_json::Value;

use super::load::Flaw;
use super::walk::{Sub, escape, resolve};

/// What is wrong with the references among `subs`.
pub(super) fn flaws(subs: &[Sub<'_>]) -> Vec<Flaw> {
    let places = Places::new(subs);
    let mut flaws = Vec::new();
    let mut edges: Vec<Vec<Edge>> = Vec::with_capacity(subs.len());
    for sub in subs {
        let mut found = places.in_place(sub);
        for keyword in ["$ref", "$dynamicRef"] {
            let Some(reference) = sub.members.get(keyword).and_then(Value::as_str) else { continue };
            match places.target(sub, reference) {
                Target::Here(index) => found.push(Edge { to: index, keyword }),
                Target::Known => {}
                Target::Elsewhere => flaws.push(Flaw {
                    pointer: format!("{}/{}", sub.pointer, escape(keyword)),
                    wrong: "leads out of this file, and nothing is fetched; copy what it names into $defs"
                        .to_owned(),
                }),
            }
        }
        edges.push(found);
    }
    flaws.extend(circles(subs, &edges));
    flaws
}

/// That a value which is held to one subschema is held to another as well.
struct Edge {
    to: usize,
    keyword: &'static str,
}

enum Target {
    /// The subschema of this index.
    Here(usize),
    /// Something in the document that is no subschema of its own, or that the library brings along.
    Known,
    Elsewhere,
}

/// What is known by a name.
struct Places<'s> {
    by_pointer: HashMap<&'s str, usize>,
    by_anchor: HashMap<(&'s str, &'s str), usize>,
    /// The subschema that an identifier names.
    by_id: HashMap<&'s str, usize>,
}

impl<'s> Places<'s> {
    fn new(subs: &'s [Sub<'s>]) -> Self {
        let mut places =
            Self { by_pointer: HashMap::new(), by_anchor: HashMap::new(), by_id: HashMap::new() };
        for (index, sub) in subs.iter().enumerate() {
            places.by_pointer.insert(&sub.pointer, index);
            for anchor in ["$anchor", "$dynamicAnchor"] {
                if let Some(anchor) = sub.members.get(anchor).and_then(Value::as_str) {
                    places.by_anchor.entry((&sub.base, anchor)).or_insert(index);
                }
            }
            if sub.pointer.is_empty() || sub.members.contains_key("$id") {
                places.by_id.entry(&sub.base).or_insert(index);
            }
        }
        places
    }

    fn target(&self, sub: &Sub<'_>, reference: &str) -> Target {
        let base = resolve(&sub.base, reference);
        let Some(root) = self.by_id.get(&*base) else {
            return if base.starts_with(BROUGHT_ALONG) { Target::Known } else { Target::Elsewhere };
        };
        let fragment = reference.split_once('#').map_or("", |(_, fragment)| fragment);
        let index = if fragment.is_empty() {
            Some(root)
        } else if fragment.starts_with('/') {
            let top =
                self.by_pointer.iter().find(|(_, index)| *index == root).map_or("", |(pointer, _)| pointer);
            self.by_pointer.get(&*format!("{top}{}", unescape_uri(fragment)))
        } else {
            self.by_anchor.get(&(&*base, fragment))
        };
        index.map_or(Target::Known, |index| Target::Here(*index))
    }

    /// What holds for the same value as `sub`, without a reference.
    fn in_place(&self, sub: &Sub<'_>) -> Vec<Edge> {
        let mut edges = Vec::new();
        let mut add = |place: String, keyword| {
            edges.extend(self.by_pointer.get(&*place).map(|to| Edge { to: *to, keyword }));
        };
        for keyword in ["if", "then", "else", "not"] {
            add(format!("{}/{keyword}", sub.pointer), keyword);
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let count = sub.members.get(keyword).and_then(Value::as_array).map_or(0, Vec::len);
            (0..count).for_each(|index| add(format!("{}/{keyword}/{index}", sub.pointer), keyword));
        }
        if let Some(Value::Object(schemas)) = sub.members.get("dependentSchemas") {
            for name in schemas.keys() {
                add(format!("{}/dependentSchemas/{}", sub.pointer, escape(name)), "dependentSchemas");
            }
        }
        edges
    }
}

/// Each way back to a subschema that is still being looked at: a value would be held to it without end.
fn circles(subs: &[Sub<'_>], edges: &[Vec<Edge>]) -> Vec<Flaw> {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Seen {
        Not,
        Open,
        Done,
    }
    let mut seen = vec![Seen::Not; subs.len()];
    let mut flaws = Vec::new();
    for start in 0..subs.len() {
        if seen[start] != Seen::Not {
            continue;
        }
        seen[start] = Seen::Open;
        let mut path = vec![(start, 0)];
        while let Some((at, next)) = path.last_mut() {
            let from = *at;
            let Some(edge) = edges[from].get(*next) else {
                seen[from] = Seen::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match seen[edge.to] {
                Seen::Not => {
                    seen[edge.to] = Seen::Open;
                    path.push((edge.to, 0));
                }
                Seen::Open => flaws.push(Flaw {
                    pointer: format!("{}/{}", subs[from].pointer, escape(edge.keyword)),
                    wrong: "leads back to itself before any part of the value has been looked at".to_owned(),
                }),
                Seen::Done => {}
            }
        }
    }
    flaws
}

/// A pointer that stands in a reference, where some characters are escaped (RFC 6901 §6).
fn unescape_uri(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| *byte == b'%');
        let escaped = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The schemas of JSON Schema itself, which need not be fetched.
const BROUGHT_ALONG: &str = "https://json-schema.org/draft/2020-12/";
