//! Files that the process writes to, looked at before it starts: whether they are files, and whether they could be made.
//! Nothing is made, and nothing is waited for.

use super::file::GatewayFile;
use super::files::why;
use crate::model::Problem;
use crate::store::{self, Driver};
use std::fs::{self, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// What keeps the process from writing what gateway.toml names; paths are those of gateway.toml. `stores`: an app has a
/// plugin, so the store is opened at the start. `base`: the folder of gateway.toml.
pub fn problems(file: &GatewayFile, stores: bool, base: &Path) -> Vec<Problem> {
    let audit = match file.audit.target.as_str() {
        "off" | "log" => None,
        target => audit(target, base),
    };
    let store = store(&file.store, base).filter(|_| stores);
    let store = store.map(|p| Problem { path: format!("store.{}", p.path), ..p });
    audit.into_iter().chain(store).collect()
}

fn audit(target: &str, base: &Path) -> Option<Problem> {
    let path = base.join(target);
    let (what, hint) = match fs::metadata(&path) {
        Ok(found) if found.is_dir() => {
            ("is a folder, not a file".to_owned(), Some(format!("name a file in it, such as `{target}/audit.jsonl`")))
        }
        // Opened as the process will open it, and at once or not at all.
        Ok(found) if is_written(&found, &path) => {
            let opened = OpenOptions::new().append(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&path);
            (why(&path, &opened.err()?), None)
        }
        Ok(_) => ("is not a regular file".into(), Some("a pipe without a reader would never take a record".into())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())?;
            let folder = folder.display();
            (format!("lies in {folder}, which does not exist"), Some(format!("make the folder: `mkdir -p {folder}`")))
        }
        Err(error) => (why(&path, &error), None),
    };
    let problem = Problem::new("audit.target", format!("the audit file {} {what}", path.display()));
    Some(problem.expected("`off`, `log`, or the path of a file in a folder that exists").hint(hint))
}

/// A regular file, a device such as `/dev/null`, or a pipe that the process was started with, as `/dev/stdout` may be: it
/// has no name in a folder, and its reader was there first.
fn is_written(found: &Metadata, path: &Path) -> bool {
    let kind = found.file_type();
    kind.is_file() || kind.is_char_device() || kind.is_fifo() && fs::canonicalize(path).is_err()
}

/// What stands in the place of the store's file or of its folder. The path is relative to `[store]`.
///
/// Not for a store that this process has open: closing another handle of its file would end SQLite's locks.
pub fn store(settings: &store::Settings, base: &Path) -> Option<Problem> {
    if settings.driver != Driver::Sqlite || settings.path.trim().is_empty() {
        return None;
    }
    let path = base.join(&settings.path);
    let main = path.as_path();
    let beside = ["", ".lock", "-wal", "-shm"].map(|end| {
        let mut name = path.clone().into_os_string();
        name.push(end);
        name
    });
    let (path, what) = beside.iter().map(Path::new).find_map(|path| {
        let what = match fs::metadata(path) {
            Ok(found) if found.is_dir() => "is a folder, not a file".to_owned(),
            Ok(found) if !found.is_file() => "is not a regular file".into(),
            Ok(_) if path == main && is_foreign(path) => "is not a SQLite database".into(),
            Ok(_) => return None,
            // It is made, and its folder too.
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => why(path, &error),
        };
        Some((path, what))
    })?;
    let problem = Problem::new("path", format!("the store's file {} {what}", path.display()));
    let hint = "move it away, or name another file in `[store] path`".to_owned();
    Some(problem.expected("a SQLite file of Weir, or none: a missing one is made, with its folder").hint(Some(hint)))
}

/// Whether a file begins otherwise than SQLite's do (https://sqlite.org/fileformat.html, 1.3). An empty one is filled.
fn is_foreign(path: &Path) -> bool {
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let mut begin = Vec::new();
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let read = opened.and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut begin));
    read.is_ok() && !begin.is_empty() && begin != MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn fifo(path: &Path) {
        let name = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the name is a C string that lives until the call is over.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    }

    #[test]
    fn an_audit_file_is_one_or_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        fs::create_dir(base.join("folder")).unwrap();
        fs::write(base.join("file"), "").unwrap();
        fifo(&base.join("pipe"));
        for good in ["file", "new", "folder/new", "/dev/null"] {
            assert_eq!(audit(good, base), None, "{good}");
        }
        assert!(!base.join("new").exists());
        for (target, told) in [
            ("folder", "folder is a folder, not a file"),
            ("pipe", "pipe is not a regular file"),
            ("file/x", "file/x lies below a file, not below a folder"),
            ("none/x", "none, which does not exist"),
        ] {
            let problem = audit(target, base).unwrap();
            assert!(problem.what.ends_with(told) && problem.path == "audit.target", "{}", problem.what);
        }
    }

    #[test]
    fn a_store_is_a_file_or_nothing_yet() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        let told = |path: &str| store(&store::Settings { path: path.into(), ..Default::default() }, base);
        assert_eq!(told("data/weir.db"), None);
        fs::create_dir_all(base.join("data/folder.db")).unwrap();
        fifo(&base.join("data/pipe.db"));
        fifo(&base.join("data/weir.db-wal"));
        fs::write(base.join("file"), "").unwrap();
        fs::write(base.join("notes.txt"), "milk, bread, and so on").unwrap();
        fs::write(base.join("kept.db"), "SQLite format 3\0and so on").unwrap();
        assert_eq!((told("file"), told("kept.db")), (None, None));
        for (path, what) in [
            ("notes.txt", "notes.txt is not a SQLite database"),
            ("data/folder.db", "data/folder.db is a folder, not a file"),
            ("data/pipe.db", "data/pipe.db is not a regular file"),
            ("data/weir.db", "data/weir.db-wal is not a regular file"),
            ("file/weir.db", "file/weir.db lies below a file, not below a folder"),
        ] {
            let problem = told(path).unwrap();
            assert!(problem.what.ends_with(what), "{}", problem.what);
        }
    }
}
