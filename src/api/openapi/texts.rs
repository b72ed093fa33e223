//! What no table says: what operations are for.

use crate::api::operation::Operation;
use crate::api::verb::Verb;

pub const INFO: &str = "\
Back ends publish events, look at channels and connections, and operators look after the gateway.\n\n\
All answers are JSON, but `/metrics`. Errors are problem details (RFC 9457); programs go by their `code`. A body has 1 MiB at \
most (`http.body_bytes`) and comes within 10 s (`http.body_timeout`), headers have 16 KiB (`http.header_bytes`): beyond, HTTP \
itself answers 408, 413 or 431. A name that comes twice, or that is not known, is refused. Other methods at a path are answered \
405 with `Allow`. GET is answered for HEAD too.";

pub const API_KEY: &str = "\
`Authorization: Bearer KEY` of an `[api_key.NAME]`, which may be narrowed to apps, verbs and channels. `/admin/…` takes a key \
of all apps and channels whose verbs have `admin` or `*`; in development mode it needs none.";

pub const TAGS: [(&str, &str); 4] = [
    ("messages", "To channels, and to connections past all channels"),
    ("connections", "Who is connected, and where to"),
    ("files", "What is in force, and what other files would change"),
    ("health", "For load balancers and Prometheus"),
];

/// Tag, summary, description.
pub fn of(operation: Operation) -> (&'static str, &'static str, &'static str) {
    match operation {
        Operation::Verb(verb) => of_verb(verb),
        Operation::Connection => {
            ("connections", "One connection", "A key of some channels sees only connections on them.")
        }
        Operation::Batch => (
            "messages",
            "Several commands in one request",
            "They are carried out one after another, and each is answered for itself: what is wrong with one does not keep \
             others back. The answers have 8 MiB together.",
        ),
        Operation::Config => ("files", "Which files are in force", "And what the last reload came to."),
        Operation::Reload => (
            "files",
            "Reads the files now, and waits",
            "All faults are told at once; with one anywhere, what was in force still is.",
        ),
        Operation::Plan => (
            "files",
            "What other files would change",
            "Whom they would disconnect or unsubscribe, too. Nothing is put in force, bound or fetched. Two at once.",
        ),
        Operation::Explain => {
            ("files", "Why a live connection may or may not", "By the files, rows and request that it has.")
        }
        Operation::Alive => ("health", "Whether the process answers", ""),
        Operation::Ready => ("health", "Whether it takes newcomers", "And every task that it needs runs."),
        Operation::Metrics => ("health", "Figures for Prometheus", ""),
    }
}

fn of_verb(verb: Verb) -> (&'static str, &'static str, &'static str) {
    match verb {
        Verb::Publish => ("messages", "Publishes an event to a channel, or to several", "Several: to all or to none."),
        Verb::Broadcast => ("messages", "Sends a message to many connections, past all channels", ""),
        Verb::Send => ("messages", "Sends a message to a user's connections, or to one", ""),
        Verb::Subscribe => ("connections", "Subscribes connections to a channel", ""),
        Verb::Unsubscribe => ("connections", "Takes connections off a channel", ""),
        Verb::Disconnect => ("connections", "Closes connections", ""),
        Verb::Cleanup => {
            ("connections", "Closes connections that have been silent for long", "For keys of all channels.")
        }
        Verb::Presence => ("connections", "Who is on a channel", ""),
        Verb::History => ("messages", "What was published on a channel", "The oldest first, in pages."),
        Verb::Channels => ("connections", "Channels that are in use", "By name."),
        Verb::Connections => ("connections", "Connections", "A key of some channels names those that it asks about."),
    }
}
