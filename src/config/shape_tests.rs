use super::*;
use crate::config::de;
use crate::model::{Ms, MsOrOff, Rate, SecretSource, Size};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct File {
    mode: Option<Mode>,
    #[serde(default)]
    limits: Bounds,
    #[serde(default)]
    listener: BTreeMap<String, Listener>,
    #[serde(default)]
    auth: BTreeMap<String, Auth>,
    #[serde(default)]
    channel: Vec<Class>,
    any: Option<serde_json::Value>,
    secret: Option<SecretSource>,
    do_: Option<Access>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Loopback only.
    Development,
    /// For the world.
    Production,
}

#[derive(Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
#[allow(dead_code)]
struct Bounds {
    connections: Option<u32>,
    idle_timeout: Option<MsOrOff>,
    message_bytes: Option<Size>,
    messages: Option<Rate>,
    ports: Vec<u16>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Listener {
    /// Address and port.
    address: String,
    #[serde(default)]
    admin: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[allow(dead_code)]
enum Auth {
    Jwt(Jwt),
    Hmac(Hmac),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Hmac {
    ttl: Ms,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Jwt {
    keys: Vec<String>,
    missing: Option<Missing>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Missing {
    Word(Anonymous),
    Close(CloseWith),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Anonymous {
    Anonymous,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct CloseWith {
    #[schemars(range(min = 1000, max = 4999))]
    close: u16,
    reason: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Class {
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Access {
    Rule(Rule),
    Secret { secret: SecretSource, from: Vec<String> },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Rule {
    rule: String,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code)]
struct Other {
    elsewhere: BTreeMap<String, Far>,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code)]
struct Far {
    distance: u8,
}

fn told(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let doc = Doc::parse("x.toml", text, &mut faults);
    check(&doc, &Schema::of::<File>(), &[("channels/*.toml", &Schema::of::<Other>())], &mut faults);
    if faults.is_empty() {
        de::read::<File>(&doc.root).map(drop).unwrap();
    }
    faults.iter().map(Fault::to_string).collect()
}

#[test]
fn what_is_right_passes() {
    let right = r#"
        mode = "production"
        any = [{ x = 1 }]
        secret = { env = "A" }
        do_ = { secret = { file = "b" }, from = [] }
        [limits]
        connections = 5
        idle_timeout = "off"
        message_bytes = 100
        messages = { burst = 1, per = "1s" }
        ports = [1, 65535]
        [listener.a]
        address = "127.0.0.1:1"
        [auth.a]
        type = "jwt"
        keys = ["a"]
        missing = { close = 4000, reason = "no" }
        [auth.b]
        type = "hmac"
        ttl = "10m"
        [auth.c]
        type = "jwt"
        keys = []
        missing = "anonymous"
        [[channel]]
        name = "a"
    "#;
    assert_eq!(told(right), [""; 0]);
}

#[test]
fn an_unknown_key_is_told_with_its_right_name_or_its_home() {
    assert_eq!(
        told("[limits]\nconections = 1\n"),
        [
            "x.toml:2:1: unknown key `conections` in [limits]\n  expected `connections`, `idle_timeout`, `message_bytes`, `messages` or `ports`\n  hint: did you mean `connections`?"
        ]
    );
    let hint = |text: &str| told(text)[0].lines().last().unwrap().trim().to_owned();
    assert_eq!(
        hint("[limits]\nmode = 'production'\n"),
        "hint: `mode` belongs at the top of the file, before the first [section]"
    );
    assert_eq!(hint("connections = 1\n"), "hint: `connections` belongs in [limits]");
    assert_eq!(hint("[limits]\naddress = 1\n"), "hint: `address` belongs in [listener.NAME]");
    assert_eq!(hint("name = 'a'\n"), "hint: `name` belongs in [[channel]]");
    assert_eq!(hint("distance = 1\n"), "hint: `distance` belongs in [elsewhere.NAME] of channels/*.toml");
    assert!(
        told("[lisetner.a]\n")[0].starts_with("x.toml:1:2: unknown section [lisetner]"),
        "{:?}",
        told("[lisetner.a]\n")
    );
    assert!(told("[[channel]]\nname = 'a'\nhome = 'b'\n")[0].contains("unknown key `home` in [[channel]]"));
}

#[test]
fn a_wrong_type_says_what_was_expected() {
    let cases = [
        ("mode = 3", "`mode` is a whole number\n  expected `development` or `production`"),
        (
            "limits.idle_timeout = true",
            "`idle_timeout` is `true`\n  expected a duration such as \"30s\" (ms, s, m, h, d) or \"off\"",
        ),
        (
            "limits.message_bytes = '1 stone'",
            "`message_bytes` cannot be `1 stone`\n  expected a size such as \"64KiB\" (B, KiB, MiB, GiB)",
        ),
        ("limits.message_bytes = -1", "`message_bytes` cannot be -1\n  expected a size such as"),
        ("limits.connections = -1", "`connections` cannot be -1\n  expected a whole number from 0 to 4294967295"),
        ("limits.connections = 1.5", "`connections` is a number with a fraction\n  expected a whole number"),
        ("limits.ports = [1, 70000]", "`ports` cannot be 70000\n  expected a whole number from 0 to 65535"),
        ("limits.ports = 1", "`ports` is a whole number\n  expected a list, each a whole number"),
        ("limits.messages = 5", "`messages` is a whole number\n  expected a table with `burst` and `per`"),
        ("limits = 5", "`limits` is a whole number\n  expected a table with"),
        ("auth.a.type = 'hmac'\nauth.a.ttl = 'soon'", "`ttl` cannot be `soon`\n  expected a duration"),
    ];
    for (text, expected) in cases {
        let told = told(text);
        assert!(told.len() == 1 && told[0].contains(expected), "{text}: {told:#?}");
    }
}

#[test]
fn a_secret_in_a_file_is_not_repeated() {
    let told = told("secret = 'hunter2'");
    assert_eq!(
        told,
        [
            "x.toml:1:10: `secret` is a text\n  expected a secret: { env = \"NAME\" } or { file = \"path\" }\n  hint: a secret never stands in a file: name the variable or the file that holds it"
        ]
    );
}

#[test]
fn a_wrong_word_is_told_with_the_right_ones() {
    assert_eq!(
        told("mode = 'prodction'"),
        [
            "x.toml:1:8: unknown mode `prodction`\n  expected `development` or `production`\n  hint: did you mean `production`?"
        ]
    );
    assert_eq!(
        told("[auth.a]\ntype = 'hmca'\nttl = 1"),
        ["x.toml:2:8: unknown type `hmca`\n  expected `hmac` or `jwt`\n  hint: did you mean `hmac`?"
            .replace("`hmac` or `jwt`", "`jwt` or `hmac`")]
    );
    assert!(
        told("auth.a = { type = 'jwt', keys = [], missing = 'anonymus' }")[0].contains("did you mean `anonymous`?")
    );
}

#[test]
fn what_is_missing_is_told_with_its_documentation() {
    assert_eq!(
        told("[listener.a]\n"),
        ["x.toml:1:11: missing key `address` in [listener.a]\n  expected a text\n  hint: Address and port."]
    );
    assert!(told("[auth.a]\nttl = 1")[0].contains("missing key `type` in [auth.a]\n  expected `jwt` or `hmac`"));
    // Misspelt is not also missing.
    assert_eq!(told("listener.a = { adress = '127.0.0.1:1' }").len(), 1);
}

#[test]
fn alternatives_without_a_tag_are_judged_by_the_nearest() {
    let bad = told("do_ = { secret = { env = 'A' } }");
    assert!(bad.len() == 1 && bad[0].contains("missing key `from` in [do_]"), "{bad:?}");
    let bad = told("do_ = { ruel = 'true' }");
    assert!(bad.len() == 1 && bad[0].contains("did you mean `rule`?"), "{bad:?}");
    let bad = told("auth.a = { type = 'jwt', keys = [], missing = { close = 12, reason = '' } }");
    assert!(
        bad.len() == 1 && bad[0].contains("`close` cannot be 12\n  expected a whole number from 1000 to 4999"),
        "{bad:?}"
    );
    let bad = told("secret = { envv = 'A' }");
    assert!(bad.len() == 1 && bad[0].contains("did you mean `env`?"), "{bad:?}");
}

#[test]
fn all_faults_are_told_at_once() {
    assert_eq!(told("mode = 1\nx = 2\n[limits]\nconnections = 'a'\n[[channel]]\n[[channel]]\nname = 1\n").len(), 5);
}
