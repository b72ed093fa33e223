//! `[store]` of gateway.toml.

use crate::model::{Problem, Size};
use schemars::JsonSchema;
use serde::Deserialize;

/// Where handlers' values, states, timers and webhook calls are kept. All of it takes a restart to change.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `sqlite`: a file that outlives the process. `memory`: gone with it.
    pub driver: Driver,
    /// The database's file, relative to gateway.toml. A missing folder is made; the file is of one process at a time.
    pub path: String,
    /// Transactions that wait to be written at most; beyond, handlers are refused with `overloaded`.
    pub queue: u32,
    /// Bytes that wait to be written at most; beyond, the same.
    pub queue_bytes: Size,
    /// When a transaction counts as kept. `full`: it outlives a loss of power. `normal`: only the end of the process.
    pub synchronous: Synchronous,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    #[default]
    Sqlite,
    Memory,
}

/// SQLite's `PRAGMA synchronous`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    #[default]
    Full,
    Normal,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            driver: Driver::Sqlite,
            path: "data/weir.db".into(),
            queue: 10_000,
            queue_bytes: Size(64 << 20),
            synchronous: Synchronous::Full,
        }
    }
}

impl Settings {
    /// What is wrong with the values themselves; without a look at the disk.
    pub fn check(&self) -> Result<(), Problem> {
        match self {
            s if s.queue == 0 => Err(Problem::new("queue", "a queue without room").expected("1 or more")),
            s if s.queue_bytes.0 == 0 => Err(Problem::new("queue_bytes", "a queue without room").expected("1 or more")),
            s if s.path.trim().is_empty() => {
                Err(Problem::new("path", "no file named").expected("such as `data/weir.db`"))
            }
            _ => Ok(()),
        }
    }
}
