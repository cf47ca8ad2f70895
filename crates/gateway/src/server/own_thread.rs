//! A thread with a runtime of its own, for what must go on while clients keep the runtime's threads busy.

use std::thread;

use tokio::runtime::{Builder, Handle, RuntimeFlavor};
use tokio::sync::oneshot;

/// Lives `work` until it is done, or this is dropped: on a thread called `name`, or where it is called if the runtime there has one
/// thread. Such a runtime is a test's, whose time may stand still, or a program's that has chosen to have no more.
pub(super) async fn run(name: &str, work: impl Future<Output = ()> + Send + 'static) {
    if Handle::current().runtime_flavor() != RuntimeFlavor::MultiThread {
        return work.await;
    }
    let (done, ended) = oneshot::channel::<()>();
    let (wanted, unwanted) = oneshot::channel::<()>();
    let live = move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            tokio::select! {
                () = work => {}
                // Whoever waited for it has gone.
                _ = unwanted => {}
            }
        });
        drop(done);
    };
    if thread::Builder::new().name(name.to_owned()).spawn(live).is_ok() {
        let _ = ended.await;
    }
    drop(wanted);
}
