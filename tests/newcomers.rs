//! How clients are let in changes under a running gateway: it holds for those who come then, not for those who are here.

use crate::support::client::{Client, Got};
use crate::support::live::{Live, ROOM, hear, pong, publish, subscribe};
use crate::support::words;
use serde_json::{Value, json};

const AUTH: &str = r#"
[auth.jwt]
type    = "jwt"
keys    = ["jwt"]
from    = ["query:token"]
user    = ["sub"]
missing = "anonymous"
failed  = "reject"
"#;

/// Tokens are read at `/room`.
fn guarded() -> Live {
    let live = Live::start(&[("WEIR_RELOAD__WATCH", "off"), ("JWT_SECRET", "one"), ("NEXT_SECRET", "two")]);
    let key = "\n[key.jwt]\nalgorithms = [\"HS256\"]\nsecret = { env = \"JWT_SECRET\" }\n";
    live.write("gateway.toml", live.read("gateway.toml") + key);
    let text = live.read(ROOM).replace("path    = \"/room\"\n", "path    = \"/room\"\nauth    = [\"jwt\"]\n");
    live.write(ROOM, text + AUTH);
    let (status, told) = live.reload();
    assert_eq!(status, 200, "{told:#}");
    live
}

fn token(claims: &Value, secret: &str) -> String {
    let text = format!("{{{{jwt {claims} secret={secret}}}}}");
    words::fill(&text, &Default::default(), &|_| Err(String::new())).unwrap()
}

/// With a token, or what the upgrade was answered.
fn come(live: &Live, token: &str) -> Result<Client, u16> {
    let client = Client::connect(live.gateway.address("main").unwrap(), &format!("/room?token={token}"), &[]).unwrap();
    if client.upgrade.status == 101 { Ok(client) } else { Err(client.upgrade.status) }
}

/// Users of the open connections, in order; nobody is "".
fn users(live: &Live) -> Vec<String> {
    let keys = [("authorization".to_string(), "Bearer dev-weir-api-key".to_string())];
    let (_, listed) = live.admin("GET", "/api/connections?app=room", &keys);
    let each = listed["connections"].as_array().unwrap().iter();
    let mut users: Vec<String> = each.map(|c| c["userId"].as_str().unwrap_or_default().to_owned()).collect();
    users.sort();
    users
}

#[test]
fn another_authenticator_holds_for_the_next_token() {
    let mut live = guarded();
    let mut ben = come(&live, &token(&json!({ "sub": "ben", "name": "benjamin" }), "one")).unwrap();
    assert_eq!((users(&live), pong(&mut ben)), (vec![String::new(), "ben".into()], "first".into()));
    // Another claim is the user's name from now on.
    live.edit(ROOM, "user    = [\"sub\"]", "user    = [\"name\"]");
    let plan = live.plan(&live.candidate(&[]));
    assert_eq!((&plan["ok"], &plan["revoked"]["connection_count"]), (&json!(true), &json!(0)));
    assert_eq!(live.reload().0, 200);
    let cy = come(&live, &token(&json!({ "sub": "cy", "name": "cyrus" }), "one")).unwrap();
    assert_eq!(users(&live), ["", "ben", "cyrus"]);
    // Another key: old tokens open nothing any more, and close nothing that is open.
    live.edit("gateway.toml", "secret = { env = \"JWT_SECRET\" }", "secret = { env = \"NEXT_SECRET\" }");
    assert_eq!(live.reload().0, 200);
    assert_eq!(come(&live, &token(&json!({ "name": "dan" }), "one")).err(), Some(401));
    let dan = come(&live, &token(&json!({ "name": "dan" }), "two")).unwrap();
    assert_eq!(users(&live), ["", "ben", "cyrus", "dan"]);
    // Nobody comes without a token any more; who came so stays.
    live.edit(ROOM, "missing = \"anonymous\"", "missing = \"reject\"");
    assert_eq!(live.reload().0, 200);
    let bare = Client::connect(live.gateway.address("main").unwrap(), "/room", &[]).unwrap();
    assert_eq!((bare.upgrade.status, live.pong().as_str(), pong(&mut ben).as_str()), (401, "first", "first"));
    subscribe(&mut ben, "room:1");
    publish(&mut live.ann, "room:1", json!(1));
    assert_eq!(hear(&mut ben), json!(1));
    drop((cy, dan));
    live.edit(ROOM, "missing = \"reject\"", "missing = \"anonymous\"");
    assert_eq!(live.reload().0, 200);
    live.end();
}

#[test]
fn an_endpoint_for_tokens_with_a_claim_comes_and_goes() {
    let live = guarded();
    let guest = token(&json!({ "sub": "gus", "tenant": "t1" }), "one");
    let mut before = come(&live, &guest).unwrap();
    let endpoint = |has: &str| {
        format!(
            "[[endpoint]]\npath = \"/room\"\ndialect = \"own\"\nauth = [\"jwt\"]\nwhen.token.has = {has}\n\n\
             [[endpoint]]\npath    = \"/room\""
        )
    };
    let dialect = "[dialect.own]\nreceive.ping = { do = \"ping\" }\nsend.pong = { type = \"pong\", answer = \"own\" }\n\n[dialect.plain]";
    live.edit(ROOM, "[dialect.plain]", dialect);
    live.edit(ROOM, "[[endpoint]]\npath    = \"/room\"", &endpoint("[\"tenant\", \"sub\"]"));
    let (status, told) = live.reload();
    assert_eq!(status, 200, "{told:#}");
    // Who is here stays where it is; the same token leads elsewhere now, one without the claim does not.
    let mut after = come(&live, &guest).unwrap();
    let mut plain = come(&live, &token(&json!({ "sub": "pat" }), "one")).unwrap();
    let answers = [&mut before, &mut after, &mut plain].map(pong);
    assert_eq!(answers, ["first", "own", "first"]);
    // A token that does not verify is none without the claim.
    assert_eq!(come(&live, &token(&json!({ "sub": "eve" }), "forged")).err(), Some(401));
    // The same conditions in another order are the same endpoint.
    live.edit(ROOM, "[\"tenant\", \"sub\"]", "[\"sub\", \"tenant\", \"sub\"]");
    live.edit(ROOM, "\"own\" }", "\"still own\" }");
    assert_eq!(live.reload().0, 200);
    assert_eq!(pong(&mut after), "still own");
    // Another condition is another endpoint: its connections are to come again.
    let next = live.candidate(&[(ROOM, "[\"sub\", \"tenant\", \"sub\"]", "[\"team\"]")]);
    let plan = live.plan(&next);
    assert_eq!(plan["revoked"]["connections"][0]["why"], "endpoint removed", "{plan:#}");
    assert_eq!(
        (&plan["revoked"]["connection_count"], &plan["revoked"]["connections"][0]["user"]),
        (&json!(1), &json!("gus"))
    );
    std::fs::copy(next.path().join(ROOM), live.path(ROOM)).unwrap();
    assert_eq!(live.reload().0, 200);
    assert_eq!(after.next().unwrap(), Got::Close(1012, "endpoint removed".into()));
    assert_eq!(pong(&mut come(&live, &guest).unwrap()), "first");
    assert_eq!((pong(&mut before), pong(&mut plain)), ("first".into(), "first".into()));
    live.end();
}
