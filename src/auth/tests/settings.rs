//! Settings as files have them, and what is wrong with others.

use super::*;

fn problems(settings: Value) -> Vec<(String, String)> {
    let keys = Keys::compile(&BTreeMap::new(), &resolve, &Fetcher::new(Handle::current()), None).unwrap();
    let compiled = Authenticator::compile("x", &parse(settings), &keys, &Tables::default(), &|_, _| {
        Err("no WS_TOKEN_SECRET".into())
    });
    compiled.unwrap_err().into_iter().map(|p| (p.path, p.what)).collect()
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let told = problems(json!({
        "type": "jwt", "keys": ["jwt"], "from": ["query:token", "cooky:token"], "table": "users",
        "missing": { "close": 1005 }, "failed": { "close": 4001, "reason": "x".repeat(124) },
    }));
    let told: Vec<_> = told.iter().map(|(path, what)| (path.as_str(), what.as_str())).collect();
    assert_eq!(
        told,
        [
            ("keys[0]", "unknown key `jwt`"),
            ("table", "unknown table `users`"),
            ("from[1]", "unknown place of a token `cooky:token`"),
            ("missing.close", "1005 is not a code that a close frame may carry"),
            ("failed.reason", "a close reason of 124 bytes"),
        ]
    );
    let told = problems(json!({ "type": "hmac", "secret": { "env": "WS_TOKEN_SECRET" }, "from": [], "ttl": 0 }));
    let paths: Vec<_> = told.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["ttl", "from", "secret"]);
}

#[tokio::test]
async fn a_table_that_cannot_do_is_told_when_files_load() {
    for (settings, path, what) in [
        (json!({}), "users", "a table from nowhere, or from several places"),
        (json!({ "url": "https://x/" }), "users.url", "an address without `{key}`"),
        (json!({ "url": "https://{key}.x/" }), "users.url", "an address whose host depends on the key"),
        (json!({ "url": "/{key}" }), "users.url", "not an http or https address"),
        (json!({ "url": "http://x/{key}", "headers": { "a b": "c" } }), "users.headers.a b", "not a header's name"),
        (
            json!({ "url": "http://x/{key}", "bearer": { "env": "a\nb" } }),
            "users.bearer",
            "a secret that no header may have",
        ),
        (json!({ "file": "data/users.json" }), "users.file", "no files"),
        (json!({ "rows": { "u1": 5 } }), "users.rows.u1", "not a row"),
    ] {
        let problems = tables(json!({ "users": settings })).unwrap_err();
        assert_eq!((problems[0].path.as_str(), problems[0].what.as_str()), (path, what));
    }
}

#[test]
fn unknown_keys_are_not_passed_over() {
    let jwt = json!({ "type": "jwt", "keys": ["jwt"], "leway": "30s" });
    assert!(serde_json::from_value::<Settings>(jwt).unwrap_err().to_string().contains("unknown field `leway`"));
    let hmac = json!({ "type": "hmac", "secret": { "env": "X" }, "keys": [] });
    assert!(serde_json::from_value::<Settings>(hmac).is_err());
    assert!(serde_json::from_value::<Settings>(json!({ "type": "none" })).is_err());
}

/// The schema is what tells operators of unknown keys, so each kind must close its own set of them.
#[test]
fn the_schema_closes_each_kind() {
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    let kinds = schema["oneOf"].as_array().unwrap();
    assert_eq!(kinds.len(), 3);
    for kind in kinds {
        assert_eq!(kind["additionalProperties"], json!(false));
        assert!(kind["properties"]["type"]["const"].is_string());
    }
}
