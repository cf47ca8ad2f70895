//! What the gateway logs, kept for the verdict: the records of this thread, in their order.

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};

/// A record: its message, and its fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) message: String,
    fields: Vec<(&'static str, String)>,
}

impl Record {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

/// Drives `serving` to its end; gives all that it logged, and nothing that others did meanwhile.
pub(crate) async fn of(serving: impl Future<Output = ()>) -> Vec<Record> {
    let mut serving = pin!(serving);
    let mut records = Vec::new();
    poll_fn(|cx| {
        let others = RECORDS.take();
        let poll = serving.as_mut().poll(cx);
        records.extend(RECORDS.replace(others));
        poll
    })
    .await;
    records
}

/// Begins to keep them, in all threads.
pub(crate) fn keep() {
    static KEPT: Once = Once::new();
    KEPT.call_once(|| {
        tracing::subscriber::set_global_default(Keeper).expect("nobody else subscribes");
    });
}

thread_local! {
    static RECORDS: RefCell<Vec<Record>> = const { RefCell::new(Vec::new()) };
}

struct Keeper;

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "drawgate"
    }

    fn event(&self, event: &Event<'_>) {
        let mut record = Record::default();
        event.record(&mut record);
        RECORDS.with_borrow_mut(|records| records.push(record));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            write!(self.message, "{value:?}").expect("a string takes all");
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }
}
