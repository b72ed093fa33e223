//! A gateway of fixed answers, and one call after another.

use crate::model::{self, *};
use crate::script::*;
use crate::script::{Event, Fault};
use crate::store::Store;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub const NOW: Millis = 1_704_623_400_000;

#[derive(Default)]
pub struct Fixed {
    pub randoms: AtomicU64,
    /// Reads fail with this.
    pub fails: Option<Code>,
    /// What `history` has of any channel, where that is not three events of its own.
    pub published: Option<Vec<String>>,
    /// Channels of each connection, and connections that there are.
    pub crowd: Option<(usize, usize)>,
}

impl Fixed {
    fn answer<T>(&self, answer: T) -> Result<T, Refusal> {
        self.fails.map_or(Ok(answer), |code| Err(Refusal::new(code)))
    }
}

impl Host for Fixed {
    fn now(&self) -> Now {
        Now { mono: Mono::from_ms(1_000_000), wall: NOW }
    }
    fn random(&self) -> u128 {
        let n = self.randoms.fetch_add(1, Ordering::Relaxed) as u128;
        n << 96 | n << 64 | n
    }
    fn history(&self, _: AppId, channel: &ChannelName, limit: usize, _: u64) -> Result<Vec<model::Event>, Refusal> {
        let own = || (1..=3).map(|n| format!(r#"{{"on":"{channel}","n":{n}}}"#)).collect();
        let all: Vec<String> = self.published.clone().unwrap_or_else(own);
        let event = |(n, data): (u64, &String)| model::Event {
            kind: EventKind::Message,
            data: data.clone().into(),
            event: Some("note".into()),
            key: None,
            sender: None,
            exclude: None,
            priority: crate::model::Priority::default(),
            offset: n,
            at: Now { wall: NOW - 10 + n, ..Now::default() },
        };
        self.answer((1..).zip(&all).take(limit).map(event).collect())
    }
    fn presence(&self, _: AppId, _: &ChannelName, _: u64) -> Result<Vec<Member>, Refusal> {
        self.answer(vec![Member { connection: ConnectionId::uuid(7), identity: ann(), joined_at: NOW }])
    }
    fn channels(&self, _: AppId, prefix: &str, limit: usize, _: u64) -> Result<Vec<ChannelInfo>, Refusal> {
        let all = ["room:1", "room:1:chat", "room:2"].into_iter().filter(|n| n.starts_with(prefix)).take(limit);
        self.answer(
            all.map(|n| ChannelInfo { name: ChannelName::parse(n).unwrap(), subscribers: n.len(), since: 7 }).collect(),
        )
    }
    fn connections(
        &self,
        _: AppId,
        target: Target,
        limit: usize,
        _: u64,
    ) -> Result<(Vec<ConnectionInfo>, usize), Refusal> {
        let all = match target {
            Target::User(id) if &*id == "nobody" => 0,
            _ => self.crowd.map_or(2, |(_, connections)| connections),
        };
        let channel = |n: usize| ChannelName::parse(&format!("room:{}", n + 1)).unwrap();
        let info = |n: usize| ConnectionInfo {
            id: ConnectionId::uuid(n as u128),
            identity: ann(),
            channels: (0..self.crowd.map_or(1, |(channels, _)| channels)).map(channel).collect(),
            ip: [127, 0, 0, 1].into(),
            user_agent: None,
            endpoint: "/ws".into(),
            connected_at: NOW,
            last_activity: NOW,
            queued_bytes: 0,
        };
        self.answer(((0..all.min(limit)).map(info).collect(), all))
    }
    fn stats(&self, _: AppId, claims: &[String], _: u64) -> Result<AppStats, Refusal> {
        let by = claims.iter().map(|c| (c.clone(), BTreeMap::from([("nurse".to_owned(), 2)]))).collect();
        self.answer(AppStats { connections: 2, channels: 3, subscriptions: 4, by, ..AppStats::default() })
    }
}

pub fn ann() -> Arc<Identity> {
    let claims = json!({ "id": "ann", "role": "nurse", "org": { "id": 7 } });
    Arc::new(Identity::described(claims.as_object().unwrap().clone()))
}

pub fn connection() -> Arc<Connection> {
    Arc::new(Connection {
        id: ConnectionId::uuid(42),
        shard: 0,
        slot: 1,
        ip: [127, 0, 0, 1].into(),
        connected_at: NOW - 1_000,
        endpoint: "/ws".into(),
        user_agent: Some("test".into()),
        request: None,
    })
}

/// A client's message.
pub fn message(data: &str) -> Event {
    Event {
        trigger: Trigger::Message { kind: "note".into() },
        data: Bytes::copy_from_slice(data.as_bytes()),
        identity: ann(),
        connection: Some(connection()),
        asker: Some(Asker { id: None, kind: "note".into() }),
        channel: Some(ChannelName::parse("room:1").unwrap()),
        vars: vec![("room".into(), "1".into())],
        at: Now { wall: NOW, ..Now::default() },
    }
}

pub fn route() -> Event {
    let web = Web {
        method: "POST".into(),
        path: "/tickets".into(),
        query: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
        headers: vec![("accept".into(), "text/plain".into())],
        ip: [127, 0, 0, 1].into(),
    };
    Event { trigger: Trigger::Route(Box::new(web)), asker: None, connection: None, ..message(r#"{"n":1}"#) }
}

/// An app of one plugin, and the state of one entity.
pub struct Bench {
    pub app: App,
    pub host: Fixed,
    pub store: Option<Arc<dyn Store>>,
    pub state: State,
    pub entity: Option<&'static str>,
}

pub fn compile(text: &str, limits: &Limits) -> Result<Plugin, Vec<PluginProblem>> {
    compile_files(&[("test", text)], limits)
}

/// The first file is the plugin.
pub fn compile_files(texts: &[(&str, &str)], limits: &Limits) -> Result<Plugin, Vec<PluginProblem>> {
    let files = |name: &str| {
        let found = texts.iter().find(|(n, _)| *n == name);
        found
            .map(|(n, t)| (format!("plugins/{n}.rhai"), t.to_string()))
            .ok_or_else(|| format!("there is no plugins/{name}.rhai"))
    };
    let settings: Map<String, Value> =
        json!({ "limit": 3, "name": "ward", "deep": { "er": [1, 2] } }).as_object().unwrap().clone();
    Plugin::compile(texts[0].0, &files, limits, &settings, &["backend"])
}

pub fn bench(text: &str) -> Bench {
    bench_with(text, patient())
}

/// Debug builds are slow, and the machine may be busy: the default deadline is for the built program.
pub fn patient() -> Limits {
    Limits { deadline: Ms::secs(60), ..Limits::default() }
}

pub fn bench_with(text: &str, limits: Limits) -> Bench {
    let plugin = compile(text, &limits).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    bench_of(plugin, limits)
}

pub fn bench_of(plugin: Plugin, limits: Limits) -> Bench {
    let app = App {
        id: AppId(1),
        name: "test".into(),
        plugin,
        limits,
        entities: BTreeMap::new(),
        timers: Vec::new(),
        policy: None,
    };
    Bench { app, host: Fixed::default(), store: None, state: State::new(), entity: Some("room:1") }
}

impl Bench {
    pub fn run(&mut self, handler: &str, event: &Event) -> Result<Ran, Failure> {
        let handler = self.app.plugin.handler(handler).unwrap();
        let around = Around {
            app: &self.app,
            host: &self.host,
            store: self.store.as_deref(),
            entity: self.entity,
            limits: &self.app.limits,
        };
        let mut state = self.state.clone();
        let ran = self.app.plugin.run(handler, &mut state, event, &around)?;
        self.state = state;
        Ok(ran)
    }

    pub fn fault(&mut self, handler: &str, event: &Event) -> Fault {
        match self.run(handler, event) {
            Err(Failure::Fault(fault)) => *fault,
            other => panic!("no fault: {other:?}"),
        }
    }

    pub fn refusal(&mut self, handler: &str, event: &Event) -> Refusal {
        match self.run(handler, event) {
            Err(Failure::Refused(refusal)) => refusal,
            other => panic!("no refusal: {other:?}"),
        }
    }
}

/// `{"a":1}` of a handler that returns it, as a route would.
pub fn value(body: &str) -> Value {
    let mut bench = bench(&format!("fn f(event) {{ {body} }}"));
    let ran = bench.run("f", &route()).unwrap_or_else(|e| panic!("{body}: {e:?}"));
    ran.value.map_or(Value::Null, |v| serde_json::from_slice(&v).unwrap())
}

/// The text of the fault of a handler's body.
pub fn told(body: &str) -> String {
    let mut bench = bench(&format!("fn f(event) {{ {body} }}"));
    bench.fault("f", &message("{}")).to_string()
}

pub fn publications(ran: &Ran) -> Vec<String> {
    let shown = |e: &Effect| match e {
        Effect::Do(Command::Publish { channels, draft }) => {
            let names: Vec<&str> = channels.iter().map(ChannelName::as_str).collect();
            format!("{} {}", names.join("+"), std::str::from_utf8(&draft.data).unwrap())
        }
        other => format!("{other:?}"),
    };
    ran.effects.iter().map(shown).collect()
}

/// As a loader would show them.
pub fn shown(problems: &[PluginProblem]) -> String {
    let mut out = String::new();
    for p in problems {
        out += &format!("{}:{}:{}: {}\n", p.file, p.line, p.column, p.what);
        if let Some(expected) = &p.expected {
            out += &format!("  expected {expected}\n");
        }
        if let Some(hint) = &p.hint {
            out += &format!("  hint: {hint}\n");
        }
    }
    out
}

pub fn faults(texts: &[(&str, &str)]) -> String {
    match compile_files(texts, &Limits::default()) {
        Ok(_) => panic!("no fault in {texts:?}"),
        Err(problems) => shown(&problems),
    }
}
