//! `[[check]]`: what an app's rules must allow and refuse, held against them at every loading.

use super::app::App;
use super::as_if::AsIf;
use crate::model::{ChannelName, Identity, Now, Problem};
use crate::policy::{Explanation, RightKind};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// `[[check]]`: one sentence about who may do what. Loading a file of which one is not true is a fault.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSettings {
    /// The user as rules see it: `{ id = "u1", role = "sales_staff", clinicId = "c1" }`. Without it: somebody anonymous.
    #[serde(default)]
    pub who: Map<String, Value>,
    /// What is asked for.
    pub does: Does,
    /// The channel.
    pub on: String,
    /// What must come of it.
    pub expect: Expect,
    /// The path and query that the connection was opened with, for rules that read `request`: `/ws?plan=gold`.
    #[serde(default)]
    pub request: Option<String>,
}

/// A right on a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Does {
    Subscribe,
    Publish,
    /// Asks for past events.
    History,
    /// Asks who is there.
    Presence,
}

/// What must come of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    Allowed,
    Refused,
}

impl Does {
    pub fn right(self) -> RightKind {
        match self {
            Does::Subscribe => RightKind::Subscribe,
            Does::Publish => RightKind::Publish,
            Does::History => RightKind::History,
            Does::Presence => RightKind::Presence,
        }
    }
}

/// Checks that are not true, as problems of the app's file.
pub fn run(checks: &[CheckSettings], app: &App, now: Now) -> Vec<Problem> {
    let each = checks.iter().enumerate();
    each.filter_map(|(i, check)| one(check, &format!("check[{i}]"), app, now).err()).collect()
}

fn one(check: &CheckSettings, path: &str, app: &App, now: Now) -> Result<(), Problem> {
    let on = ChannelName::parse(&check.on).map_err(|bad| {
        Problem::new(format!("{path}.on"), format!("`{}` is no channel: {bad}", check.on.escape_debug()))
    })?;
    let as_if = AsIf::new(app, Identity::described(check.who.clone()), check.request.as_deref(), now)
        .map_err(|what| Problem::new(format!("{path}.request"), what))?;
    let right = check.does.right();
    let allowed = as_if.decide(app, right, &on).is_ok();
    if allowed == (check.expect == Expect::Allowed) {
        return Ok(());
    }
    let why = as_if.explain(app, right, &on);
    let (may, expected) = if allowed { ("may", "refused") } else { ("may not", "allowed") };
    let who = as_if.identity.user.as_deref().map_or("somebody anonymous".into(), |user| format!("`{user}`"));
    let does = match check.does {
        Does::Subscribe => "subscribe to",
        Does::Publish => "publish on",
        Does::History => "read the history of",
        Does::Presence => "see who is on",
    };
    Err(Problem::new(format!("{path}.expect"), format!("{who} {may} {does} `{on}`"))
        .expected(format!("`{expected}`, as this check says"))
        .hint(Some(hint(&why))))
}

/// `channels/clinic.toml:66:13 subscribe decided: user.role == "admin" is false, …`
fn hint(why: &Explanation) -> String {
    let decided = why.deciding();
    match decided.trace() {
        trace if trace.is_empty() => decided.origin.clone(),
        trace => format!("{} decided: {trace}", decided.origin),
    }
}
