//! Who says where a name leads: the system, or the program that uses the library.
//!
//! Asked anew for each connection, so that what has changed is seen by the next one. Remembers nothing, and decides nothing about what it
//! is told: `dial.rs` spreads connections over the addresses.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::lookup_host;

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

    /// The addresses of `name`.
    pub(super) async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match &self.0 {
            None => lookup_host((name, port)).await.map(Iterator::collect),
            Some(resolve) => resolve(name.to_owned(), port).await,
        }
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
