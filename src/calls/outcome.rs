//! How calls end.

use crate::error::{Error, Phase};

/// Makes the enum of the outcomes, each with the name that it has in metrics and spans.
macro_rules! outcomes {
    ($($(#[doc = $doc:literal])* $Name:ident => $name:literal,)*) => {
        /// How a call ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Outcome {
            $($(#[doc = $doc])* $Name,)*
        }

        impl Outcome {
            #[cfg(feature = "metrics")]
            pub(crate) const COUNT: usize = [$(Outcome::$Name),*].len();

            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Outcome::$Name => $name,)*
                }
            }
        }
    };
}

outcomes! {
    Ok => "ok",
    /// The future was dropped before the call had ended.
    Cancelled => "cancelled",
    Closed => "closed",
    Conflict => "conflict",
    /// The stored data is not of the type that was asked for.
    Data => "data",
    /// A loader failed or panicked.
    LoadFailed => "load_failed",
    LockHeld => "lock_held",
    LockMismatch => "lock_mismatch",
    /// A change may or may not have been carried out.
    Unknown => "outcome_unknown",
    /// The request was not sent before the deadline: a queue had no room, or others were before it.
    QueueFull => "queue_full",
    /// An argument was refused.
    Refused => "refused",
    /// The server refused the command.
    Rejected => "rejected",
    Timeout => "timeout",
    Unauthorized => "unauthorized",
    Unavailable => "unavailable",
}

impl Outcome {
    /// Whether something went wrong. A caller that has left is no error.
    pub(crate) const fn is_error(self) -> bool {
        !matches!(self, Outcome::Ok | Outcome::Cancelled)
    }
}

/// The answer of a call.
pub(crate) trait Answered {
    fn outcome(&self) -> Outcome;
}

impl<T> Answered for Result<T, Error> {
    fn outcome(&self) -> Outcome {
        self.as_ref().err().map_or(Outcome::Ok, Answered::outcome)
    }
}

impl Answered for Error {
    fn outcome(&self) -> Outcome {
        match self {
            Error::KeyRequired
            | Error::KeyTooLong { .. }
            | Error::KeyReserved
            | Error::InvalidNamespace { .. }
            | Error::InvalidTtl { .. }
            | Error::ValueTooLarge { .. }
            | Error::InvalidConfig { .. }
            | Error::SecretRequired
            | Error::WaitRequired
            | Error::Unsupported { .. }
            | Error::Encode(_) => Outcome::Refused,
            Error::LockHeld => Outcome::LockHeld,
            Error::LockMismatch => Outcome::LockMismatch,
            Error::NotAnInteger | Error::Overflow | Error::WrongType | Error::Decode(_) => Outcome::Data,
            Error::Conflict => Outcome::Conflict,
            Error::Unauthorized => Outcome::Unauthorized,
            Error::Rejected(_) => Outcome::Rejected,
            Error::Timeout { phase: Phase::Queue } => Outcome::QueueFull,
            Error::Timeout { .. } => Outcome::Timeout,
            Error::Unavailable(_) => Outcome::Unavailable,
            Error::OutcomeUnknown(_) => Outcome::Unknown,
            Error::Closed => Outcome::Closed,
        }
    }
}
