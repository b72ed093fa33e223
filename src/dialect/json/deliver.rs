//! An event → the text that its subscribers hear: written once, whoever hears it.

use super::place::Heard;
use super::settings::Envelope;
use super::template::{Template, put};
use super::{Json, scan, write};
use crate::model::{Event, EventKind, Millis, Now, Position};
use bytes::Bytes;
use memchr::memmem;

/// How publications reach subscribers.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    envelope: Envelope,
    message: Option<Template<Heard>>,
    timestamp: Option<Timestamp>,
}

/// The field to add to objects without it.
#[derive(Clone, Debug)]
struct Timestamp {
    field: Box<str>,
    /// `"field"`
    quoted: memmem::Finder<'static>,
    /// `\u`
    escape: memmem::Finder<'static>,
}

impl Delivery {
    pub fn new(envelope: Envelope, message: Option<Template<Heard>>, timestamp: Option<&str>) -> Delivery {
        let timestamp = timestamp.map(|field| Timestamp {
            field: field.into(),
            quoted: memmem::Finder::new(format!("\"{field}\"").as_bytes()).into_owned(),
            escape: memmem::Finder::new(b"\\u"),
        });
        Delivery { envelope, message, timestamp }
    }

    fn wraps(&self, event: &Event) -> Option<&Template<Heard>> {
        match self.envelope {
            Envelope::Raw => None,
            Envelope::Wrapped => self.message.as_ref(),
            Envelope::Mixed => self.message.as_ref().filter(|_| event.sender.is_some()),
        }
    }
}

impl Json {
    /// Appends one delivery's text. `false`: this dialect does not tell of such events, nothing is appended.
    pub fn deliver(&self, channel: &str, epoch: u32, event: &Event, out: &mut Vec<u8>) -> bool {
        let template = match event.kind {
            EventKind::Message => match self.delivery.wraps(event) {
                Some(template) => template,
                None => {
                    self.direct(&event.data, event.at.wall, out);
                    return true;
                }
            },
            EventKind::Joined => match &self.joined {
                Some(template) => template,
                None => return false,
            },
            EventKind::Left => match &self.left {
                Some(template) => template,
                None => return false,
            },
        };
        template.render(out, |place, out| value(place, Some(channel), epoch, event, out));
        true
    }

    /// As `direct`, for what has a name of its own: where deliveries are wrapped, so is this, without a channel.
    pub fn direct_event(&self, event: Option<&str>, data: &[u8], at: Millis, out: &mut Vec<u8>) {
        let event = Event {
            kind: EventKind::Message,
            data: Bytes::copy_from_slice(data),
            event: event.map(Into::into),
            key: None,
            sender: None,
            exclude: None,
            priority: crate::model::Priority::default(),
            offset: 0,
            at: Now { wall: at, ..Now::default() },
        };
        match self.delivery.wraps(&event) {
            Some(template) => template.render(out, |place, out| value(place, None, 0, &event, out)),
            None => self.direct(data, at, out),
        }
    }

    /// Appends a message that goes to connections past all channels: as it is, with the timestamp if that is missing.
    pub fn direct(&self, data: &[u8], at: Millis, out: &mut Vec<u8>) {
        raw(self.delivery.timestamp.as_ref(), data, at, out);
    }
}

fn raw(timestamp: Option<&Timestamp>, data: &[u8], at: Millis, out: &mut Vec<u8>) {
    let Some(Timestamp { field, .. }) = timestamp.filter(|stamp| stamp.is_missing(data)) else {
        out.extend_from_slice(data);
        return;
    };
    let inside = data.trim_ascii_end();
    let inside = inside.strip_suffix(b"}").unwrap_or(inside).trim_ascii_end();
    out.extend_from_slice(inside);
    if !inside.ends_with(b"{") {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b"\":");
    write::stamp(at, out);
    out.push(b'}');
}

impl Timestamp {
    /// Whether `data` is an object without the field.
    fn is_missing(&self, data: &[u8]) -> bool {
        if !data.trim_ascii_start().starts_with(b"{") || !data.trim_ascii_end().ends_with(b"}") {
            return false;
        }
        // Only where its bytes occur, or could behind an escape, the keys themselves are looked at.
        if self.quoted.find(data).is_none() && self.escape.find(data).is_none() {
            return true;
        }
        let text = std::str::from_utf8(data).unwrap_or_default();
        scan::fields(text, std::slice::from_ref(&self.field)).is_some_and(|found| found[0].is_none())
    }
}

fn value(place: &Heard, channel: Option<&str>, epoch: u32, event: &Event, out: &mut Vec<u8>) -> bool {
    let position = || (event.offset > 0).then_some(Position { epoch, offset: event.offset });
    match place {
        Heard::Channel => channel.is_some_and(|name| put(name, out)),
        Heard::Data => write::json(&event.data, out),
        Heard::DataAt(path) => write::json_at(&event.data, path).is_some_and(|found| write::json(found, out)),
        Heard::Event => event.event.as_deref().is_some_and(|name| put(name, out)),
        Heard::Key => event.key.as_deref().is_some_and(|key| put(key, out)),
        Heard::Timestamp => write::stamp(event.at.wall, out),
        Heard::Position => position().is_some_and(|at| write::quoted(at, out)),
        Heard::Epoch => position().is_some_and(|at| write::quoted(format_args!("{:x}", at.epoch), out)),
        Heard::Offset => position().is_some_and(|at| put(&at.offset, out)),
        Heard::SenderId => event.sender.as_ref().is_some_and(|sender| write::user(&sender.identity, out)),
        Heard::SenderConnection => event.sender.as_ref().is_some_and(|sender| write::quoted(sender.connection, out)),
        Heard::SenderClaim(path) => {
            let claim = event.sender.as_ref().and_then(|sender| sender.identity.claim(path));
            claim.is_some_and(|claim| put(claim, out))
        }
    }
}
