//! The buffers that a worker thread lends to whichever connection it polls. Nothing borrowed survives the poll.

use std::cell::RefCell;

use drawgate_protocol::limits::REMAINDER_BYTES_MAX;

use super::masks::MaskKeys;
use crate::compression::Workshop;

/// A worker's buffers.
pub(super) struct Worker {
    /// What is read lands here, behind a remainder of the last read.
    pub(super) input: Box<[u8]>,
    /// What one poll produces gathers here and leaves by one write.
    pub(super) output: Vec<u8>,
    /// The same for what goes on to an application.
    pub(super) onward: Vec<u8>,
    /// What masks that.
    pub(super) keys: MaskKeys,
    /// What compressed messages need.
    pub(super) workshop: Workshop,
}

/// Lends this thread's buffers to `use_them`, which must not call here again.
pub(super) fn lend<R>(use_them: impl FnOnce(&mut Worker) -> R) -> R {
    thread_local! {
        static WORKER: RefCell<Worker> = RefCell::new(Worker {
            input: vec![0; REMAINDER_BYTES_MAX + READ_BYTES].into_boxed_slice(),
            output: Vec::new(),
            onward: Vec::new(),
            keys: MaskKeys::default(),
            workshop: Workshop::default(),
        });
    }
    WORKER.with_borrow_mut(|worker| {
        // Where a panic ended the last loan, what lies here is another connection's.
        worker.output.clear();
        worker.onward.clear();
        let result = use_them(worker);
        // A single large message is no reason to hold its size for ever.
        for output in [&mut worker.output, &mut worker.onward] {
            if output.capacity() > OUTPUT_BYTES_KEPT {
                *output = Vec::new();
            }
        }
        result
    })
}

/// How much one read takes at most.
pub(super) const READ_BYTES: usize = 64 * 1024;

const OUTPUT_BYTES_KEPT: usize = 512 * 1024;
