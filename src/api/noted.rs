//! What of a call goes into the audit: who, what, whom it was about, what came of it. Never what was in it.

use super::call::Call;
use super::done::Done;
use super::fail::Fail;
use crate::kernel::Caller;
use crate::model::{Command, Filter, Target};
use crate::observe::{Record, audit, audits_publishes};

/// A call that is to be written down when it is over.
pub(super) struct Noted {
    verb: &'static str,
    channel: Option<String>,
    target: Option<String>,
}

impl Noted {
    /// `None`: it only looks, or it is one of the many that publish.
    pub fn of(call: &Call) -> Option<Noted> {
        let (verb, channel, target) = match call {
            Call::Do(command) => match command {
                Command::Publish { .. } | Command::Send { .. } if !audits_publishes() => return None,
                Command::Publish { channels, .. } => {
                    let names: Vec<&str> = channels.iter().map(|c| c.as_str()).collect();
                    ("publish", Some(names.join(" ")), None)
                }
                Command::Send { target: target @ Target::Filter(_), .. } => ("broadcast", None, Some(target)),
                Command::Send { target, .. } => ("send", None, Some(target)),
                Command::Subscribe { target, channel } => ("subscribe", Some(channel.to_string()), Some(target)),
                Command::Unsubscribe { target, channel } => ("unsubscribe", Some(channel.to_string()), Some(target)),
                Command::Close { target, .. } => ("disconnect", None, Some(target)),
                Command::Cleanup { .. } => ("cleanup", None, None),
            },
            Call::Presence { .. } | Call::History { .. } | Call::Channels { .. } => return None,
            Call::Connections { .. } | Call::Connection { .. } => return None,
        };
        Some(Noted { verb, channel, target: target.map(shown) })
    }

    pub fn write(&self, caller: &Caller, done: &Result<Done, Fail>) {
        let (result, count) = match done {
            Ok(Done::Published { recipients, .. } | Done::Sent(recipients)) => ("ok", Some(u64::from(*recipients))),
            Ok(Done::Changed(n)) => ("ok", Some(u64::from(*n))),
            Ok(_) => ("ok", None),
            Err(fail) => (fail.why.as_str(), None),
        };
        audit(&Record {
            audit: "verb",
            who: Some(&caller.name),
            verb: Some(self.verb),
            app: Some(&caller.app.name),
            channel: self.channel.as_deref(),
            target: self.target.as_deref(),
            result,
            count,
            ..Record::default()
        });
    }
}

/// `user u1`, `connection …`, `everybody`, or what a filter names.
fn shown(target: &Target) -> String {
    let filter: &Filter = match target {
        Target::Connection(id) => return format!("connection {id}"),
        Target::User(user) => return format!("user {user}"),
        Target::Filter(filter) => filter,
    };
    if filter.is_nobody() {
        return "nobody".into();
    }
    let mut parts = Vec::new();
    if let Some(users) = &filter.users {
        parts.push(format!("users {}", users.join(" ")));
    }
    parts.extend(filter.claims.iter().map(|(name, _)| format!("claim {name}")));
    if let Some(channels) = &filter.channels {
        let names: Vec<&str> = channels.iter().map(|c| c.as_str()).collect();
        parts.push(format!("channels {}", names.join(" ")));
    }
    if parts.is_empty() { "everybody".into() } else { parts.join(", ") }
}
