//! Which class a channel is of, and what that one keeps. Numbers of classes belong to a generation; names outlive it.

use super::moving::homes_differ;
use super::{ClassOptions, Hub};
use crate::model::{AppId, ChannelName, Now};
use crate::policy::Policy;
use std::sync::Arc;

/// An app's classes.
#[derive(Clone)]
pub(super) struct Classes {
    options: Arc<[ClassOptions]>,
    /// Tells the class of a name; `None`: numbers never change.
    pub policy: Option<Arc<Policy>>,
    /// What told it before, until all channels are at their new homes; `None`: no home is another one.
    pub before: Option<Arc<Policy>>,
    /// Its channels have not yet found their class.
    changed: bool,
}

/// The number of no class: of a channel that no pattern matches any more.
const NO_CLASS: u16 = u16::MAX;

impl Hub {
    /// The options of an app's classes, by class number; in force with the next `begin`.
    pub fn set_classes(&mut self, app: AppId, options: Arc<[ClassOptions]>, policy: Option<Arc<Policy>>) {
        let at = app.0 as usize;
        if self.classes.len() <= at {
            self.classes.resize(at + 1, Classes { options: Arc::from([]), policy: None, before: None, changed: false });
        }
        let before = self.classes[at].policy.take();
        let before = before.filter(|before| policy.as_ref().is_some_and(|now| homes_differ(before, now)));
        self.classes[at] = Classes { options, policy, before, changed: true };
    }

    /// From now on classes have the numbers of this generation; those of other generations are looked up by name.
    /// Channels of apps whose classes were set find theirs and their home, and give up what their class does not keep.
    pub fn begin(&mut self, generation: u64, now: Now) {
        let first = std::mem::replace(&mut self.generation, generation) == 0;
        let changed = |classes: &[Classes], app: AppId| classes.get(app.0 as usize).is_some_and(|c| c.changed);
        for number in self.table.numbers() {
            if changed(&self.classes, self.table[number].app) {
                self.match_again(number);
            }
        }
        self.classes.iter_mut().for_each(|classes| classes.changed = false);
        self.begin_moves(first, now);
    }

    fn match_again(&mut self, number: u32) {
        let channel = &self.table[number];
        let (app, class) = (channel.app, self.class_of(channel.app, &channel.name, channel.class));
        let options = self.options(app, class);
        let home = self.home_now(app, &self.table[number].name);
        let channel = &mut self.table[number];
        channel.class = class;
        channel.home_shard = home.unwrap_or(channel.home_shard);
        let Some(home) = channel.home.as_mut() else { return };
        home.give_up(&options);
        if options.history.is_none() && !options.last && home.offset > 0 {
            // Its events are not numbered any more: who comes back with an old number must not think that it missed none.
            self.epoch = self.epoch.wrapping_add(1);
            home.forget(self.epoch);
        }
        self.measure(number, false);
    }

    /// The class of a name as its app's files are now; `class` where they tell nothing.
    pub(super) fn class_of(&self, app: AppId, name: &ChannelName, class: u16) -> u16 {
        match self.classes.get(app.0 as usize).and_then(|c| c.policy.as_ref()) {
            Some(policy) => policy.find(name).map_or(NO_CLASS, |found| found.number()),
            None => class,
        }
    }

    /// A class's number as another generation, or another shard's, had it.
    pub(super) fn class_now(&self, app: AppId, name: &ChannelName, class: u16, generation: u64) -> u16 {
        if generation == self.generation { class } else { self.class_of(app, name, class) }
    }

    pub(super) fn options(&self, app: AppId, class: u16) -> ClassOptions {
        self.classes.get(app.0 as usize).and_then(|c| c.options.get(class as usize)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{HistoryOptions, Publication};
    use crate::model::{Event, EventKind, Ms};
    use crate::policy::ChannelSettings;

    const APP: AppId = AppId(0);

    /// Classes in this order; those whose name holds `kept` keep history.
    fn set(hub: &mut Hub, generation: u64, names: &[&str]) {
        let settings: Vec<_> =
            names.iter().map(|name| ChannelSettings { name: (*name).into(), ..Default::default() }).collect();
        let policy = Policy::compile(&settings, &[], &|_| String::new()).unwrap();
        let kept = ClassOptions { history: Some(HistoryOptions { keep: 9, ttl: Ms::secs(60) }), ..Default::default() };
        let options = names.iter().map(|name| if name.contains("kept") { kept } else { ClassOptions::default() });
        hub.set_classes(APP, options.collect(), Some(Arc::new(policy)));
        hub.begin(generation, crate::model::Now::default());
        // As its kernel does.
        while hub.has_out() || hub.hear_waiting() {
            hub.drain().for_each(drop);
        }
    }

    fn publish(hub: &mut Hub, generation: u64, name: &str, class: u16) -> usize {
        let name = ChannelName::parse(name).unwrap();
        let event = Event {
            kind: EventKind::Message,
            data: bytes::Bytes::from_static(b"1"),
            event: None,
            key: None,
            sender: None,
            exclude: None,
            priority: crate::model::Priority::default(),
            offset: 0,
            at: crate::model::Now::default(),
        };
        let channels = smallvec::smallvec![(name.clone(), class)];
        hub.publish(0, Publication { app: APP, channels, generation, event, tally: None, answer: None });
        hub.seal();
        hub.history(APP, &name, None, 9).events.len()
    }

    #[test]
    fn a_stale_number_picks_no_other_class() {
        let mut hub = Hub::new(0, 1, 7);
        set(&mut hub, 1, &["plain:{id}", "kept:{id}"]);
        assert_eq!(publish(&mut hub, 1, "kept:1", 1), 1);
        set(&mut hub, 2, &["kept:{id}", "plain:{id}"]);
        // Decided by the first generation, numbered by the second; and the other way round.
        assert_eq!(publish(&mut hub, 1, "kept:1", 1), 2);
        assert_eq!(publish(&mut hub, 1, "plain:1", 0), 0);
        // Decided by files that this hub has yet to hear of: it waits for them.
        assert_eq!(publish(&mut hub, 3, "kept:2", 1), 0);
        set(&mut hub, 3, &["plain:{id}", "kept:{id}"]);
        assert_eq!(hub.history(APP, &ChannelName::parse("kept:2").unwrap(), None, 9).events.len(), 1);
        assert_eq!(publish(&mut hub, 2, "kept:1", 0), 3);
    }

    #[test]
    fn a_class_that_keeps_no_history_any_more_begins_anew() {
        let mut hub = Hub::new(0, 1, 7);
        set(&mut hub, 1, &["kept:{id}"]);
        assert_eq!(publish(&mut hub, 1, "kept:1", 0), 1);
        let name = ChannelName::parse("kept:1").unwrap();
        let before = hub.history(APP, &name, None, 9).position;
        set(&mut hub, 2, &["{*any}"]);
        assert_eq!((hub.history(APP, &name, None, 9).events.len(), hub.history_bytes()), (0, 0));
        set(&mut hub, 3, &["kept:{id}"]);
        assert_eq!(publish(&mut hub, 3, "kept:1", 0), 1);
        assert!(!hub.history(APP, &name, Some(before), 9).complete);
    }
}
