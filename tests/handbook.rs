//! Holds `plugins/README.md`: each example is taken out of it and run, the reference is compared with the code.
//!
//! A fenced block names the file that it is (`` ```toml channels/hello.toml ``), or is a `console` whose commands are run
//! and whose WebSocket conversation is played. There are no others, so that no example can go unseen. That a test would
//! notice a mistake in an example is shown by making one in each of its functions.

use super::rehearse::weir;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use weir::script::{EntitySettings, HostFunction, Limits, Process, functions_table};

const BEGIN: &str = "<!-- functions: written by `WEIR_WRITE=1 cargo test --test main handbook` from the table that registers them -->\n";
const END: &str = "<!-- /functions -->\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn handbook() -> String {
    fs::read_to_string(root().join("plugins/README.md")).unwrap()
}

/// The page, and between its markers the reference of functions.
fn parts(text: &str) -> (&str, &str, &str) {
    let (before, rest) = text.split_once(BEGIN).expect("the marker at the begin of the functions");
    let (functions, after) = rest.split_once(END).expect("the marker at their end");
    (before, functions, after)
}

// ── examples ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A fenced block.
struct Block {
    line: usize,
    language: String,
    /// Of the file that it is; empty: none.
    file: String,
    text: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let (mut found, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    for (line, text) in (1..).zip(text.lines()) {
        match (text.trim_start().strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                let (language, file) = info.split_once(' ').unwrap_or((info, ""));
                open = Some(Block { line, language: language.into(), file: file.trim().into(), text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => block.text.push_str(&format!("{text}\n")),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block without an end");
    found
}

/// The blocks that are files, written beside the shipped `gateway.toml`; conversations of consoles are tests.
struct Examples {
    folder: tempfile::TempDir,
    blocks: Vec<Block>,
}

impl Examples {
    fn written() -> Examples {
        let text = handbook();
        let (before, _, after) = parts(&text);
        let mut blocks = blocks(before);
        let lines = text.lines().count() - after.lines().count();
        blocks.extend(self::blocks(after).into_iter().map(|b| Block { line: b.line + lines, ..b }));
        let folder = tempfile::tempdir().unwrap();
        for name in ["channels", "plugins/lib"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        // The shipped file, for other apps than the shipped ones.
        let gateway = fs::read_to_string(root().join("gateway.toml")).unwrap();
        let gateway: String =
            gateway.lines().filter(|line| !line.starts_with("app ")).map(|line| format!("{line}\n")).collect();
        fs::write(folder.path().join("gateway.toml"), gateway).unwrap();
        let mut written = BTreeSet::new();
        for block in &blocks {
            let at = format!("plugins/README.md:{}", block.line);
            let expected = match block.language.as_str() {
                "toml" => "channels/NAME.toml",
                "rhai" => "plugins/NAME.rhai",
                "test" => "plugins/NAME.test",
                "console" => continue,
                other => panic!("{at}: nothing runs a block of `{other}`"),
            };
            let (begin, end) = expected.split_once("NAME").unwrap();
            let named = block.file.starts_with(begin) && block.file.ends_with(end);
            assert!(named, "{at}: this example names no file, such as {expected}: nothing would run it");
            assert!(written.insert(&block.file), "{at}: {} a second time", block.file);
            assert!(!root().join(&block.file).exists(), "{at}: {} is a shipped file", block.file);
            fs::write(folder.path().join(&block.file), &block.text).unwrap();
        }
        Examples { folder, blocks }
    }

    fn of(&self, language: &str) -> Vec<&Block> {
        let found: Vec<&Block> = self.blocks.iter().filter(|b| b.language == language).collect();
        assert!(!found.is_empty(), "no block of `{language}`");
        found
    }

    /// `weir` beside these files: exit code, standard output, standard error.
    fn weir(&self, arguments: &[&str]) -> (i32, String, String) {
        weir(self.folder.path(), arguments)
    }
}

#[test]
fn the_examples_have_no_mistakes_and_pass_their_tests() {
    let examples = Examples::written();
    let (code, out, err) = examples.weir(&["check", "--strict"]);
    assert!(code == 0 && out.starts_with("ok: "), "{out}{err}");
    let titles = examples.of("test").iter().map(|b| b.text.matches("\n\n# ").count() + 1).sum::<usize>();
    let (code, out, err) = examples.weir(&["test"]);
    assert_eq!((code, out), (0, format!("{titles} tests: {titles} passed, 0 failed\n")), "{err}");
    for block in examples.of("toml") {
        assert!(block.text.contains("\nplugin "), "plugins/README.md:{}: an app without a plugin", block.line);
    }

    // Copied beside what is shipped, they stand in nobody's way.
    for (from, to) in [("channels", "toml"), ("plugins", "rhai"), ("plugins/lib", "rhai"), ("channels/data", "json")] {
        fs::create_dir_all(examples.folder.path().join(from)).unwrap();
        let shipped = fs::read_dir(root().join(from)).unwrap().map(|e| e.unwrap().path());
        let shipped: Vec<PathBuf> = shipped.filter(|p| p.extension().is_some_and(|e| e == to)).collect();
        assert!(!shipped.is_empty(), "no {to} in {from}");
        for path in shipped {
            fs::copy(&path, examples.folder.path().join(from).join(path.file_name().unwrap())).unwrap();
        }
    }
    let (code, out, err) = examples.weir(&["check"]);
    assert!(code == 0 && out.starts_with("ok: "), "{out}{err}");
}

#[test]
fn the_first_handler_of_the_readme_is_that_of_the_handbook() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let examples = Examples::written();
    let hello: Vec<&Block> =
        examples.blocks.iter().filter(|b| b.file.contains("/hello.") && b.language != "test").collect();
    assert_eq!(hello.len(), 2);
    for Block { language, file, text, .. } in hello {
        let comment = if language == "toml" { "#" } else { "//" };
        let shown = format!("```{language}\n{comment} {file}\n{text}```\n");
        assert!(readme.contains(&shown), "README.md does not show\n{shown}");
    }
}

#[test]
fn a_console_shows_what_happens() {
    let examples = Examples::written();
    for block in examples.of("console") {
        let at = format!("plugins/README.md:{}", block.line);
        let mut lines = block.text.lines().peekable();
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("{at}: `{line}` belongs to no command"));
            let mut shown = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                shown.push(line);
            }
            if let Some(arguments) = command.strip_prefix("weir ") {
                let (_, out, err) = examples.weir(&arguments.split(' ').collect::<Vec<_>>());
                assert_eq!(out.lines().collect::<Vec<_>>(), shown, "{at}: {command}\n{err}");
            } else if let Some(target) = command.strip_prefix("npx wscat -c ws://localhost:3000/") {
                let said =
                    shown.iter().map(|line| format!("ann{}\n", line.replacen("< ", "< raw ", 1))).collect::<String>();
                assert!(shown.iter().any(|line| line.starts_with("< ")), "{at}: nobody hears anything");
                let test = format!("app {target}\n\n# {at}\nann connects /{target}\n{said}");
                let file = examples.folder.path().join("plugins/console.test");
                fs::write(&file, test).unwrap();
                let (code, out, err) = examples.weir(&["test", "plugins/console.test"]);
                assert_eq!(code, 0, "{out}{err}");
                fs::remove_file(file).unwrap();
            } else {
                panic!("{at}: nothing runs `{command}`");
            }
        }
    }
}

#[test]
fn a_mistake_in_any_function_of_an_example_fails_its_tests() {
    let examples = Examples::written();
    let mut mutants: Vec<(&str, usize)> = Vec::new();
    for block in examples.of("rhai") {
        let functions = block.text.match_indices("\nfn ").map(|(at, _)| at + 1);
        let first = block.text.starts_with("fn ").then_some(0);
        mutants.extend(first.into_iter().chain(functions).map(|at| (block.file.as_str(), at)));
    }
    assert!(mutants.len() > 15, "{} functions", mutants.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let copy = Examples::written();
                while let Some((file, at)) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let path = copy.folder.path().join(file);
                    let text = fs::read_to_string(&path).unwrap();
                    let body = at + text[*at..].find('{').unwrap() + 1;
                    fs::write(&path, format!("{} throw \"wrong\"; {}", &text[..body], &text[body..])).unwrap();
                    let (code, out, err) = copy.weir(&["test"]);
                    let name = text[*at..].lines().next().unwrap();
                    assert!(code == 1 && out.contains("wrong"), "{file}: no test runs `{name}`\n{out}{err}");
                    fs::write(&path, text).unwrap();
                }
            });
        }
    });
}

// ── the reference of functions ──────────────────────────────────────────────────────────────────────────────────────

fn rendered(functions: &[HostFunction]) -> String {
    let (mut out, mut group) = (String::new(), "");
    for function in functions {
        if function.group != group {
            group = function.group;
            write!(out, "\n#### {group}\n").unwrap();
        }
        let signatures = function.signatures().map(|s| format!("// {s}\n")).collect::<String>();
        write!(out, "\n**`{}`**: {}\n\n```rhai\n{signatures}{}\n```\n", function.name, function.doc, function.example)
            .unwrap();
    }
    out.push('\n');
    out
}

#[test]
fn the_reference_of_functions_is_the_table_that_registers_them() {
    let text = handbook();
    let (before, functions, after) = parts(&text);
    let table = rendered(functions_table());
    if functions != table && std::env::var_os("WEIR_WRITE").is_some() {
        fs::write(root().join("plugins/README.md"), format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(functions == table, "WEIR_WRITE=1 cargo test --test main handbook brings plugins/README.md up to date");
}

/// What clients hear and webhooks get of a function's example, where it is something.
fn becomes(name: &str) -> &'static str {
    match name {
        "send" => "ann< {\"type\":\"WELCOME\"}\nann< {\"number\":7}\n",
        "user" => "ann< {\"hello\":true}\n",
        "filter" => "ann< {\"alarm\":true}\n",
        "everyone" => "ann< {\"notice\":\"back at 5\"}\n",
        "reply" => "ann< {\"ok\":true}\n",
        "refuse" => "ann< {\"type\":\"error\",\"code\":\"denied\",\"text\":\"Only nurses may call a ticket\"}\n",
        "is_segment" => "ann< {\"type\":\"error\",\"code\":\"invalid_message\",\"text\":\"No such room\"}\n",
        "close" => "ann< closed 4001 \"signed in elsewhere\"\n",
        "history" => "ann< {\"said\":\"one\"}\n",
        "channels" => "ann< {\"members\":1}\n",
        "iso" => "ann< {\"timestamp\":\"2026-01-01T00:00:00.000Z\"}\n",
        "webhook" => "webhook backend {\"cancelled\":7}\n",
        "set" => "store last:u1 {\"seen\":\"<number>\"}\nstore code:u1 4711\n",
        "delete" | "keys" => "store last:u1 none\n",
        "after" => {
            "after 30s\nlog \"ring_timeout\"\nann< {\"timer\":\"ring_timeout\",\"caller\":\"u1\"}\nann< {\"timer\":\"ring:u1\",\"caller\":\"u1\"}\n"
        }
        "every" => "after 5s\nann< {\"timer\":\"send_progress\"}\nafter 5s\nann< {\"timer\":\"send_progress\"}\n",
        "cancel" => "after 1h\nann< nothing\n",
        _ => "",
    }
}

const APP: &str = r#"
listener = "main"
plugin   = "all"
[[endpoint]]
path    = "/all"
dialect = "all"
[dialect.all]
receive.enter = { do = "subscribe", channel = "channel" }
send.error    = { type = "error", code = "{error.code}", text = "{error.message}" }
RECEIVE
delivery = { envelope = "raw" }
[[channel]]
name      = "ward:{ward}"
subscribe = "true"
presence  = true
[[channel]]
name      = "{*any}"
subscribe = "true"
history   = { keep = 10 }
[webhook.backend]
url = ""
"#;

#[test]
fn the_example_of_each_function_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["channels", "plugins"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let (mut receive, mut plugin, mut tests) = (String::new(), String::new(), String::new());
    for HostFunction { name, example, .. } in functions_table() {
        writeln!(receive, "receive.{name} = {{ do = \"handler\", handler = \"of_{name}\", entity = \"of:{name}\" }}")
            .unwrap();
        writeln!(plugin, "fn of_{name}(event) {{\nprint(\"{name} is called\");\n{example}\n}}").unwrap();
        let ann =
            "ann connects /all {\"id\":\"u1\",\"role\":\"nurse\"}\nann> {\"type\":\"enter\",\"channel\":\"ward:3\"}\n";
        let before = "publish room:1:chat {\"said\":\"one\"}\n";
        let expected = becomes(name);
        writeln!(tests, "# {name}\n{ann}{before}ann> {{\"type\":\"{name}\"}}\nlog \"{name} is called\"\n{expected}")
            .unwrap();
    }
    let timers = "fn ring_timeout(event) {\nprint(\"ring_timeout\");\nsend(user(\"u1\"), #{ timer: event.name, caller: event.data.caller });\n}\n\
        fn send_progress(event) {\nsend(user(\"u1\"), #{ timer: event.name });\n}\n";
    let gateway = "[listener.main]\naddress = \"127.0.0.1:3000\"\n";
    fs::write(folder.path().join("gateway.toml"), gateway).unwrap();
    fs::write(folder.path().join("channels/all.toml"), APP.replace("RECEIVE", &receive)).unwrap();
    fs::write(folder.path().join("plugins/all.rhai"), plugin + timers).unwrap();
    fs::write(folder.path().join("plugins/all.test"), tests).unwrap();
    let (code, out, err) = weir(folder.path(), &["test"]);
    let count = functions_table().len();
    assert!(count > 30, "{count} functions");
    assert_eq!((code, out), (0, format!("{count} tests: {count} passed, 0 failed\n")), "{err}");
}

// ── the reference of events ─────────────────────────────────────────────────────────────────────────────────────────

/// The rows of the table below a line, without its head: cells, trimmed.
fn table<'t>(text: &'t str, below: &str) -> Vec<Vec<&'t str>> {
    let from = text.find(below).unwrap_or_else(|| panic!("`{below}` is not in plugins/README.md"));
    let lines = text[from + below.len()..].lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    let rows: Vec<Vec<&str>> = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
    assert!(!rows.is_empty(), "no table below `{below}`");
    rows
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

const KINDS: &str = r#"
listener = "main"
plugin   = "kinds"
[[endpoint]]
path    = "/kinds"
dialect = "kinds"
handler = { connect = "tell", disconnect = "tell" }
[dialect.kinds]
receive.sub   = { do = "subscribe",   channel = "channel" }
receive.unsub = { do = "unsubscribe", channel = "channel" }
receive.pub   = { do = "publish",     channel = "channel", data = "data" }
receive.hand  = { do = "handler",     handler = "tell" }
[[channel]]
name      = "room:{room}"
subscribe = "true"
publish   = "true"
handler   = { subscribe = "tell", subscribed = "tell", publish = "tell", published = "tell", unsubscribed = "tell" }
[[route]]
post    = "/kinds"
access  = "public"
handler = "tell"
reply   = {}
"#;

const TELL: &str = r#"
fn tell(event) {
    print(`${event.kind} has ${event.keys()}`);
    if event.kind == "message" { after("1s", "tell", 7); }
}
"#;

#[test]
fn events_have_what_the_reference_says() {
    let text = handbook();
    let has: BTreeMap<&str, String> = table(&text, "### When handlers are called")
        .into_iter()
        .map(|row| {
            let mut names = quoted(row[3]);
            names.extend(["kind", "user", "vars", "at"]);
            names.sort();
            (
                quoted(row[0])[0],
                format!("[{}]", names.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ")),
            )
        })
        .collect();
    let log = |kind: &str| format!("log {}\n", Value::from(format!("{kind} has {}", has[kind])));
    let mut conversation = format!("# events\nann connects /kinds\n{}", log("connect"));
    for (step, kinds) in [
        ("ann> {\"type\":\"sub\",\"channel\":\"room:1\"}\n", &["subscribe", "subscribed"][..]),
        ("ann> {\"type\":\"pub\",\"channel\":\"room:1\",\"data\":1}\nann< 1\n", &["publish", "published"]),
        ("ann> {\"type\":\"unsub\",\"channel\":\"room:1\"}\n", &["unsubscribed"]),
        ("ann> {\"type\":\"hand\"}\n", &["message"]),
        ("after 1s\n", &["timer"]),
        ("POST /kinds {}\n< 200\n", &["route"]),
        ("ann closes\n", &["disconnect"]),
    ] {
        conversation.push_str(step);
        kinds.iter().for_each(|kind| conversation.push_str(&log(kind)));
    }
    let told = has.keys().filter(|kind| conversation.contains(&format!("log \"{kind} has"))).count();
    assert_eq!((told, has.len()), (10, 10), "{conversation}");

    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("gateway.toml", "[listener.main]\naddress = \"127.0.0.1:3000\"\n"),
        ("channels/kinds.toml", KINDS),
        ("plugins/kinds.rhai", TELL),
        ("plugins/kinds.test", &conversation),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let (code, out, err) = weir(folder.path(), &["test"]);
    assert_eq!((code, out.as_str()), (0, "1 test: 1 passed, 0 failed\n"), "{err}");

    let fields: BTreeSet<&str> =
        table(&text, "begins empty and is forgotten.").iter().flat_map(|row| quoted(row[0])).collect();
    let used: BTreeSet<&str> = has.values().flat_map(|names| names.split('"').skip(1).step_by(2)).collect();
    assert_eq!(fields, used, "the table of fields names each");
}

// ── the reference of keys ───────────────────────────────────────────────────────────────────────────────────────────

/// Keys of a table that the schema knows.
fn properties<'s>(schema: &'s Value, definition: &str) -> BTreeSet<&'s str> {
    let properties = schema.pointer(&format!("/$defs/{definition}/properties")).and_then(Value::as_object);
    properties.unwrap_or_else(|| panic!("no {definition}")).keys().map(String::as_str).collect()
}

/// Keys and defaults of a table of the reference.
fn keys<'t>(text: &'t str, heading: &str) -> Vec<(&'t str, &'t str)> {
    let rows = table(text, &format!("#### {heading}\n"));
    rows.iter().flat_map(|row| quoted(row[0]).into_iter().map(|key| (key, row[1].trim_matches('`')))).collect()
}

#[test]
fn the_keys_are_those_of_the_schema_with_their_defaults() {
    let text = handbook();
    let channels = weir::config::app_schema();
    let names = |heading: &str| keys(&text, heading).into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>();
    for (heading, definition) in [
        ("`[script]` of an app", "LimitsOverride"),
        ("`[entity.KIND]`", "EntitySettings"),
        ("`handler` of a `[[channel]]`", "ChannelHandlers"),
        ("`handler` of an `[[endpoint]]`", "EndpointHandlers"),
        ("`[[timer]]`", "TimerSettings"),
        ("`[webhook.NAME]`", "Settings"),
    ] {
        assert_eq!(names(heading), properties(&channels, definition), "{heading}");
    }
    // Those that other rooms' tables have besides are not of handlers.
    let receive = properties(&channels, "Receive");
    let route = properties(&channels, "RouteSettings");
    assert!(names("`receive.TYPE` of a dialect").is_subset(&receive) && receive.contains("failed"));
    let besides: BTreeSet<&str> = route.difference(&names("`[[route]]`")).copied().collect();
    assert!(
        names("`[[route]]`").is_subset(&route) && besides == BTreeSet::from(["do", "with", "count"]),
        "{besides:?}"
    );

    let of = |heading: &str| {
        let lines = keys(&text, heading).into_iter().filter(|(_, default)| !default.is_empty());
        lines.map(|(key, default)| format!("{key} = {default}\n")).collect::<String>()
    };
    let process = of("`[script]` of `gateway.toml`");
    assert_eq!(process.lines().count(), 3);
    assert_eq!(toml::from_str::<Process>(&process).unwrap(), Process::default());
    let limits = of("`[script]` of an app");
    assert_eq!(toml::from_str::<Limits>(&limits).unwrap(), Limits::default());
    let entity = of("`[entity.KIND]`");
    assert_eq!(toml::from_str::<EntitySettings>(&entity).unwrap(), EntitySettings::default());
    let written =
        toml::from_str::<weir::webhook::Settings>(&format!("url = \"\"\n{}", of("`[webhook.NAME]`"))).unwrap();
    assert_eq!(written, toml::from_str("url = \"\"").unwrap());
    let route: Map<String, Value> =
        toml::from_str(&of("`[[route]]`").lines().filter(|l| l.starts_with("status")).collect::<String>()).unwrap();
    assert_eq!(route["status"], channels.pointer("/$defs/RouteSettings/properties/status/default").unwrap().clone());
}

// ── for editors ─────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn definitions_for_editors_are_written_into_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = weir(folder.path(), &["schema", "rhai"]);
    assert!(code == 0 && out.contains("wrote plugins/definitions/weir.d.rhai\n"), "{out}{err}");
    let own = fs::read_to_string(folder.path().join("plugins/definitions/weir.d.rhai")).unwrap();
    for function in functions_table() {
        assert!(own.contains(&format!("\nfn {}(", function.name)), "{}", function.name);
    }
    let (code, out, _) = weir(folder.path(), &["schema", "rhai", "elsewhere/deep"]);
    assert!(code == 0 && folder.path().join("elsewhere/deep/weir.d.rhai").is_file(), "{out}");
    let (code, _, err) = weir(folder.path(), &["schema", "channels", "elsewhere"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "weir: only `weir schema rhai` writes into a folder; other schemas are printed\n")
    );
    // A gateway that is not there yet reads nothing of them.
    let (code, _, err) = weir(folder.path(), &["schema", "rhai", "elsewhere/deep/weir.d.rhai"]);
    assert!(code == 1 && err.starts_with("weir: elsewhere/deep/weir.d.rhai: "), "{err}");
}
