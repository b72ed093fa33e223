//! What is wrong with routes and keys is told when the files are loaded.

use super::*;

async fn problems(routes: Value, errors: Value) -> Vec<String> {
    let files = Files { name: "clinic", endpoints: json!([]), routes, errors, channels: json!([]) };
    let problems = compile(&files, &made(), true).err().unwrap_or_default();
    problems.into_iter().map(line).collect()
}

fn line(p: Problem) -> String {
    let expected = p.expected.map(|e| format!(", expected {e}")).unwrap_or_default();
    let hint = p.hint.map(|h| format!(", {h}")).unwrap_or_default();
    format!("{}: {}{expected}{hint}", p.path, p.what)
}

#[tokio::test]
async fn each_mistake_in_a_route_says_where_and_what() {
    for (route, path, says) in [
        (json!({ "get": "/a", "access": "public" }), "route[0]", "does nothing"),
        (json!({ "access": "public", "reply": 1 }), "route[0]", "without a method"),
        (json!({ "get": "/a", "post": "/a", "access": "public", "reply": 1 }), "route[0]", "several methods"),
        (json!({ "get": "a", "access": "public", "reply": 1 }), "route[0].get", "does not begin with `/`"),
        (json!({ "get": "/{*a}/b", "access": "public", "reply": 1 }), "route[0].get", "nothing may follow"),
        (json!({ "get": "/{a}/{a}", "access": "public", "reply": 1 }), "route[0].get", "no variable of its own"),
        (json!({ "get": "/x{a}", "access": "public", "reply": 1 }), "route[0].get", "no segment"),
        (
            json!({ "get": "/a", "access": "public", "do": "connectoins", "reply": "{connections}" }),
            "route[0].do",
            "did you mean `connections`?",
        ),
        (json!({ "get": "/a", "access": "public", "reply": "{nwo}" }), "route[0].reply", "did you mean `now`?"),
        (
            json!({ "get": "/a", "access": "public", "reply": { "x": ["{settings.ws_ulr}"] } }),
            "route[0].reply.x[0]",
            "did you mean `ws_url`?",
        ),
        (json!({ "get": "/a", "access": "public", "reply": "{body.x}" }), "route[0].reply", "has no body"),
        (json!({ "get": "/a", "access": "public", "reply": "{user.id}" }), "route[0].reply", "knows no user"),
        (json!({ "get": "/a/{id}", "access": "public", "reply": "{path.di}" }), "route[0].reply", "did you mean `id`?"),
        (
            json!({ "get": "/a", "access": "public", "reply": "{stats.by.role}" }),
            "route[0].reply",
            "`count = [\"role\"]`",
        ),
        (json!({ "get": "/a", "access": "public", "reply": "{recipients}" }), "route[0].reply", "unknown placeholder"),
        (
            json!({ "post": "/a", "access": "public", "do": "publish", "with": { "chanel": "x", "channel": "y", "data": 1 } }),
            "route[0].with.chanel",
            "did you mean `channel`?",
        ),
        (
            json!({ "post": "/a", "access": "public", "do": "publish", "with": { "channel": "x" } }),
            "route[0].with",
            "cannot do without `data`",
        ),
        (
            json!({ "post": "/a", "access": "public", "do": "publish", "with": { "channel": "x", "data": "{recipients}" } }),
            "route[0].with.data",
            "unknown placeholder",
        ),
        (
            json!({ "get": "/a", "access": { "auth": ["sesion"] }, "reply": 1 }),
            "route[0].access.auth[0]",
            "did you mean `session`?",
        ),
        (
            json!({ "get": "/a", "access": { "auth": ["session"], "rule": "user.role ==" }, "reply": 1 }),
            "route[0].access.rule",
            "",
        ),
        (
            json!({ "get": "/a", "access": { "auth": ["session"], "else_first_of": "user" }, "reply": 1 }),
            "route[0].access.else_first_of",
            "did you mean `users`?",
        ),
        (
            json!({ "get": "/a", "access": { "secret": { "env": "UNSET" } }, "reply": 1 }),
            "route[0].access.secret",
            "not set",
        ),
        (
            json!({ "get": "/a", "access": { "secret": { "env": "A" }, "from": ["cookie:x"] }, "reply": 1 }),
            "route[0].access.from[0]",
            "unknown place",
        ),
        (
            json!({ "get": "/a", "access": { "auth": ["session"] }, "do": "issue_token", "with": { "auth": "hmca", "user": "{user.id}" } }),
            "route[0].with.auth",
            "did you mean `hmac`?",
        ),
        (
            json!({ "get": "/a", "access": "public", "reply": 1, "error": { "unautorized": { "body": 1 } } }),
            "route[0].error.unautorized",
            "did you mean `unauthorized`?",
        ),
        (
            json!({ "get": "/a", "access": "public", "reply": 1, "error": { "internal": { "status": 99, "body": 1 } } }),
            "route[0].error.internal.status",
            "99",
        ),
        (
            json!({ "get": "/a", "access": "public", "reply": 1, "limit": { "burst": 0, "per": "1m" } }),
            "route[0].limit",
            "lets nobody pass",
        ),
        (
            json!({ "post": "/a", "access": "public", "reply": 1, "need": { "query.x": "string" } }),
            "route[0].need.query.x",
            "no part of a body",
        ),
    ] {
        let told = problems(json!([route.clone()]), json!({})).await;
        assert!(
            told.len() == 1 && told[0].starts_with(&format!("{path}: ")) && told[0].contains(says),
            "{route}\n{told:?}"
        );
    }
    let told = problems(json!([]), json!({ "not_fuond": { "body": 1 } })).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("errors.not_fuond: ") && told[0].ends_with("did you mean `not_found`?"), "{told:?}");
}

#[tokio::test]
async fn routes_that_overlap_are_told() {
    let made = made();
    let app = |name, paths: &[&str]| {
        let routes = paths.iter().map(|p| json!({ "get": p, "access": "public", "reply": 1 })).collect();
        let files = Files { name, endpoints: json!([]), routes, errors: json!({}), channels: json!([]) };
        compile(&files, &made, true).unwrap()
    };
    let told = |apps| {
        let problems = Site::compile(&[("clinic", false, None)], Keys::default(), Pages::default(), apps)
            .err()
            .unwrap_or_default();
        problems.into_iter().map(|(app, p)| format!("{app} {}", line(p))).collect::<Vec<_>>()
    };
    assert!(told(vec![app("a", &["/x/{id}", "/x/all", "/y"]), app("b", &["/z/{*rest}"])]).is_empty());
    let same = told(vec![app("a", &["/x/{id}", "/x/{name}"])]);
    assert_eq!(same, ["a route[1].get: `GET /x/{name}` is route[0] already, expected one route for it"]);
    let other = told(vec![app("a", &["/x"]), app("b", &["/x"])]);
    assert_eq!(other, ["b route[0].get: `GET /x` is route[0] of app `a` already, expected one route for it"]);
    let own = told(vec![app("a", &["/api/publish", "/api/connections/{id}", "/api/batch", "/api/other"])]);
    assert_eq!(own.len(), 3, "{own:?}");
}

#[tokio::test]
async fn each_mistake_in_a_key_is_told() {
    let keys = read(json!({
        "a": { "secret": { "env": "A" }, "apps": ["clinc"], "verbs": ["publsh"], "channels": ["a::b"] },
        "b": { "secret": { "env": "A" } },
        "c": { "secret": { "env": "UNSET" } },
        "d": { "secret": { "env": "EMPTY" } },
    }));
    let told: Vec<String> = Keys::compile(&keys, &["clinic"], &resolve).unwrap_err().into_iter().map(line).collect();
    assert_eq!(told.len(), 6, "{told:?}");
    for (told, (path, says)) in told.iter().zip([
        ("a.apps[0]", "did you mean `clinic`?"),
        ("a.verbs[0]", "did you mean `publish`?"),
        ("a.channels[0]", "empty segment"),
        ("b.secret", "the same secret as `api_key.a`"),
        ("c.secret", "not set"),
        ("d.secret", "an empty secret"),
    ]) {
        assert!(told.starts_with(&format!("{path}: ")) && told.contains(says), "{told}");
    }
}

#[tokio::test]
async fn a_route_takes_all_that_its_verb_does() {
    let with = json!({ "channel": "a", "data": 1, "priority": "high", "event": "e", "key": "k" });
    let route = json!({ "post": "/a", "access": "public", "do": "publish", "with": with });
    assert_eq!(problems(json!([route]), json!({})).await, [""; 0]);
}
