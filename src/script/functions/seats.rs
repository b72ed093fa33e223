//! Connections and their channels: `join`, `leave`, `close`.

use super::super::Effect;
use super::super::current::{Current, Raised, raise, with};
use super::{Shelf, arguments as arg};
use crate::model::{Close, Command, ConnectionId, Target};
use crate::policy::Subscribe;
use rhai::Dynamic;

pub(super) fn add(shelf: &mut Shelf) {
    shelf.group("Connections");
    shelf.function(
        "join",
        "Subscribes a connection to a channel, past the class's rule: the one that the call is about, or another.",
        r#"join("lobby");
join(event.connection, "ward:3");"#,
    );
    shelf.form(&["channel: string"], "()", |channel: &str| with(|c| seat(c, own(c)?, channel, true)));
    shelf.form(&["connection: ?", "channel: string"], "()", |connection: Dynamic, channel: &str| {
        with(|c| seat(c, arg::connection(&connection)?, channel, true))
    });
    shelf.function("leave", "Takes a connection off a channel.", r#"leave("lobby");"#);
    shelf.form(&["channel: string"], "()", |channel: &str| with(|c| seat(c, own(c)?, channel, false)));
    shelf.form(&["connection: ?", "channel: string"], "()", |connection: Dynamic, channel: &str| {
        with(|c| seat(c, arg::connection(&connection)?, channel, false))
    });
    shelf.function(
        "close",
        "Closes the connection that the call is about, or those of a target. `code`: 1000, 1001, 1003, 1007 to 1014, or \
         3000 to 4999; clients reconnect on any code but 1000. `reason`: 123 bytes at most.",
        r#"close(4001, "signed in elsewhere");
close(user("u1"), 4001, "signed in elsewhere");"#,
    );
    shelf.form(&["code: int", "reason: string"], "()", |code: i64, reason: &str| {
        with(|c| shut(c, Target::Connection(own(c)?), code, reason))
    });
    shelf.form(&["target: ?", "code: int", "reason: string"], "()", |target: Dynamic, code: i64, reason: &str| {
        with(|c| shut(c, arg::target(&target)?, code, reason))
    });
}

fn own(call: &Current) -> Result<ConnectionId, Raised> {
    let kind = call.event.trigger.as_str();
    call.event
        .connection
        .as_ref()
        .map(|c| c.id)
        .ok_or_else(|| raise(format!("this call, about `{kind}`, is of no connection: name one as the first argument")))
}

fn seat(call: &Current, connection: ConnectionId, channel: &str, join: bool) -> Result<(), Raised> {
    let channel = arg::channel(channel)?;
    if join {
        super::effects::known::<Subscribe>(call, &channel)?;
    }
    let bytes = channel.as_str().len();
    let target = Target::Connection(connection);
    let command = match join {
        true => Command::Subscribe { target, channel },
        false => Command::Unsubscribe { target, channel },
    };
    call.effect(Effect::Do(command), bytes)
}

/// RFC 6455 §7.4: codes that an endpoint may send, and §5.5 for the reason's length.
fn shut(call: &Current, target: Target, code: i64, reason: &str) -> Result<(), Raised> {
    const REASON_BYTES_MAX: usize = 123;
    let code = match u16::try_from(code) {
        Ok(code @ (1000 | 1001 | 1003 | 1007..=1014 | 3000..=4999)) => code,
        _ => {
            return Err(raise(format!(
                "{code} is no close code to send: 1000, 1001, 1003, 1007 to 1014, 3000 to 4999"
            )));
        }
    };
    if reason.len() > REASON_BYTES_MAX {
        return Err(raise(format!("a close's reason has {REASON_BYTES_MAX} bytes at most, this has {}", reason.len())));
    }
    let close = Close { code, reason: reason.to_owned().into() };
    call.effect(Effect::Do(Command::Close { target, close }), reason.len())
}
