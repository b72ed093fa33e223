//! The HTTP API, its keys and its errors.

use super::*;

#[tokio::test]
async fn a_publication_goes_out_byte_for_byte() {
    let context = plain();
    let body = r#"{"channel":"clinic:c1:queue", "data": {"n": 1.00,  "é":[ ]}, "event":"e"}"#;
    let (status, reply) = ask(&context, "clinic POST /api/publish", &[KEY], body).await;
    assert_eq!((status, reply), (200, json!({ "recipients": 2, "position": "1:7" })));
    assert_eq!(context.gateway.asked(), [r#"clinic publish clinic:c1:queue {"n": 1.00,  "é":[ ]} event=e api"#]);
}

#[tokio::test]
async fn a_publication_to_several_channels_is_refused_as_a_whole() {
    let context = plain();
    let all = r#"{"channels":["clinic:c1:queue","system:a"],"data":1}"#;
    let (_, reply) = ask(&context, "clinic POST /api/publish", &[KEY], all).await;
    assert_eq!(reply, json!({ "recipients": 2 }));
    context.gateway.asked();
    let some = r#"{"channels":["clinic:c1:queue","nowhere"],"data":1}"#;
    let (status, reply) = ask(&context, "clinic POST /api/publish", &[KEY], some).await;
    assert_eq!((status, &reply["code"]), (404, &json!("unknown_channel")));
    assert!(context.gateway.asked().is_empty());
}

#[tokio::test]
async fn each_verb_asks_for_what_it_says() {
    let context = plain();
    for (line, body, asked, reply) in [
        (
            "POST /api/broadcast",
            r#"{"message":{"a":1},"filter":{"users":["u1","u2"],"claims":{"role":["admin",7]},"channels":["system:a"]}}"#,
            r#"send to filter user=u1 user=u2 role=["admin",7] on=system:a: {"a":1}"#,
            json!({ "recipients": 3 }),
        ),
        ("POST /api/broadcast", r#"{"data":1}"#, "send to filter: 1", json!({ "recipients": 3 })),
        (
            "POST /api/broadcast",
            r#"{"data":1,"filter":{"users":[]}}"#,
            "send to filter nobody: 1",
            json!({ "recipients": 3 }),
        ),
        (
            "POST /api/disconnect",
            r#"{"filter":{"channels":[]}}"#,
            "disconnect filter nobody 1000 ",
            json!({ "connections": 1 }),
        ),
        ("POST /api/send", r#"{"user":"u1","data":"x"}"#, r#"send to user u1: "x""#, json!({ "recipients": 3 })),
        (
            "POST /api/subscribe",
            r#"{"user":"u1","channel":"system:a"}"#,
            "subscribe user u1 to system:a",
            json!({ "connections": 1 }),
        ),
        (
            "POST /api/unsubscribe",
            r#"{"connection":"12345678-9abc-4ef0-8122-334455667788","channel":"system:a"}"#,
            "unsubscribe connection 12345678-9abc-4ef0-8122-334455667788 from system:a",
            json!({ "connections": 1 }),
        ),
        (
            "POST /api/disconnect",
            r#"{"filter":{"claims":{"role":"admin"}},"code":4100,"reason":"bye"}"#,
            r#"disconnect filter role=["admin"] 4100 bye"#,
            json!({ "connections": 1 }),
        ),
        ("POST /api/cleanup", "{}", "cleanup 300000", json!({ "connections": 4 })),
        (
            "GET /api/history?channel=system%3Aa&since=1:2&limit=5",
            "",
            "history system:a Some(Position { epoch: 1, offset: 2 }) 5",
            json!({ "channel": "system:a", "position": "1:3", "complete": true, "more": false,
                "events": [{ "position": "1:3", "data": { "n": 1.0 }, "at": "1970-01-01T00:00:00.000Z" }] }),
        ),
        (
            "GET /api/connections?user=u1&channel=system:news&limit=1",
            "",
            "connections filter user=u1 on=system:news 1",
            json!({ "count": 5, "connections": [{ "id": "12345678-9abc-4ef0-8122-334455667788", "userId": "u1",
                "channels": ["system:news"], "lastActivity": "1970-01-01T00:00:01.000Z",
                "metadata": { "userAgent": "jest/29", "ip": "192.0.2.9", "connectedAt": "1970-01-01T00:00:00.000Z" },
                "endpoint": "/ws", "queuedBytes": 0 }] }),
        ),
    ] {
        let (status, told) = ask(&context, &format!("clinic {line}"), &[KEY], body).await;
        assert_eq!((status, told), (200, reply), "{line} {body}");
        assert_eq!(context.gateway.asked(), [asked]);
    }
    let twice = "clinic GET /api/connections/12345678-9abc-4ef0-8122-334455667788?connection=other";
    assert_eq!(ask(&context, twice, &[KEY], "").await.0, 400, "one of them would be another than the caller meant");
    let both = [KEY, ("authorization", "Bearer other")];
    assert_eq!(ask(&context, "clinic GET /api/channels", &both, "").await.0, 401);
    let (_, who) = ask(&context, "clinic GET /api/presence?channel=system:a", &[KEY], "").await;
    assert_eq!((&who["count"], &who["members"][0]["user"]), (&json!(1), &json!("u1")));
    let (_, some) = ask(&context, "clinic GET /api/channels?pattern=clinic:*:queue&limit=1", &[KEY], "").await;
    assert_eq!(some, json!({ "count": 1, "channels": [{ "channel": "clinic:c1:queue", "subscribers": 2 }] }));
    let one = "clinic GET /api/connections/12345678-9abc-4ef0-8122-334455667788";
    assert_eq!(ask(&context, one, &[KEY], "").await.1["userId"], "u1");
    for id in ["nobody", "22345678-9abc-4ef0-8122-334455667788"] {
        assert_eq!(ask(&context, &format!("clinic GET /api/connections/{id}"), &[KEY], "").await.0, 404);
    }
}

#[tokio::test]
async fn a_history_s_data_stays_as_it_was_published() {
    let response = handle(&plain(), request("clinic GET /api/history?channel=system:a", &[KEY], "")).await;
    assert!(told(response).await.1.contains(r#""data":{"n":1.00}"#));
}

#[tokio::test]
async fn a_mistake_is_told_as_problem_details() {
    let context = plain();
    let sixty = format!(r#"{{"channel":"system:a","data":1,"event":"{}"}}"#, "e".repeat(300));
    for (line, body, status, code, says) in [
        ("POST /api/publish", "{\n \"channel\" }", 400, "invalid_json", "expected `:`"),
        ("POST /api/publish", "[1]", 400, "invalid_body", "an object"),
        ("POST /api/publish", "{}", 400, "invalid_body", "`channel` or `channels`"),
        ("POST /api/publish", r#"{"channel":"system:a"}"#, 400, "invalid_body", "`data` is required"),
        ("POST /api/publish", r#"{"chanel":"system:a","data":1}"#, 400, "invalid_body", "`channel` or"),
        ("POST /api/publish", r#"{"channel":"system:a","data":1,"keey":"k"}"#, 400, "invalid_body", "mean `key`?"),
        ("POST /api/publish", r#"{"channel":"a","channel":"b","data":1}"#, 400, "invalid_body", "comes twice"),
        ("POST /api/publish", r#"{"channel":"system::a","data":1}"#, 404, "unknown_channel", "no empty segment"),
        ("POST /api/publish", &sixty, 400, "invalid_body", "at most 255 bytes"),
        ("POST /api/publish", r#"{"channel":"system:a","data":1,"app":"reports"}"#, 404, "unknown_app", "`clinic`"),
        ("POST /api/broadcast", r#"{"data":1,"filter":{"channels":["a::b"]}}"#, 400, "invalid_body", "empty segment"),
        ("POST /api/broadcast", r#"{"data":1,"filter":null}"#, 400, "invalid_body", "`filter` must be an object"),
        ("POST /api/disconnect", r#"{"filter":{}}"#, 400, "invalid_body", "names nothing"),
        ("POST /api/broadcast", r#"{"data":1,"filter":{"user":["u"]}}"#, 400, "invalid_body", "mean `users`?"),
        ("POST /api/send", r#"{"data":1}"#, 400, "invalid_body", "exactly one of `user` and `connection`"),
        ("POST /api/disconnect", r#"{"user":"u","code":1006}"#, 400, "invalid_body", "1006 is not a code"),
        ("GET /api/history?channel=%ff", "", 400, "invalid_body", "`channel` in the query is not UTF-8"),
        ("GET /api/history?channel=system:a&channel=system:b", "", 400, "invalid_body", "`channel` comes twice"),
        ("GET /api/history?channel=system:a&since=x", "", 400, "invalid_body", "no position"),
        ("GET /api/history?channel=system:a&limit=x", "", 400, "invalid_body", "a whole number"),
        ("GET /api/publish", "", 405, "method_not_allowed", "POST"),
        ("POST /api/channels", "", 405, "method_not_allowed", "GET, HEAD"),
        ("POST /api/nothing", "", 404, "not_found", ""),
        ("GET /nowhere", "", 404, "not_found", ""),
    ] {
        let response = handle(&context, request(&format!("clinic {line}"), &[KEY], body)).await;
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{line} {body}");
        assert_eq!(response.headers().contains_key("allow"), status == 405);
        let (got, text) = told(response).await;
        let problem: Value = read(serde_json::from_str(&text).unwrap());
        assert_eq!((got, &problem["code"], &problem["status"]), (status, &json!(code), &json!(status)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
        assert!(!problem["title"].as_str().unwrap().is_empty());
    }
    let (_, problem) = ask(&context, "clinic POST /api/publish", &[KEY], "{\n \"channel\" }").await;
    assert_eq!((&problem["line"], &problem["column"]), (&json!(2), &json!(12)));
    assert!(context.gateway.asked().is_empty());
}

#[tokio::test]
async fn a_key_does_only_what_it_was_made_for() {
    let context = plain();
    let queue = ("authorization", "bearer QUEUE");
    let publish = r#"{"channel":"clinic:c1:queue","data":1}"#;
    for (line, key, body, status) in [
        ("clinic POST /api/publish", None, publish, 401),
        ("clinic POST /api/publish", Some(("authorization", "Bearer guessed")), publish, 401),
        ("clinic POST /api/publish", Some(("authorization", "Basic S0VZ")), publish, 401),
        ("clinic POST /api/publish", Some(("authorization", "Bearer ")), publish, 401),
        ("clinic POST /api/publish", Some(queue), publish, 200),
        ("clinic POST /api/publish", Some(queue), r#"{"channel":"system:a","data":1}"#, 403),
        ("clinic POST /api/publish", Some(queue), r#"{"channel":"clinic:c1:queue:x","data":1}"#, 403),
        ("clinic POST /api/send", Some(queue), r#"{"user":"u1","data":1}"#, 403),
        ("clinic POST /api/broadcast", Some(queue), r#"{"data":1}"#, 403),
        ("clinic POST /api/broadcast", Some(queue), r#"{"data":1,"filter":{"channels":["system:a"]}}"#, 403),
        ("clinic POST /api/broadcast", Some(queue), r#"{"data":1,"filter":{"channels":["clinic:c1:queue"]}}"#, 200),
        ("main POST /api/publish", Some(queue), publish, 403),
        ("admin POST /api/publish", Some(queue), publish, 200), // it covers one app: that one is meant
        ("admin POST /api/publish", Some(queue), r#"{"app":"reports","channel":"clinic:c1:queue","data":1}"#, 403),
    ] {
        let headers: Vec<_> = key.into_iter().collect();
        let (got, reply) = ask(&context, line, &headers, body).await;
        assert_eq!(got, status, "{line} {body}: {reply}");
    }
    assert_eq!(context.gateway.asked().len(), 3);
    let (_, list) = ask(&context, "clinic GET /api/channels", &[queue], "").await;
    assert_eq!(list["count"], 2, "channels of others are not listed");
}

/// For each verb, a call that a key narrowed to `clinic:*:queue` may make, and calls that it may not. A new verb has no
/// line here until somebody has decided what such a key means for it.
#[tokio::test]
async fn a_key_s_channels_hold_for_every_verb() {
    let context = plain();
    let narrow = ("authorization", "Bearer NARROW");
    let id = "12345678-9abc-4ef0-8122-334455667788";
    let on_user = |channel: &str| format!(r#"{{"user":"u1","channel":"{channel}"}}"#);
    for verb in Verb::ALL {
        let (may, may_not): (Vec<String>, Vec<String>) = match verb {
            Verb::Publish => (
                vec![r#"{"channel":"clinic:c1:queue","data":1}"#.into()],
                vec![
                    r#"{"channel":"system:a","data":1}"#.into(),
                    r#"{"channels":["clinic:c1:queue","system:a"],"data":1}"#.into(),
                ],
            ),
            Verb::Broadcast => (
                vec![r#"{"data":1,"filter":{"channels":["clinic:c1:queue"]}}"#.into()],
                vec![
                    r#"{"data":1}"#.into(),
                    r#"{"data":1,"filter":{"users":["u1"]}}"#.into(),
                    r#"{"data":1,"filter":{"channels":["clinic:c1:queue","system:a"]}}"#.into(),
                ],
            ),
            Verb::Send => {
                (Vec::new(), vec![r#"{"user":"u1","data":1}"#.into(), format!(r#"{{"connection":"{id}","data":1}}"#)])
            }
            // Whoever is on a channel of the key can be told, listed and closed through it.
            Verb::Subscribe => (
                Vec::new(),
                vec![
                    on_user("clinic:c1:queue"),
                    on_user("system:a"),
                    format!(r#"{{"connection":"{id}","channel":"clinic:c1:queue"}}"#),
                ],
            ),
            Verb::Unsubscribe => (vec![on_user("clinic:c1:queue")], vec![on_user("system:a")]),
            Verb::Disconnect => (
                vec![r#"{"filter":{"channels":["clinic:c1:queue"]}}"#.into()],
                vec![
                    r#"{"user":"u1"}"#.into(),
                    format!(r#"{{"connection":"{id}"}}"#),
                    r#"{"filter":{"users":["u1"]}}"#.into(),
                    r#"{"filter":{"users":[]},"empty_lists":"everybody"}"#.into(),
                ],
            ),
            Verb::Cleanup => (Vec::new(), vec!["{}".into()]),
            Verb::Presence | Verb::History => (vec!["channel=clinic:c1:queue".into()], vec!["channel=system:a".into()]),
            Verb::Channels => (vec!["limit=9".into()], Vec::new()),
            Verb::Connections => {
                (vec!["channel=clinic:c1:queue".into()], vec!["".into(), "user=u1".into(), "channel=system:a".into()])
            }
        };
        assert_eq!(
            may.is_empty(),
            matches!(verb, Verb::Send | Verb::Subscribe) || verb.reach() == Reach::Everything,
            "{verb:?}"
        );
        assert_eq!(may_not.is_empty(), verb == Verb::Channels, "{verb:?}");
        for (calls, status) in [(may, 200), (may_not, 403)] {
            for call in calls {
                let name = verb.as_str();
                let (got, told) = match verb.reads() {
                    true => ask(&context, &format!("clinic GET /api/{name}?{call}"), &[narrow], "").await,
                    false => ask(&context, &format!("clinic POST /api/{name}"), &[narrow], &call).await,
                };
                assert_eq!(got, status, "{name} {call}: {told}");
            }
        }
    }
    let one = format!("clinic GET /api/connections/{id}");
    assert_eq!(ask(&context, &one, &[narrow], "").await.0, 404, "it is on none of the key's channels");
    let (_, list) = ask(&context, "clinic GET /api/connections?channel=clinic:c1:queue", &[narrow], "").await;
    assert_eq!(list["connections"][0]["channels"], json!([]), "channels of others are not told");
}

#[tokio::test]
async fn the_app_is_the_one_named() {
    let context = plain();
    for (line, app, asked) in [
        ("main POST /api/publish", r#""app":"tenant","#, "tenant"),
        ("admin POST /api/publish", r#""app":"tenant","#, "tenant"),
    ] {
        let body = format!(r#"{{{app}"channel":"system:a","data":1}}"#);
        assert_eq!(ask(&context, line, &[KEY], &body).await.0, 200);
        assert_eq!(context.gateway.asked(), [format!("{asked} publish system:a 1 api")]);
    }
    let (status, problem) = ask(&context, "admin GET /api/channels", &[KEY], "").await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("`clinic`, `reports` or `tenant`"), "{problem}");
    assert_eq!(ask(&context, "admin GET /api/channels?app=reports", &[KEY], "").await.0, 200);
}

#[tokio::test]
async fn a_retry_with_the_same_key_publishes_once() {
    let context = plain();
    let body = r#"{"channel":"system:a","data":1,"idempotency_key":"k1"}"#;
    let gate = context.gateway.gate();
    let both = async {
        tokio::join!(
            ask(&context, "clinic POST /api/publish", &[KEY], body),
            ask(&context, "clinic POST /api/publish", &[KEY], body),
            async {
                tokio::task::yield_now().await;
                gate.add_permits(1);
            }
        )
    };
    let (first, second, ()) = both.await;
    assert_eq!((first.0, &first), (200, &second));
    assert_eq!(ask(&context, "clinic POST /api/publish", &[KEY], body).await, first);
    assert_eq!(context.gateway.asked().len(), 1);
    let other = body.replace("\"data\":1", "\"data\":2");
    let (status, problem) = ask(&context, "clinic POST /api/publish", &[KEY], &other).await;
    assert_eq!((status, &problem["code"]), (422, &json!("idempotency_key_reused")));
}

#[tokio::test]
async fn a_client_that_went_away_finds_it_done() {
    let context = plain();
    let body = r#"{"channel":"system:a","data":1,"idempotency_key":"k1"}"#;
    let gate = context.gateway.gate();
    let gone = tokio::time::timeout(std::time::Duration::ZERO, ask(&context, "clinic POST /api/publish", &[KEY], body));
    assert!(gone.await.is_err());
    gate.add_permits(1);
    assert_eq!(ask(&context, "clinic POST /api/publish", &[KEY], body).await.0, 200);
    assert_eq!(context.gateway.asked().len(), 1);
}

#[tokio::test]
async fn what_was_too_busy_may_be_tried_again_under_its_key() {
    let context = plain();
    context.gateway.busy(1);
    let body = r#"{"channel":"system:a","data":1,"idempotency_key":"k1"}"#;
    let response = handle(&context, request("clinic POST /api/publish", &[KEY], body)).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(ask(&context, "clinic POST /api/publish", &[KEY], body).await.0, 200);
}

#[tokio::test]
async fn a_batch_answers_each_command_for_itself() {
    let context = plain();
    let body = r#"{"commands":[
        {"publish":{"channel":"system:a","data":1}},
        {"publish":{"channel":"nowhere","data":1}},
        {"shout":{}},
        {"presence":{"channel":"system:a"}},
        {"broadcast":{"data":2}},
        7 ]}"#;
    let (status, told) = ask(&context, "clinic POST /api/batch", &[KEY], body).await;
    assert_eq!(status, 200, "{told}");
    let replies = told["replies"].as_array().unwrap();
    assert_eq!(replies[0], json!({ "publish": { "recipients": 2, "position": "1:7" } }));
    assert_eq!(replies[1]["error"]["code"], "unknown_channel");
    assert_eq!(replies[2]["error"]["detail"], "unknown verb `shout`");
    assert_eq!(replies[3]["presence"]["count"], 1);
    assert_eq!(replies[4], json!({ "broadcast": { "recipients": 3 } }));
    assert_eq!(replies[5]["error"]["code"], "invalid_body");
    assert_eq!(context.gateway.asked().len(), 2);
    let many = format!(r#"{{"commands":[{}]}}"#, vec!["1"; 1001].join(","));
    assert_eq!(ask(&context, "clinic POST /api/batch", &[KEY], &many).await.0, 413);
}

/// Another file on a listener must not change whom an old call is for.
#[tokio::test]
async fn a_call_without_an_app_is_for_the_listeners_own() {
    let body = r#"{"channel":"system:a","data":1}"#;
    let mut context = plain();
    let (status, told) = ask(&context, "clinic POST /api/publish", &[KEY], body).await;
    // Alone there, and nobody asks which one it was.
    assert_eq!((status, told.get("app")), (200, None));
    for listener in ["main", "admin"] {
        let (status, told) = ask(&context, &format!("{listener} POST /api/publish"), &[KEY], body).await;
        assert_eq!((status, &told["code"]), (400, &json!("invalid_body")));
        assert!(told["detail"].as_str().unwrap().contains("`reports`"), "{told}");
    }
    context.site = site_with(&[("admin", true, Some("clinic")), ("main", false, Some("tenant"))]);
    for (listener, app) in [("main", "tenant"), ("admin", "clinic")] {
        let (status, told) = ask(&context, &format!("{listener} POST /api/publish"), &[KEY], body).await;
        assert_eq!((status, &told["app"]), (200, &json!(app)));
    }
    let (_, told) = ask(&context, "main POST /api/publish", &[KEY], r#"{"channel":"nowhere","data":1}"#).await;
    assert_eq!((&told["code"], &told["app"]), (&json!("unknown_channel"), &json!("tenant")));
    // One that is not here is nobody.
    context.site = site_with(&[("main", false, Some("clinic"))]);
    assert_eq!(ask(&context, "main POST /api/publish", &[KEY], body).await.0, 400);
    let named = r#"{"app":"reports","channel":"system:a","data":1}"#;
    let (_, told) = ask(&context, "main POST /api/publish", &[KEY], named).await;
    assert_eq!(told.get("app"), None);
}

#[tokio::test]
async fn health_readiness_and_metrics() {
    let mut context = plain();
    assert_eq!(ask(&context, "admin GET /healthz", &[], "").await.0, 200);
    assert_eq!(ask(&context, "admin HEAD /readyz", &[], "").await.0, 200);
    context.not_ready = ["draining".to_owned()].into();
    let (status, told) = ask(&context, "admin GET /readyz", &[], "").await;
    assert_eq!((status, &told["reasons"]), (503, &json!(["draining"])));
    assert_eq!(ask(&context, "admin GET /healthz", &[], "").await.0, 200);
    assert_eq!(ask(&context, "admin POST /healthz", &[], "").await.0, 405);
    for path in ["healthz", "readyz", "metrics"] {
        assert_eq!(ask(&context, &format!("clinic GET /{path}"), &[], "").await.0, 404);
    }
    let (status, text) = ask(&context, "admin GET /metrics", &[], "").await;
    let line = r#"weir_http_requests_total{method="GET",status="2xx",verb="healthz"} 2"#;
    assert!(status == 200 && text.as_str().unwrap().contains(line), "{text}");
}

#[tokio::test]
async fn where_only_a_websocket_is_one_is_told_to_upgrade() {
    for path in ["/ws", "/ws/"] {
        let response = handle(&plain(), request(&format!("main GET {path}"), &[], "")).await;
        assert_eq!((response.status().as_u16(), &response.headers()["upgrade"]), (426, &"websocket".parse().unwrap()));
    }
    assert_eq!(ask(&plain(), "clinic GET /anything", &[], "").await.0, 404);
}

#[tokio::test]
async fn wrong_keys_are_limited_by_address() {
    let mut context = plain();
    Arc::get_mut(&mut context.generation).unwrap().limits.attempts_per_ip.burst = 3;
    let guess = |n: usize| [("authorization", format!("Bearer guess-{n}"))];
    let from = |ip: &str, headers: &[(&'static str, &str)]| {
        let mut request = request("clinic GET /api/channels", headers, "");
        request.ip = ip.parse().unwrap();
        request
    };
    for (n, status) in [(1, 401), (2, 401), (3, 401), (4, 429)] {
        // One customer's addresses are one.
        let [(name, value)] = &guess(n);
        let response = handle(&context, from(&format!("2001:db8::{n}"), &[(name, value)])).await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers().contains_key("retry-after"), status == 429);
    }
    assert_eq!(handle(&context, from("2001:db8::9", &[KEY])).await.status().as_u16(), 429, "a guess may be right");
    assert_eq!(handle(&context, from("2001:db8:0:1::", &[KEY])).await.status().as_u16(), 200);
    for _ in 0..9 {
        assert_eq!(handle(&context, from("192.0.2.7", &[KEY])).await.status().as_u16(), 200, "right ones cost nothing");
        assert_eq!(handle(&context, from("127.0.0.1", &[("authorization", "Bearer x")])).await.status().as_u16(), 401);
    }
}

#[tokio::test]
async fn two_keys_may_use_the_same_idempotency_key() {
    let context = plain();
    let body = r#"{"channel":"system:a","data":1,"idempotency_key":"order-7"}"#;
    let narrow = ("authorization", "Bearer NARROW");
    assert_eq!(ask(&context, "clinic POST /api/publish", &[narrow], body).await.0, 403);
    assert_eq!(ask(&context, "clinic POST /api/publish", &[KEY], body).await.0, 200);
    assert_eq!(ask(&context, "clinic POST /api/publish", &[narrow], body).await.0, 403, "another's answer is not told");
    let own = r#"{"channel":"clinic:c1:queue","data":2,"idempotency_key":"order-7"}"#;
    assert_eq!(ask(&context, "clinic POST /api/publish", &[narrow], own).await.0, 200);
    assert_eq!(context.gateway.asked().len(), 2);
}

#[tokio::test]
async fn a_whole_number_may_be_written_as_a_float() {
    let context = plain();
    for (number, status) in
        [("4100.0", 200), ("\"4100\"", 200), ("4.1e3", 200), ("4100.5", 400), ("-0.5", 400), ("1e300", 400)]
    {
        let body = format!(r#"{{"user":"u1","code":{number}}}"#);
        assert_eq!(ask(&context, "clinic POST /api/disconnect", &[KEY], &body).await.0, status, "{number}");
    }
    assert_eq!(context.gateway.asked(), ["disconnect user u1 4100 "; 3]);
}

#[tokio::test]
async fn whom_a_disconnect_is_for_is_said_once() {
    let context = plain();
    let id = "12345678-9abc-4ef0-8122-334455667788";
    for body in [
        r#"{"user":"u1","filter":{"users":["u2"]}}"#.to_owned(),
        format!(r#"{{"user":"u1","connection":"{id}"}}"#),
        r#"{"code":4000}"#.to_owned(),
    ] {
        let (status, told) = ask(&context, "clinic POST /api/disconnect", &[KEY], &body).await;
        assert_eq!((status, &told["code"]), (400, &json!("invalid_body")), "{body}");
        assert!(
            told["detail"].as_str().unwrap().contains("exactly one of `user`, `connection` and `filter`"),
            "{told}"
        );
    }
    let null = r#"{"user":null,"filter":{"users":["u2"]}}"#;
    assert_eq!(ask(&context, "clinic POST /api/disconnect", &[KEY], null).await.0, 200);
    assert_eq!(context.gateway.asked().len(), 1);
}
