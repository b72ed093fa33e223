use super::*;
use crate::model::{ChannelName, ConnectionId, Event, EventKind, Identity, Member, Mono, Ms, Now, Position, Slot};
use bytes::Bytes;
use std::sync::Arc;

const APP: AppId = AppId(0);

/// Several hubs, and what each of their seats heard: a channel without sockets.
struct World {
    hubs: Vec<Hub>,
    heard: Vec<(u16, Slot, String)>,
    joined: Vec<Joined>,
    /// Who found no seat.
    full: Vec<(u16, Slot)>,
    home: u16,
}

impl World {
    fn new(shards: u16, options: ClassOptions) -> World {
        let hubs = (0..shards).map(|me| {
            let mut hub = Hub::new(me, shards, 7);
            hub.set_classes(APP, Arc::from([options]), None);
            hub
        });
        World { hubs: hubs.collect(), heard: vec![], joined: vec![], full: vec![], home: shards - 1 }
    }

    fn join(&mut self, shard: u16, slot: Slot, channel: &str, since: Option<Position>) {
        let join = self.asking(shard, slot, channel, since);
        self.hubs[shard as usize].subscribe(Box::new(join));
        self.settle();
    }

    fn asking(&self, shard: u16, slot: Slot, channel: &str, since: Option<Position>) -> Join {
        let identity = Arc::new(Identity { user: Some(format!("u{slot}").into()), ..Identity::default() });
        let member = Member { connection: id(shard, slot), identity, joined_at: 0 };
        Join {
            app: APP,
            channel: ChannelName::parse(channel).unwrap(),
            class: 0,
            generation: 0,
            home: self.home,
            shard,
            slot,
            member,
            since,
            asked_by: AskedBy::Client(0),
            alias: None,
            now: Now::default(),
        }
    }

    fn publish(&mut self, shard: u16, channels: &[&str], data: &str, exclude: Option<ConnectionId>) {
        self.publish_counted(shard, channels, data, exclude, None);
    }

    fn publish_counted(
        &mut self,
        shard: u16,
        channels: &[&str],
        data: &str,
        exclude: Option<ConnectionId>,
        tally: Option<Arc<Tally>>,
    ) {
        let event = Event {
            kind: EventKind::Message,
            data: Bytes::copy_from_slice(data.as_bytes()),
            event: None,
            key: None,
            sender: None,
            exclude,
            priority: crate::model::Priority::default(),
            offset: 0,
            at: Now::at(1_000),
        };
        let channels = channels.iter().map(|c| (ChannelName::parse(c).unwrap(), 0)).collect();
        let home = self.home;
        self.hubs[shard as usize]
            .publish(home, Publication { app: APP, channels, generation: 0, event, tally, answer: None });
    }

    /// Ends the tick everywhere and carries messages until none is left.
    fn tick(&mut self) {
        self.settle();
        self.hubs.iter_mut().for_each(Hub::seal);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let mut letters = Vec::new();
            for me in 0..self.hubs.len() {
                let outs: Vec<Out> = self.hubs[me].drain().collect();
                for out in outs {
                    match out {
                        Out::To { shard, message } => letters.push((shard, message)),
                        Out::Deliver(parts) => self.deliver(me, &parts),
                        Out::Joined(joined) => {
                            let slot = joined.slot;
                            self.hubs[me].sit(&joined, slot, 0);
                            self.joined.push(*joined);
                        }
                        Out::Full(join) => self.full.push((join.shard, join.slot)),
                        Out::Published(_) => {}
                    }
                }
            }
            if letters.is_empty() {
                return;
            }
            for (shard, message) in letters {
                self.hubs[shard as usize].hear(message, Now::default());
            }
        }
    }

    fn deliver(&mut self, me: usize, parts: &[Part]) {
        let mut told = Vec::new();
        for part in parts {
            let seats: Vec<Seat> = self.hubs[me].channel(part.channel).seats.to_vec();
            for seat in seats.iter().filter(|s| !told.contains(&s.slot)) {
                for (n, event) in part.batch.events.iter().enumerate() {
                    if event.exclude != Some(id(me as u16, seat.slot)) {
                        let text = std::str::from_utf8(&event.data).unwrap().to_string();
                        self.heard.push((me as u16, seat.slot, text));
                        part.tallies.iter().filter(|(at, _)| *at == n as u32).for_each(|(_, t)| t.add(1));
                    }
                }
            }
            told.extend(seats.iter().map(|s| s.slot));
        }
    }

    fn heard_by(&self, shard: u16, slot: Slot) -> Vec<&str> {
        self.heard.iter().filter(|h| h.0 == shard && h.1 == slot).map(|h| h.2.as_str()).collect()
    }
}

fn id(shard: u16, slot: Slot) -> ConnectionId {
    ConnectionId((shard as u128) << 32 | slot as u128 | 4 << 76)
}

fn keeping(keep: u32) -> ClassOptions {
    ClassOptions { history: Some(HistoryOptions { keep, ttl: Ms::secs(60) }), ..ClassOptions::default() }
}

#[test]
fn all_shards_hear_a_channel_in_one_order() {
    let mut world = World::new(3, ClassOptions::default());
    for shard in 0..3 {
        world.join(shard, 1, "news", None);
    }
    for n in 0..10 {
        world.publish(n % 3, &["news"], &n.to_string(), None);
    }
    world.tick();
    let first = world.heard_by(0, 1);
    assert_eq!(first.len(), 10);
    assert_eq!(first, world.heard_by(1, 1));
    assert_eq!(first, world.heard_by(2, 1));
}

#[test]
fn the_sender_may_be_left_out() {
    let mut world = World::new(1, ClassOptions::default());
    world.join(0, 1, "news", None);
    world.join(0, 2, "news", None);
    world.publish(0, &["news"], "a", Some(id(0, 1)));
    world.publish(0, &["news"], "b", None);
    world.tick();
    assert_eq!(world.heard_by(0, 1), ["b"]);
    assert_eq!(world.heard_by(0, 2), ["a", "b"]);
}

#[test]
fn a_publication_to_several_channels_is_heard_once_and_in_the_order_of_each() {
    let mut world = World::new(2, ClassOptions::default());
    world.join(0, 1, "kpi:org", None);
    world.join(0, 1, "kpi:org:dept", None);
    world.join(1, 2, "kpi:org", None);
    world.publish(0, &["kpi:org:dept"], "1", None);
    world.publish(0, &["kpi:org:dept", "kpi:org"], "2", None);
    world.publish(0, &["kpi:org:dept", "kpi:org"], "3", None);
    world.publish(0, &["kpi:org"], "4", None);
    world.tick();
    assert_eq!(world.heard_by(0, 1), ["1", "2", "3", "4"]);
    assert_eq!(world.heard_by(1, 2), ["2", "3", "4"]);
}

#[test]
fn recipients_are_counted_over_all_shards() {
    let mut world = World::new(3, ClassOptions::default());
    (0..3).for_each(|shard| world.join(shard, 1, "news", None));
    let (tell, told) = std::sync::mpsc::channel();
    let tally = Arc::new(Tally::new(move |n, _| tell.send(n).unwrap()));
    world.publish_counted(2, &["news"], "x", Some(id(1, 1)), Some(tally));
    world.tick();
    assert_eq!(told.try_recv(), Ok(2));
    // Nobody there: answered all the same.
    let (tell, told) = std::sync::mpsc::channel();
    let tally = Arc::new(Tally::new(move |n, _| tell.send(n).unwrap()));
    world.publish_counted(0, &["nobody"], "x", None, Some(tally));
    world.tick();
    assert_eq!(told.try_recv(), Ok(0));
}

#[test]
fn a_late_subscriber_gets_what_it_missed_and_nothing_twice() {
    for shard in 0..2 {
        let mut world = World::new(2, keeping(3));
        world.join(0, 1, "news", None);
        let start = world.joined[0].position.unwrap();
        world.publish(0, &["news"], "1", None);
        world.tick();
        world.publish(0, &["news"], "2", None);
        // Published in the same tick as the join below: recovered, and not delivered again.
        world.settle();
        world.join(shard, 9, "news", Some(start));
        world.publish(1, &["news"], "3", None);
        world.tick();
        let joined = world.joined.last().unwrap();
        let missed: Vec<&[u8]> = joined.events.iter().map(|e| &e.data[..]).collect();
        assert_eq!((joined.recovered, missed), (Some(true), vec![&b"1"[..], b"2"]));
        assert_eq!(joined.position.unwrap().offset, start.offset + 2);
        assert_eq!(world.heard_by(shard, 9), ["3"]);
    }
}

#[test]
fn a_position_older_than_the_history_is_said_to_be_lost() {
    let mut world = World::new(1, keeping(2));
    world.join(0, 1, "news", None);
    let start = world.joined[0].position.unwrap();
    (0..3).for_each(|n| world.publish(0, &["news"], &n.to_string(), None));
    world.tick();
    for (since, recovered, count) in [
        (start, false, 0),
        (Position { offset: 1, ..start }, true, 2),
        (Position { offset: 3, ..start }, true, 0),
        (Position { offset: 4, ..start }, false, 0),
        (Position { epoch: start.epoch + 1, offset: 2 }, false, 0),
    ] {
        world.join(0, 2, "news", Some(since));
        let joined = world.joined.last().unwrap();
        assert_eq!((joined.recovered, joined.events.len()), (Some(recovered), count), "{since}");
    }
}

#[test]
fn evicted_history_starts_a_new_epoch() {
    let mut world = World::new(1, keeping(100));
    world.publish(0, &["old"], &"x".repeat(1000), None);
    world.tick();
    let name = ChannelName::parse("old").unwrap();
    let before = world.hubs[0].history(APP, &name, None, 10).position;
    assert!(world.hubs[0].history_bytes() > 1000);
    assert!(world.hubs[0].evict(APP, 1) > 1000);
    assert_eq!(world.hubs[0].take_evicted(), 1);
    assert_eq!(world.hubs[0].history_bytes(), 0);
    world.publish(0, &["old"], "y", None);
    world.tick();
    let page = world.hubs[0].history(APP, &name, Some(before), 10);
    assert!(!page.complete && page.position.epoch != before.epoch);
    // Too old by its class: forgotten, and the channel with it.
    world.hubs[0].sweep(Mono::from_ms(1_000_000));
    assert_eq!((world.hubs[0].history_bytes(), world.hubs[0].find(APP, "old")), (0, None));
}

#[test]
fn one_answer_holds_only_so_much_history_and_says_that_there_is_more() {
    let mut world = World::new(1, keeping(100));
    for n in 0..30 {
        world.publish(0, &["big"], &format!("{n}{}", "x".repeat(100_000)), None);
    }
    world.tick();
    let (hub, name) = (&world.hubs[0], ChannelName::parse("big").unwrap());
    let newest = hub.history(APP, &name, None, 100);
    assert_eq!((newest.events.len(), newest.events.last().unwrap().offset, newest.more), (10, 30, false));
    let first = Position { offset: 0, ..newest.position };
    let page = hub.history(APP, &name, Some(first), 100);
    assert_eq!((page.events.len(), page.events[0].offset, page.more), (10, 1, true));
    let rest = hub.history(APP, &name, Some(Position { offset: 25, ..first }), 100);
    assert_eq!((rest.events.len(), rest.more), (5, false));
}

#[test]
fn what_channels_keep_is_bounded_by_app_and_the_quietest_lose_it_first() {
    const OTHER: AppId = AppId(1);
    let mut world = World::new(1, ClassOptions { last: true, ..keeping(10) });
    world.hubs[0].set_classes(OTHER, Arc::from([keeping(10)]), None);
    world.hubs[0].set_history_max(APP, 100_000);
    world.join(0, 1, "seated", None);
    let before = world.hubs[0].usage(APP);
    for n in 0..500 {
        world.publish(0, &[&format!("c{n}")], "1", None);
        world.publish(0, &["busy"], "2", None);
    }
    world.tick();
    let usage = world.hubs[0].usage(APP);
    assert!(usage.kept_bytes <= 100_000 && usage.kept_bytes > 80_000, "{usage:?}");
    assert!(usage.channels < 150, "a tiny event's channel takes more than its byte: {usage:?}");
    let has = |name: &str| world.hubs[0].find(APP, name).is_some();
    assert!(has("busy") && has("c499") && has("seated") && !has("c0"));
    assert!(world.hubs[0].take_evicted() > 300);
    assert_eq!(world.hubs[0].usage(OTHER), Usage::default());
    // All of it can go, and nothing is counted then but who is there.
    world.hubs[0].evict(APP, usize::MAX);
    assert_eq!(world.hubs[0].usage(APP), before);
}

#[test]
fn the_last_value_is_told_to_a_newcomer() {
    let mut world = World::new(2, ClassOptions { last: true, ..ClassOptions::default() });
    world.publish(0, &["queue"], "7", None);
    world.publish(0, &["queue"], "8", None);
    world.tick();
    world.join(0, 1, "queue", None);
    let joined = world.joined.last().unwrap();
    assert_eq!(joined.events.iter().map(|e| &e.data[..]).collect::<Vec<_>>(), [b"8"]);
    assert_eq!(joined.recovered, None);
}

#[test]
fn presence_tells_of_users_not_of_their_second_window() {
    let mut world = World::new(2, ClassOptions { presence: true, ..ClassOptions::default() });
    world.join(0, 1, "room", None);
    world.tick();
    world.join(1, 2, "room", None);
    world.tick();
    world.join(0, 2, "room", None); // u2 again, elsewhere
    world.tick();
    assert_eq!(world.heard_by(0, 1).len(), 1, "{:?}", world.heard);
    let name = ChannelName::parse("room").unwrap();
    let home = world.home as usize;
    assert_eq!(world.hubs[home].presence(APP, &name).len(), 3);
    let number = world.hubs[1].find(APP, "room").unwrap();
    let member = |w: &World, c| w.hubs[home].presence(APP, &name).into_iter().find(|m| m.connection == c).unwrap();
    let gone = member(&world, id(1, 2));
    world.hubs[1].rise(number, 0, gone, Now::at(5));
    world.tick();
    assert_eq!(world.heard_by(0, 1).len(), 1, "u2 is still here in another window");
    let number = world.hubs[0].find(APP, "room").unwrap();
    let gone = member(&world, id(0, 2));
    world.hubs[0].rise(number, 1, gone, Now::at(5));
    world.tick();
    assert_eq!(world.heard_by(0, 1).len(), 2);
    assert!(world.heard_by(0, 1)[1].contains("\"u2\""));
}

#[test]
fn a_channel_that_nobody_needs_is_gone() {
    let mut world = World::new(2, ClassOptions::default());
    for shard in 0..2 {
        world.join(shard, 1, "tmp", None);
    }
    world.publish(0, &["tmp"], "x", None);
    world.tick();
    for shard in 0..2usize {
        let number = world.hubs[shard].find(APP, "tmp").unwrap();
        let member = Member { connection: id(shard as u16, 1), identity: Arc::default(), joined_at: 0 };
        world.hubs[shard].rise(number, 0, member, Now::default());
    }
    world.tick();
    assert!(world.hubs.iter().all(|h| h.find(APP, "tmp").is_none()));
}

#[test]
fn a_channel_takes_no_more_than_its_class_says_over_all_shards() {
    let mut world = World::new(3, ClassOptions { members_max: Some(3), ..ClassOptions::default() });
    (0..3).for_each(|shard| world.join(shard, 0, "room", None));
    (0..3).for_each(|shard| world.join(shard, 1, "room", None));
    assert_eq!((world.joined.len(), &world.full[..]), (3, &[(0, 1), (1, 1), (2, 1)][..]));
    world.join(0, 1, "other", None);
    assert_eq!(world.joined.len(), 4, "each channel by itself");

    // A seat is free again where somebody leaves, wherever that was.
    for shard in [0, 2] {
        let number = world.hubs[shard as usize].find(APP, "room").unwrap();
        let gone = Member { connection: id(shard, 0), identity: Identity::anonymous(), joined_at: 0 };
        world.hubs[shard as usize].rise(number, 0, gone, Now::default());
        world.settle();
        world.full.clear();
        world.join(1, 2, "room", None);
        world.join(1, 3, "room", None);
        assert_eq!(world.full, [(1, 3)]);
    }
}

#[test]
fn a_channel_is_as_old_as_its_first_subscriber() {
    let mut world = World::new(2, ClassOptions::default());
    for (slot, now) in [(0, 70), (1, 90)].map(|(slot, ms)| (slot, Now::at(ms))) {
        let join = Join { now, ..world.asking(slot as u16, slot, "room", None) };
        world.hubs[slot as usize].subscribe(Box::new(join));
        world.settle();
    }
    let since = |hub: &Hub| hub.channels().map(|(c, seats)| (c.since(), seats)).collect::<Vec<_>>();
    assert_eq!(since(&world.hubs[world.home as usize]), [(70, 2)]);
}

#[test]
fn a_seat_that_is_offered_is_not_free_and_one_declined_is() {
    let mut world = World::new(1, ClassOptions { members_max: Some(1), ..ClassOptions::default() });
    let mut ask = |slot: Slot| {
        let join = world.asking(0, slot, "room", None);
        world.hubs[0].subscribe(Box::new(join));
    };
    (0..3).for_each(&mut ask);
    let mut outs: Vec<Out> = world.hubs[0].drain().collect();
    assert!(matches!(&outs[..], [Out::Joined(_), Out::Full(_), Out::Full(_)]), "{outs:?}");
    let Out::Joined(offered) = outs.remove(0) else { return };
    world.hubs[0].decline(*offered, Now::default());
    assert!(world.hubs[0].find(APP, "room").is_none(), "nobody is there: it is forgotten");
    world.join(0, 3, "room", None);
    assert_eq!((world.joined.len(), world.full.len()), (1, 0));
}
