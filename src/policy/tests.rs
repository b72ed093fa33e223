//! A channel, somebody who asks, and the answer.

use super::*;
use crate::model::{ChannelName, Code, Identity, Problem, RowUnknown, Tables};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) fn user(id: &str, claims: Value) -> Identity {
    let user = (!id.is_empty()).then(|| id.into());
    Identity { user, claims: claims.as_object().cloned().unwrap_or_default(), ..Identity::default() }
}

/// Tables as `{"users": {"u1": {…}}}`.
pub(super) struct Rows(pub Value);

impl Tables for Rows {
    fn row(&self, table: &str, key: &str) -> Result<Option<Arc<Map<String, Value>>>, RowUnknown> {
        let row = self.0.get(table).and_then(|table| table.get(key));
        match row {
            // Stands for a source that does not answer.
            Some(Value::String(_)) => Err(RowUnknown),
            row => Ok(row.and_then(Value::as_object).cloned().map(Arc::new)),
        }
    }
}

pub(super) struct Upgrade;

impl RequestView for Upgrade {
    fn path(&self) -> &str {
        "/ws"
    }
    fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        (name == "room").then_some("c1".into())
    }
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        (name == "user-agent").then_some("curl".into())
    }
    fn ip(&self) -> IpAddr {
        [127, 0, 0, 1].into()
    }
    fn var(&self, name: &str) -> Option<&str> {
        (name == "tenant").then_some("acme")
    }
}

pub(super) fn asking(identity: &Identity) -> Asking<'_> {
    Asking { identity, request: Some(&Upgrade), tables: &(), now: 1_704_623_400_000 }
}

/// The `[[channel]]` tables of a file.
fn channels(toml: &str) -> Vec<ChannelSettings> {
    #[derive(serde::Deserialize)]
    struct File {
        channel: Vec<ChannelSettings>,
    }
    toml::from_str::<File>(toml).unwrap().channel
}

fn compile(toml: &str) -> Result<Policy, Vec<Problem>> {
    Policy::compile(&channels(toml), &["users"], &|path| format!("app.toml:{path}"))
}

fn may<R: Right>(policy: &Policy, name: &str, identity: &Identity) -> Result<String, (Code, String)> {
    let refused = |r: crate::model::Refusal| (r.code, r.message.unwrap_or_default().into_owned());
    let name = Policy::name(name).map_err(refused)?;
    policy.decide::<R>(&name, &asking(identity), 7).map(|p| p.channel().to_string()).map_err(refused)
}

fn denied(message: &str) -> Result<String, (Code, String)> {
    Err((Code::Denied, message.into()))
}

const REPORTS: &str = r#"
[[channel]]
name      = "user:{id}:{*topic}"
subscribe = 'user.id == id || "admin" in user.roles'
refuse    = [{ when = "!user.known", message = "Authentication required for user channels" }]
[[channel]]
name      = "user:alerts"
alias     = "user:{user.id}:alerts"
subscribe = "user.known"
refuse    = [{ message = "Authentication required for user channels" }]
[[channel]]
name      = "reports:data:{id}"
home      = "reports:data"
also      = ["reports:data-updates"]
subscribe = "true"
[[channel]]
name      = "reports:{*topic}"
subscribe = "true"
"#;

#[test]
fn the_report_builders_channels() {
    let policy = compile(REPORTS).unwrap();
    let (ann, admin, nobody) =
        (user("u1", json!({})), user("u2", json!({"roles": ["x", "admin"]})), user("", json!({})));
    assert_eq!(may::<Subscribe>(&policy, "user:u1:alerts", &ann).unwrap(), "user:u1:alerts");
    assert_eq!(may::<Subscribe>(&policy, "user:u1:a:b", &admin).unwrap(), "user:u1:a:b");
    assert_eq!(may::<Subscribe>(&policy, "user:u12:alerts", &ann), denied(""));
    assert_eq!(may::<Subscribe>(&policy, "user:u1:x", &nobody), denied("Authentication required for user channels"));
    assert_eq!(may::<Subscribe>(&policy, "reports:progress:7", &nobody).unwrap(), "reports:progress:7");
    for unknown in ["user:u1", "nowhere", "", "reports:", "a::b", "reports:\u{0}", "reports:a\nb"] {
        assert_eq!(
            may::<Subscribe>(&policy, unknown, &admin),
            Err((Code::UnknownChannel, String::new())),
            "{unknown:?}"
        );
    }
}

#[test]
fn what_no_rule_allows_is_refused() {
    let policy = compile(REPORTS).unwrap();
    let ann = user("u1", json!({}));
    assert_eq!(may::<Publish>(&policy, "reports:progress", &ann), denied(""));
    let name = ChannelName::parse("reports:progress").unwrap();
    let refusal = policy.decide::<Publish>(&name, &asking(&ann), 7).unwrap_err();
    assert_eq!(refusal.rule.as_deref(), Some("app.toml:channel[3].name has no `publish` rule"));
    // Whoever may hear may ask what was said and who is there.
    assert!(may::<History>(&policy, "reports:progress", &ann).is_ok());
    assert!(may::<Presence>(&policy, "user:u2:x", &ann).is_err());
}

#[test]
fn an_alias_is_no_way_around_its_target() {
    let policy = compile(REPORTS).unwrap();
    let ann = user("u1", json!({}));
    assert_eq!(may::<Subscribe>(&policy, "user:alerts", &ann).unwrap(), "user:u1:alerts");
    let nobody = user("", json!({}));
    assert_eq!(may::<Subscribe>(&policy, "user:alerts", &nobody), denied("Authentication required for user channels"));
    // A user called like somebody else's channel stays outside of it.
    let mallory = user("u1:alerts:x", json!({}));
    assert_eq!(may::<Subscribe>(&policy, "user:alerts", &mallory), Err((Code::UnknownChannel, String::new())));
    let closed = compile("channel = [{ name = 'a', alias = 'b', subscribe = 'true' }, { name = 'b' }]").unwrap();
    assert_eq!(may::<Subscribe>(&closed, "a", &ann), denied(""));
}

#[test]
fn a_channel_knows_its_home_and_its_copies() {
    let policy = compile(REPORTS).unwrap();
    let name = ChannelName::parse("reports:data:7").unwrap();
    let found = policy.find(&name).unwrap();
    assert_eq!(found.home().unwrap().as_str(), "reports:data");
    assert_eq!(found.also().map(|n| n.to_string()).collect::<Vec<_>>(), ["reports:data-updates"]);
    assert_eq!((found.number(), found.var("id"), found.var("topic")), (2, Some("7"), None));
}

#[test]
fn a_tenant_does_not_reach_the_next() {
    let policy = compile(
        r#"
        [[channel]]
        name = "tenant:{t}:{*rest}"
        subscribe = 'user.tenantId == t'
        [[channel]]
        name = "tenant:1"
        subscribe = "true"
        "#,
    )
    .unwrap();
    let one = user("u1", json!({"tenantId": "1"}));
    assert!(may::<Subscribe>(&policy, "tenant:1:general", &one).is_ok());
    assert!(may::<Subscribe>(&policy, "tenant:12:general", &one).is_err());
    assert_eq!(may::<Subscribe>(&policy, "tenant:12", &one).unwrap_err().0, Code::UnknownChannel);
    // Without the claim there is nothing to be equal to.
    assert!(may::<Subscribe>(&policy, "tenant:1:general", &user("u1", json!({}))).is_err());
    assert!(may::<Subscribe>(&policy, "tenant:1:general", &user("u1", json!({"tenantId": null}))).is_err());
}

#[test]
fn the_first_fitting_refusal_is_told() {
    let policy = compile(
        r#"
        [[channel]]
        name = "a"
        subscribe = 'user.plan == "pro"'
        refuse = [
            { when = "!user.known", code = "unauthenticated" },
            { when = 'user.plan == "free"', message = "Upgrade" },
            { message = "No" },
        ]
        "#,
    )
    .unwrap();
    let ask = |u: &Identity| may::<Subscribe>(&policy, "a", u);
    assert_eq!(ask(&user("", json!({}))), Err((Code::Unauthenticated, String::new())));
    assert_eq!(ask(&user("u", json!({"plan": "free"}))), denied("Upgrade"));
    assert_eq!(ask(&user("u", json!({}))), denied("No"));
    assert!(ask(&user("u", json!({"plan": "pro"}))).is_ok());
}

#[test]
fn a_rule_that_errs_refuses_and_says_why() {
    let policy = compile("channel = [{ name = 'a', subscribe = 'user.age > 1 && user.name.first == \"x\" || true' }]");
    let (policy, name) = (policy.unwrap(), ChannelName::parse("a").unwrap());
    let ann = user("u", json!({"age": 3, "name": "Ann"}));
    let refusal = policy.decide::<Subscribe>(&name, &asking(&ann), 7).unwrap_err();
    assert_eq!(
        refusal.rule.as_deref(),
        Some("app.toml:channel[0].subscribe subscribe: at 1:27 of the rule, a text has no `first`")
    );
}

#[test]
fn an_api_key_acts_within_its_scope() {
    let policy = compile(REPORTS).unwrap();
    let may = |scope: &Scope, name: &str| {
        let name = ChannelName::parse(name).unwrap();
        policy.allow_api::<Publish>(scope, &name, 7).map(|p| (p.class(), p.generation())).map_err(|r| r.code)
    };
    let all = Scope::compile(&["*".into()], "").unwrap();
    assert_eq!(may(&all, "reports:a:b"), Ok((3, 7)));
    assert_eq!(may(&all, "nowhere"), Err(Code::UnknownChannel));
    assert_eq!(may(&all, "user:alerts"), Err(Code::UnknownChannel));
    let some = Scope::compile(&["reports:data:*".into(), "user:{*any}".into()], "").unwrap();
    assert_eq!(may(&some, "reports:data:1"), Ok((2, 7)));
    assert_eq!(may(&some, "reports:a:b"), Err(Code::Denied));
    assert_eq!(may(&Scope::default(), "reports:data:1"), Err(Code::Denied));
    assert!(Scope::compile(&["a*".into()], "api_key.x.channels").unwrap_err()[0].path.ends_with("channels[0]"));
}

#[test]
fn all_problems_are_told_at_once() {
    let problems = compile(
        r#"
        [[channel]]
        name = "a:{id}"
        subscribe = 'usr.id == idd'
        home = "{user.id}"
        refuse = [{ code = "denid" }]
        [[channel]]
        name = "a:*"
        publish = "tables.user[user.id].ok"
        [[channel]]
        name = "b:x{id}"
        "#,
    )
    .unwrap_err();
    let told: Vec<_> = problems.iter().map(|p| (&*p.path, p.offset, &*p.what, p.hint.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("channel[0].subscribe", Some((1, 1)), "unknown variable `usr`", Some("did you mean `user`?")),
            ("channel[0].subscribe", Some((1, 11)), "unknown variable `idd`", Some("did you mean `id`?")),
            ("channel[0].refuse[0].code", None, "unknown code `denid`", Some("did you mean `denied`?")),
            ("channel[0].home", None, "`{user.id}` differs from user to user", None),
            ("channel[1].publish", Some((1, 1)), "unknown table `user`", Some("did you mean `users`?")),
            ("channel[1].name", None, "`a:*` is shadowed by `a:{id}`", None),
            (
                "channel[2].name",
                None,
                "`x{id}` is no segment of a pattern",
                Some("a variable is a whole segment between two `:`, never a part of one")
            ),
        ]
    );
    let dangling = compile("channel = [{ name = 'a', also = ['b'], alias = 'a' }]").unwrap_err();
    assert_eq!(dangling.len(), 2, "{dangling:?}");
}

#[test]
fn a_caller_knows_what_it_may_keep() {
    let policy = compile(
        r#"
        channel = [
            { name = "a", subscribe = "true", publish = "user.known" },
            { name = "b:{id}", subscribe = "user.id == id", publish = "now > 1" },
            { name = "c", subscribe = "user.known", refuse = [{ when = 'request.path == "/x"' }] },
            { name = "d", subscribe = "true", alias = "b:{user.id}" },
        ]
        "#,
    )
    .unwrap();
    for (name, right, cache) in [
        ("a", RightKind::Subscribe, Cache::Always),
        ("a", RightKind::Publish, Cache::Class),
        ("b:x", RightKind::Subscribe, Cache::Channel),
        ("b:x", RightKind::Presence, Cache::Channel),
        ("b:x", RightKind::Publish, Cache::Never),
        ("c", RightKind::Subscribe, Cache::Never),
        ("c", RightKind::Publish, Cache::Never),
        ("d", RightKind::Subscribe, Cache::Never),
        ("nowhere", RightKind::Subscribe, Cache::Always),
    ] {
        assert_eq!(policy.cache(&ChannelName::parse(name).unwrap(), right), cache, "{name} {right:?}");
    }
}

#[test]
fn a_decision_is_explained() {
    let policy = compile(
        r#"
        [[channel]]
        name = "clinic:{clinicId}:queue"
        subscribe = '(user.role == "admin") || user.clinicId == clinicId && "a || b" != user.name'
        "#,
    )
    .unwrap();
    let ann = user("u1", json!({"role": "staff", "clinicId": "c1"}));
    let name = ChannelName::parse("clinic:c2:queue").unwrap();
    let why = policy.explain(RightKind::Subscribe, &name, &asking(&ann));
    assert_eq!(why.class.as_deref(), Some("clinic:{clinicId}:queue"));
    assert_eq!(why.vars, [("clinicId".to_owned(), "c2".to_owned())]);
    assert!(!why.allowed && why.code == Some(Code::Denied) && why.error.is_none());
    fn lines(part: &Part, depth: usize, out: &mut Vec<String>) {
        out.push(format!("{:depth$}{} = {}", "", part.text, part.value));
        part.parts.iter().for_each(|p| lines(p, depth + 1, out));
    }
    let mut told = Vec::new();
    lines(&why.rule.unwrap(), 0, &mut told);
    assert_eq!(
        told,
        [
            r#"(user.role == "admin") || user.clinicId == clinicId && "a || b" != user.name = false"#,
            r#" user.role == "admin" = false"#,
            r#"  user.role = "staff""#,
            r#"  "admin" = "admin""#,
            r#" user.clinicId == clinicId && "a || b" != user.name = false"#,
            r#"  user.clinicId == clinicId = false"#,
            r#"   user.clinicId = "c1""#,
            r#"   clinicId = "c2""#,
            r#"  "a || b" != user.name = ()"#,
            r#"   "a || b" = "a || b""#,
            r#"   user.name = ()"#,
        ]
    );
    let alias = compile(REPORTS).unwrap();
    let why = alias.explain(RightKind::Subscribe, &ChannelName::parse("user:alerts").unwrap(), &asking(&ann));
    assert!(why.allowed);
    assert_eq!(why.alias.unwrap().vars[1].1, "alerts");
}

#[test]
fn shipped_channels_compile() {
    let mut files = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/channels")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        files += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let table: toml::Table = text.parse().unwrap();
        let tables: Vec<&str> =
            table.get("table").and_then(|t| t.as_table()).into_iter().flatten().map(|(k, _)| &**k).collect();
        // The other keys of a `[[channel]]` are `hub`'s.
        let ours = ["name", "subscribe", "publish", "read_history", "read_presence", "refuse", "alias", "home", "also"];
        let channels: Vec<ChannelSettings> = table["channel"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| {
                let own = c.as_table().unwrap().iter().filter(|(k, _)| ours.contains(&&***k));
                let own: toml::Table = own.map(|(k, v)| (k.clone(), v.clone())).collect();
                own.try_into().unwrap()
            })
            .collect();
        Policy::compile(&channels, &tables, &|p| p.into()).unwrap_or_else(|p| panic!("{}: {p:#?}", path.display()));
    }
    assert!(files >= 2, "{files}");
}

#[test]
fn an_explanation_is_read_back_from_its_json() {
    let part = |text: &str, parts| Part { text: text.into(), value: "false".into(), parts };
    let mut why = Explanation {
        allowed: false,
        class: Some("clinic:{id}:{a}".into()),
        vars: vec![("id".into(), "c1".into()), ("a".into(), "b".into())],
        origin: "channels/clinic.toml:1:2 subscribe".into(),
        rule: Some(part("a && b", vec![part("a", Vec::new()), part("b", Vec::new())])),
        error: Some("no row".into()),
        code: Some(Code::Denied),
        message: Some("not yours".into()),
        alias: None,
    };
    why.alias = Some(Box::new(why.clone()));
    let json = serde_json::to_string(&why).unwrap();
    let head = r#"{"allowed":false,"class":"clinic:{id}:{a}","vars":{"id":"c1","a":"b"},"rule":"channels/clinic.toml:1:2 subscribe","expression":{"#;
    assert!(json.starts_with(head) && json.contains(r#""code":"denied","message":"not yours""#), "{json}");
    assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), why);
    assert!(serde_json::from_str::<Explanation>(r#"{"allowed":true}"#).is_err());
}
