//! How far it has come with the process's load, for those who are on their way in.
//!
//! One atomic, stored by the task that measures and loaded once an accept; and a bell for those who wait before they are let in.
//! Decides nothing.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

use crate::overload::{Cause, Stage};

/// The stage that is in force.
#[derive(Debug)]
pub(crate) struct Load {
    /// The place of what there is too little of in [`Cause::ALL`], from 1 on; 0 while there is enough.
    refused_for: AtomicU8,
    stage: watch::Sender<Stage>,
}

impl Default for Load {
    fn default() -> Self {
        Self { refused_for: AtomicU8::new(0), stage: watch::Sender::new(Stage::Normal) }
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
        self.stage.send_if_modified(|before| std::mem::replace(before, stage) != stage);
    }

    /// Ready once it has come to `stage`: for those who are on their way in, of whom nobody knows who they are.
    pub(super) fn until(&self, stage: Stage) -> impl Future<Output = ()> + use<> {
        let mut in_force = self.stage.subscribe();
        async move {
            if in_force.wait_for(|in_force| *in_force >= stage).await.is_err() {
                // The gate is gone, and with it whoever could say so.
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
}
