//! The home of Rhai: compiles plugins, runs their handlers on worker threads, keeps entities' state and timers.
//!
//! A handler asks for effects; they are recorded while it runs and handed out together if it returns normally, none if
//! it does not. Leaves to others: carrying effects out (`Carry`), answering what handlers read (`Host`), keeping things
//! over a restart (`store`), sending webhooks (`webhook`), deciding who may (`policy`).
//!
//! In: a plugin's text, its settings, `Call`s. Out: `Finished`, `Effect`s, problems with their place in the text.

mod call;
mod effect;
mod host;
mod plugin;
mod settings;
mod workers;

pub use call::{Asker, Call, Connection, Event, Finished, Then, Trigger, Web};
pub use effect::{Effect, Message, Reply};
pub use host::{Carry, Host, Outbox};
pub use plugin::{App, Around, Failure, Fault, FaultKind, Kept, Plugin, Ran, State};
pub use settings::{
    ChannelBinding, ChannelHandlers, EndpointBinding, EndpointHandlers, EntitySettings, Keep, Limits, LimitsOverride, Process, TimerSettings,
};
pub use workers::{EntityKey, NotTaken, Stats, Workers};
