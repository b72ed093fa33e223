//! What only a file can go through: restarts, other programs, damage.

use super::*;
use crate::model::Problem;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn refused(folder: &Path) -> Problem {
    refused_at(folder, "data/weir.db")
}

fn refused_at(folder: &Path, path: &str) -> Problem {
    let settings = Settings { path: path.into(), ..Settings::default() };
    open(&settings, folder, None).err().expect("a problem")
}

/// The message names the file, and the hint says what to do.
fn told(problem: &Problem, file: &Path, what: &str, hint: &str) {
    assert_eq!(problem.path, "path");
    let file = file.display().to_string();
    assert!(problem.what.contains(&file) && problem.what.contains(what), "{}", problem.what);
    let said = problem.hint.as_deref().unwrap_or_default();
    assert!(said.contains(hint), "{said}");
}

#[test]
fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let kept = vec![
        set("clinic", "a", r#"{"n":1}"#, Some(u64::MAX)),
        set("clinic", "nul\0and ö", "\"\0\"", None),
        entity("queue:c1", r#"{"waiting":3}"#, Some(9_000)),
        Write::Timer(timer("queue:c1", "close", 7_000)),
        Write::Timer(Timer { due: u64::MAX, every: None, ..timer("", "nightly", 0) }),
        Write::Parcel(parcel(u128::MAX - 1, 3_000)),
    ];
    commit(&*store(Driver::Sqlite, folder.path()), kept).unwrap();
    for _ in 0..2 {
        let store = store(Driver::Sqlite, folder.path());
        assert_eq!(store.get("clinic", "a", 1 << 62).unwrap().as_deref(), Some(r#"{"n":1}"#));
        assert_eq!(store.get("clinic", "nul\0and ö", 0).unwrap().as_deref(), Some("\"\0\""));
        assert_eq!(store.entity("clinic", "queue:c1").unwrap().as_deref(), Some(r#"{"waiting":3}"#));
        let nightly = Timer { due: i64::MAX as u64, every: None, ..timer("", "nightly", 0) };
        assert_eq!(store.timers().unwrap(), [timer("queue:c1", "close", 7_000), nightly]);
        assert_eq!(store.outbox().unwrap(), [parcel(u128::MAX - 1, 3_000)]);
    }
}

#[test]
fn what_waits_when_the_store_is_closed_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let open = store(Driver::Sqlite, folder.path());
    let go_on = hold(&*open);
    let answers: Vec<_> = (0..100).map(|n| begin(&*open, vec![set("clinic", &format!("{n:03}"), "1", None)])).collect();
    drop(go_on);
    drop(open);
    assert!(answers.iter().all(|answer| answer.try_recv() == Ok(Ok(()))));
    assert_eq!(store(Driver::Sqlite, folder.path()).keys("clinic", "", 1_000, 0).unwrap().len(), 100);
}

#[test]
fn a_folder_that_is_missing_is_made_and_its_file_is_for_weirs_user_only() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { path: "a/b/weir.db".into(), ..Settings::default() };
    commit(&*open(&settings, folder.path(), None).unwrap(), vec![set("clinic", "a", "1", None)]).unwrap();
    let mode = fs::metadata(folder.path().join("a/b/weir.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn two_processes_do_not_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(Driver::Sqlite, folder.path());
    told(&refused(folder.path()), &folder.path().join("data/weir.db"), "in use by another process", "stop the other");
    assert_eq!(commit(&*first, vec![set("clinic", "a", "1", None)]), Ok(()), "the first one is unharmed");
}

#[test]
fn a_file_of_a_newer_weir_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data/weir.db");
    commit(&*store(Driver::Sqlite, folder.path()), vec![set("clinic", "a", "1", None)]).unwrap();
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&file).unwrap();
    told(&refused(folder.path()), &file, "of a newer Weir: version 99", "run the newer Weir");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn another_programs_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("theirs.db");
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE invoice (n INTEGER)").unwrap();
    let before = fs::read(&file).unwrap();
    told(&refused_at(folder.path(), "theirs.db"), &file, "of another program", "name another file");
    assert_eq!(fs::read(&file).unwrap(), before);
    let text = folder.path().join("notes.txt");
    fs::write(&text, "Remember the milk. ".repeat(100)).unwrap();
    told(&refused_at(folder.path(), "notes.txt"), &text, "not a SQLite database", "name another file");
}

#[test]
fn a_damaged_file_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data/weir.db");
    let many = (0..500).map(|n| set("clinic", &n.to_string(), &"1".repeat(500), None)).collect();
    commit(&*store(Driver::Sqlite, folder.path()), many).unwrap();
    let whole = fs::read(&file).unwrap();
    for (what, bytes) in [
        ("cut off", whole[..whole.len() / 2].to_vec()),
        ("overwritten", [&whole[..8_192], &[0xa5; 65_536], &whole[8_192 + 65_536..]].concat()),
    ] {
        fs::write(&file, bytes).unwrap();
        println!("{what}");
        told(&refused(folder.path()), &file, "damaged", "bring back a copy");
    }
    fs::write(&file, whole).unwrap();
    assert_eq!(store(Driver::Sqlite, folder.path()).keys("clinic", "", 1_000, 0).unwrap().len(), 500);
}

#[test]
fn a_place_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    told(&refused_at(folder.path(), "file/weir.db"), &folder.path().join("file"), "could not be made", "make it");
    fs::create_dir(folder.path().join("weir.db")).unwrap();
    told(&refused_at(folder.path(), "weir.db"), &folder.path().join("weir.db"), "for writing", "must be writable");
}

/// The permissions of a folder do not hold back root, who runs the tests of many: `/proc` holds back everybody.
#[cfg(target_os = "linux")]
#[test]
fn a_read_only_folder_is_told() {
    let folder = Path::new("/proc/self");
    told(&refused_at(folder, "weir.db"), &folder.join("weir.db"), "for writing", "must be writable");
}

#[test]
fn another_program_may_read_and_write_for_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(Driver::Sqlite, folder.path());
    commit(&*store, vec![set("clinic", "a", "1", None)]).unwrap();
    let backup = Connection::open(folder.path().join("data/weir.db")).unwrap();
    let count = || backup.query_row("SELECT count(*) FROM value", [], |row| row.get::<_, i64>(0)).unwrap();
    backup.execute_batch("BEGIN").unwrap();
    assert_eq!(count(), 1);
    assert_eq!(commit(&*store, vec![set("clinic", "b", "1", None)]), Ok(()), "a reader holds nobody up");
    assert_eq!(count(), 1, "and sees one moment");
    backup.execute_batch("COMMIT; BEGIN IMMEDIATE").unwrap();
    let waits = begin(&*store, vec![set("clinic", "c", "1", None)]);
    assert_eq!(store.keys("clinic", "", 9, 0).unwrap(), ["a", "b"], "a writer holds no reader up");
    backup.execute_batch("COMMIT").unwrap();
    assert_eq!(waits.recv().unwrap(), Ok(()));
    assert_eq!(count(), 3);
}

#[test]
fn parcels_that_were_given_up_can_be_looked_at_and_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(Driver::Sqlite, folder.path());
    let many = 0..1_005_u128;
    commit(&*store, many.clone().map(|id| Write::Parcel(parcel(id, 1))).collect()).unwrap();
    commit(&*store, many.map(|id| Write::ParcelDead { id, why: "status 410".into() }).collect()).unwrap();
    let look = Connection::open(folder.path().join("data/weir.db")).unwrap();
    let (count, first, why): (i64, [u8; 16], String) = look
        .query_row("SELECT count(*), min(id), max(why) FROM dead_parcel", [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .unwrap();
    assert_eq!((count, u128::from_be_bytes(first), why.as_str()), (1_000, 5, "status 410"));
}

#[test]
fn a_large_sweep_goes_in_pieces_and_forgets_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(Driver::Sqlite, folder.path());
    commit(&*store, (0..2_500).map(|n| set("clinic", &n.to_string(), "1", Some(1_000))).collect()).unwrap();
    assert_eq!(store.sweep(999).unwrap(), 0);
    assert_eq!(store.sweep(1_000).unwrap(), 2_500);
    assert!(store.keys("clinic", "", 9, 0).unwrap().is_empty());
}
