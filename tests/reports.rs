//! Back ends of the report builder that are told by webhook.

use crate::support::client::{Client, Got};
use crate::support::gateway::{Gateway, PATIENCE};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Instant;
use tungstenite::Message;

#[test]
fn a_cancellation_reaches_the_back_end_signed() {
    let back_end = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/commands", back_end.local_addr().unwrap());
    let environment = [("REPORTS_COMMANDS_URL".to_string(), url)];
    let gateway = Gateway::start("shipped", &environment).unwrap();
    let path = "/api/v1/reports/progress/report-uuid";
    let mut ann = Client::connect(gateway.address("main").unwrap(), path, &[]).unwrap();
    ann.send(Message::text(r#"{"type":"cancel_report"}"#)).unwrap();

    let (head, body) = request(&back_end);
    assert!(head.starts_with("post /commands http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nwebhook-signature: v1,"), "{head}");
    assert_eq!((&body["type"], &body["data"]["reportId"]), (&json!("cancel_report"), &json!("report-uuid")));
    let told: Vec<String> = (0..3).map(|_| kind(ann.next().unwrap())).collect();
    assert_eq!(told, ["welcome", "report_status", "report_cancelled"]);
    assert_eq!(gateway.panics(), None);
}

/// The next request: its head in lower case, and its body.
fn request(listener: &TcpListener) -> (String, Value) {
    listener.set_nonblocking(true).unwrap();
    let end = Instant::now() + PATIENCE;
    let mut stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(e) => assert!(e.kind() == ErrorKind::WouldBlock && Instant::now() < end, "nobody calls: {e}"),
        }
        thread::yield_now();
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        got.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&got).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            return (head.to_ascii_lowercase(), body);
        }
        assert!(read > 0, "{text}");
    }
}

fn kind(got: Got) -> String {
    match got {
        Got::Text(text) => serde_json::from_str::<Value>(&text).unwrap()["type"].as_str().unwrap().to_string(),
        other => panic!("{other:?}"),
    }
}
