//! Writes: all that waits in one transaction of SQLite's, so that many share one wait for the disk.

use super::integer;
use super::open::Claim;
use crate::model::Millis;
use crate::store::queue::Apply;
use crate::store::write::{Parcel, StoreError, Timer, Write};
use rusqlite::{Connection, ErrorCode, Params, TransactionBehavior, params};

/// Parcels that were given up and are kept for an operator to look at; the oldest go first.
const DEAD_MAX: i64 = 1_000;
/// Rows of a table that one piece of a sweep takes at most: commits that come meanwhile wait for no more.
const SWEEP_MAX: i64 = 1_000;

/// Lives on the writer's thread.
pub(super) struct Apart {
    pub connection: Connection,
    /// Let go after the connection is closed.
    pub _claim: Claim,
}

impl Apply for Apart {
    fn commit(&mut self, group: &[Vec<Write>]) -> Vec<Result<(), StoreError>> {
        match self.together(group) {
            Ok(answers) => answers,
            // Where the disk is full or fails, SQLite gives up all of it, also what would have fitted.
            Err(StoreError::Broken(_) | StoreError::Unavailable(_)) if group.len() > 1 => {
                group.iter().map(|alone| self.alone(std::slice::from_ref(alone))).collect()
            }
            Err(why) => vec![Err(why); group.len()],
        }
    }

    fn sweep(&mut self, now: Millis) -> Result<usize, StoreError> {
        const VALUES: &str =
            "DELETE FROM value WHERE rowid IN (SELECT rowid FROM value WHERE expires_at <= ?1 LIMIT ?2)";
        const ENTITIES: &str = "DELETE FROM entity WHERE rowid IN (SELECT e.rowid FROM entity e WHERE forget_at <= ?1 \
            AND NOT EXISTS (SELECT 1 FROM timer t WHERE t.app = e.app AND t.entity = e.entity) LIMIT ?2)";
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut forgotten = 0;
        for sql in [VALUES, ENTITIES] {
            forgotten += transaction.prepare_cached(sql)?.execute((integer(now), SWEEP_MAX))?;
        }
        transaction.commit()?;
        Ok(forgotten)
    }
}

impl Apart {
    fn alone(&mut self, one: &[Vec<Write>]) -> Result<(), StoreError> {
        self.together(one)?.pop().unwrap_or(Ok(()))
    }

    /// An error: not one of them is kept. Else the answers, and those that say so are on the disk.
    fn together(&mut self, group: &[Vec<Write>]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        if !self.connection.is_autocommit() {
            // What failed before could not even be taken back.
            self.connection.execute_batch("ROLLBACK")?;
        }
        // Dropped without `commit`, it is rolled back.
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut answers = Vec::with_capacity(group.len());
        for writes in group {
            run(&transaction, "SAVEPOINT one", [])?;
            let answer = writes.iter().try_for_each(|write| carry_out(&transaction, write));
            if let Err(why) = &answer {
                // A full or a failing disk may have rolled back everything already.
                if transaction.is_autocommit() {
                    return Err(why.clone());
                }
                run(&transaction, "ROLLBACK TO one", [])?;
            }
            run(&transaction, "RELEASE one", [])?;
            answers.push(answer);
        }
        transaction.commit()?;
        Ok(answers)
    }
}

fn run(connection: &Connection, sql: &str, values: impl Params) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(values)
}

fn carry_out(c: &Connection, write: &Write) -> Result<(), StoreError> {
    match write {
        Write::Set { app, key, value, expires_at } => run(
            c,
            "INSERT INTO value (app, key, value, expires_at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
            params![app, key, value, expires_at.map(integer)],
        ),
        Write::Delete { app, key } => run(c, "DELETE FROM value WHERE app = ?1 AND key = ?2", params![app, key]),
        Write::Entity { app, entity, state, forget_at } => run(
            c,
            "INSERT INTO entity (app, entity, state, forget_at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET state = excluded.state, forget_at = excluded.forget_at",
            params![app, entity, state, forget_at.map(integer)],
        ),
        Write::ForgetEntity { app, entity } => {
            run(c, "DELETE FROM entity WHERE app = ?1 AND entity = ?2", params![app, entity])
        }
        Write::Timer(timer) => put_timer(c, timer),
        Write::CancelTimer { app, entity, name } => {
            run(c, "DELETE FROM timer WHERE app = ?1 AND entity = ?2 AND name = ?3", params![app, entity, name])
        }
        Write::Parcel(parcel) => return put_parcel(c, parcel),
        Write::ParcelDone { id } => run(c, "DELETE FROM parcel WHERE id = ?1", [id.to_be_bytes()]),
        Write::ParcelRetry { id, attempts, due, why } => run(
            c,
            "UPDATE parcel SET attempts = ?2, due = ?3, why = ?4 WHERE id = ?1",
            params![id.to_be_bytes(), attempts, integer(*due), why],
        ),
        Write::ParcelDead { id, why } => bury(c, *id, why),
    }?;
    Ok(())
}

fn put_timer(c: &Connection, timer: &Timer) -> rusqlite::Result<usize> {
    let Timer { app, entity, name, handler, due, every, data } = timer;
    run(
        c,
        "INSERT OR REPLACE INTO timer (app, entity, name, handler, due, every_ms, data) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![app, entity, name, handler, integer(*due), every.map(integer), data],
    )
}

fn put_parcel(c: &Connection, parcel: &Parcel) -> Result<(), StoreError> {
    let Parcel { id, app, webhook, body, created_at, attempts, due } = parcel;
    let put = run(
        c,
        "INSERT INTO parcel (id, app, webhook, body, created_at, attempts, due) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![id.to_be_bytes(), app, webhook, body, integer(*created_at), attempts, integer(*due)],
    );
    match put {
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(StoreError::Broken(format!("the parcel {id:032x} is there already")))
        }
        other => Ok(other.map(|_| ())?),
    }
}

fn bury(c: &Connection, id: u128, why: &str) -> rusqlite::Result<usize> {
    let id = id.to_be_bytes();
    run(
        c,
        "INSERT INTO dead_parcel (id, app, webhook, body, created_at, attempts, why) \
         SELECT id, app, webhook, body, created_at, attempts, ?2 FROM parcel WHERE id = ?1",
        params![id, why],
    )?;
    run(c, "DELETE FROM dead_parcel WHERE number <= (SELECT max(number) FROM dead_parcel) - ?1", [DEAD_MAX])?;
    run(c, "DELETE FROM parcel WHERE id = ?1", [id])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::settings::Settings;
    use crate::store::sqlite::open::apart;

    fn set(key: &str, bytes: usize) -> Vec<Write> {
        vec![Write::Set { app: "clinic".into(), key: key.into(), value: "x".repeat(bytes), expires_at: None }]
    }

    #[test]
    fn on_a_full_disk_what_is_told_is_what_is_kept_and_it_goes_on_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut apart = apart(&Settings::default(), &folder.path().join("weir.db")).unwrap();
        let pages: i64 = apart.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        // For SQLite, no more pages are a full disk.
        let limit = |apart: &mut Apart, pages: i64| {
            apart.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        };
        limit(&mut apart, pages + 8);
        let group = [set("a", 10), set("too large", 1 << 20), set("b", 10)];
        let told = apart.commit(&group);
        let full = Err(StoreError::Unavailable("database or disk is full".into()));
        assert_eq!(told, [Ok(()), full.clone(), Ok(())], "the others fit, and are kept");
        assert_eq!(keys(&apart), ["a", "b"]);
        assert_eq!(apart.commit(&group[1..2]), [full]);
        limit(&mut apart, 1 << 20);
        assert_eq!(apart.commit(&group), [Ok(()), Ok(()), Ok(())]);
        assert_eq!(keys(&apart), ["a", "b", "too large"]);
    }

    fn keys(apart: &Apart) -> Vec<String> {
        let mut statement = apart.connection.prepare("SELECT key FROM value ORDER BY key").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }
}
