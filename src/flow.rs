//! The corridor: message → `Request` → `Permit` → hub → `Event`s. One direction; everything that clients can ask for
//! passes here, and so does what the HTTP API asks in their stead.
//!
//! In: a message's text, a `Session`, the generation in force. Out: `Replies`; events leave through the hub.

mod full;
mod generation;
mod handlers;
pub mod limits;
mod publish;
mod replies;
mod request;
mod review;
mod session;
mod subscribe;

pub use generation::{App, AutoSubscribe, Endpoint, Generation, Revoke};
pub use handlers::{After, Bound, Handlers, OfClass, OfEndpoint, Publishing, Wish, in_words, is_failure};
pub use limits::{AppLimits, Limits};
pub use publish::Target;
pub use replies::{Errand, Question, Replies};
pub use request::KeptRequest;
pub use review::{Foreseen, Verdict};
pub use session::{By, Greeting, Session, Sub};

use crate::auth::{Lookup, Row, Table, Tables};
use crate::dialect::{About, Answer, Asked, Dialect};
use crate::hub::{self, Hub};
use crate::model::memory::Account;
use crate::model::{
    ChannelName, ClientCommand, Close, Code, Draft, Identity, Mono, Now, Priority, Refusal, Request, RowUnknown,
};
use crate::observe::{Counts, LimitName, Local};
use crate::policy::{Asking, History, Permit, Policy, Presence, Publish, Right, Subscribe};
use bytes::Bytes;
use std::cell::RefCell;
use std::sync::Arc;

/// Buckets of users, over all shards.
pub trait UserBuckets {
    /// Up to `wanted` of the user's tokens.
    fn take(&self, app: &App, identity: &Identity, wanted: u32, now: Mono) -> u32;
}

/// One connection's way through the corridor, with all that it may touch.
pub struct Walk<'a> {
    pub app: &'a App,
    pub generation: u64,
    pub dialect: &'a Dialect,
    pub rows: Rows<'a>,
    pub session: &'a mut Session,
    pub hub: &'a mut Hub,
    pub counts: &'a mut Local,
    pub users: &'a dyn UserBuckets,
    pub now: Now,
    pub replies: &'a mut Replies,
    pub room: Room<'a>,
}

/// What an app may still take of the process's memory.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    pub account: &'a Arc<Account>,
    /// It has too much already: nothing new is kept.
    pub full: bool,
}

/// An app's tables as they stand now, for rules.
pub struct Rows<'a> {
    tables: &'a Tables,
    now: Mono,
    /// Asks for rows that are not here or too old, for the next decision; else they stay as they are.
    asks: bool,
    /// The first that was read and is not here.
    missing: RefCell<Option<MissingRow>>,
}

/// A row behind a URL that is not here.
pub struct MissingRow {
    table: Arc<Table>,
    key: Box<str>,
    now: Mono,
}

impl MissingRow {
    /// Waits until its source has answered. Whether it is known now: the row, or that there is none.
    pub async fn comes(self) -> bool {
        self.table.row(&self.key, self.now).await.is_ok()
    }
}

impl<'a> Rows<'a> {
    /// For somebody's decision: what is too old is asked for.
    pub fn asked(tables: &'a Tables, now: Mono) -> Rows<'a> {
        Rows { tables, now, asks: true, missing: RefCell::default() }
    }

    /// For a decision that only looks.
    pub fn as_they_are(tables: &'a Tables, now: Mono) -> Rows<'a> {
        Rows { asks: false, ..Rows::asked(tables, now) }
    }

    /// The first row that a decision since the last call needed and that is not here.
    pub fn take_missing(&self) -> Option<MissingRow> {
        self.missing.take()
    }
}

impl crate::model::Tables for Rows<'_> {
    fn row(&self, table: &str, key: &str) -> Result<Option<Arc<Row>>, RowUnknown> {
        let Some(table) = self.tables.get(table) else { return Ok(None) };
        if self.asks {
            // What comes of it, the next decision finds. A row that is used and never asked for again would be the one of
            // `ttl` and `stale_for` ago.
            table.prepare(key, self.now);
        }
        match table.cached(key, self.now) {
            Lookup::Row(row) => Ok(Some(row)),
            Lookup::Absent => Ok(None),
            Lookup::Unknown => {
                let missing = || MissingRow { table: table.clone(), key: key.into(), now: self.now };
                self.missing.borrow_mut().get_or_insert_with(missing);
                Err(RowUnknown)
            }
        }
    }
}

/// Rows that one decision waits for, one after another; a rule that needs more is `unavailable`.
pub const ROWS_MAX: u8 = 8;
/// Events of one history answer, where the client names no number.
const HISTORY_DEFAULT: usize = 100;
/// And at most.
const HISTORY_MAX: usize = 1_000;
/// What a presence answer is taken for until its home has counted.
const PRESENCE_ITEMS: u32 = 100;
/// Tokens of a user's bucket that a connection takes at a time: the shared table is touched once for so many messages.
const USER_GRANT: u32 = 16;

impl Walk<'_> {
    /// One message, all the way; `charge` let it. Nothing of it was done where a rule needs a row that is not here: it is
    /// to be received again once that has come. `waits`: whether it may; else such a rule says `unavailable`.
    pub fn receive(&mut self, text: &str, waits: bool) -> Option<MissingRow> {
        match self.dialect.read(text) {
            Ok(request) => {
                let missing = if waits { self.missing_row(&request.command) } else { None };
                if missing.is_none() {
                    self.carry_out(request);
                }
                missing
            }
            Err(refused) => {
                let asked = Asked { id: refused.id, kind: &refused.kind };
                self.refuse(&refused.refusal, None, Some(asked));
                None
            }
        }
    }

    /// The first row that a rule needs for this and that is not here.
    fn missing_row(&self, command: &ClientCommand<'_>) -> Option<MissingRow> {
        // Of most apps all rows are here, or there are none.
        self.app.tables.shortest_ttl()?;
        match command {
            _ if self.session.newcomer => None,
            ClientCommand::Subscribe { channels, .. } => channels.iter().find_map(|c| self.missing_for::<Subscribe>(c)),
            ClientCommand::Publish { channel, .. } => self.missing_for::<Publish>(channel),
            ClientCommand::History { channel, .. } => self.missing_for::<History>(channel),
            ClientCommand::Presence { channel } => self.missing_for::<Presence>(channel),
            _ => None,
        }
    }

    fn missing_for<R: Right>(&self, text: &str) -> Option<MissingRow> {
        if !self.app.policy.reads_tables(R::KIND) {
            return None;
        }
        let decided = self.app.policy.decide::<R>(&Policy::name(text).ok()?, &self.asking(), self.generation);
        // A rule may have gone on without it.
        self.rows.take_missing().filter(|_| decided.is_err_and(|refusal| refusal.code == Code::Unavailable))
    }

    fn carry_out(&mut self, request: Request<'_>) {
        let Request { id, kind, command } = request;
        let asked = Asked { id, kind: &kind };
        self.app.log.received(&self.app.name, self.session.id, &kind, command.channel());
        if self.session.newcomer && !is_for_newcomers(&command) {
            return self.refuse(&Refusal::new(Code::Unauthenticated), None, Some(asked));
        }
        let refused_before = self.session.violations;
        match command {
            ClientCommand::Subscribe { channels, since } => self.subscribe(&channels, since, asked),
            ClientCommand::Unsubscribe { channels } => self.unsubscribe(&channels, asked),
            ClientCommand::Publish { channel, data, event, key } => {
                let draft = Draft {
                    data: Bytes::copy_from_slice(data.get().as_bytes()),
                    event: event.map(|e| e.as_ref().into()),
                    key: key.map(|k| k.as_ref().into()),
                    exclude: None,
                    priority: Priority::default(),
                };
                if let Err(refusal) = self.publish(&channel, draft, asked) {
                    return self.refuse(&refusal, Some(&channel), Some(asked));
                }
            }
            ClientCommand::Ping => self.say(&Answer::Pong, Some(asked)),
            ClientCommand::Status => self.say(&Answer::Status, Some(asked)),
            ClientCommand::Authenticate { token, claims } => {
                let claims = claims.map(ToOwned::to_owned);
                self.errand(Errand::Authenticate { token: token.map(Into::into), claims }, asked);
            }
            ClientCommand::History { channel, since, limit } => {
                let limit = limit.map_or(HISTORY_DEFAULT, |l| (l as usize).min(HISTORY_MAX));
                match self.permit_history(&channel) {
                    Ok((channel, home)) => self.errand(Errand::History { channel, home, since, limit }, asked),
                    Err(refusal) => return self.refuse(&refusal, Some(&channel), Some(asked)),
                }
            }
            ClientCommand::Presence { channel } => match self.permit_presence(&channel) {
                Ok((channel, home)) => self.errand(Errand::Presence { channel, home }, asked),
                Err(refusal) => return self.refuse(&refusal, Some(&channel), Some(asked)),
            },
            ClientCommand::Handle { handler, data, channel } => {
                let data = Bytes::copy_from_slice(data.get().as_bytes());
                if let Err(refusal) = self.handle(handler, data, asked) {
                    return self.refuse(&refusal, channel.as_deref(), Some(asked));
                }
            }
            ClientCommand::Close => self.replies.close = Some(Close::NORMAL),
            ClientCommand::Ignore => {}
        }
        // A token is judged later, and a subscribe may be refused in part: neither wipes the slate by itself.
        let judged = self.replies.errands.is_empty() && self.replies.wishes.is_empty();
        if self.session.violations == refused_before && judged {
            self.session.violations = 0;
        }
    }

    /// A message that `charge` refused. `text`: as far as it was worth reading; its id tells the client which it was.
    pub fn refuse_unread(&mut self, text: Option<&str>, refusal: &Refusal) {
        match text.map(|text| self.dialect.read(text)) {
            Some(Ok(request)) => {
                self.refuse(refusal, None, Some(Asked { id: request.id, kind: &request.kind }));
            }
            Some(Err(refused)) => {
                self.refuse(refusal, None, Some(Asked { id: refused.id, kind: &refused.kind }));
            }
            None => self.refuse(refusal, None, None),
        }
    }

    /// Whether one more message may come now; asked before anything of it is read.
    pub fn charge(&mut self) -> Result<(), Refusal> {
        self.session.last_message = self.now.mono;
        self.counts.app(self.app.id).messages += 1;
        let (limits, now) = (&self.app.limits, self.now.mono);
        if self.session.bucket.take(1, limits.messages, now) == 0 {
            self.counts.limit(LimitName::Messages);
            return Err(Refusal::new(Code::RateLimited));
        }
        if self.session.identity.user.is_some() {
            if self.session.granted == 0 {
                let granted = self.users.take(self.app, &self.session.identity, USER_GRANT, now);
                self.session.granted = granted as u16;
            }
            if self.session.granted == 0 {
                self.counts.limit(LimitName::MessagesPerUser);
                return Err(Refusal::new(Code::RateLimited));
            }
            self.session.granted -= 1;
        }
        Ok(())
    }

    fn permit_history(&mut self, text: &str) -> Result<(ChannelName, u16), Refusal> {
        let permit: Permit<History> = self.app.policy.decide(&Policy::name(text)?, &self.asking(), self.generation)?;
        let home = home(self.app, self.hub.shards(), permit.channel());
        Ok((permit.channel().clone(), home))
    }

    fn permit_presence(&mut self, text: &str) -> Result<(ChannelName, u16), Refusal> {
        let permit: Permit<Presence> = self.app.policy.decide(&Policy::name(text)?, &self.asking(), self.generation)?;
        let home = home(self.app, self.hub.shards(), permit.channel());
        Ok((permit.channel().clone(), home))
    }

    /// Who asks, for policy.
    fn asking(&self) -> Asking<'_> {
        let session = &*self.session;
        Asking {
            identity: &session.identity,
            request: session.request.as_deref().map(|r| r as &dyn crate::policy::RequestView),
            tables: &self.rows,
            now: self.now.wall,
        }
    }

    fn errand(&mut self, errand: Errand, asked: Asked<'_>) {
        let items = match &errand {
            Errand::Authenticate { .. } => 0,
            Errand::History { limit, .. } => *limit as u32,
            Errand::Presence { .. } => PRESENCE_ITEMS,
        };
        self.replies.items += items;
        let question = Question { id: asked.id.map(ToOwned::to_owned), kind: asked.kind.into(), items };
        self.replies.errands.push((errand, question));
    }

    /// Tells the client that it did not happen.
    pub fn tell(&mut self, refusal: &Refusal, channel: Option<&str>, asked: Option<Asked<'_>>) {
        let counts: &mut Counts = self.counts.app(self.app.id);
        counts.refused(refusal.code);
        self.log_refusal(refusal, channel, asked);
        self.say(&Answer::Error { refusal, channel }, asked);
    }

    /// As `tell`; too often in a row, and it is closed. A handler's fault or a full queue is not the client's doing.
    pub fn refuse(&mut self, refusal: &Refusal, channel: Option<&str>, asked: Option<Asked<'_>>) {
        self.tell(refusal, channel, asked);
        if matches!(refusal.code, Code::Internal | Code::Overloaded) {
            return;
        }
        self.session.violations = self.session.violations.saturating_add(1);
        if self.session.violations > self.app.limits.violations {
            self.counts.limit(LimitName::Violations);
            self.replies.close = Some(Close::POLICY);
        }
    }

    /// At level `debug`: which rule refused, and what its parts came to.
    fn log_refusal(&self, refusal: &Refusal, channel: Option<&str>, asked: Option<Asked<'_>>) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        tracing::debug!(
            app = &*self.app.name,
            connectionId = %self.session.id,
            code = refusal.code.as_str(),
            rule = refusal.rule.as_deref(),
            why = channel.and_then(|name| self.app.policy.trace(name, refusal, &self.asking())),
            channel,
            messageType = asked.map(|a| a.kind),
            "refused"
        );
    }

    /// Says something to this connection.
    pub fn say(&mut self, answer: &Answer<'_>, asked: Option<Asked<'_>>) {
        let (dialect, session, hub) = (self.dialect, &*self.session, &*self.hub);
        let channels = |f: &mut dyn FnMut(&str)| {
            session.subs.iter().for_each(|sub| f(hub.channel(sub.channel).name.as_str()));
        };
        let about = About {
            now: self.now.wall,
            connection: session.id,
            connected_at: session.connected_at.wall,
            last_activity: self.now.wall_of(session.last_activity),
            identity: &session.identity,
            channels: &channels,
            ip: session.ip,
            settings: &self.app.settings,
            request: asked,
        };
        self.replies.say(|out| dialect.write(answer, &about, out));
    }
}

/// Whether a command may come from somebody unknown.
fn is_for_newcomers(command: &ClientCommand<'_>) -> bool {
    matches!(
        command,
        ClientCommand::Authenticate { .. } | ClientCommand::Ping | ClientCommand::Close | ClientCommand::Ignore
    )
}

/// The shard that numbers a channel's events.
pub fn home(app: &App, shards: u16, name: &ChannelName) -> u16 {
    match app.policy.find(name).map(|found| found.home()) {
        Some(Ok(home)) => hub::home_of(shards, home.as_str()),
        _ => hub::home_of(shards, name.as_str()),
    }
}
