//! What a home keeps of what was published, and what somebody who comes or comes back is told of it.

use super::history::{History, Page};
use super::home::Home;
use super::{ClassOptions, Hub};
use crate::model::{AppId, ChannelName, Event, Mono, Position};

/// Data of one answer to a question for history, but for one event that is larger: it is written as one text.
const PAGE_BYTES: usize = 1 << 20;

impl Home {
    /// Numbers an event that carries its offset already.
    pub fn keep(&mut self, event: &Event, options: &ClassOptions) {
        self.offset = event.offset;
        let kept = self.kept();
        if options.last {
            kept.last = Some(event.clone());
        }
        if let Some(history) = options.history {
            // Nobody else may look at it for long.
            kept.history.expire(event.at.mono.before(history.ttl.0));
            kept.history.push(event.clone(), history.keep as usize);
        }
    }

    /// What a newcomer is told first: all since its position; without one, the last value.
    pub fn recover(
        &mut self,
        since: Option<Position>,
        options: &ClassOptions,
        now: Mono,
    ) -> (Option<bool>, Vec<Event>) {
        let Some(history) = options.history.filter(|_| since.is_some()) else {
            let last = self.kept.as_deref().and_then(|k| k.last.clone()).filter(|_| options.last);
            return (since.map(|_| false), last.into_iter().collect());
        };
        self.kept().history.expire(now.before(history.ttl.0));
        let page = self.page(since, usize::MAX, usize::MAX);
        if page.complete { (Some(true), page.events) } else { (Some(false), Vec::new()) }
    }

    /// As many as `limit` and `bytes_max` allow, one at least.
    pub fn page(&self, since: Option<Position>, limit: usize, bytes_max: usize) -> Page {
        let position = self.position();
        let Some(kept) = self.kept.as_deref() else {
            let complete = since.is_none_or(|s| s == position);
            return Page { position, complete, ..Page::default() };
        };
        let Some(since) = since else {
            let newest = fitting(kept.history.iter().rev().take(limit), bytes_max);
            let skip = kept.history.len() - newest;
            let events = kept.history.iter().skip(skip).cloned().collect();
            return Page { events, position, more: false, complete: true };
        };
        if since.epoch != self.epoch {
            return Page { position, ..Page::default() };
        }
        match kept.history.after(since.offset, self.offset) {
            None => Page { position, ..Page::default() },
            Some(missed) => {
                let missed: Vec<&Event> = missed.collect();
                let fitting = fitting(missed.iter().take(limit).copied(), bytes_max);
                let events = missed[..fitting].iter().map(|event| (*event).clone()).collect();
                let more = missed.len() > fitting;
                Page { events, position, more, complete: true }
            }
        }
    }

    /// Forgets what is too old. Returns whether something was.
    pub fn expire(&mut self, options: &ClassOptions, now: Mono) -> bool {
        let Some(kept) = self.kept.as_deref_mut() else { return false };
        match options.history {
            Some(h) => kept.history.expire(now.before(h.ttl.0)),
            None => kept.history.expire(Mono::MAX),
        }
    }

    /// Forgets what its class does not keep.
    pub fn give_up(&mut self, options: &ClassOptions) {
        let Some(kept) = self.kept.as_deref_mut() else { return };
        if !options.presence {
            kept.members = Vec::new();
        }
        if !options.last {
            kept.last = None;
        }
        if options.history.is_none() {
            kept.history.expire(Mono::MAX);
        }
    }

    /// Forgets all events, the last one too, and starts again.
    pub fn forget(&mut self, epoch: u32) {
        let Some(kept) = self.kept.as_deref_mut() else { return };
        (kept.history, kept.last) = (History::default(), None);
        (self.epoch, self.offset) = (epoch, 0);
        if kept.members.is_empty() {
            self.kept = None;
        }
    }

    /// Of the events that it keeps: what was published. 0 where it keeps none.
    pub fn data_bytes(&self) -> usize {
        let Some(kept) = self.kept.as_deref() else { return 0 };
        // One that is in the history too is shared with it.
        let last = kept.last.as_ref().filter(|_| kept.history.is_empty()).map_or(0, Event::held_bytes);
        kept.history.data_bytes() + last
    }
}

impl Hub {
    /// What a channel keeps after `since`, oldest first, `limit` and `PAGE_BYTES` at most; whether more is kept; whether all since then
    /// is there. Asked of its home.
    pub fn history(&self, app: AppId, name: &ChannelName, since: Option<Position>, limit: usize) -> Page {
        let home = self.table.find(app, name).and_then(|n| self.table[n].home.as_ref());
        home.map(|h| h.page(since, limit, PAGE_BYTES)).unwrap_or_default()
    }
}

/// How many of these have at most `bytes_max` together; the first in any case.
fn fitting<'a>(events: impl Iterator<Item = &'a Event>, bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fits = |event: &&Event| {
        let first = bytes == 0;
        bytes += event.held_bytes();
        first || bytes <= bytes_max
    };
    events.take_while(fits).count()
}
