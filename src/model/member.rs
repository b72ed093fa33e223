//! Who is on a channel with presence.

use super::{ConnectionId, Identity, Millis};
use std::sync::Arc;

/// One connection on a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub connection: ConnectionId,
    pub identity: Arc<Identity>,
    pub joined_at: Millis,
}
