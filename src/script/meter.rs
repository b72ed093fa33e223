//! What one run of a script has used: operations, time, memory, stack. Where a bound is met, the run ends for good.
//!
//! Closures and functions that natives call run with a copy of Rhai's state, and Rhai throws the copy's count away. So
//! operations are counted here, in one number of the thread.

use super::Limits;
use super::failure::FaultKind;
use crate::observe::held_bytes;
use rhai::{Dynamic, EvalAltResult, Position};
use std::cell::Cell;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// Operations between two looks at the clock and at memory. One operation may be a native function over the largest text
/// or array, about a millisecond: so a call is late by some dozen milliseconds at most.
const OPERATIONS_BETWEEN_LOOKS: u64 = 32;
/// Elements that a native function goes through between two looks.
pub(super) const ELEMENTS_BETWEEN_LOOKS: usize = 256;
/// Stack that a run may use: natives that call natives (`==` or `print` of arrays in arrays) go deeper than `call_depth`
/// sees. The rest is for what happens between two looks.
const STACK_BYTES_MAX: usize = super::STACK_BYTES / 4 * 3;

pub(super) struct Meter {
    pub limits: Bounds,
    deadline: Instant,
    operations: Cell<u64>,
    /// The operation at which the bounds are looked at; 0: the run has ended.
    look_at: Cell<u64>,
    /// The thread's, when the run began.
    held_before: Cell<isize>,
    stack_before: usize,
    met: Cell<Option<FaultKind>>,
}

/// Bounds of a run, from `[script]`.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub operations: u64,
    pub deadline_ms: u64,
    pub call_bytes: u64,
    pub string_bytes: usize,
    pub array_items: usize,
    pub map_items: usize,
}

impl Bounds {
    pub fn of(limits: &Limits) -> Bounds {
        Bounds {
            operations: limits.operations,
            deadline_ms: limits.deadline.0,
            call_bytes: limits.call_bytes.0,
            string_bytes: limits.string_bytes.0 as usize,
            array_items: limits.array_items as usize,
            map_items: limits.map_items as usize,
        }
    }
}

thread_local! {
    static METER: Cell<Option<NonNull<Meter>>> = const { Cell::new(None) };
}

impl Meter {
    /// Time runs from now on.
    pub fn new(limits: Bounds) -> Meter {
        Meter {
            limits,
            deadline: Instant::now() + Duration::from_millis(limits.deadline_ms),
            operations: Cell::new(0),
            look_at: Cell::new(OPERATIONS_BETWEEN_LOOKS.min(limits.operations.saturating_add(1))),
            held_before: Cell::new(held_bytes()),
            stack_before: stack_here(),
            met: Cell::new(None),
        }
    }

    /// Makes this the thread's meter while `f` runs.
    pub fn during<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore(Option<NonNull<Meter>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                METER.set(self.0);
            }
        }
        let _restore = Restore(METER.replace(Some(NonNull::from(self))));
        f()
    }

    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Runs a function of the host. What it frees of others' memory, such as an answer that a shard allocated, gives the
    /// run no room.
    pub fn host<R>(&self, f: impl FnOnce() -> R) -> R {
        let before = held_bytes();
        let result = f();
        let freed = before.wrapping_sub(held_bytes()).max(0);
        self.held_before.set(self.held_before.get().wrapping_sub(freed));
        result
    }

    pub fn operations(&self) -> u64 {
        self.operations.get()
    }

    /// Ends the run: each operation that follows fails, wherever a `try` or a native function goes on.
    pub fn end(&self) {
        self.look_at.set(0);
    }

    /// The bound that the run met, and its text.
    pub fn met(&self) -> Option<(FaultKind, String)> {
        let kind = self.met.get()?;
        let Bounds { operations, deadline_ms, call_bytes, .. } = self.limits;
        let what = match kind {
            FaultKind::Operations => {
                format!("more than {operations} operations in one call (`operations` of [script]); an endless loop?")
            }
            FaultKind::Memory => format!("the call holds more than {call_bytes} bytes (`call_bytes` of [script])"),
            FaultKind::Depth => "values nested too deep for what is done with them".to_owned(),
            _ => format!("the call took longer than {deadline_ms} ms (`deadline` of [script])"),
        };
        Some((kind, what))
    }

    /// Whether the run goes on.
    fn look(&self) -> bool {
        if self.met.get().is_none() && self.look_at.get() != 0 {
            match self.exceeded() {
                None => {
                    let next = self.operations.get().saturating_add(OPERATIONS_BETWEEN_LOOKS);
                    self.look_at.set(next.min(self.limits.operations.saturating_add(1)));
                    return true;
                }
                kind => self.met.set(kind),
            }
        }
        self.end();
        false
    }

    fn exceeded(&self) -> Option<FaultKind> {
        let held = held_bytes().wrapping_sub(self.held_before.get());
        Some(if self.operations.get() > self.limits.operations {
            FaultKind::Operations
        } else if held > 0 && held as u64 > self.limits.call_bytes {
            FaultKind::Memory
        } else if self.stack_before.abs_diff(stack_here()) > STACK_BYTES_MAX {
            FaultKind::Depth
        } else if self.time_left().is_zero() {
            FaultKind::Deadline
        } else {
            return None;
        })
    }
}

/// About where the stack is now.
#[inline(never)]
fn stack_here() -> usize {
    let here = 0u8;
    std::hint::black_box(&here) as *const u8 as usize
}

fn here() -> Option<&'static Meter> {
    // SAFETY: `during` sets it to a meter that outlives its closure and takes it back when that ends, even by a panic.
    // The reference stays within this file's functions, and other threads never see it.
    METER.get().map(|meter| unsafe { meter.as_ref() })
}

/// After each operation, in closures too: `Some` ends the run. Rhai's own count is of no use, see above.
pub(super) fn progress(_: u64) -> Option<Dynamic> {
    let meter = here()?;
    let operations = meter.operations.get() + 1;
    meter.operations.set(operations);
    if operations < meter.look_at.get() || meter.look() {
        return None;
    }
    Some(Dynamic::UNIT)
}

/// For native functions that do much: Err, not to be caught, where the run has met a bound.
pub(super) fn go_on() -> Result<(), Box<EvalAltResult>> {
    match here() {
        Some(meter) if !meter.look() => Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()),
        _ => Ok(()),
    }
}

/// What one text, array or map may hold here. Without a run: of the defaults.
pub(super) fn bounds() -> Bounds {
    here().map_or_else(|| Bounds::of(&Limits::default()), |meter| meter.limits)
}
