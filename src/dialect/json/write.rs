//! An answer → its text.

use super::Json;
use super::answer::{About, Answer, Member};
use super::place::{Kind, Place};
use super::template::{Template, put};
use crate::model::{Code, Event, Identity, Millis, Position, Refusal, iso8601};
use std::cell::RefCell;
use std::fmt;
use std::io::Write;

impl Json {
    /// Appends an answer's text. `false`: this dialect says nothing here, nothing is appended.
    pub fn write(&self, answer: &Answer<'_>, about: &About<'_>, out: &mut Vec<u8>) -> bool {
        let kind = kind(answer);
        if self.quiet && kind == Kind::Error {
            return false;
        }
        let Some(template) = &self.sends[kind as usize] else {
            return match *answer {
                Answer::Revoked { channel, refusal } => self.write_revoked(channel, refusal, about, out),
                Answer::Reply { data, .. } => {
                    self.direct(data, about.now, out);
                    true
                }
                _ => false,
            };
        };
        Told { json: self, about, answer, channel: channel(answer), refusal: refusal(answer), member: None }
            .render(template, out)
    }

    /// A handler's own code, else the dialect's, else Weir's.
    fn code<'r>(&'r self, why: &'r Refusal) -> &'r str {
        let theirs = || words(why).find_map(|word| self.codes[word].as_deref());
        why.name.as_deref().or_else(theirs).unwrap_or(why.code.as_str())
    }

    /// A subscription was taken back, in a dialect that has no word of its own for it.
    fn write_revoked(&self, channel: &str, refusal: Option<&Refusal>, about: &About<'_>, out: &mut Vec<u8>) -> bool {
        let plain = Refusal::new(Code::Denied);
        let denied = [(channel, refusal.unwrap_or(&plain))];
        match self.answers_in_whole() {
            true => self.write(&Answer::SubscribeResult { allowed: &[], denied: &denied }, about, out),
            false => self.write(&Answer::Unsubscribed { channel }, about, out),
        }
    }
}

fn kind(answer: &Answer) -> Kind {
    match answer {
        Answer::Hello => Kind::Hello,
        Answer::Pong => Kind::Pong,
        Answer::Status => Kind::Status,
        Answer::Subscribed { .. } => Kind::Subscribed,
        Answer::SubscribeResult { .. } => Kind::SubscribeResult,
        Answer::Unsubscribed { .. } => Kind::Unsubscribed,
        Answer::UnsubscribeResult { .. } => Kind::UnsubscribeResult,
        Answer::Published { .. } => Kind::Published,
        Answer::Error { .. } => Kind::Error,
        Answer::History { .. } => Kind::History,
        Answer::Presence { .. } => Kind::Presence,
        Answer::Authenticated => Kind::Authenticated,
        Answer::Reply { .. } => Kind::Reply,
        Answer::Expiring { .. } => Kind::Expiring,
        Answer::Gap { .. } => Kind::Gap,
        Answer::Revoked { .. } => Kind::Revoked,
        Answer::Shutdown => Kind::Shutdown,
    }
}

/// Where a refusal's words stand in `texts` and `codes`: that of its bound goes before that of its code.
fn words(why: &Refusal) -> impl Iterator<Item = usize> {
    why.limit.map(|kind| Code::ALL.len() + kind as usize).into_iter().chain([why.code as usize])
}

fn channel<'a>(answer: &Answer<'a>) -> Option<&'a str> {
    match *answer {
        Answer::Subscribed { channel, .. }
        | Answer::Unsubscribed { channel }
        | Answer::Published { channel, .. }
        | Answer::History { channel, .. }
        | Answer::Presence { channel, .. }
        | Answer::Gap { channel, .. }
        | Answer::Revoked { channel, .. } => Some(channel),
        Answer::Error { channel, .. } => channel,
        Answer::Hello
        | Answer::Pong
        | Answer::Status
        | Answer::SubscribeResult { .. }
        | Answer::UnsubscribeResult { .. }
        | Answer::Authenticated
        | Answer::Reply { .. }
        | Answer::Expiring { .. }
        | Answer::Shutdown => None,
    }
}

fn refusal<'a>(answer: &Answer<'a>) -> Option<&'a Refusal> {
    match *answer {
        Answer::Error { refusal, .. } => Some(refusal),
        Answer::Revoked { refusal, .. } => refusal,
        _ => None,
    }
}

fn position(answer: &Answer) -> Option<Position> {
    match *answer {
        Answer::Subscribed { position, .. } | Answer::Published { position, .. } | Answer::History { position, .. } => {
            position
        }
        _ => None,
    }
}

/// What placeholders are filled from: an answer, or one entry of a list in it.
#[derive(Clone, Copy)]
struct Told<'a> {
    json: &'a Json,
    about: &'a About<'a>,
    answer: &'a Answer<'a>,
    channel: Option<&'a str>,
    refusal: Option<&'a Refusal>,
    member: Option<&'a Member>,
}

impl Told<'_> {
    fn render(&self, template: &Template<Place>, out: &mut Vec<u8>) -> bool {
        template.render(out, |place, out| self.value(place, out));
        true
    }

    fn value(&self, place: &Place, out: &mut Vec<u8>) -> bool {
        let about = self.about;
        match place {
            Place::ConnectionId => quoted(about.connection, out),
            Place::ConnectionChannels => {
                out.push(b'[');
                (about.channels)(&mut |name| item(out, |out| put(name, out)));
                end(out)
            }
            Place::ConnectedAt => put(&iso8601(about.connected_at), out),
            Place::LastActivity => put(&iso8601(about.last_activity), out),
            Place::Ip => quoted(about.ip, out),
            Place::UserId => user(about.identity, out),
            Place::UserClaim(path) => about.identity.claim(path).is_some_and(|claim| put(claim, out)),
            Place::Now => stamp(about.now, out),
            Place::Setting(path) => {
                let mut steps = path.split('.');
                let first = steps.next().and_then(|name| about.settings.get(name));
                steps.try_fold(first, |value, name| value.map(|v| v.get(name))).flatten().is_some_and(|v| put(v, out))
            }
            Place::RequestId => {
                about.request.and_then(|request| request.id).is_some_and(|id| json(id.get().as_bytes(), out))
            }
            Place::RequestType => about.request.is_some_and(|request| put(request.kind, out)),
            Place::Channel => self.channel.is_some_and(|channel| put(channel, out)),
            Place::Position => position(self.answer).is_some_and(|at| quoted(at, out)),
            Place::Epoch => position(self.answer).is_some_and(|at| quoted(format_args!("{:x}", at.epoch), out)),
            Place::Offset => position(self.answer).is_some_and(|at| put(&at.offset, out)),
            Place::ErrorCode => self.refusal.is_some_and(|why| put(self.json.code(why), out)),
            Place::ErrorMessage => self.refusal.is_some_and(|why| self.message(why, out)),
            Place::ErrorRetry => self.refusal.is_some_and(|why| put(&why.code.retry(), out)),
            Place::ErrorDetails => {
                self.refusal.and_then(|why| why.details.as_deref()).is_some_and(|d| json(d.as_bytes(), out))
            }
            Place::MemberId => self.member.is_some_and(|member| user(&member.identity, out)),
            Place::MemberConnection => self.member.is_some_and(|member| quoted(member.connection, out)),
            Place::MemberClaim(path) => {
                self.member.and_then(|member| member.identity.claim(path)).is_some_and(|claim| put(claim, out))
            }
            Place::Channels
            | Place::Recovered
            | Place::Allowed
            | Place::Denied
            | Place::Events
            | Place::More
            | Place::Event
            | Place::Data
            | Place::DataAt(_)
            | Place::Members
            | Place::InMs
            | Place::Missed => self.own(place, out),
        }
    }

    /// The places that only one answer has.
    fn own(&self, place: &Place, out: &mut Vec<u8>) -> bool {
        match (place, *self.answer) {
            (Place::Channels, Answer::UnsubscribeResult { channels }) => put(channels, out),
            (Place::Recovered, Answer::Subscribed { recovered, .. }) => recovered.is_some_and(|yes| put(&yes, out)),
            (Place::Allowed, Answer::SubscribeResult { allowed, .. }) => put(allowed, out),
            (Place::Denied, Answer::SubscribeResult { denied, .. }) => self.denied(denied, out),
            (Place::Events, Answer::History { channel, position, events, .. }) => {
                self.events(channel, position.unwrap_or_default().epoch, events, out)
            }
            (Place::More, Answer::History { more, .. }) => put(&more, out),
            (Place::Members, Answer::Presence { members, .. }) => self.members(members, out),
            (Place::Event, Answer::Reply { event, .. }) => event.is_some_and(|name| put(name, out)),
            (Place::Data, Answer::Reply { data, .. }) => json(data, out),
            (Place::DataAt(path), Answer::Reply { data, .. }) => {
                json_at(data, path).is_some_and(|found| json(found, out))
            }
            (Place::InMs, Answer::Expiring { in_ms }) => put(&in_ms, out),
            (Place::Missed, Answer::Gap { missed, .. }) => put(&missed, out),
            _ => false,
        }
    }

    /// The refusal's own text, else the dialect's, else Weir's.
    fn message(&self, why: &Refusal, out: &mut Vec<u8>) -> bool {
        match (&why.message, words(why).find_map(|word| self.json.texts[word].as_ref())) {
            (Some(own), _) => put(&**own, out),
            (None, Some(template)) => self.render(template, out),
            (None, None) => put(why.limit.map_or(why.code.text(), |kind| kind.text()), out),
        }
    }

    fn denied(&self, denied: &[(&str, &Refusal)], out: &mut Vec<u8>) -> bool {
        out.push(b'[');
        for (channel, why) in denied {
            let entry = Told { channel: Some(channel), refusal: Some(why), ..*self };
            item(out, |out| entry.render(&self.json.denied, out));
        }
        end(out)
    }

    fn members(&self, members: &[Member], out: &mut Vec<u8>) -> bool {
        out.push(b'[');
        for member in members {
            let entry = Told { member: Some(member), ..*self };
            item(out, |out| entry.render(&self.json.member, out));
        }
        end(out)
    }

    /// Each as it was delivered; those that this dialect does not deliver are left out.
    fn events(&self, channel: &str, epoch: u32, events: &[Event], out: &mut Vec<u8>) -> bool {
        out.push(b'[');
        for event in events {
            item(out, |out| self.json.deliver(channel, epoch, event, out));
        }
        end(out)
    }
}

/// One item of a list that `[` began and `end` ends; `write` says whether there is one.
fn item(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool) {
    if write(out) {
        out.push(b',');
    }
}

fn end(out: &mut Vec<u8>) -> bool {
    match out.last_mut() {
        Some(last) if *last == b',' => *last = b']',
        _ => out.push(b']'),
    }
    true
}

/// Appends what is JSON already. Nothing is no value.
pub(super) fn json(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(text);
    !text.is_empty()
}

/// What lies at a path of names in a JSON text.
pub(super) fn json_at<'d>(data: &'d [u8], path: &[Box<str>]) -> Option<&'d [u8]> {
    let found = super::scan::at(std::str::from_utf8(data).ok()?, path)?;
    Some(found.as_bytes())
}

/// Appends a text that needs no escapes: an id, an address, a position.
pub(super) fn quoted(text: impl fmt::Display, out: &mut Vec<u8>) -> bool {
    write!(out, "\"{text}\"").is_ok()
}

pub(super) fn user(identity: &Identity, out: &mut Vec<u8>) -> bool {
    identity.user.as_deref().is_some_and(|user| put(user, out))
}

/// Appends a time as a JSON string. What a thread writes within one millisecond it formats once.
pub(super) fn stamp(at: Millis, out: &mut Vec<u8>) -> bool {
    thread_local! {
        static LAST: RefCell<(Millis, String)> = const { RefCell::new((0, String::new())) };
    }
    LAST.with_borrow_mut(|(last, text)| {
        if *last != at || text.is_empty() {
            (*last, *text) = (at, iso8601(at));
        }
        quoted(text, out)
    })
}
