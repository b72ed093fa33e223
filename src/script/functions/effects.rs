//! Messages: `publish`, `send`, `reply`, `refuse`.

use super::super::current::{Current, Raised, Stop, raise, with};
use super::super::subject::TargetValue;
use super::super::values;
use super::super::{Effect, Reply, Trigger};
use super::{Shelf, arguments as arg};
use crate::model::{
    ChannelName, Code, Command, ConnectionId, Content, Draft, Message, Priority, Refusal, did_you_mean, one_of,
};
use crate::policy::{Publish, Right, Scope};
use bytes::Bytes;
use rhai::{Dynamic, ImmutableString, Map};
use std::sync::Arc;

pub(super) fn add(shelf: &mut Shelf) {
    shelf.group("Messages");
    shelf.function(
        "publish",
        "Publishes to a channel, or to several: whoever hears more than one hears it once. With `event` it has a name. \
         `options`: `key` (what it is the newest state of), `exclude` (a connection that does not hear it), `priority` \
         (`low`, `medium`, `high`, `urgent`: what a class with `overflow = \"drop_low\"` drops first, and what never).",
        r#"publish("room:1:status", #{ open: true });
publish(["room:1:status", "lobby"], "opened", #{ room: 1 });
publish("room:1:status", "opened", #{ room: 1 }, #{ key: "status", exclude: event.connection });"#,
    );
    shelf.form(&["channel: string | array", "data: ?"], "()", |channel: ImmutableString, data: Map| {
        publish_map(&channel, &data)
    });
    shelf.form(&["channel: string | array", "data: ?"], "()", |channel: Dynamic, data: Dynamic| {
        publish(&channel, None, &data, None)
    });
    shelf.form(
        &["channel: string | array", "event: string", "data: ?"],
        "()",
        |ch: Dynamic, event: &str, data: Dynamic| publish(&ch, Some(event), &data, None),
    );
    shelf.form(
        &["channel: string | array", "event: string", "data: ?", "options: map"],
        "()",
        |ch: Dynamic, event: &str, data: Dynamic, options: Map| publish(&ch, Some(event), &data, Some(&options)),
    );

    shelf.function(
        "send",
        "Sends to connections, past all channels. `target`: `event.connection`, a connection's id, `event.user`, \
         `user(id)`, `filter(#{ … })` or `everyone()`.",
        r#"send(event.connection, #{ type: "WELCOME" });
send(user("u1"), "ticket", #{ number: 7 });"#,
    );
    shelf.form(&["target: ?", "data: ?"], "()", |to: Dynamic, data: Dynamic| send(&to, None, &data));
    shelf.form(&["target: ?", "event: string", "data: ?"], "()", |to: Dynamic, event: &str, data: Dynamic| {
        send(&to, Some(event), &data)
    });

    shelf.function("user", "All connections of a user, as a target.", r#"send(user("u1"), #{ hello: true });"#);
    shelf.form(&["id: string"], "target", |id: &str| TargetValue::user(id));
    shelf.function(
        "filter",
        "The connections that pass, as a target. `users`, `connections`, `claims`, `channels`: alternatives inside a \
         field, fields narrow each other; `exclude`: one connection that does not.",
        r#"send(filter(#{ claims: #{ role: ["admin", "nurse"] }, channels: ["ward:3"] }), #{ alarm: true });"#,
    );
    shelf.form(&["fields: map"], "target", |fields: Map| {
        arg::filter(&fields).map(|filter| TargetValue(crate::model::Target::Filter(filter)))
    });
    shelf.function(
        "everyone",
        "All connections of the app, as a target.",
        r#"send(everyone(), #{ notice: "back at 5" });"#,
    );
    shelf.form(&[], "target", TargetValue::everyone);

    shelf.function(
        "reply",
        "Answers whoever asked: the client's message, or the HTTP request of a route. With a number first it is a \
         route's status; `headers` by their names.",
        r#"reply(#{ ok: true });"#,
    );
    shelf.form(&["data: ?"], "()", |data: Dynamic| reply(None, &data, None));
    shelf.form(&["event_or_status: string | int", "data: ?"], "()", |first: Dynamic, data: Dynamic| {
        reply(Some(&first), &data, None)
    });
    shelf.form(&["status: int", "data: ?", "headers: map"], "()", |status: i64, data: Dynamic, headers: Map| {
        reply(Some(&Dynamic::from_int(status)), &data, Some(&headers))
    });

    shelf.function(
        "refuse",
        "Ends the call at once: nothing of it is carried out, and whoever asked reads code and text. One of Weir's codes \
         (`denied`, `invalid_message`, `not_found`, `limit`, …) or a code of your own.",
        r#"refuse("denied", "Only nurses may call a ticket");"#,
    );
    shelf.form(&["code: string", "text: string"], "()", |code: &str, text: &str| refuse(code, text, None));
    shelf.form(&["code: string", "text: string", "details: ?"], "()", |code: &str, text: &str, details: Dynamic| {
        refuse(code, text, Some(&details))
    });
}

/// Whether a class of the app matches: nobody could ever hear what is sent elsewhere.
pub(super) fn known<R: Right>(call: &Current, name: &ChannelName) -> Result<(), Raised> {
    let Some(policy) = &call.around.app.policy else { return Ok(()) };
    match policy.allow_api::<R>(&Scope::everywhere(), name, 0) {
        Ok(_) => Ok(()),
        Err(_) => Err(raise(format!("no [[channel]] of the app matches `{name}`"))),
    }
}

/// What a message costs beside its text.
const MESSAGE_BYTES: usize = 64;

fn message_bytes(event: Option<&str>, data: &Bytes) -> usize {
    MESSAGE_BYTES + data.len() + event.map_or(0, str::len)
}

fn message(event: Option<&str>, data: Bytes) -> (Message, usize) {
    let bytes = message_bytes(event, &data);
    (Message { event: event.map(Arc::from), data }, bytes)
}

fn publish(channel: &Dynamic, event: Option<&str>, data: &Dynamic, options: Option<&Map>) -> Result<(), Raised> {
    with(|call| {
        let channels = arg::channels(channel)?;
        channels.iter().try_for_each(|name| known::<Publish>(call, name))?;
        let data = arg::data(data)?;
        let bytes = message_bytes(event, &data);
        let (key, exclude, priority) = options.map(publish_options).transpose()?.unwrap_or_default();
        if channels.is_empty() {
            return Ok(()); // published to an empty list: to nobody
        }
        // Each further name is kept, and published to.
        let names: usize = channels.iter().skip(1).map(|name| MESSAGE_BYTES + name.as_str().len()).sum();
        let draft = Draft { data, event: event.map(Arc::from), key, exclude, priority };
        call.effect(Effect::Do(Command::Publish { channels, draft }), bytes + names)
    })
}

/// The form that most handlers use, without detours.
fn publish_map(channel: &str, data: &Map) -> Result<(), Raised> {
    with(|call| {
        let channels = vec![arg::channel(channel)?];
        known::<Publish>(call, &channels[0])?;
        let data = values::message(|out| values::write_map(data, out)).map_err(raise)?;
        let bytes = message_bytes(None, &data);
        let draft = Draft { data, event: None, key: None, exclude: None, priority: Priority::default() };
        call.effect(Effect::Do(Command::Publish { channels, draft }), bytes)
    })
}

/// `key`, `exclude` and `priority`.
type Options = (Option<Arc<str>>, Option<ConnectionId>, Priority);

fn publish_options(options: &Map) -> Result<Options, Raised> {
    let (mut key, mut exclude, mut priority) = (None, None, Priority::default());
    for (name, value) in options.iter().filter(|(_, v)| !v.is_unit()) {
        match name.as_str() {
            "key" => key = Some(arg::name(&arg::text(value, "`key`")?, "`key`")?),
            "exclude" => exclude = Some(arg::connection(value)?),
            "priority" => {
                let text = arg::text(value, "`priority`")?;
                let expected = || one_of(Priority::ALL.map(Priority::as_str));
                priority = Priority::parse(&text).ok_or_else(|| raise(format!("`priority` is {}", expected())))?;
            }
            other => {
                const KNOWN: [&str; 3] = ["key", "exclude", "priority"];
                let hint = did_you_mean(other, KNOWN).map(|h| format!("; {h}")).unwrap_or_default();
                return Err(raise(format!("options of `publish` are {}, not `{other}`{hint}", one_of(KNOWN))));
            }
        }
    }
    Ok((key, exclude, priority))
}

fn send(target: &Dynamic, event: Option<&str>, data: &Dynamic) -> Result<(), Raised> {
    with(|call| {
        let target = arg::target(target)?;
        let (message, bytes) = message(event, arg::data(data)?);
        call.effect(Effect::Do(Command::Send { target, content: Content::Message(message) }), bytes)
    })
}

fn reply(first: Option<&Dynamic>, data: &Dynamic, headers: Option<&Map>) -> Result<(), Raised> {
    with(|call| {
        let route = matches!(call.event.trigger, Trigger::Route(_));
        let (event, status) = match first {
            None => (None, None),
            Some(first) => match first.as_int() {
                Ok(status) => (None, Some(status_code(status, route)?)),
                Err(_) => {
                    (Some(arg::text(first, "what comes first in `reply` is an event's name or a status; it")?), None)
                }
            },
        };
        let (message, bytes) = message(event.as_deref(), arg::data(data)?);
        let reply = Reply { message, status, headers: headers.map_or(Ok(Vec::new()), response_headers)? };
        if route { answer_route(call, reply, bytes) } else { answer_message(call, reply, bytes) }
    })
}

fn answer_message(call: &Current, reply: Reply, bytes: usize) -> Result<(), Raised> {
    if call.event.asker.is_none() {
        let kind = call.event.trigger.as_str();
        return Err(raise(format!("nobody waits for a reply: this call is about `{kind}`, not a client's message")));
    }
    call.effect(Effect::Reply(reply), bytes)
}

fn answer_route(call: &Current, reply: Reply, bytes: usize) -> Result<(), Raised> {
    call.count(bytes)?;
    let mut recorded = call.recorded.borrow_mut();
    if recorded.reply.is_some() {
        return Err(raise("an HTTP request has one reply, and this one has it already"));
    }
    recorded.reply = Some(reply);
    Ok(())
}

fn status_code(status: i64, route: bool) -> Result<u16, Raised> {
    if !route {
        return Err(raise(
            "a reply has a status where a route is answered; write `reply(data)` or `reply(event, data)`",
        ));
    }
    match u16::try_from(status) {
        Ok(status @ 200..=599) => Ok(status),
        _ => Err(raise(format!("{status} is no HTTP status of an answer: 200 to 599"))),
    }
}

/// RFC 9110 §5.1, §5.5; what frames the message is Weir's own.
fn response_headers(headers: &Map) -> Result<Vec<(String, String)>, Raised> {
    const OWN: [&str; 5] = ["content-length", "transfer-encoding", "connection", "upgrade", "keep-alive"];
    let mut out = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
            return Err(raise(format!("`{name}` is no header's name")));
        }
        if OWN.contains(&name.as_str()) {
            return Err(raise(format!("the header `{name}` is set by Weir; a handler may not")));
        }
        let value = match value.as_immutable_string_ref() {
            Ok(text) => text.to_string(),
            Err(_) => values::text(value).map_err(raise)?,
        };
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(raise(format!("the header `{name}` has control characters")));
        }
        out.push((name, value));
    }
    Ok(out)
}

fn refuse(code: &str, text: &str, details: Option<&Dynamic>) -> Result<(), Raised> {
    with(|call| {
        let refusal = match Code::ALL.into_iter().find(|c| c.as_str() == code) {
            Some(code) => Refusal::new(code),
            None => Refusal { name: Some(arg::name(code, "a refusal's code")?), ..Refusal::new(Code::Denied) },
        };
        let details = match details {
            Some(details) => Some(values::text(details).map_err(raise)?.into()),
            None => None,
        };
        let message = (!text.is_empty()).then(|| text.to_owned().into());
        Err(call.stop(Stop::Refused(Refusal { message, details, ..refusal })))
    })
}
