//! A client that was banned without an operator, as one record and one counter.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Observer;
use super::audit::Members;
use super::events::Event;
use super::log::TARGET;
use super::metrics::register;
use crate::firewall::AddressBan;

/// A ban that nobody made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Banned<'a> {
    pub(crate) ban: &'a AddressBan,
    pub(crate) seconds: u64,
    pub(crate) is_in_force: bool,
    pub(crate) is_shadow: bool,
    /// How many connections it ended.
    pub(crate) closed: usize,
}

/// How many there were.
#[derive(Debug)]
pub(super) struct BannedCounters {
    banned: Counter,
    shadowed: Counter,
    refused: Counter,
}

impl BannedCounters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let family: Family<EffectLabels, Counter> = register(
            registry,
            "automatic_bans",
            "Clients that were refused too often, by what came of it: banned, shadowed, or refused since there are as many bans as are kept",
            Family::default(),
        );
        let of = |effect| family.get_or_create_owned(&EffectLabels { effect });
        Self { banned: of("banned"), shadowed: of("shadowed"), refused: of("refused") }
    }
}

impl Observer {
    /// A client was banned without an operator, or would have been: to be called once for each.
    pub(crate) fn banned(&self, banned: &Banned<'_>) {
        let counters = &self.0.metrics.automatic_bans;
        let (counter, effect) = match (banned.is_in_force, banned.is_shadow) {
            (true, _) => (&counters.banned, "banned"),
            (false, true) => (&counters.shadowed, "shadowed"),
            (false, false) => (&counters.refused, "refused"),
        };
        counter.inc();
        let network = banned.ban.network.to_string();
        tracing::warn!(
            target: TARGET,
            network,
            effect,
            seconds = banned.seconds,
            reason = banned.ban.reason,
            connections_closed = banned.closed,
            "automatic ban"
        );
        self.audit(|| {
            Members::of("banned")
                .with("network", &*network)
                .with("effect", effect)
                .with("seconds", banned.seconds)
                .with("reason", &*banned.ban.reason)
        });
        let event = Event { client: Some(network), ..Event::new("banned", effect) };
        self.0.events.push(event.detailed(Some(&banned.ban.reason)), self.0.clock.unix_now());
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EffectLabels {
    effect: &'static str,
}
