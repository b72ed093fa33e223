//! The body of a request, read as it comes and counted as it grows.

use super::context::{Context, Front};
use super::http_places::HttpPlace;
use crate::api::{Fail, Known, Why};
use crate::model::memory::Kind;
use crate::observe::LimitName;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::net::IpAddr;
use std::sync::Arc;

/// Of one address: this part of the bytes that unknown senders have together.
pub(super) const OF_ADDRESS: usize = 4;
/// The first room of a body; after that it doubles.
const ROOM_BYTES: usize = 4 << 10;

/// What reading a body needs.
pub struct Reading {
    pub front: Arc<Front>,
    pub context: Arc<Context>,
    pub place: Arc<HttpPlace>,
    pub ip: IpAddr,
}

impl Reading {
    pub async fn read(self, body: Incoming, by: Known) -> Result<Bytes, Fail> {
        let timeout = self.front.entrance.http.body_timeout.duration();
        // Whoever is slow with it makes room for others, like one who is slow with headers.
        self.place.waits(true);
        let read = tokio::time::timeout(timeout, self.collect(body, by)).await;
        self.place.waits(false);
        read.unwrap_or_else(|_| {
            self.context.metrics.limit(LimitName::BodyTimeout, 1);
            Err(Fail::new(Why::BodyTimeout, "the body did not come in time"))
        })
    }

    async fn collect(&self, mut body: Incoming, by: Known) -> Result<Bytes, Fail> {
        let max = self.front.entrance.http.body_bytes.0 as usize;
        let hint = body.size_hint();
        if hint.lower() > max as u64 {
            return Err(self.too_large(max));
        }
        // No more than it says, and that not before it comes.
        let end = hint.upper().map_or(max, |upper| upper.min(max as u64) as usize);
        let memory = &self.context.metrics.memory;
        let account = if by == Known::Yes { &memory.callers } else { &memory.strangers };
        let mut of_address = (by == Known::No).then(|| self.context.places.body_bytes(self.ip));
        let address_max = memory.strangers.bound() / OF_ADDRESS;
        let mut taken = account.reserve(Kind::Http, 0).ok_or_else(|| self.full())?;
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Fail::new(Why::InvalidJson, "the body ended early"))?;
            let Ok(data) = frame.into_data() else { continue };
            let needed = bytes.len() + data.len();
            if needed > max {
                return Err(self.too_large(max));
            }
            if needed > bytes.capacity() {
                // Never by what a header claims: room for as much again as came.
                let room = needed.max(bytes.capacity() * 2).max(ROOM_BYTES).min(end.max(needed));
                let fits = of_address.as_mut().is_none_or(|of| of.resize(room, address_max));
                if !fits || !taken.resize(room) {
                    return Err(self.full());
                }
                bytes.reserve_exact(room - bytes.len());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(taken.held_with(bytes.into(), of_address))
    }

    fn too_large(&self, max: usize) -> Fail {
        self.context.metrics.limit(LimitName::BodyBytes, 1);
        Fail::new(Why::TooLarge, format!("a body has {max} bytes at most"))
    }

    fn full(&self) -> Fail {
        self.context.metrics.limit(LimitName::Memory, 1);
        let detail = "there is no memory for the body at the moment";
        Fail { retry_after_s: Some(5), ..Fail::new(Why::Overloaded, detail) }
    }
}
