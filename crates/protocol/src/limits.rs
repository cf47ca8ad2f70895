//! Every bound of the frame layer, in bytes or counts.

/// The longest payload of a control frame (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// The longest frame header: two bytes, a 64-bit length, a masking key (§5.2).
pub const HEADER_BYTES_MAX: usize = 14;

/// The most bytes that [`crate::Receiver::receive`] can leave in its input: one byte less than a masked control frame.
pub const REMAINDER_BYTES_MAX: usize = 2 + 4 + CONTROL_BYTES_MAX - 1;

/// How many flushes a compressed message is given room for, beside what its size allows.
const COMPRESSED_FLUSHES_MAX: u64 = 1024;

/// Bounds on one message (§10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most payload bytes of a message, all its frames together.
    pub message_bytes_max: u64,
    /// The most frames of a message; empty ones count.
    pub message_fragments_max: u32,
}

impl Limits {
    /// No bound but the protocol's own, 2^63 - 1 bytes a frame: for callers that pass everything on and hold nothing.
    pub const UNLIMITED: Self = Self { message_bytes_max: u64::MAX, message_fragments_max: u32::MAX };

    /// The most payload bytes of a compressed message's frames: those of one that cannot be compressed, so that data which
    /// inflates to nothing has its bound too. Deflate adds five bytes to each block that it stores, and each flush six.
    #[must_use]
    pub const fn compressed_bytes_max(&self) -> u64 {
        let fragments = self.message_fragments_max as u64;
        let flushes = if fragments < COMPRESSED_FLUSHES_MAX { fragments } else { COMPRESSED_FLUSHES_MAX };
        self.message_bytes_max.saturating_add(self.message_bytes_max / 32).saturating_add((flushes + 1) * 8)
    }
}

impl Default for Limits {
    /// 1 MiB in 1,024 frames.
    fn default() -> Self {
        Self { message_bytes_max: 1024 * 1024, message_fragments_max: 1024 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_message_may_have_what_storing_it_takes_in_as_many_frames_as_it_may_have() {
        let limits = Limits { message_bytes_max: 320, message_fragments_max: 4 };
        assert_eq!(limits.compressed_bytes_max(), 320 + 10 + 5 * 8);
        let many = Limits { message_fragments_max: u32::MAX, ..limits };
        assert_eq!(many.compressed_bytes_max(), 320 + 10 + (COMPRESSED_FLUSHES_MAX + 1) * 8);
        assert_eq!(Limits::UNLIMITED.compressed_bytes_max(), u64::MAX);
    }
}
