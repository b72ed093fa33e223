//! Reads: a few connections that cannot write, each for one caller at a time. They never wait for the writer.

use super::{integer, millis};
use crate::model::Millis;
use crate::store::write::{Parcel, StoreError, Timer};
use rusqlite::{Connection, OptionalExtension, Row};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

pub(super) struct Readers {
    connections: Vec<Mutex<Connection>>,
    next: AtomicUsize,
}

impl Readers {
    /// `connections`: one at least.
    pub fn new(connections: Vec<Connection>) -> Readers {
        Readers { connections: connections.into_iter().map(Mutex::new).collect(), next: AtomicUsize::new(0) }
    }

    pub fn get(&self, app: &str, key: &str, now: Millis) -> Result<Option<String>, StoreError> {
        const SQL: &str = "SELECT value FROM value WHERE app = ?1 AND key = ?2 AND coalesce(expires_at > ?3, TRUE)";
        self.read(|c| c.prepare_cached(SQL)?.query_row((app, key, integer(now)), |row| row.get(0)).optional())
    }

    pub fn keys(&self, app: &str, prefix: &str, limit: usize, now: Millis) -> Result<Vec<String>, StoreError> {
        // No upper end: the last prefix has none in UTF-8. The first key that does not begin with it ends the reading.
        const SQL: &str = "SELECT key, coalesce(expires_at > ?3, TRUE) FROM value \
                           WHERE app = ?1 AND key >= ?2 ORDER BY key";
        self.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            let mut rows = statement.query((app, prefix, integer(now)))?;
            let mut keys = Vec::new();
            while keys.len() < limit
                && let Some(row) = rows.next()?
            {
                let key: String = row.get(0)?;
                if !key.starts_with(prefix) {
                    break;
                }
                if row.get(1)? {
                    keys.push(key);
                }
            }
            Ok(keys)
        })
    }

    pub fn entity(&self, app: &str, entity: &str) -> Result<Option<String>, StoreError> {
        const SQL: &str = "SELECT state FROM entity WHERE app = ?1 AND entity = ?2";
        self.read(|c| c.prepare_cached(SQL)?.query_row((app, entity), |row| row.get(0)).optional())
    }

    pub fn timers(&self) -> Result<Vec<Timer>, StoreError> {
        const SQL: &str = "SELECT app, entity, name, handler, due, every_ms, data FROM timer ORDER BY due";
        self.read(|c| c.prepare(SQL)?.query_map([], timer)?.collect())
    }

    pub fn outbox(&self) -> Result<Vec<Parcel>, StoreError> {
        const SQL: &str =
            "SELECT id, app, webhook, body, created_at, attempts, due FROM parcel ORDER BY due, created_at";
        self.read(|c| c.prepare(SQL)?.query_map([], parcel)?.collect())
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let (before, from) = self.connections.split_at(first);
        for connection in from.iter().chain(before) {
            match connection.try_lock() {
                Ok(free) => return Ok(work(&free)?),
                Err(TryLockError::Poisoned(free)) => return Ok(work(&free.into_inner())?),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let waited_for = self.connections[first].lock().unwrap_or_else(PoisonError::into_inner);
        Ok(work(&waited_for)?)
    }
}

fn timer(row: &Row) -> rusqlite::Result<Timer> {
    let text = |at| row.get::<_, Arc<str>>(at);
    Ok(Timer {
        app: text(0)?,
        entity: text(1)?,
        name: text(2)?,
        handler: text(3)?,
        due: millis(row.get(4)?),
        every: row.get::<_, Option<i64>>(5)?.map(millis),
        data: row.get(6)?,
    })
}

fn parcel(row: &Row) -> rusqlite::Result<Parcel> {
    Ok(Parcel {
        id: u128::from_be_bytes(row.get(0)?),
        app: row.get(1)?,
        webhook: row.get(2)?,
        body: row.get(3)?,
        created_at: millis(row.get(4)?),
        attempts: row.get(5)?,
        due: millis(row.get(6)?),
    })
}
