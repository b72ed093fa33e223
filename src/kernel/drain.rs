//! Closing everybody, or all of one listener, at a pace.

use super::conn::Conn;
use super::io::Io;
use super::kernel::Kernel;
use crate::dialect::Answer;
use crate::model::{Close, Mono};

pub(super) struct Drain {
    /// `None`: everybody.
    pub listener: Option<u16>,
    /// Connections a second.
    pub pace: u32,
    pub close: Close,
    pub since: Mono,
    pub closed: u64,
}

impl<I: Io> Kernel<I> {
    /// Closes at the drains' pace.
    pub(super) fn drain_some(&mut self) {
        let mut drains = std::mem::take(&mut self.drains);
        drains.retain_mut(|drain| {
            let elapsed = self.now.mono.since(drain.since) + 100;
            let due = (elapsed * drain.pace as u64 / 1_000).saturating_sub(drain.closed);
            if due == 0 {
                return true;
            }
            let here = |c: &Conn<I::Transport>| {
                c.is_open() && drain.listener.is_none_or(|number| number == c.session.listener)
            };
            let mut slots = self.conns.slots(here);
            slots.truncate(due as usize);
            drain.closed += slots.len() as u64;
            let all = (slots.len() as u64) < due;
            for slot in slots {
                let own = self.app_of(slot).filter(|_| drain.listener.is_none()).and_then(|app| {
                    let dialect = app.dialect(self.conns[slot].session.endpoint)?;
                    dialect.shutdown().cloned()
                });
                if drain.listener.is_none() {
                    self.answer(slot, &Answer::Shutdown);
                }
                self.close(slot, own.unwrap_or_else(|| drain.close.clone()));
            }
            // Who comes late to a listener that is gone is turned away at once.
            drain.listener.is_none() || !all
        });
        self.drains = drains;
    }
}
