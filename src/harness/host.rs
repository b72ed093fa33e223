//! What handlers see of a test's gateway, and what the test sees of its handlers.

use super::clock::{Chance, Clock};
use super::kernels::Kernels;
use crate::flow::{App, Generation};
use crate::kernel::Caller;
use crate::model::{
    AppId, AppStats, ChannelInfo, ChannelName, Code, ConnectionInfo, Event, Member, Now, Refusal, Target,
};
use crate::script::{Asker, Carry, Connection, Effect, Fault, Host, Outbox};
use crate::store::Parcel;
use arc_swap::ArcSwap;
use fragile::Fragile;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Lines of `print` that are remembered for `log`.
const PRINTED_MAX: usize = 10_000;

/// What happened in handlers and was not looked at yet.
#[derive(Default)]
pub(super) struct Seen {
    /// Of the step that is being played: what comes of it is told with it.
    pub line: AtomicU32,
    all: Mutex<All>,
}

#[derive(Default)]
pub(super) struct All {
    pub faults: VecDeque<(u32, String)>,
    pub printed: VecDeque<String>,
    /// Names and bodies, JSON texts.
    pub webhooks: VecDeque<(u32, Arc<str>, String)>,
}

/// All that the workers ask of their surroundings.
pub(super) struct Stage {
    /// In force: a call that began by an earlier one reads and acts by this all the same, as it does in a gateway.
    pub generation: ArcSwap<Generation>,
    pub clock: Arc<Clock>,
    pub chance: Chance,
    pub seen: Arc<Seen>,
    /// Weak, since the kernels have the workers, and those have this.
    pub kernels: Fragile<Weak<Kernels>>,
}

impl Seen {
    pub fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something went wrong.
    pub fn fault(&self, what: String) {
        self.all().faults.push_back((self.line.load(Relaxed), what));
    }
}

impl Stage {
    fn kernels(&self) -> Result<Rc<Kernels>, Refusal> {
        self.kernels.get().upgrade().ok_or(Refusal::new(Code::Internal))
    }

    fn app(&self, id: AppId) -> Result<Arc<App>, Refusal> {
        self.generation.load().app(id).cloned().ok_or(Refusal::new(Code::NotFound))
    }

    /// Steps the kernels, never the handlers, until they have answered.
    fn read<T>(&self, question: impl AsyncFnOnce(&Kernels) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let kernels = self.kernels()?;
        let answer = kernels.answer(question(&kernels));
        answer.unwrap_or(Err(Refusal::because(Code::Overloaded, "the read took too long")))
    }
}

impl Host for Stage {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn random(&self) -> u128 {
        self.chance.next()
    }

    fn random_id(&self) -> u128 {
        self.chance.next_id()
    }

    fn printed(&self, line: &str) -> bool {
        let printed = &mut self.seen.all().printed;
        if printed.len() == PRINTED_MAX {
            printed.pop_front();
        }
        printed.push_back(line.to_owned());
        true
    }

    fn failed(&self, fault: &Fault) {
        self.seen.fault(fault.to_string());
    }

    fn history(&self, app: AppId, channel: &ChannelName, limit: usize, _: u64) -> Result<Vec<Event>, Refusal> {
        let app = self.app(app)?;
        self.read(async |kernels| Ok(kernels.port.history(&app, channel, None, limit).await?.events))
    }

    fn presence(&self, app: AppId, channel: &ChannelName, _: u64) -> Result<Vec<Member>, Refusal> {
        let app = self.app(app)?;
        self.read(async |kernels| kernels.port.presence(&app, channel).await)
    }

    fn channels(&self, app: AppId, prefix: &str, limit: usize, _: u64) -> Result<Vec<ChannelInfo>, Refusal> {
        let prefix = prefix.to_owned();
        let pass = move |name: &ChannelName| name.as_str().starts_with(&prefix);
        self.read(async |kernels| kernels.port.channels(app, limit, pass).await)
    }

    fn connections(
        &self,
        app: AppId,
        target: Target,
        limit: usize,
        _: u64,
    ) -> Result<(Vec<ConnectionInfo>, usize), Refusal> {
        self.read(async |kernels| kernels.port.connections(app, target, limit).await)
    }

    fn stats(&self, app: AppId, claims: &[String], _: u64) -> Result<AppStats, Refusal> {
        self.read(async |kernels| {
            let mut stats = kernels.port.stats(app, claims).await?;
            let (counted, measured) = kernels.port.shared().metrics.own.of(app);
            stats.own = counted.into_iter().map(|(name, n)| (name, n as f64)).chain(measured).collect();
            Ok(stats)
        })
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
        let (Ok(kernels), Ok(app)) = (self.kernels(), self.app(app)) else { return };
        // On a gateway that is a line in the log; here somebody reads it.
        let refused = |what: &str, refusal: Refusal| {
            let why = refusal.message.as_deref().unwrap_or(refusal.code.text());
            self.seen.fault(format!("{what} was not carried out: {} ({why})", refusal.code.as_str()));
        };
        let caller = Caller::plugin(&self.generation.load(), &app);
        kernels.port.carry_out(&caller, asker, effects, tell, refused);
    }
}

impl Outbox for Stage {
    fn room(&self, _: &str, _: &str) -> bool {
        true
    }

    fn sent(&self, parcel: Parcel) {
        let line = self.seen.line.load(Relaxed);
        self.seen.all().webhooks.push_back((line, parcel.webhook, parcel.body));
    }
}
