//! `Settings` → `Json`, or all that is wrong with them.

use super::args::{Arg, Tree};
use super::place::{self, Allowed, Heard, Kind, Place};
use super::read::{Entry, Reader};
use super::settings::{CloseWith, Envelope, Receive, Settings, Verb};
use super::template::Template;
use super::{Json, deliver};
use crate::model::{Close, Code, Problem, did_you_mean, one_of};
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Json {
    /// Compiles a `[dialect.NAME]` table. Paths of problems are relative to it: `send.hello.data.userId`.
    pub fn compile(settings: &Settings) -> Result<Json, Vec<Problem>> {
        let mut problems = Vec::new();
        let p = &mut problems;
        if settings.type_field.is_empty() {
            p.push(Problem::new("type", "an empty field name"));
        }
        let mut sends: [Option<Template<Place>>; 15] = Default::default();
        for (kind, key, template) in Kind::all(&settings.send) {
            sends[kind as usize] = template.map(|t| told(t, &format!("send.{key}"), kind.allows(), p));
        }
        let [joined, left] = [("joined", &settings.send.joined), ("left", &settings.send.left)]
            .map(|(key, template)| template.as_ref().map(|t| heard(t, &format!("send.{key}"), p)));
        let denied = json!({ "channel": "{channel}", "code": "{error.code}", "message": "{error.message}" });
        let member = json!({ "id": "{member.id}", "connection": "{member.connection}" });
        let json = Json {
            reader: reader(settings, p),
            sends,
            denied: told(settings.denied.as_ref().unwrap_or(&denied), "denied", place::DENIED, p),
            member: told(settings.member.as_ref().unwrap_or(&member), "member", place::MEMBER, p),
            texts: texts(&settings.text, p),
            codes: codes(&settings.code, p),
            quiet: settings.quiet,
            delivery: delivery(&settings.delivery, p),
            joined,
            left,
            connection_ids: settings.connection_id,
            close_after_hello: settings.close_after_hello.as_ref().map(|c| close(c, "close_after_hello", p)),
            shutdown: settings.shutdown.as_ref().map(|c| close(c, "shutdown", p)),
        };
        if problems.is_empty() { Ok(json) } else { Err(problems) }
    }
}

fn told(template: &Value, path: &str, allowed: Allowed, problems: &mut Vec<Problem>) -> Template<Place> {
    Template::compile(template, path, &|name| Place::parse(name, allowed), problems)
}

fn heard(template: &Value, path: &str, problems: &mut Vec<Problem>) -> Template<Heard> {
    Template::compile(template, path, &Heard::parse, problems)
}

fn reader(settings: &Settings, problems: &mut Vec<Problem>) -> Reader {
    let mut id = Tree::default();
    if let Some(path) = steps(&settings.id, "id", problems) {
        id.add(Arg::Id, &path);
    }
    let lines = settings.receive.iter();
    let entries = lines
        .map(|(kind, line)| (kind.as_str().into(), entry(line, settings, &format!("receive.{kind}"), problems)))
        .collect();
    let default = settings.receive_default.as_ref().map(|line| entry(line, settings, "receive_default", problems));
    Reader::new(&settings.type_field, entries, default, id)
}

fn entry(line: &Receive, settings: &Settings, path: &str, problems: &mut Vec<Problem>) -> Entry {
    let given = [
        ("channel", Arg::Channel, &line.channel),
        ("channels", Arg::Channels, &line.channels),
        ("data", Arg::Data, &line.data),
        ("token", Arg::Token, &line.token),
        ("since", Arg::Since, &line.since),
        ("limit", Arg::Limit, &line.limit),
        ("event", Arg::Event, &line.event),
        ("key", Arg::Key, &line.key),
        ("id", Arg::Id, &line.id),
    ];
    let takes = takes(line.verb);
    let mut args = Tree::default();
    for (key, arg, at) in given {
        let Some(at) = at else { continue };
        let path = format!("{path}.{key}");
        if arg != Arg::Id && !takes.contains(&key) {
            let expected = if takes.is_empty() { "no argument".into() } else { one_of(takes.iter().copied()) };
            problems.push(Problem::new(path, format!("`{key}` means nothing here")).expected(expected));
        } else if let Some(steps) = steps(at, &path, problems) {
            args.add(arg, &steps);
        }
    }
    if line.id.is_none() && !settings.id.is_empty() {
        args.add(Arg::Id, &settings.id.split('.').collect::<Vec<_>>());
    }
    if let Some(missing) = missing(line) {
        problems.push(Problem::new(format!("{path}.do"), missing));
    }
    Entry { verb: line.verb, args, data_is_field: line.data.is_some(), channels_max: line.channels_max }
}

/// The arguments that a verb has a use for; `id` always.
fn takes(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Subscribe => &["channel", "channels", "since"],
        Verb::Unsubscribe => &["channel", "channels"],
        Verb::Publish => &["channel", "data", "event", "key"],
        Verb::Authenticate => &["token"],
        Verb::History => &["channel", "since", "limit"],
        Verb::Presence => &["channel"],
        Verb::Ping | Verb::Status | Verb::Close | Verb::Ignore => &[],
    }
}

fn missing(line: &Receive) -> Option<&'static str> {
    match line.verb {
        Verb::Subscribe | Verb::Unsubscribe if line.channel.is_some() == line.channels.is_some() => {
            Some("needs either `channel` or `channels`, where the names lie in the message")
        }
        Verb::Publish | Verb::History | Verb::Presence if line.channel.is_none() => {
            Some("needs `channel`, where the name lies in the message")
        }
        Verb::Authenticate if line.token.is_none() => Some("needs `token`, where it lies in the message"),
        _ => None,
    }
}

/// The names of a dotted path.
fn steps<'p>(at: &'p str, path: &str, problems: &mut Vec<Problem>) -> Option<Vec<&'p str>> {
    let steps: Vec<&str> = at.split('.').collect();
    if steps.iter().any(|step| step.is_empty()) {
        problems.push(Problem::new(path, format!("`{at}` is no path")).expected("field names with dots between them"));
        return None;
    }
    Some(steps)
}

fn texts(settings: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> [Option<Template<Place>>; 11] {
    let mut texts: [Option<Template<Place>>; 11] = Default::default();
    for (name, text) in settings {
        if let Some(code) = code("text", name, problems) {
            let path = format!("text.{name}");
            texts[code as usize] = Some(told(&Value::from(text.as_str()), &path, place::TEXT, problems));
        }
    }
    texts
}

fn codes(settings: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> [Box<str>; 11] {
    let mut codes = Code::ALL.map(|code| code.as_str().into());
    for (name, theirs) in settings {
        if let Some(code) = code("code", name, problems) {
            codes[code as usize] = theirs.as_str().into();
        }
    }
    codes
}

fn code(table: &str, name: &str, problems: &mut Vec<Problem>) -> Option<Code> {
    let found = Code::ALL.into_iter().find(|code| code.as_str() == name);
    if found.is_none() {
        let known = || Code::ALL.iter().map(|code| code.as_str());
        let problem = Problem::new(format!("{table}.{name}"), format!("unknown code `{name}`"));
        problems.push(problem.expected(one_of(known())).hint(did_you_mean(name, known())));
    }
    found
}

fn delivery(settings: &super::Delivery, problems: &mut Vec<Problem>) -> deliver::Delivery {
    let wrapped = settings.envelope != Envelope::Raw;
    if wrapped != settings.message.is_some() {
        problems.push(match wrapped {
            true => {
                Problem::new("delivery.envelope", "an envelope without its `message`").expected("`message`, a template")
            }
            false => Problem::new("delivery.message", "`message` means nothing to envelope `raw`")
                .expected("envelope `wrapped` or `mixed`"),
        });
    }
    let timestamp = settings.timestamp.as_deref().filter(|field| {
        // Such names are written in one way only, but for `\u` escapes: `deliver` relies on it.
        let plain = !field.is_empty() && field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !plain {
            let problem = Problem::new("delivery.timestamp", format!("`{field}` is no field name to add"));
            problems.push(problem.expected("letters, digits, `_` and `-`"));
        } else if settings.envelope == Envelope::Wrapped {
            let problem = Problem::new("delivery.timestamp", "`timestamp` means nothing to envelope `wrapped`");
            problems.push(problem.expected("`{timestamp}` in `message`"));
        }
        plain
    });
    let message = settings.message.as_ref().map(|message| heard(message, "delivery.message", problems));
    deliver::Delivery::new(settings.envelope, message, timestamp)
}

fn close(settings: &CloseWith, path: &str, problems: &mut Vec<Problem>) -> Close {
    if !matches!(settings.code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        let problem = Problem::new(format!("{path}.code"), format!("{} is no close code to send", settings.code));
        problems.push(problem.expected("1000 to 1003, 1007 to 1014 or 3000 to 4999"));
    }
    if settings.reason.len() > 123 {
        problems.push(Problem::new(format!("{path}.reason"), "longer than a close frame holds").expected("123 bytes"));
    }
    Close { code: settings.code, reason: settings.reason.clone().into() }
}
