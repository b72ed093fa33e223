//! A client's message → `Request`. One pass over its top-level keys, another over the values that arguments lie in.

use super::Json;
use super::answer::Refused;
use super::args::{Arg, Args, Tree};
use super::scan::{self, BadList};
use super::settings::Verb;
use crate::model::{Channels, ClientCommand, Code, LimitKind, Position, Refusal, Request};
use hashbrown::HashMap;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One line of the table.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub verb: Verb,
    pub args: Tree,
    /// `data` is a field, and not the whole message.
    pub data_is_field: bool,
    pub channels_max: u32,
    /// Of `Verb::Authenticate`: a message may say who it is without a token.
    pub claims: bool,
    /// Of `Verb::Handler`: its place in `Json::bound`.
    pub handler: u16,
}

#[derive(Clone, Debug)]
pub(super) struct Reader {
    /// The top-level fields that any entry looks at; the first names the message.
    fields: Vec<Box<str>>,
    entries: HashMap<Box<str>, Entry>,
    /// For message types without an entry.
    default: Option<Entry>,
    /// Where the id of a message lies that has no entry.
    id: Tree,
}

enum Bad {
    Message,
    TooMany,
}

impl Json {
    /// Reads one message. Whatever is no request comes back with the code to answer; nothing in it panics.
    pub fn read<'a>(&self, text: &'a str) -> Result<Request<'a>, Refused<'a>> {
        self.reader.read(text)
    }
}

impl Reader {
    pub fn new(kind: &str, entries: HashMap<Box<str>, Entry>, default: Option<Entry>, id: Tree) -> Reader {
        let mut reader = Reader { fields: vec![kind.into()], entries, default, id };
        for entry in reader.entries.values_mut().chain(&mut reader.default) {
            entry.args.look_in(&mut reader.fields);
        }
        reader.id.look_in(&mut reader.fields);
        reader
    }

    pub fn knows(&self, kind: &str) -> bool {
        self.entries.contains_key(kind)
    }

    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(|kind| &**kind)
    }

    fn read<'a>(&self, text: &'a str) -> Result<Request<'a>, Refused<'a>> {
        let because = |refusal, id, kind| Err(Refused { refusal, id, kind });
        let refused = |code, id, kind| because(Refusal::new(code), id, kind);
        let mut values = scan::Found::from_elem(None, self.fields.len());
        if !scan::fields_into(text, &self.fields, &mut values) {
            return refused(Code::InvalidMessage, None, Cow::Borrowed(""));
        }
        let mut args = Args::default();
        let kind = values[0].and_then(scan::text);
        let Some(entry) = kind.as_ref().and_then(|kind| self.entries.get(&**kind).or(self.default.as_ref())) else {
            self.id.collect(&values, &mut args);
            let code = if kind.is_some() { Code::UnknownType } else { Code::InvalidMessage };
            return refused(code, args[Arg::Id as usize], kind.unwrap_or_default());
        };
        let well = entry.args.collect(&values, &mut args);
        let (id, kind) = (args[Arg::Id as usize], kind.unwrap_or_default());
        match if well { entry.command(text, &args) } else { Err(Bad::Message) } {
            Ok(command) => Ok(Request { id, kind, command }),
            Err(Bad::Message) => refused(Code::InvalidMessage, id, kind),
            Err(Bad::TooMany) => because(Refusal::limit(LimitKind::SubscribeBatch), id, kind),
        }
    }
}

impl Entry {
    fn command<'a>(&self, text: &'a str, args: &Args<'a>) -> Result<ClientCommand<'a>, Bad> {
        Ok(match self.verb {
            Verb::Subscribe => {
                let (channels, since) = (self.channels(args)?, since(args)?);
                // A position belongs to one channel.
                if since.is_some() && channels.len() != 1 {
                    return Err(Bad::Message);
                }
                ClientCommand::Subscribe { channels, since }
            }
            Verb::Unsubscribe => ClientCommand::Unsubscribe { channels: self.channels(args)? },
            Verb::Publish => ClientCommand::Publish {
                channel: needed(Arg::Channel, args)?,
                data: self.data(text, args)?,
                event: optional(Arg::Event, args)?,
                key: optional(Arg::Key, args)?,
            },
            Verb::Ping => ClientCommand::Ping,
            Verb::Status => ClientCommand::Status,
            Verb::Authenticate if self.claims => ClientCommand::Authenticate {
                token: optional(Arg::Token, args)?.filter(|token| !token.is_empty()),
                claims: value(Arg::Claims, args),
            },
            Verb::Authenticate => ClientCommand::Authenticate { token: Some(needed(Arg::Token, args)?), claims: None },
            Verb::History => ClientCommand::History {
                channel: needed(Arg::Channel, args)?,
                since: since(args)?,
                limit: limit(args)?,
            },
            Verb::Presence => ClientCommand::Presence { channel: needed(Arg::Channel, args)? },
            Verb::Handler => ClientCommand::Handle {
                handler: self.handler,
                data: self.data(text, args)?,
                channel: optional(Arg::Channel, args)?,
            },
            Verb::Close => ClientCommand::Close,
            Verb::Ignore => ClientCommand::Ignore,
        })
    }

    fn channels<'a>(&self, args: &Args<'a>) -> Result<Channels<'a>, Bad> {
        if let Some(one) = args[Arg::Channel as usize] {
            return scan::text(one).map(|one| Channels::from_iter([one])).ok_or(Bad::Message);
        }
        let list = args[Arg::Channels as usize].ok_or(Bad::Message)?;
        scan::texts(list, self.channels_max).map_err(|bad| match bad {
            BadList::Type => Bad::Message,
            BadList::TooLong => Bad::TooMany,
        })
    }

    fn data<'a>(&self, text: &'a str, args: &Args<'a>) -> Result<&'a RawValue, Bad> {
        match self.data_is_field {
            true => args[Arg::Data as usize].ok_or(Bad::Message),
            false => serde_json::from_str(text).map_err(|_| Bad::Message),
        }
    }
}

/// An argument that may be left out, or `null`.
fn value<'a>(arg: Arg, args: &Args<'a>) -> Option<&'a RawValue> {
    args[arg as usize].filter(|raw| raw.get() != "null")
}

fn optional<'a>(arg: Arg, args: &Args<'a>) -> Result<Option<Cow<'a, str>>, Bad> {
    value(arg, args).map(|raw| scan::text(raw).ok_or(Bad::Message)).transpose()
}

fn needed<'a>(arg: Arg, args: &Args<'a>) -> Result<Cow<'a, str>, Bad> {
    args[arg as usize].and_then(scan::text).ok_or(Bad::Message)
}

fn since(args: &Args<'_>) -> Result<Option<Position>, Bad> {
    optional(Arg::Since, args)?.map(|text| text.parse().map_err(|()| Bad::Message)).transpose()
}

fn limit(args: &Args<'_>) -> Result<Option<u32>, Bad> {
    value(Arg::Limit, args).map(|raw| raw.get().parse().map_err(|_| Bad::Message)).transpose()
}
