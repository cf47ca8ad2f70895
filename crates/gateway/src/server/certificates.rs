//! The certificates of a listener while it runs: looked at every second, read again when they have changed, and counted
//! down to their end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::clock::{Clock, UnixTime};
use crate::connection::Encryption;
use crate::observe::Observer;
use crate::tls::{self, FileError, Tls};

/// Reads the files for the listener `name`.
pub(super) fn encryption(
    config: tls::Config,
    timeout: Duration,
    observer: &Observer,
    name: &str,
    clock: &Clock,
) -> Result<Encryption, FileError> {
    let tls = Arc::new(Tls::load(config, clock.unix_now())?);
    Ok(Encryption { tls, timeout, metrics: observer.tls_metrics(name) })
}

/// They are in use no longer.
pub(super) fn forget(encryption: &Encryption) {
    for (file, _) in encryption.tls.expiries() {
        encryption.metrics.certificate_forgotten(&file.display());
    }
}

/// Keeps the certificates as their files are, until it is dropped.
pub(super) async fn keep(encryption: Encryption, clock: Clock) {
    count_down(&encryption, clock.unix_now());
    loop {
        sleep(LOOK_INTERVAL).await;
        let tls = Arc::clone(&encryption.tls);
        let now = clock.unix_now();
        // Files may lie on a disk that is slow or far away.
        match spawn_blocking(move || tls.refresh(now)).await {
            Ok(None) => {}
            Ok(Some(Ok(()))) => encryption.metrics.reloaded(),
            Ok(Some(Err(error))) => encryption.metrics.reload_failed(&error),
            Err(panic) => encryption.metrics.reload_failed(&panic),
        }
        count_down(&encryption, now);
    }
}

fn count_down(encryption: &Encryption, now: UnixTime) {
    for (file, ends_at) in encryption.tls.expiries() {
        let seconds =
            if ends_at > now { ends_at.since(now).as_secs_f64() } else { -now.since(ends_at).as_secs_f64() };
        encryption.metrics.certificate_expires(&file.display(), seconds / DAY_SECONDS);
    }
}

/// How often files are looked at: a certificate is in use two seconds after it has been written.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const DAY_SECONDS: f64 = 86_400.0;
