//! The call that a worker's thread is busy with: what its functions see, and what they recorded.

use super::failure::FaultKind;
use super::meter::{Bounds, Meter};
use super::plugin::{Kept, Plugin};
use super::{App, Effect, Event, Host, Limits, Reply};
use crate::model::Refusal;
use crate::store::Store;
use rhai::{Dynamic, EvalAltResult, Position};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

/// What a call sees beside its event.
pub struct Around<'a> {
    pub app: &'a App,
    pub host: &'a dyn Host,
    /// `None`: `get` and `set` fail.
    pub store: Option<&'a dyn Store>,
    /// `None`: it has no state to keep, and no timers.
    pub entity: Option<&'a str>,
    pub limits: &'a Limits,
}

pub(super) struct Current<'a> {
    pub around: &'a Around<'a>,
    pub event: &'a Event,
    pub plugin: &'a Plugin,
    pub handler: u16,
    pub meter: Meter,
    pub recorded: RefCell<Recorded>,
}

/// What a call asked for so far.
#[derive(Default)]
pub(super) struct Recorded {
    pub effects: Vec<Effect>,
    pub kept: Vec<Kept>,
    pub reply: Option<Reply>,
    /// Asked for in all, and the bytes of their messages.
    pub count: usize,
    pub bytes: usize,
    /// Events that a script cannot hold.
    pub left_out: u64,
    pub stopped: Option<Stop>,
}

/// Why a call must end; scripts cannot catch it.
pub(super) enum Stop {
    Refused(Refusal),
    Fault(FaultKind, String),
}

pub(super) type Raised = Box<EvalAltResult>;

thread_local! {
    static CURRENT: Cell<Option<NonNull<Current<'static>>>> = const { Cell::new(None) };
}

impl<'a> Current<'a> {
    pub fn new(plugin: &'a Plugin, handler: u16, event: &'a Event, around: &'a Around<'a>) -> Current<'a> {
        Current {
            around,
            event,
            plugin,
            handler,
            meter: Meter::new(Bounds::of(around.limits)),
            recorded: RefCell::default(),
        }
    }

    /// Makes this the thread's call while `f` runs.
    pub fn during<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore(Option<NonNull<Current<'static>>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(Some(NonNull::from(self).cast())));
        self.meter.during(f)
    }

    /// How long a read may wait, in milliseconds: `read_wait`, and no longer than the call may take.
    pub fn read_wait_ms(&self) -> u64 {
        self.around.limits.read_wait.0.min(self.meter.time_left().as_millis() as u64)
    }

    /// Counts one effect and the bytes of its message.
    pub fn count(&self, bytes: usize) -> Result<(), Raised> {
        let limits = self.around.limits;
        let mut recorded = self.recorded.borrow_mut();
        recorded.count += 1;
        recorded.bytes += bytes;
        let what = if recorded.count > limits.effects as usize {
            format!("more than {} effects in one call (`effects` of [script])", limits.effects)
        } else if recorded.bytes > limits.effect_bytes.0 as usize {
            format!("more than {} bytes of messages in one call (`effect_bytes` of [script])", limits.effect_bytes.0)
        } else {
            return Ok(());
        };
        drop(recorded);
        Err(self.stop(Stop::Fault(FaultKind::Effects, what)))
    }

    pub fn effect(&self, effect: Effect, bytes: usize) -> Result<(), Raised> {
        self.count(bytes)?;
        self.recorded.borrow_mut().effects.push(effect);
        Ok(())
    }

    pub fn keep(&self, kept: Kept, bytes: usize) -> Result<(), Raised> {
        self.count(bytes)?;
        self.recorded.borrow_mut().kept.push(kept);
        Ok(())
    }

    /// Ends the call; the first reason stays.
    pub fn stop(&self, stop: Stop) -> Raised {
        self.recorded.borrow_mut().stopped.get_or_insert(stop);
        self.meter.end();
        EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()
    }
}

/// The call that this thread is in. Err, catchable: there is none, for the plugin is being loaded.
pub(super) fn with<R>(f: impl FnOnce(&Current) -> Result<R, Raised>) -> Result<R, Raised> {
    match CURRENT.get() {
        // SAFETY: `during` sets it to a `Current` that outlives its closure and takes it back when that ends, even by a
        // panic; the reference does not leave `f`, and other threads never see it.
        Some(current) => {
            let current = unsafe { current.as_ref() };
            current.meter.host(|| f(current))
        }
        None => Err(raise("this function works while a handler runs; a plugin's file is read before")),
    }
}

/// An error that scripts can catch; its place is filled in by the engine.
pub(super) fn raise(what: impl Into<String>) -> Raised {
    EvalAltResult::ErrorRuntime(what.into().into(), Position::NONE).into()
}
