//! Whether anybody is let in: how far it has come with the process's load, and whether the gateway drains.
//!
//! One atomic, stored by the task that measures and loaded once an accept; and one bell for those who wait before they are let in, whom
//! nobody else tells. Decides nothing.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

use crate::overload::{Cause, Stage};
use crate::reason::Reason;

/// What is in force.
#[derive(Debug)]
pub(crate) struct Load {
    /// The place of what there is too little of in [`Cause::ALL`], from 1 on; 0 while there is enough.
    refused_for: AtomicU8,
    standing: watch::Sender<Standing>,
}

/// What those on their way in are told.
#[derive(Clone, Copy, Debug)]
struct Standing {
    stage: Stage,
    is_draining: bool,
}

impl Standing {
    /// Why nobody is let in, if that is so.
    fn shut(self) -> Option<Reason> {
        if self.is_draining {
            return Some(Reason::Draining);
        }
        (self.stage >= Stage::Refusing).then_some(Reason::Overloaded)
    }
}

impl Default for Load {
    fn default() -> Self {
        let standing = Standing { stage: Stage::Normal, is_draining: false };
        Self { refused_for: AtomicU8::new(0), standing: watch::Sender::new(standing) }
    }
}

impl Load {
    /// What nobody is let in for, if it has come to that.
    pub(crate) fn refuses(&self) -> Option<Cause> {
        let place = self.refused_for.load(Ordering::Relaxed).checked_sub(1)?;
        Cause::ALL.get(usize::from(place)).copied()
    }

    /// From now on this is in force.
    pub(crate) fn set(&self, stage: Stage, cause: Option<Cause>) {
        let place = cause.and_then(|cause| Cause::ALL.iter().position(|other| *other == cause));
        let place = place.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or(1);
        self.refused_for.store(if stage == Stage::Normal { 0 } else { place }, Ordering::Relaxed);
        self.standing.send_if_modified(|before| std::mem::replace(&mut before.stage, stage) != stage);
    }

    /// From now on the gateway drains.
    pub(crate) fn drain(&self) {
        self.standing.send_modify(|standing| standing.is_draining = true);
    }

    /// Whether it drains.
    pub(crate) fn is_draining(&self) -> bool {
        self.standing.borrow().is_draining
    }

    /// Ready once it drains.
    pub(crate) async fn until_draining(&self) {
        self.heard(|standing| standing.is_draining.then_some(())).await;
    }

    /// Ready, with the reason, once nobody is let in any more: for those on their way in, whom nobody tells of a drain that has begun
    /// before they were upgraded.
    pub(super) async fn until_shut(&self) -> Reason {
        self.heard(Standing::shut).await
    }

    /// Ready once it has come to `stage`: for those who are in, of whom nobody knows who they are.
    pub(super) async fn until(&self, stage: Stage) {
        self.heard(|standing| (standing.stage >= stage).then_some(())).await;
    }

    /// What `of` makes of what is in force, once it makes anything of it.
    async fn heard<T>(&self, of: impl Fn(Standing) -> Option<T>) -> T {
        let mut standing = self.standing.subscribe();
        loop {
            if let Some(heard) = of(*standing.borrow_and_update()) {
                return heard;
            }
            if standing.changed().await.is_err() {
                // Nobody is left who could say so.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    fn is_heard<F: Future>(heard: &mut Pin<&mut F>) -> bool {
        heard.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn whoever_waits_hears_of_its_stage_and_of_those_above() {
        let load = Load::default();
        let mut refusing = pin!(load.until(Stage::Refusing));
        let mut shedding = pin!(load.until(Stage::Shedding));
        assert!(load.refuses().is_none() && !is_heard(&mut refusing) && !is_heard(&mut shedding));
        for cause in Cause::ALL {
            load.set(Stage::Refusing, Some(cause));
            assert_eq!(load.refuses(), Some(cause));
        }
        assert!(is_heard(&mut refusing) && !is_heard(&mut shedding));
        load.set(Stage::Shedding, Some(Cause::Memory));
        assert!(is_heard(&mut shedding) && is_heard(&mut pin!(load.until(Stage::Refusing))));
        load.set(Stage::Normal, None);
        assert!(load.refuses().is_none() && !is_heard(&mut pin!(load.until(Stage::Refusing))));
    }

    #[test]
    fn whoever_is_on_the_way_in_hears_why_nobody_is_let_in() {
        let load = Load::default();
        let mut shut = pin!(load.until_shut());
        let mut draining = pin!(load.until_draining());
        assert!(!is_heard(&mut shut) && !is_heard(&mut draining));
        let said = || match pin!(load.until_shut()).poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(reason) => Some(reason),
            std::task::Poll::Pending => None,
        };
        load.set(Stage::Refusing, Some(Cause::Memory));
        assert_eq!((said(), load.is_draining()), (Some(Reason::Overloaded), false));
        load.drain();
        assert_eq!((said(), load.is_draining()), (Some(Reason::Draining), true));
        assert!(is_heard(&mut shut) && is_heard(&mut draining));
        load.set(Stage::Normal, None);
        assert_eq!(said(), Some(Reason::Draining), "it drains on");
    }
}
