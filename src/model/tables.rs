//! An app's tables, as rules read them.

use serde_json::{Map, Value};
use std::sync::Arc;

/// Named rows by key. `auth` keeps them; whoever looks up never waits.
pub trait Tables {
    /// The row of `table` under `key`, as it stands now.
    fn row(&self, table: &str, key: &str) -> Option<Arc<Map<String, Value>>>;
}

/// No tables at all.
impl Tables for () {
    fn row(&self, _: &str, _: &str) -> Option<Arc<Map<String, Value>>> {
        None
    }
}
