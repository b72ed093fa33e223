//! A rule: compiled or told what is wrong with it; and what it says hangs on nothing that it does not read.

use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use weir::model::{ChannelName, Identity, Problem, RowUnknown, Tables};
use weir::policy::{Asking, ChannelSettings, Policy, Reads, RefuseSettings, RequestView, RightKind, Rule, Subscribe};

const NOW: u64 = 1_704_623_400_000;
const TABLES: [&str; 2] = ["users", "clinics"];

static PEOPLE: LazyLock<[Identity; 4]> = LazyLock::new(|| {
    [
        json!({}),
        json!({ "role": "admin", "roles": ["admin", "staff"], "clinicId": "c1", "level": 3 }),
        json!({ "role": "staff", "roles": [], "clinicId": "", "org": { "id": "o1", "list": [1, "a", null] } }),
        json!({ "role": 7, "roles": "admin", "clinicId": null, "level": -1.5e300, "until": 9_007_199_254_740_993_u64 }),
    ]
    .map(|claims| {
        let Value::Object(claims) = claims else { unreachable!() };
        let user = claims.get("level").map(|_| "u1".into());
        Identity { user, claims, ..Identity::default() }
    })
});

static CHANNELS: LazyLock<[ChannelName; 3]> =
    LazyLock::new(|| ["room:c1:x", "room:u1:a:b:c", "room:ünï c0de:\"'"].map(|name| ChannelName::parse(name).unwrap()));

struct Rows;

impl Tables for Rows {
    fn row(&self, table: &str, key: &str) -> Result<Option<Arc<Map<String, Value>>>, RowUnknown> {
        assert!(TABLES.contains(&table), "a table that there is not: {table}");
        let Value::Object(row) = json!({ "role": "staff", "clinicId": key, "n": 1 }) else { unreachable!() };
        match table {
            // A source that is down now and then.
            "users" if key.len() == 3 => Err(RowUnknown),
            "users" if !key.is_empty() => Ok(Some(Arc::new(row))),
            _ => Ok(None),
        }
    }
}

struct Request;

impl RequestView for Request {
    fn path(&self) -> &str {
        "/ws/c1"
    }
    fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        (name != "none").then(|| "c1".into())
    }
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        (name == "host").then(|| "localhost".into())
    }
    fn ip(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }
    fn var(&self, name: &str) -> Option<&str> {
        (name == "clinic").then_some("c1")
    }
}

/// The rule's text.
pub fn play(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for problem in Rule::compile(text, "rule", &TABLES).err().into_iter().flatten() {
        right(&problem, text);
    }
    let settings = ChannelSettings {
        name: "room:{clinicId}:{*rest}".into(),
        subscribe: Some(text.into()),
        refuse: vec![RefuseSettings { when: Some(text.into()), ..RefuseSettings::default() }],
        ..ChannelSettings::default()
    };
    match Policy::compile([&settings], &TABLES, &|path| path.into()) {
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a word");
            problems.iter().for_each(|problem| right(problem, text));
        }
        Ok(policy) => decide(&policy),
    }
}

fn decide(policy: &Policy) {
    let reads = policy.classes()[0].reads(RightKind::Subscribe);
    let asking = Asking { identity: &PEOPLE[1], request: Some(&Request), tables: &Rows, now: NOW };
    let first = verdict(policy, &CHANNELS[0], &asking);
    let same = |what: Reads, channel: &ChannelName, asking: &Asking| {
        let verdict = verdict(policy, channel, asking);
        assert!(reads.contains(what) || verdict == first, "it reads {reads:?}, and not {what:?}, which changes it");
    };
    for identity in PEOPLE.iter() {
        same(Reads::USER, &CHANNELS[0], &Asking { identity, ..asking });
        verdict(policy, &CHANNELS[2], &Asking { identity, request: None, tables: &(), ..asking });
    }
    for channel in CHANNELS.iter() {
        same(Reads::VARS, channel, &asking);
    }
    same(Reads::REQUEST, &CHANNELS[0], &Asking { request: None, ..asking });
    same(Reads::TABLES, &CHANNELS[0], &Asking { tables: &(), ..asking });
    for now in [0, u64::MAX] {
        same(Reads::NOW, &CHANNELS[0], &Asking { now, ..asking });
    }
}

fn verdict(policy: &Policy, channel: &ChannelName, asking: &Asking) -> bool {
    let permit = policy.decide::<Subscribe>(channel, asking, 1);
    let told = policy.explain(RightKind::Subscribe, channel, asking);
    assert_eq!(told.allowed, permit.is_ok(), "decided and explained are two things");
    if let Ok(permit) = &permit {
        assert_eq!((permit.channel(), permit.class()), (channel, 0));
    }
    permit.is_ok()
}

fn right(problem: &Problem, text: &str) {
    assert!(!problem.what.is_empty());
    if let Some((line, column)) = problem.offset {
        let lines: Vec<&str> = text.split('\n').collect();
        assert!(line >= 1 && column >= 1, "{problem:?}");
        let found = lines.get(line as usize - 1).unwrap_or_else(|| panic!("{} lines: {problem:?}", lines.len()));
        assert!(column as usize <= found.chars().count() + 1, "`{found}` is not as long: {problem:?}");
    }
}
