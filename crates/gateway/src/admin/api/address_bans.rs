//! `/v1/address-bans`: networks that are kept out, whoever comes from there.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::super::answer::{self, Answer, Refused};
use super::super::body::{Members, decoded};
use super::super::operations::Operations;
use super::{Slice, end_of_ban, time};
use crate::address_bans::AddressBanError;
use crate::firewall::{AddressBan, BanError};
use crate::network::Network;

pub(super) fn list(operations: &Operations, mut query: Members) -> Result<Answer, Refused> {
    let Slice { after, count_max } = Slice::of(&mut query)?;
    query.finish()?;
    let after = after.map(|after| Network::from_own_text(&after)).transpose();
    let after = after.map_err(|_| Refused::unprocessable("after must be what `next` of a page was."))?;
    let (page, has_more) = operations.address_bans.address_bans_after(after, count_max);
    let next = page.last().filter(|_| has_more).map(|last| last.network.to_string());
    let bans: Vec<Value> = page.iter().map(|ban| Value::Object(shown(ban))).collect();
    Ok(answer::json(StatusCode::OK, &json!({ "address_bans": bans, "next": next })))
}

pub(super) async fn add(
    operations: &Operations,
    who: Arc<str>,
    mut body: Members,
) -> Result<Answer, Refused> {
    let network = body.required_text("network")?;
    let (seconds, reason) = (body.count("seconds")?, body.text("reason")?);
    body.finish()?;
    let network = read(&network)
        .map_err(|fault| Refused::unprocessable(format!("network must be {NETWORK}: it {fault}.")))?;
    let until = end_of_ban(seconds, operations.now())?;
    let mut ban = AddressBan { network, until, reason: reason.unwrap_or_default() };
    // What is told is what is kept out.
    ban.network = ban.effective();
    let mut members = shown(&ban);
    let closed = operations.ban_address(who, ban).await.map_err(|error| not_changed(&error))?;
    members.insert("closed".to_owned(), closed.into());
    Ok(answer::json(StatusCode::CREATED, &Value::Object(members)))
}

pub(super) async fn remove(operations: &Operations, who: Arc<str>, network: &str) -> Result<Answer, Refused> {
    let network = decoded(network).ok_or("is not percent-encoded UTF-8".to_owned());
    // Also what a list has told of, such as the /64 around an address.
    let own = |network: String| Network::from_own_text(&network).map_err(|error| error.to_string());
    let network = network.and_then(own).map_err(|fault| {
        let detail = format!("The path must end in {NETWORK}, percent-encoded (/ is %2F): it {fault}.");
        Refused::new(StatusCode::BAD_REQUEST, detail)
    })?;
    if operations.unban_address(who, network).await.map_err(|error| not_changed(&error))? {
        return Ok(answer::no_content());
    }
    let detail = "This network is not banned; of those around it and within it each has a ban of its own.";
    Err(Refused::new(StatusCode::NOT_FOUND, detail))
}

/// The network that `text` names, or what is wrong with it.
fn read(text: &str) -> Result<Network, String> {
    text.parse::<Network>().map_err(|error| error.to_string())
}

fn shown(ban: &AddressBan) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("network".to_owned(), ban.network.to_string().into());
    members.insert("until".to_owned(), time(ban.until));
    members.insert("reason".to_owned(), ban.reason.as_str().into());
    members
}

/// Why not all was done that was asked for. What is in the way on the disk is for the log alone.
fn not_changed(error: &AddressBanError) -> Refused {
    match error {
        AddressBanError::Refused(error @ BanError::ReasonTooLong) => {
            Refused::unprocessable(format!("Nothing was changed: {error}."))
        }
        AddressBanError::Refused(error @ BanError::Full { .. }) => {
            Refused::new(StatusCode::INSUFFICIENT_STORAGE, format!("Nothing was changed: {error}."))
        }
        AddressBanError::NotKept { ended, .. } => Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("Not on disk, though {error}. Connections closed: {ended}."),
        ),
        AddressBanError::NotLifted(_) => {
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, format!("Nothing was changed: {error}."))
        }
    }
}

const NETWORK: &str = "a network such as \"203.0.113.0/24\" or \"2001:db8::/32\", or an address";
