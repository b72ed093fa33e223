//! The documents' examples, by the tables that are shipped or could be.

use super::*;

#[test]
fn reports_speaks_as_its_document_says() {
    let reports = shipped("reports", "reports");
    let welcome = say(&reports, Answer::Hello, None);
    assert_eq!(welcome["type"], "welcome");
    assert_eq!(welcome["data"]["userId"], "ann");
    assert_eq!(welcome["data"]["serverTime"], TIME);
    assert_eq!(welcome["data"]["availableChannels"][3], "user:alerts");

    let request = read(&reports, r#"{"type":"subscribe","channel":"test:channel"}"#);
    assert!(
        matches!(&request.command, ClientCommand::Subscribe { channels, since: None } if channels[..] == ["test:channel"])
    );
    let answer = Answer::Subscribed { channel: "test:channel", position: None, recovered: None };
    let subscribed = json!({ "type": "subscribed", "channel": "test:channel", "timestamp": TIME });
    assert_eq!(say(&reports, answer, Some(&request)), subscribed);
    assert!(!reports.answers_in_whole());

    assert!(matches!(read(&reports, r#" { "type" : "ping" } "#).command, ClientCommand::Ping));
    assert!(matches!(read(&reports, r#"{"type":"get_status"}"#).command, ClientCommand::Status));
    assert_eq!(say(&reports, Answer::Pong, None), json!({ "type": "pong", "timestamp": TIME }));
    let status = say(&reports, Answer::Status, None);
    assert_eq!(status["data"]["channels"], json!(["a", "b"]));
    assert_eq!(status["data"]["lastActivity"], "2024-01-07T10:30:00.007Z");

    let error = |text| json!({ "type": "error", "message": text, "timestamp": TIME });
    assert_eq!(refused(&reports, r#"{"type":"foo"}"#), error("Unknown message type"));
    assert_eq!(refused(&reports, "hello"), error("Invalid message format"));
    let own = Refusal::because(Code::Denied, "Insufficient permissions for admin channels");
    assert_eq!(
        say(&reports, Answer::Error { refusal: &own, channel: Some("admin:x") }, None),
        error(own.message.as_deref().unwrap())
    );
    let plain = Refusal::new(Code::Denied);
    assert_eq!(
        say(&reports, Answer::Error { refusal: &plain, channel: None }, None),
        error("Access denied to channel")
    );

    assert_eq!(reports.connection_ids(), ConnectionIds::Ws);
    let health = shipped("reports", "health");
    assert_eq!(say(&health, Answer::Hello, None), json!({ "type": "health", "status": "ok", "timestamp": TIME }));
    assert_eq!(health.close_after_hello().map(|close| close.code), Some(1000));
}

#[test]
fn a_published_object_gets_the_timestamp_that_it_lacks() {
    let reports = shipped("reports", "reports");
    for (published, delivered) in [
        (r#"{"type":"note"}"#, format!(r#"{{"type":"note","timestamp":"{TIME}"}}"#)),
        ("{}", format!(r#"{{"timestamp":"{TIME}"}}"#)),
        (" { \"a\" : {} } \n", format!(r#" {{ "a" : {{}},"timestamp":"{TIME}"}}"#)),
        (r#"{"data":{"timestamp":1}}"#, format!(r#"{{"data":{{"timestamp":1}},"timestamp":"{TIME}"}}"#)),
        (r#"{"x":"\u0041\"timestamp\""}"#, format!(r#"{{"x":"\u0041\"timestamp\"","timestamp":"{TIME}"}}"#)),
    ] {
        assert_eq!(heard(&reports, &event(published)), delivered);
    }
    for as_it_is in [
        r#"{"timestamp":null,"n":1}"#,
        r#"{"n":1, "timestamp" :5}"#,
        r#"{"time\u0073tamp":5}"#,
        "[1,{}]",
        "\"{}\"",
        "{broken \"timestamp\"}",
        "1",
        "",
    ] {
        assert_eq!(heard(&reports, &event(as_it_is)), as_it_is);
    }
}

#[test]
fn clinic_answers_a_subscription_in_whole_and_errors_not_at_all() {
    let clinic = shipped("clinic", "clinic");
    assert!(clinic.answers_in_whole() && clinic.quiet());
    let connected = json!({ "type": "CONNECTED", "data": { "clientId": ANN.to_string(), "userId": "ann" } });
    assert_eq!(say(&clinic, Answer::Hello, None), connected);
    assert_eq!(say(&clinic, Answer::Pong, None), json!({ "type": "PONG" }));

    let request = read(&clinic, r#"{"data":{"channels":["system:maintenance","clinic:c2:queue"]},"type":"SUBSCRIBE"}"#);
    let ClientCommand::Subscribe { channels, .. } = &request.command else { panic!("{request:?}") };
    assert_eq!(channels[..], ["system:maintenance", "clinic:c2:queue"]);
    let no = Refusal::new(Code::UnknownChannel);
    let answer = Answer::SubscribeResult { allowed: &["system:maintenance"], denied: &[("clinic:c2:queue", &no)] };
    let denied = json!([{ "channel": "clinic:c2:queue", "reason": "permission_denied" }]);
    let result = json!({ "type": "SUBSCRIBE_RESULT", "data": { "allowed": ["system:maintenance"], "denied": denied } });
    assert_eq!(say(&clinic, answer, Some(&request)), result);
    let empty = json!({ "type": "SUBSCRIBE_RESULT", "data": { "allowed": [], "denied": [] } });
    assert_eq!(say(&clinic, Answer::SubscribeResult { allowed: &[], denied: &[] }, None), empty);

    assert_eq!(refused(&clinic, "nonsense"), Value::Null);
    assert_eq!(say(&clinic, Answer::Unsubscribed { channel: "x" }, None), Value::Null);
    let taken = say(&clinic, Answer::Revoked { channel: "clinic:c2:queue", refusal: None }, None);
    assert_eq!(taken["data"]["denied"], denied);
    assert_eq!(clinic.shutdown().unwrap().reason, "Server shutting down");
    assert_eq!(heard(&clinic, &event(r#"{"type":"ANNOUNCEMENT"}"#)), r#"{"type":"ANNOUNCEMENT"}"#);
}

#[test]
fn tenant_wraps_what_clients_say_and_passes_on_the_rest() {
    let tenant = dialect(TENANT);
    let request = read(&tenant, r#"{"type":"join_channel","data":{"channel":"tenant:acme:general"}}"#);
    assert!(
        matches!(&request.command, ClientCommand::Subscribe { channels, .. } if channels[..] == ["tenant:acme:general"])
    );
    let error = |text| json!({ "type": "error", "data": { "error": text } });
    assert_eq!(refused(&tenant, r#"{"type":"foo"}"#), error("Unknown message type: foo"));
    assert_eq!(refused(&tenant, r#"{"type":"a\"b{now}"}"#), error("Unknown message type: a\"b{now}"));
    for bad in ["", "{", r#"{"type":"join_channel"}"#, r#"{"type":"send_message","data":{"channel":"c"}}"#] {
        assert_eq!(refused(&tenant, bad), error("Invalid message format"), "{bad}");
    }

    let request = read(&tenant, r#"{"type":"send_message","data":{"message":{"text":"hi"},"channel":"chat:1"}}"#);
    let ClientCommand::Publish { channel, data, event: None, key: None } = &request.command else {
        panic!("{request:?}")
    };
    assert_eq!((&**channel, data.get()), ("chat:1", r#"{"text":"hi"}"#));
    let told: Value = serde_json::from_str(&heard(&tenant, &event(data.get()))).unwrap();
    let sender = json!({ "id": "ann", "connectionId": ANN.to_string() });
    let data = json!({ "channel": "chat:1", "message": { "text": "hi" }, "sender": sender, "timestamp": TIME });
    assert_eq!(told, json!({ "type": "channel_message", "data": data }));
    let of_the_api = Event { sender: None, ..event(r#"{"type":"notification"}"#) };
    assert_eq!(heard(&tenant, &of_the_api), r#"{"type":"notification"}"#);
}

#[test]
fn an_id_in_a_request_comes_back_in_its_answer() {
    let intraday = dialect(INTRADAY);
    let request = read(&intraday, r#"{"event":"client:ping","id":7}"#);
    let data = json!({ "pong": true, "server_time": TIME });
    assert_eq!(say(&intraday, Answer::Pong, Some(&request)), json!({ "event": "client:pong", "data": data, "id": 7 }));
    let request = read(&intraday, r#"{"event":"client:ping"}"#);
    assert_eq!(say(&intraday, Answer::Pong, Some(&request)), json!({ "event": "client:pong", "data": data }));

    let request = read(&intraday, r#"{"id":"a1","event":"authenticate","data":{"token":"t"}}"#);
    assert!(
        matches!(&request.command, ClientCommand::Authenticate { token: Some(token), claims: None } if token == "t")
    );
    let data = json!({ "success": true, "socket_id": ANN.to_string(), "user_id": "ann", "organization_id": "o1" });
    let authenticated = json!({ "event": "authenticated", "id": "a1", "data": data });
    assert_eq!(say(&intraday, Answer::Authenticated, Some(&request)), authenticated);

    let error = refused(&intraday, r#"{"event":"subscribe","data":{},"id":[1]}"#);
    assert_eq!(error["data"]["code"], "INVALID_MESSAGE");
    assert_eq!(error["id"], json!([1]));
    assert_eq!(refused(&intraday, r#"{"data":{},"id":3}"#)["id"], 3);

    let request = read(&intraday, r#"{"event":"kpi:update","data":{"room":"kpi:o1","n":1}}"#);
    let ClientCommand::Publish { channel, event: Some(name), .. } = request.command else { panic!() };
    assert_eq!((&*channel, &*name), ("kpi:o1", "kpi:update"));
    let update = Event { event: Some("kpi:update".into()), ..event("{\"n\":1}") };
    let told: Value = serde_json::from_str(&heard(&intraday, &update)).unwrap();
    assert_eq!(told, json!({ "event": "kpi:update", "data": { "n": 1 } }));
    assert_eq!(heard(&intraday, &event("5")), r#"{"data":5}"#);
}
