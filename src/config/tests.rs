use super::*;
use crate::auth::Fetcher;
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};

/// Reads a configuration with an environment; nothing is fetched.
fn read_with(gateway: &Path, env: &[(&str, &str)]) -> Result<Compiled, Vec<Fault>> {
    read_after(None, gateway, env)
}

fn read_after(previous: Option<&Compiled>, gateway: &Path, env: &[(&str, &str)]) -> Result<Compiled, Vec<Fault>> {
    static IDLE: LazyLock<(Runtime, Fetcher)> = LazyLock::new(|| {
        let runtime = Builder::new_current_thread().build().unwrap();
        let fetcher = Fetcher::new(runtime.handle().clone());
        (runtime, fetcher)
    });
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    read(gateway, &Means { env: &env, fetcher: &IDLE.1, previous })
}

#[test]
fn the_shipped_files_are_right() {
    let made = read_with(Path::new("gateway.toml"), &[]).unwrap_or_else(|f| panic!("{f:#?}"));
    assert_eq!(made.warnings, []);
}

#[test]
fn the_shipped_gateway_file_spells_every_default() {
    let text = std::fs::read_to_string("gateway.toml").unwrap();
    let mut faults = Vec::new();
    let shipped = doc::Doc::parse("gateway.toml", &text, &mut faults);
    let schema = schema::Schema::of::<GatewayFile>();
    let written: GatewayFile = de::read(&shipped.root).unwrap_or_else(|e| panic!("{e}"));
    let default = GatewayFile::default();
    for section in schema.keys_below(&[]) {
        let here = shipped.root.get(section).unwrap_or_else(|| panic!("gateway.toml has no `{section}`"));
        for key in schema.keys_below(&[section]) {
            assert!(here.get(key).is_some(), "gateway.toml has no `{key}` in [{section}]");
        }
    }
    // Every section with a default of its own, field by field.
    let debug = |part: &dyn std::fmt::Debug| format!("{part:#?}");
    assert_eq!(debug(&written.mode), debug(&default.mode));
    assert_eq!(debug(&written.shards), debug(&default.shards));
    assert_eq!(debug(&written.http), debug(&default.http));
    assert_eq!(debug(&written.limits), debug(&default.limits));
    assert_eq!(debug(&written.log), debug(&default.log));
    assert_eq!(debug(&written.audit), debug(&default.audit));
    assert_eq!(debug(&written.reload), debug(&default.reload));
    assert_eq!(debug(&written.script), debug(&default.script));
    assert_eq!(debug(&written.store), debug(&default.store));
    assert_eq!(debug(&written.tls), debug(&default.tls));
    let mut named =
        vec!["mode", "shards", "http", "limits", "log", "audit", "reload", "listener", "key", "api_key", "tls"];
    named.extend(["script", "store"]);
    let unknown: Vec<_> = schema.keys_below(&[]).into_iter().filter(|k| !named.contains(k)).collect();
    assert_eq!(unknown, [""; 0], "compare these with their defaults too");
}

#[test]
fn what_is_no_file_is_a_fault_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
    let told = || {
        let faults = match read_with(&folder.path().join("gateway.toml"), &[]) {
            Ok(made) => made.warnings,
            Err(faults) => faults,
        };
        let root = format!("{}/", folder.path().display());
        faults.iter().map(|f| f.to_string().replace(&root, "")).collect::<Vec<_>>()
    };
    assert_eq!(told().last().map(String::as_str), Some("gateway.toml: this file does not exist"));
    put("gateway.toml", b"[listener.main]\naddress = \"127.0.0.1:0\"\n");
    assert!(told()[0].starts_with("channels: this folder does not exist\n  expected a folder"), "{:?}", told());
    std::fs::create_dir(folder.path().join("channels")).unwrap();
    assert_eq!(told(), ["channels: this folder has no NAME.toml: the gateway has no app"]);
    std::fs::create_dir(folder.path().join("channels/folder.toml")).unwrap();
    put("channels/.hidden.toml", b"?");
    put("channels/big.toml", &vec![b'#'; (1 << 20) + 1]);
    put("channels/latin.toml", b"# caf\xe9\n");
    put("channels/Upper Case.toml", b"# an app\n");
    assert_eq!(
        told(),
        [
            "channels/Upper Case.toml: `Upper Case` is no name for an app\n  expected a file name of `a` to `z`, `0` to `9`, `_` and `-`, such as clinic.toml",
            "channels/big.toml: this file is larger than 1 MiB",
            "channels/folder.toml: this file is a folder, not a file",
            "channels/latin.toml: this file is not UTF-8 text (line 1)",
        ]
    );
}

#[test]
fn a_reload_keeps_the_numbers_of_apps() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = folder.path().join("gateway.toml");
    let app = |name: &str| folder.path().join(format!("channels/{name}.toml"));
    std::fs::create_dir(folder.path().join("channels")).unwrap();
    std::fs::write(&gateway, "[listener.main]\naddress = \"127.0.0.1:0\"\n").unwrap();
    std::fs::write(app("b"), "# b\n").unwrap();
    let load = |previous: Option<&Compiled>| read_after(previous, &gateway, &[]).ok().unwrap();
    let ids = |made: &Compiled| made.apps.iter().map(|a| (a.flow.name.to_string(), a.flow.id.0)).collect::<Vec<_>>();
    let first = load(None);
    std::fs::write(app("a"), "# a\n").unwrap();
    let second = load(Some(&first));
    assert_eq!(ids(&second), [("a".to_owned(), 1), ("b".to_owned(), 0)]);
    assert_ne!(first.digest, second.digest);
    std::fs::remove_file(app("a")).unwrap();
    let third = load(Some(&second));
    assert_eq!((ids(&third), &third.digest), (vec![("b".to_owned(), 0)], &first.digest));
    std::fs::write(app("c"), "# c\n").unwrap();
    assert_eq!(ids(&load(Some(&third))), [("b".to_owned(), 0), ("c".to_owned(), 2)]);
}

#[test]
fn settings_know_their_listener_and_development_its_secrets() {
    let made = read_with(Path::new("gateway.toml"), &[("WS_PORT", "4001"), ("WEIR_API_KEY", "k")]).ok().unwrap();
    let clinic = made.apps.iter().find(|a| &*a.flow.name == "clinic").unwrap();
    assert_eq!(clinic.flow.settings["ws_url"], "ws://localhost:4001");
    assert_eq!(made.listeners["clinic"].address, "127.0.0.1:4001");
    assert_eq!(made.overrides, ["WS_PORT"]);
    assert!(made.made_up.contains(&"JWT_SECRET".to_owned()) && !made.made_up.contains(&"WEIR_API_KEY".to_owned()));
    assert!(made.files.keys().any(|f| f.ends_with("clinic-users.json")));
}

/// A folder with these files and a listener, and what is told of it: faults, or else warnings.
fn told_of(files: &[(&str, &[u8])], env: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let gateway = "[listener.main]\naddress = \"127.0.0.1:0\"\n";
    for (name, text) in [("gateway.toml", gateway.as_bytes()), ("channels/a.toml", b"# a\n")].iter().chain(files) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let read = read_with(&folder.path().join("gateway.toml"), env);
    let root = format!("{}/", folder.path().display());
    let told = match &read {
        Ok(made) => &made.warnings,
        Err(faults) => faults,
    };
    told.iter().map(|f| f.to_string().replace(&root, "").lines().next().unwrap().to_owned()).collect()
}

#[test]
fn a_mistake_is_told_where_it_is() {
    let table = b"[table.users]\nfile = \"data/users.json\"\n";
    let users = |text: &'static [u8]| told_of(&[("channels/a.toml", table), ("channels/data/users.json", text)], &[]);
    assert_eq!(
        users(b"{\n  \"u1\": {},\n  \"u2\": {\n    \"role\": }\n}"),
        ["channels/data/users.json:4:13: not a table: expected value"]
    );
    assert_eq!(
        users("{\"ü\": {}, \"ü\": {}}".as_bytes()),
        ["channels/data/users.json:1:13: not a table: key `ü` comes twice"]
    );
    assert_eq!(users(b""), ["channels/data/users.json:1:1: not a table: EOF while parsing a value"]);
    // As editors of another system write it.
    assert_eq!(
        users(b"\xef\xbb\xbf{\r\n\"u1\": {}\r\n}\r\n"),
        ["channels/a.toml:1:8: no rule and no auth looks into the table `users`"]
    );
    assert_eq!(told_of(&[("channels/a.toml", b"\xef\xbb\xbf# an app\r\n")], &[]), [""; 0]);
    let key = b"[listener.main]\naddress = \"127.0.0.1:0\"\n[key.k]\nalgorithms = [\"RS256\"]\npublic = { file = \"k.pem\" }\n";
    let keys = |text: &'static [u8]| told_of(&[("gateway.toml", key), ("k.pem", text)], &[]);
    assert_eq!(
        keys(b"# mine\n-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        ["k.pem:2:1: not a public key for `RS256`"]
    );
    let tls = b"[listener.main]\naddress = \"127.0.0.1:0\"\ntls = { cert = \"c.pem\", key = \"k.pem\" }\n";
    let told = told_of(
        &[
            ("gateway.toml", tls),
            ("c.pem", b"x\n-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n"),
            ("k.pem", b"x\n"),
        ],
        &[],
    );
    assert!(told[0].starts_with("c.pem:2:1: no certificate can be read here"), "{told:?}");
    assert!(told[1].starts_with("k.pem:1:1: no private key can be read here"), "{told:?}");
}

/// A check's request is decoded as a client's is: a `+` is a space in the query only, and broken escapes match nothing.
#[test]
fn a_check_asks_as_a_client_would() {
    let told = |request: &str, rule: &str| {
        let app = format!(
            "listener = \"main\"\n[[endpoint]]\npath = \"/größe/{{n}}\"\ndialect = \"d\"\n[dialect.d]\ntype = \"type\"\n\
             [[channel]]\nname = \"c\"\nsubscribe = '{rule}'\n\
             [[check]]\ndoes = \"subscribe\"\non = \"c\"\nrequest = \"{request}\"\nexpect = \"allowed\"\n"
        );
        told_of(&[("channels/a.toml", app.as_bytes())], &[])
    };
    for (request, rule) in [
        ("/gr%C3%b6%C3%9Fe/a+b%2Fc?q=a+b%2B&q2=%ff", "request.vars.n == \"a+b/c\" && request.query.q == \"a b+\""),
        ("/größe/1?q=%ff&q=%zz&q=2", "request.query.q == \"2\""),
    ] {
        assert_eq!(told(request, rule), [""; 0], "{request}");
    }
    let refused = ["channels/a.toml:14:10: somebody anonymous may not subscribe to `c`"];
    assert_eq!(told("/größe/%ff", "request.vars.n != \"\""), refused);
}

#[test]
fn all_that_is_missing_is_told_with_the_other_mistakes() {
    let gateway = b"mode = \"production\"\nnonsense = 1\n[listener.main]\naddress = \"127.0.0.1:0\"\n[key.k]\nalgorithms = [\"HS256\"]\nsecret = { env = \"K\" }\n[api_key.a]\nsecret = { env = \"A\" }\n";
    let app = b"nonsense = 1\n[auth.h]\ntype = \"hmac\"\nsecret = { file = \"h\" }\n[settings]\nx = { env = \"X\" }\n";
    let told = told_of(&[("gateway.toml", gateway), ("channels/a.toml", app)], &[("A", "there")]);
    let wanted = [
        "channels/a.toml:1:1: unknown key `nonsense`",
        "channels/a.toml:4:10: channels/h does not exist",
        "gateway.toml:2:1: unknown key `nonsense`",
        "gateway.toml:7:10: the secret `K` is not set in the environment",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn what_nothing_reads_is_told() {
    let app = b"[env]\nA = \"settings.a\"\nB = \"settings.b\"\nC = \"\"\n[settings]\na = 1\nb = 2\n[dialect.d]\nsend.pong = { b = \"{settings.b}\" }\nreceive.ping = { do = \"ping\" }\n[[endpoint]]\npath = \"/\"\nlistener = \"main\"\ndialect = \"d\"\nauth = []\n";
    let told = told_of(&[("channels/a.toml", app)], &[("C", "5")]);
    let wanted = [
        "channels/a.toml:2:5: nothing reads `settings.a`: it has no effect",
        "channels/a.toml:6:5: nothing reads `settings.a`: it has no effect",
        "channels/a.toml:8:10: the dialect `d` has no `send.error`: refused messages are not answered",
        "environment: C: this variable has no effect",
    ];
    wanted.iter().for_each(|wanted| assert!(told.iter().any(|told| told == wanted), "{wanted}: {told:#?}"));
    assert!(!told.iter().any(|told| told.contains("settings.b")), "{told:#?}");
}

/// Own generator: the same mutations on every machine.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

#[test]
fn no_mutation_of_the_shipped_files_panics() {
    const PIECES: &[&str] = &[
        "\"",
        "'",
        "'''",
        "[",
        "]",
        "[[",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "#",
        "\\u0000",
        "é",
        "\u{feff}",
        "-",
        "9999999999999999999",
        "true",
        "\"off\"",
        "{*x}",
        "{",
        "::",
        "0",
        "1.5",
        "nan",
        "channel",
        "limits",
        "name = 1\n",
        "[a.b.c]\n",
        "a.b.c.d = 1\n",
        "1979-05-27",
    ];
    let files = ["gateway.toml", "channels/reports.toml", "channels/clinic.toml"];
    let shipped = files.map(|f| std::fs::read_to_string(f).unwrap());
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("channels/data")).unwrap();
    std::fs::copy("channels/data/clinic-users.json", folder.path().join("channels/data/clinic-users.json")).unwrap();
    std::fs::create_dir_all(folder.path().join("plugins")).unwrap();
    for plugin in ["reports.rhai", "clinic.rhai"] {
        std::fs::copy(format!("plugins/{plugin}"), folder.path().join("plugins").join(plugin)).unwrap();
    }
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..200 {
        for (name, text) in files.iter().zip(&shipped) {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let which = random.below(files.len());
        let mut text: Vec<char> = shipped[which].chars().collect();
        for _ in 0..1 + random.below(3) {
            let at = random.below(text.len());
            match random.below(4) {
                0 => drop(text.drain(at..(at + 1 + random.below(30)).min(text.len()))),
                1 => drop(text.splice(at..at, PIECES[random.below(PIECES.len())].chars())),
                2 => {
                    let piece: Vec<char> = text[at..(at + random.below(80)).min(text.len())].to_vec();
                    let to = random.below(text.len());
                    drop(text.splice(to..to, piece));
                }
                _ => text[at] = char::from(32 + random.below(95) as u8),
            }
        }
        let text: String = text.into_iter().collect();
        std::fs::write(folder.path().join(files[which]), &text).unwrap();
        match read_with(&folder.path().join("gateway.toml"), &[("WS_PORT", "0"), ("WEIR_LIMITS__MEMORY", "1GiB")]) {
            Ok(_) => good += 1,
            Err(faults) => {
                bad += 1;
                assert!(!faults.is_empty(), "refused without a fault:\n{text}");
                let lines = text.lines().count().max(shipped.iter().map(|s| s.lines().count()).max().unwrap_or(0)) + 1;
                assert!(faults.iter().all(|f| f.line as usize <= lines), "{faults:#?}");
            }
        }
    }
    println!("{good} mutations passed, {bad} were told");
    assert!(good > 0 && bad > 50);
}
