//! What a client of a simulation hears, held against what it asked for and against what others were told.

use super::super::seat::Seat;
use super::super::truth::Truth;
use super::super::{Report, Site};
use super::{Asked, Person};
use crate::model::{ConnectionId, Position};
use serde_json::Value;

impl Person {
    pub fn hears(&mut self, message: &str, site: &Site, truth: &mut Truth, report: &mut Report) -> Result<(), String> {
        report.count("messages heard");
        self.tell(format!("< {message}"));
        let message: Value = serde_json::from_str(message).map_err(|e| format!("no JSON: {e}: {message}"))?;
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let (channel, at) = (text("channel"), text("at").parse::<Position>().ok());
        let kind = message["type"].as_str().unwrap_or_default();
        if self.id.is_none() && !["hello", "error", "authenticated", "closed"].contains(&kind) {
            return Err(format!("`{kind}` was heard before the greeting"));
        }
        let asked = message["id"].as_u64();
        let asked = match asked {
            Some(id) => Some((id, self.pending.remove(&id).ok_or_else(|| format!("{id} was answered twice"))?)),
            None => None,
        };
        self.taken += u64::from(asked.is_some() && message["code"] != "rate_limited");
        match kind {
            "hello" => self.is_greeted(&message)?,
            "msg" => {
                let at = at.ok_or_else(|| format!("an event without a position: {message}"))?;
                let number = message["data"]["n"].as_u64().ok_or_else(|| format!("no publication: {message}"))?;
                truth.is_at(&channel, at, number)?;
                let seat = self.seats.get_mut(&channel);
                let seat = seat.ok_or_else(|| format!("{number} of `{channel}` was heard without a subscription"))?;
                let jumps = seat.at.is_some_and(|before| before.offset + 1 < at.offset);
                report.add("overflows, conflate", u64::from(jumps && channel.starts_with("newest:")));
                if seat.hears(&channel, at)? {
                    truth.is_heard_live(number);
                    // A connection on several of its channels hears it once.
                    if truth.is_of_several(number) && !self.several.insert(number) {
                        return Err(format!("{number} was heard twice"));
                    }
                }
            }
            "subscribed" => self.is_subscribed(channel, at, message["whole"].as_bool(), asked, site, report)?,
            "unsubscribed" => self.is_unsubscribed(channel, asked)?,
            "revoked" => {
                report.count("subscriptions revoked");
                self.leaves(&channel);
            }
            "published" => match (asked, at) {
                (Some((id, Asked::Publish { channel, number })), Some(at)) => {
                    truth.is_at(&channel, at, number)?;
                    self.is_in_order(id, channel, at)?;
                }
                (Some((_, Asked::Publish { .. })), None) => {}
                _ => return Err(format!("an answer to nobody: {message}")),
            },
            "authenticated" => match asked {
                Some((_, Asked::Authenticate { role, expires_at })) => {
                    report.count("tokens taken");
                    (self.role, self.expires_at) = (role, expires_at);
                    self.user = self.arrival.user.clone();
                }
                _ => return Err(format!("an answer to nobody: {message}")),
            },
            "done" => report.count("handlers answered"),
            "error" => self.is_refused(&message, asked, truth, report)?,
            "gap" => {
                let missed = message["missed"].as_u64().unwrap_or_default();
                report.count(if channel.starts_with("low:") {
                    "overflows, drop_low"
                } else {
                    "overflows, drop_oldest"
                });
                if let Some(seat) = self.seats.get_mut(&channel) {
                    seat.missed += missed;
                }
            }
            "sent" => {
                let number = message["n"].as_u64().unwrap_or_default();
                truth.is_sent(number);
                if !self.sent.insert(number) {
                    return Err(format!("it was sent twice: {message}"));
                }
            }
            "expiring" => report.count("tokens about to end"),
            "closed" => report.count(match message["code"].as_u64() {
                Some(1013) => "overflows, close",
                Some(4000) | Some(4001) => "newcomers sent away",
                Some(1006) => "connections lost",
                Some(1008) => "closed by a rule or the API",
                _ => "closed otherwise",
            }),
            other => return Err(format!("`{other}` was heard: {message}")),
        }
        Ok(())
    }

    /// What one connection publishes to a channel is in the order in which it was sent. Handlers may be called late.
    fn is_in_order(&mut self, id: u64, channel: String, at: Position) -> Result<(), String> {
        if channel.starts_with("asked:") {
            return Ok(());
        }
        let told = format!("`{channel}`: message {id} is at {at}");
        let all = self.published.entry((channel, at.epoch)).or_default();
        let before = all.range(..id).next_back().is_some_and(|(_, offset)| *offset > at.offset);
        let behind = all.range(id..).next().is_some_and(|(_, offset)| *offset < at.offset);
        all.insert(id, at.offset);
        match before || behind {
            true => Err(format!("{told}, and others of this connection are not in their order: {all:?}")),
            false => Ok(()),
        }
    }

    fn is_greeted(&mut self, message: &Value) -> Result<(), String> {
        let id = message["connection"].as_str().and_then(ConnectionId::parse);
        if self.id.is_some() || id.is_none() {
            return Err(format!("a greeting that is none: {message}"));
        }
        self.id = id;
        let user = message["user"].as_str().unwrap_or_default();
        if user != self.user {
            return Err(format!("`{}` was greeted as `{user}`", self.user));
        }
        // Who is greeted may act at once: it is on its own channels already.
        let own = format!("own:{user}");
        if !message["channels"].as_array().is_some_and(|channels| channels.iter().any(|c| c == own.as_str())) {
            return Err(format!("greeted before its own channel `{own}` had seated it: {message}"));
        }
        self.seats.insert(own, Seat::unasked(None));
        Ok(())
    }

    fn is_subscribed(
        &mut self,
        channel: String,
        at: Option<Position>,
        whole: Option<bool>,
        asked: Option<(u64, Asked)>,
        site: &Site,
        report: &mut Report,
    ) -> Result<(), String> {
        let since = match asked {
            Some((_, Asked::Subscribe { channel: asked, since })) if asked == channel => Some(since),
            Some(other) => return Err(format!("`{channel}` was answered to {other:?}")),
            None => None,
        };
        let Some(at) = at else { return Ok(()) }; // it has a seat, or one is on its way
        if self.seats.contains_key(&channel) {
            return Err(format!("it has two seats on `{channel}`"));
        }
        let seat = match since {
            None => Seat::unasked(Some(at)),
            Some(since) => {
                let start = match (since, whole) {
                    (Some(since), Some(true)) => {
                        report.count("resumed");
                        since
                    }
                    (Some(since), _) => {
                        report.count("not resumed");
                        // All that is kept must be given: what was kept behind `since` is what has come since then.
                        if since.epoch == at.epoch && at.offset - since.offset <= site.keep(&channel) {
                            return Err(format!("`{channel}` is at {at}, and nothing was recovered since {since}"));
                        }
                        at
                    }
                    (None, _) => at,
                };
                Seat::asked(start, at)
            }
        };
        self.seats.insert(channel, seat);
        Ok(())
    }

    fn is_unsubscribed(&mut self, channel: String, asked: Option<(u64, Asked)>) -> Result<(), String> {
        // Seats that were asked for before that are not wanted any more; nothing is said of them.
        let waits = |asked: &Asked| matches!(asked, Asked::Subscribe { channel: asked, .. } if *asked == channel);
        let waiting: Vec<u64> = self.pending.iter().filter(|(_, asked)| waits(asked)).map(|(id, _)| *id).collect();
        match asked {
            Some((id, Asked::Unsubscribe { channel: asked })) if asked == channel => {
                waiting.iter().filter(|asked| **asked < id).for_each(|id| drop(self.pending.remove(id)));
            }
            Some(other) => return Err(format!("`{channel}` was left, and {other:?} asked")),
            None => self.void.extend(waiting),
        }
        self.leaves(&channel);
        Ok(())
    }

    fn leaves(&mut self, channel: &str) {
        if let Some(at) = self.seats.remove(channel).and_then(|seat| seat.at) {
            self.knew.insert(channel.to_owned(), at);
        }
    }

    fn is_refused(
        &mut self,
        message: &Value,
        asked: Option<(u64, Asked)>,
        truth: &mut Truth,
        report: &mut Report,
    ) -> Result<(), String> {
        report.count(match message["code"].as_str() {
            Some("rate_limited") => "refusals, rate_limited",
            Some("overloaded") => "refusals, overloaded",
            Some("internal") => "refusals, internal",
            Some("unauthenticated") => "refusals, unauthenticated",
            Some("limit") => "refusals, limit",
            Some("limit:members") => "refusals, limit:members",
            Some("denied") => "refusals, denied",
            _ => "refusals, others",
        });
        match asked {
            Some((_, Asked::Publish { number, .. } | Asked::Timer(number))) => {
                if message["code"] == "denied" {
                    truth.is_denied(number);
                }
                truth.is_refused(number)
            }
            Some(_) => Ok(()),
            None => {
                self.unnamed += 1;
                Ok(())
            }
        }
    }
}
