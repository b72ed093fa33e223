//! One call: a parcel, a POST, a verdict. Must be polled on the background runtime.

use super::retry::retry_after;
use super::settings::Webhook;
use crate::auth::{HttpClient, root_cause};
use crate::model::Millis;
use crate::store::Parcel;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use std::time::Duration;

/// A parcel's id: the same in all its calls.
pub(super) const ID: HeaderName = HeaderName::from_static("webhook-id");
/// When this call was made, in seconds since 1970.
pub(super) const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Bytes of an answer that are read, so that its connection serves again; what it says does not matter.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// And how long they are waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// What came of a call. Reasons are for logs: without the address, which may hold a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// 2xx.
    Delivered,
    /// Trying again does not help: 410, which in Standard Webhooks ends it.
    Refused(String),
    /// May be tried again; `after_ms`: not before, as the receiver asks.
    Failed { why: String, after_ms: Option<u64> },
}

/// As receivers and logs see it.
pub(super) fn id_text(id: u128) -> String {
    uuid::Uuid::from_u128(id).to_string()
}

pub(super) async fn attempt(
    client: &HttpClient<Full<Bytes>>,
    webhook: &Webhook,
    parcel: &Parcel,
    now: Millis,
) -> Verdict {
    let failed = |why: String| Verdict::Failed { why, after_ms: None };
    let call = client.request(request(webhook, parcel, now));
    match tokio::time::timeout(webhook.timeout.duration(), call).await {
        Err(_) => failed("no answer in time".into()),
        Ok(Err(e)) => failed(format!("no connection: {}", root_cause(&e))),
        Ok(Ok(response)) => {
            let verdict = judge(&response, now);
            // The head has decided. A body that is long or slow costs its connection and nothing else.
            let _ = tokio::time::timeout(ANSWER_WAIT.min(webhook.timeout.duration()), drain(response)).await;
            verdict
        }
    }
}

fn request(webhook: &Webhook, parcel: &Parcel, now: Millis) -> Request<Full<Bytes>> {
    let (id, timestamp) = (id_text(parcel.id), now / 1_000);
    let body = Bytes::copy_from_slice(parcel.body.as_bytes());
    let mut headers = webhook.headers.clone();
    let mut set = |name: HeaderName, text: String| {
        // Digits, base64 and dashes.
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    };
    if let Some(key) = &webhook.key {
        set(SIGNATURE, key.sign(&id, timestamp, &body));
    }
    set(ID, id);
    set(TIMESTAMP, timestamp.to_string());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = webhook.uri.clone();
    *request.headers_mut() = headers;
    request
}

fn judge(response: &Response<Incoming>, now: Millis) -> Verdict {
    let status = response.status();
    let why = format!("status {}", status.as_u16());
    if status.is_success() {
        return Verdict::Delivered;
    }
    if status == StatusCode::GONE {
        return Verdict::Refused(why);
    }
    let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok());
    Verdict::Failed { why, after_ms: after.and_then(|text| retry_after(text, now)) }
}

async fn drain(response: Response<Incoming>) {
    let (mut body, mut read) = (response.into_body(), 0);
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > ANSWER_BYTES_MAX {
            return;
        }
    }
}
