//! Live subscriptions held against the rules as they are now: after a reload, a changed row, another identity.
//!
//! What decides them is one function, whether something is done about it (`decide_again`) or only told (`foresee`).

use super::{By, Revoke, Sub, Walk};
use crate::dialect::Answer;
use crate::hub::AskedBy;
use crate::model::{ChannelName, Close, Code, Refusal};
use crate::observe::audit_revocation;
use crate::policy::{Permit, Reads, RightKind, Scope, Subscribe};
use crate::script::Trigger;

/// What becomes of a live subscription.
pub enum Verdict {
    /// Goes on.
    Stays,
    /// Its rule refuses, or its class is gone.
    Refused(Refusal),
    /// Its endpoint subscribes it no longer.
    Unborn,
}

/// What would become of a subscription that does not stay.
pub struct Foreseen {
    pub channel: ChannelName,
    /// `None`: its endpoint subscribes it no longer.
    pub refusal: Option<Refusal>,
    /// Its rule reads the request, and this connection's was not kept.
    pub undecidable: bool,
}

impl Walk<'_> {
    /// Decides every subscription again, after the identity or the rules changed. `born`: the endpoint's own channels
    /// may be others; what it subscribes no longer ends, what it subscribes now begins. Returns how many are not
    /// allowed now.
    pub fn decide_again(&mut self, revoke: Revoke, born: bool) -> u32 {
        let own = if born { Some(self.own_channels()) } else { None };
        let (mut at, mut revoked) = (0, 0);
        while let Some(sub) = self.session.subs.get(at).copied() {
            let channel = self.hub.channel(sub.channel);
            let (name, class) = (channel.name.clone(), channel.class);
            match self.verdict(sub, &name, own.as_deref()) {
                Verdict::Stays => at += 1,
                Verdict::Unborn => {
                    self.tell_of_seat(class, &name, Trigger::Unsubscribed);
                    self.rise(at);
                    let (id, user) = (self.session.id, self.session.identity.user.as_deref());
                    self.app.log.unsubscribed(&self.app.name, id, user, name.as_str());
                }
                // Rows behind URLs are looked at again and again: it is reported once.
                Verdict::Refused(_) if revoke == Revoke::Report && sub.reported == self.generation as u16 => at += 1,
                Verdict::Refused(refusal) => {
                    revoked += 1;
                    self.session.subs[at].reported = self.generation as u16;
                    self.log_revoked(&name, &refusal, revoke);
                    match revoke {
                        Revoke::Report => at += 1,
                        Revoke::Disconnect => {
                            self.replies.close = Some(Close::REVOKED);
                            return revoked;
                        }
                        Revoke::Unsubscribe => {
                            self.tell_of_seat(class, &name, Trigger::Unsubscribed);
                            self.rise(at);
                            self.say(&Answer::Revoked { channel: name.as_str(), refusal: Some(&refusal) }, None);
                        }
                    }
                }
            }
        }
        own.into_iter().flatten().for_each(|permit| self.seat(permit, AskedBy::Endpoint));
        revoked
    }

    /// As `decide_again`, and nothing is done about it: those that would not stay.
    pub fn foresee(&self, born: bool) -> Vec<Foreseen> {
        let own = if born { Some(self.own_channels()) } else { None };
        let each = self.session.subs.iter().filter_map(|sub| {
            let name = &self.hub.channel(sub.channel).name;
            let refusal = match self.verdict(*sub, name, own.as_deref()) {
                Verdict::Stays => return None,
                Verdict::Refused(refusal) => Some(refusal),
                Verdict::Unborn => None,
            };
            let undecidable = refusal.is_some() && sub.by == By::Client && self.is_undecidable(name);
            Some(Foreseen { channel: name.clone(), refusal, undecidable })
        });
        each.collect()
    }

    fn verdict(&self, sub: Sub, name: &ChannelName, own: Option<&[Permit<Subscribe>]>) -> Verdict {
        let decided: Result<Permit<Subscribe>, Refusal> = match sub.by {
            By::Client => self.app.policy.decide(name, &self.asking(), self.generation),
            By::Endpoint | By::Api => self.app.policy.allow_api(&Scope::everywhere(), name, self.generation),
        };
        match decided {
            // A row that cannot be had now says nothing against a subscription that was allowed. Once the row comes and
            // is another than before, this is decided again.
            Err(Refusal { code: Code::Unavailable, .. }) => Verdict::Stays,
            Err(refusal) => Verdict::Refused(refusal),
            Ok(_) if sub.by == By::Endpoint && own.is_some_and(|own| own.iter().all(|p| p.channel() != name)) => {
                Verdict::Unborn
            }
            Ok(_) => Verdict::Stays,
        }
    }

    /// What the endpoint subscribes by itself, for this connection.
    fn own_channels(&self) -> Vec<Permit<Subscribe>> {
        let endpoint = self.app.endpoint(self.session.endpoint);
        endpoint.into_iter().flat_map(|e| &e.subscribe).filter_map(|auto| self.permit_auto(auto)).collect()
    }

    /// Whether the rule of a channel reads the request, and this connection's was not kept: nobody can say what the
    /// rule would have come to, so it refuses.
    fn is_undecidable(&self, name: &ChannelName) -> bool {
        let reads = || self.app.policy.find(name).map(|found| found.class().reads(RightKind::Subscribe));
        self.session.request.is_none() && reads().is_some_and(|reads| reads.contains(Reads::REQUEST))
    }

    fn log_revoked(&self, channel: &ChannelName, refusal: &Refusal, revoke: Revoke) {
        tracing::info!(
            app = &*self.app.name,
            connectionId = %self.session.id,
            userId = self.session.identity.user.as_deref(),
            channel = channel.as_str(),
            code = refusal.code.as_str(),
            rule = refusal.rule.as_deref(),
            undecidable = self.is_undecidable(channel).then_some(true),
            ?revoke,
            "subscription no longer allowed"
        );
        let result = match revoke {
            Revoke::Unsubscribe => "unsubscribe",
            Revoke::Disconnect => "disconnect",
            Revoke::Report => "report",
        };
        let user = self.session.identity.user.as_deref();
        audit_revocation(&self.app.name, user, &self.session.id.to_string(), channel.as_str(), result);
    }
}
