//! What the process writes to: `weir check` tells what cannot be written, `weir run` ends with the same fault and 78, and
//! verbs end quietly where nobody reads what they print.

use super::support::gateway::PATIENCE;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Exit code and standard error. A process that does not end is killed, and has no code.
fn ends(folder: &Path, verb: &str) -> (Option<i32>, String) {
    let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
    weir.arg(verb).current_dir(folder).env_clear().stdout(Stdio::null()).stderr(Stdio::piped());
    let (mut weir, begun) = (weir.spawn().unwrap(), Instant::now());
    while weir.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let _ = weir.kill();
    let mut told = String::new();
    weir.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    (weir.wait().unwrap().code(), told)
}

#[test]
fn what_cannot_be_written_is_told_by_check_and_ends_run() {
    type Put = fn(&Path);
    let cases: [(&str, Put, &str); 7] = [
        (
            "audit.log",
            |f| mkfifo(&f.join("audit.log")),
            "gateway.toml:4:10: the audit file audit.log is not a regular file",
        ),
        ("audit", |f| fs::create_dir(f.join("audit")).unwrap(), "gateway.toml:4:10: the audit file audit is a folder"),
        ("none/audit", |_| {}, "gateway.toml:4:10: the audit file none/audit lies in none, which does not exist"),
        (
            "off",
            |f| fs::create_dir_all(f.join("data/weir.db")).unwrap(),
            "gateway.toml:6:8: the store's file data/weir.db is a folder",
        ),
        (
            "off",
            |f| fs::write(f.join("data"), "").unwrap(),
            "gateway.toml:6:8: the store's file data/weir.db lies below a file",
        ),
        (
            "off",
            |f| {
                fs::create_dir(f.join("data")).unwrap();
                mkfifo(&f.join("data/weir.db"));
            },
            "gateway.toml:6:8: the store's file data/weir.db is not a regular file",
        ),
        (
            "audit",
            |f| {
                fs::create_dir(f.join("audit")).unwrap();
                fs::write(f.join("data"), "").unwrap();
                fs::write(f.join("channels/bad.toml"), "plugni = \"app\"\n").unwrap();
            },
            "channels/bad.toml:1:1: unknown key `plugni`",
        ),
    ];
    for (target, put, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let gateway = format!(
            "[listener.main]\naddress = \"127.0.0.1:0\"\n[audit]\ntarget = \"{target}\"\n[store]\npath = \"data/weir.db\"\n"
        );
        fs::write(folder.join("gateway.toml"), gateway).unwrap();
        fs::create_dir(folder.join("channels")).unwrap();
        fs::create_dir(folder.join("plugins")).unwrap();
        fs::write(folder.join("channels/app.toml"), "listener = \"main\"\nplugin = \"app\"\n").unwrap();
        fs::write(folder.join("plugins/app.rhai"), "fn nothing(event) {}\n").unwrap();
        put(folder);
        let checked = ends(folder, "check");
        assert!(checked.0 == Some(78) && checked.1.starts_with(expected), "{expected}\n{checked:?}");
        assert_eq!(ends(folder, "run"), checked, "{expected}");
        if expected.contains("plugni") {
            assert!(checked.1.ends_with("3 faults in 2 files\n"), "{}", checked.1);
        }
    }
}

#[test]
fn a_verb_whose_reader_is_gone_ends_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let definitions = folder.path().to_str().unwrap();
    let new = format!("-c {definitions}/gateway.toml new app chat");
    let verbs = [
        "completions bash",
        "completions zsh",
        "completions fish",
        "schema gateway",
        "schema channels",
        &format!("schema rhai {definitions}"),
        "defaults",
        "check",
        "check --json",
        "test",
        "explain --app clinic --user u1 --on clinic:c2:queue",
        "token issue --app clinic --user u1",
        "--help",
        "--version",
        "check --help",
        &new,
    ];
    fs::write(folder.path().join("gateway.toml"), "[listener.main]\naddress = \"127.0.0.1:0\"\n").unwrap();
    fs::create_dir(folder.path().join("channels")).unwrap();
    for verb in verbs {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
        weir.args(verb.split(' ')).env_clear().stdout(writer);
        let ended = weir.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.code().is_some_and(|code| code != 101) && !told.contains("panicked"), "{verb}: {told}");
        assert!(!told.contains("standard output"), "{verb}: {told}");
    }
}
