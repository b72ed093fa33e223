//! Keys and rows whose source is down: clients are told to come back, never that they are refused, and nobody gets in.

use super::{Attacked, GATEWAY, Talk, started, wait};
use crate::support::client::{Got, http};
use crate::support::rows::RowService;
use serde_json::{Value, json};

/// Nothing answers on port 1.
const SETTINGS: &str = r#"
[key.idp]
algorithms = ["RS256"]
jwks = { url = "http://127.0.0.1:1/jwks", min_interval = "1h" }
"#;

const APP: &str = r#"
listener = "main"
[[endpoint]]
path = "/ws"
dialect = "d"
auth = ["idp"]
[[endpoint]]
path = "/told"
dialect = "d"
auth = ["told"]
[[endpoint]]
path = "/first"
dialect = "d"
auth = ["first"]
[[endpoint]]
path = "/again"
dialect = "d"
auth = ["again"]
[[endpoint]]
path = "/row"
dialect = "d"
auth = ["row"]
[[endpoint]]
path = "/open"
dialect = "d"
[auth.idp]
type = "jwt"
keys = ["idp"]
[auth.told]
type = "jwt"
keys = ["idp"]
failed = { close = 4001, reason = "Authentication failed" }
[auth.first]
type = "jwt"
keys = ["idp"]
from = ["message"]
failed = { close = 4001, reason = "Authentication failed" }
[auth.again]
type = "jwt"
keys = ["idp"]
from = ["message"]
failed = "retry"
[auth.row]
type = "jwt"
keys = ["jwt"]
table = "users"
[table.users]
url = "http://127.0.0.1:1/{key}"
[dialect.d]
receive.ping = { do = "ping" }
receive.auth = { do = "authenticate", token = "token" }
receive.sub = { do = "subscribe", channel = "channel" }
send.pong = { type = "pong", id = "{request.id}" }
send.subscribed = { type = "ok", channel = "{channel}" }
send.error = { type = "error", code = "{error.code}", retry = "{error.retry}" }
[[channel]]
name = "mine:{id}"
subscribe = 'tables.users[id].ok == true'
refuse = [{ message = "Not yours" }]
[[channel]]
name = "free:{id}"
subscribe = 'id !in tables.users'
[[channel]]
name = "open:{id}"
subscribe = 'id == "yes" || tables.users[id].ok == true'
[[route]]
get = "/who"
access = { auth = ["idp"] }
reply = { ok = true }
[[route]]
get = "/mine"
access = { auth = ["jwt"], rule = 'tables.users[user.id].ok == true' }
reply = { ok = true }
[auth.jwt]
type = "jwt"
keys = ["jwt"]
[limits]
auth_timeout = "1s"
"#;

fn gateway() -> Attacked {
    started(&[("gateway.toml", &format!("{GATEWAY}{SETTINGS}")), ("channels/app.toml", APP)], &[])
}

/// Of an identity provider whose key nobody here has.
fn of_idp() -> String {
    let part = |v: Value| base64::prelude::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, v.to_string());
    let claims = json!({ "sub": "u1", "exp": 9_999_999_999_u64 });
    format!("{}.{}.{}", part(json!({ "alg": "RS256", "kid": "k" })), part(claims), "A".repeat(342))
}

fn of_ours() -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(b"dev-jwt-secret");
    let claims = json!({ "sub": "u1", "exp": 9_999_999_999_u64 });
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

#[test]
fn what_cannot_be_decided_is_told_as_such_and_lets_nobody_in() {
    let mut gateway = gateway();
    // Before any token comes.
    gateway.wait_for_log(&["key set not fetched", "idp"]).unwrap();
    let (main, admin) = (gateway.at().to_owned(), gateway.address("admin").unwrap().to_owned());
    let Err(Got::Http(reply)) = Talk::to(&main, &format!("/ws?token={}", of_idp()), &[]) else { panic!("let in") };
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
    let Err(Got::Http(reply)) = Talk::to(&main, &format!("/row?token={}", of_ours()), &[]) else { panic!("let in") };
    assert_eq!(reply.status, 503);
    let mut told = Talk::to(&main, &format!("/told?token={}", of_idp()), &[]).ok().unwrap();
    assert_eq!(
        told.closed(),
        (1013, "temporarily unavailable".into()),
        "its clients read closes, and 4001 logs them out"
    );

    let unavailable = json!({ "type": "error", "code": "unavailable", "retry": true });
    let mut first = gateway.talk("/first");
    first.say(json!({ "type": "auth", "token": of_idp() }));
    assert_eq!(first.hear(), unavailable);
    assert_eq!(first.closed().0, 1013);
    let mut again = gateway.talk("/again");
    again.say(json!({ "type": "auth", "token": of_idp() }));
    assert_eq!(again.hear(), unavailable);
    assert_eq!(again.closed().0, 1013, "not the close of those who never showed a token");

    let mut open = gateway.talk("/open");
    for channel in ["mine:u1", "free:u1", "open:no"] {
        open.say(json!({ "type": "sub", "channel": channel }));
        assert_eq!(open.hear(), unavailable, "{channel}");
    }
    open.say(json!({ "type": "sub", "channel": "open:yes" }));
    assert_eq!(open.hear()["type"], "ok", "the row does not matter");

    for (path, token) in [("/who", of_idp()), ("/mine", of_ours())] {
        let bearer = [("Authorization".to_owned(), format!("Bearer {token}"))];
        let reply = http(&main, "GET", path, &bearer, None).unwrap();
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")), "{path}: {}", reply.body);
        assert!(reply.body.contains("\"code\":\"unavailable\""), "{}", reply.body);
    }
    let ready = http(&admin, "GET", "/readyz", &[], None).unwrap();
    assert_eq!(ready.status, 200, "others are served");
    for part in ["key `idp`: no key set was fetched", "table `users` of app `app`"] {
        assert!(ready.body.contains(part), "{part}: {}", ready.body);
    }
    for metric in [
        "weir_upgrades_refused_total{app=\"app\",reason=\"unavailable\",status=\"503\"}",
        "weir_auth_total{app=\"app\",outcome=\"unavailable\"}",
    ] {
        gateway.wait_for_metric(metric, |n| n > 1.0);
    }
    assert_eq!(gateway.metric("weir_auth_total{app=\"app\",outcome=\"failed\"}"), 0.0);
    open.pings();
    gateway.ends();
}

/// A message whose rule needs a row that is not here waits for it, and so does what its client sends behind it. Nobody
/// else does.
#[test]
fn a_message_waits_for_its_row_and_what_follows_waits_behind_it() {
    let service = RowService::start();
    service.set("u1", json!({ "ok": true }));
    let app = APP
        .replace("http://127.0.0.1:1/{key}", &service.url)
        .replace("subscribe = 'tables.users", "publish = 'tables.users[id].ok == true'\nsubscribe = 'tables.users");
    let mut gateway = started(&[("gateway.toml", &format!("{GATEWAY}{SETTINGS}")), ("channels/app.toml", &app)], &[]);
    let (mut ann, mut bob, mut gone) = (gateway.talk("/open"), gateway.talk("/open"), gateway.talk("/open"));
    let hangs = service.hang();
    for channel in ["mine:u1", "mine:u2", "free:u1"] {
        ann.say(json!({ "type": "sub", "channel": channel }));
        ann.say(json!({ "type": "ping", "id": channel }));
    }
    gone.say(json!({ "type": "sub", "channel": "mine:u1" }));
    assert_eq!(service.asked(), "u1");
    gone.0.drop_connection();
    bob.pings();
    drop(hangs);
    assert_eq!(ann.hear(), json!({ "type": "ok", "channel": "mine:u1" }));
    assert_eq!(ann.hear(), json!({ "type": "pong", "id": "mine:u1" }));
    let denied = json!({ "type": "error", "code": "denied", "retry": false });
    for channel in ["mine:u2", "free:u1"] {
        assert_eq!(ann.hear(), denied);
        assert_eq!(ann.hear(), json!({ "type": "pong", "id": channel }));
    }
    // A route's caller waits as well.
    let bearer = [("Authorization".to_owned(), format!("Bearer {}", of_ours()))];
    assert_eq!(http(gateway.at(), "GET", "/mine", &bearer, None).unwrap().status, 200);
    bob.pings();
    gateway.ends();
}

#[test]
fn a_refused_client_leaves_a_line_a_count_and_a_record_and_a_flood_no_more_than_a_few() {
    let settings = format!("{GATEWAY}[log]\nrefusals = {{ burst = 3, per = \"1h\" }}\n");
    let mut gateway =
        started(&[("gateway.toml", &settings), ("channels/app.toml", &APP.replace("\"idp\"", "\"jwt\""))], &[]);
    let main = gateway.at().to_owned();
    for n in 0..20 {
        let path = if n % 2 == 0 { "/ws?token=bad" } else { "/ws" };
        let Err(Got::Http(reply)) = Talk::to(&main, path, &[]) else { panic!("let in") };
        assert_eq!(reply.status, 401);
    }
    assert!(matches!(Talk::to(&main, "/nothing", &[]), Err(Got::Http(reply)) if reply.status == 404));
    let count = |metric: &str| gateway.metric(metric);
    assert_eq!(count("weir_upgrades_refused_total{app=\"app\",reason=\"token\",status=\"401\"}"), 10.0);
    assert_eq!(count("weir_upgrades_refused_total{app=\"app\",reason=\"no_token\",status=\"401\"}"), 10.0);
    assert_eq!(count("weir_upgrades_refused_total{app=\"\",reason=\"not_found\",status=\"404\"}"), 1.0);
    assert_eq!(count("weir_refusals_unlogged_total"), 18.0);
    assert_eq!(count("weir_auth_total{app=\"app\",outcome=\"failed\"}"), 10.0);
    assert_eq!(count("weir_auth_total{app=\"app\",outcome=\"missing\"}"), 10.0);
    let lines = |part: &str| gateway.output().lines().filter(|line| line.contains(part)).count();
    wait("the lines", || lines("upgrade refused") >= 3 && lines("audit=\"refused\"") >= 3);
    assert_eq!((lines("upgrade refused"), lines("audit=\"refused\"")), (3, 3));
    assert!(gateway.output().contains("ip=127.0.0.1") && !gateway.output().contains("token=bad"));
    gateway.ends();
}
