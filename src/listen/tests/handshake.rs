//! What clients and operators see of the upgrade.

use super::*;
use crate::flow::KeptRequest;
use crate::model::{Ms, Rate, SizeOrOff};

#[tokio::test(flavor = "local")]
async fn a_client_is_upgraded_and_its_first_bytes_are_not_lost() {
    let mut house = House::open(Setup::default());
    let mut client = house.connect().await;
    let lines = "Sec-WebSocket-Protocol: v1, v2\r\nUser-Agent: test\r\nCookie: secret=1\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    client.send(&format!("GET /ws?a=b%20c HTTP/1.1\r\n{WS}{KEY}{lines}\r\nearly bytes")).await;
    let head = client.head().await;
    assert_eq!(status(&head), 101, "{head}");
    assert_eq!(header(&head, "sec-websocket-accept"), Some("s3pplmbitxaq9kygzzhzrbk+xoo="));
    assert_eq!(header(&head, "sec-websocket-protocol"), Some("v1"), "the client's first");
    assert!(header(&head, "sec-websocket-extensions").unwrap().contains("server_no_context_takeover"));
    assert_eq!((header(&head, "date"), header(&head, "server")), (None, None));
    let mut new = house.adopted.recv().await.unwrap();
    assert_eq!(&*new.newcomer.leftover, b"early bytes");
    assert_eq!(
        (new.newcomer.app, new.newcomer.endpoint, new.newcomer.user_agent.as_deref()),
        (AppId(0), 0, Some("test"))
    );
    assert!(new.newcomer.deflate.is_some() && new.tls.is_none() && new.newcomer.ip.is_loopback());
    let request: KeptRequest = *new.newcomer.request.take().unwrap();
    assert_eq!((&*request.path, &*request.query), ("/ws", &[("a".into(), "b c".into())][..]));
    assert!(request.headers.iter().any(|(n, _)| &**n == "user-agent"));
    assert!(!request.headers.iter().any(|(n, _)| &**n == "cookie"), "credentials are not kept");
    // The socket is whole: what is written on one side is read on the other.
    new.stream.set_nonblocking(true).unwrap();
    let mut server = TcpStream::from_std(new.stream).unwrap();
    server.write_all(b"hello").await.unwrap();
    drop(server);
    assert_eq!(client.rest().await, "hello");
    assert_eq!(house.context.counts.connections(), 1);
    drop(new.newcomer.seat);
    assert_eq!(house.context.counts.connections(), 0);
}

#[tokio::test(flavor = "local")]
async fn tokens_lead_to_their_endpoints() {
    let mut house = House::open(Setup::default());
    let user = house.token(json!({ "userId": "ann", "exp": NOW / 1000 + 60 }));
    let tenant = house.token(json!({ "userId": "bob", "tenantId": "acme", "exp": NOW / 1000 + 60 }));
    for (target, expected) in [
        ("/ws".to_owned(), "101 0/0 anonymous"),
        ("/ws/".to_owned(), "101 0/0 anonymous"),
        (format!("/ws?token={user}"), "101 0/0 ann"),
        (format!("/ws?token={tenant}"), "101 1/0 bob"),
        ("/ws?token=forged".to_owned(), "101 1/0 close 4001 bad tenant"),
        ("/members".to_owned(), "401"),
        ("/members?token=forged".to_owned(), "401"),
        (format!("/members?token={user}"), "101 1/1 ann"),
        ("/late/7".to_owned(), "101 0/1 nobody yet"),
        ("/elsewhere".to_owned(), "404"),
        ("/late/%ff".to_owned(), "404"),
    ] {
        assert_eq!(house.outcome(&target, "").await, expected, "{target}");
    }
    still_answers(&house).await;
}

#[tokio::test(flavor = "local")]
async fn a_page_of_another_origin_is_refused() {
    let mut house = House::open(Setup { http: json!({ "origins": ["https://*.example"] }), ..Setup::default() });
    let token = house.token(json!({ "userId": "ann", "exp": NOW / 1000 + 60 }));
    let members = format!("/members?token={token}");
    for (target, origin, expected) in [
        ("/ws", "https://any.example", "101 0/0 anonymous"),
        ("/ws", "https://evil.test", "403"),
        (&members, "https://app.example", "101 1/1 ann"),
        (&members, "https://any.example", "403"),
    ] {
        assert_eq!(house.outcome(target, &format!("Origin: {origin}\r\n")).await, expected, "{target} {origin}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_broken_handshake_is_told_what_is_wrong() {
    let house = House::open(Setup::default());
    for (request, expected) in [
        (format!("POST /ws HTTP/1.1\r\n{WS}{KEY}"), 405),
        (format!("GET /ws HTTP/1.1\r\n{WS}"), 400),
        (format!("GET /ws HTTP/1.1\r\n{WS}Sec-WebSocket-Key: short\r\n"), 400),
        (format!("GET /ws HTTP/1.1\r\n{}{KEY}", WS.replace("13", "8")), 426),
        (format!("GET /ws HTTP/1.1\r\n{}{KEY}", WS.replace("Connection: Upgrade\r\n", "")), 400),
        (format!("GET /ws HTTP/1.1\r\n{WS}{KEY}Content-Length: 3\r\n"), 400),
        (format!("GET /ws HTTP/1.1\r\n{WS}{KEY}Host: second\r\n"), 400),
    ] {
        let mut client = house.connect().await;
        client.send(&format!("{request}\r\n")).await;
        let head = client.head().await;
        assert_eq!(status(&head), expected, "{request}");
        match expected {
            426 => assert_eq!(header(&head, "sec-websocket-version"), Some("13")),
            405 => assert_eq!(header(&head, "allow"), Some("get")),
            _ => assert_eq!(header(&head, "content-type"), Some("application/problem+json")),
        }
    }
    still_answers(&house).await;
}

/// The standard's own examples: of RFC 6455 §1.3, and of §4.1, whose last bits are not zero.
#[tokio::test(flavor = "local")]
async fn any_sixteen_bytes_are_a_key() {
    let house = House::open(Setup::default());
    for key in ["dGhlIHNhbXBsZSBub25jZQ==", "AQIDBAUGBwgJCgsMDQ4PEC==", "AQIDBAUGBwgJCgsMDQ4PEA=="] {
        let mut client = house.connect().await;
        client.send(&format!("GET /ws HTTP/1.1\r\n{WS}Sec-WebSocket-Key: {key}\r\n\r\n")).await;
        assert_eq!(status(&client.head().await), 101, "{key}");
    }
    for key in
        ["AQIDBAUGBwgJCgsMDQ4P", "AQIDBAUGBwgJCgsMDQ4PEBE=", "AQIDBAUGBwgJCgsMDQ4PEA", "AQIDBAUGBwgJCgsMDQ4P-A=="]
    {
        let mut client = house.connect().await;
        client.send(&format!("GET /ws HTTP/1.1\r\n{WS}Sec-WebSocket-Key: {key}\r\n\r\n")).await;
        assert_eq!(status(&client.head().await), 400, "{key}");
    }
}

#[tokio::test(flavor = "local")]
async fn bounds_answer_before_or_after_the_upgrade() {
    let limits = Limits { connections: 3, connections_per_ip: 2, ..Limits::default() };
    let mut house = House::open(Setup { limits, ..Setup::default() });
    let token = house.token(json!({ "userId": "ann", "exp": NOW / 1000 + 60 }));
    let (mut clients, mut held) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        clients.push(house.upgrade("/ws", "").await.1);
        held.push(house.adopted.recv().await.unwrap());
    }
    assert_eq!(house.outcome("/ws", "").await, "429");
    held.clear();
    assert_eq!(house.outcome("/ws", "").await, "101 0/0 anonymous", "places are free again");

    let app_limits = AppLimits { app_connections: 2, connections_per_user: 1, ..AppLimits::default() };
    let mut house = House::open(Setup { app_limits, ..Setup::default() });
    clients.push(house.upgrade(&format!("/ws?token={token}"), "").await.1);
    held.push(house.adopted.recv().await.unwrap());
    let again = house.outcome(&format!("/ws?token={token}"), "").await;
    assert_eq!(again, "101 0/0 close 1008 too many connections");
    clients.push(house.upgrade("/ws", "").await.1);
    held.push(house.adopted.recv().await.unwrap());
    assert_eq!(house.outcome("/ws", "").await, "101 0/0 close 1013 overloaded");

    let limits = Limits { connections: 1, ..Limits::default() };
    let mut house = House::open(Setup { limits, ..Setup::default() });
    clients.push(house.upgrade("/ws", "").await.1);
    held.push(house.adopted.recv().await.unwrap());
    assert_eq!(house.outcome("/ws", "").await, "503");
    still_answers(&house).await;
}

#[tokio::test(flavor = "local")]
async fn attempts_are_limited_by_address() {
    let attempts_per_ip = Rate { burst: 2, per: Ms::secs(60) };
    let limits = Limits { attempts_loopback: true, attempts_per_ip, ..Limits::default() };
    let http = json!({ "trusted_proxies": ["127.0.0.1"] });
    let mut house = House::open(Setup { limits, http, ..Setup::default() });
    for (from, expected) in [
        ("192.0.2.1", "101 0/0 anonymous"),
        ("192.0.2.1", "101 0/0 anonymous"),
        ("192.0.2.1", "429"),
        ("192.0.2.2", "101 0/0 anonymous"),
    ] {
        assert_eq!(house.outcome("/ws", &format!("X-Forwarded-For: {from}\r\n")).await, expected, "{from}");
    }
    let (head, _) = house.upgrade("/ws", "Forwarded: for=192.0.2.1\r\n").await;
    assert_eq!((status(&head), header(&head, "retry-after")), (429, Some("30")));
}

#[tokio::test(flavor = "local")]
async fn a_closed_door_and_a_switched_off_extension_show() {
    let setup = Setup { closed: Some(Closed::Draining), ..Setup::default() };
    assert_eq!(House::open(setup).outcome("/ws", "").await, "503");
    let app_limits = AppLimits { deflate_threshold: SizeOrOff(None), ..AppLimits::default() };
    let house = House::open(Setup { app_limits, ..Setup::default() });
    let (head, _) = house.upgrade("/ws", "Sec-WebSocket-Extensions: permessage-deflate\r\n").await;
    assert_eq!((status(&head), header(&head, "sec-websocket-extensions")), (101, None));
}
