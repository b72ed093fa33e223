//! Opens the file, or says what is in the way of it and what to do.

use super::read::Readers;
use super::schema::{self, Found, VERSION};
use super::write::Apart;
use super::{Sqlite, Writer};
use crate::model::Problem;
use crate::store::settings::{Settings, Synchronous};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Connections for reading: as many reads as run at once.
const READERS: usize = 4;
/// How long another program, such as one that makes a backup, may hold the file before a commit fails with `Busy`.
const BUSY: Duration = Duration::from_secs(5);
/// Statements that a connection keeps ready; more than there are in this room.
const STATEMENTS: usize = 32;
/// The log is cut back to this size when it starts anew, in bytes.
const LOG_BYTES: i64 = 64 << 20;
/// Files up to this size are read through for damage at the start, in bytes; a second or so.
const CHECK_BYTES_MAX: u64 = 512 << 20;
/// The data of an app's users are in it: for the process's own user, unless somebody widens it.
const MODE: u32 = 0o600;

/// The file is this process's alone, as long as this lives; at the latest until the process ends, however it does.
pub(super) struct Claim(File);

impl Drop for Claim {
    fn drop(&mut self) {
        // By name: a process that was just begun may hold a copy of the handle for a moment.
        if let Err(why) = self.0.unlock() {
            tracing::warn!(%why, "the store's file could not be unlocked");
        }
    }
}

/// A relative path starts at `base`.
pub fn open(settings: &Settings, base: &Path) -> Result<Sqlite, Problem> {
    let path = base.join(&settings.path);
    let apart = apart(settings, &path)?;
    let readers: Result<Vec<_>, _> = (0..READERS).map(|_| connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)).collect();
    let readers = Readers::new(readers.map_err(|e| broken(&path, &e))?);
    let writer = Writer::start(settings, apart);
    let writer = writer.map_err(|e| problem(format!("the writer's thread did not start: {e}"), "see `ulimit -u`"))?;
    Ok(Sqlite { readers, writer })
}

/// The writer's side, on a file that is ours, whole, and of today.
pub(super) fn apart(settings: &Settings, path: &Path) -> Result<Apart, Problem> {
    let claim = claim(path)?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|e| broken(path, &e))?;
    match schema::look(&connection).map_err(|e| broken(path, &e))? {
        Found::Empty | Found::Known => {}
        Found::Newer(version) => {
            let what =
                format!("{} is of a newer Weir: version {version}, and this one knows {VERSION}", path.display());
            return Err(problem(what, "run the newer Weir, or bring back the copy from before the upgrade"));
        }
        Found::Foreign => {
            let what = format!("{} is a database of another program", path.display());
            return Err(problem(what, "name another file; a missing one is made"));
        }
    }
    prepare(&mut connection, settings).map_err(|e| broken(path, &e))?;
    check(&connection, path)?;
    Ok(Apart { connection, _claim: claim })
}

/// Makes the folder and the file, and takes the file for this process alone.
fn claim(path: &Path) -> Result<Claim, Problem> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(folder).map_err(|e| {
        problem(format!("the folder {} could not be made: {e}", folder.display()), "make it, writable for Weir's user")
    })?;
    let file =
        |path: &Path| OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path);
    let unwritable = |path: &Path, e: io::Error| {
        let hint = "the file and its folder must be writable for Weir's user";
        problem(format!("{} could not be opened for writing: {e}", path.display()), hint)
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let lock = file(&beside).map_err(|e| unwritable(&beside, e))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let hint = "stop the other one, or give this one a `path` of its own: two would send each webhook twice";
            return Err(problem(format!("{} is in use by another process", path.display()), hint));
        }
        // Some network file systems have no locks.
        Err(TryLockError::Error(why)) => {
            tracing::warn!(path = %path.display(), %why, "the store's file cannot be locked; see that no other process uses it");
        }
    }
    file(path).map_err(|e| unwritable(path, e))?;
    // Its name is in the folder before anything in it is promised.
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| unwritable(folder, e))?;
    Ok(Claim(lock))
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    match folder.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn connect(path: &Path, how: OpenFlags) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time: SQLite's own locks are not needed.
    let connection = Connection::open_with_flags(path, how | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn prepare(connection: &mut Connection, settings: &Settings) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    let synchronous = match settings.synchronous {
        Synchronous::Full => "full",
        Synchronous::Normal => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // On macOS a plain fsync leaves the drive's own cache where it is.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))?;
    schema::migrate(connection)
}

fn check(connection: &Connection, path: &Path) -> Result<(), Problem> {
    let size = fs::metadata(path).map_or(0, |m| m.len());
    if size > CHECK_BYTES_MAX {
        tracing::info!(path = %path.display(), size, "the store's file is too large to be read through at the start");
        return Ok(());
    }
    let found: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|e| broken(path, &e))?;
    match found.as_str() {
        "ok" => Ok(()),
        what => Err(damaged(path, what)),
    }
}

fn broken(path: &Path, error: &rusqlite::Error) -> Problem {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            problem(format!("{} is not a SQLite database", path.display()), "name another file; a missing one is made")
        }
        Some(ErrorCode::DatabaseCorrupt) => damaged(path, &error.to_string()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            problem(format!("{} is held by another program", path.display()), "see `fuser` for which, and start again")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => problem(
            format!("{} could not be opened for writing: {error}", path.display()),
            "the file and its folder must be writable for Weir's user",
        ),
        _ => problem(format!("{} could not be opened: {error}", path.display()), "see what the disk says"),
    }
}

fn damaged(path: &Path, what: &str) -> Problem {
    let hint = "bring back a copy; or move the file away, and a new one is made: what was kept in it is then lost";
    problem(format!("{} is damaged: {what}", path.display()), hint)
}

fn problem(what: impl Into<String>, hint: &str) -> Problem {
    Problem::new("path", what).hint(Some(hint.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kill does not tell a commit that waited for the disk from one that did not; a loss of power does.
    #[test]
    fn a_commit_waits_for_the_disk_unless_the_settings_say_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.db");
        claim(&path).unwrap();
        for (synchronous, number) in [(Synchronous::Full, 2), (Synchronous::Normal, 1)] {
            let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
            prepare(&mut connection, &Settings { synchronous, ..Settings::default() }).unwrap();
            let ask = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(ask("synchronous"), number);
            assert_eq!(ask("fullfsync"), 1);
            let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
            assert_eq!(mode, "wal");
        }
    }
}
