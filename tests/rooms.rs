//! Every line knows its room: the table at the top of `src/lib.rs`, held against what the files of `src/` name.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Packages that only these rooms may name.
const HOMES: &[(&str, &[&str])] = &[
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("fastwebsockets", &["wire", "listen", "cli"]),
    ("flate2", &["wire"]),
    ("hmac", &["auth", "webhook"]),
    ("getrandom", &["shard", "gateway", "webhook", "cli"]),
    ("hyper", &["listen", "api", "auth", "webhook", "harness", "cli"]),
    ("jsonwebtoken", &["auth"]),
    ("mio", &["shard"]),
    ("notify", &["config"]),
    ("percent_encoding", &["model"]),
    ("prometheus", &["observe"]),
    ("rhai", &["policy", "script"]),
    ("rusqlite", &["store"]),
    ("toml", &["config"]),
];

/// Tests of every room may read the shipped files as they stand.
const FOR_TESTS: &[&str] = &["toml"];

/// Where the description starts in the table of `src/lib.rs`: what stands before it are rooms.
const DESCRIPTION_COLUMN: usize = 31;

#[test]
fn every_file_keeps_to_its_room() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let order = order(&fs::read_to_string(src.join("lib.rs")).unwrap());
    let files = rust_files(&src);
    let mut wrong = Vec::new();
    for file in &files {
        let shown = Path::new("src").join(file.strip_prefix(&src).unwrap());
        let source = fs::read_to_string(file).unwrap();
        wrong.extend(violations(&shown, &source, &order));
    }
    println!("rooms: {} files of {} rooms", files.len(), order.len());
    assert!(files.len() > order.len(), "found {} files in {}", files.len(), src.display());
    assert!(wrong.is_empty(), "{} lines in a room that is not theirs:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_names_the_modules_that_there_are() {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let modules: BTreeSet<String> =
        source.lines().filter_map(|l| Some(l.strip_prefix("pub mod ")?.trim_end_matches(';').to_string())).collect();
    assert!(!modules.is_empty());
    assert_eq!(order(&source).into_keys().collect::<BTreeSet<_>>(), modules);
}

#[test]
fn a_line_in_the_wrong_room_is_told() {
    let order = order(
        "//! ```text\n//! model                          nouns\n//! wire     dialect               frames\n//! hub                            who hears what\n//! shard                          threads\n//! ```\n",
    );
    assert_eq!(order.len(), 5);
    let told = |file: &str, source: &str| violations(Path::new(file), source, &order);
    assert_eq!(
        told("src/hub/mod.rs", "//! crate::shard in a comment\nuse crate::model::Event;\nuse crate::shard::Slot;\n"),
        ["src/hub/mod.rs:3: `hub` uses `shard`, which stands below it"]
    );
    assert_eq!(
        told("src/wire/frame.rs", "use crate::{model::{Close, Event}, dialect::Json};"),
        ["src/wire/frame.rs:1: `wire` uses `dialect`, which stands beside it"]
    );
    assert_eq!(
        told("src/model/name.rs", "fn f() { crate::hub::Hub::new(); let s = \"crate::shard\"; }"),
        ["src/model/name.rs:1: `model` uses `hub`, which stands below it"]
    );
    assert_eq!(
        told("src/hub/mod.rs", "fn f() -> rhai::Engine { self::toml::x() }"),
        ["src/hub/mod.rs:1: `hub` names the package `rhai`, at home in policy, script"]
    );
    assert_eq!(
        told("src/wire/mod.rs", "use rhai::Engine as E;\nuse flate2::Compress;"),
        ["src/wire/mod.rs:1: `wire` names the package `rhai`, at home in policy, script"]
    );
    assert!(told("src/shard/mod.rs", "use crate::hub::Hub;\nuse mio::Poll;\nuse crate::shard::conn;").is_empty());
    assert!(told("src/hub/tests.rs", "use toml::Table;").is_empty());
    assert!(told("src/hub/tests/files.rs", "use toml::Table;").is_empty());
    assert!(told("src/hub/mod.rs", "#[cfg(test)]\nmod tests { use toml::Table; }").is_empty());
    assert_eq!(
        told("src/hub/mod.rs", "#[cfg(test)]\nmod tests;\nmod files { use toml::Table; }"),
        ["src/hub/mod.rs:3: `hub` names the package `toml`, at home in config"]
    );
    assert_eq!(
        told("src/hub/tests.rs", "use rhai::Engine;"),
        ["src/hub/tests.rs:1: `hub` names the package `rhai`, at home in policy, script"]
    );
    assert!(told("src/attic/mod.rs", "")[0].contains("not in the table"));
}

/// Standard output and error may be closed, or full: `println!` panics then, and with it whatever called it.
#[test]
fn nothing_is_printed_where_a_closed_terminal_would_end_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut told = Vec::new();
    for file in rust_files(&src) {
        let of_tests = file.components().any(|c| Path::new(c.as_os_str()).file_stem().is_some_and(|s| s == "tests"));
        if of_tests || file.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("_tests")) {
            continue;
        }
        let tokens = fs::read_to_string(&file).unwrap().parse().unwrap();
        told.extend(prints(tokens).into_iter().map(|line| format!("{}:{line}", file.display())));
    }
    assert!(told.is_empty(), "`say!` of `cli`, `process::say` or a line of the log instead:\n{}", told.join("\n"));
    let seen = |source: &str| prints(source.parse().unwrap());
    assert_eq!(seen("fn f() {\n println!(\"x\");\n if x { eprint!(\"y\") }\n}"), [2, 3]);
    assert_eq!(seen("#[cfg(test)]\nmod tests { fn f() { dbg!(1); } }\nfn g() { writeln!(o, \"x\"); }"), [0; 0]);
}

/// A kernel does the same for the same inputs: so its driver alone has clocks, chance, threads, tasks, sockets and files.
#[test]
fn a_kernel_has_no_way_out_but_its_driver() {
    const OUTSIDE: [&str; 22] = [
        "Instant",
        "SystemTime",
        "Duration",
        "clock",
        "getrandom",
        "RandomState",
        "thread",
        "spawn",
        "spawn_local",
        "spawn_blocking",
        "block_on",
        "sleep",
        "park",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "UnixStream",
        "File",
        "fs",
        "mio",
        "process",
        "env",
    ];
    // Tables that all kernels of a process share: their order is nobody's to see, their seeds keep strangers from choosing it.
    const SEEDED: [&str; 2] = ["buckets.rs", "counts.rs"];
    let named = |source: &str| words(source.parse().unwrap(), &|word, _| OUTSIDE.contains(&word));
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernel");
    let mut told = Vec::new();
    for file in rust_files(&kernel) {
        let seeded = SEEDED.iter().any(|name| file.ends_with(name));
        let found = named(&fs::read_to_string(&file).unwrap()).into_iter();
        let found = found.filter(|(word, _)| !(seeded && word == "RandomState"));
        told.extend(found.map(|(word, line)| format!("{}:{line}: `{word}`", file.display())));
    }
    assert!(told.is_empty(), "what a kernel's driver should hand it, or do for it:\n{}", told.join("\n"));
    let found = named("use std::time::Instant;\n#[cfg(test)]\nmod tests { use std::thread; }\nfn f() { spawn(g) }");
    assert_eq!(found, [("Instant".to_owned(), 1), ("spawn".to_owned(), 4)]);
}

/// Lines with a macro that prints, outside of tests.
fn prints(tokens: TokenStream) -> Vec<usize> {
    const MACROS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];
    let is_macro = |word: &str, next: Option<&TokenTree>| {
        MACROS.contains(&word) && matches!(next, Some(TokenTree::Punct(p)) if p.as_char() == '!')
    };
    words(tokens, &is_macro).into_iter().map(|(_, line)| line).collect()
}

/// Words that are `wanted`, given the word and what follows it, and their lines; outside of tests.
fn words(tokens: TokenStream, wanted: &dyn Fn(&str, Option<&TokenTree>) -> bool) -> Vec<(String, usize)> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let (mut found, mut of_tests) = (Vec::new(), false);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) => {
                let text = word.to_string();
                if !of_tests && wanted(&text, tokens.get(at + 1)) {
                    found.push((text, word.span().start().line));
                }
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                of_tests |= group.stream().to_string().replace(' ', "") == "cfg(test)";
                if !of_tests {
                    found.extend(words(group.stream(), wanted));
                }
            }
            TokenTree::Group(group) => {
                if !of_tests {
                    found.extend(words(group.stream(), wanted));
                }
                of_tests &= group.delimiter() != Delimiter::Brace;
            }
            TokenTree::Punct(p) if p.as_char() == ';' => of_tests = false,
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    found
}

/// Room → its line in the table.
fn order(lib: &str) -> BTreeMap<String, usize> {
    let table = lib.lines().skip_while(|l| *l != "//! ```text").skip(1).take_while(|l| *l != "//! ```");
    let mut order = BTreeMap::new();
    for (line, text) in table.enumerate() {
        let names: String = text.trim_start_matches("//! ").chars().take(DESCRIPTION_COLUMN).collect();
        order.extend(names.split_whitespace().map(|name| (name.to_string(), line)));
    }
    order
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        match path.is_dir() {
            true => found.extend(rust_files(&path)),
            false if path.extension().is_some_and(|e| e == "rs") => found.push(path),
            false => {}
        }
    }
    found
}

fn violations(file: &Path, source: &str, order: &BTreeMap<String, usize>) -> Vec<String> {
    let room = match file.components().nth(1).and_then(|c| Path::new(c.as_os_str()).file_stem()?.to_str()) {
        Some("lib" | "main") | None => return Vec::new(),
        Some(room) => room,
    };
    let Some(own) = order.get(room) else {
        return vec![format!("{}: `{room}` is not in the table of src/lib.rs", file.display())];
    };
    let tokens: TokenStream = source.parse().unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let of_tests = file.components().any(|c| Path::new(c.as_os_str()).file_stem().is_some_and(|stem| stem == "tests"));
    let mut told = Vec::new();
    for Named { name, line, in_test } in names(tokens, false) {
        let at = format!("{}:{line}:", file.display());
        match name {
            Name::Room(other) if other != room => match order.get(&other) {
                Some(line) if line > own => told.push(format!("{at} `{room}` uses `{other}`, which stands below it")),
                Some(line) if line == own => told.push(format!("{at} `{room}` uses `{other}`, which stands beside it")),
                _ => {}
            },
            Name::Room(_) => {}
            Name::Package(package) if (of_tests || in_test) && FOR_TESTS.contains(&package.as_str()) => {}
            Name::Package(package) => {
                if let Some((_, homes)) = HOMES.iter().find(|(p, homes)| *p == package && !homes.contains(&room)) {
                    told.push(format!("{at} `{room}` names the package `{package}`, at home in {}", homes.join(", ")));
                }
            }
        }
    }
    told
}

enum Name {
    Room(String),
    Package(String),
}

struct Named {
    name: Name,
    line: usize,
    /// Inside an item with `#[cfg(test)]`.
    in_test: bool,
}

/// `crate::ROOM`, `crate::{ROOM, ROOM::…}` and `package::` wherever they stand, with their lines.
/// `rooms`: the stream is the inside of `crate::{…}`.
fn names(tokens: TokenStream, rooms: bool) -> Vec<Named> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    let (mut after_colons, mut first) = (false, true);
    let (mut after_crate, mut in_test) = (false, false);
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let colons = is_colons(&tokens, at);
        match token {
            _ if colons => {
                (after_colons, at) = (true, at + 2);
                continue;
            }
            TokenTree::Ident(word) => {
                let (name, line) = (word.to_string(), word.span().start().line);
                if (rooms && first) || after_crate {
                    found.push(Named { name: Name::Room(name), line, in_test });
                    after_crate = false;
                } else if name == "crate" && is_colons(&tokens, at + 1) {
                    after_crate = true;
                } else if !after_colons && is_colons(&tokens, at + 1) {
                    found.push(Named { name: Name::Package(name), line, in_test });
                }
            }
            TokenTree::Group(group) => {
                let inside = after_crate && group.delimiter() == Delimiter::Brace;
                let inner = names(group.stream(), inside).into_iter();
                found.extend(inner.map(|n| Named { in_test: n.in_test || in_test, ..n }));
                after_crate = false;
                in_test |= group.delimiter() == Delimiter::Bracket
                    && group.stream().to_string().replace(' ', "") == "cfg(test)";
                in_test &= group.delimiter() != Delimiter::Brace; // an item ends with its braces
            }
            TokenTree::Punct(p) if p.as_char() == ';' => in_test = false,
            _ => {}
        }
        first = matches!(token, TokenTree::Punct(p) if p.as_char() == ',');
        (after_colons, at) = (false, at + 1);
    }
    found
}

/// `::` stands at `at`.
fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let is = |at: usize, wanted: fn(Spacing) -> bool| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':' && wanted(p.spacing()));
    is(at, |s| s == Spacing::Joint) && is(at + 1, |_| true)
}

/// Files that read a clock, each with its reason. The wall clock steps, so only `observe/clock.rs` may name it; durations
/// that one place measures from its begin to its end may use `Instant`; all else is handed the time of its turn.
const CLOCKS: &[(&str, &str)] = &[
    ("api/handle.rs", "how long a request took"),
    ("auth/jwks.rs", "a wait with a bound"),
    ("cli/explain.rs", "a verb's turn"),
    ("cli/smoke.rs", "a verb's turn, and how long it took"),
    ("cli/token.rs", "a verb's turn"),
    ("config/app.rs", "a load's turn: the app's own checks"),
    ("config/compile.rs", "a load's turn: certificates that expire"),
    ("config/inputs.rs", "how old a file is, by its own time"),
    ("config/watch.rs", "waits until files are quiet"),
    ("gateway/certificates.rs", "a look's turn"),
    ("gateway/http.rs", "a request's turn"),
    ("gateway/mod.rs", "the start's turn"),
    ("gateway/plan.rs", "a plan's turn"),
    ("gateway/plugins.rs", "a handler asks for the time; waits with a bound"),
    ("gateway/reload.rs", "a reload's turn"),
    ("gateway/removal.rs", "how long a file has stayed away"),
    ("gateway/rows.rs", "a look's turn"),
    ("gateway/scripts.rs", "a sweep's turn"),
    ("listen/link.rs", "waits with a bound, by tokio's clock"),
    ("listen/serve.rs", "waits with a bound, by tokio's clock"),
    ("listen/upgrade.rs", "a handshake's turn"),
    ("observe/audit.rs", "the time of a record"),
    ("observe/clock.rs", "the one place that reads both"),
    ("observe/limited.rs", "lines a second"),
    ("observe/log_writer.rs", "the time of a line; a wait with a bound"),
    ("observe/metrics.rs", "uptime"),
    ("harness/play.rs", "how long a test took"),
    ("script/meter.rs", "a handler's deadline"),
    ("script/workers/job.rs", "waits with a bound"),
    ("script/workers/perform.rs", "how long a call took"),
    ("shard/shard.rs", "a shard's turn"),
    ("webhook/flight.rs", "a call's turn, and how long it took"),
    ("webhook/post.rs", "a turn of the sender"),
];

#[test]
fn only_files_with_a_reason_read_a_clock() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut reads, mut wall) = (BTreeSet::new(), BTreeSet::new());
    for file in rust_files(&src) {
        let name = file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        if name.contains("/tests/") || name.ends_with("_tests.rs") {
            continue;
        }
        let source = fs::read_to_string(&file).unwrap();
        let code = source.split("#[cfg(test)]\nmod").next().unwrap_or_default();
        let code: String = code.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        if reads_a_clock(&code) {
            reads.insert(name.clone());
        }
        if code.contains("SystemTime") || code.contains("Timestamp::now") || code.contains("Zoned::now") {
            wall.insert(name);
        }
    }
    let named: BTreeSet<String> = CLOCKS.iter().map(|(file, _)| (*file).to_owned()).collect();
    let (new, old): (Vec<_>, Vec<_>) = (reads.difference(&named).collect(), named.difference(&reads).collect());
    assert!(new.is_empty(), "read a clock without a reason in CLOCKS; hand them a `Now` instead: {new:?}");
    assert!(old.is_empty(), "in CLOCKS, and read no clock: {old:?}");
    // Files have times of the wall clock.
    assert_eq!(wall.into_iter().collect::<Vec<_>>(), ["config/inputs.rs", "observe/clock.rs"]);
}

/// `clock()`, `(x.clock)()`, `Instant::now`: not `run_clock()`.
fn reads_a_clock(code: &str) -> bool {
    let is_call = |at: usize| !code[..at].ends_with(|c: char| c == '_' || c.is_alphanumeric());
    let calls = ["clock()", "clock)()"].iter().any(|text| code.match_indices(text).any(|(at, _)| is_call(at)));
    calls || code.contains("Instant::now") || code.contains("SystemTime")
}
