//! Reads which proxies are trusted, and how they name their clients: `trusted_proxies` and `client_address_header` of
//! `[firewall]`, and `proxy_protocol` of listeners.
//!
//! The three stand or fall together: trust that nothing uses, and names that nobody may give, are mistakes.

use toml::de::DeValue;

use super::defaults;
use super::listeners::ListenerDraft;
use super::problem::ProblemKind;
use super::read::{Context, Place, Table, Value};
use crate::address::{ClientAddressHeader, Config, ProxyProtocol};
use crate::network::{Network, NetworkError};

/// What `[firewall]` says of proxies, and where.
#[derive(Default)]
pub(super) struct AddressesDraft {
    /// `None` where it could not be read.
    trusted_proxies: Option<Vec<Network>>,
    trusted_proxies_place: Option<Place>,
    header: ClientAddressHeader,
    header_place: Option<Place>,
}

impl AddressesDraft {
    /// Who speaks for others, as far as that could be read.
    pub(super) fn trusted_proxies(&self) -> &[Network] {
        self.trusted_proxies.as_deref().unwrap_or_default()
    }

    /// What it comes to; a configuration with a problem never takes effect.
    pub(super) fn finish(self) -> Config {
        Config {
            trusted_proxies: self.trusted_proxies.unwrap_or_default(),
            client_address_header: self.header,
        }
    }
}

/// Reads the part of `[firewall]`.
pub(super) fn addresses(context: &mut Context<'_>, table: &mut Table<'_>) -> AddressesDraft {
    let proxies = table.take(defaults::TRUSTED_PROXIES.name());
    let trusted_proxies = match &proxies {
        None => Some(Vec::new()),
        Some(value) => networks(context, value),
    };
    let headers = [
        ("none", ClientAddressHeader::None),
        ("forwarded", ClientAddressHeader::Forwarded),
        ("x_forwarded_for", ClientAddressHeader::XForwardedFor),
    ];
    let header = table.take(defaults::CLIENT_ADDRESS_HEADER.name());
    AddressesDraft {
        trusted_proxies,
        trusted_proxies_place: proxies.map(|value| value.place),
        header: header.as_ref().and_then(|value| value.choice(context, &headers, &[])).unwrap_or_default(),
        header_place: header.map(|value| value.place),
    }
}

/// Reads `proxy_protocol` of a listener.
pub(super) fn proxy_protocol(
    context: &mut Context<'_>,
    table: &mut Table<'_>,
) -> Option<(ProxyProtocol, Place)> {
    let value = table.take(defaults::PROXY_PROTOCOL.name())?;
    let versions = [("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2), ("any", ProxyProtocol::Any)];
    let chosen = value.choice(context, &versions, &[])?;
    Some((chosen, value.place))
}

/// Holds what trusts against what is trusted.
pub(super) fn check(context: &mut Context<'_>, draft: &AddressesDraft, listeners: &[ListenerDraft]) {
    // One that could not be read is a problem of its own.
    let Some(trusted) = &draft.trusted_proxies else { return };
    let is_header_read = draft.header != ClientAddressHeader::None;
    let proxied = || listeners.iter().filter_map(|listener| listener.proxy_protocol.as_ref());
    if trusted.is_empty() {
        let advice = "list the proxies' networks in firewall.trusted_proxies, or leave this out";
        let header_place = draft.header_place.as_ref().filter(|_| is_header_read);
        for place in proxied().map(|(_, place)| place).chain(header_place) {
            context.report(place, ProblemKind::Missing, "needs firewall.trusted_proxies", advice);
        }
    } else if let Some(place) = &draft.trusted_proxies_place
        && !is_header_read
        && proxied().next().is_none()
    {
        let wrong = "trusts proxies, and nothing says how they name their clients";
        let advice = "write firewall.client_address_header = \"x_forwarded_for\" or \"forwarded\", whichever they set, or \
             proxy_protocol in the listener that they connect to; or leave this out";
        context.report_unseen(place, ProblemKind::Unused, wrong, advice);
    }
    for network in trusted.iter().filter(|network| network.prefix_bits() == 0) {
        context.warnings.push(format!(
            "firewall.trusted_proxies: {network} trusts everybody; whoever connects can say to be any client"
        ));
    }
}

/// Reads a list of networks, which may be empty.
fn networks(context: &mut Context<'_>, value: &Value<'_>) -> Option<Vec<Network>> {
    if matches!(value.value, DeValue::Array(elements) if elements.is_empty()) {
        return Some(Vec::new());
    }
    let list = value.list_of(context, "a list of networks such as [\"10.0.0.0/8\"]", network)?;
    if list.len() > NETWORKS_MAX {
        let advice = format!("write at most {NETWORKS_MAX}, with shorter prefixes");
        context.report_unseen(&value.place, ProblemKind::NotAllowed, "has too many networks", &advice);
        return None;
    }
    Some(list.into_iter().map(|(network, _)| network).collect())
}

/// Reads one network, or one address.
pub(super) fn network(context: &mut Context<'_>, value: &Value<'_>) -> Option<Network> {
    let text = value.text(context)?;
    let error = match text.parse::<Network>() {
        Ok(network) => return Some(network),
        Err(error) => error,
    };
    let advice = match error {
        NetworkError::NoAddress => {
            "write four decimal numbers without leading zeros, or an IPv6 address; names are not resolved"
                .to_owned()
        }
        NetworkError::PrefixMalformed => "write / and a number of bits, such as 192.0.2.0/24".to_owned(),
        NetworkError::PrefixTooLong { bits_max } => format!("write / and at most {bits_max}"),
        NetworkError::PartlyMapped => {
            "write \"::/0\" for all of IPv6, or networks that hold none of ::ffff:0:0/96".to_owned()
        }
        NetworkError::HostBitsSet { network } => {
            format!("write \"{network}\" for the whole network, or leave the prefix out for one address")
        }
    };
    value.not_allowed(context, &error.to_string(), &advice);
    None
}

/// The most networks in a list: all of them are compared with each address. The large content networks publish some 200.
const NETWORKS_MAX: usize = 1024;
