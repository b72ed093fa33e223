//! `weir test` and `weir new`, as processes; tests that decide what is put in force.
//!
//! The ward's conversations are played on the wire by `transcripts`, and here without sockets: both must go the same way.
//! `tests/config/ward/failing.test` holds a conversation for each way in which a test can fail, `failing.txt` what is said.

use super::support::client::Client;
use super::support::live::{Live, hear, say};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Exit code, standard output, standard error.
pub fn weir(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
    let output = weir.args(arguments).current_dir(folder).env_clear().output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn ward() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/ward")
}

/// A gateway without apps.
fn empty(reload: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let gateway = format!(
        "[listener.front]\naddress = \"127.0.0.1:3999\"\n[listener.admin]\naddress = \"127.0.0.1:0\"\nadmin = true\n{reload}"
    );
    fs::write(folder.path().join("gateway.toml"), gateway).unwrap();
    folder
}

#[test]
fn conversations_go_without_sockets_as_they_do_on_the_wire() {
    let (code, out, err) = weir(&ward(), &["test"]);
    assert_eq!((code, out.as_str()), (0, "9 tests: 9 passed, 0 failed\n"), "{err}");
}

#[test]
fn a_test_that_does_not_go_as_written_says_where_and_why() {
    let (code, out, err) = weir(&ward(), &["test", "failing.test"]);
    let expected = fs::read_to_string(ward().join("failing.txt")).unwrap();
    assert!(expected.ends_with("29 tests: 0 passed, 29 failed\n"));
    assert_eq!((code, out.as_str()), (1, expected.as_str()), "{err}");
}

#[test]
fn bounds_hold_in_a_test_as_they_do_on_a_gateway() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/bounds");
    let (code, out, err) = weir(&folder, &["test"]);
    assert_eq!((code, out.as_str()), (0, "10 tests: 10 passed, 0 failed\n"), "{err}");
}

#[test]
fn some_tests_can_be_chosen() {
    let tests = |arguments: &[&str]| weir(&ward(), arguments);
    let (code, out, _) = tests(&["test", "plugins/ward.test", "--filter", "routes"]);
    assert_eq!((code, out.as_str()), (0, "1 test: 1 passed, 0 failed\n"));
    let (code, _, err) = tests(&["test", "--filter", "nobody wrote this"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "weir: no test whose title holds `nobody wrote this` in plugins: they are called NAME.test\n")
    );
    let (code, _, err) = tests(&["test", "wart"]);
    assert_eq!((code, err.as_str()), (1, "weir: there is no plugins/wart.test; did you mean `ward`?\n"));
    let (code, _, err) = tests(&["test", "plugins/none.test"]);
    assert_eq!((code, err.as_str()), (1, "weir: plugins/none.test: there is no such file\n"));
    let nothing = empty("");
    fs::create_dir(nothing.path().join("channels")).unwrap();
    let (code, _, err) = weir(nothing.path(), &["test"]);
    assert_eq!((code, err.as_str()), (1, "weir: no test in plugins: they are called NAME.test\n"));
}

#[test]
fn a_new_app_passes_its_checks_and_tests_at_once() {
    let folder = empty("");
    let (code, out, err) = weir(folder.path(), &["new", "app", "chat-2"]);
    assert_eq!(code, 0, "{out}{err}");
    for told in
        ["wrote channels/chat-2.toml\n", "5 tests: 5 passed, 0 failed\n", "wscat -c ws://127.0.0.1:3999/chat-2\n"]
    {
        assert!(out.contains(told), "{told} is not in {out}");
    }
    let (code, out, err) = weir(folder.path(), &["check", "--strict"]);
    assert!(code == 0 && out.starts_with("ok: 1 app, 2 listeners, 1 channel class, 1 route;"), "{out}{err}");
    let junit = folder.path().join("junit.xml");
    let (code, out, err) = weir(folder.path(), &["test", "--junit", "junit.xml"]);
    assert_eq!((code, out.as_str()), (0, "5 tests: 5 passed, 0 failed; 1 check held\n"), "{err}");
    let xml = fs::read_to_string(junit).unwrap();
    assert!(xml.contains("<testsuites name=\"weir test\" tests=\"5\" failures=\"0\" errors=\"0\""), "{xml}");
    assert_eq!(xml.matches("<testcase ").count(), 5, "{xml}");

    fs::remove_file(folder.path().join("plugins/chat-2.test")).unwrap();
    let (code, _, err) = weir(folder.path(), &["check", "--strict"]);
    assert!(code == 78 && err.contains("nothing tests the plugin `chat-2`"), "{err}");
}

#[test]
fn a_new_app_takes_nobodys_place() {
    let folder = empty("");
    let fails = |arguments: &[&str], told: &str| {
        let (code, out, err) = weir(folder.path(), arguments);
        assert!(code == 1 && out.is_empty() && err.contains(told), "{arguments:?}: {out}{err}");
    };
    fails(&["new", "app", "Chat"], "`Chat` is no name for an app");
    fails(&["new", "app", "../chat"], "`../chat` is no name for an app");
    fails(&["new", "app", "chat", "--listener", "back"], "there is no listener `back`: `admin` or `front`");
    fs::create_dir(folder.path().join("plugins")).unwrap();
    fs::write(folder.path().join("plugins/chat.rhai"), "fn mine(event) {}\n").unwrap();
    fails(&["new", "app", "chat"], "plugins/chat.rhai is there already; nothing was written");
    assert_eq!(fs::read_to_string(folder.path().join("plugins/chat.rhai")).unwrap(), "fn mine(event) {}\n");
    assert!(!folder.path().join("channels").exists());

    // An endpoint that another app has: what was written is taken back.
    assert_eq!(weir(folder.path(), &["new", "app", "talk"]).0, 0);
    let taken = folder.path().join("channels/talk.toml");
    let text = fs::read_to_string(&taken).unwrap();
    fs::write(&taken, text.replace("path    = \"/talk\"", "path    = \"/room\"")).unwrap();
    let (code, _, err) = weir(folder.path(), &["new", "app", "room"]);
    assert!(
        code == 78 && err.contains("nothing tells them apart") && err.ends_with("weir: nothing was written\n"),
        "{err}"
    );
    assert!(!folder.path().join("plugins/room.rhai").exists() && !folder.path().join("channels/room.toml").exists());
}

#[test]
fn a_file_that_is_no_test_is_told_with_its_line() {
    let folder = empty("[reload]\nrequire_tests = true\n");
    assert_eq!(weir(folder.path(), &["new", "app", "chat"]).0, 0);
    let more = folder.path().join("plugins/chat.more.test");
    fs::write(&more, "# one\nann connects /chat\nann dances\n").unwrap();
    let told = "plugins/chat.more.test:3:1: this is no step: ann dances\n";
    let (code, _, err) = weir(folder.path(), &["check"]);
    assert!(code == 78 && err.starts_with(told), "{err}");
    fs::rename(&more, folder.path().join("plugins/chatter.test")).unwrap();
    fs::write(folder.path().join("plugins/chatter.test"), "# one\nann connects /chat\n").unwrap();
    let (code, _, err) = weir(folder.path(), &["check"]);
    assert!(code == 78 && err.contains("no app has the plugin `chatter`: a first line `app NAME` says whose"), "{err}");
}

#[test]
fn all_mistakes_of_a_test_file_are_told_by_check_too() {
    let folder = empty("");
    assert_eq!(weir(folder.path(), &["new", "app", "chat"]).0, 0);
    let more = folder.path().join("plugins/chat.more.test");
    fs::write(&more, "# one\nann dances\n\n# two\nann connects /chat\nafter lunch\n").unwrap();
    let told = "plugins/chat.more.test:2:1: this is no step: ann dances\n\n\
        plugins/chat.more.test:6:1: expected a duration such as `30s`: after lunch\n\n";
    let (code, _, err) = weir(folder.path(), &["check"]);
    assert_eq!((code, err), (78, format!("{told}2 faults in 1 file\n")));
    let (code, out, _) = weir(folder.path(), &["test"]);
    assert_eq!(
        (code, out),
        (1, format!("{told}1 file could not be read\n5 tests: 5 passed, 0 failed; 1 check held\n"))
    );
    // Among the faults of other files too.
    fs::write(folder.path().join("channels/chat.toml"), "plugni = \"chat\"\n").unwrap();
    let (code, _, err) = weir(folder.path(), &["check"]);
    assert!(
        code == 78 && err.contains("unknown key `plugni`") && err.ends_with(&format!("{told}3 faults in 2 files\n")),
        "{err}"
    );
}

#[test]
fn a_new_app_is_live_at_once_and_its_tests_decide_about_changes() {
    let live = Live::start(&[("WEIR_RELOAD__REQUIRE_TESTS", "true")]);
    let config = live.path("gateway.toml");
    let (code, out, err) =
        weir(Path::new("/"), &["-c", config.to_str().unwrap(), "new", "app", "chat", "--listener", "main"]);
    assert_eq!(code, 0, "{out}{err}");
    let chats = |status: &Value| status["files"].to_string().contains("channels/chat.toml");
    let generation = live.wait(chats)["generation"].as_u64().unwrap();

    let connect = || {
        let mut client = Client::connect(live.gateway.address("main").unwrap(), "/chat", &[]).unwrap();
        assert_eq!(hear(&mut client)["type"], "hello");
        say(&mut client, json!({ "type": "join", "room": "chat:lobby" }));
        assert_eq!(hear(&mut client), json!({ "type": "joined", "room": "chat:lobby" }));
        client
    };
    let mut ann = connect();
    let mut said = |text: &str| {
        say(&mut ann, json!({ "type": "say", "room": "chat:lobby", "data": { "text": text } }));
        hear(&mut ann)
    };
    assert_eq!(said("hello"), json!({ "type": "said", "text": "hello", "number": 1 }));

    // A change that breaks a test is not put in force.
    live.edit("plugins/chat.rhai", "type: \"said\"", "type: \"heard\"");
    let failed = |status: &Value| status["last_reload"]["faults"].to_string().contains("plugins/chat.test");
    let status = live.wait(failed);
    let fault = &status["last_reload"]["faults"][0];
    assert_eq!((status["generation"].as_u64(), &fault["line"]), (Some(generation), &json!(11)), "{status:#}");
    assert!(fault["what"].to_string().contains("what is said in a room reaches everybody there"), "{fault}");
    assert_eq!(said("again"), json!({ "type": "said", "text": "again", "number": 2 }));

    // With its test it is.
    live.edit("plugins/chat.test", "\"type\":\"said\"", "\"type\":\"heard\"");
    live.wait_for_generation(generation + 1);
    assert_eq!(said("now"), json!({ "type": "heard", "text": "now", "number": 3 }));
    live.end();
}
