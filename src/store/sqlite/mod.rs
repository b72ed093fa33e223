//! SQLite: one writer that commits what waits together, and readers beside it (write-ahead log).

mod open;
mod read;
mod schema;
mod write;

pub(super) use open::open;

use super::queue::Writer;
use super::write::{Done, Parcel, StoreError, Timer, Write};
use super::{Millis, Store};
use read::Readers;
use rusqlite::ErrorCode;

/// At the end readers go first: SQLite tidies its log when the last connection goes, and that one must be able to write.
pub(super) struct Sqlite {
    readers: Readers,
    writer: Writer,
}

impl Store for Sqlite {
    fn get(&self, app: &str, key: &str, now: Millis) -> Result<Option<String>, StoreError> {
        self.readers.get(app, key, now)
    }

    fn keys(&self, app: &str, prefix: &str, limit: usize, now: Millis) -> Result<Vec<String>, StoreError> {
        self.readers.keys(app, prefix, limit, now)
    }

    fn entity(&self, app: &str, entity: &str) -> Result<Option<String>, StoreError> {
        self.readers.entity(app, entity)
    }

    fn commit(&self, writes: Vec<Write>, done: Done) {
        self.writer.commit(writes, done);
    }

    fn timers(&self) -> Result<Vec<Timer>, StoreError> {
        self.readers.timers()
    }

    fn outbox(&self) -> Result<Vec<Parcel>, StoreError> {
        self.readers.outbox()
    }

    fn sweep(&self, now: Millis) -> Result<usize, StoreError> {
        self.writer.sweep(now)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            // Another program, such as one that makes a backup, held the file for longer than we wait.
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
            // Of the disk, not of what is asked for: it may work again in a moment.
            Some(
                ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied,
            ) => StoreError::Unavailable(error.to_string()),
            _ => StoreError::Broken(error.to_string()),
        }
    }
}

/// SQLite's integers are signed: what is further away than they reach is as far as they reach.
fn integer(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

fn millis(integer: i64) -> u64 {
    u64::try_from(integer).unwrap_or(0)
}
