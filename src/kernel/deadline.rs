//! What the clock asks of a connection: pings, idleness, slowness, first messages, the ends of tokens and of closing.

use super::conn::Stage;
use super::input::{Client, Input, Judged};
use super::io::Io;
use super::kernel::Kernel;
use super::memory::identity_bytes;
use crate::auth::{Action, Authenticator, Credentials, Outcome};
use crate::dialect::{Answer, Asked};
use crate::flow::{App, Question, Revoke};
use crate::model::{Close, Code, LimitKind, Mono, Refusal, Slot};
use crate::observe::{AuthOutcome, CloseReason, LimitName};
use crate::wire::{self, OpCode};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What is due next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    Ping,
    Pong,
    Idle,
    MessageIdle,
    Auth,
    Slow,
    CloseEnd,
    Resume,
    Expiring,
    Expired,
}

impl<I: Io> Kernel<I> {
    /// Has the connection looked at when its next deadline comes.
    pub(super) fn schedule(&mut self, slot: Slot) {
        let Some(app) = self.app_of(slot) else { return };
        let Some((at, _)) = self.next_due(slot, &app) else { return };
        self.timers.schedule(slot, &mut self.conns[slot], at.max(self.now.mono));
    }

    fn next_due(&self, slot: Slot, app: &App) -> Option<(Mono, Due)> {
        let conn = self.conns.get(slot)?;
        let (limits, session) = (&app.limits, &conn.session);
        match &conn.stage {
            Stage::Open => {}
            Stage::Closing(closing) => return Some((closing.since + limits.close_timeout.0, Due::CloseEnd)),
            Stage::Gone => return None,
        }
        let mut next: Option<(Mono, Due)> = None;
        let mut consider = |at: Option<Mono>, due: Due| {
            if let Some(at) = at {
                next = Some(next.map_or((at, due), |n| n.min((at, due))));
            }
        };
        if session.newcomer {
            consider(Some(session.connected_at.mono + limits.auth_timeout.0), Due::Auth);
        }
        if conn.blocked {
            consider(Some(conn.progress_at + limits.queue_age.0), Due::Slow);
        }
        consider(conn.intake.as_ref().and_then(|i| i.resume_at), Due::Resume);
        match conn.pinged_at {
            // Whatever it sends now is not read: it owes nothing.
            _ if conn.is_paused() => {}
            None => consider(limits.ping_interval.0.map(|ms| session.last_activity + ms), Due::Ping),
            Some(at) => consider(Some(at + limits.pong_timeout.0), Due::Pong),
        }
        if !conn.is_paused() {
            consider(limits.idle_timeout.0.map(|ms| session.last_activity + ms), Due::Idle);
            consider(limits.message_idle_timeout.0.map(|ms| session.last_message + ms), Due::MessageIdle);
        }
        if let (Some(ends), Some(expiry)) = (session.identity.expires_at, session.expiry) {
            if !session.warned && expiry.warn_before_ms > 0 {
                consider(Some(self.now.mono_of(ends.saturating_sub(expiry.warn_before_ms as u64))), Due::Expiring);
            }
            consider(Some(self.now.mono_of(ends)), Due::Expired);
        }
        next
    }

    /// The wheel's turn.
    pub(super) fn deadline(&mut self, slot: Slot, tick: u64) {
        if self.conns.get(slot).is_none_or(|c| c.tick != tick) {
            return; // looked at since, or somebody else by now
        }
        let Some(app) = self.app_of(slot) else { return };
        let Some((at, due)) = self.next_due(slot, &app) else { return };
        if at <= self.now.mono {
            self.act(slot, due, &app);
        }
        if self.conns.get(slot).is_some_and(|c| c.tick == tick) {
            self.schedule(slot);
        }
    }

    fn act(&mut self, slot: Slot, due: Due, app: &App) {
        let now = self.now;
        let conn = &mut self.conns[slot];
        match due {
            Due::Ping => {
                conn.intake.take_if(|intake| intake.is_idle(&app.limits, now.mono));
                conn.pinged_at = Some(now.mono);
                let mut frame = Vec::with_capacity(2);
                wire::frame(OpCode::Ping, b"", &mut frame);
                self.push_reply(slot, frame);
            }
            Due::Pong => self.close_dead(slot, Close::NO_PONG, CloseReason::NoPong),
            Due::Idle | Due::MessageIdle => self.close(slot, Close::IDLE),
            Due::Auth => {
                self.counts.limit(LimitName::AuthTimeout);
                self.counts.app(app.id).auth(AuthOutcome::Missing);
                let close = self.on_missing(slot, app);
                self.close(slot, close);
            }
            Due::Slow => {
                self.counts.limit(LimitName::QueueAge);
                self.too_slow(slot);
            }
            Due::Resume => self.resume(slot),
            Due::CloseEnd => {
                let reason = self.reason_of(slot);
                self.remove(slot, reason);
            }
            Due::Expiring => {
                conn.session.warned = true;
                let in_ms = conn.session.identity.expires_at.unwrap_or(now.wall).saturating_sub(now.wall);
                self.answer(slot, &Answer::Expiring { in_ms });
            }
            Due::Expired => self.close(slot, Close::EXPIRED),
        }
    }

    /// Nothing can be expected of it any more: the close frame is tried, nothing is waited for.
    fn close_dead(&mut self, slot: Slot, close: Close, reason: CloseReason) {
        self.close(slot, close);
        self.flush_one(slot);
        self.remove(slot, reason);
    }

    fn on_missing(&self, slot: Slot, app: &App) -> Close {
        match self.first_auth(slot, app).map(|auth| auth.on_missing()) {
            _ if self.conns[slot].session.undecided => Close::UNAVAILABLE,
            Some(Action::Close(close)) => close.clone(),
            _ => Close::new(1008, "authentication timeout"),
        }
    }

    /// The first authenticator of its endpoint that judges messages.
    fn first_auth<'a>(&self, slot: Slot, app: &'a App) -> Option<&'a Authenticator> {
        let endpoint = app.endpoint(self.conns[slot].session.endpoint)?;
        endpoint.auth.iter().find(|auth| auth.takes_messages()).map(|auth| &**auth)
    }

    // ── tokens in messages ──────────────────────────────────────────────────────────────────────────────────────

    /// A first message's token or what it says of its sender; a fresh one of either on a live connection.
    pub(super) fn authenticate(
        &mut self,
        slot: Slot,
        token: Option<Box<str>>,
        claims: Option<Box<RawValue>>,
        question: Question,
    ) {
        let Some(app) = self.app_of(slot) else { return };
        let session = &self.conns[slot].session;
        let endpoint = app.endpoint(session.endpoint);
        // A token is for those who read tokens; what a client merely says, for those who believe it.
        let judges = |a: &&Arc<Authenticator>| a.takes_messages() && a.takes_tokens() == token.is_some();
        let Some(auth) = endpoint.and_then(|e| e.auth.iter().find(judges)).cloned() else {
            return self.authenticated(slot, None, None, question);
        };
        let (current, newcomer, now) = (session.identity.clone(), session.newcomer, self.now);
        let client = Client { shard: self.me, slot, id: session.id };
        let by = auth.clone();
        let mut outcome: Pin<Box<dyn Future<Output = Outcome>>> = Box::pin(async move {
            // What is no object says nothing.
            let claims: Option<Map<String, Value>> = claims.and_then(|raw| serde_json::from_str(raw.get()).ok());
            let shown = Credentials { message: token.as_deref(), claims: claims.as_ref(), ..Credentials::default() };
            match newcomer || current.user.is_none() {
                true => auth.authenticate(&shown, now).await,
                false => auth.refresh(&current, &shown, now).await,
            }
        });
        // Nearly always there is nothing to wait for: keys and rows are here.
        if let Poll::Ready(outcome) = outcome.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return self.authenticated(slot, Some(outcome), Some(by), question);
        }
        self.io.wait(Box::pin(async move {
            let outcome = outcome.await;
            Input::Judged(Box::new(Judged { client, outcome, by, question }))
        }));
    }

    pub(super) fn judged(&mut self, judged: Judged) {
        let Judged { client, outcome, by, question } = judged;
        if self.conns.is_same(client.slot, client.id) {
            self.authenticated(client.slot, Some(outcome), Some(by), question);
        }
    }

    /// Its token could be judged neither good nor bad. A live connection stays what it is; a newcomer may come again.
    fn undecided(&mut self, slot: Slot, app: &App, reason: &str, on_failed: Option<&Action>, asked: Asked<'_>) {
        let session = &mut self.conns[slot].session;
        session.undecided = true;
        let (newcomer, id) = (session.newcomer, session.id);
        tracing::debug!(app = &*app.name, connectionId = %id, reason, "a token cannot be judged now");
        self.counts.app(app.id).auth(AuthOutcome::Unavailable);
        self.walk_own(slot, |walk| walk.tell(&Refusal::new(Code::Unavailable), None, Some(asked)));
        if newcomer && on_failed != Some(&Action::Retry) {
            self.close(slot, Close::UNAVAILABLE);
        }
    }

    /// `by`: who judged it; none that could is on the endpoint.
    fn authenticated(
        &mut self,
        slot: Slot,
        outcome: Option<Outcome>,
        by: Option<Arc<Authenticator>>,
        question: Question,
    ) {
        let Some(app) = self.app_of(slot) else { return };
        let asked = Asked { id: question.id.as_deref(), kind: &question.kind };
        let identity = match outcome {
            Some(Outcome::Identity(identity)) => identity,
            Some(Outcome::Unavailable { reason }) => {
                return self.undecided(slot, &app, &reason, by.as_ref().map(|by| by.on_failed()), asked);
            }
            other => {
                let session = &self.conns[slot].session;
                if let Some(Outcome::Failed { reason, .. }) = &other {
                    app.log.auth_failed(&app.name, Some(session.id), reason, session.ip);
                }
                let newcomer = session.newcomer;
                self.counts.app(app.id).auth(AuthOutcome::Failed);
                self.walk_own(slot, |walk| walk.refuse(&Refusal::new(Code::Unauthenticated), None, Some(asked)));
                let action =
                    by.as_ref().map(|by| by.on_failed()).or_else(|| self.first_auth(slot, &app)?.on_failed().into());
                match action {
                    _ if !newcomer => {}
                    // Until `limits.auth_timeout`, and as often as `limits.violations` bears it.
                    Some(Action::Retry) => {}
                    Some(Action::Close(close)) => self.close(slot, close.clone()),
                    _ => self.close(slot, Close::new(1008, "authentication failed")),
                }
                return;
            }
        };
        self.counts.app(app.id).auth(AuthOutcome::Identified);
        let conn = &mut self.conns[slot];
        if let Err(limit) = conn.seat.know(&identity, &app.limits) {
            self.counts.limit(limit);
            self.walk_own(slot, |walk| walk.tell(&Refusal::limit(LimitKind::Connections), None, Some(asked)));
            return self.close(slot, Close::TOO_MANY_CONNECTIONS);
        }
        let session = &mut conn.session;
        let first = std::mem::take(&mut session.newcomer);
        let version = session.identity.version.wrapping_add(1);
        let before = identity_bytes(&session.identity);
        session.identity = Arc::new(crate::model::Identity { version, ..(*identity).clone() });
        session.known_bytes =
            session.known_bytes.saturating_sub(before).saturating_add(identity_bytes(&session.identity));
        (session.warned, session.undecided) = (false, false);
        self.walk_own(slot, |walk| walk.say(&Answer::Authenticated, Some(asked)));
        if first {
            let greeted = self.walk_own(slot, |walk| walk.dialect.greets_at_open());
            self.greet(slot, &app, greeted != Some(true));
        } else {
            self.decide_again(slot);
        }
        self.schedule(slot);
    }

    /// The identity changed: subscriptions that its rules no longer allow are taken back.
    pub(super) fn decide_again(&mut self, slot: Slot) {
        self.walk_own(slot, |walk| walk.decide_again(Revoke::Unsubscribe, false));
        self.carry();
    }
}
