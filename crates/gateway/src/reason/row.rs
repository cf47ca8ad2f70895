//! What a row of the table holds, and the macro that turns rows into [`Reason`](super::Reason).

use drawgate_protocol::CloseCode;

/// All that follows from one reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The word for it everywhere: close reasons, problem types, log records, metrics, docs/errors.md.
    pub label: &'static str,
    /// The title of its problem (RFC 9457 §3.1.3).
    pub title: &'static str,
    /// What the client is told, for people.
    pub sentence: &'static str,
    /// `label: sentence`, at most 123 bytes: the reason in our Close frame.
    pub close_reason: &'static str,
    /// The URI that names the problem's type and leads to its entry in docs/errors.md (RFC 9457 §3.1.1).
    pub type_uri: &'static str,
    /// What it means and what to do, a line of Markdown each.
    pub explanation: &'static str,
    /// The HTTP status before the `101`; `None` where it cannot happen then, or nothing can be sent.
    pub status: Option<u16>,
    /// The close code after the `101`; `None` where it cannot happen then, or nothing of ours is sent.
    pub close: Option<CloseCode>,
    /// How severe its log record is.
    pub level: Level,
    /// Whose doing it is.
    pub fault: Fault,
    /// Whether the client should try again.
    pub retry: Retry,
}

impl Row {
    /// How many seconds a client is told to wait, the value of `Retry-After` (RFC 9110 §10.2.3); `None` where the row names none. Those who
    /// are refused for want of room are many at a time: by random `bits` each is told between what the row says and twice that, so that
    /// they do not come back together.
    #[must_use]
    pub const fn retry_after_seconds(&self, bits: u64) -> Option<u32> {
        match (self.retry.after_seconds(), self.status) {
            // The rest of a division by a number of 32 bits has as many at most.
            #[expect(clippy::cast_possible_truncation, reason = "it is less than what it was divided by")]
            (Some(seconds), Some(503)) => Some(seconds + (bits % (seconds as u64 + 1)) as u32),
            (seconds, _) => seconds,
        }
    }
}

/// How severe a record is. All are logged by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The operator should look at it.
    Error,
    /// Something was refused, or looks wrong.
    Warn,
    /// What happens in normal operation.
    Info,
}

impl Level {
    /// The word for it in records and docs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
        }
    }
}

/// Whose doing an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client's, or its network's.
    Client,
    /// The application's behind the gate.
    Upstream,
    /// The operator's: configuration, limits of the system, the application in our process.
    Operator,
    /// The gateway's own: its capacity, or a fault in it.
    Gateway,
    /// Nobody's: a normal end.
    None,
}

impl Fault {
    /// The word for it in docs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Operator => "operator",
            Self::Gateway => "gateway",
            Self::None => "none",
        }
    }
}

/// Whether, and when, a client should try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same attempt fails again.
    Never,
    /// There is no reason to wait, beyond the backoff that every client should have.
    AtOnce,
    /// Not before this many seconds; also sent as `Retry-After`.
    AfterSeconds(u32),
    /// With another credential only.
    WithNewCredential,
}

impl Retry {
    /// The word for it in problems, notices and docs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::AtOnce => "at_once",
            Self::AfterSeconds(_) => "after",
            Self::WithNewCredential => "with_new_credential",
        }
    }

    /// The seconds to wait at least, where the row names them.
    #[must_use]
    pub const fn after_seconds(self) -> Option<u32> {
        match self {
            Self::AfterSeconds(seconds) => Some(seconds),
            Self::Never | Self::AtOnce | Self::WithNewCredential => None,
        }
    }
}

/// One variant and one row from one entry, so that neither can be without the other. A close code is the name of a
/// constant of [`CloseCode`], none of which is local-only.
macro_rules! reasons {
    ($(
        $(#[doc = $explanation:literal])+
        $variant:ident $label:literal $title:literal $sentence:literal
            http[$($status:literal)?] close[$($close:ident)?]
            level $level:ident fault $fault:ident retry $retry:ident $(($seconds:literal))?;
    )+) => {
        /// Why a connection or a message ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $explanation])+ $variant,)+
        }

        impl Reason {
            /// All of them, in the order of the table.
            pub const ALL: [Self; [$($label),+].len()] = [$(Self::$variant),+];

            /// What follows from it.
            #[must_use]
            pub const fn row(self) -> &'static $crate::reason::Row {
                match self {
                    $(Self::$variant => const { &$crate::reason::Row {
                        label: $label,
                        title: $title,
                        sentence: $sentence,
                        close_reason: concat!($label, ": ", $sentence),
                        type_uri: concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/errors.md#", $label),
                        explanation: concat!($($explanation, "\n"),+),
                        status: $crate::reason::row::optional!($($status)?),
                        close: $crate::reason::row::optional!($(drawgate_protocol::CloseCode::$close)?),
                        level: $crate::reason::Level::$level,
                        fault: $crate::reason::Fault::$fault,
                        retry: $crate::reason::Retry::$retry $(($seconds))?,
                    } },)+
                }
            }
        }
    };
}

/// A value that an entry may leave out.
macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

pub(super) use {optional, reasons};
