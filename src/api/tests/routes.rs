//! Routes as apps' files describe them.

use super::*;
use crate::auth::Issue;

fn clinic() -> Value {
    let unauthorized = json!({ "status": 401, "body": { "error": "Unauthorized" } });
    let invalid = json!({ "status": 400, "body": { "error": "Invalid message payload" } });
    let with = json!({ "message": "{body.message}", "filter": { "users": "{body.filter.userIds}",
        "claims": { "clinicId": "{body.filter.clinicIds}", "role": "{body.filter.roles}" }, "channels": "{body.filter.channels}" }, "empty_lists": "everybody" });
    json!([
        { "get": "/health", "access": "public", "count": ["role"],
            "reply": { "ok": true, "uptime": "{stats.uptime_s}", "memory": "{stats.memory}", "clients": "{stats.connections}",
                "byRole": "{stats.by.role}", "history": "{stats.history}", "errors": "{stats.errors}" } },
        { "post": "/broadcast", "access": { "secret": { "env": "ADMIN" }, "from": ["header:x-ws-admin-secret", "bearer"] },
            "do": "broadcast", "with": with, "need": { "body.message.type": "string" },
            "reply": { "ok": true, "recipients": "{recipients}" },
            "error": { "unauthorized": unauthorized, "invalid_json": { "body": { "error": "Invalid JSON" } }, "invalid_body": invalid } },
        { "get": "/api/ws/auth", "access": { "auth": ["session"], "development_user": "{settings.test_user}", "else_first_of": "users" },
            "do": "issue_token", "with": { "auth": "hmac", "user": "{user.id}" },
            "reply": { "wsUrl": "{settings.ws_url}", "token": "{token}", "userId": "{user.id}" },
            "error": { "unauthorized": unauthorized } },
        { "post": "/api/admin/broadcast", "access": { "auth": ["session"], "rule": "user.role == \"admin\"" },
            "limit": { "burst": 2, "per": "1m" }, "do": "broadcast", "with": { "message": "{body.message}" },
            "reply": { "ok": true },
            "error": { "forbidden": { "status": 403, "body": { "error": "Unauthorized: Admin access required" } },
                "rate_limited": { "body": { "error": "Too many requests" } } } },
        { "post": "/closed", "access": { "secret": { "env": "EMPTY" } }, "reply": {} },
        { "get": "/debug/connections", "access": "api_key", "do": "connections",
            "reply": { "activeConnections": "{count}", "connections": "{connections}" } },
        { "get": "/debug/connections/{id}", "access": "api_key", "do": "connection", "with": { "connection": "{path.id}" },
            "reply": { "connection": "{connection}" }, "error": { "not_found": { "body": { "error": "Connection not found" } } } },
        { "put": "/queue/{clinic}", "access": "public", "do": "publish",
            "with": { "channel": "clinic:{path.clinic}:queue", "data": { "type": "QUEUE", "by": "{header.x-by}", "at": "{now}", "n": "{body.n}", "most": "{settings.rooms.most}", "text": "n={query.n}!" } } },
        { "get": "/queue/{clinic}", "access": "public", "do": "history", "with": { "channel": "clinic:{path.clinic}:queue", "limit": "{query.limit}" }, "reply": "{events}" },
    ])
}

fn served(development: bool) -> Context<Fake> {
    context(clinic(), json!({ "not_found": { "status": 404, "body": { "error": "Not found" } } }), development)
}

fn session(user: &str) -> (&'static str, String) {
    let issue = Issue { user: user.into(), ..Issue::default() };
    ("authorization", format!("Bearer {}", made().auths["session"].issue(&issue, NOW).unwrap()))
}

const SECRET: (&str, &str) = ("x-ws-admin-secret", "ADMIN");

#[tokio::test]
async fn health_tells_figures_as_json_values() {
    let (status, told) = ask(&served(true), "clinic GET /health", &[], "").await;
    assert_eq!(status, 200);
    assert_eq!((&told["ok"], &told["clients"], &told["byRole"]), (&json!(true), &json!(2), &json!({ "x": 2 })));
    assert!(told["uptime"].is_u64() && told["memory"]["rss"].as_u64() > Some(1 << 20), "{told}");
    assert_eq!(told["history"], json!({ "opened": 0, "closed": {}, "minutes": [] }));
    assert_eq!(told["errors"]["total"], 0);
}

#[tokio::test]
async fn a_broadcast_reaches_whom_its_filter_names() {
    let context = served(true);
    let body =
        r#"{"message":{"type":"A", "data": 1.0},"filter":{"userIds":["u1"],"roles":[],"channels":["system:a"]}}"#;
    let told = ask(&context, "clinic POST /broadcast", &[SECRET], body).await;
    assert_eq!(told, (200, json!({ "ok": true, "recipients": 3 })));
    let bearer = ("authorization", "Bearer ADMIN");
    assert_eq!(ask(&context, "clinic POST /broadcast", &[bearer], r#"{"message":{"type":"A"}}"#).await.0, 200);
    assert_eq!(
        context.gateway.asked(),
        [r#"send to filter user=u1 on=system:a: {"type":"A", "data": 1.0}"#, r#"send to filter: {"type":"A"}"#]
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_app_s_words() {
    let context = served(true);
    for (headers, body, status, error) in [
        (vec![], "not json", 401, "Unauthorized"),
        (vec![("x-ws-admin-secret", "guessed")], "{}", 401, "Unauthorized"),
        (vec![SECRET], "not json", 400, "Invalid JSON"),
        (vec![SECRET], "", 400, "Invalid JSON"),
        (vec![SECRET], "[]", 400, "Invalid message payload"),
        (vec![SECRET], r#"{"message":{"type":7}}"#, 400, "Invalid message payload"),
        (vec![SECRET], r#"{"message":{"type":"A"},"filter":{"channels":["a::b"]}}"#, 400, "Invalid message payload"),
    ] {
        let told = ask(&context, "clinic POST /broadcast", &headers, body).await;
        assert_eq!(told, (status, json!({ "error": error })), "{body}");
    }
    assert_eq!(ask(&context, "clinic GET /nowhere", &[], "").await, (404, json!({ "error": "Not found" })));
    let response = handle(&context, request("clinic GET /broadcast", &[], "")).await;
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"POST".parse().unwrap()));
    assert!(context.gateway.asked().is_empty());
}

#[tokio::test]
async fn an_empty_secret_opens_nothing() {
    for headers in [vec![], vec![("authorization", "Bearer ")], vec![("authorization", "Bearer EMPTY")]] {
        assert_eq!(ask(&served(true), "clinic POST /closed", &headers, "{}").await.0, 401);
    }
}

#[tokio::test]
async fn a_token_is_for_whoever_asks() {
    let (header, token) = session("admin");
    let (status, told) = ask(&served(false), "clinic GET /api/ws/auth", &[(header, &token)], "").await;
    assert_eq!((status, &told["wsUrl"], &told["userId"]), (200, &json!("ws://localhost:3001"), &json!("admin")));
    let credentials = format!("token={}", told["token"].as_str().unwrap());
    let credentials = crate::auth::Credentials { query: &credentials, ..Default::default() };
    let outcome = made().auths["hmac"].authenticate(&credentials, Now::at(NOW)).await;
    assert!(matches!(outcome, crate::auth::Outcome::Identity(who) if who.user.as_deref() == Some("admin")));
}

#[tokio::test]
async fn without_a_token_there_is_somebody_in_development_mode_only() {
    let (_, told) = ask(&served(true), "clinic GET /api/ws/auth", &[], "").await;
    assert_eq!(told["userId"], "u1");
    let refused = (401, json!({ "error": "Unauthorized" }));
    assert_eq!(ask(&served(false), "clinic GET /api/ws/auth", &[], "").await, refused);
    let bad = ("authorization", "Bearer nonsense");
    assert_eq!(
        ask(&served(true), "clinic GET /api/ws/auth", &[bad], "").await,
        refused,
        "a bad token is no missing one"
    );
}

#[tokio::test]
async fn a_rule_and_a_limit_stand_before_a_route() {
    let context = served(true);
    let body = r#"{"message":{"type":"A"}}"#;
    let (header, token) = session("u1");
    let told = ask(&context, "clinic POST /api/admin/broadcast", &[(header, &token)], body).await;
    assert_eq!(told, (403, json!({ "error": "Unauthorized: Admin access required" })));
    assert_eq!(ask(&context, "clinic POST /api/admin/broadcast", &[], body).await.0, 401);
    let (header, token) = session("admin");
    for remaining in ["1", "0"] {
        let response = handle(&context, request("clinic POST /api/admin/broadcast", &[(header, &token)], body)).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-ratelimit-remaining"]),
            (200, &remaining.parse().unwrap())
        );
    }
    let response = handle(&context, request("clinic POST /api/admin/broadcast", &[(header, &token)], body)).await;
    let headers = response.headers().clone();
    assert_eq!(told_of(&headers), ["2", "0", "1704623460", "30"]);
    assert_eq!(super::told(response).await, (429, r#"{"error":"Too many requests"}"#.into()));
}

fn told_of(headers: &hyper::HeaderMap) -> [&str; 4] {
    ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"]
        .map(|name| headers[name].to_str().unwrap())
}

#[tokio::test]
async fn debug_routes_need_a_key_only_in_production() {
    let refused = ask(&served(false), "clinic GET /debug/connections", &[], "").await;
    assert_eq!(refused.0, 401);
    for (development, headers) in [(true, vec![]), (false, vec![KEY])] {
        let (status, told) = ask(&served(development), "clinic GET /debug/connections", &headers, "").await;
        assert_eq!(
            (status, &told["activeConnections"], &told["connections"][0]["userId"]),
            (200, &json!(5), &json!("u1"))
        );
    }
    let wrong = ("authorization", "Bearer guessed");
    assert_eq!(ask(&served(true), "clinic GET /debug/connections", &[wrong], "").await.0, 401);
    let queue = ("authorization", "Bearer QUEUE");
    assert_eq!(ask(&served(false), "clinic GET /debug/connections", &[queue], "").await.0, 403);
    let one = "clinic GET /debug/connections/12345678-9abc-4ef0-8122-334455667788";
    assert_eq!(ask(&served(true), one, &[], "").await.1["connection"]["id"], "12345678-9abc-4ef0-8122-334455667788");
    let none = ask(&served(true), "clinic GET /debug/connections/nobody", &[], "").await;
    assert_eq!(none, (404, json!({ "error": "Connection not found" })));
}

#[tokio::test]
async fn what_a_route_takes_is_put_together_from_the_request() {
    let context = served(true);
    let (status, told) = ask(&context, "clinic PUT /queue/c%311?n=%22x%22", &[("x-by", "ann")], r#"{"n": 1.50}"#).await;
    assert_eq!((status, told), (200, json!({ "recipients": 2, "position": "1:7" })));
    assert_eq!(
        context.gateway.asked(),
        [
            r#"clinic publish clinic:c11:queue {"type":"QUEUE","by":"ann","at":"2024-01-07T10:30:00.000Z","n":1.50,"most":9,"text":"n=\"x\"!"} route"#
        ]
    );
    ask(&context, "clinic PUT /queue/c1", &[], "{}").await;
    assert_eq!(
        context.gateway.asked(),
        [
            r#"clinic publish clinic:c1:queue {"type":"QUEUE","at":"2024-01-07T10:30:00.000Z","most":9,"text":"n=!"} route"#
        ],
        "what is missing drops its key"
    );
    let (_, told) = ask(&context, "clinic GET /queue/c1?limit=7", &[], "").await;
    assert_eq!(told[0]["data"], json!({ "n": 1.0 }));
    assert_eq!(context.gateway.asked(), ["history clinic:c1:queue None 7"]);
}

#[tokio::test]
async fn a_part_of_a_name_brings_no_segments_of_its_own() {
    let context = served(true);
    for path in ["c1%3Aalerts", "c1:x", "%3A"] {
        let (status, told) = ask(&context, &format!("clinic PUT /queue/{path}"), &[], "{}").await;
        assert_eq!((status, &told["code"]), (400, &json!("invalid_body")), "{path}");
    }
    assert!(context.gateway.asked().is_empty());
}

/// Routes that a cookie authenticates, that nobody needs a token for in development, and that are for everybody.
fn visited(development: bool, origins: &[&str]) -> Context<Fake> {
    let routes = json!([
        { "post": "/mine", "access": { "auth": ["cookie"] }, "reply": { "ok": true } },
        { "post": "/try", "access": { "auth": ["session"], "development_user": "u1" }, "reply": { "ok": true } },
        { "post": "/key", "access": "api_key", "reply": { "ok": true } },
        { "post": "/all", "access": "public", "reply": { "ok": true } },
    ]);
    let mut context = context(routes, json!({}), development);
    let origins: Vec<String> = origins.iter().map(|o| (*o).to_owned()).collect();
    let general = crate::model::Origins::parse(&origins).unwrap();
    Arc::get_mut(&mut context.site).unwrap().pages = Pages { general, development };
    context
}

#[tokio::test]
async fn pages_of_other_origins_may_not_use_their_visitors_cookies() {
    let context = visited(false, &["https://app.example"]);
    let (_, token) = session("u1");
    let cookie = format!("a=1; sid={}", token.strip_prefix("Bearer ").unwrap());
    let with = |more: &[(&'static str, &'static str)]| {
        let mut headers = vec![("cookie", cookie.clone()), ("content-type", "text/plain".to_owned())];
        headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        headers
    };
    for (more, status) in [
        (&[][..], 200),
        (&[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")], 200),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[("origin", "http://localhost:5173")], 403),
        (&[("origin", "https://app.example"), ("origin", "https://evil.example")], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "same-origin")], 200),
    ] {
        let headers = with(more);
        let headers: Vec<(&'static str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let (got, told) = ask(&context, "clinic POST /mine", &headers, "").await;
        assert_eq!(got, status, "{more:?}: {told}");
    }
    let origin = ("origin", "https://evil.example");
    assert_eq!(ask(&context, "clinic POST /mine", &[origin], "").await.0, 401, "without a cookie it is nobody");
    let (name, token) = session("u1");
    assert_eq!(ask(&context, "clinic POST /try", &[origin, (name, &token)], "").await.0, 200, "a token is no cookie");
    assert_eq!(ask(&context, "clinic POST /all", &[origin], "").await.0, 200);
    let all = visited(false, &["*"]);
    let headers = [("cookie", cookie.as_str()), origin];
    assert_eq!(ask(&all, "clinic POST /mine", &headers, "").await.0, 403, "`*` names nobody");
    // What the app names, within what `[http]` allows.
    let app = |general: &[&str], own: &[&str]| {
        let mut context = visited(false, general);
        let own: Vec<String> = own.iter().map(|o| (*o).to_owned()).collect();
        let site = Arc::get_mut(&mut context.site).unwrap();
        site.apps[0].origins = Some(crate::model::Origins::parse(&own).unwrap());
        context
    };
    for (general, own, status) in [
        (&["*"][..], &["https://evil.example"][..], 200),
        (&["*"], &["https://app.example"], 403),
        (&["https://app.example"], &["https://evil.example"], 403),
        (&["https://evil.example"], &["*"], 200),
        (&["https://evil.example"], &["https://app.example"], 403),
    ] {
        let context = app(general, own);
        assert_eq!(ask(&context, "clinic POST /mine", &headers, "").await.0, status, "{general:?} {own:?}");
    }
}

#[tokio::test]
async fn in_development_only_pages_of_this_machine_need_no_key() {
    let context = visited(true, &["*"]);
    for (path, foreign) in [("/try", 403), ("/key", 403), ("/all", 200)] {
        for (headers, status) in [
            (vec![], 200),
            (vec![("origin", "http://localhost:5173")], 200),
            (vec![("origin", "https://evil.example")], foreign),
            (vec![("sec-fetch-site", "cross-site")], foreign),
        ] {
            let got = ask(&context, &format!("clinic POST {path}"), &headers, "").await;
            assert_eq!(got.0, status, "{path} {headers:?}: {}", got.1);
        }
    }
    let named = visited(true, &["https://app.example"]);
    for (origin, status) in [("https://app.example", 200), ("http://localhost:5173", 403)] {
        assert_eq!(ask(&named, "clinic POST /key", &[("origin", origin)], "").await.0, status, "{origin}");
    }
}

#[tokio::test]
async fn a_path_is_the_same_with_a_slash_at_its_end_and_in_any_letters() {
    let routes = json!([
        { "get": "/plain", "access": "public", "reply": 1 },
        { "get": "/prix-élevé/{n}/", "access": "public", "reply": "{path.n}" },
        { "get": "/files/{*rest}", "access": "public", "reply": "{path.rest}" },
    ]);
    let context = context(routes, json!({}), true);
    for (path, status, reply) in [
        ("/plain", 200, json!(1)),
        ("/plain/", 200, json!(1)),
        ("/prix-%C3%A9lev%c3%a9/7", 200, json!("7")),
        ("/prix-élevé/a%2Fb/", 200, json!("a/b")),
        ("/files/a/b/", 200, json!("a/b/")),
        ("/files/..%2F..", 200, json!("../..")),
    ] {
        assert_eq!(ask(&context, &format!("clinic GET {path}"), &[], "").await, (status, reply), "{path}");
    }
    for path in ["/plain//", "/prix-%C3%A9lev%C3%A9/%ff", "/prix-elev%C3%A9/7"] {
        assert_eq!(ask(&context, &format!("clinic GET {path}"), &[], "").await.0, 404, "{path}");
    }
    let (status, told) = ask(&context, "clinic GET /plain?q=%ff", &[], "").await;
    assert_eq!((status, &told["code"]), (400, &json!("invalid_body")));
}

#[tokio::test]
async fn a_part_of_a_channel_s_name_brings_no_segments_however_it_is_written() {
    let routes = json!([
        { "post": "/say", "access": "public", "do": "publish", "with": { "channel": "clinic:{body.c}:queue", "data": 1 } },
    ]);
    let context = context(routes, json!({}), true);
    for body in [r#"{"c":"c1:x"}"#, r#"{"c":"c1\u003ax"}"#, r#"{"c":"\u003A"}"#, r#"{"c":["a","b:"]}"#] {
        assert_eq!(ask(&context, "clinic POST /say", &[], body).await.0, 400, "{body}");
    }
    assert_eq!(ask(&context, "clinic POST /say", &[], r#"{"c":"\u0063\u0031"}"#).await.0, 200);
    assert_eq!(context.gateway.asked(), ["clinic publish clinic:c1:queue 1 route"]);
}
