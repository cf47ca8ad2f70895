//! What a running server does beside its connections, from time to time: sheds load, tells of suppressed records, forgets
//! what is over.
//!
//! Started by the server, and dropped with it. Decides nothing but when.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::connection::Gate;
use crate::control::Control;
use crate::observe::Observer;

/// Keeps the bytes that wait for slow clients within their budget.
pub(super) async fn shed_load(gate: Arc<Gate>) {
    loop {
        gate.facilities.budget.exceeded.notified().await;
        let excess = gate.facilities.budget.excess();
        if excess > 0 {
            gate.live.shed(excess);
            // Looking at every connection costs something, and those that were told need a moment to go.
            sleep(SHED_INTERVAL).await;
            if gate.facilities.budget.excess() > 0 {
                gate.facilities.budget.exceeded.notify_one();
            }
        }
    }
}

pub(super) async fn report_suppressed(observer: Observer) {
    loop {
        sleep(REPORT_INTERVAL).await;
        observer.report_suppressed();
    }
}

/// Gives back the memory of revocations and bans whose time is over.
pub(super) async fn forget_in_memory(gate: Arc<Gate>, control: Control) {
    loop {
        sleep(FORGET_INTERVAL).await;
        control.forget_in_memory();
        gate.firewall.forget(gate.facilities.clock.now());
        gate.observer.address_bans(gate.firewall.bans_count());
    }
}

/// Deletes from the disk what has been over for long: seldom, since it reads all that is there.
pub(super) async fn forget_on_disk(control: Control) {
    loop {
        sleep(DELETE_INTERVAL).await;
        control.forget_on_disk().await;
    }
}

const SHED_INTERVAL: Duration = Duration::from_millis(10);
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
const FORGET_INTERVAL: Duration = Duration::from_mins(1);
const DELETE_INTERVAL: Duration = Duration::from_hours(1);
