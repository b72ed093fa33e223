//! A gateway that writes down what it is asked, and answers what it was told to.

use crate::api::gateway::Gateway;
use crate::flow::{App, Wish};
use crate::hub::Page;
use crate::kernel::{Caller, Receipt};
use crate::model::{
    AppId, AppStats, ChannelInfo, ChannelName, Code, Command, ConnectionId, ConnectionInfo, Content, Event, EventKind,
    Identity, Member, Position, Refusal, Target,
};
use crate::script::Finished;
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

#[derive(Clone, Default)]
pub struct Fake(Arc<Inner>);

#[derive(Default)]
struct Inner {
    asked: Mutex<Vec<String>>,
    /// Refused that often before it is done.
    busy: Mutex<u32>,
    /// Publishing waits here.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

pub const ANN: u128 = 0x1234_5678_9abc_4ef0_8122_3344_5566_7788;

impl Fake {
    fn note(&self, what: String) {
        self.0.asked.lock().unwrap().push(what);
    }

    /// What it was asked since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.asked.lock().unwrap())
    }

    pub fn busy(&self, times: u32) {
        *self.0.busy.lock().unwrap() = times;
    }

    /// Publishing waits for permits of the answer.
    pub fn gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.0.gate.lock().unwrap() = Some(gate.clone());
        gate
    }
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn short(target: &Target) -> String {
    match target {
        Target::Connection(id) => format!("connection {id}"),
        Target::User(user) => format!("user {user}"),
        Target::Filter(f) => {
            let mut out = String::from("filter");
            f.users.iter().flatten().for_each(|u| out += &format!(" user={u}"));
            f.claims.iter().for_each(|(c, v)| out += &format!(" {c}={}", serde_json::to_string(v).unwrap()));
            f.channels.iter().flatten().for_each(|c| out += &format!(" on={c}"));
            out += if f.is_nobody() { " nobody" } else { "" };
            f.exclude.iter().for_each(|_| out += " but one");
            out
        }
    }
}

impl Gateway for Fake {
    async fn execute(&self, caller: &Caller, command: &Command) -> Result<Receipt, Refusal> {
        caller.allows(command)?;
        let reached = |recipients| Ok(Receipt { recipients, position: None });
        match command {
            Command::Publish { channels, draft } => {
                let gate = self.0.gate.lock().unwrap().clone();
                if let Some(gate) = gate {
                    gate.acquire().await.unwrap().forget();
                }
                let mut busy = self.0.busy.lock().unwrap();
                if *busy > 0 {
                    *busy -= 1;
                    return Err(Refusal::new(Code::Overloaded));
                }
                let event = draft.event.as_deref().map(|e| format!(" event={e}")).unwrap_or_default();
                let (app, data, via) = (&caller.app.name, text(&draft.data), caller.via.as_str());
                channels.iter().for_each(|channel| self.note(format!("{app} publish {channel} {data}{event} {via}")));
                Ok(Receipt { recipients: 2, position: Some(Position { epoch: 1, offset: 7 }) })
            }
            Command::Send { target, content } => {
                let Content::Text(data) = content else { panic!("the API sends text as it stands") };
                self.note(format!("send to {}: {}", short(target), text(data)));
                reached(3)
            }
            Command::Subscribe { target, channel } => {
                self.note(format!("subscribe {} to {channel}", short(target)));
                reached(1)
            }
            Command::Unsubscribe { target, channel } => {
                self.note(format!("unsubscribe {} from {channel}", short(target)));
                reached(1)
            }
            Command::Close { target, close } => {
                self.note(format!("disconnect {} {} {}", short(target), close.code, close.reason));
                reached(1)
            }
            Command::Cleanup { idle_ms } => {
                self.note(format!("cleanup {idle_ms}"));
                reached(4)
            }
        }
    }
    async fn call(&self, _: Wish) -> Result<Finished, Refusal> {
        Err(Refusal::new(Code::Overloaded))
    }
    async fn presence(&self, _: &App, _: &ChannelName) -> Result<Vec<Member>, Refusal> {
        let identity = Arc::new(Identity { user: Some("u1".into()), ..Identity::default() });
        Ok(vec![Member { connection: ConnectionId(ANN), identity, joined_at: 0 }])
    }
    async fn history(
        &self,
        _: &App,
        channel: &ChannelName,
        since: Option<Position>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        self.note(format!("history {channel} {since:?} {limit}"));
        let event = Event {
            kind: EventKind::Message,
            data: Bytes::from_static(b"{\"n\":1.00}"),
            event: None,
            key: None,
            sender: None,
            exclude: None,
            priority: crate::model::Priority::default(),
            offset: 3,
            at: crate::model::Now::default(),
        };
        Ok(Page { events: vec![event], position: Position { epoch: 1, offset: 3 }, more: false, complete: true })
    }
    async fn channels(
        &self,
        _: AppId,
        limit: usize,
        pass: impl Fn(&ChannelName) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<ChannelInfo>, Refusal> {
        let names = ["clinic:c1:queue", "clinic:c2:queue", "system:news"].map(|n| ChannelName::parse(n).unwrap());
        let passing = names.into_iter().filter(|n| pass(n)).take(limit);
        Ok(passing.map(|name| ChannelInfo { name, subscribers: 2, since: 0 }).collect())
    }
    async fn connections(
        &self,
        _: AppId,
        target: Target,
        limit: usize,
    ) -> Result<(Vec<ConnectionInfo>, usize), Refusal> {
        self.note(format!("connections {} {limit}", short(&target)));
        if matches!(target, Target::Connection(id) if id.0 != ANN) {
            return Ok((Vec::new(), 0));
        }
        let info = ConnectionInfo {
            id: ConnectionId(ANN),
            identity: Arc::new(Identity { user: Some("u1".into()), ..Identity::default() }),
            channels: vec![ChannelName::parse("system:news").unwrap()],
            ip: "192.0.2.9".parse().unwrap(),
            user_agent: Some("jest/29".into()),
            endpoint: "/ws".into(),
            connected_at: 0,
            last_activity: 1_000,
            queued_bytes: 0,
        };
        Ok((vec![info], 5))
    }
    async fn stats(&self, _: AppId, claims: &[String]) -> Result<AppStats, Refusal> {
        let by = claims.iter().map(|c| (c.clone(), [("x".to_owned(), 2)].into())).collect();
        Ok(AppStats { connections: 2, channels: 1, subscriptions: 3, by, ..AppStats::default() })
    }
}
