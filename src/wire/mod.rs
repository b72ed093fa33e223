//! Turns bytes into messages and messages into bytes: RFC 6455 frames, RFC 7692 permessage-deflate. Sans-I/O.
//!
//! In: what a shard read from a socket, in a buffer that all its connections share. Out: `Incoming`, borrowed from
//! that buffer where it holds the whole message; frames appended to a `Vec`; a `WireError` that knows its `Close`.
//! Left to others: the HTTP handshake (`listen`), answering pings and closes (`shard`), what a text means (`dialect`).
//!
//! Compression never keeps a window between messages (both sides `no_context_takeover`), so one `Inflater` and one
//! `Deflater` serve all connections of a shard.

mod close;
mod deflate;
mod error;
mod head;
mod inflate;
mod negotiate;
mod pieces;
mod reader;
#[cfg(test)]
mod tests;
mod write;

pub use deflate::Deflater;
pub use error::WireError;
pub use fastwebsockets::OpCode;
pub use inflate::Inflater;
pub use negotiate::{DeflateParams, negotiate};
pub use reader::{Frames, Reader};
pub use write::{close_frame, frame, header};

/// What one message of a client may weigh. Handed in with every call: a reload changes it on live connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// `limits.message_bytes`: of a whole message, all fragments together, after inflation.
    pub message_bytes: usize,
    /// `limits.message_fragments`: frames of one message.
    pub fragments: u32,
}

/// What a frame of a client completed. Nothing is inflated or checked yet: whether it is worth that, the caller says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrived {
    /// Nothing: more of its message is to come.
    Fragment,
    Control,
    Message,
}

/// One message or control frame of a client, unmasked, inflated and checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Incoming<'b> {
    Text(&'b str),
    Binary(&'b [u8]),
    /// 125 bytes at most, to be sent back in a pong (§5.5.2).
    Ping(&'b [u8]),
    Pong(&'b [u8]),
    /// Code and reason, or `None` where the frame was empty. Nothing is read after it.
    Close(Option<(u16, &'b str)>),
}
