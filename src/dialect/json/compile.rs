//! `Settings` → `Json`, or all that is wrong with them.

use super::args::{Arg, Tree};
use super::place::{self, Allowed, Heard, Kind, Place};
use super::read::{Entry, Reader};
use super::settings::{CloseWith, Envelope, Receive, Settings, Verb};
use super::template::Template;
use super::{Bound, Json, WORDS, deliver};
use crate::model::{Close, Code, LimitKind, Problem, did_you_mean, one_of};
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Json {
    /// Compiles a `[dialect.NAME]` table. Paths of problems are relative to it: `send.hello.data.userId`.
    pub fn compile(settings: &Settings) -> Result<Json, Vec<Problem>> {
        let mut problems = Vec::new();
        let p = &mut problems;
        if settings.type_field().is_empty() {
            p.push(Problem::new("type", "an empty field name"));
        }
        let mut sends: [Option<Template<Place>>; Kind::COUNT] = Default::default();
        for (kind, key, template) in Kind::all(&settings.send) {
            sends[kind as usize] = template.map(|t| told(t, &format!("send.{key}"), kind.allows(), p));
        }
        let [joined, left] = [("joined", &settings.send.joined), ("left", &settings.send.left)]
            .map(|(key, template)| template.as_ref().map(|t| heard(t, &format!("send.{key}"), p)));
        let denied = json!({ "channel": "{channel}", "code": "{error.code}", "message": "{error.message}" });
        let member = json!({ "id": "{member.id}", "connection": "{member.connection}" });
        let (reader, bound) = reader(settings, p);
        let json = Json {
            reader,
            bound,
            sends,
            denied: told(settings.denied.as_ref().unwrap_or(&denied), "denied", place::DENIED, p),
            member: told(settings.member.as_ref().unwrap_or(&member), "member", place::MEMBER, p),
            texts: texts(&settings.text, p),
            codes: codes(&settings.code, p),
            quiet: settings.quiet.unwrap_or_default(),
            delivery: delivery(settings.delivery.as_ref().unwrap_or(&super::Delivery::default()), p),
            joined,
            left,
            greet: settings.greet.unwrap_or_default(),
            connection_ids: settings.connection_id.unwrap_or_default(),
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

fn reader(settings: &Settings, problems: &mut Vec<Problem>) -> (Reader, Box<[Bound]>) {
    let mut id = Tree::default();
    if let Some(path) = steps(settings.id(), "id", problems) {
        id.add(Arg::Id, &path);
    }
    let mut bound = Vec::new();
    let lines = settings.receive.iter();
    let entries = lines
        .map(|(kind, line)| {
            let path = format!("receive.{kind}");
            let handler = bind(kind, line, &path, &mut bound, problems);
            (kind.as_str().into(), Entry { handler, ..entry(line, settings, &path, problems) })
        })
        .collect();
    let default = settings.receive_default.as_ref().map(|line| {
        let handler = bind("", line, "receive_default", &mut bound, problems);
        Entry { handler, ..entry(line, settings, "receive_default", problems) }
    });
    (Reader::new(settings.type_field(), entries, default, id), bound.into())
}

/// Notes which handler answers a message type; its place in the list.
fn bind(kind: &str, line: &Receive, path: &str, bound: &mut Vec<Bound>, problems: &mut Vec<Problem>) -> u16 {
    if line.verb != Verb::Handler {
        let of_handlers = [("handler", &line.handler), ("entity", &line.entity), ("failed", &line.failed)];
        for (key, _) in of_handlers.iter().filter(|(_, v)| v.is_some()) {
            let problem = Problem::new(format!("{path}.{key}"), format!("`{key}` means nothing here"));
            problems.push(problem.expected("`do = \"handler\"` beside it"));
        }
        return 0;
    }
    let Ok(place) = u16::try_from(bound.len()) else {
        problems.push(Problem::new(path, "one handler too many").expected("65536 at most"));
        return 0;
    };
    let handler = line.handler.as_deref().unwrap_or_default().into();
    let [entity, failed] = [&line.entity, &line.failed].map(|text| text.as_deref().map(Into::into));
    bound.push(Bound { kind: kind.into(), handler, entity, failed });
    place
}

fn entry(line: &Receive, settings: &Settings, path: &str, problems: &mut Vec<Problem>) -> Entry {
    let given = [
        ("channel", Arg::Channel, &line.channel),
        ("channels", Arg::Channels, &line.channels),
        ("data", Arg::Data, &line.data),
        ("token", Arg::Token, &line.token),
        ("claims", Arg::Claims, &line.claims),
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
    if line.id.is_none() && !settings.id().is_empty() {
        args.add(Arg::Id, &settings.id().split('.').collect::<Vec<_>>());
    }
    if let Some(missing) = missing(line) {
        problems.push(Problem::new(format!("{path}.do"), missing));
    }
    Entry {
        verb: line.verb,
        args,
        data_is_field: line.data.is_some(),
        channels_max: line.channels_max,
        claims: line.claims.is_some(),
        handler: 0,
    }
}

/// The arguments that a verb has a use for; `id` always.
fn takes(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Subscribe => &["channel", "channels", "since"],
        Verb::Unsubscribe => &["channel", "channels"],
        Verb::Publish => &["channel", "data", "event", "key"],
        Verb::Authenticate => &["token", "claims"],
        Verb::History => &["channel", "since", "limit"],
        Verb::Presence => &["channel"],
        Verb::Handler => &["channel", "data"],
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
        Verb::Handler if line.handler.as_ref().is_none_or(|name| name.is_empty()) => {
            Some("needs `handler`, the function of the plugin that answers")
        }
        Verb::Authenticate if line.token.is_none() && line.claims.is_none() => {
            Some("needs `token` or `claims`, where they lie in the message")
        }
        _ => None,
    }
}

/// The names of a dotted path.
fn steps<'p>(at: &'p str, path: &str, problems: &mut Vec<Problem>) -> Option<Vec<&'p str>> {
    let steps: Vec<&str> = at.split('.').collect();
    if at.contains(['{', '}']) {
        let told = Problem::new(path, format!("`{at}` is a path into the message, not a template"));
        let told = told.expected("field names with dots between them");
        problems.push(
            told.hint(Some("the client's message has the whole value; a rule says which ones it may have".into())),
        );
        return None;
    }
    if steps.iter().any(|step| step.is_empty()) {
        problems.push(Problem::new(path, format!("`{at}` is no path")).expected("field names with dots between them"));
        return None;
    }
    Some(steps)
}

fn texts(settings: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> [Option<Template<Place>>; WORDS] {
    let mut texts: [Option<Template<Place>>; WORDS] = Default::default();
    for (name, text) in settings {
        if let Some(word) = word("text", name, problems) {
            let path = format!("text.{name}");
            texts[word] = Some(told(&Value::from(text.as_str()), &path, place::TEXT, problems));
        }
    }
    texts
}

fn codes(settings: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> [Option<Box<str>>; WORDS] {
    let mut codes: [Option<Box<str>>; WORDS] = Default::default();
    for (name, theirs) in settings {
        if let Some(word) = word("code", name, problems) {
            codes[word] = Some(theirs.as_str().into());
        }
    }
    codes
}

/// The place of a code's or a bound's word in `texts` and `codes`.
fn word(table: &str, name: &str, problems: &mut Vec<Problem>) -> Option<usize> {
    let known = || Code::ALL.iter().map(|code| code.as_str()).chain(LimitKind::ALL.iter().map(|kind| kind.as_str()));
    let found = known().position(|word| word == name);
    if found.is_none() {
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
