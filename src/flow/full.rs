//! A channel whose class bounds its members, and that has them all.

use super::Walk;
use crate::hub::{AskedBy, Join};
use crate::model::{LimitKind, Refusal};
use crate::observe::LimitName;

impl Walk<'_> {
    /// A home had no seat free. The client is told as far as it asked; all else is counted and logged.
    pub fn full(&mut self, join: &Join) {
        let shown = join.alias.as_deref().unwrap_or(join.channel.as_str());
        self.greet_without(&join.channel);
        // Its endpoint or the API had asked for the same seat, and that wish was first.
        if self.sub(&join.channel).is_some() {
            let AskedBy::Client(number) = join.asked_by else { return };
            let waits = self.ask(number).and_then(|ask| {
                let at = ask.waiting.iter().position(|c| *c == join.channel)?;
                Some(ask.waiting.swap_remove(at))
            });
            if waits.is_some() {
                self.granted(number, shown, None, None);
                self.answer_ask(number);
            }
            return;
        }
        let refusal = Refusal::limit(LimitKind::Members);
        self.counts.limit(LimitName::MembersMax);
        match join.asked_by {
            AskedBy::Client(number) => return self.subscribe_refused(&join.channel, shown, number, refusal),
            // It may have told its client otherwise: the call ended before the home had answered.
            AskedBy::Plugin => self.tell(&refusal, Some(shown), None),
            AskedBy::Endpoint | AskedBy::Api => self.counts.app(self.app.id).refused(refusal.code),
        }
        tracing::info!(
            app = &*self.app.name,
            connectionId = %self.session.id,
            userId = self.session.identity.user.as_deref(),
            channel = join.channel.as_str(),
            "no seat is free on the channel"
        );
    }
}
