//! What handlers see of the running gateway, and how what they ask for is carried out.

use crate::flow::{App, Generation};
use crate::kernel::{Caller, Port};
use crate::listen::Front;
use crate::model::{
    AppId, AppStats, ChannelInfo, ChannelName, Code, ConnectionInfo, Event, Member, Now, Refusal, Target,
};
use crate::observe::clock;
use crate::script::{Asker, Carry, Connection, Effect, Host};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a worker waits for shards that cannot keep up, before it goes on all the same.
const CONGESTED_MS: u64 = 1_000;

/// One for all workers.
pub struct Stage {
    port: Port,
    front: Arc<ArcSwap<Front>>,
}

impl Stage {
    pub fn new(port: Port, front: Arc<ArcSwap<Front>>) -> Stage {
        Stage { port, front }
    }

    fn generation(&self) -> Arc<Generation> {
        self.front.load().generation.clone()
    }

    fn app(&self, id: AppId) -> Result<Arc<App>, Refusal> {
        self.generation().app(id).cloned().ok_or(Refusal::new(Code::NotFound))
    }

    /// Waits for an answer of the shards, on a worker's thread.
    fn wait<T: Send>(&self, wait_ms: u64, answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        match park(answer, Duration::from_millis(wait_ms)) {
            Some(answer) => answer,
            None => Err(Refusal::because(Code::Overloaded, "the read took too long")),
        }
    }

    /// A plugin that asks for more than shards can take is slowed down rather than let loose.
    fn hold_back(&self) {
        let until = Instant::now() + Duration::from_millis(CONGESTED_MS);
        while self.port.is_congested() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Carry for Stage {
    fn carry(
        &self,
        app: AppId,
        asker: Option<(&Connection, &Asker)>,
        effects: Vec<Effect>,
        tell: Option<oneshot::Sender<u32>>,
    ) {
        let Ok(app) = self.app(app) else { return };
        self.hold_back();
        let refused = |_: &str, refusal: Refusal| {
            crate::observe::limited!(
                error,
                app = &*app.name,
                code = refusal.code.as_str(),
                "an effect was not carried out"
            );
            self.port.shared().metrics.own.effect_refused(&app.name);
        };
        self.port.carry_out(&Caller::plugin(&self.generation(), &app), asker, effects, tell, refused);
    }
}

impl Host for Stage {
    fn now(&self) -> Now {
        clock()
    }

    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes).is_err() {
            tracing::error!("the system gives no random numbers");
        }
        u128::from_ne_bytes(bytes)
    }

    fn history(&self, app: AppId, channel: &ChannelName, limit: usize, wait_ms: u64) -> Result<Vec<Event>, Refusal> {
        let app = self.app(app)?;
        self.wait(wait_ms, self.port.history(&app, channel, None, limit)).map(|page| page.events)
    }

    fn presence(&self, app: AppId, channel: &ChannelName, wait_ms: u64) -> Result<Vec<Member>, Refusal> {
        let app = self.app(app)?;
        self.wait(wait_ms, self.port.presence(&app, channel))
    }

    fn channels(&self, app: AppId, prefix: &str, limit: usize, wait_ms: u64) -> Result<Vec<ChannelInfo>, Refusal> {
        let prefix = prefix.to_owned();
        self.wait(wait_ms, self.port.channels(app, limit, move |name| name.as_str().starts_with(&prefix)))
    }

    fn connections(
        &self,
        app: AppId,
        target: Target,
        limit: usize,
        wait_ms: u64,
    ) -> Result<(Vec<ConnectionInfo>, usize), Refusal> {
        self.wait(wait_ms, self.port.connections(app, target, limit))
    }

    fn stats(&self, app: AppId, claims: &[String], wait_ms: u64) -> Result<AppStats, Refusal> {
        let mut stats = self.wait(wait_ms, self.port.stats(app, claims))?;
        let metrics = &self.port.shared().metrics;
        if let Some(app) = metrics.find(app) {
            stats.traffic = app.traffic(clock().mono, metrics.uptime());
        }
        let (counted, measured) = metrics.own.of(app);
        stats.own = counted.into_iter().map(|(name, n)| (name, n as f64)).chain(measured).collect();
        Ok(stats)
    }
}

/// Runs a future on this thread, which sleeps in between; `None` once `wait` is over.
fn park<T>(future: impl Future<Output = T>, wait: Duration) -> Option<T> {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    let until = Instant::now() + wait;
    loop {
        if let std::task::Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return Some(answer);
        }
        let left = until.checked_duration_since(Instant::now())?;
        std::thread::park_timeout(left);
    }
}
