//! What clients write.

use super::*;

#[test]
fn every_verb_takes_its_arguments() {
    let full = dialect(FULL);
    let request = read(&full, r#"{"type":"sub","to":["\u0061","b"],"since":null}"#);
    assert!(
        matches!(request.command, ClientCommand::Subscribe { channels, since: None } if channels[..] == ["a", "b"])
    );
    let request = read(&full, r#"{"type":"sub","to":"a","since":"e1:4"}"#);
    let at = Some(Position { epoch: 0xe1, offset: 4 });
    assert!(matches!(request.command, ClientCommand::Subscribe { since, .. } if since == at));
    let request = read(&full, r#"{"type":"pub","to":"a","body":null,"name":"n","of":"k"}"#);
    let ClientCommand::Publish { data, event, key, .. } = request.command else { panic!() };
    assert_eq!((data.get(), event.as_deref(), key.as_deref()), ("null", Some("n"), Some("k")));
    let request = read(&full, r#"{"type":"past","to":"a","since":"e1:4","limit":10}"#);
    assert!(matches!(request.command, ClientCommand::History { since, limit: Some(10), .. } if since == at));
    let request = read(&full, r#"{"type":"who","to":"a","meta":{"id":1},"id":2}"#);
    assert_eq!(request.id.map(|id| id.get()), Some("1"));
    let whole = r#"{"type":"all","to":"a","n":1}"#;
    assert!(matches!(read(&full, whole).command, ClientCommand::Publish { data, .. } if data.get() == whole));
    assert!(matches!(read(&full, r#"{"type":"bye"}"#).command, ClientCommand::Close));
    assert!(matches!(read(&full, r#"{"type":"psst"}"#).command, ClientCommand::Ignore));
    assert!(full.knows("psst") && !full.knows("foo"));
    assert_eq!(full.kinds().count(), 7);
}

#[test]
fn who_a_client_is_may_be_a_token_or_what_it_says() {
    let both = dialect(r#"receive.hi = { do = "authenticate", claims = "data", token = "data.token" }"#);
    let said = |text: &str| match both.read(text).map(|request| request.command) {
        Ok(ClientCommand::Authenticate { token, claims }) => {
            (token.map(String::from), claims.map(|c| c.get().to_owned()))
        }
        other => panic!("{text}: {other:?}"),
    };
    let data = r#"{"user_id":"u","token":"t"}"#;
    assert_eq!(said(&format!(r#"{{"type":"hi","data":{data}}}"#)), (Some("t".into()), Some(data.into())));
    assert_eq!(said(r#"{"type":"hi","data":{"token":""}}"#), (None, Some(r#"{"token":""}"#.into())));
    assert_eq!(said(r#"{"type":"hi"}"#), (None, None));
    assert_eq!(both.read(r#"{"type":"hi","data":{"token":5}}"#).unwrap_err().refusal.code, Code::InvalidMessage);
    let tokens = dialect(r#"receive.hi = { do = "authenticate", token = "token" }"#);
    assert_eq!(tokens.read(r#"{"type":"hi"}"#).unwrap_err().refusal.code, Code::InvalidMessage);
    assert_eq!(
        problems(r#"receive.hi = { do = "authenticate" }"#),
        ["receive.hi.do: needs `token` or `claims`, where they lie in the message"]
    );
    assert!(!tokens.greets_at_open() && dialect(r#"greet = "open""#).greets_at_open());
}

#[test]
fn an_escaped_type_is_the_type_and_the_last_of_two_keys_counts() {
    let full = dialect(FULL);
    let request = read(&full, r#"{"type":"psst","ty\u0070e":"p\u0075b","to":"x","to":"a","body":1,"body":[2]}"#);
    let ClientCommand::Publish { channel, data, .. } = request.command else { panic!() };
    assert_eq!((&*request.kind, &*channel, data.get()), ("pub", "a", "[2]"));
}

#[test]
fn wrong_shapes_are_refused_whatever_they_are() {
    let full = dialect(FULL);
    for bad in [
        "",
        " ",
        "null",
        "[]",
        "\"bye\"",
        "{}",
        "{\"type\":\"bye\"",
        "{\"type\":\"bye\"}}",
        "{\"type\":\"bye\",}",
        "{'type':'bye'}",
        r#"{"type":1}"#,
        r#"{"type":null}"#,
        r#"{"type":["bye"]}"#,
        r#"{"type":"\ud800"}"#,
        r#"{"type":"bye","x":01}"#,
        r#"{"type":"sub"}"#,
        r#"{"type":"sub","to":null}"#,
        r#"{"type":"sub","to":5}"#,
        r#"{"type":"sub","to":{"0":"a"}}"#,
        r#"{"type":"sub","to":["a",5]}"#,
        r#"{"type":"sub","to":["a",["b"]]}"#,
        r#"{"type":"sub","to":"a","since":4}"#,
        r#"{"type":"sub","to":"a","since":"4"}"#,
        r#"{"type":"sub","to":["a","b"],"since":"e1:4"}"#,
        r#"{"type":"pub","to":"a"}"#,
        r#"{"type":"pub","to":["a"],"body":1}"#,
        r#"{"type":"pub","to":"a","body":1,"name":1}"#,
        r#"{"type":"past","to":"a","limit":-1}"#,
        r#"{"type":"past","to":"a","limit":1.5}"#,
        r#"{"type":"past","to":"a","limit":"1"}"#,
        r#"{"type":"past","to":"a","limit":99999999999}"#,
        r#"{"type":"who","to":"a","meta":"id"}"#,
    ] {
        let code = full.read(bad).map(|request| format!("{request:?}")).unwrap_err().refusal.code;
        assert_eq!(code, Code::InvalidMessage, "{bad}");
    }
    let many = r#"{"type":"sub","to":["a","b","c","d"]}"#;
    assert_eq!(full.read(many).unwrap_err().refusal.code, Code::Limit);
}

#[test]
fn nesting_of_any_depth_overflows_nothing() {
    let full = dialect(FULL);
    let (open, close) = ("[".repeat(500_000), "]".repeat(500_000));
    assert!(full.read(&open).is_err());
    assert!(full.read(&format!(r#"{{"type":"bye","x":{open}"#)).is_err());
    assert!(full.read(&format!(r#"{{"type":{open}{close}}}"#)).is_err());
    assert!(full.read(&format!(r#"{{"type":"sub","to":{open}{close}}}"#)).is_err());
    assert!(full.read(&r#"{"type":"bye","x":"#.repeat(50_000)).is_err());
    assert!(matches!(read(&full, &format!(r#"{{"x":{open}{close},"type":"bye"}}"#)).command, ClientCommand::Close));
    let deep = format!(r#"{{"type":"pub","to":"a","body":{open}{close}}}"#);
    let ClientCommand::Publish { data, .. } = read(&full, &deep).command else { panic!() };
    assert_eq!(heard(&full, &event(data.get())).len(), 1_000_000 + r#"{"data":}"#.len());
    let objects = r#"{"count":"#.repeat(200_000) + "1" + "}".repeat(200_000).as_str();
    assert!(heard(&full, &event(&objects)).ends_with('}'));
    assert!(shipped("reports", "reports").deliver(
        "c",
        1,
        &event(&objects.replace("count", "timestamp")),
        &mut Vec::new()
    ));
}
