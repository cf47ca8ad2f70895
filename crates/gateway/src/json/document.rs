//! What has been read, as it lies in the text: one list of nodes, each value before what it holds, and texts lent where no escape
//! stood in them.
//!
//! Made by the reader alone, which has held it to its limits. Nothing here recurses.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

/// A JSON text that has been read, and lends what it can of it.
#[derive(Clone, Debug)]
pub struct Document<'t> {
    /// Never empty: the first is the whole.
    pub(super) nodes: Vec<Node<'t>>,
    /// For each object of more than [`SCANNED_MAX`] members the places of their names among the nodes, in the names' order.
    pub(super) ordered: Vec<usize>,
}

/// A value, or the name of the one behind it.
#[derive(Clone, Debug)]
pub(super) enum Node<'t> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'t, str>),
    Array(Extent),
    Object(Extent, Ordered),
}

/// How much an array or an object holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Elements or members.
    pub(super) count: u32,
    /// Nodes, its own among them.
    pub(super) nodes: u32,
}

/// Where the names of an object stand in their order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ordered {
    /// Nowhere: there are few.
    Not,
    /// From this place on, in [`Document::ordered`].
    From(u32),
}

/// One value of a document.
#[derive(Clone, Copy, Debug)]
pub struct Element<'d> {
    document: &'d Document<'d>,
    at: usize,
}

/// What an element is.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'d> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(&'d Number),
    /// A text, with its escapes resolved.
    String(&'d str),
    /// An array of so many elements.
    Array(usize),
    /// An object of so many members.
    Object(usize),
}

impl Document<'_> {
    /// One that is this text, and has been written by nobody.
    pub(crate) fn of_text(text: String) -> Self {
        Self { nodes: vec![Node::String(Cow::Owned(text))], ordered: Vec::new() }
    }

    /// The whole.
    #[must_use]
    pub fn root(&self) -> Element<'_> {
        Element { document: self, at: 0 }
    }

    /// The same, as others have it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.root().to_value()
    }
}

impl<'d> Element<'d> {
    /// What it is.
    #[must_use]
    pub fn kind(self) -> Kind<'d> {
        match self.node() {
            Node::Null => Kind::Null,
            Node::Bool(holds) => Kind::Bool(*holds),
            Node::Number(number) => Kind::Number(number),
            Node::String(text) => Kind::String(text),
            Node::Array(extent) => Kind::Array(extent.count as usize),
            Node::Object(extent, _) => Kind::Object(extent.count as usize),
        }
    }

    /// Whether it is an array.
    #[must_use]
    pub fn is_array(self) -> bool {
        matches!(self.node(), Node::Array(_))
    }

    /// Its text, if it is one.
    #[must_use]
    pub fn as_str(self) -> Option<&'d str> {
        match self.node() {
            Node::String(text) => Some(text),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(..) => None,
        }
    }

    /// The value of the member of this name, if it is an object that has one.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Self> {
        match self.node() {
            Node::Object(extent, Ordered::From(first)) => {
                let names = self.document.ordered.get(*first as usize..)?.get(..extent.count as usize)?;
                let found = names.binary_search_by(|place| self.document.name_at(*place).cmp(name)).ok()?;
                Some(Self { at: names[found] + 1, ..self })
            }
            Node::Object(_, Ordered::Not) => {
                self.members().find_map(|(other, value)| (other == name).then_some(value))
            }
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Array(_) => None,
        }
    }

    /// The elements of an array, in their order; none if it is something else.
    pub fn elements(self) -> Elements<'d> {
        let left = match self.node() {
            Node::Array(extent) => extent.count,
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Object(..) => 0,
        };
        Elements { next: Self { at: self.at + 1, ..self }, left }
    }

    /// The members of an object, in the order in which they were written; none if it is something else.
    pub fn members(self) -> Members<'d> {
        let left = match self.node() {
            Node::Object(extent, _) => extent.count,
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Array(_) => 0,
        };
        Members { name: Self { at: self.at + 1, ..self }, left }
    }

    /// The same, as others have it.
    #[must_use]
    pub fn to_value(self) -> Value {
        // What is open, with how many values it still waits for, and the name of the next in an object.
        let mut open: Vec<(Value, u32, &str)> = Vec::new();
        let mut next = self;
        loop {
            let mut whole = match next.node() {
                Node::Null => Value::Null,
                Node::Bool(holds) => Value::Bool(*holds),
                Node::Number(number) => Value::Number(number.clone()),
                Node::String(text) => Value::String(text.clone().into_owned()),
                Node::Array(Extent { count: 0, .. }) => Value::Array(Vec::new()),
                Node::Object(Extent { count: 0, .. }, _) => Value::Object(Map::new()),
                Node::Array(Extent { count, .. }) => {
                    open.push((Value::Array(Vec::with_capacity(*count as usize)), *count, ""));
                    next.at += 1;
                    continue;
                }
                Node::Object(Extent { count, .. }, _) => {
                    let name = next.document.name_at(next.at + 1);
                    open.push((Value::Object(Map::new()), *count, name));
                    next.at += 2;
                    continue;
                }
            };
            next.at += 1;
            loop {
                let Some((holder, left, name)) = open.last_mut() else { return whole };
                *left -= 1;
                match holder {
                    Value::Array(elements) => elements.push(whole),
                    Value::Object(members) => {
                        members.insert((*name).to_owned(), whole);
                        if *left > 0 {
                            *name = next.document.name_at(next.at);
                            next.at += 1;
                        }
                    }
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
                }
                if *left > 0 {
                    break;
                }
                match open.pop() {
                    Some((holder, ..)) => whole = holder,
                    None => return Value::Null,
                }
            }
        }
    }

    /// Where it lies in memory, which nothing else does while the document is there.
    pub(crate) fn address(self) -> usize {
        std::ptr::from_ref(self.node()).addr()
    }

    fn node(self) -> &'d Node<'d> {
        // An element is made of a place that has a node; were it not, it would be null.
        self.document.nodes.get(self.at).unwrap_or(&Node::Null)
    }

    /// The value behind this one and all that it holds.
    fn following(self) -> Self {
        Self { at: self.at + self.node().extent(), ..self }
    }
}

impl Document<'_> {
    /// The name that stands at this place.
    pub(super) fn name_at(&self, place: usize) -> &str {
        match self.nodes.get(place) {
            Some(Node::String(name)) => name,
            _ => "",
        }
    }
}

impl Node<'_> {
    /// How many nodes it takes.
    pub(super) const fn extent(&self) -> usize {
        match self {
            Self::Array(extent) | Self::Object(extent, _) => extent.nodes as usize,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => 1,
        }
    }
}

/// The elements of an array.
#[derive(Clone, Debug)]
pub struct Elements<'d> {
    next: Element<'d>,
    left: u32,
}

impl<'d> Iterator for Elements<'d> {
    type Item = Element<'d>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let element = self.next;
        self.next = element.following();
        Some(element)
    }
}

/// The members of an object.
#[derive(Clone, Debug)]
pub struct Members<'d> {
    name: Element<'d>,
    left: u32,
}

impl<'d> Iterator for Members<'d> {
    type Item = (&'d str, Element<'d>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = self.name.document.name_at(self.name.at);
        let value = Element { at: self.name.at + 1, ..self.name };
        self.name = value.following();
        Some((name, value))
    }
}

/// How many members an object may have for its names to be looked for one by one; the names of others are kept in order.
pub(super) const SCANNED_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json::{Limits, read};

    #[test]
    fn a_member_is_found_by_its_name_however_many_there_are() {
        for count in [0, 1, SCANNED_MAX - 1, SCANNED_MAX, SCANNED_MAX + 1, 500] {
            // Neither in the order of the names nor against it.
            let member = |number: usize| format!(r#""\u006e{}":[{number},{{"n":1}}]"#, number * 7 % 500);
            let text = format!("[0,{{{}}}]", (0..count).map(member).collect::<Vec<_>>().join(","));
            let document = read(&text, &Limits::default()).unwrap();
            let object = document.root().elements().nth(1).unwrap();
            assert_eq!(object.members().count(), count);
            for number in 0..count {
                let found = object.get(&format!("n{}", number * 7 % 500)).unwrap();
                assert_eq!(found.to_value(), json!([number, { "n": 1 }]));
            }
            assert!(object.get("n").is_none() && object.get("n500").is_none() && object.get("").is_none());
        }
    }

    #[test]
    fn a_name_that_comes_again_is_found_however_many_there_are() {
        for count in [1, SCANNED_MAX, SCANNED_MAX + 1, 500] {
            for again in [0, count / 2, count - 1] {
                let names: Vec<String> =
                    (0..count).chain([again]).map(|number| format!("\"{number}\":0")).collect();
                let text = format!("{{{}}}", names.join(","));
                let fault = read(&text, &Limits::default()).unwrap_err();
                let place = text.rfind(&format!("\"{again}\"")).unwrap();
                assert_eq!((fault.rule, fault.offset_bytes), (crate::json::Rule::DuplicateName, place));
            }
        }
    }

    /// The order of the names is the sender's choice.
    #[test]
    fn m08_no_order_of_names_costs_much_more_than_another() {
        let limits = Limits { values_max: u32::MAX, members_max: usize::MAX, ..Limits::default() };
        let clock = crate::clock::Clock::system();
        let time = |names: &mut dyn Iterator<Item = u32>| {
            let members: Vec<String> = names.map(|name| format!("\"{name:08}\":0")).collect();
            let text = format!("{{{}}}", members.join(","));
            let times = (0..3).map(|_| {
                let begun = clock.now();
                assert!(read(&text, &limits).is_ok());
                clock.now() - begun
            });
            times.min().unwrap()
        };
        let (rising, falling) = (time(&mut (0..200_000)), time(&mut (0..200_000).rev()));
        assert!(falling < rising * 4, "{rising:?} in their order, {falling:?} against it");
    }

    #[test]
    fn what_is_asked_of_the_wrong_kind_has_nothing() {
        let document = read("[7]", &Limits::default()).unwrap();
        let number = document.root().elements().next().unwrap();
        assert_eq!((number.elements().count(), number.members().count()), (0, 0));
        assert!(number.get("a").is_none() && document.root().get("a").is_none() && number.as_str().is_none());
    }
}
