//! Logs: one line an event on stderr, as text or as JSON, with the fields that log readers look for.

use super::log_writer::{LineWriter, LogQueue};
use super::one_line::OneLine;
use crate::model::{Ms, Rate, Size};
use schemars::JsonSchema;
use serde::Deserialize;
use std::io::IsTerminal;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// `[log]` of gateway.toml.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `text` for people, `json` for machines: one object a line. Takes a restart to change.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: Level,
    /// Lines that wait for the reader of stderr, in bytes; what finds no room is dropped and counted, so that a reader
    /// that hangs stops nobody. Takes a restart to change. Default `"4MiB"`.
    pub queue_bytes: Size,
    /// Lines and audit records about upgrades that were refused; further ones are counted in
    /// `weir_refusals_unlogged_total`. Default `{ burst = 100, per = "10s" }`.
    pub refusals: Rate,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        let refusals = Rate { burst: 100, per: Ms::secs(10) };
        LogSettings { format: LogFormat::default(), level: Level::default(), queue_bytes: Size(4 << 20), refusals }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Weir itself cannot do what it should.
    Error,
    /// Somebody was refused, or something will go wrong.
    Warn,
    /// Connections and subscriptions come and go, files are put in force.
    #[default]
    Info,
    /// Every message.
    Debug,
    /// Every frame.
    Trace,
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }
}

/// The process's log; a reload may change its level.
pub struct Logs {
    level: reload::Handle<LevelFilter, Registry>,
}

impl Logs {
    /// Starts logging to stderr, panics too. Once a process: a later call changes nothing and its handle has no effect.
    /// Err: there is no thread to write.
    pub fn start(settings: &LogSettings) -> std::io::Result<Logs> {
        let (filter, level) = reload::Layer::new(settings.level.filter());
        let queue = LogQueue::new(usize::try_from(settings.queue_bytes.0).unwrap_or(usize::MAX), settings.format);
        queue.start()?;
        let colours = settings.format == LogFormat::Text && std::io::stderr().is_terminal();
        let to = move || LineWriter(queue.clone());
        let lines = tracing_subscriber::fmt::layer().with_writer(OneLine { to, colours });
        let lines = match settings.format {
            // A log file has no use for colours.
            LogFormat::Text => lines.with_target(false).with_ansi(colours).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        };
        // Fails where a test or an embedding program logs already: then that one's settings hold.
        let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
        // The standard library's own message would wait for the reader of stderr.
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let message = panic.payload_as_str().unwrap_or("no message");
            let place = panic.location().map(ToString::to_string);
            tracing::error!(thread = thread.name(), place, "panic: {message}");
        }));
        Ok(Logs { level })
    }

    pub fn set_level(&self, level: Level) {
        let _ = self.level.modify(|filter| *filter = level.filter());
    }
}
