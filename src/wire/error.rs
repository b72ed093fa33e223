//! How a client can break the protocol, and the close it gets for it.

use crate::model::Close;

/// What is wrong with a client's bytes. The connection reads nothing after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// A client must mask (RFC 6455 §5.1).
    Unmasked,
    /// RSV2, RSV3, or RSV1 where no extension gives it a meaning (§5.2; RFC 7692 §6).
    ReservedBits,
    /// Opcode 3–7 or 11–15.
    ReservedOpcode,
    /// A length of 2⁶³ or more (§5.2).
    BadLength,
    /// A ping, pong or close of more than 125 bytes (§5.5).
    ControlTooLong,
    /// A ping, pong or close without FIN (§5.5).
    ControlFragmented,
    /// A continuation without a message to continue (§5.4).
    NothingToContinue,
    /// A new message before the last one's final fragment (§5.4).
    MessageUnfinished,
    /// A close frame of one byte, or with a code that may not be sent (§7.4).
    BadClose,
    /// A text or a close reason that is not UTF-8 (§8.1).
    InvalidText,
    /// A compressed message that is not DEFLATE (RFC 7692 §7.2.2).
    InvalidDeflate,
    /// More than `Limits::message_bytes`.
    TooBig,
    /// More than `Limits::fragments`.
    TooManyFragments,
}

impl WireError {
    /// The close to send: 1002, 1007 or 1009 (§7.4.1).
    pub fn close(&self) -> Close {
        match self {
            WireError::Unmasked => Close::new(1002, "frame without mask"),
            WireError::ReservedBits => Close::new(1002, "reserved bit set"),
            WireError::ReservedOpcode => Close::new(1002, "reserved opcode"),
            WireError::BadLength => Close::new(1002, "bad frame length"),
            WireError::ControlTooLong => Close::new(1002, "control frame too long"),
            WireError::ControlFragmented => Close::new(1002, "fragmented control frame"),
            WireError::NothingToContinue => Close::new(1002, "continuation without a message"),
            WireError::MessageUnfinished => Close::new(1002, "message inside a message"),
            WireError::BadClose => Close::new(1002, "bad close frame"),
            WireError::InvalidText => Close::INVALID_TEXT,
            WireError::InvalidDeflate => Close::new(1007, "invalid compressed data"),
            WireError::TooBig => Close::TOO_BIG,
            WireError::TooManyFragments => Close::new(1009, "too many fragments"),
        }
    }
}
