//! Carries out what handlers ask for: each effect becomes inputs of kernels, in the order in which it was asked.

use super::port::Port;
use crate::flow::{App, Draft, Generation};
use crate::hub::Tally;
use crate::model::{ChannelName, Refusal};
use crate::script::{Asker, Connection, Effect};
use std::sync::Arc;
use tokio::sync::oneshot;

impl Port {
    /// Effects of one call, in their order. `tell`: how many connections publications and sends reached, together.
    /// `refused` hears of those that came to nothing: a reload took a class away meanwhile, or the plugin names a
    /// channel that no class matches.
    pub fn carry_out(
        &self,
        generation: &Generation,
        app: &Arc<App>,
        asker: Option<(&Connection, &Asker)>,
        effects: Vec<Effect>,
        tell: Option<oneshot::Sender<u32>>,
        mut refused: impl FnMut(&str, Refusal),
    ) {
        let tally = Counting::new(tell);
        for effect in effects {
            if let Err((what, refusal)) = self.carry_one(generation, app, asker, effect, &tally) {
                refused(&what, refusal);
            }
        }
    }

    fn carry_one(
        &self,
        generation: &Generation,
        app: &Arc<App>,
        asker: Option<(&Connection, &Asker)>,
        effect: Effect,
        tally: &Counting,
    ) -> Result<(), (String, Refusal)> {
        match effect {
            Effect::Publish { channels, message, key, exclude, priority } => {
                let draft = Draft { data: message.data, event: message.event, key, exclude, priority };
                let shown = |refusal| {
                    let names: Vec<&str> = channels.iter().map(ChannelName::as_str).collect();
                    (format!("publish to `{}`", names.join("`, `")), refusal)
                };
                self.cast_publish(generation, app, &channels, draft, |several| tally.of(several)).map_err(shown)?;
            }
            Effect::Send { target, message } => self.cast_send(app.id, target, message, tally.of(false)),
            Effect::Reply(reply) => {
                if let Some((connection, asker)) = asker {
                    self.cast_reply(connection, asker, reply.message);
                }
            }
            Effect::Join { connection, channel } => {
                let shown = |refusal| (format!("join `{channel}`"), refusal);
                self.cast_subscribe(generation, app, connection, &channel).map_err(shown)?;
            }
            Effect::Leave { connection, channel } => self.cast_unsubscribe(app.id, connection, channel),
            Effect::Close { target, close } => self.cast_close(app.id, target, close),
            Effect::Count { name, by } => self.shared.metrics.own.count(app.id, &app.name, &name, by),
            Effect::Gauge { name, value } => self.shared.metrics.own.gauge(app.id, &app.name, &name, value),
        }
        Ok(())
    }
}

/// Adds up whom the effects of one call reach.
struct Counting(Option<Arc<Tally>>);

impl Counting {
    fn new(tell: Option<oneshot::Sender<u32>>) -> Counting {
        Counting(tell.map(|tell| {
            Arc::new(Tally::new(move |recipients, _| {
                let _ = tell.send(recipients);
            }))
        }))
    }

    /// A count that flows into the sum. `several`: of a publication to several homes, where nobody hears it twice.
    fn of(&self, several: bool) -> Arc<Tally> {
        let sum = self.0.clone();
        let done = move |recipients, _| {
            if let Some(sum) = sum {
                sum.add(recipients);
            }
        };
        Arc::new(if several { Tally::once(done) } else { Tally::new(done) })
    }
}
