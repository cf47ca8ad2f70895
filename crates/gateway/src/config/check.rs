//! What can only be seen when every table has been read: names that lead nowhere, things that nothing uses,
//! addresses and routes that are there twice.
//!
//! Where a table could not be read, what depends on it is not asked, so that one mistake is one problem.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::auth;
use super::listeners::ListenerDraft;
use super::problem::ProblemKind;
use super::read::{Context, Place};
use super::routes::RouteDraft;
use super::suggest;
use crate::admin::{self, Scope};
use crate::auth::CredentialSource;
use crate::route::{Origins, PathPattern};

/// Holds every route's names against what exists, and what exists against what routes name.
pub(super) fn references(
    context: &mut Context<'_>,
    listeners: &[ListenerDraft],
    authenticators: &auth::Drafts,
    routes: &[RouteDraft],
    all_routes_read: bool,
) {
    let listener_names: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
    let mut auth_names: Vec<&str> = authenticators.keys().map(String::as_str).collect();
    auth_names.push(super::routes::NO_AUTH);
    let mut used = BTreeSet::new();
    // A name that leads nowhere was probably meant for what is then unused: that is one mistake.
    let (mut listeners_known, mut auth_known) = (all_routes_read, all_routes_read);
    for route in routes {
        listeners_known &= route.listeners.is_some();
        auth_known &= route.auth.is_some();
        for (name, place) in route.listeners.iter().flatten() {
            used.insert(("listeners", name.as_str()));
            // Where there are no listeners at all, that is the problem.
            if !listener_names.is_empty() && !listener_names.contains(&name.as_str()) {
                listeners_known = false;
                lost(context, place, "names a listener that does not exist", name, &listener_names);
            }
        }
        if let Some((Some(name), place)) = &route.auth {
            used.insert(("auth", name.as_str()));
            if !authenticators.contains_key(name) {
                auth_known = false;
                lost(context, place, "names an [auth] table that does not exist", name, &auth_names);
            }
        }
    }
    let unused_listeners = listeners.iter().filter(|listener| !used.contains(&("listeners", &listener.name)));
    for listener in unused_listeners.filter(|_| listeners_known) {
        unused(context, &listener.place, "name it in a route's listeners, or leave it out");
    }
    let unused_auth = authenticators.iter().filter(|(name, _)| !used.contains(&("auth", name)));
    for (_, (place, _)) in unused_auth.filter(|_| auth_known) {
        unused(context, place, "name it as a route's auth, or leave it out");
    }
}

/// Reports routes of which one could never be reached.
pub(super) fn duplicate_routes(context: &mut Context<'_>, routes: &[RouteDraft]) {
    let any_host = [String::new()];
    let mut seen: BTreeMap<(&str, &str, &PathPattern), &str> = BTreeMap::new();
    for route in routes {
        let (Some(listeners), Some((path, place)), Some(hosts)) =
            (&route.listeners, &route.path, &route.hosts)
        else {
            continue;
        };
        let hosts = if hosts.is_empty() { &any_host[..] } else { hosts };
        let mut other = None;
        for (listener, _) in listeners {
            for host in hosts {
                let first = *seen.entry((listener, host, path)).or_insert(&route.name);
                if first != route.name {
                    other = Some(first);
                }
            }
        }
        if let Some(other) = other {
            let wrong = format!("is taken by routes.{other}, on the same listener and for the same host");
            context.report(place, ProblemKind::Duplicate, &wrong, "choose another path, host or listener");
        }
    }
}

/// Reports addresses that cannot be listened on at the same time.
pub(super) fn duplicate_addresses(context: &mut Context<'_>, addresses: &[(String, SocketAddr, Place)]) {
    for (index, (_, address, place)) in addresses.iter().enumerate() {
        let earlier = addresses.iter().take(index).find(|(_, other, _)| overlap(*address, *other));
        if let Some((other, ..)) = earlier {
            let wrong = format!("is taken by {other}");
            context.report(place, ProblemKind::Duplicate, &wrong, "choose another address or port");
        }
    }
}

/// Reports routes that take a cookie from any page: browsers add it whichever page asks (CWE-1385).
pub(super) fn cookies_from_anywhere(
    context: &mut Context<'_>,
    authenticators: &auth::Drafts,
    routes: &[RouteDraft],
) {
    let takes_cookie = |name: &String| {
        let config = authenticators.get(name).and_then(|(_, config)| config.as_ref());
        let mut sources = config.into_iter().flat_map(|config| &config.credentials);
        sources.any(|source| matches!(source, CredentialSource::Cookie(_)))
    };
    for route in routes {
        if let Some((Origins::Any, place)) = &route.origins
            && let Some((Some(name), _)) = &route.auth
            && takes_cookie(name)
        {
            let wrong = format!("lets every page use the cookie that auth.{name} takes for a credential");
            context.report(
                place,
                ProblemKind::NotAllowed,
                &wrong,
                "write \"same\", or list the pages' origins",
            );
        }
    }
}

/// Warns of tickets that nobody can issue.
pub(super) fn tickets_unissued(
    context: &mut Context<'_>,
    authenticators: &auth::Drafts,
    admin: Option<&admin::Config>,
) {
    let tokens = admin.iter().flat_map(|admin| &admin.tokens);
    if tokens.into_iter().any(|token| token.scopes.contains(&Scope::Tickets)) {
        return;
    }
    for (name, (_, config)) in authenticators {
        let sources = config.iter().flat_map(|config| &config.credentials);
        if sources.into_iter().any(|source| *source == CredentialSource::Ticket) {
            context.warnings.push(format!(
                "auth.{name}.credentials: nobody can issue tickets, unless by a program that uses the library: no token in \
                 admin.tokens has the scope \"tickets\""
            ));
        }
    }
}

/// Warns of what is allowed and probably not meant.
pub(super) fn exposure(context: &mut Context<'_>, listeners: &[ListenerDraft]) {
    for listener in listeners {
        let Some((address, _)) = &listener.address else {
            continue;
        };
        let is_plain = matches!(listener.tls, Some(None));
        if is_plain && !address.ip().to_canonical().is_loopback() {
            context.warnings.push(format!(
                "listeners.{}: {address} is open to other hosts without TLS; tokens and messages can be read on the way",
                listener.name
            ));
        }
    }
}

/// Reports routes that ask for a certificate on a listener that does not.
pub(super) fn certificates_unasked(
    context: &mut Context<'_>,
    listeners: &[ListenerDraft],
    authenticators: &auth::Drafts,
    routes: &[RouteDraft],
) {
    let asks = |name: &str| {
        let listener = listeners.iter().find(|listener| listener.name == name);
        // One that could not be read is a problem of its own.
        listener.is_none_or(|listener| match &listener.tls {
            None => true,
            Some(tls) => tls.as_ref().is_some_and(|tls| tls.clients.authorities_file().is_some()),
        })
    };
    for route in routes {
        let Some((Some(name), place)) = &route.auth else { continue };
        let config = authenticators.get(name).and_then(|(_, config)| config.as_ref());
        if !config.is_some_and(|config| CredentialSource::are_certificates(&config.credentials)) {
            continue;
        }
        if let Some((listener, _)) = route.listeners.iter().flatten().find(|(listener, _)| !asks(listener)) {
            let wrong =
                format!("takes client certificates alone, for which listeners.{listener} does not ask");
            let advice = format!("name client_ca_file in listeners.{listener}.tls");
            context.report(place, ProblemKind::NotAllowed, &wrong, &advice);
        }
    }
}

fn lost(context: &mut Context<'_>, place: &Place, wrong: &str, name: &str, known: &[&str]) {
    let advice = if known.is_empty() { "define it".to_owned() } else { suggest::advice_quoted(name, known) };
    context.report(place, ProblemKind::NoSuchReference, wrong, &advice);
}

fn unused(context: &mut Context<'_>, place: &Place, advice: &str) {
    context.report_unseen(place, ProblemKind::Unused, "is used by no route", advice);
}

/// Whether one of the two hides the other. Port 0 is another port each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_address = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && a.is_ipv4() == b.is_ipv4() && same_address
}
