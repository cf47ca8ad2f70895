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
    /// Whether those who are there are told to go.
    is_shedding: watch::Sender<bool>,
}

impl Default for Load {
    fn default() -> Self {
        Self { refused_for: AtomicU8::new(0), is_shedding: watch::Sender::new(false) }
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
        let number = match stage {
            Stage::Normal => 0,
            Stage::Refusing | Stage::Shedding => {
                place.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or(1)
            }
        };
        self.refused_for.store(number, Ordering::Relaxed);
        let is_shedding = stage == Stage::Shedding;
        self.is_shedding.send_if_modified(|before| std::mem::replace(before, is_shedding) != is_shedding);
    }

    /// Ready once those who are on their way in have to go: they cost most, and nobody knows them yet.
    pub(super) fn until_shedding(&self) -> impl Future<Output = ()> + use<> {
        let mut is_shedding = self.is_shedding.subscribe();
        async move {
            if is_shedding.wait_for(|is_shedding| *is_shedding).await.is_err() {
                // The gate is gone, and with it whoever could shed.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn whoever_waits_hears_of_shedding_alone() {
        let load = Load::default();
        let mut heard = pin!(load.until_shedding());
        let mut is_heard = || heard.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert_eq!(load.refuses(), None);
        for cause in Cause::ALL {
            load.set(Stage::Refusing, Some(cause));
            assert_eq!(load.refuses(), Some(cause));
            assert!(!is_heard());
        }
        load.set(Stage::Shedding, Some(Cause::Memory));
        assert!(is_heard());
        load.set(Stage::Normal, None);
        assert_eq!(load.refuses(), None);
    }
}
