//! A client whose handshake is done.

use super::counts::Seat;
use crate::flow::KeptRequest;
use crate::model::{AppId, Close, Identity, Refusal};
use crate::wire::DeflateParams;
use bytes::Bytes;
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of a client beside its transport.
pub struct Newcomer {
    /// What it sent behind its handshake: the beginning of the stream.
    pub leftover: Bytes,
    pub app: AppId,
    /// Index of the app's `[[endpoint]]`.
    pub endpoint: u16,
    /// That endpoint's key, where a reload has changed the numbers.
    pub endpoint_key: Arc<str>,
    /// The listener's number.
    pub listener: u16,
    /// `None`: not yet known; the first message is to tell, within `auth_timeout`.
    pub identity: Option<Arc<Identity>>,
    /// Say this and nothing else.
    pub close_at_once: Option<Close>,
    /// Told before that, in its dialect.
    pub refusal: Option<Refusal>,
    pub deflate: Option<DeflateParams>,
    /// The client's, behind trusted proxies too.
    pub ip: IpAddr,
    pub user_agent: Option<Arc<str>>,
    /// Only where the app's rules or templates read it.
    pub request: Option<Box<KeptRequest>>,
    /// Its places in `Counts`: free again when it has ended.
    pub seat: Seat,
}
