//! What others may tell a running connection: that a timer fired, that the gateway drains, that it must go.
//!
//! Floor 1. Written by timers, the drain and the shedding of load; read by the connection at the start of each poll. A few
//! atomics, so that telling a connection takes no lock and no channel.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use atomic_waker::AtomicWaker;

use crate::principal::ClientKey;

/// One connection's ear. Shared by its task and by whoever may need to tell it something.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    signals: AtomicU16,
    /// How many bytes wait for a socket that is blocked; as many as fit in 32 bits, if it is more.
    blocked_bytes: AtomicU32,
    waker: AtomicWaker,
    /// Whose connection it is: [`ClientKey::to_bits`] and one more; 0 while that is not known.
    client_bits: AtomicU64,
    /// Since when nothing could be written, in milliseconds after the gateway's start; 0 while output flows.
    blocked_since_ms: AtomicU64,
}

/// What has been said since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signals(u16);

/// One thing that can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Signal {
    /// A deadline may have passed.
    Timer = 1,
    /// Finish what has come, then close with 1012.
    Drain = 2,
    /// The buffers of all connections are full, and this one is among the slowest.
    Shed = 4,
    /// End now, whatever is under way.
    Abort = 8,
    /// The application has something to send.
    Outbox = 16,
    /// The session has to end; why is said beside it.
    Session = 32,
    /// The client's address was banned.
    Banned = 64,
    /// The lists of addresses do not let the client in any more.
    Denied = 256,
    /// A route was removed or closed to whom it had let in, or an application was drained: it may be this connection's, whose terms or
    /// whose place at the application say so.
    Retired = 512,
    /// The process runs out of something, and this one has been chosen to go.
    Overload = 1024,
}

impl Pulse {
    /// The connection is one of `client`'s. To be said before the firewall is asked whether it is banned: a ban that is made
    /// meanwhile then finds it, or is found.
    pub(crate) fn belongs_to(&self, client: ClientKey) {
        // The last key there could be is of addresses that no client has (RFC 4291 §2.7), and reads as not known.
        self.client_bits.store(client.to_bits().wrapping_add(1), Ordering::SeqCst);
    }

    /// The client's address, where it is known; of IPv6 the first of its /64.
    pub(crate) fn client_address(&self) -> Option<IpAddr> {
        let bits = self.client_bits.load(Ordering::SeqCst).checked_sub(1)?;
        Some(ClientKey::address_of_bits(bits))
    }

    /// Says `signal` and wakes the connection.
    pub(crate) fn signal(&self, signal: Signal) {
        let before = self.signals.fetch_or(signal as u16, Ordering::AcqRel);
        if signal == Signal::Outbox && before & OUTBOX_HELD != 0 {
            return;
        }
        self.waker.wake();
    }

    /// Until [`Pulse::release_outbox`] the connection is not woken by [`Signal::Outbox`]: it will look by itself.
    pub(crate) fn hold_outbox(&self) {
        self.signals.fetch_or(OUTBOX_HELD, Ordering::Relaxed);
    }

    /// What has been sent so far is seen by whoever looks after this; what is sent from now on wakes the connection.
    pub(crate) fn release_outbox(&self) {
        self.signals.fetch_and(!(OUTBOX_HELD | Signal::Outbox as u16), Ordering::AcqRel);
    }

    /// The connection has ended: whoever keeps this keeps nothing of its task.
    pub(crate) fn forget_waker(&self) {
        self.waker.take();
    }

    /// What has been said since the last call; `waker` is woken by what is said from now on.
    pub(crate) fn listen(&self, waker: &Waker) -> Signals {
        self.waker.register(waker);
        // A plain load first: almost always there is nothing, and a swap costs a locked instruction.
        if self.signals.load(Ordering::Acquire) == 0 {
            return Signals(0);
        }
        Signals(self.signals.swap(0, Ordering::AcqRel))
    }

    /// Whether anything has been said that ends the connection, which stays to be heard; `waker` is woken by what is said from
    /// now on. For a connection that waits for something else than its socket.
    pub(crate) fn is_called(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.signals.load(Ordering::Acquire) & ENDING != 0
    }

    /// Records that `bytes` wait, and since when: what the shedding of load chooses by.
    pub(crate) fn record_blocked(&self, bytes: usize, since_start: Option<Duration>) {
        self.blocked_bytes.store(u32::try_from(bytes).unwrap_or(u32::MAX), Ordering::Relaxed);
        let since_ms =
            since_start.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1));
        self.blocked_since_ms.store(since_ms, Ordering::Relaxed);
    }

    /// How many bytes wait, and since when (milliseconds after the start), if the output is blocked.
    pub(crate) fn blocked(&self) -> Option<(u64, usize)> {
        match self.blocked_since_ms.load(Ordering::Relaxed) {
            0 => None,
            since_ms => {
                let bytes = usize::try_from(self.blocked_bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
                Some((since_ms, bytes))
            }
        }
    }
}

impl Signals {
    pub(crate) const fn contains(self, signal: Signal) -> bool {
        self.0 & signal as u16 != 0
    }
}

/// What ends a connection, whatever it is doing.
const ENDING: u16 = Signal::Drain as u16
    | Signal::Abort as u16
    | Signal::Session as u16
    | Signal::Banned as u16
    | Signal::Denied as u16
    | Signal::Overload as u16;

/// Beside the signals: the connection is about to look at its outbox.
const OUTBOX_HELD: u16 = 128;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;
    use crate::principal::ClientAddr;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_what_the_connection_will_see_by_itself_does_not_wake_it() {
        let (pulse, count) = (Pulse::default(), Arc::new(Count(AtomicUsize::new(0))));
        let waker = Waker::from(Arc::clone(&count));
        let woken = || count.0.load(Ordering::Relaxed);
        pulse.listen(&waker);
        pulse.hold_outbox();
        pulse.signal(Signal::Outbox);
        assert_eq!(woken(), 0);
        pulse.signal(Signal::Abort);
        assert_eq!(woken(), 1);
        pulse.release_outbox();
        let signals = pulse.listen(&waker);
        assert!(signals.contains(Signal::Abort) && !signals.contains(Signal::Outbox));
        pulse.signal(Signal::Outbox);
        assert_eq!(woken(), 2);
    }

    #[test]
    fn a_client_is_known_once_it_has_been_said_who_it_is() {
        let pulse = Pulse::default();
        assert_eq!(pulse.client_address(), None);
        for (ip, known) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::1", "::"),
            ("2001:db8::5:1", "2001:db8::"),
            ("0.0.0.0", "0.0.0.0"),
        ] {
            pulse.belongs_to(ClientAddr::new(ip.parse().unwrap()).key());
            assert_eq!(pulse.client_address(), Some(known.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn what_ends_a_connection_is_noticed_while_it_waits_and_is_still_to_be_heard() {
        let (pulse, count) = (Pulse::default(), Arc::new(Count(AtomicUsize::new(0))));
        let waker = Waker::from(Arc::clone(&count));
        for signal in [Signal::Timer, Signal::Shed, Signal::Outbox, Signal::Retired] {
            pulse.signal(signal);
            assert!(!pulse.is_called(&waker), "{signal:?} ends nothing");
        }
        for signal in
            [Signal::Drain, Signal::Abort, Signal::Session, Signal::Banned, Signal::Denied, Signal::Overload]
        {
            let woken = count.0.load(Ordering::Relaxed);
            pulse.signal(signal);
            assert_eq!(count.0.load(Ordering::Relaxed), woken + 1, "{signal:?}");
            assert!(pulse.is_called(&waker));
            assert!(pulse.listen(&waker).contains(signal));
            assert!(!pulse.is_called(&waker));
        }
    }

    #[test]
    fn r09_a_pulse_takes_48_bytes_which_are_64_with_the_counts_of_its_owners() {
        assert_eq!(size_of::<Pulse>(), 48);
    }

    #[test]
    fn an_ended_connection_leaves_no_waker_behind() {
        let (pulse, count) = (Pulse::default(), Arc::new(Count(AtomicUsize::new(0))));
        pulse.listen(&Waker::from(Arc::clone(&count)));
        assert_eq!(Arc::strong_count(&count), 2);
        pulse.forget_waker();
        assert_eq!(Arc::strong_count(&count), 1);
    }
}
