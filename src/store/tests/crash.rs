//! The process is killed in the middle of its commits, and started again.

use super::*;
use std::env;
use std::io::{BufRead, BufReader, Write as _, stdout};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where this variable names a folder, the test is the process that is killed.
const FOLDER: &str = "WEIR_TEST_STORE_CRASH";
/// Commits that are waited for before the kill.
const ENOUGH: usize = 300;

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Some(folder) = env::var_os(FOLDER) {
        commit_for_ever(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 1..=3 {
        acknowledged.extend(killed_after(folder.path(), ENOUGH));
        assert!(acknowledged.len() >= round * ENOUGH);
        let store = store(Driver::Sqlite, folder.path());
        let (sent, total) = (store.outbox().unwrap(), store.keys("crash", "", usize::MAX, 0).unwrap());
        for n in &acknowledged {
            let kept = store.get("crash", &format!("{n:020}"), 0).unwrap();
            assert_eq!(kept.as_deref(), Some(n.to_string().as_str()), "commit {n} was acknowledged");
        }
        // All or nothing, whether it was acknowledged or not.
        assert_eq!(sent.len(), total.len(), "each commit has one value and one parcel");
    }
}

/// Numbers that the process told before it was killed.
fn killed_after(folder: &Path, count: usize) -> Vec<u64> {
    let this = env::current_exe().unwrap();
    let mut child = Command::new(this)
        .args(["store::tests::crash::what_was_acknowledged_survives_a_kill", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut numbers = Vec::new();
    for number in lines.filter_map(|line| line.strip_prefix("kept ")?.strip_suffix('.')?.parse().ok()) {
        numbers.push(number);
        if numbers.len() == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    numbers
}

/// Commits without an end, a few at once, and tells each one that is acknowledged.
fn commit_for_ever(folder: &Path) -> ! {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let store = store(Driver::Sqlite, folder);
    // Each round goes on where the last one was killed.
    let last = store.keys("crash", "", usize::MAX, 0).unwrap().pop().map_or(0, |key| key.parse().unwrap());
    NEXT.store(last + 1, Ordering::Relaxed);
    let one_after_another = || loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let writes = vec![
            set("crash", &format!("{n:020}"), &n.to_string(), None),
            Write::Parcel(Parcel { body: "x".repeat(2_000), ..parcel(n.into(), n) }),
        ];
        commit(&*store, writes).unwrap();
        writeln!(stdout().lock(), "kept {n}.").unwrap();
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(one_after_another);
        }
        one_after_another()
    })
}
