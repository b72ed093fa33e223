//! `/admin/…` on admin listeners: which files are in force, putting changed ones in force, what others would change,
//! and why a live connection may or may not.

mod answers;

pub use answers::{
    Changes, Group, InForce, Item, KeptRequest, LastReload, LiveExplanation, Names, NoticedBy, Noticing, Plan,
    ReloadResult, Reloaded, Removing, Restart, Setting, Status,
};

use super::args::Args;
use super::fail::{Fail, ProblemDetails, Why, json, reply};
use super::handle::{Context, expect};
use super::request::{Known, Request};
use crate::model::{ChannelName, ConnectionId, Fault, count, one_of};
use crate::observe::{Record, audit};
use crate::policy::RightKind;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Response};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What was asked came to this.
pub type Doing<T> = Pin<Box<dyn Future<Output = Result<T, NotDone>> + Send>>;

/// Why it was not done.
#[derive(Clone, Debug)]
pub enum NotDone {
    /// All mistakes in the files.
    Faults(Vec<Fault>),
    /// What was asked makes no sense.
    Invalid(String),
    NotFound(String),
    /// Too much at once: trying again helps.
    Overloaded(&'static str),
    /// The gateway stops.
    Draining,
    Internal(String),
}

/// Who reads files.
pub trait Admin: Send + Sync {
    fn status(&self) -> Status;
    /// Reads all files again and waits: what is in force then. `by`: the API key's name.
    fn reload(&self, by: &str) -> Doing<Reloaded>;
    /// What the files in this folder would change.
    fn plan(&self, candidate: String) -> Doing<Plan>;
    /// Why a live connection may or may not.
    fn explain(&self, wanted: Wanted) -> Doing<LiveExplanation>;
}

/// A decision to be explained.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub connection: ConnectionId,
    pub does: RightKind,
    pub on: ChannelName,
}

/// The words for `does`.
const RIGHTS: [(&str, RightKind); 4] = [
    ("subscribe", RightKind::Subscribe),
    ("publish", RightKind::Publish),
    ("history", RightKind::History),
    ("presence", RightKind::Presence),
];

/// The metrics' word and the answer; `None`: another path.
pub(super) async fn admin<G>(context: &Context<G>, request: &Request) -> Option<(&'static str, Response<Full<Bytes>>)> {
    let admin = context.admin.as_ref()?;
    let (word, method) = match request.path.as_str() {
        "/admin/config" => ("admin_config", Method::GET),
        "/admin/reload" => ("admin_reload", Method::POST),
        "/admin/plan" => ("admin_plan", Method::POST),
        "/admin/explain" => ("admin_explain", Method::POST),
        _ => return None,
    };
    let by = match expect(request, method).and_then(|()| who(context, request)) {
        Ok(by) => by,
        Err(fail) => return Some((word, fail.response())),
    };
    let done = match word {
        "admin_config" => Ok(json(&admin.status())),
        "admin_reload" => admin.reload(&by).await.map(|reloaded| json(&reloaded)),
        "admin_plan" => plan(&**admin, request, &by).await.map(|plan| json(&plan)),
        _ => explain(&**admin, request, &by).await.map(|why| json(&why)),
    };
    Some((word, done.map_or_else(failed, |answer| reply(200, "application/json", answer.into()))))
}

/// The key's name. In development mode nobody needs one.
fn who<G>(context: &Context<G>, request: &Request) -> Result<Arc<str>, Fail> {
    match context.generation.development {
        true => match context.key(request)? {
            Some(key) => key.allows_admin(),
            None => context.site.pages.without_key(request, None).map(|()| "nobody".into()),
        },
        false => context.required_key(request)?.allows_admin(),
    }
}

/// `{"candidate": "/srv/weir/next"}`
async fn plan(admin: &dyn Admin, request: &Request, by: &str) -> Result<Plan, NotDone> {
    let mut args = args(request).await?;
    let candidate = required(args.text("candidate"), "candidate")?;
    finish(args)?;
    let done = admin.plan(candidate.clone()).await;
    let revoked = done.as_ref().ok().and_then(|plan| plan.revoked.as_ref());
    let count = revoked.map(|revoked| revoked.subscription_count as u64);
    let result = if matches!(&done, Ok(plan) if !plan.ok) { "faults" } else { result(&done) };
    audit(&Record { verb: Some("plan"), target: Some(&candidate), count, result, ..noted(by) });
    done
}

/// `{"connection": "ws_1…", "does": "subscribe", "on": "clinic:c1:queue"}`
async fn explain(admin: &dyn Admin, request: &Request, by: &str) -> Result<LiveExplanation, NotDone> {
    let mut args = args(request).await?;
    let connection = required(args.text("connection"), "connection")?;
    let does = args.text("does").map_err(|fail| NotDone::Invalid(fail.detail))?.unwrap_or("subscribe".into());
    let on = required(args.text("on"), "on")?;
    finish(args)?;
    let id = ConnectionId::parse(&connection);
    let id = id.ok_or_else(|| NotDone::Invalid(format!("`connection`: `{connection}` is no connection's id")))?;
    let right = RIGHTS.iter().find(|(word, _)| *word == does).map(|(_, right)| *right);
    let right = right.ok_or_else(|| NotDone::Invalid(format!("`does`: {}", one_of(RIGHTS.iter().map(|(w, _)| *w)))))?;
    let name = ChannelName::parse(&on).map_err(|bad| NotDone::Invalid(format!("`on`: {bad}")))?;
    let done = admin.explain(Wanted { connection: id, does: right, on: name }).await;
    let (verb, connection, channel) = (Some("explain"), Some(&*connection), Some(&*on));
    audit(&Record { verb, connection, channel, result: result(&done), ..noted(by) });
    done
}

fn noted(by: &str) -> Record<'_> {
    Record { audit: "verb", who: Some(by), ..Record::default() }
}

fn result<T>(done: &Result<T, NotDone>) -> &'static str {
    done.as_ref().map_or_else(|why| why.fail().why.as_str(), |_| "ok")
}

async fn args(request: &Request) -> Result<Args<'_>, NotDone> {
    let body = request.body.read(Known::Yes).await.map_err(|fail| NotDone::Invalid(fail.detail))?;
    Args::of_body(body).map_err(|fail| NotDone::Invalid(fail.detail))
}

fn required(text: Result<Option<String>, Fail>, name: &str) -> Result<String, NotDone> {
    let text = text.map_err(|fail| NotDone::Invalid(fail.detail))?;
    text.ok_or_else(|| NotDone::Invalid(format!("`{name}` is required")))
}

fn finish(args: Args<'_>) -> Result<(), NotDone> {
    args.finish().map_err(|fail| NotDone::Invalid(fail.detail))
}

impl NotDone {
    fn fail(&self) -> Fail {
        match self {
            NotDone::Faults(faults) => {
                let what = count(faults.len(), "fault");
                Fail::new(Why::InvalidConfig, format!("{what}; what was in force still is"))
            }
            NotDone::Invalid(what) => Fail::body(what.clone()),
            NotDone::NotFound(what) => Fail::new(Why::NotFound, what.clone()),
            NotDone::Overloaded(what) => Fail { retry_after_s: Some(1), ..Fail::new(Why::Overloaded, *what) },
            NotDone::Draining => Fail::new(Why::Draining, "The gateway stops; what was in force still is"),
            NotDone::Internal(what) => Fail::new(Why::Internal, what.clone()),
        }
    }
}

fn failed(why: NotDone) -> Response<Full<Bytes>> {
    let fail = why.fail();
    let NotDone::Faults(faults) = why else { return fail.response() };
    let problem = ProblemDetails { faults: Some(faults), ..fail.problem() };
    reply(fail.why.status(), ProblemDetails::KIND, json(&problem).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_done_says_whether_to_try_again() {
        let status = |why: NotDone| failed(why).status().as_u16();
        assert_eq!(status(NotDone::Draining), 503);
        assert_eq!(status(NotDone::Faults(vec![Fault::of_file("x", "y")])), 422);
        assert_eq!(status(NotDone::NotFound("x".into())), 404);
        let busy = failed(NotDone::Overloaded("x"));
        assert_eq!((busy.status().as_u16(), busy.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    }
}
