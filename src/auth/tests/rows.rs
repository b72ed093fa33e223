//! Tables: in files, and behind a URL.

use super::*;

const NOW: Mono = Mono::from_ms(super::NOW);

fn users(url: &str) -> Value {
    json!({ "users": {
        "url": format!("{url}/users/{{key}}"), "timeout": "30s", "ttl": "60s", "negative_ttl": "10s", "stale_for": "5m",
        "bearer": { "env": "s3cret" }, "headers": { "x-from": "weir" }, "bytes": "1KiB",
    } })
}

async fn ask(source: &mut Source, table: &Table, key: &str, now: Mono, status: u16, body: &str) -> Option<Value> {
    let answer = async { source.next().await.answer(status, body) };
    let (row, ()) = tokio::join!(table.row(key, now), answer);
    row.unwrap().map(|row| Value::Object((*row).clone()))
}

async fn known(table: &Table, key: &str, now: Mono) -> Option<Value> {
    table.row(key, now).await.unwrap().map(|row| Value::Object((*row).clone()))
}

#[tokio::test]
async fn a_row_is_asked_for_once_however_many_want_it() {
    let mut source = Source::start().await;
    let tables = tables(users(&source.url)).unwrap();
    let table = tables.get("users").unwrap();
    assert_eq!(table.cached("u1", NOW), Lookup::Unknown);
    let answer = async {
        let asked = source.next().await;
        assert_eq!(asked.path, "/users/u1");
        assert_eq!(asked.headers["authorization"], "Bearer s3cret");
        assert_eq!(asked.headers["x-from"], "weir");
        asked.answer(200, json!({ "role": "admin" }));
    };
    let (a, b, c, ()) = tokio::join!(table.row("u1", NOW), table.row("u1", NOW), table.row("u1", NOW + 5), answer);
    let expected = Arc::new(row(json!({ "role": "admin" })));
    for row in [a, b, c] {
        assert_eq!(row, Ok(Some(expected.clone())));
    }
    assert_eq!(table.cached("u1", NOW), Lookup::Row(expected));
    known(table, "u1", NOW + 59_999).await.unwrap();
    assert!(source.is_idle());
}

#[tokio::test]
async fn a_missing_row_counts_as_missing_for_a_while() {
    let mut source = Source::start().await;
    let tables = tables(users(&source.url)).unwrap();
    let table = tables.get("users").unwrap();
    assert_eq!(ask(&mut source, table, "nobody", NOW, 404, "").await, None);
    assert_eq!(table.cached("nobody", NOW), Lookup::Absent);
    assert_eq!(known(table, "nobody", NOW + 9_999).await, None);
    assert!(source.is_idle());
    assert!(ask(&mut source, table, "nobody", NOW + 10_000, 200, "{}").await.is_some());
}

#[tokio::test]
async fn an_old_row_is_used_while_its_source_fails() {
    let mut source = Source::start().await;
    let tables = tables(users(&source.url)).unwrap();
    let table = tables.get("users").unwrap();
    let old = Some(json!({ "n": 1 }));
    assert_eq!(ask(&mut source, table, "u1", NOW, 200, "{\"n\":1}").await, old);
    for (n, (status, body)) in
        [(500, ""), (200, "[1]"), (200, "null"), (301, ""), (200, &*format!("\"{}\"", "x".repeat(2000)))]
            .into_iter()
            .enumerate()
    {
        let now = NOW + 60_000 + 1_000 * n as u64;
        assert_eq!(ask(&mut source, table, "u1", now, status, body).await, old);
        // For a second, those who come are not made to wait for a source that fails.
        assert_eq!(known(table, "u1", now + 999).await, old);
        assert!(source.is_idle());
    }
    let end = NOW + 60_000 + 300_000;
    assert!(matches!(table.cached("u1", end.before(1)), Lookup::Row(_)));
    assert_eq!(table.cached("u1", end), Lookup::Unknown);
    let answer = async { source.next().await.answer(503, "") };
    let (gone, ()) = tokio::join!(table.row("u1", end), answer);
    assert_eq!(gone.unwrap_err().to_string(), "table `users` is not available");
}

#[tokio::test]
async fn a_source_that_never_answers_does_not_hold_anybody_for_ever() {
    let mut source = Source::start().await;
    let mut settings = users(&source.url);
    settings["users"]["timeout"] = json!("20ms");
    let tables = tables(settings).unwrap();
    let (row, asked) = tokio::join!(tables.get("users").unwrap().row("u1", NOW), source.next());
    assert!(row.is_err());
    drop(asked);
    let nobody_there = tables_at("http://127.0.0.1:1");
    assert!(nobody_there.get("users").unwrap().row("u1", NOW).await.is_err());
}

fn tables_at(url: &str) -> Tables {
    tables(users(url)).unwrap()
}

#[tokio::test]
async fn the_version_rises_when_a_row_that_was_handed_out_changes() {
    let mut source = Source::start().await;
    let tables = tables(users(&source.url)).unwrap();
    let table = tables.get("users").unwrap();
    ask(&mut source, table, "u1", NOW, 200, "{\"n\":1}").await;
    assert_eq!(table.version(), 0);
    ask(&mut source, table, "u1", NOW + 60_000, 200, "{\"n\":1}").await;
    assert_eq!(table.version(), 0);
    ask(&mut source, table, "u1", NOW + 120_000, 200, "{\"n\":2}").await;
    assert_eq!((table.version(), tables.version()), (1, 1));
    // A look-up nobody waits for; who asks meanwhile joins it.
    table.prepare("u1", NOW + 180_000);
    ask(&mut source, table, "u1", NOW + 180_000, 404, "").await;
    assert_eq!(table.version(), 2);
    // A reload with the same source keeps rows and version; with another it raises the version.
    let fetcher = Fetcher::new(Handle::current());
    let compile = |settings: Value| {
        Tables::compile(&parse(settings), &|_| Err(String::new()), &resolve, &fetcher, Some(&tables)).unwrap()
    };
    let same = compile(users(&source.url));
    assert_eq!((same.version(), same.get("users").unwrap().cached("u1", NOW + 180_000)), (2, Lookup::Absent));
    let mut other = users(&source.url);
    other["users"]["bearer"]["env"] = json!("another");
    let other = compile(other);
    assert_eq!((other.version(), other.get("users").unwrap().cached("u1", NOW + 180_000)), (3, Lookup::Unknown));
}

/// Who was not asked for must not wait for the next `ttl`, in the same order each time.
#[tokio::test]
async fn what_is_not_asked_for_because_of_too_many_is_known() {
    let source = Source::start().await;
    let tables = tables(users(&source.url)).unwrap();
    let table = tables.get("users").unwrap();
    (0..256).for_each(|n| table.prepare(&format!("u{n}"), NOW));
    assert!(!tables.take_unasked());
    table.prepare("one more", NOW);
    assert_eq!((tables.take_unasked(), tables.take_unasked()), (true, false));
}

#[tokio::test]
async fn only_so_many_rows_are_kept_and_those_in_use_stay() {
    let mut source = Source::start().await;
    let mut settings = users(&source.url);
    settings["users"]["entries"] = json!(4);
    let tables = tables(settings).unwrap();
    let table = tables.get("users").unwrap();
    for n in 0..20 {
        ask(&mut source, table, &format!("u{n}"), NOW, 200, "{}").await;
        assert!(matches!(table.cached("u0", NOW), Lookup::Row(_)), "after {n}");
    }
    let kept = (0..20).filter(|n| table.cached(&format!("u{n}"), NOW) != Lookup::Unknown).count();
    assert!(kept <= 4, "{kept}");
}

#[tokio::test]
async fn a_key_cannot_lead_elsewhere() {
    let mut source = Source::start().await;
    let tables = tables(users(&source.url)).unwrap();
    let table = tables.get("users").unwrap();
    for (key, path) in
        [("../admin", "/users/..%2Fadmin"), ("a?b#c", "/users/a%3Fb%23c"), ("é %", "/users/%C3%A9%20%25")]
    {
        let answer = async {
            let asked = source.next().await;
            assert_eq!(asked.path, path);
            asked.answer(404, "");
        };
        tokio::join!(table.row(key, NOW), answer).0.unwrap();
    }
    for key in ["", ".", "..", &"x".repeat(257)] {
        assert_eq!(table.row(key, NOW).await, Ok(None));
    }
    assert!(source.is_idle());
}

#[tokio::test]
async fn a_users_row_goes_before_its_token_and_a_tenant_may_be_the_key() {
    let tables = tables(json!({
        "users": { "rows": { "ann": { "role": "admin", "iss": "row" } } },
        "tenants": { "rows": { "acme": { "status": "active" }, "gone": { "status": "closed" } } },
    }))
    .unwrap();
    let keys = keys(json!({ "jwt": { "algorithms": ["HS256"], "secret": { "env": SECRET } } })).unwrap();
    let jwt = json!({ "type": "jwt", "keys": ["jwt"], "from": ["message"] });
    let mut by_user = jwt.clone();
    by_user["table"] = json!("users");
    let token = hs256(json!({ "sub": "ann", "exp": at(60), "role": "guest", "roles": ["guest"] }));
    let ann = admitted(&auth_with(by_user.clone(), &keys, &tables), &token).await;
    assert_eq!((ann.claim("role"), ann.claim("roles")), (Some(&json!("admin")), Some(&json!(["admin"]))));
    let ben = hs256(json!({ "sub": "ben", "exp": at(60) }));
    assert_eq!(refused(&auth_with(by_user.clone(), &keys, &tables), &ben).await, Cause::UnknownUser);
    by_user["unknown"] = json!("allow");
    by_user["defaults"] = json!({ "role": "free" });
    assert_eq!(admitted(&auth_with(by_user.clone(), &keys, &tables), &ben).await.claim("role"), Some(&json!("free")));
    // A row does not say who issued a token.
    by_user["require"] = json!({ "iss": "row" });
    assert_eq!(refused(&auth_with(by_user, &keys, &tables), &token).await, Cause::Claims);
    let mut by_tenant = jwt;
    by_tenant["table"] = json!("tenants");
    by_tenant["table_key"] = json!("tenantId");
    by_tenant["require"] = json!({ "status": "active" });
    let by_tenant = auth_with(by_tenant, &keys, &tables);
    let of = |tenant: &str| hs256(json!({ "sub": "ann", "exp": at(60), "tenantId": tenant }));
    admitted(&by_tenant, &of("acme")).await;
    assert_eq!(refused(&by_tenant, &of("gone")).await, Cause::Claims);
    assert_eq!(refused(&by_tenant, &of("other")).await, Cause::UnknownUser);
    assert_eq!(refused(&by_tenant, &hs256(json!({ "sub": "ann", "exp": at(60) }))).await, Cause::UnknownUser);
}

#[test]
fn a_json_file_is_a_table_and_mistakes_have_a_place() {
    let table = Table::from_json("users", b"{\"u2\": {\"role\": \"a\"}, \"u1\": {}}").unwrap();
    assert_eq!(table.first_key(), Some("u2"));
    assert!(matches!(table.cached("u1", NOW), Lookup::Row(_)));
    assert_eq!(table.cached("u3", NOW), Lookup::Absent);
    for (text, what, offset) in [
        ("{\n  \"u1\": {},\n  \"u1\": {}\n}", "not a table: key `u1` comes twice", (3, 6)),
        ("{\n  \"u1\": 5\n}", "not a table: invalid type: integer `5`, expected a map", (2, 9)),
        ("{} x", "not a table: trailing characters", (1, 4)),
        ("", "not a table: EOF while parsing a value", (1, 1)),
    ] {
        let problem = Table::from_json("users", text.as_bytes()).unwrap_err();
        assert_eq!((problem.path.as_str(), problem.what.as_str(), problem.offset), ("file", what, Some(offset)));
    }
}

#[tokio::test]
async fn a_source_whose_certificate_nobody_vouches_for_is_not_believed() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("https://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
    let served = async {
        let (stream, _) = listener.accept().await.unwrap();
        tokio_rustls::TlsAcceptor::from(Arc::new(tls)).accept(stream).await.map(drop)
    };
    let timeout = std::time::Duration::from_secs(30);
    let ask = fetch::Ask { uri, headers: HeaderMap::new(), timeout, bytes_max: 1000 };
    let fetcher = Fetcher::new(Handle::current());
    let (got, shaken) = tokio::join!(fetcher.get(ask), served);
    assert!(shaken.is_err());
    let told = got.unwrap_err().to_string();
    assert!(told.contains("invalid peer certificate"), "{told}");
}

#[test]
fn a_number_that_would_be_rounded_is_told_at_load() {
    let rows = br#"{"a":{"owner":18446744073709551615},"b":{"owner":18446744073709551616}}"#;
    let told = Table::from_json("orgs", rows).unwrap_err().what;
    assert!(told.contains("`owner` of `b` is a number of more than 64 bits"), "{told}");
    let rows = json!({ "a": { "owner": [1e19] } });
    assert_eq!(Table::from_rows("orgs", rows.as_object().unwrap()).unwrap_err().path, "rows.a.owner");
}
