//! A hub as a home: it seats, numbers, keeps and passes round.

use super::group::Group;
use super::home::Home;
use super::{Batch, Hub, Join, Joined, Leave, Message, Out, Part, Publication, Published, Tally};
use crate::model::{Event, EventKind, Now};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

impl Hub {
    pub(super) fn join(&mut self, join: Join) {
        let class = self.class_now(join.app, &join.channel, join.class, join.generation);
        // What is waiting for the end of the tick goes out first: the newcomer must not hear it twice.
        if self.table.find(join.app, &join.channel).is_some_and(|number| self.table[number].group.is_some()) {
            self.seal();
        }
        // Only now: a channel that nobody is on any more went with its last batch.
        let number = self.table.number(join.app, &join.channel, class, self.me);
        let options = self.options(join.app, class);
        let epoch = self.epoch;
        let channel = &mut self.table[number];
        let home = channel.home.get_or_insert_with(|| Box::new(Home::new(epoch, join.now.wall)));
        if options.members_max.is_some_and(|max| home.seats() >= max) {
            match join.shard == self.me {
                true => self.out.push(Out::Full(Box::new(join))),
                false => self.out.push(Out::To { shard: join.shard, message: Message::Full(Box::new(join)) }),
            }
            return self.drop_unused(number);
        }
        let (recovered, events) = home.recover(join.since, &options, join.now.mono);
        let position = options.history.is_some().then(|| home.position());
        match join.shard == self.me {
            true => home.here += 1,
            false => home.count(join.shard, 1),
        }
        let appeared = options.presence && home.enter(join.member.clone());
        let (epoch, told) = (home.epoch, if appeared { home.seats() } else { 0 });
        self.measure(number, false);
        let listed = options.presence;
        let joined = Box::new(Joined {
            app: join.app,
            channel: join.channel,
            class: join.class,
            generation: join.generation,
            home: self.me,
            slot: join.slot,
            connection: join.member.connection,
            identity: join.member.identity.clone(),
            asked_by: join.asked_by,
            alias: join.alias,
            epoch,
            position,
            recovered,
            events,
            listed,
            told,
        });
        if join.shard == self.me {
            self.out.push(Out::Joined(joined));
        } else {
            self.out.push(Out::To { shard: join.shard, message: Message::Joined(joined) });
        }
        if appeared {
            self.announce(number, EventKind::Joined, &join.member, join.now);
        }
    }

    pub(super) fn leave(&mut self, leave: Leave, now: Now) {
        let Some(number) = self.table.find(leave.app, &leave.channel) else { return };
        let class = self.table[number].class;
        let presence = self.options(leave.app, class).presence;
        let Some(home) = self.table[number].home.as_mut() else { return };
        match leave.shard == self.me {
            true => home.here = home.here.saturating_sub(1),
            false => home.count(leave.shard, -1),
        }
        // Listed by a generation that is not in force here.
        let left = home.exit(&leave.member);
        self.measure(number, false);
        if presence && left {
            self.announce(number, EventKind::Left, &leave.member, now);
        }
        self.drop_unused(number);
    }

    pub(super) fn sequence(&mut self, publication: Publication) {
        let Publication { app, channels, generation, mut event, tally, answer } = publication;
        let mut numbers: SmallVec<[u32; 1]> = smallvec![];
        let mut offsets: SmallVec<[u64; 1]> = smallvec![];
        let (mut position, mut kept) = (None, false);
        for (name, class) in &channels {
            let class = self.class_now(app, name, *class, generation);
            let options = self.options(app, class);
            let keeps = options.history.is_some() || options.last;
            let number = match self.table.find(app, name) {
                Some(number) => number,
                None if keeps => self.table.number(app, name, class, self.me),
                None => continue, // nobody is there and nothing is kept
            };
            let epoch = self.epoch;
            let home = self.table[number].home.get_or_insert_with(|| Box::new(Home::new(epoch, event.at.wall)));
            if keeps {
                event.offset = home.offset + 1;
                home.keep(&event, &options);
                position = position.or(options.history.map(|_| home.position()));
            }
            self.measure(number, keeps);
            kept |= keeps;
            numbers.push(number);
            offsets.push(event.offset);
        }
        if let Some(tally) = &tally {
            tally.at(position);
        }
        if let Some(asker) = answer {
            let published = Box::new(Published { channel: channels[0].0.clone(), position, asker });
            match published.asker.shard == self.me {
                true => self.out.push(Out::Published(published)),
                false => {
                    self.out.push(Out::To { shard: published.asker.shard, message: Message::Published(published) })
                }
            }
        }
        let Some((last, others)) = offsets.split_last() else { return };
        let mut events: SmallVec<[Event; 1]> = others.iter().map(|o| Event { offset: *o, ..event.clone() }).collect();
        event.offset = *last;
        events.push(event);
        self.append(&numbers, events, tally);
        // Only now: the channels of this event have something to pass on, and stay.
        if kept {
            self.keep_within(app);
        }
    }

    /// To the end of what these channels publish in this tick. One group holds what went to the same channels.
    pub(super) fn append(&mut self, numbers: &[u32], events: SmallVec<[Event; 1]>, tally: Option<Arc<Tally>>) {
        let open = self.table[numbers[0]].group;
        let same = open.filter(|g| {
            self.groups[*g as usize].channels() == numbers && numbers.iter().all(|n| self.table[*n].group == open)
        });
        let at = same.unwrap_or_else(|| {
            self.groups.push(Group::new(numbers));
            let at = self.groups.len() as u32 - 1;
            for number in numbers {
                self.table[*number].group = Some(at);
            }
            at
        });
        self.groups[at as usize].push(events, tally);
    }

    /// Ends the tick: what was published becomes one batch a channel, for each shard that has somebody on it.
    pub fn seal(&mut self) {
        for mut group in std::mem::take(&mut self.groups) {
            let mut parts: SmallVec<[Part; 1]> = smallvec![];
            let mut shards: SmallVec<[u16; 4]> = smallvec![];
            let tallies = group.take_tallies();
            for (number, events) in group.into_parts() {
                let channel = &mut self.table[number];
                channel.group = None;
                let Some(home) = &channel.home else { continue };
                for (shard, _) in &home.elsewhere {
                    if !shards.contains(shard) {
                        shards.push(*shard);
                    }
                }
                let batch = Batch::new(channel.app, channel.name.clone(), home.epoch, events, &tallies);
                parts.push(Part { channel: number, batch: Arc::new(batch), tallies: tallies.clone() });
            }
            for shard in shards {
                let batches = parts.iter().map(|p| (p.batch.clone(), p.tallies.clone())).collect();
                self.out.push(Out::To { shard, message: Message::Deliver(batches) });
            }
            let numbers: SmallVec<[u32; 4]> = parts.iter().map(|p| p.channel).collect();
            // Channels without a seat here may be forgotten before the shard looks.
            parts.retain(|p| !self.table[p.channel].seats.is_empty());
            if !parts.is_empty() {
                self.out.push(Out::Deliver(parts));
            }
            for number in numbers {
                self.drop_unused(number);
            }
        }
    }
}
