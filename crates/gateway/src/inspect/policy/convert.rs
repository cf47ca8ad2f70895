//! What conditions may look at, as values of CEL: only what some rule looks at is converted, once for all rules of a message, and texts are
//! lent and not copied.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::{CowVal, Val};
use drawgate_protocol::MessageKind;
use serde_json::{Map, Value};

use super::super::{Context, Inspected};

/// What the rules of one direction look at.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub(super) message: Members,
    pub(super) claims: Members,
}

/// Which members of an object are looked at.
#[derive(Debug)]
pub(super) enum Members {
    /// Those of these names, and nothing else of it.
    Some(BTreeSet<String>),
    /// Whatever it has.
    All,
}

impl Default for Members {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

/// What may be known of one message.
pub(super) struct Facts<'f> {
    message: &'f Inspected<'f>,
    context: &'f Context<'f>,
    reads: &'f Reads,
    converted: [OnceLock<Box<dyn Val + 'f>>; 5],
}

impl<'f> Facts<'f> {
    pub(super) fn new(message: &'f Inspected<'f>, context: &'f Context<'f>, reads: &'f Reads) -> Self {
        Self { message, context, reads, converted: Default::default() }
    }

    /// What `name` stands for, made when it is first asked for.
    pub(super) fn value<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let make: fn(&Self) -> Box<dyn Val + 'f> = match name {
            "message" => Self::message,
            "claims" => Self::claims,
            "session" => Self::session,
            "client" => Self::client,
            "direction" => Self::direction,
            _ => return None,
        };
        let place = NAMES.iter().position(|known| *known == name)?;
        let value = self.converted.get(place)?.get_or_init(|| make(self));
        Some(CowVal::Borrowed(&**value))
    }

    fn message(&self) -> Box<dyn Val + 'f> {
        match (self.message.value(), self.message.kind) {
            (Some(Value::Object(members)), _) => object(members, &self.reads.message),
            (Some(value), _) => convert(value),
            (None, MessageKind::Binary) => Box::new(CelBytes::from(self.message.bytes)),
            // Text is UTF-8 before it comes here.
            (None, MessageKind::Text) => {
                Box::new(CelString::from(std::str::from_utf8(self.message.bytes).unwrap_or_default()))
            }
        }
    }

    fn claims(&self) -> Box<dyn Val + 'f> {
        match self.context.principal {
            Some(principal) => object(principal.claims.object(), &self.reads.claims),
            None => Box::new(CelMap::default()),
        }
    }

    fn session(&self) -> Box<dyn Val + 'f> {
        let mut members = HashMap::new();
        if let Some(id) = self.context.session {
            members.insert(key("id"), text(id.to_string()));
        }
        if let Some(principal) = self.context.principal {
            members
                .insert(key("subject"), Box::new(CelString::from(&*principal.subject)) as Box<dyn Val + 'f>);
        }
        Box::new(CelMap::from(members))
    }

    fn client(&self) -> Box<dyn Val + 'f> {
        let address = text(self.context.client.ip().to_string());
        Box::new(CelMap::from(HashMap::from([(key("address"), address)])))
    }

    fn direction(&self) -> Box<dyn Val + 'f> {
        Box::new(CelString::from(self.context.toward.from_whom()))
    }
}

fn key(name: &str) -> CelMapKey<'_> {
    CelMapKey::String(CelString::from(name))
}

fn text<'v>(text: String) -> Box<dyn Val + 'v> {
    Box::new(CelString::from(text))
}

/// The members that are looked at.
fn object<'v>(members: &'v Map<String, Value>, looked_at: &Members) -> Box<dyn Val + 'v> {
    let entry = |(name, value): (&'v String, &'v Value)| (key(name), convert(value));
    let entries: HashMap<_, _> = match looked_at {
        Members::All => members.iter().map(entry).collect(),
        Members::Some(names) => {
            names.iter().filter_map(|name| members.get_key_value(name)).map(entry).collect()
        }
    };
    Box::new(CelMap::from(entries))
}

/// A value as CEL has it: whole numbers are `int`, those beyond its range `uint`, and all others `double`.
fn convert(value: &Value) -> Box<dyn Val + '_> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(holds) => Box::new(CelBool::from(*holds)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => Box::new(CelString::from(&**text)),
        // As deep as the strict reader lets a message be, and the configuration bounds that.
        Value::Array(elements) => Box::new(CelList::from(elements.iter().map(convert).collect::<Vec<_>>())),
        Value::Object(members) => object(members, &Members::All),
    }
}

/// The names, in the order in which what they stand for is kept.
const NAMES: [&str; 5] = ["message", "claims", "session", "client", "direction"];
