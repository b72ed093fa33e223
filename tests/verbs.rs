//! The operators' verbs, as processes: what they print and how they end.

use super::support::gateway::{Gateway, PATIENCE};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn weir(folder: &Path, env: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
    weir.args(arguments).current_dir(folder).env_clear().envs(env.iter().copied()).output().unwrap()
}

/// In the repository's own folder; exit code, standard output, standard error.
fn here(arguments: &[&str]) -> (i32, String, String) {
    told(weir(Path::new(env!("CARGO_MANIFEST_DIR")), &[], arguments))
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn started(env: &[(&str, &str)]) -> Gateway {
    let env: Vec<(String, String)> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Gateway::start("shipped", &env).unwrap()
}

/// A configuration of one app.
fn folder(app: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("channels")).unwrap();
    let gateway = "[listener.main]\naddress = \"127.0.0.1:0\"\n";
    std::fs::write(folder.path().join("gateway.toml"), gateway).unwrap();
    std::fs::write(folder.path().join("channels/app.toml"), app).unwrap();
    folder
}

#[test]
fn the_shipped_files_have_nothing_to_warn_of() {
    let (code, out, err) = here(&["check", "--strict"]);
    assert!(code == 0 && out.starts_with("ok: "), "{out}{err}");
}

#[test]
fn a_warning_is_a_fault_where_one_is_strict() {
    let folder = folder("[[channel]]\nname = \"a\"\nsubscribe = 'user.role == \"x\" && user.role == \"y\"'\n");
    let (code, _, err) = told(weir(folder.path(), &[], &["check"]));
    let warning = "channels/app.toml:3:14: warning: this rule is never true, whoever asks\n  hint: leave the rule out";
    assert!(code == 0 && err.starts_with(warning), "{err}");
    let (code, _, err) = told(weir(folder.path(), &[], &["check", "--strict"]));
    assert!(
        code == 78 && err.contains("app.toml:3:14: this rule is never true") && err.ends_with("1 fault in 1 file\n")
    );
    let (code, out, _) = told(weir(folder.path(), &[], &["check", "--strict", "--json"]));
    let json: Value = serde_json::from_str(&out).unwrap();
    assert!(code == 78 && json["ok"] == false && json["faults"][0]["line"] == 3, "{out}");
}

#[test]
fn what_nobody_can_use_is_warned_of() {
    let folder = folder(
        r#"listener = "main"
[[endpoint]]
path = "/ws"
dialect = "d"
auth = []
[dialect.d]
receive.pub = { do = "publish", channel = "c", data = "d" }
send.pong = { type = "pong" }
[table.rows]
rows = { a = { b = 1 } }
[[channel]]
name = "a:{*rest}"
subscribe = "true"
refuse = [{ message = "no" }, { when = "user.known", message = "never read" }]
[[channel]]
name = "a:{x}"
subscribe = "true"
[[channel]]
name = "a:{x}:{*rest}"
subscribe = "user.known || user.id == user.id"
[auth.word]
type = "trusted"
insecure = true
[dialect.unlike]
like = "d"
"#,
    );
    let (code, _, err) = told(weir(folder.path(), &[], &["check"]));
    let lines: Vec<&str> = err.lines().filter(|l| l.starts_with("channels/")).collect();
    let expected = [
        "channels/app.toml:6:10: warning: the dialect `d` has no `send.error`: refused messages are not answered",
        "channels/app.toml:7:9: warning: `pub` can only be refused: no class has a `publish` rule",
        "channels/app.toml:8:6: warning: nobody is told this: no `receive` of the dialect asks for `ping`",
        "channels/app.toml:9:8: warning: no rule and no auth looks into the table `rows`",
        "channels/app.toml:12:8: warning: no channel is of the class `a:{*rest}`: `a:{x}` and `a:{x}:{*rest}` take them all",
        "channels/app.toml:14:31: warning: nobody reads this: an entry before it has no `when`, so it always holds",
        "channels/app.toml:20:14: warning: this rule is always true, whoever asks",
        "channels/app.toml:21:7: warning: no [[endpoint]] or [[route]] uses the auth `word`",
        "channels/app.toml:23:12: warning: auth `word` believes its clients: whoever can connect can be anybody",
        "channels/app.toml:24:10: warning: no [[endpoint]] speaks the dialect `unlike`",
        "channels/app.toml:24:10: warning: the dialect `unlike` has no `send.error`: refused messages are not answered",
    ];
    assert_eq!((code, lines), (0, expected.to_vec()), "{err}");
}

#[test]
fn an_operator_is_told_why_somebody_is_refused() {
    let claims = r#"{"role":"sales_staff","clinicId":"c1"}"#;
    let asked = ["explain", "--app", "clinic", "--user", "u1", "--claims", claims, "--on", "clinic:c2:queue"];
    let (code, out, err) = here(&asked);
    assert_eq!(code, 1, "{err}");
    assert!(out.starts_with("REFUSED  u1 may not subscribe to clinic:c2:queue\n"), "{out}");
    for part in [
        "class     clinic:{clinicId}:queue   with clinicId = \"c2\"\n",
        "rule      channels/clinic.toml:",
        " false    user.role == \"admin\"\n",
        " \"sales_staff\" user.role\n",
        " \"c1\"     user.clinicId\n",
        "client    reads denied: Access denied",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    // As with a token of this user: the table knows the clinic, though nobody said it here.
    let (code, out, _) = here(&["explain", "--app", "clinic", "--user", "u1", "--on", "clinic:c1:queue"]);
    assert!(code == 0 && out.starts_with("ALLOWED  u1 may subscribe to clinic:c1:queue\n"), "{out}");
    assert!(out.contains("assumed   a token of u1 for [auth.hmac], with the row of table `users`: {"), "{out}");
    let (_, out, _) = here(&["explain", "--app", "clinic", "--user", "nobody", "--on", "clinic:c1:queue"]);
    assert!(
        out.starts_with("REFUSED") && out.contains("would refuse a token of nobody: table `users` has no"),
        "{out}"
    );
    let (code, out, _) = here(&["explain", "--app", "reports", "--user", "u1", "--on", "user:alerts", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["allowed"], &json["alias"]["vars"]["id"]), (0, &true.into(), &"u1".into()), "{out}");
    let (code, out, _) = here(&["explain", "--app", "reports", "--on", "nobody:knows"]);
    assert!(code == 1 && out.contains("class     none: no class matches `nobody:knows`"), "{out}");
    let (code, _, err) = here(&["explain", "--app", "clinik", "--on", "a"]);
    assert_eq!(
        (code, &*err),
        (1, "weir: no app `clinik`: there are `clinic`, `intraday` and `reports`; did you mean `clinic`?\n")
    );
}

#[test]
fn a_token_is_made_and_taken_apart() {
    let (code, token, _) =
        here(&["token", "issue", "--app", "reports", "--user", "u1", "--claims", r#"{"role":"admin"}"#]);
    assert_eq!(code, 0);
    let (code, out, err) = here(&["token", "inspect", token.trim()]);
    assert!(code == 0 && out.starts_with("JSON Web Token  {"), "{out}{err}");
    assert!(out.contains("reports [auth.jwt]   taken: user u1, until "), "{out}");
    assert!(
        out.contains("key `jwt` verifies it") && out.contains("clinic [auth.hmac]   not taken, malformed: "),
        "{out}"
    );
    let (_, token, _) = here(&["token", "issue", "--app", "clinic", "--auth", "hmac", "--user", "u1"]);
    let (code, out, _) = here(&["token", "inspect", token.trim(), "--app", "clinic", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["apps"][0]["claims"]["role"]), (0, &"sales_staff".into()), "{out}");
    let forged = format!("{}x", token.trim());
    assert_eq!(here(&["token", "inspect", &forged]).0, 1);
    let (code, _, err) = here(&["token", "issue", "--app", "clinic", "--user", "u1", "--ttl", "1h"]);
    assert!(code == 1 && err.contains("hold a user and a time alone"), "{err}");
}

#[test]
fn the_openapi_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/schema/openapi.json");
    let (_, out, _) = here(&["schema", "openapi"]);
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == out, "weir schema openapi > {} brings it up to date", path.display());
}

#[test]
fn the_schemas_are_current_and_the_shipped_files_are_what_they_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for (kind, line) in [
        ("gateway", "#:schema packaging/schema/gateway.json"),
        ("channels", "#:schema ../packaging/schema/channels.json"),
    ] {
        let path = root.join(format!("packaging/schema/{kind}.json"));
        let (_, out, _) = here(&["schema", kind]);
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == out, "weir schema {kind} > {} brings it up to date", path.display());
        let mut schemas = boon::Schemas::new();
        let schema =
            boon::Compiler::new().compile(path.to_str().unwrap(), &mut schemas).unwrap_or_else(|e| panic!("{e:#}"));
        let files = match kind {
            "gateway" => vec![root.join("gateway.toml")],
            _ => std::fs::read_dir(root.join("channels")).unwrap().map(|e| e.unwrap().path()).collect(),
        };
        for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "toml")) {
            found += 1;
            let text = std::fs::read_to_string(file).unwrap();
            assert_eq!(text.lines().next(), Some(line), "{}", file.display());
            let value: Value = serde_json::to_value(toml::from_str::<toml::Table>(&text).unwrap()).unwrap();
            if let Err(wrong) = schemas.validate(&value, schema) {
                panic!("{}: {wrong:#}", file.display());
            }
        }
        let wrong = serde_json::json!({ "listner": {} });
        assert!(schemas.validate(&wrong, schema).is_err(), "{kind}: an unknown key passes");
    }
    assert!(found >= 3, "only {found} files");
}

#[test]
fn the_defaults_are_a_configuration() {
    let (code, out, _) = here(&["defaults"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.toml"), out).unwrap();
    std::fs::create_dir(folder.path().join("channels")).unwrap();
    let (checked, _, err) = told(weir(folder.path(), &[], &["check"]));
    assert_eq!((code, checked), (0, 0), "{err}");
    assert_eq!(here(&["defaults", "nonsense"]).0, 1);
}

#[test]
fn shells_complete_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = here(&["completions", shell]);
        assert!(code == 0 && out.contains("explain") && out.contains("strict"), "{shell}");
    }
}

#[test]
fn a_message_goes_all_the_way_and_where_it_cannot_one_is_told() {
    let gateway = started(&[]);
    let admin = format!("http://{}", gateway.address("admin").unwrap());
    let (main, clinic) = (gateway.address("main").unwrap(), gateway.address("clinic").unwrap());
    let (reports, clinic) = (format!("ws://{main}/ws"), format!("ws://{clinic}/"));
    let smoke = |address: &str, more: &[&str]| {
        let mut arguments = vec!["smoke", address, "--url", &admin, "--timeout", "20"];
        arguments.extend(more);
        here(&arguments)
    };
    let (code, out, err) = smoke(&reports, &["--channel", "test:smoke", "--app", "reports"]);
    let steps: Vec<&str> = out.lines().map(|l| l.split_whitespace().next().unwrap_or("")).collect();
    assert_eq!((code, steps), (0, vec!["connected", "subscribed", "published", "received"]), "{err}");
    let (code, out, err) = smoke(&clinic, &["--channel", "clinic:c1:queue", "--app", "clinic", "--user", "u1"]);
    assert!(code == 0 && out.contains("received"), "{out}{err}");
    let (code, _, err) = smoke(&clinic, &["--channel", "clinic:c2:queue", "--app", "clinic", "--user", "u1"]);
    assert!(code == 1 && err.contains("subscribing failed: clinic:c2:queue was refused"), "{err}");
    let (code, _, err) = smoke(&clinic, &["--channel", "clinic:c2:queue", "--app", "clinic"]);
    assert!(code == 1 && err.contains("closed with 4000 Authentication token is required"), "{err}");
    let (code, _, err) = smoke(&reports, &["--channel", "test:smoke", "--app", "reports", "--key", "wrong"]);
    assert!(code == 1 && err.contains("publishing failed: ") && err.contains("401"), "{err}");
    assert!(gateway.panics().is_none());
}

#[test]
fn the_log_of_a_refusal_says_why_where_one_looks_closely() {
    let gateway = started(&[("WEIR_LOG__LEVEL", "debug")]);
    let admin = format!("http://{}", gateway.address("admin").unwrap());
    let address = format!("ws://{}/", gateway.address("clinic").unwrap());
    let asked = ["smoke", &address, "--url", &admin, "--app", "clinic", "--user", "u1", "--channel", "clinic:c2:queue"];
    assert_eq!(here(&asked).0, 1);
    gateway.wait_for_log(&["refused", "clinic.toml:", "user.clinicId == clinicId is false"]).unwrap();
}

#[test]
fn a_running_gateway_is_spoken_to() {
    let gateway = started(&[]);
    let admin = format!("http://{}", gateway.address("admin").unwrap());
    let (code, out, _) = here(&["health", "--url", &admin]);
    assert!(code == 0 && out.contains("ready"), "{out}");
    let (code, out, err) = here(&["publish", "--url", &admin, "--app", "reports", "test:a", r#"{"type":"note"}"#]);
    assert_eq!((code, &*out), (0, "{\"recipients\":0}\n"), "{err}");
    let (code, out, err) =
        here(&["broadcast", "--url", &admin, "--app", "clinic", "--users", "u1,u2", r#"{"type":"x"}"#]);
    assert_eq!((code, &*out), (0, "{\"recipients\":0}\n"), "{err}");
    let (code, _, err) = here(&["publish", "--url", &admin, "--app", "reports", "nobody:knows", "1"]);
    assert!(code == 1 && err.contains("404") && err.contains("unknown_channel"), "{err}");
    let (code, _, err) = here(&["publish", "--url", &admin, "test:a", "{type:1}"]);
    assert!(code == 2 && err.contains("not JSON"), "{err}");
    drop(gateway);
    let (code, _, err) = here(&["health", "--url", &admin]);
    assert!(code == 1 && err.contains("Connection refused"), "{err}");
}

#[test]
fn systemd_is_told_when_the_gateway_is_ready_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut bytes = [0; 512];
        let len = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    };
    let mut gateway = started(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "100000")]);
    let ready = next();
    assert!(ready.starts_with("READY=1\nSTATUS=3 apps, generation 1 "), "{ready}");
    let until = |wanted: &str| std::iter::repeat_with(next).find(|told| told.starts_with(wanted)).unwrap();
    until("WATCHDOG=1");
    gateway.signal(libc::SIGHUP).unwrap();
    assert!(until("RELOADING=1\n").contains("\nMONOTONIC_USEC="));
    assert!(until("READY=1\n").starts_with("READY=1\nSTATUS=generation 1 "));
    gateway.signal(libc::SIGTERM).unwrap();
    until("STOPPING=1\n");
    assert_eq!(gateway.wait_for_end().unwrap(), Some(0));
}

#[test]
fn who_did_what_is_written_down_without_what_was_said() {
    let mut gateway = started(&[("WEIR_AUDIT__TARGET", "audit.jsonl"), ("WEIR_AUDIT__PUBLISHES", "true")]);
    let admin = format!("http://{}", gateway.address("admin").unwrap());
    here(&["publish", "--url", &admin, "--app", "reports", "test:a", r#"{"type":"hush"}"#]);
    here(&["publish", "--url", &admin, "--app", "reports", "nobody:knows", "1"]);
    let (_, token, _) =
        here(&["token", "issue", "--app", "reports", "--user", "a1", "--claims", r#"{"role":"admin"}"#]);
    let address = format!("ws://{}/ws", gateway.address("main").unwrap());
    let join =
        ["smoke", &address, "--url", &admin, "--app", "reports", "--channel", "admin:x", "--token", token.trim()];
    assert_eq!(here(&join).0, 0);
    gateway.signal(libc::SIGTERM).unwrap();
    gateway.wait_for_end().unwrap();
    let text = std::fs::read_to_string(gateway.file("audit.jsonl")).unwrap();
    let records: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(records.len(), 4, "{text}");
    assert_eq!((&records[0]["verb"], &records[0]["who"]), (&"publish".into(), &"default".into()), "{text}");
    assert_eq!((&records[0]["channel"], &records[0]["result"]), (&"test:a".into(), &"ok".into()), "{text}");
    assert_eq!(records[1]["result"], "unknown_channel", "{text}");
    assert_eq!((&records[2]["audit"], &records[2]["who"]), (&"join".into(), &"a1".into()), "{text}");
    assert_eq!(records[2]["channel"], "admin:x", "{text}");
    assert!(!text.contains("hush") && !text.contains("weir.smoke"), "{text}");
}

#[test]
fn a_clean_stop_leaves_the_store_as_one_file() {
    let mut gateway = started(&[]);
    let (file, log) = (gateway.file("data/weir.db"), gateway.file("data/weir.db-wal"));
    assert!(log.exists(), "SQLite's log is there while Weir runs");
    gateway.signal(libc::SIGTERM).unwrap();
    assert_eq!(gateway.wait_for_end().unwrap(), Some(0));
    assert!(file.exists() && !log.exists());
}

#[test]
fn a_reader_of_the_log_that_hangs_holds_up_nobody() {
    let folder = folder("listener = \"main\"\n[[endpoint]]\npath = \"/ws\"\ndialect = \"echo\"\n");
    let (mut reader, mut full) = std::io::pipe().unwrap();
    // What a pipe holds: not one line of the log finds room in it.
    full.write_all(&[b'\n'; 64 << 10]).unwrap();
    let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
    let env = [("WEIR_LOG__LEVEL", "debug"), ("WEIR_LOG__QUEUE_BYTES", "100")];
    weir.current_dir(folder.path()).env_clear().envs(env).stdout(Stdio::piped()).stderr(full);
    let mut child = weir.spawn().unwrap();
    drop(weir);
    let (tell, told) = std::sync::mpsc::channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let line = |prefix: &str| {
        let lines = std::iter::from_fn(|| told.recv_timeout(PATIENCE).ok());
        lines.into_iter().find_map(|line| line.strip_prefix(prefix).map(str::to_owned))
    };
    let address = line("weir: listening main ").expect("it starts");
    assert!(line("weir: ready").is_some());
    for _ in 0..20 {
        let mut client = TcpStream::connect(address.trim()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // Each connection is a line of the log.
        let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let upgrade = format!(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n\r\n"
        );
        client.write_all(upgrade.as_bytes()).unwrap();
        let mut answer = [0; 8];
        client.read_exact(&mut answer).expect("it answers");
    }
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let text = reading.join().unwrap().unwrap();
    assert!(text.contains("lines of the log were dropped"), "{}", text.trim());
}

#[test]
fn a_company_s_own_authority_is_believed_where_it_is_named() {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let (issuer, key) = (rcgen::Issuer::new(ca, ca_key), rcgen::KeyPair::generate().unwrap());
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let cert = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap().pem();
    let listeners =
        "[listener.main]\naddress = \"127.0.0.1:0\"\n[listener.admin]\naddress = \"127.0.0.1:0\"\nadmin = true\n";
    let settings = format!("{listeners}tls = {{ cert = \"tls/cert.pem\", key = \"tls/key.pem\" }}\n");
    let server = Gateway::start_files(
        &[
            ("gateway.toml", &settings),
            ("tls/cert.pem", &cert),
            ("tls/key.pem", &key.serialize_pem()),
            ("channels/a.toml", "# an app\n"),
        ],
        &[],
    )
    .unwrap();
    let url = format!("https://{}", server.address("admin").unwrap());

    let folder = folder("# an app\n");
    let pem = folder.path().join("ca.pem").display().to_string();
    std::fs::write(&pem, &ca_pem).unwrap();
    let health = |env: &[(&str, &str)], more: &[&str]| {
        told(weir(folder.path(), env, &[&["health", "--url", &url], more].concat()))
    };
    let (code, _, err) = health(&[], &[]);
    assert!(code == 1 && err.contains("UnknownIssuer"), "{err}");
    assert_eq!(health(&[("SSL_CERT_FILE", &pem)], &[]).0, 0);
    assert_eq!(health(&[], &["--ca", &pem]).0, 0);
    let (code, _, err) = health(&[], &["--ca", "none.pem"]);
    assert!(code == 1 && err.contains("none.pem"), "{err}");

    // A key set there is none of, but who says so is believed or not.
    let key = format!("[key.idp]\nalgorithms = [\"RS256\"]\njwks = {{ url = \"{url}/healthz\" }}\n");
    let told = |ca: &str, wanted: &str| {
        let settings = format!("{listeners}{key}[tls]\nca = \"{ca}\"\n");
        let files = [("gateway.toml", &settings[..]), ("tls/ca.pem", &ca_pem), ("channels/a.toml", "# an app\n")];
        Gateway::start_files(&files, &[]).unwrap().wait_for_log(&["key set not fetched", wanted]).unwrap();
    };
    told("", "UnknownIssuer");
    told("tls/ca.pem", "not a JSON Web Key Set");
    let settings = format!("{listeners}[tls]\nca = \"gateway.toml\"\n");
    std::fs::write(folder.path().join("gateway.toml"), settings).unwrap();
    let (code, _, err) = self::told(weir(folder.path(), &[], &["check"]));
    assert!(code == 78 && err.starts_with("gateway.toml:7:6: gateway.toml holds no certificate in PEM"), "{err}");
}
