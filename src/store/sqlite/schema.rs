//! The tables, and how an older file becomes one of today.

use rusqlite::{Connection, Result, TransactionBehavior};

/// `PRAGMA application_id`: "Weir" in ASCII. Tells our files from other programs'.
pub const APPLICATION_ID: i32 = 0x5765_6972;

/// One step for each version of `PRAGMA user_version`; a released step is never changed, the next one is added.
/// Times are milliseconds since 1970. Ids are 16 bytes, big-endian.
const STEPS: &[&str] = &["
    CREATE TABLE value (
        app TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, expires_at INTEGER,
        PRIMARY KEY (app, key)
    ) STRICT;
    CREATE INDEX value_expiry ON value (expires_at) WHERE expires_at IS NOT NULL;

    CREATE TABLE entity (
        app TEXT NOT NULL, entity TEXT NOT NULL, state TEXT NOT NULL, forget_at INTEGER,
        PRIMARY KEY (app, entity)
    ) STRICT;
    CREATE INDEX entity_idle ON entity (forget_at) WHERE forget_at IS NOT NULL;

    CREATE TABLE timer (
        app TEXT NOT NULL, entity TEXT NOT NULL, name TEXT NOT NULL, handler TEXT NOT NULL,
        due INTEGER NOT NULL, every_ms INTEGER, data TEXT NOT NULL,
        PRIMARY KEY (app, entity, name)
    ) STRICT;

    CREATE TABLE parcel (
        id BLOB NOT NULL PRIMARY KEY, app TEXT NOT NULL, webhook TEXT NOT NULL, body TEXT NOT NULL,
        created_at INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL, why TEXT
    ) STRICT;

    -- Webhook calls that were given up, the newest of them, for an operator to look at.
    CREATE TABLE dead_parcel (
        number INTEGER PRIMARY KEY, id BLOB NOT NULL, app TEXT NOT NULL, webhook TEXT NOT NULL, body TEXT NOT NULL,
        created_at INTEGER NOT NULL, attempts INTEGER NOT NULL, why TEXT NOT NULL
    ) STRICT;
"];

/// Whose file it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing in it yet.
    Empty,
    /// Ours, of this version or an older one.
    Known,
    /// Ours, of a version that is yet to come.
    Newer(usize),
    Foreign,
}

/// The version that this program writes.
pub const VERSION: usize = STEPS.len();

/// Reads only.
pub fn look(connection: &Connection) -> Result<Found> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    Ok(match (application, usize::try_from(version)) {
        (0, Ok(0)) if tables == 0 => Found::Empty,
        (id, Ok(version)) if id == i64::from(APPLICATION_ID) && version > VERSION => Found::Newer(version),
        (id, Ok(_)) if id == i64::from(APPLICATION_ID) => Found::Known,
        _ => Found::Foreign,
    })
}

/// Brings it to `VERSION`, all steps or none.
pub fn migrate(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or(0);
    for step in STEPS.get(version..).unwrap_or_default() {
        transaction.execute_batch(step)?;
    }
    if version < VERSION {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION as i64)?;
    }
    transaction.commit()
}
