//! Answers that wait until their client has read them: what is large is counted as long as it waits.

use super::body::OF_ADDRESS;
use super::respond::{problem, with};
use super::serve::Exchange;
use crate::model::memory::Kind;
use crate::observe::LimitName;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::RETRY_AFTER;
use hyper::{Response, StatusCode};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// What a connection's own place has room for.
const SMALL_BYTES: u64 = 8 << 10;
const RETRY_S: &str = "5";

/// Whose memory an answer takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Of an admin listener: never refused.
    Operator,
    /// Of the API: whoever gets more than a refusal there has shown a key.
    Caller,
    /// All of one address have a share together.
    Stranger(IpAddr),
}

/// The answer, or 503 where there is no memory for it.
pub fn counted(response: Response<Full<Bytes>>, asker: Asker, x: &Exchange) -> Response<Full<Bytes>> {
    let Some(bytes) = response.body().size_hint().exact().filter(|bytes| *bytes > SMALL_BYTES) else { return response };
    let (bytes, memory) = (bytes as usize, &x.context.metrics.memory);
    let (taken, of_address) = match asker {
        Asker::Operator => (Some(memory.operators.take(Kind::Http, bytes).0), None),
        Asker::Caller => (memory.callers.reserve(Kind::Http, bytes), None),
        Asker::Stranger(ip) => {
            let mut of_address = x.context.places.body_bytes(ip);
            let fits = of_address.resize(bytes, memory.strangers.bound() / OF_ADDRESS);
            (fits.then(|| memory.strangers.reserve(Kind::Http, bytes)).flatten(), Some(of_address))
        }
    };
    let Some(taken) = taken else {
        x.context.metrics.limit(LimitName::Memory, 1);
        let full = problem(StatusCode::SERVICE_UNAVAILABLE, "there is no memory for the answer at the moment");
        return with(full, RETRY_AFTER, RETRY_S);
    };
    let (head, body) = response.into_parts();
    Response::from_parts(head, Full::new(taken.held_with(whole(body), of_address)))
}

/// All of it is there.
fn whole(mut body: Full<Bytes>) -> Bytes {
    match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        _ => Bytes::new(),
    }
}
