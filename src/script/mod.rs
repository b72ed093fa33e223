//! The home of Rhai: compiles plugins, runs their handlers on worker threads, keeps entities' state and timers.
//!
//! A handler asks for effects; they are recorded while it runs and handed out together if it returns normally, none if
//! it does not. Leaves to others: carrying effects out (`Carry`), answering what handlers read (`Host`), keeping things
//! over a restart (`store`), sending webhooks (`webhook`), deciding who may (`policy`).
//!
//! In: a plugin's text, its settings, `Call`s. Out: `Finished`, `Effect`s, problems with their place in the text.

mod call;
mod compile;
mod current;
mod definitions;
mod effect;
mod engine;
mod failure;
mod functions;
mod host;
mod meter;
mod plugin;
mod reads;
mod run;
mod settings;
mod subject;
#[cfg(test)]
mod tests;
mod values;
mod wide;
mod workers;

pub use call::{Asker, Call, Connection, Event, Finished, Then, Trigger, Web};
pub use current::Around;
pub use definitions::definitions;
pub use effect::{Effect, Reply};
pub use engine::STACK_BYTES;
pub use failure::{Fault, FaultKind};
pub use functions::{Form, HostFunction, functions_table};
pub use host::{Carry, Host, Outbox};
pub use plugin::{App, Failure, Function, Kept, Plugin, PluginFile, PluginProblem, Ran};
pub use settings::{
    ChannelBinding, ChannelHandlers, EndpointBinding, EndpointHandlers, EntitySettings, Keep, Limits, LimitsOverride,
    Process, TimerSettings,
};
pub use values::State;
pub use workers::{EntityKey, NotTaken, Stats, Workers};
