//! Carries a call out: scope and class first, then the gateway.

use super::call::{Call, no_connection};
use super::done::Done;
use super::fail::{Fail, Why};
use super::gateway::{Gateway, Ground};
use super::noted::Noted;
use crate::kernel::Receipt;
use crate::model::{ChannelName, Refusal};
use crate::model::{Filter, Target};
use crate::observe::Via;
use crate::policy::{Right, Scope};

impl Ground {
    /// Whether the channel exists and the scope covers it, for a right that the gateway itself makes no permit for.
    fn covers<R: Right>(&self, channel: &ChannelName) -> Result<(), Refusal> {
        self.app.policy.allow_api::<R>(&self.scope, channel, self.generation.number).map(drop)
    }
}

/// Carries a call out, and writes down who did what where that is wanted.
pub(super) async fn run<G: Gateway>(gateway: &G, ground: &Ground, call: Call, via: Via) -> Result<Done, Fail> {
    let noted = Noted::of(&call);
    let done = carry_out(gateway, ground, call, via).await;
    if let Some(noted) = noted {
        noted.write(ground, &done);
    }
    done
}

async fn carry_out<G: Gateway>(gateway: &G, ground: &Ground, call: Call, via: Via) -> Result<Done, Fail> {
    use crate::policy::{History, Presence, Publish, Subscribe};
    let app = &ground.app;
    Ok(match call {
        Call::Publish { channels, draft } => {
            // All or none: a refused channel is told before anything went out.
            for channel in &channels {
                ground.covers::<Publish>(channel)?;
            }
            let Receipt { recipients, position } = gateway.publish(ground, &channels, draft, via).await?;
            let names = channels.iter().map(ChannelName::as_str).collect::<Vec<_>>().join(" ");
            app.log.broadcast(&app.name, Some(&names), recipients, &ground.by);
            // Each channel has a position of its own: told where there is one channel.
            Done::Published { recipients, position: position.filter(|_| channels.len() == 1) }
        }
        Call::Send { target, data } => {
            let many = matches!(target, Target::Filter(_));
            reaches(&target, &ground.scope)?;
            let recipients = gateway.send(app.id, target, data).await?;
            if many {
                app.log.broadcast(&app.name, None, recipients, &ground.by);
            }
            Done::Sent(recipients)
        }
        Call::Subscribe { target, channel } => {
            // Whoever could bring anybody onto a channel of its own would reach everybody through it.
            reaches(&target, &ground.scope)?;
            Done::Changed(gateway.subscribe(ground, target, &channel).await?)
        }
        Call::Unsubscribe { target, channel } => {
            ground.covers::<Subscribe>(&channel)?;
            Done::Changed(gateway.unsubscribe(app.id, target, &channel).await?)
        }
        Call::Disconnect { target, close } => {
            reaches(&target, &ground.scope)?;
            Done::Changed(gateway.disconnect(app.id, target, close).await?)
        }
        Call::Cleanup { idle_ms } => {
            if !is_everywhere(&ground.scope) {
                return Err(Fail::new(Why::Forbidden, "`cleanup` is for keys of all channels"));
            }
            Done::Changed(gateway.cleanup(app.id, idle_ms).await?)
        }
        Call::Presence { channel } => {
            ground.covers::<Presence>(&channel)?;
            let members = gateway.presence(app, &channel).await?;
            Done::Presence(channel, members)
        }
        Call::History { channel, since, limit } => {
            ground.covers::<History>(&channel)?;
            let page = gateway.history(app, &channel, since, limit).await?;
            Done::History(channel, page)
        }
        Call::Channels { pattern, limit } => {
            let scope = ground.scope.clone();
            let pass = move |name: &ChannelName| pattern.covers(name) && scope.covers(name);
            Done::Channels(gateway.channels(app.id, limit, pass).await?)
        }
        Call::Connections { target, limit } => {
            reaches(&target, &ground.scope)?;
            let (mut list, total) = gateway.connections(app.id, target, limit).await?;
            list.iter_mut().for_each(|info| info.channels.retain(|channel| ground.scope.covers(channel)));
            Done::Connections(list, total)
        }
        Call::Connection { id } => {
            let (list, _) = gateway.connections(app.id, Target::Connection(id), 1).await?;
            let shown = list.into_iter().next().and_then(|mut info| {
                info.channels.retain(|channel| ground.scope.covers(channel));
                (is_everywhere(&ground.scope) || !info.channels.is_empty()).then_some(info)
            });
            Done::Connection(Box::new(shown.ok_or_else(|| no_connection(&id.to_string()))?))
        }
    })
}

fn is_everywhere(scope: &Scope) -> bool {
    *scope == Scope::everywhere()
}

/// An authority over some channels reaches connections only through those channels: `Reach::Through`.
fn reaches(target: &Target, scope: &Scope) -> Result<(), Fail> {
    if is_everywhere(scope) {
        return Ok(());
    }
    let named = match target {
        Target::Filter(Filter { channels, .. }) => channels.as_ref(),
        Target::User(_) | Target::Connection(_) => None,
    };
    let Some(named) = named else {
        return Err(Fail::new(Why::Forbidden, "This key must name the channels that it reaches, all of them its own"));
    };
    match named.iter().find(|channel| !scope.covers(channel)) {
        None => Ok(()),
        Some(channel) => Err(Fail::new(Why::Forbidden, format!("The key does not cover channel `{channel}`"))),
    }
}
