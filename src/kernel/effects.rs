//! Carries out what handlers ask for: each effect becomes inputs of kernels, in the order in which it was asked.

use super::command::Caller;
use super::port::Port;
use crate::hub::Tally;
use crate::model::{ChannelName, Command, Refusal};
use crate::script::{Asker, Connection, Effect};
use std::sync::Arc;
use tokio::sync::oneshot;

impl Port {
    /// Effects of one call, in their order. `tell`: how many connections publications and sends reached, together.
    /// `refused` hears of those that came to nothing: a reload took a class away meanwhile, or the plugin names a
    /// channel that no class matches.
    pub fn carry_out(
        &self,
        caller: &Caller,
        asker: Option<(&Connection, &Asker)>,
        effects: Vec<Effect>,
        tell: Option<oneshot::Sender<u32>>,
        mut refused: impl FnMut(&str, Refusal),
    ) {
        let (tally, app) = (Counting::new(tell), &caller.app);
        let commands = effects.iter().filter(|effect| matches!(effect, Effect::Do(_))).count();
        if let Some((connection, _)) = asker.filter(|_| commands > 1) {
            self.charge(connection, commands as u32);
        }
        for effect in effects {
            match effect {
                Effect::Do(command) => {
                    if let Err(refusal) = self.cast(caller, &command, |several| tally.of(several)) {
                        refused(&shown(&command), refusal);
                    }
                }
                Effect::Reply(reply) => {
                    if let Some((connection, asker)) = asker {
                        self.cast_reply(connection, asker, reply.message);
                    }
                }
                Effect::Count { name, by } => self.shared.metrics.own.count(app.id, &app.name, &name, by),
                Effect::Gauge { name, value } => self.shared.metrics.own.gauge(app.id, &app.name, &name, value),
            }
        }
    }
}

/// What it was, for whoever reads that it was refused.
fn shown(command: &Command) -> String {
    match command {
        Command::Publish { channels, .. } => {
            let names: Vec<&str> = channels.iter().map(ChannelName::as_str).collect();
            format!("publish to `{}`", names.join("`, `"))
        }
        Command::Subscribe { channel, .. } => format!("join `{channel}`"),
        Command::Unsubscribe { channel, .. } => format!("leave `{channel}`"),
        Command::Send { .. } => "send".to_owned(),
        Command::Close { .. } => "close".to_owned(),
        Command::Cleanup { .. } => "cleanup".to_owned(),
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
