//! What the channels of each app take: their bytes, how many there are, and which of them has been quiet longest.
//!
//! A channel is measured again after each change; that costs the same whatever it keeps. What was published is shared by
//! all who hold it and counted where it is made: here it only counts against `history_bytes`.

use super::channel::Channel;
use super::home::Home;
use super::{Hub, Seat};
use crate::model::{AppId, Mono, capped};
use std::num::NonZeroU32;

/// Of one app in one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of which this shard is the home.
    pub channels: usize,
    /// Of all its channels; the data of events is not in it.
    pub bytes: usize,
    /// What channels with history or a last value keep, all of it: held against `history_bytes`.
    pub kept_bytes: usize,
}

/// An app's usage, and its channels that keep events, by age.
#[derive(Debug)]
pub(super) struct OfApp {
    usage: Usage,
    kept_max: usize,
    oldest: Option<u32>,
    newest: Option<u32>,
}

/// A channel's part of its app's usage. Small, because many have a channel to each connection; above 4 GiB a channel
/// counts as so many.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    is_home: bool,
    bytes: u32,
    kept: u32,
}

/// The next older and the next newer channel; at the ends, the channel itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbours {
    older: Number,
    newer: Number,
}

/// A channel's number, and one: so that "none" takes no room of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number(NonZeroU32);

impl Number {
    fn of(number: u32) -> Number {
        Number(NonZeroU32::MIN.saturating_add(number))
    }

    fn get(self) -> u32 {
        self.0.get() - 1
    }
}

/// Of a slot of the table and its entry by name, what the allocator rounds up included.
const CHANNEL_BYTES: usize = size_of::<Channel>() + 48;
const HOME_BYTES: usize = size_of::<Home>() + 16;
/// Channels looked at in one sweep: all of them are, in several.
const SWEEP_CHANNELS: u32 = 8_192;

impl Default for OfApp {
    fn default() -> OfApp {
        OfApp { usage: Usage::default(), kept_max: usize::MAX, oldest: None, newest: None }
    }
}

impl Hub {
    /// What the channels of an app take in this shard.
    pub fn usage(&self, app: AppId) -> Usage {
        self.usage.get(app.0 as usize).map(|of| of.usage).unwrap_or_default()
    }

    /// What all apps keep for recovery.
    pub fn history_bytes(&self) -> usize {
        self.usage.iter().map(|of| of.usage.kept_bytes).sum()
    }

    /// An app's share of `history_bytes` in this shard.
    pub fn set_history_max(&mut self, app: AppId, bytes: usize) {
        self.of_app(app).kept_max = bytes;
    }

    /// How many channels lost what they kept to make room, since this was asked last.
    pub fn take_evicted(&mut self) -> usize {
        std::mem::take(&mut self.evicted)
    }

    fn of_app(&mut self, app: AppId) -> &mut OfApp {
        let at = app.0 as usize;
        if self.usage.len() <= at {
            self.usage.resize_with(at + 1, OfApp::default);
        }
        &mut self.usage[at]
    }

    /// Has what a channel takes counted anew; `is_news`: something was published on it, or it comes from another home.
    pub(super) fn measure(&mut self, number: u32, is_news: bool) {
        let Some(channel) = self.table.get_mut(number) else { return };
        let now = Counted::of(channel);
        let (before, app) = (std::mem::replace(&mut channel.counted, now), channel.app);
        let listed = channel.ages.is_some();
        let usage = &mut self.of_app(app).usage;
        usage.channels = usage.channels + now.is_home as usize - before.is_home as usize;
        usage.bytes = usage.bytes + now.bytes as usize - before.bytes as usize;
        usage.kept_bytes = usage.kept_bytes + now.kept as usize - before.kept as usize;
        if listed && (now.kept == 0 || is_news) {
            self.take_out(number);
        }
        if now.kept > 0 && (is_news || !listed) {
            self.put_newest(number);
        }
    }

    /// Before it is removed.
    pub(super) fn forget_measure(&mut self, number: u32) {
        let Some(channel) = self.table.get_mut(number) else { return };
        let (before, app) = (std::mem::take(&mut channel.counted), channel.app);
        if channel.ages.is_some() {
            self.take_out(number);
        }
        let usage = &mut self.of_app(app).usage;
        usage.channels -= before.is_home as usize;
        usage.bytes -= before.bytes as usize;
        usage.kept_bytes -= before.kept as usize;
    }

    fn put_newest(&mut self, number: u32) {
        let of = self.of_app(self.table[number].app);
        let older = of.newest.replace(number);
        match older {
            None => of.oldest = Some(number),
            Some(older) => self.link(older, |ages| ages.newer = Number::of(number)),
        }
        let older = Number::of(older.unwrap_or(number));
        self.table[number].ages = Some(Neighbours { older, newer: Number::of(number) });
    }

    fn take_out(&mut self, number: u32) {
        let channel = &mut self.table[number];
        let (Some(Neighbours { older, newer }), app) = (channel.ages.take(), channel.app) else { return };
        // Who was at an end is followed by a neighbour that is at it now.
        let this = Number::of(number);
        let (is_oldest, is_newest) = (older == this, newer == this);
        if is_oldest {
            self.of_app(app).oldest = (!is_newest).then(|| newer.get());
        }
        if is_newest {
            self.of_app(app).newest = (!is_oldest).then(|| older.get());
        }
        self.link(older.get(), |ages| ages.newer = if is_newest { older } else { newer });
        self.link(newer.get(), |ages| ages.older = if is_oldest { newer } else { older });
    }

    fn link(&mut self, number: u32, set: impl FnOnce(&mut Neighbours)) {
        if let Some(ages) = &mut self.table[number].ages {
            set(ages);
        }
    }

    /// After something was kept: above `history_bytes` the channels of the app that were quiet longest lose what they
    /// keep, and start a new epoch.
    pub(super) fn keep_within(&mut self, app: AppId) {
        while self.of_app(app).usage.kept_bytes > self.of_app(app).kept_max && self.evict_oldest(app) {}
    }

    /// Makes room for other things of the app: so many bytes, data included, as far as it keeps them.
    pub fn evict(&mut self, app: AppId, bytes: usize) -> usize {
        let before = self.usage(app).kept_bytes;
        let freed = |hub: &Hub| before - hub.usage(app).kept_bytes;
        while freed(self) < bytes && self.evict_oldest(app) {}
        freed(self)
    }

    fn evict_oldest(&mut self, app: AppId) -> bool {
        let Some(number) = self.of_app(app).oldest else { return false };
        self.epoch = self.epoch.wrapping_add(1);
        let epoch = self.epoch;
        if let Some(home) = self.table[number].home.as_mut() {
            home.forget(epoch);
        }
        self.evicted += 1;
        self.measure(number, false);
        // Whatever was measured: what stays in the list is looked at again and again.
        if self.table[number].ages.is_some() {
            self.take_out(number);
        }
        self.drop_unused(number);
        true
    }

    /// Forgets what is older than its class says, in a part of all channels.
    pub fn sweep(&mut self, now: Mono) {
        let end = self.table.end();
        let first = if self.swept >= end { 0 } else { self.swept };
        self.swept = first.saturating_add(SWEEP_CHANNELS);
        for number in first..self.swept.min(end) {
            let Some(channel) = self.table.get_mut(number) else { continue };
            let (app, class) = (channel.app, channel.class);
            let options = self.options(app, class);
            let channel = &mut self.table[number];
            if channel.home.as_mut().is_some_and(|home| home.expire(&options, now)) {
                self.measure(number, false);
            }
            self.drop_unused(number);
        }
    }
}

impl Counted {
    fn of(channel: &Channel) -> Counted {
        let seats = if channel.seats.spilled() { channel.seats.capacity() * size_of::<Seat>() } else { 0 };
        let own = CHANNEL_BYTES + channel.name.as_str().len() + seats;
        let Some(home) = &channel.home else { return Counted { is_home: false, bytes: capped(own), kept: 0 } };
        let bytes = own + HOME_BYTES + home.memory_bytes();
        let data = home.data_bytes();
        let kept = if data > 0 { bytes + data } else { 0 };
        Counted { is_home: true, bytes: capped(bytes), kept: capped(kept) }
    }
}
