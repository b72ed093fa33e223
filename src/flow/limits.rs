//! The bounds of `[limits]`: of the process, and of each app.
//!
//! Every bound stands in `gateway.toml` with its default. An app's own `[limits]` may set any of [`AppLimits`] for
//! itself ([`AppLimitsOverride`]); `config` merges the two, so that a room is handed plain numbers.

use crate::model::{Ms, MsOrOff, Rate, Size, SizeOrAuto, SizeOrOff, overridable};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// Bounds of the whole process.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections in the whole process. Beyond: the upgrade is answered 503.
    #[schemars(range(min = 1))]
    pub connections: u32,
    /// Connections from one address (behind trusted proxies the forwarded one). Beyond: 429.
    #[schemars(range(min = 1))]
    pub connections_per_ip: u32,
    /// Connection attempts from one address. Beyond: 429.
    pub attempts_per_ip: Rate,
    /// Whether attempts from loopback addresses count too.
    pub attempts_loopback: bool,
    /// From the TCP accept to the 101, TLS included. Beyond: closed without an answer.
    pub handshake_timeout: Ms,
    /// Bytes that clients make Weir hold: queues, events, channels, connections, unfinished messages and bodies, handlers'
    /// states and calls. A quarter is for HTTP before an app is known, a sixteenth for bodies of known callers. Beyond: the
    /// app's oldest history goes, then its connection that holds most gets 1013; what is new is refused, `overloaded` or 503.
    pub memory: Size,
    /// From SIGTERM to the last close.
    pub drain: Ms,
    /// Connections closed a second while draining.
    #[schemars(range(min = 1))]
    pub drain_pace: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 100_000,
            connections_per_ip: 10_000,
            attempts_per_ip: Rate { burst: 20, per: Ms::secs(60) },
            attempts_loopback: false,
            handshake_timeout: Ms::secs(10),
            memory: Size(1 << 30),
            drain: Ms::secs(20),
            drain_pace: 2_000,
        }
    }
}

/// By claim, or its dotted path.
pub type ClaimBounds = BTreeMap<String, NonZeroU32>;

overridable! {
    /// Bounds of one app, in force.
    AppLimits,
    /// `[limits]` of an app's file: what is not set here is as in `gateway.toml`.
    AppLimitsOverride,
    /// Of `memory`, kept back for each app, whatever others hold; the rest is for whoever needs more. `"auto"`: half of what
    /// is left, divided evenly.
    app_memory: SizeOrAuto = SizeOrAuto(None),
    /// Connections of the app. Beyond: closed with 1013.
    #[schemars(range(min = 1))]
    app_connections: u32 = 100_000,
    /// Connections of one user. Beyond: closed with 1008.
    #[schemars(range(min = 1))]
    connections_per_user: u32 = 100,
    /// Connections whose identity has the same value of a claim: `{ organization_id = 100 }`. Beyond: closed with 1008.
    connections_per_claim: ClaimBounds = ClaimBounds::new(),
    /// Channels that one connection listens to. Beyond: refused, `limit`.
    subscriptions: u32 = 200,
    /// Channels named in one message to subscribe; to unsubscribe, or `subscriptions` of them. Beyond: refused, `limit`.
    #[schemars(range(min = 1))]
    subscribe_batch: u32 = 200,
    /// One message from a client, over all its frames and after inflation. Beyond: closed with 1009.
    message_bytes: Size = Size(1 << 20),
    /// Frames of one message. Beyond: closed with 1009.
    #[schemars(range(min = 1))]
    message_fragments: u32 = 1024,
    /// Messages from one connection. Beyond: refused, `rate_limited`.
    messages: Rate = Rate { burst: 200, per: Ms::secs(1) },
    /// Frames from one connection that are no messages within their rate: pings, pongs, fragments, refused messages.
    /// Beyond: it is read again when the rate allows.
    frames: Rate = Rate { burst: 2_000, per: Ms::secs(1) },
    /// What one connection's messages ask for beyond one thing each: channels to subscribe to and to leave, events of
    /// histories, members of presence, every eighth of those who are told that it has come, what a handler does for it. An
    /// event counts for each 4 KiB. Beyond: it is read again when the rate allows.
    items: Rate = Rate { burst: 2_000, per: Ms::secs(2) },
    /// Messages from all connections of a user. Beyond: refused, `rate_limited`.
    messages_per_user: Rate = Rate { burst: 1_000, per: Ms::secs(1) },
    /// Refused messages in a row. Beyond: closed with 1008.
    #[schemars(range(min = 1))]
    violations: u32 = 1_000,
    /// Bytes waiting for one slow reader. Beyond: the class's overflow.
    queue_bytes: Size = Size(1 << 20),
    /// Time without progress while something waits. Beyond: closed with 1013.
    queue_age: Ms = Ms::secs(30),
    /// The server's ping on a quiet socket; `"off"`: none.
    ping_interval: MsOrOff = MsOrOff(Some(30_000)),
    /// Time without any frame after a ping. Beyond: closed with 1001.
    pong_timeout: Ms = Ms::secs(30),
    /// Time without any frame at all. Beyond: closed with 1001. `"off"`: unbounded.
    idle_timeout: MsOrOff = MsOrOff(Some(300_000)),
    /// Time without a message of the client, pongs not counted. Beyond: closed with 1001. `"off"`: unbounded.
    message_idle_timeout: MsOrOff = MsOrOff(None),
    /// Time to the first message where that one authenticates. Beyond: the authenticator's close.
    auth_timeout: Ms = Ms::secs(10),
    /// Wait for the client's close frame and for the end of its side. Beyond: the socket is dropped.
    close_timeout: Ms = Ms::secs(5),
    /// Bytes that a client may send once its connection closes: they are dropped. Beyond: the socket is.
    close_bytes: Size = Size(16 << 20),
    /// Bytes of channels with history or a last value. Beyond: the channel that was quiet longest loses both.
    history_bytes: Size = Size(64 << 20),
    /// Smaller messages are sent plain; `"off"` turns permessage-deflate off.
    deflate_threshold: SizeOrOff = SizeOrOff(Some(512)),
}
