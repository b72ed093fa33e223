//! What handlers read of the gateway.

use super::super::current::{Current, Raised, Stop, raise, with};
use super::super::failure::FaultKind;
use super::super::meter::go_on;
use super::super::subject::{UserValue, channel as channel_text, id_text, shared};
use super::super::values::{self, Room};
use super::{Shelf, arguments as arg};
use crate::model::{ChannelName, Code, ConnectionInfo, EventKind, Filter, Refusal, Target};
use rhai::{Array, Dynamic, Map};

/// Events that `history` gives unless told.
const HISTORY_DEFAULT: i64 = 50;
/// Claims that `stats` counts by: each is looked up in each connection.
const CLAIMS_MAX: usize = 20;
/// Events, channels, connections that one read gives; fewer where one value cannot hold so many.
const LISTED_MAX: usize = 1_000;
/// JSON that one `history` looks at: some milliseconds' work, however little of it fits.
const JSON_MAX: usize = 1 << 20;

pub(super) fn add(shelf: &mut Shelf) {
    shelf.group("Reading the gateway");
    shelf.function(
        "history",
        "The newest events of a channel whose class keeps history, oldest first: an array of `#{ data, event, at, offset, \
         user }`. `count`: 50 unless given, 1,000 at most, fewer where one value cannot hold so many. What no script can hold \
         (a number of more than 64 bits, say) is left out.",
        r#"for past in history("room:1:chat", 10) { send(event.connection, past.data); }"#,
    );
    shelf.form(&["channel: string"], "array", |channel: &str| history(channel, HISTORY_DEFAULT));
    shelf.form(&["channel: string", "count: int"], "array", history);
    shelf.function(
        "presence",
        "Who is on a channel whose class has presence: an array of `#{ id, user, joined_at }`, 1,000 at most.",
        r#"let nurses = presence("ward:3").filter(|m| m.user.role == "nurse");"#,
    );
    shelf.form(&["channel: string"], "array", presence);
    shelf.function("members", "How many connections are on a channel.", r#"gauge("in_lobby", members("lobby"));"#);
    shelf.form(&["channel: string"], "int", members);
    shelf.function(
        "channels",
        "Channels with subscribers whose names begin with `prefix`: an array of `#{ name, members, since }`, 1,000 at \
         most; `since` is when it came into use, in ms.",
        r#"for ward in channels("ward:") { publish(ward.name, #{ members: ward.members }); }"#,
    );
    shelf.form(&["prefix: string"], "array", channels);
    shelf.function(
        "connections",
        "Connections of the app, or those of a target, oldest first: an array of `#{ id, user, channels, ip, endpoint, \
         user_agent, connected_at, last_activity }`, 1,000 at most, fewer where one value cannot hold so many.",
        r#"let devices = connections(user("u1"));"#,
    );
    shelf.form(&[], "array", || connections(Target::Filter(Filter::default())));
    shelf.form(&["target: ?"], "array", |target: Dynamic| connections(arg::target(&target)?));
    shelf.function(
        "count_connections",
        "How many connections a target has.",
        r#"if count_connections(user("u1")) == 0 { return; }"#,
    );
    shelf.form(&["target: ?"], "int", |target: Dynamic| {
        with(|c| {
            let wait = ready(c)?;
            let found = c.around.host.connections(c.around.app.id, arg::target(&target)?, 0, wait);
            Ok(found.map_err(|r| refused(c, r))?.1 as i64)
        })
    });
    shelf.function(
        "stats",
        "The app's figures: `#{ connections, channels, subscriptions, by, received, delivered, delivered_per_second, \
         published, refused, uptime_ms, own }`; `by` counts connections by the values of the claims asked for, 20 at most, `own` is what \
         `count` and `gauge` came to.",
        r#"let admins = stats(["role"]).by.role.admin ?? 0;"#,
    );
    shelf.form(&[], "map", || stats(&[]));
    shelf.form(&["claims: array"], "map", |claims: Array| stats(&claims));
}

/// How long a read may wait, in milliseconds; Err, not to be caught: the call's time is over.
fn ready(call: &Current) -> Result<u64, Raised> {
    go_on()?;
    Ok(call.read_wait_ms())
}

/// A read that did not come ends the call; one that asks for what there is not can be caught.
fn refused(call: &Current, refusal: Refusal) -> Raised {
    let text = refusal.message.as_deref().unwrap_or(refusal.code.text()).to_owned();
    if matches!(refusal.code, Code::Overloaded | Code::Internal) {
        let ms = call.around.limits.read_wait.0;
        let what = format!("what was read did not come within {ms} ms (`read_wait` of [script]): {text}");
        return call.stop(Stop::Fault(FaultKind::Read, what));
    }
    raise(text)
}

fn bounded(count: i64) -> Result<usize, Raised> {
    usize::try_from(count)
        .map(|n| n.min(LISTED_MAX))
        .map_err(|_| raise(format!("a count is not negative, this is {count}")))
}

fn map<const N: usize>(entries: [(&str, Dynamic); N]) -> Dynamic {
    Dynamic::from_map(entries.into_iter().map(|(k, v)| (k.into(), v)).collect::<Map>())
}

fn optional(text: Option<&str>) -> Dynamic {
    text.map_or(Dynamic::UNIT, shared)
}

fn history(channel: &str, count: i64) -> Result<Array, Raised> {
    with(|call| {
        let (channel, limit, wait) = (arg::channel(channel)?, bounded(count)?, ready(call)?);
        let events =
            call.around.host.history(call.around.app.id, &channel, limit, wait).map_err(|r| refused(call, r))?;
        let messages = events.iter().filter(|e| e.kind == EventKind::Message);
        let (mut listed, mut looked_at) = (Listed::new(), 0);
        for event in messages.rev() {
            go_on()?;
            // What clients published is no mistake of the handler that reads it.
            let data = match event.data.len() {
                bytes if bytes > JSON_MAX => Err(format!("{bytes} bytes")),
                bytes if looked_at + bytes > JSON_MAX => break,
                bytes => {
                    looked_at += bytes;
                    values::parse_within(&event.data, &mut Room::of_run()).map_err(|e| e.to_string())
                }
            };
            let data = match data {
                Ok(data) => data,
                Err(why) => {
                    left_out(call, &channel, event.offset, &why);
                    continue;
                }
            };
            let sender = event.sender.as_ref();
            let fits = listed.push(map([
                ("data", data),
                ("event", optional(event.event.as_deref())),
                ("at", Dynamic::from_int(event.at.wall as i64)),
                ("offset", Dynamic::from_int(event.offset as i64)),
                ("user", sender.map_or(Dynamic::UNIT, |s| Dynamic::from(UserValue(s.identity.clone())))),
            ]));
            if !fits {
                break;
            }
        }
        let mut newest_last = listed.list;
        newest_last.reverse();
        Ok(newest_last)
    })
}

/// An event that a script cannot hold.
fn left_out(call: &Current, channel: &ChannelName, offset: u64, why: &str) {
    call.recorded.borrow_mut().left_out += 1;
    let app = &*call.around.app.name;
    crate::observe::limited!(warn, app, %channel, offset, "`history` leaves out an event that a script cannot hold: {why}");
}

/// As many of what was read as one value may hold: what clients do must not make a fault of a read.
struct Listed {
    list: Array,
    room: Room,
}

impl Listed {
    fn new() -> Listed {
        Listed { list: Array::new(), room: Room::of_run() }
    }

    /// Returns whether it fitted.
    fn push(&mut self, value: Dynamic) -> bool {
        let fits = self.room.holds(&value);
        if fits {
            self.list.push(value);
        }
        fits
    }

    fn of(values: impl Iterator<Item = Result<Dynamic, Raised>>) -> Result<Array, Raised> {
        let mut listed = Listed::new();
        for value in values {
            if !listed.push(value?) {
                break;
            }
        }
        Ok(listed.list)
    }
}

fn presence(channel: &str) -> Result<Array, Raised> {
    with(|call| {
        let (channel, wait) = (arg::channel(channel)?, ready(call)?);
        let members = call.around.host.presence(call.around.app.id, &channel, wait).map_err(|r| refused(call, r))?;
        Listed::of(members.into_iter().take(LISTED_MAX).map(|member| {
            Ok(map([
                ("id", id_text(member.connection)),
                ("user", Dynamic::from(UserValue(member.identity))),
                ("joined_at", Dynamic::from_int(member.joined_at as i64)),
            ]))
        }))
    })
}

fn members(channel: &str) -> Result<i64, Raised> {
    with(|call| {
        let (channel, wait) = (arg::channel(channel)?, ready(call)?);
        // In the order of names, the one that is the whole prefix comes first.
        let found = call.around.host.channels(call.around.app.id, channel.as_str(), 1, wait);
        let first = found.map_err(|r| refused(call, r))?.into_iter().next();
        Ok(first.filter(|c| c.name == channel).map_or(0, |c| c.subscribers as i64))
    })
}

fn channels(prefix: &str) -> Result<Array, Raised> {
    with(|call| {
        let wait = ready(call)?;
        let found =
            call.around.host.channels(call.around.app.id, prefix, LISTED_MAX, wait).map_err(|r| refused(call, r))?;
        let shown = |c: crate::model::ChannelInfo| {
            Ok(map([
                ("name", channel_text(&c.name)),
                ("members", Dynamic::from_int(c.subscribers as i64)),
                ("since", Dynamic::from_int(c.since as i64)),
            ]))
        };
        Listed::of(found.into_iter().map(shown))
    })
}

fn connections(target: Target) -> Result<Array, Raised> {
    with(|call| {
        let wait = ready(call)?;
        let found = call.around.host.connections(call.around.app.id, target, LISTED_MAX, wait);
        let shown = |c: ConnectionInfo| {
            go_on()?;
            Ok(map([
                ("id", id_text(c.id)),
                ("user", Dynamic::from(UserValue(c.identity))),
                ("channels", Dynamic::from_array(c.channels.iter().map(channel_text).collect())),
                ("ip", shared(&c.ip.to_string())),
                ("endpoint", shared(&c.endpoint)),
                ("user_agent", optional(c.user_agent.as_deref())),
                ("connected_at", Dynamic::from_int(c.connected_at as i64)),
                ("last_activity", Dynamic::from_int(c.last_activity as i64)),
            ]))
        };
        Listed::of(found.map_err(|r| refused(call, r))?.0.into_iter().map(shown))
    })
}

fn stats(claims: &[Dynamic]) -> Result<Dynamic, Raised> {
    with(|call| {
        if claims.len() > CLAIMS_MAX {
            return Err(raise(format!("`stats` counts by {CLAIMS_MAX} claims at most, these are {}", claims.len())));
        }
        let claims: Result<Vec<String>, Raised> =
            claims.iter().map(|c| Ok(arg::text(c, "a claim's name")?.to_string())).collect();
        let stats = call.around.host.stats(call.around.app.id, &claims?, ready(call)?).map_err(|r| refused(call, r))?;
        let number = |n: usize| Dynamic::from_int(n as i64);
        let by: Map = stats
            .by
            .into_iter()
            .map(|(claim, counts)| {
                let counts: Map = counts.into_iter().map(|(value, n)| (value.into(), number(n))).collect();
                (claim.into(), Dynamic::from_map(counts))
            })
            .collect();
        let whole = |n: u64| Dynamic::from_int(n as i64);
        let own: Map = stats.own.into_iter().map(|(name, value)| (name.into(), Dynamic::from_float(value))).collect();
        Ok(map([
            ("connections", number(stats.connections)),
            ("channels", number(stats.channels)),
            ("subscriptions", number(stats.subscriptions)),
            ("by", Dynamic::from_map(by)),
            ("received", whole(stats.traffic.received)),
            ("delivered", whole(stats.traffic.delivered)),
            ("delivered_per_second", Dynamic::from_float(stats.traffic.delivered_per_second)),
            ("published", whole(stats.traffic.published)),
            ("refused", whole(stats.traffic.refused)),
            ("uptime_ms", whole(stats.traffic.uptime_ms)),
            ("own", Dynamic::from_map(own)),
        ]))
    })
}
