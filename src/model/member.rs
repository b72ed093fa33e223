//! Who is on a channel with presence.

use super::{ConnectionId, Millis};
use std::sync::Arc;

/// One connection on a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub connection: ConnectionId,
    /// `None`: anonymous.
    pub user: Option<Arc<str>>,
    pub joined_at: Millis,
}
