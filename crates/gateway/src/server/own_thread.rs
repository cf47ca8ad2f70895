//! A thread with a runtime of its own, for what must go on while clients keep the runtime's threads busy.

use std::sync::mpsc::channel;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::sync::oneshot;

/// Lives `work` until it is done, or this is dropped: on a thread called `name`, or where it is called if the runtime there has one
/// thread. Such a runtime is a test's, whose time may stand still, or a program's that has chosen to have no more.
pub(super) async fn run(name: &str, work: impl Future<Output = ()> + Send + 'static) {
    if Handle::current().runtime_flavor() != RuntimeFlavor::MultiThread {
        return work.await;
    }
    run_on(thread::Builder::new().name(name.to_owned()), work).await;
}

/// Where the system has no thread to give, or no descriptors for a runtime, it is lived where it is called: late is better than not.
async fn run_on(thread: thread::Builder, work: impl Future<Output = ()> + Send + 'static) {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return work.await };
    let (done, ended) = oneshot::channel::<()>();
    let (wanted, unwanted) = oneshot::channel::<()>();
    // Handed over once there is a thread, since what goes into one that cannot be made is lost.
    let (hand, handed) = channel::<(Runtime, _)>();
    let live = move || {
        let Ok((runtime, work)) = handed.recv() else { return };
        runtime.block_on(async {
            tokio::select! {
                () = work => {}
                // Whoever waited for it has gone.
                _ = unwanted => {}
            }
        });
        // Its tasks with it, before anybody hears that it is through.
        drop(runtime);
        drop(done);
    };
    if thread.spawn(live).is_err() {
        runtime.shutdown_background();
        return work.await;
    }
    let _ = hand.send((runtime, work));
    let _ = ended.await;
    drop(wanted);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn it_is_lived_on_its_thread_and_here_where_there_is_none_to_be_had() {
        for (stack_bytes, is_elsewhere) in [(1 << 20, true), (1 << 62, false)] {
            let lived = Arc::new(AtomicBool::new(false));
            let is_lived = Arc::clone(&lived);
            let work = async move {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                let name = thread::current().name().map(str::to_owned);
                assert_eq!(name.as_deref() == Some("elsewhere"), is_elsewhere, "{name:?}");
                is_lived.store(true, Ordering::SeqCst);
            };
            run_on(thread::Builder::new().name("elsewhere".to_owned()).stack_size(stack_bytes), work).await;
            assert!(lived.load(Ordering::SeqCst));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_it_has_begun_is_over_when_it_is() {
        let held = Arc::new(());
        let theirs = Arc::clone(&held);
        run("elsewhere", async move {
            tokio::spawn(async move {
                let _held = theirs;
                std::future::pending::<()>().await;
            });
            tokio::task::yield_now().await;
        })
        .await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
