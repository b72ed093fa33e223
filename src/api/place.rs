//! Placeholders of routes: what they may name, and what each stands for while a request is answered.

use super::done::Done;
use super::json::at;
use super::request::Request;
use crate::dialect::Template;
use crate::model::AppStats;
use crate::model::{Identity, Problem, did_you_mean, iso8601};
use crate::observe::{AppMetrics, Metrics, memory};
use hyper::header::HeaderName;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    Body(Box<[Box<str>]>),
    Query(String),
    Path(String),
    Header(HeaderName),
    UserId,
    /// A claim by its dotted path.
    User(String),
    /// A value of `[settings]`; `{listener.port}` in a text is filled in.
    Setting(Value),
    Port,
    Now,
    /// A part of what the verb answered.
    Done(&'static str),
    /// A part of what the handler returned.
    Result(Box<[Box<str>]>),
    Stat(Stat),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stat {
    Uptime,
    Memory,
    Connections,
    Channels,
    Subscriptions,
    /// Connections by a claim; without one, by each that is counted.
    By(Option<String>),
    History,
    Errors,
}

/// What placeholders may name in one template.
pub(super) struct Grammar<'a> {
    pub vars: &'a [String],
    /// Whether the method has a body.
    pub body: bool,
    /// Whether the route knows its user.
    pub user: bool,
    pub settings: &'a Map<String, Value>,
    /// Of the verb's answer.
    pub done: &'static [&'static str],
    pub stats: bool,
    /// Claims that connections are counted by.
    pub count: &'a [String],
}

impl Grammar<'_> {
    pub fn compile(&self, value: &Value, path: &str, problems: &mut Vec<Problem>) -> Template<Place> {
        Template::compile(value, path, &|name| self.place(name), problems)
    }

    pub fn place(&self, name: &str) -> Result<Place, Problem> {
        let wrong = |what: String| Problem::new("", what);
        let (head, rest) = name.split_once('.').map_or((name, None), |(head, rest)| (head, Some(rest)));
        let unknown = || {
            let names = self.names();
            wrong(format!("unknown placeholder `{{{name}}}`"))
                .expected(format!("one of {}", names.iter().map(|n| format!("{{{n}}}")).collect::<Vec<_>>().join(", ")))
                .hint(did_you_mean(name, names.iter().map(String::as_str)))
        };
        if let Some(done) = self.done.iter().find(|d| **d == name) {
            return Ok(Place::Done(done));
        }
        match (head, rest) {
            ("result", Some(path)) if self.done.contains(&"result") => {
                Ok(Place::Result(path.split('.').map(Into::into).collect()))
            }
            ("now", None) => Ok(Place::Now),
            ("listener", Some("port")) => Ok(Place::Port),
            ("body", _) if !self.body => Err(wrong(format!("`{{{name}}}`: this method has no body"))),
            ("body", rest) => {
                Ok(Place::Body(rest.map_or_else(Box::default, |r| r.split('.').map(Into::into).collect())))
            }
            ("query", Some(parameter)) => Ok(Place::Query(parameter.into())),
            ("header", Some(header)) => match HeaderName::from_bytes(header.as_bytes()) {
                Ok(header) => Ok(Place::Header(header)),
                Err(_) => Err(wrong(format!("`{header}` is no name of a header"))),
            },
            ("path", Some(var)) if self.vars.iter().any(|v| v == var) => Ok(Place::Path(var.into())),
            ("path", Some(var)) => Err(wrong(format!("the path has no variable `{var}`"))
                .hint(did_you_mean(var, self.vars.iter().map(String::as_str)))),
            ("user", Some(_)) if !self.user => {
                Err(wrong(format!("`{{{name}}}`: this route knows no user")).expected("`access = { auth = [\"…\"] }`"))
            }
            ("user", Some("id")) => Ok(Place::UserId),
            ("user", Some(claim)) => Ok(Place::User(claim.into())),
            ("settings", Some(setting)) => match find(self.settings, setting) {
                Some(value) => Ok(Place::Setting(value.clone())),
                None => Err(wrong(format!("no setting `{setting}`"))
                    .expected("a key of this file's `[settings]`")
                    .hint(did_you_mean(setting, self.settings.keys().map(String::as_str)))),
            },
            ("stats", Some(stat)) if self.stats => {
                self.stat(stat).map(Place::Stat).ok_or_else(|| match stat.strip_prefix("by.") {
                    Some(claim) => wrong(format!("connections are not counted by `{claim}`"))
                        .hint(Some(format!("add it to this route: `count = [\"{claim}\"]`"))),
                    None => unknown(),
                })
            }
            _ => Err(unknown()),
        }
    }

    fn stat(&self, stat: &str) -> Option<Stat> {
        Some(match stat {
            "uptime_s" => Stat::Uptime,
            "memory" => Stat::Memory,
            "connections" => Stat::Connections,
            "channels" => Stat::Channels,
            "subscriptions" => Stat::Subscriptions,
            "by" => Stat::By(None),
            "history" => Stat::History,
            "errors" => Stat::Errors,
            _ => Stat::By(Some(stat.strip_prefix("by.").filter(|c| self.count.iter().any(|n| n == c))?.into())),
        })
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.done.iter().map(|d| d.to_string()).collect();
        names.extend(["now", "listener.port", "query.NAME", "header.NAME"].map(String::from));
        names.extend(self.body.then(|| "body.NAME".into()));
        names.extend(self.user.then(|| "user.id".into()));
        names.extend(self.user.then(|| "user.CLAIM".into()));
        names.extend(self.vars.iter().map(|v| format!("path.{v}")));
        names.extend(self.settings.keys().map(|s| format!("settings.{s}")));
        if self.stats {
            let stats = ["uptime_s", "memory", "connections", "channels", "subscriptions", "by", "history", "errors"];
            names.extend(stats.map(|s| format!("stats.{s}")));
            names.extend(self.count.iter().map(|c| format!("stats.by.{c}")));
        }
        names
    }
}

fn find<'a>(settings: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let first = settings.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

impl Place {
    /// Whether a client chooses what it stands for.
    pub fn foreign(&self) -> bool {
        match self {
            Place::Body(_) | Place::Query(_) | Place::Path(_) | Place::Header(_) | Place::UserId | Place::User(_) => {
                true
            }
            Place::Setting(_) | Place::Port | Place::Now | Place::Done(_) | Place::Result(_) | Place::Stat(_) => false,
        }
    }
}

/// What there is to fill in while one request is answered.
pub(super) struct Scene<'a> {
    pub request: &'a Request,
    pub vars: &'a [(String, String)],
    pub body: Option<&'a RawValue>,
    pub identity: Option<&'a Identity>,
    pub done: Option<&'a Done>,
    pub stats: Option<&'a AppStats>,
    pub metrics: &'a Metrics,
    pub app: Option<&'a AppMetrics>,
}

impl Scene<'_> {
    /// Appends a placeholder's JSON; `false` where there is none.
    pub fn value(&self, place: &Place, out: &mut Vec<u8>) -> bool {
        let text = match place {
            Place::Body(path) => self.body.and_then(|b| at(b, path)).map(|v| v.get().to_owned()),
            Place::Query(name) => self.request.parameter(name).map(|v| quoted(&v)),
            Place::Path(name) => self.vars.iter().find(|(n, _)| n == name).map(|(_, v)| quoted(v)),
            Place::Header(name) => self.request.headers.get(name).and_then(|v| v.to_str().ok()).map(quoted),
            Place::UserId => self.identity.and_then(|i| i.user.as_deref()).map(quoted),
            Place::User(claim) => self.identity.and_then(|i| i.claim(claim)).map(Value::to_string),
            Place::Setting(Value::String(text)) => {
                Some(quoted(&text.replace("{listener.port}", &self.request.port.to_string())))
            }
            Place::Setting(value) => Some(value.to_string()),
            Place::Port => Some(self.request.port.to_string()),
            Place::Now => Some(quoted(&iso8601(self.request.now.wall))),
            Place::Done(field) => self.done.and_then(|d| d.field(field)),
            Place::Result(path) => {
                let whole = self.done.and_then(|d| d.field("result"));
                let whole = whole.and_then(|text| RawValue::from_string(text).ok());
                whole.and_then(|whole| at(&whole, path).map(|part| part.get().to_owned()))
            }
            Place::Stat(stat) => self.stat(stat).map(|v| v.to_string()),
        };
        text.map(|text| out.extend_from_slice(text.as_bytes())).is_some()
    }

    fn stat(&self, stat: &Stat) -> Option<Value> {
        Some(match stat {
            Stat::Uptime => json!(self.metrics.uptime().as_secs()),
            Stat::Memory => memory_json(),
            Stat::Connections => json!(self.stats?.connections),
            Stat::Channels => json!(self.stats?.channels),
            Stat::Subscriptions => json!(self.stats?.subscriptions),
            Stat::By(None) => {
                self.stats?.by.iter().map(|(claim, n)| (claim.clone(), json!(n))).collect::<Map<_, _>>().into()
            }
            Stat::By(Some(claim)) => json!(self.stats?.by.iter().find(|(c, _)| c == claim)?.1),
            Stat::History => self.app?.history(self.request.now),
            Stat::Errors => self.app?.errors(self.request.now.mono),
        })
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Node's names for it. Anonymous resident pages are the heap in use, file-backed ones what is outside of it.
fn memory_json() -> Value {
    let memory = memory();
    let used = memory.resident.saturating_sub(memory.shared);
    json!({ "rss": memory.resident, "heapTotal": memory.resident, "heapUsed": used, "external": memory.shared })
}
