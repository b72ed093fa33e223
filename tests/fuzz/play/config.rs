//! Three texts as a configuration: everything ready to use, or faults that say where they stand.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use weir::auth::Fetcher;
use weir::config::{self, Compiled, Environment, Means};
use weir::model::Fault;

/// Stands between `gateway.toml`, the app's file and the environment's `NAME=value` lines.
const BETWEEN: &str = "\n=====\n";

static IDLE: LazyLock<(Runtime, Fetcher)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().build().unwrap();
    let fetcher = Fetcher::new(runtime.handle().clone());
    (runtime, fetcher)
});

struct Folder {
    gateway: PathBuf,
    app: PathBuf,
    _kept: TempDir,
}

thread_local! {
    static FOLDER: Folder = Folder::new();
}

impl Folder {
    /// In memory where there is such a place: it is written a thousand times a second.
    fn new() -> Folder {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        std::fs::create_dir(folder.path().join("channels")).unwrap();
        let (gateway, app) = (folder.path().join("gateway.toml"), folder.path().join("channels/app.toml"));
        Folder { gateway, app, _kept: folder }
    }
}

pub fn play(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut parts = text.splitn(3, BETWEEN);
    let [gateway, app, env] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let env: Environment =
        env.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    FOLDER.with(|folder| {
        std::fs::write(&folder.gateway, gateway).unwrap();
        std::fs::write(&folder.app, app).unwrap();
        let first = read(&folder.gateway, &env, None);
        let again = read(&folder.gateway, &env, first.as_ref().ok());
        match (first, again) {
            (Ok(first), Ok(again)) => {
                assert_eq!(first.digest, again.digest);
                assert_eq!(first.ids, again.ids, "a reload keeps numbers");
                right(&first.warnings, folder, gateway, app);
            }
            (Err(faults), Err(again)) => {
                assert!(!faults.is_empty(), "refused without a word");
                assert_eq!(faults, again, "what is wrong is wrong the same way twice");
                right(&faults, folder, gateway, app);
            }
            (first, again) => panic!("first {:?}, then {:?}", first.err(), again.err()),
        }
    });
}

fn read(gateway: &Path, env: &Environment, previous: Option<&Compiled>) -> Result<Compiled, Vec<Fault>> {
    config::read(gateway, &Means { env, fetcher: &IDLE.1, previous })
}

/// Each fault says something, and stands in one of the files.
fn right(faults: &[Fault], folder: &Folder, gateway: &str, app: &str) {
    for fault in faults {
        assert!(!fault.what.is_empty());
        let text = match &*fault.file {
            Fault::ENVIRONMENT => continue,
            file if Path::new(file) == folder.gateway => gateway,
            file if Path::new(file) == folder.app => app,
            _ if fault.line == 0 => continue,
            file => panic!("in no file of ours: {file}"),
        };
        assert_eq!(fault.line == 0, fault.column == 0, "{fault}");
        let lines = text.split('\n').count();
        assert!(fault.line as usize <= lines, "there are {lines} lines: {fault}");
        if let Some(line) = fault.line.checked_sub(1).and_then(|line| text.split('\n').nth(line as usize)) {
            // One behind the last character: the line's end.
            assert!(fault.column as usize <= line.chars().count() + 1, "`{line}` is not as long: {fault}");
        }
    }
}
