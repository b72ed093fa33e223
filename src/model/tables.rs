//! An app's tables, as rules read them.

use serde_json::{Map, Value};
use std::sync::Arc;

/// Named rows by key. `auth` keeps them; whoever looks up never waits.
pub trait Tables {
    /// The row of `table` under `key`, as it stands now; `None`: there is none.
    fn row(&self, table: &str, key: &str) -> Result<Option<Arc<Map<String, Value>>>, RowUnknown>;
}

/// The table's source has not said, or does not answer: neither is there a row nor is there none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowUnknown;

/// No tables at all.
impl Tables for () {
    fn row(&self, _: &str, _: &str) -> Result<Option<Arc<Map<String, Value>>>, RowUnknown> {
        Ok(None)
    }
}
