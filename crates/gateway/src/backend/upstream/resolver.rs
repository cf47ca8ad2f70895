//! Who says where a name leads: the system, or the program that uses the library.
//!
//! Asked anew for each connection, so that what has changed is seen by the next one; those who come while the system is asked hear the same
//! answer. Remembers nothing, and decides nothing about what it is told: `dial.rs` spreads connections over the addresses.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// What says where a name leads. The default asks the system, as any program of it does.
#[derive(Clone, Default)]
pub struct Resolver(Option<Arc<Resolve>>);

type Resolve = dyn Fn(String, u16) -> Resolving + Send + Sync;
type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

impl Resolver {
    /// Asks `resolve` for the addresses of a name and a port; it may take as long as a connection may take to be made, and is dropped then.
    pub fn new<F, Answer>(resolve: F) -> Self
    where
        F: Fn(String, u16) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self(Some(Arc::new(move |name, port| Box::pin(resolve(name, port)))))
    }

    /// The addresses of `name`, about which the system is asked by `asking`.
    pub(super) async fn resolve(
        &self,
        asking: &Asking,
        name: &str,
        port: u16,
    ) -> io::Result<Vec<SocketAddr>> {
        let name = name.to_owned();
        match &self.0 {
            None => asking.ask(move || (name.as_str(), port).to_socket_addrs().map(Iterator::collect)).await,
            Some(resolve) => resolve(name, port).await,
        }
    }
}

/// What the system is asked about one name: once at a time, however many wait for it. It cannot be stopped, and where no name server answers
/// it takes several times as long as anybody waits; asked for each connection it would take all the threads that there are for such
/// work, and what is on files would wait behind it.
#[derive(Debug, Default)]
pub(super) struct Asking(Mutex<Option<watch::Receiver<Answer>>>);

/// Nothing until it has come; of what has failed, its kind and its words.
type Answer = Option<Result<Vec<SocketAddr>, (io::ErrorKind, String)>>;

impl Asking {
    /// The answer of `ask`, or of whoever has asked and has none yet.
    async fn ask(
        &self,
        ask: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> io::Result<Vec<SocketAddr>> {
        let mut answer = self.answer_of(ask);
        let answer = answer.wait_for(Option::is_some).await.map(|answer| answer.clone());
        match answer {
            Ok(Some(answer)) => answer.map_err(|(kind, text)| io::Error::new(kind, text)),
            Ok(None) | Err(_) => Err(io::Error::other("whoever asked the system is gone")),
        }
    }

    fn answer_of(
        &self,
        ask: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> watch::Receiver<Answer> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The sender goes with the answer, or without one.
        let is_awaited = |answer: &&watch::Receiver<Answer>| {
            let is_open = answer.borrow().is_none();
            is_open && answer.has_changed().is_ok()
        };
        if let Some(answer) = asked.as_ref().filter(is_awaited) {
            return answer.clone();
        }
        let (sender, answer) = watch::channel(None);
        spawn_blocking(move || {
            let found = ask().map_err(|error| (error.kind(), error.to_string()));
            sender.send_replace(Some(found));
        });
        *asked = Some(answer.clone());
        answer
    }
}

impl PartialEq for Resolver {
    /// The same one, not one that says the same.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

impl Eq for Resolver {}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Resolver(own)" } else { "Resolver(system)" })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn u08_a_name_server_that_does_not_answer_takes_one_thread_however_many_wait() {
        let (asking, count) = (Asking::default(), Arc::new(AtomicUsize::new(0)));
        let address = SocketAddr::from(([192, 0, 2, 1], 80));
        let (release, released) = channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let ask = || {
            let (count, released) = (Arc::clone(&count), Arc::clone(&released));
            asking.ask(move || {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = released.lock().unwrap().recv();
                Ok(vec![address])
            })
        };
        for _ in 0..50 {
            assert!(timeout(Duration::from_millis(1), ask()).await.is_err(), "nobody answers");
        }
        let (one, other, ()) = tokio::join!(ask(), ask(), async { release.send(()).unwrap() });
        assert_eq!((one.unwrap(), other.unwrap()), (vec![address], vec![address]));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        release.send(()).unwrap();
        assert_eq!(ask().await.unwrap(), [address]);
        assert_eq!(count.load(Ordering::SeqCst), 2, "nothing is remembered");
    }

    #[tokio::test]
    async fn what_has_failed_is_told_to_all_and_asked_anew() {
        let asking = Asking::default();
        let failing = || asking.ask(|| Err(io::ErrorKind::NotFound.into()));
        let (one, other) = tokio::join!(failing(), failing());
        assert_eq!([one, other].map(|failed| failed.unwrap_err().kind()), [io::ErrorKind::NotFound; 2]);
        let panicked = asking.ask(|| panic!("on purpose")).await;
        assert_eq!(panicked.unwrap_err().kind(), io::ErrorKind::Other);
        assert_eq!(asking.ask(|| Ok(Vec::new())).await.unwrap(), []);
    }
}
