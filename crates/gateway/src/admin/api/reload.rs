//! Has the configuration read again.

use std::sync::Arc;

use hyper::StatusCode;

use super::Operations;
use crate::admin::answer::{self, Answer, Refused};
use crate::admin::operations::NotReloaded;

/// What is said of a configuration that is refused is its writer's own: who may operate may know what is in it, and secrets are not.
pub(super) async fn reload(operations: &Operations, who: Arc<str>) -> Result<Answer, Refused> {
    match operations.reload(who).await {
        Ok(changed) => Ok(answer::json(StatusCode::OK, &changed)),
        Err(NotReloaded::Refused(problems)) => {
            let detail = "The configuration is refused, and everything is as it was.";
            Err(Refused::unprocessable(detail).because(problems))
        }
        Err(NotReloaded::NoFile) => {
            let detail = "This server was not made from a configuration file, so there is none to read again: restart it.";
            Err(Refused::new(StatusCode::CONFLICT, detail))
        }
        Err(NotReloaded::Ending) => {
            Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "The server is about to end."))
        }
    }
}
