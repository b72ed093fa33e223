//! Carries a call out: scope and class first, then the gateway.

use super::call::{Call, no_connection};
use super::done::Done;
use super::fail::Fail;
use super::gateway::Gateway;
use super::noted::Noted;
use crate::kernel::{Caller, Receipt};
use crate::model::{ChannelName, Command, Refusal, Target};
use crate::policy::Right;

/// Carries a call out, and writes down who did what where that is wanted.
pub(super) async fn run<G: Gateway>(gateway: &G, caller: &Caller, call: Call) -> Result<Done, Fail> {
    let noted = Noted::of(&call);
    let done = carry_out(gateway, caller, call).await;
    if let Some(noted) = noted {
        noted.write(caller, &done);
    }
    done
}

/// Whether the channel exists and the scope covers it, for a right that the gateway itself makes no permit for.
fn covers<R: Right>(caller: &Caller, channel: &ChannelName) -> Result<(), Refusal> {
    caller.app.policy.allow_api::<R>(&caller.scope, channel, caller.generation.number).map(drop)
}

async fn carry_out<G: Gateway>(gateway: &G, caller: &Caller, call: Call) -> Result<Done, Fail> {
    use crate::policy::{History, Presence};
    let app = &caller.app;
    Ok(match call {
        Call::Do(command) => {
            let Receipt { recipients, position } = gateway.execute(caller, &command).await?;
            let log = |channel| app.log.broadcast(&app.name, channel, recipients, &caller.name);
            match &command {
                Command::Publish { channels, .. } => {
                    log(Some(&*channels.iter().map(ChannelName::as_str).collect::<Vec<_>>().join(" ")));
                    // Each channel has a position of its own: told where there is one channel.
                    Done::Published { recipients, position: position.filter(|_| channels.len() == 1) }
                }
                Command::Send { target, .. } => {
                    if let Target::Filter(_) = target {
                        log(None);
                    }
                    Done::Sent(recipients)
                }
                Command::Subscribe { .. }
                | Command::Unsubscribe { .. }
                | Command::Close { .. }
                | Command::Cleanup { .. } => Done::Changed(recipients),
            }
        }
        Call::Presence { channel } => {
            covers::<Presence>(caller, &channel)?;
            let members = gateway.presence(app, &channel).await?;
            Done::Presence(channel, members)
        }
        Call::History { channel, since, limit } => {
            covers::<History>(caller, &channel)?;
            let page = gateway.history(app, &channel, since, limit).await?;
            Done::History(channel, page)
        }
        Call::Channels { pattern, limit } => {
            let scope = caller.scope.clone();
            let pass = move |name: &ChannelName| pattern.covers(name) && scope.covers(name);
            Done::Channels(gateway.channels(app.id, limit, pass).await?)
        }
        Call::Connections { target, limit } => {
            caller.reaches(&target)?;
            let (mut list, total) = gateway.connections(app.id, target, limit).await?;
            list.iter_mut().for_each(|info| info.channels.retain(|channel| caller.scope.covers(channel)));
            Done::Connections(list, total)
        }
        Call::Connection { id } => {
            let (list, _) = gateway.connections(app.id, Target::Connection(id), 1).await?;
            let shown = list.into_iter().next().and_then(|mut info| {
                info.channels.retain(|channel| caller.scope.covers(channel));
                (caller.is_everywhere() || !info.channels.is_empty()).then_some(info)
            });
            Done::Connection(Box::new(shown.ok_or_else(|| no_connection(&id.to_string()))?))
        }
    })
}
