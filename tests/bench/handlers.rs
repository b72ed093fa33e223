//! What one call of a handler costs, without workers: `cargo bench --bench handlers`.
//!
//! CPU of this thread, so that a busy machine changes little. Nothing is asserted: read the table before and after a
//! change. Wanted: 250,000 calls a second for a message of 200 bytes that is published once.

use std::sync::Arc;
use weir::model::{
    AppId, AppStats, ChannelInfo, ChannelName, ConnectionId, ConnectionInfo, Identity, Member, Now, Refusal, Target,
};
use weir::script::{App, Around, Asker, Connection, Event, Host, Limits, Plugin, State, Trigger};

#[global_allocator]
static ALLOCATOR: weir::observe::Allocator = weir::observe::Allocator;

/// The message of the figure above: 200 bytes, a map inside.
const MESSAGE: &str = r#"{"type":"note","room":"ward-3","text":"The patient in bed four asks for water, please","user":{"id":"u-1042","name":"Ann Example","role":"nurse","shift":2},"urgent":false,"sent":1704623400000,"seq":10042}"#;

const PLUGIN: &str = r#"
import "lib/text" as text;
const MAX = settings.length;
const ROOMS = #{ wards: ["ward-1", "ward-3"] };

fn nothing(event) {}
fn publish_once(event) {
    if event.data.text.len > MAX { refuse("too_large", "too long"); }
    publish("room:" + event.data.room, #{ text: event.data.text, from: event.data.user.id });
}
fn relay(event) { publish("room:1", event.data); }
fn refused(event) { refuse("denied", "no"); }
fn stateful(event) { this.count = (this.count ?? 0) + 1; this.last = event.data.seq; }
fn counted(event) { this.count += 1; publish("room:1", #{ count: this.count }); }
fn imported(event) { text::short(event.data.text) }
fn own(event) { short(event.data.text) }
fn short(text) { text.len < 100 }
fn loop_of_100(event) { let sum = 0; for n in 0..100 { sum += n; } }
fn user_and_connection(event) { if event.user.role == "nurse" { event.connection.id } }
"#;

/// No gateway: nothing is read.
struct Nobody;

impl Host for Nobody {
    fn now(&self) -> Now {
        Now::default()
    }
    fn random(&self) -> u128 {
        0
    }
    fn history(&self, _: AppId, _: &ChannelName, _: usize, _: u64) -> Result<Vec<weir::model::Event>, Refusal> {
        Ok(Vec::new())
    }
    fn presence(&self, _: AppId, _: &ChannelName, _: u64) -> Result<Vec<Member>, Refusal> {
        Ok(Vec::new())
    }
    fn channels(&self, _: AppId, _: &str, _: usize, _: u64) -> Result<Vec<ChannelInfo>, Refusal> {
        Ok(Vec::new())
    }
    fn connections(&self, _: AppId, _: Target, _: usize, _: u64) -> Result<(Vec<ConnectionInfo>, usize), Refusal> {
        Ok((Vec::new(), 0))
    }
    fn stats(&self, _: AppId, _: &[String], _: u64) -> Result<AppStats, Refusal> {
        Ok(AppStats::default())
    }
}

fn main() {
    // `cargo test --benches` runs this too, to see that it still works.
    let calls: u64 = if std::env::args().any(|a| a == "--test") { 10 } else { 200_000 };
    let app = app();
    println!("{:<44}{:>12}{:>14}", "", "ns a call", "calls a second");
    for handler in [
        "nothing",
        "publish_once",
        "relay",
        "refused",
        "stateful",
        "counted",
        "own",
        "imported",
        "loop_of_100",
        "user_and_connection",
    ] {
        row(&app, handler, calls);
    }
}

fn row(app: &App, name: &str, calls: u64) {
    let handler = app.plugin.handler(name).unwrap_or_else(|p| panic!("{}", p.what));
    let (event, mut state) = (event(), State::new());
    // The state of an entity that was called before.
    state = State::from_json(r#"{"count":0}"#).unwrap_or(state);
    let around = Around { app, host: &Nobody, store: None, entity: Some("room:1"), limits: &app.limits };
    let mut call = || {
        // As workers do: a copy to go back to, where the handler keeps state.
        let copy = app.plugin.keeps_state(handler).then(|| state.clone());
        let ran = app.plugin.run(handler, &mut state, &event, &around);
        std::hint::black_box((ran.is_ok(), copy));
    };
    for _ in 0..calls / 10 {
        call();
    }
    // The best of five: what disturbs only adds.
    let best = (0..5).map(|_| cpu_of(|| (0..calls).for_each(|_| call()))).min().unwrap_or_default();
    let ns = best as f64 / calls as f64;
    println!("{name:<44}{ns:>12.0}{:>14.0}", 1e9 / ns);
}

/// Nanoseconds of this thread's CPU.
fn cpu_of(work: impl FnOnce()) -> u64 {
    let now = || {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is there to be written.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    };
    let begun = now();
    work();
    now() - begun
}

fn app() -> App {
    let files = |name: &str| match name {
        "bench" => Ok(("plugins/bench.rhai".to_owned(), PLUGIN.to_owned())),
        "lib/text" => Ok(("plugins/lib/text.rhai".to_owned(), "fn short(text) { text.len < 100 }".to_owned())),
        other => Err(format!("there is no {other}")),
    };
    let limits = Limits::default();
    let settings = serde_json::json!({ "length": 500 }).as_object().cloned().unwrap_or_default();
    let plugin = Plugin::compile("bench", &files, &limits, &settings, &[]).unwrap_or_else(|p| panic!("{p:#?}"));
    App {
        id: AppId(0),
        name: "bench".into(),
        plugin,
        limits,
        entities: Default::default(),
        timers: Vec::new(),
        policy: None,
    }
}

fn event() -> Event {
    let claims = serde_json::json!({ "id": "u-1042", "role": "nurse" });
    let connection = Connection {
        id: ConnectionId::uuid(7),
        shard: 0,
        slot: 0,
        ip: [127, 0, 0, 1].into(),
        connected_at: 0,
        endpoint: "/ws".into(),
        user_agent: None,
        request: None,
    };
    Event {
        trigger: Trigger::Message { kind: "note".into() },
        data: MESSAGE.into(),
        identity: Arc::new(Identity::described(claims.as_object().cloned().unwrap_or_default())),
        connection: Some(Arc::new(connection)),
        asker: Some(Asker { id: None, kind: "note".into() }),
        channel: ChannelName::parse("room:1").ok(),
        vars: vec![("room".into(), "1".into())],
        at: Now::default(),
    }
}
