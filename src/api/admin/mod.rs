//! `/admin/…` on admin listeners: which files are in force, putting changed ones in force, what others would change,
//! and why a live connection may or may not.

mod answers;

pub use answers::{
    Changes, Group, InForce, Item, KeptRequest, LastReload, LiveExplanation, Names, NoticedBy, Noticing, Plan,
    ReloadResult, Reloaded, Removing, Restart, Setting, Status,
};

use super::args::Args;
use super::call::named;
use super::fail::{Fail, Why, json};
use super::handle::Context;
use super::once::Answer;
use super::operation::Operation;
use super::request::{Known, Request};
use crate::model::{ChannelName, ConnectionId, Fault, count, one_of};
use crate::observe::{Record, audit};
use crate::policy::RightKind;
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

/// Answers an operation that is for operators.
pub(super) async fn admin<G>(context: &Context<G>, admin: &dyn Admin, request: &Request, asked: Operation) -> Answer {
    let by = who(context, request)?;
    match asked {
        Operation::Reload => Ok(json(&admin.reload(&by).await?)),
        Operation::Plan => plan(admin, request, &by).await.map(|plan| json(&plan)),
        Operation::Explain => explain(admin, request, &by).await.map(|why| json(&why)),
        _ => Ok(json(&admin.status())),
    }
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
async fn plan(admin: &dyn Admin, request: &Request, by: &str) -> Result<Plan, Fail> {
    let mut args = Args::of_body(request.body.read(Known::Yes).await?)?;
    let candidate = required(args.text("candidate")?, "candidate")?;
    args.finish()?;
    let done = admin.plan(candidate.clone()).await.map_err(Fail::from);
    let revoked = done.as_ref().ok().and_then(|plan| plan.revoked.as_ref());
    let count = revoked.map(|revoked| revoked.subscription_count as u64);
    let result = if matches!(&done, Ok(plan) if !plan.ok) { "faults" } else { result(&done) };
    audit(&Record { verb: Some("plan"), target: Some(&candidate), count, result, ..noted(by) });
    done
}

/// `{"connection": "ws_1…", "does": "subscribe", "on": "clinic:c1:queue"}`
async fn explain(admin: &dyn Admin, request: &Request, by: &str) -> Result<LiveExplanation, Fail> {
    let mut args = Args::of_body(request.body.read(Known::Yes).await?)?;
    let connection = required(args.text("connection")?, "connection")?;
    let does = args.text("does")?.unwrap_or("subscribe".into());
    let on = required(args.text("on")?, "on")?;
    args.finish()?;
    let id = ConnectionId::parse(&connection)
        .ok_or_else(|| Fail::body(format!("`connection`: `{}` is no connection's id", connection.escape_debug())))?;
    let right = RIGHTS.iter().find(|(word, _)| *word == does).map(|(_, right)| *right);
    let right = right.ok_or_else(|| Fail::body(format!("`does`: {}", one_of(RIGHTS.iter().map(|(w, _)| *w)))))?;
    let name = named(&on)?;
    let done = admin.explain(Wanted { connection: id, does: right, on: name }).await.map_err(Fail::from);
    let (verb, connection, channel) = (Some("explain"), Some(&*connection), Some(&*on));
    audit(&Record { verb, connection, channel, result: result(&done), ..noted(by) });
    done
}

fn noted(by: &str) -> Record<'_> {
    Record { audit: "verb", who: Some(by), ..Record::default() }
}

fn result<T>(done: &Result<T, Fail>) -> &'static str {
    done.as_ref().map_or_else(|fail| fail.why.as_str(), |_| "ok")
}

fn required(text: Option<String>, name: &str) -> Result<String, Fail> {
    text.ok_or_else(|| Fail::body(format!("`{name}` is required")))
}

impl From<NotDone> for Fail {
    fn from(why: NotDone) -> Fail {
        match why {
            NotDone::Faults(faults) => {
                let detail = format!("{}; what was in force still is", count(faults.len(), "fault"));
                Fail { faults: Some(Arc::new(faults)), ..Fail::new(Why::InvalidConfig, detail) }
            }
            NotDone::Invalid(what) => Fail::body(what),
            NotDone::NotFound(what) => Fail::new(Why::NotFound, what),
            NotDone::Overloaded(what) => Fail { retry_after_s: Some(1), ..Fail::new(Why::Overloaded, what) },
            NotDone::Draining => Fail::new(Why::Draining, "The gateway stops; what was in force still is"),
            NotDone::Internal(what) => Fail::new(Why::Internal, what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_done_says_whether_to_try_again() {
        let response = |why: NotDone| Fail::from(why).response();
        let status = |why| response(why).status().as_u16();
        assert_eq!(status(NotDone::Draining), 503);
        assert_eq!(status(NotDone::Faults(vec![Fault::of_file("x", "y")])), 422);
        assert_eq!(status(NotDone::NotFound("x".into())), 404);
        let busy = response(NotDone::Overloaded("x"));
        assert_eq!((busy.status().as_u16(), busy.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    }
}
