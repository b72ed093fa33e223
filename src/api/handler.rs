//! A route that a handler answers: the request becomes an event, what became of the call becomes the reply.

use super::access::Visitor;
use super::done::Done;
use super::fail::{Fail, Why, reply};
use super::gateway::Gateway;
use super::handle::Context;
use super::request::Request;
use super::site::Matched;
use crate::flow::{After, Bound, Wish};
use crate::model::{Identity, query_pairs};
use crate::script::{self, Event, Finished, Trigger, Web};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use serde_json::value::RawValue;

/// Headers by which HTTP/1.1 finds an answer's end (RFC 9112 §6), or that are the connection's (RFC 9110 §7.6.1).
const FRAMING: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, TRAILER, TE];

/// What a handler made of a request.
pub(super) enum Handled {
    /// It said what to answer.
    Reply(Response<Full<Bytes>>),
    /// For the route's `reply`, else as it is.
    Done(Done),
}

/// Has the route's handler called, and waits for what becomes of it.
pub(super) async fn handle<G: Gateway>(
    context: &Context<G>,
    request: &Request,
    matched: &Matched<'_>,
    visitor: &Visitor,
    body: Option<&RawValue>,
    bound: &Bound,
) -> Result<Handled, Fail> {
    let running = context.app(matched.app)?;
    let script = running.handlers.as_ref().map(|h| h.script.clone());
    let script = script.ok_or_else(|| Fail::new(Why::Internal, "the app has no plugin"))?;
    let event = event(request, matched, visitor, body);
    let entity = bound.entity.as_ref().map(|key| key.key(&event)).transpose()?;
    let (generation, handler) = (context.generation.number, bound.handler);
    let wish = Wish { app: script, generation, handler, entity, event, failed: None, after: After::Nothing };
    let Finished { event, result, reply, recipients } = context.gateway.call(wish).await?;
    let returned = result?;
    if let Some(said) = reply {
        return Ok(Handled::Reply(response(said, matched.route.status)));
    }
    let recipients = match recipients {
        Some(recipients) if matched.route.reads_recipients => recipients.await.unwrap_or_default(),
        _ => 0,
    };
    Ok(Handled::Done(Done::Handled { recipients, result: returned.then_some(event.data) }))
}

fn event(request: &Request, matched: &Matched<'_>, visitor: &Visitor, body: Option<&RawValue>) -> Event {
    // What shows who somebody is, is not the plugin's affair: it sees `event.user`.
    let hidden = |name: &HeaderName| {
        [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name) || matched.route.access.reads_header(name)
    };
    let shown = request.headers.iter().filter(|(name, _)| !hidden(name));
    let web = Web {
        method: request.method.as_str().into(),
        path: request.path.as_str().into(),
        query: query_pairs(&request.query)
            .filter(|(name, _)| !matched.route.access.reads_query(name))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect(),
        headers: shown.filter_map(|(name, value)| Some((name.as_str().into(), value.to_str().ok()?.into()))).collect(),
        ip: request.ip,
    };
    let data = body.map_or_else(Bytes::new, |body| Bytes::copy_from_slice(body.get().as_bytes()));
    Event {
        identity: visitor.identity.clone().unwrap_or_else(Identity::anonymous),
        vars: matched.vars.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
        ..Event::of_nobody(Trigger::Route(Box::new(web)), data, request.now)
    }
}

/// As the handler wrote it.
fn response(said: script::Reply, status: u16) -> Response<Full<Bytes>> {
    let mut response = reply(said.status.unwrap_or(status), "application/json", said.message.data);
    for (name, value) in said.headers {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            // Where an answer ends, and what becomes of the connection, hyper says: a length from elsewhere would make
            // a client take the next answer's beginning for this one's rest.
            (Ok(name), _) if FRAMING.contains(&name) => {
                tracing::warn!(header = name.as_str(), "a handler's header is the connection's, and is left out");
            }
            (Ok(name), Ok(value)) => drop(response.headers_mut().insert(name, value)),
            _ => crate::observe::limited!(
                warn,
                header = name.escape_debug().to_string(),
                "a handler's header cannot be sent"
            ),
        }
    }
    response
}
