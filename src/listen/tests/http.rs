//! What is seen of HTTP that is no upgrade.

use super::*;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[tokio::test(flavor = "local")]
async fn requests_on_one_connection_are_answered_in_order_even_pipelined() {
    let mut house = House::open(Setup::default());
    let mut client = house.connect().await;
    let post = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    client.send(&format!("{}{post}{}", get("/1?x=y"), get("/2"))).await;
    assert_eq!(client.response().await, (200, "GET /1 x=y 127.0.0.1 ".to_owned()));
    assert_eq!(client.response().await, (200, "POST /p  127.0.0.1 hello".to_owned()));
    assert_eq!(client.response().await, (200, "GET /2  127.0.0.1 ".to_owned()));
    client.send("HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!((status(&head), header(&head, "content-length")), (200, Some("19")));
    assert_eq!(header(&head, "date"), None);
    client.send(&format!("GET /ws HTTP/1.1\r\n{WS}{KEY}\r\n")).await;
    assert_eq!(status(&client.head().await), 101, "an upgrade may come later on the connection");
    assert!(house.adopted.recv().await.is_some());
}

#[tokio::test(flavor = "local")]
async fn a_body_is_bounded_in_size_and_time() {
    let http = json!({ "body_bytes": 8, "body_timeout": "50ms" });
    let house = House::open(Setup { http, ..Setup::default() });
    let post = |lines: &str| format!("POST /p HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
    for (request, expected) in [
        (post("Content-Length: 9") + "123456789", 413),
        (post("Content-Length: 900000000"), 413),
        (post("Transfer-Encoding: chunked") + "9\r\n123456789\r\n0\r\n\r\n", 413),
        (post("Transfer-Encoding: chunked") + "8\r\n12345678\r\n0\r\n\r\n", 200),
        (post("Content-Length: 8") + "1234", 408),
    ] {
        let mut client = house.connect().await;
        client.send(&request).await;
        assert_eq!(client.response().await.0, expected, "{request}");
    }
    still_answers(&house).await;
}

#[tokio::test(flavor = "local")]
async fn slow_headers_are_answered_408_and_an_idle_connection_just_ends() {
    let http = json!({ "header_timeout": "50ms", "keep_alive": "50ms" });
    let house = House::open(Setup { http, ..Setup::default() });
    let mut slow = house.connect().await;
    slow.send("GET / HTTP/1.1\r\nHo").await;
    assert!(slow.rest().await.starts_with("HTTP/1.1 408 "));
    let mut idle = house.connect().await;
    idle.send(&get("/")).await;
    assert_eq!(idle.response().await.0, 200);
    assert_eq!(idle.rest().await, "");
    assert_eq!(house.connect().await.rest().await, "", "one that never says anything");
    still_answers(&house).await;
}

#[tokio::test(flavor = "local")]
async fn headers_are_bounded() {
    let house = House::open(Setup { http: json!({ "header_bytes": "8KiB" }), ..Setup::default() });
    let mut client = house.connect().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(10_000))).await;
    assert_eq!(status(&client.head().await), 431);
    let mut client = house.connect().await;
    client.send("not http at all\r\n\r\n").await;
    assert_eq!(status(&client.head().await), 400);
    let mut client = house.connect().await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.response().await.0, 400, "no Host");
    still_answers(&house).await;
}

#[tokio::test(flavor = "local")]
async fn http_connections_are_bounded() {
    let house = House::open(Setup { http: json!({ "connections": 1 }), ..Setup::default() });
    let mut silent = house.connect().await;
    silent.send(&get("/")).await;
    assert_eq!(silent.response().await.0, 200);
    // Who is silent makes room for who is not.
    let mut second = house.connect().await;
    second.send(&get("/")).await;
    assert_eq!(second.response().await.0, 200);
    assert_eq!(silent.rest().await, "");
    // A half request is silence too.
    second.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
    still_answers(&house).await;
    assert_eq!(second.rest().await, "");
    assert!(house.context.metrics.text().contains("weir_limit_hits_total{limit=\"http_connections\"} 2"));
}

#[tokio::test(flavor = "local")]
async fn a_body_is_not_read_before_its_sender_is_known() {
    let house = House::open(Setup::default());
    let mut client = house.connect().await;
    client.send("POST /closed HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbeginning").await;
    let head = client.head().await;
    assert_eq!((status(&head), header(&head, "connection")), (401, Some("close")));
    still_answers(&house).await;
}

#[tokio::test(flavor = "local")]
async fn bodies_are_bounded_together_as_they_grow() {
    let house = House::open(Setup::default());
    let app = |n| (AppId(n), "a".into(), None);
    house.context.metrics.memory.set(4 << 20, &[app(0)]);
    // A quarter of 4 MiB for all who are unknown, a quarter of that for one address.
    let mut half = Vec::new();
    for _ in 0..2 {
        let mut client = house.connect().await;
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n{}", "x".repeat(100_000));
        client.send(&request).await;
        half.push(client);
    }
    let held = || house.context.metrics.memory.strangers.used();
    while held() < 200_000 {
        tokio::task::yield_now().await;
    }
    let mut refused = house.connect().await;
    refused.send(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 150000\r\n\r\n{}", "x".repeat(150_000))).await;
    let head = refused.head().await;
    assert_eq!((status(&head), header(&head, "retry-after")), (503, Some("5")));
    drop(half);
    while held() > 100_000 {
        tokio::task::yield_now().await;
    }
    let mut again = house.connect().await;
    again.send(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 150000\r\n\r\n{}", "x".repeat(150_000))).await;
    assert_eq!(again.response().await.0, 200);
    drop(again);
    while held() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_app_that_holds_too_much_takes_no_newcomers_and_the_other_does() {
    let house = House::open(Setup::default());
    let memory = &house.context.metrics.memory;
    memory.set(1 << 20, &[(AppId(0), "a".into(), None), (AppId(1), "b".into(), None)]);
    let (held, _) = memory.app(AppId(0)).take(crate::model::memory::Kind::Events, 2 << 20);
    assert_eq!(status(&house.upgrade("/late/7", "").await.0), 503);
    assert_ne!(status(&house.upgrade("/members", "").await.0), 503);
    drop(held);
    assert_eq!(status(&house.upgrade("/late/7", "").await.0), 101);
}

#[tokio::test(flavor = "local")]
async fn development_mode_refuses_what_a_proxy_passes_on() {
    let house = House::open(Setup { development: true, ..Setup::default() });
    for line in ["X-Forwarded-Proto: https", "Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4"] {
        let mut client = house.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")).await;
        let (status, body) = client.response().await;
        assert_eq!(status, 403, "{line}");
        assert!(body.contains("development mode"), "{body}");
    }
    assert_eq!(super::status(&house.upgrade("/ws", "X-Forwarded-For: 1.2.3.4\r\n").await.0), 403);
    still_answers(&house).await;
}

#[tokio::test(flavor = "local")]
async fn development_mode_answers_to_names_of_this_machine_only() {
    let house = House::open(Setup { development: true, http: json!({ "hosts": ["gw.test"] }), ..Setup::default() });
    for (host, expected) in [("localhost:3000", 200), ("127.0.0.1", 200), ("GW.test.", 200), ("evil.example", 403)] {
        let mut client = house.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(client.response().await.0, expected, "{host}");
    }
    assert_eq!(super::status(&house.upgrade("/ws", "").await.0), 403, "weir.example");
    let house = House::open(Setup::default());
    assert_eq!(super::status(&house.upgrade("/ws", "").await.0), 101, "production has proxies for that");
}

#[tokio::test(flavor = "local")]
async fn pages_of_a_named_origin_may_call_the_api() {
    let house = House::open(Setup::default());
    let preflight = |origin: &str| {
        format!("OPTIONS /p HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\r\n")
    };
    let mut client = house.connect().await;
    client.send(&preflight("https://app.example")).await;
    let head = client.head().await;
    assert_eq!(status(&head), 204);
    assert_eq!(header(&head, "access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(header(&head, "access-control-allow-credentials"), Some("true"), "its visitors' cookies are for it");
    let mut client = house.connect().await;
    client.send(&preflight("https://evil.test")).await;
    assert_eq!(header(&client.head().await, "access-control-allow-origin"), None);
}

#[tokio::test(flavor = "local")]
async fn draining_ends_idle_connections_and_lets_requests_finish() {
    let house = House::open(Setup::default());
    let mut idle = house.connect().await;
    idle.send(&get("/")).await;
    assert_eq!(idle.response().await.0, 200);
    house.drain.send(true).unwrap();
    assert_eq!(idle.rest().await, "");
}
