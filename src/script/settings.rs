//! What people write about handlers: `[script]`, `[entity.NAME]`, `[[timer]]`, and `handler = { … }` of classes and
//! endpoints.

use crate::model::{Ms, MsOrOff, Size, overridable};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[script]` of `gateway.toml`: the workers of the whole process.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Threads that run handlers: 0 is twice the cores, four at least. Takes a restart to change.
    #[schemars(range(max = 256))]
    pub workers: u16,
    /// Calls that wait, of all apps. Beyond: refused, `overloaded`.
    #[schemars(range(min = 1))]
    pub queue: u32,
    /// Bytes of the messages that wait. Beyond: refused, `overloaded`.
    pub queue_bytes: Size,
}

impl Default for Process {
    fn default() -> Process {
        Process { workers: 0, queue: 100_000, queue_bytes: Size(256 << 20) }
    }
}

overridable! {
    /// Bounds of one app's handlers, in force.
    Limits,
    /// `[script]` of an app's file: what is not set here is as in `gateway.toml`.
    LimitsOverride,
    /// Time that one call may take, waiting for reads included. Beyond: it fails, nothing of it is carried out.
    deadline: Ms = Ms(100),
    /// Operations of one call. Beyond: it fails.
    #[schemars(range(min = 1))]
    operations: u64 = 1_000_000,
    /// Functions that call functions. Deeper: it fails.
    #[schemars(range(min = 1, max = 128))]
    call_depth: u32 = 32,
    /// Nesting of expressions in the plugin's text. Deeper: a fault at load.
    #[schemars(range(min = 8, max = 1024))]
    expression_depth: u32 = 128,
    /// One text.
    string_bytes: Size = Size(256 << 10),
    /// Elements of arrays, those inside them included.
    #[schemars(range(min = 1))]
    array_items: u32 = 10_000,
    /// Entries of maps, those inside them included.
    #[schemars(range(min = 1))]
    map_items: u32 = 10_000,
    /// Memory that one call holds, copies and what its closures make included. Beyond: it fails.
    call_bytes: Size = Size(16 << 20),
    /// Variables of one call.
    #[schemars(range(min = 1))]
    variables: u32 = 500,
    /// Modules that a plugin imports, those that they import included. Beyond: a fault at load.
    modules: u32 = 32,
    /// Effects that one call asks for. Beyond: it fails.
    #[schemars(range(min = 1))]
    effects: u32 = 1_000,
    /// Bytes of their messages together. Beyond: it fails.
    effect_bytes: Size = Size(4 << 20),
    /// How long one read (`history`, `presence`, `connections` …) may wait. Beyond: the read fails, and the call with it.
    read_wait: Ms = Ms(50),
    /// Calls waiting for one entity. Beyond: refused, `overloaded`.
    #[schemars(range(min = 1))]
    entity_queue: u32 = 1_000,
    /// Timers of one entity. Beyond: the call fails.
    timers: u32 = 100,
    /// Faults of a handler in a row, of calls that no client caused (timers), that switch it off; 0: never, not by clients
    /// either.
    breaker_faults: u32 = 10,
    /// Clients (users, else addresses; of IPv6 the /64) whose calls fail within `breaker_for`, none going well between them,
    /// that switch it off; 0: clients never do. One client's bad input must not take a handler from all others.
    #[schemars(range(max = 100))]
    breaker_clients: u32 = 5,
    /// How long it stays off; then one call tries.
    breaker_for: Ms = Ms::secs(10),
}

/// `[entity.NAME]`: what a kind of entity keeps. Its keys begin with the name: `queue:{clinicId}` is of `[entity.queue]`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EntitySettings {
    /// Where its state and timers are kept.
    pub state: Keep,
    /// Entities of the kind in memory. Beyond: those quiet longest make room where they may, else refused, `limit`.
    #[schemars(range(min = 1))]
    pub max: u32,
    /// State of one entity. Beyond: the call fails.
    pub bytes: Size,
    /// Time without a call after which an entity without timers is forgotten. `"off"`: never.
    pub forget_after: MsOrOff,
}

impl Default for EntitySettings {
    fn default() -> EntitySettings {
        EntitySettings {
            state: Keep::Memory,
            max: 100_000,
            bytes: Size(64 << 10),
            forget_after: MsOrOff(Some(86_400_000)),
        }
    }
}

/// Where an entity's state and timers are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Gone with the process.
    #[default]
    Memory,
    /// In the store: there after a restart. Replies wait for the commit.
    Store,
}

/// The part of a `[[channel]]` that is about handlers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelBinding {
    /// Functions of the app's plugin that are called about its channels.
    pub handler: ChannelHandlers,
}

/// The part of an `[[endpoint]]` that is about handlers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointBinding {
    /// Functions of the app's plugin that are called about its connections.
    pub handler: EndpointHandlers,
}

/// `handler = { … }` of a `[[channel]]`: functions of the app's plugin, by name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelHandlers {
    /// Before something is published, by whomever: may refuse it, and what it returns is published instead.
    pub publish: Option<String>,
    /// After something was published.
    pub published: Option<String>,
    /// Before somebody is subscribed: may refuse.
    pub subscribe: Option<String>,
    /// After somebody was subscribed and told so.
    pub subscribed: Option<String>,
    /// After somebody left, or was lost.
    pub unsubscribed: Option<String>,
    /// Whose state they share: `queue:{clinicId}`, with the pattern's variables, `{channel}`, `{user.id}`, `{user.CLAIM}`,
    /// `{data.PATH}`. Without it: the channel's own.
    pub entity: Option<String>,
    /// What a client reads where one of them fails, `subscribed` too, rather than the dialect's text for `internal` or `overloaded`.
    pub failed: Option<String>,
}

/// `handler = { … }` of an `[[endpoint]]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointHandlers {
    /// After somebody connected, was authenticated and greeted.
    pub connect: Option<String>,
    /// After a connection ended.
    pub disconnect: Option<String>,
    /// Whose state they share: `report:{reportId}`, with the path's variables, `{connection.id}`, `{user.id}`. Without it:
    /// the connection's own, which ends with it.
    pub entity: Option<String>,
    /// What the client reads where `connect` fails, rather than the dialect's text for `internal` or `overloaded`.
    pub failed: Option<String>,
}

/// `[[timer]]`: a handler that is called again and again.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimerSettings {
    /// How often, by the monotonic clock: a wall clock that is set changes nothing; the first time one interval after the
    /// start.
    pub every: Ms,
    /// A function of the app's plugin.
    pub handler: String,
    /// Whose state it is called with; a fixed name such as `queue:all`. Without it: none.
    #[serde(default)]
    pub entity: Option<String>,
}
