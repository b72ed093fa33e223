//! One `[[route]]`, compiled.

use super::access::{Access, Known};
use super::done::fields;
use super::fail::Why;
use super::field::Required;
use super::keys::unknown_verb;
use super::place::{Grammar, Place, Scene, Stat};
use super::settings::{AccessSettings, ErrorReply, Kind, RouteSettings};
use super::verb::Verb;
use crate::auth::Authenticator;
use crate::dialect::Template;
use crate::flow::Bound;
use crate::model::{Problem, Rate, canonical_path, did_you_mean, one_of};
use crate::script::EntityKey;
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) struct Route {
    /// `GET /health`: for logs and limits.
    pub name: Arc<str>,
    pub listener: String,
    pub method: Method,
    /// The path with its variables numbered, so that two routes' names for them do not matter.
    pub pattern: String,
    pub vars: Vec<String>,
    pub access: Access,
    pub limit: Option<Rate>,
    pub need: Vec<Need>,
    pub action: Option<Action>,
    with: Vec<With>,
    /// `None`: what the verb answers.
    pub reply: Option<Template<Place>>,
    pub status: u16,
    pub errors: Errors,
    pub count: Vec<String>,
    /// Whether the body must be JSON.
    pub reads_body: bool,
    /// Whether the shards are asked for figures.
    pub reads_stats: bool,
    /// Whether the reply says how many connections a handler reached.
    pub reads_recipients: bool,
}

/// What must be in the body.
pub(super) struct Need {
    pub at: Box<[Box<str>]>,
    /// As written: `body.message.type`.
    pub name: String,
    pub kind: Kind,
}

/// What a route does.
pub(super) enum Action {
    Verb(Verb),
    /// One connection, or not found.
    Connection,
    IssueToken(Arc<Authenticator>),
    /// The app's plugin answers.
    Handler(Bound),
}

impl Action {
    /// What an API key must cover.
    pub fn verb(&self) -> Option<Verb> {
        match self {
            Action::Verb(verb) => Some(*verb),
            Action::Connection => Some(Verb::Connections),
            Action::IssueToken(_) | Action::Handler(_) => None,
        }
    }
}

/// One key of `with`, as an object of its own.
struct With {
    template: Template<Place>,
    /// A channel's name put together from parts: no part may bring segments of its own.
    guarded: bool,
}

/// Replies to what goes wrong, by code.
#[derive(Default)]
pub(super) struct Errors(Vec<(Why, u16, Bytes)>);

/// Where a part brought a `:` into a channel's name.
pub(super) struct Smuggled;

impl Errors {
    pub fn compile(settings: &BTreeMap<String, ErrorReply>, path: &str, problems: &mut Vec<Problem>) -> Errors {
        let words = || Why::ALL.iter().map(|w| w.as_str());
        let mut errors = Vec::new();
        for (code, reply) in settings {
            let Some(why) = Why::parse(code) else {
                problems.push(
                    Problem::new(format!("{path}.{code}"), format!("unknown code `{code}`"))
                        .expected(one_of(words()))
                        .hint(did_you_mean(code, words())),
                );
                continue;
            };
            let status = reply.status.unwrap_or(why.status());
            check_status(status, &format!("{path}.{code}.status"), problems);
            errors.push((why, status, reply.body.to_string().into()));
        }
        Errors(errors)
    }

    pub fn find(&self, why: Why) -> Option<(u16, Bytes)> {
        let found = self.0.iter().find(|(w, ..)| *w == why).map(|(_, status, body)| (*status, body.clone()));
        found.or_else(|| self.find(why.wider()?))
    }
}

fn check_status(status: u16, path: &str, problems: &mut Vec<Problem>) {
    if !(200..=599).contains(&status) {
        problems.push(Problem::new(path, format!("{status} is no status of a reply")).expected("200 to 599"));
    }
}

impl Route {
    /// Paths of problems begin with `path`: `route[3]`. `listener`: the app's own.
    pub fn compile(
        s: &RouteSettings,
        path: &str,
        listener: Option<&str>,
        known: &Known<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Route> {
        let (method, text) = method(s, path, problems)?;
        let (pattern, vars) = pattern(text, &format!("{path}.{}", method.as_str().to_lowercase()), problems)?;
        let listener = match s.listener.as_deref().or(listener) {
            Some(listener) => listener.to_owned(),
            None => {
                problems.push(
                    Problem::new(path, "no listener is named")
                        .hint(Some("`listener = \"NAME\"` at the top of this file names one for all of it".into())),
                );
                return None;
            }
        };
        let body = matches!(method, Method::POST | Method::PUT | Method::PATCH);
        let user = matches!(s.access, AccessSettings::Auth(_));
        let action = match &s.handler {
            Some(name) => handler(name, s, &vars, path, known, problems),
            None => s.action.as_deref().and_then(|word| action(word, s, path, known, problems)),
        };
        let word = s.handler.as_ref().map_or(s.action.as_deref(), |_| Some("handler"));
        let mut grammar =
            Grammar { vars: &vars, body, user, settings: known.settings, done: &[], stats: false, count: &s.count };
        let with = with(s, path, &grammar, problems);
        grammar.done = word.map_or(&[], fields);
        grammar.stats = true;
        let reply = s.reply.as_ref().map(|r| grammar.compile(r, &format!("{path}.reply"), problems));
        if reply.is_none() && word.is_none() {
            problems.push(Problem::new(path, "a route that does nothing").expected("`do`, `handler` or `reply`"));
        }
        check_status(s.status, &format!("{path}.status"), problems);
        let need: Vec<_> = (s.need.iter())
            .filter_map(|(name, kind)| match grammar.place(name) {
                Ok(Place::Body(at)) => Some(Need { at, name: name.clone(), kind: *kind }),
                Ok(_) => {
                    let what = format!("`{name}` is no part of a body");
                    problems.push(Problem::new(format!("{path}.need.{name}"), what).expected("such as `body.message`"));
                    None
                }
                Err(p) => {
                    problems.push(Problem { path: format!("{path}.need.{name}"), ..p });
                    None
                }
            })
            .collect();
        let places = || with.iter().flat_map(|w| w.template.places()).chain(reply.iter().flat_map(|r| r.places()));
        let of_body = |p: &Place| matches!(p, Place::Body(_));
        let asks = |p: &Place| {
            matches!(p, Place::Stat(Stat::Connections | Stat::Channels | Stat::Subscriptions | Stat::By(_)))
        };
        let handled = matches!(action, Some(Action::Handler(_)));
        let reads_body = !need.is_empty() || places().any(of_body) || (handled && body);
        let reads_recipients = places().any(|p| *p == Place::Done("recipients"));
        let reads_stats = places().any(asks);
        Some(Route {
            name: format!("{method} {text}").into(),
            access: Access::compile(&s.access, &format!("{path}.access"), known, problems),
            limit: s.limit.inspect(|l| check_limit(l, path, problems)),
            reads_body,
            reads_stats,
            reads_recipients,
            errors: Errors::compile(&s.error, &format!("{path}.error"), problems),
            count: s.count.clone(),
            status: s.status,
            listener,
            method,
            pattern,
            need,
            action,
            with,
            reply,
            vars,
        })
    }

    pub fn is_handled(&self) -> bool {
        matches!(self.action, Some(Action::Handler(_)))
    }

    /// `with`, filled in: the JSON text of an object.
    pub fn arguments(&self, scene: &Scene<'_>) -> Result<String, Smuggled> {
        let mut out = b"{".to_vec();
        for With { template, guarded } in &self.with {
            let (mut member, mut smuggled) = (Vec::new(), false);
            template.render(&mut member, |place, out| {
                let start = out.len();
                let found = scene.value(place, out);
                smuggled |= *guarded && place.foreign() && brings_segments(&out[start..]);
                found
            });
            if smuggled {
                return Err(Smuggled);
            }
            // `{"key":value}`, or `{}` where the value is missing.
            let member = member.get(1..member.len().saturating_sub(1)).unwrap_or_default();
            if !member.is_empty() {
                if out.len() > 1 {
                    out.push(b',');
                }
                out.extend_from_slice(member);
            }
        }
        out.push(b'}');
        Ok(String::from_utf8(out).unwrap_or_default())
    }
}

/// Whether a JSON value brings a `:`. A body's text is as it was sent, and JSON may write `:` as `\u003a`.
fn brings_segments(json: &[u8]) -> bool {
    let escaped = || serde_json::from_slice::<String>(json).is_ok_and(|text| text.contains(':'));
    json.contains(&b':') || json.contains(&b'\\') && escaped()
}

fn check_limit(limit: &Rate, path: &str, problems: &mut Vec<Problem>) {
    if limit.burst == 0 || limit.per.0 == 0 {
        let what = "a limit that lets nobody pass, or everybody";
        problems
            .push(Problem::new(format!("{path}.limit"), what).expected("`{ burst = 10, per = \"1m\" }`, neither 0"));
    }
}

fn method<'s>(s: &'s RouteSettings, path: &str, problems: &mut Vec<Problem>) -> Option<(Method, &'s str)> {
    let methods = [
        (Method::GET, &s.get),
        (Method::POST, &s.post),
        (Method::PUT, &s.put),
        (Method::PATCH, &s.patch),
        (Method::DELETE, &s.delete),
    ];
    let mut given = methods.into_iter().filter_map(|(method, path)| Some((method, path.as_deref()?)));
    match (given.next(), given.next()) {
        (Some(one), None) => Some(one),
        (first, _) => {
            let what = if first.is_none() { "a route without a method" } else { "a route of several methods" };
            problems.push(Problem::new(path, what).expected("exactly one of `get`, `post`, `put`, `patch`, `delete`"));
            None
        }
    }
}

/// `/rooms/{id}/{*rest}` → `/rooms/{0}/{*1}` and the names.
fn pattern(text: &str, path: &str, problems: &mut Vec<Problem>) -> Option<(String, Vec<String>)> {
    let mut wrong = |what: String| {
        let whole = "`/`-separated segments, each literal, `{name}` or a last `{*name}`";
        problems.push(Problem::new(path, what).expected(whole));
        None
    };
    let Some(inside) = text.strip_prefix('/') else { return wrong(format!("`{text}` does not begin with `/`")) };
    let inside = canonical_path(inside.strip_suffix('/').unwrap_or(inside));
    let (mut out, mut vars) = (String::new(), Vec::<String>::new());
    for (at, segment) in inside.split('/').enumerate() {
        out.push('/');
        let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) else {
            if segment.contains(|c: char| "{}?#*\"<>\\^`|".contains(c) || c.is_whitespace() || c.is_control()) {
                return wrong(format!("`{segment}` is no segment of a path"));
            }
            out.push_str(segment);
            continue;
        };
        let (star, name) = name.strip_prefix('*').map_or(("", name), |name| ("*", name));
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(letters) || vars.iter().any(|v| v == name) {
            return wrong(format!("`{segment}` is no variable of its own"));
        }
        if star == "*" && at + 1 != inside.split('/').count() {
            return wrong(format!("`{segment}` takes all that remains: nothing may follow it"));
        }
        out.push_str(&format!("{{{star}{}}}", vars.len()));
        vars.push(name.to_owned());
    }
    Some((out, vars))
}

fn action(word: &str, s: &RouteSettings, path: &str, known: &Known<'_>, problems: &mut Vec<Problem>) -> Option<Action> {
    let action = match word {
        "connection" => Action::Connection,
        "issue_token" => {
            let names = || known.auths.keys().map(String::as_str);
            let name = s.with.get("auth").and_then(Value::as_str).unwrap_or_default();
            let Some(auth) = known.auths.get(name) else {
                problems.push(
                    Problem::new(format!("{path}.with.auth"), format!("unknown auth `{name}`"))
                        .expected(one_of(names()))
                        .hint(did_you_mean(name, names())),
                );
                return None;
            };
            Action::IssueToken(auth.clone())
        }
        _ => match Verb::parse(word) {
            Some(verb) => Action::Verb(verb),
            None => {
                problems.push(unknown_verb(format!("{path}.do"), word, &["connection", "issue_token"]));
                return None;
            }
        },
    };
    let (takes, needs): (Vec<&str>, Vec<&[&str]>) = match &action {
        Action::Verb(verb) => {
            (verb.fields().iter().map(|field| field.name).collect(), verb.needs().iter().map(Required::names).collect())
        }
        Action::Connection => (vec!["connection"], vec![&["connection"]]),
        Action::IssueToken(_) => (vec!["auth", "user", "claims", "ttl_ms"], vec![&["auth"], &["user"]]),
        Action::Handler(_) => (Vec::new(), Vec::new()),
    };
    for key in s.with.keys().filter(|key| !takes.contains(&key.as_str())) {
        problems.push(
            Problem::new(format!("{path}.with.{key}"), format!("`{word}` takes no `{key}`"))
                .expected(one_of(takes.iter().copied()))
                .hint(did_you_mean(key, takes.iter().copied())),
        );
    }
    for names in needs.iter().filter(|names| !names.iter().any(|n| s.with.contains_key(*n))) {
        let what = format!("`{word}` cannot do without {}", one_of(names.iter().copied()));
        problems.push(Problem::new(format!("{path}.with"), what));
    }
    Some(action)
}

/// A function of the app's plugin, and whose state it is called with.
fn handler(
    name: &str,
    s: &RouteSettings,
    vars: &[String],
    path: &str,
    known: &Known<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Action> {
    if s.action.is_some() {
        problems.push(Problem::new(format!("{path}.do"), "a route with `do` and `handler`").expected("one of them"));
    }
    // Without a plugin every name would look unknown; `config` says what is missing.
    let found = known.script?.plugin.handler(name);
    let handler = found.map_err(|p| problems.push(Problem { path: format!("{path}.handler"), ..p })).ok()?;
    let names: Vec<&str> = vars.iter().map(String::as_str).collect();
    let entity = s.entity.as_deref().map(|text| EntityKey::compile(text, &names, &format!("{path}.entity")));
    let entity = entity.transpose().map_err(|p| problems.push(p)).ok()?;
    Some(Action::Handler(Bound { handler, entity: entity.map(Arc::new), failed: None }))
}

fn with(s: &RouteSettings, path: &str, grammar: &Grammar<'_>, problems: &mut Vec<Problem>) -> Vec<With> {
    if s.action.is_none() && !s.with.is_empty() {
        problems.push(Problem::new(format!("{path}.with"), "nothing takes it").expected("`do`, a verb"));
    }
    // `auth` of `issue_token` is settled when the files are loaded.
    let members = s.with.iter().filter(|(key, _)| *key != "auth");
    let compile = |(key, value): (&String, &Value)| {
        let channel = key == "channel" || key == "channels";
        let guarded = channel && texts(value).any(put_together);
        With { template: grammar.compile(&json!({ key: value }), &format!("{path}.with"), problems), guarded }
    };
    members.map(compile).collect()
}

/// Whether a placeholder is only a part of the text.
fn put_together(text: &str) -> bool {
    text.contains('{') && !(text.starts_with('{') && text.ends_with('}') && text.matches('{').count() == 1)
}

fn texts(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.as_str())),
        Value::Array(items) => Box::new(items.iter().flat_map(texts)),
        _ => Box::new(std::iter::empty()),
    }
}
