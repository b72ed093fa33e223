//! Homes that change while events are on their way: every order in which threads may get to it, as far as chance goes.

use crate::hub::{AskedBy, ClassOptions, HistoryOptions, Hub, Join, Joined, Message, Out, Publication, Seat, home_of};
use crate::model::{AppId, ChannelName, ConnectionId, Event, EventKind, Identity, Member, Ms, Now, Position};
use crate::policy::{ChannelSettings, Policy};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

const APP: AppId = AppId(0);
const SHARDS: u16 = 3;
const GENERATIONS: u64 = 6;
/// Events that each shard's client publishes.
const EVENTS: u64 = 40;

/// What waits for a hub.
enum Letter {
    Hub(Message),
    Begin(u64),
}

/// Epoch, offset and data of each event.
type Heard = Vec<(u32, u64, String)>;

struct World {
    hubs: Vec<Hub>,
    /// The generation that each has begun.
    begun: Vec<u64>,
    inboxes: Vec<VecDeque<Letter>>,
    /// By shard and slot: what it heard, as epoch, offset and data.
    heard: BTreeMap<(u16, u32), Heard>,
    /// By shard and slot: whether the home could tell all that was missed.
    recovered: BTreeMap<(u16, u32), Option<bool>>,
    chance: u64,
}

fn name() -> ChannelName {
    ChannelName::parse("c:1").unwrap()
}

/// Generations of odd numbers list nobody; each has another home.
fn classes(generation: u64) -> (Arc<[ClassOptions]>, Arc<Policy>) {
    let home = Some(format!("home{generation}"));
    let settings = [ChannelSettings { name: "c:{id}".into(), home, ..ChannelSettings::default() }];
    let history = Some(HistoryOptions { keep: 1_000, ttl: Ms::secs(60) });
    let options = ClassOptions { history, presence: generation.is_multiple_of(2), ..ClassOptions::default() };
    (Arc::from([options]), Arc::new(Policy::compile(&settings, &[], &|_| String::new()).unwrap()))
}

fn home(generation: u64) -> u16 {
    home_of(SHARDS, &format!("home{generation}"))
}

fn member(shard: u16, slot: u32) -> Member {
    let connection = ConnectionId::uuid(u128::from(shard) << 32 | u128::from(slot));
    Member { connection, identity: Identity::anonymous(), joined_at: 0 }
}

impl World {
    fn new(chance: u64) -> World {
        let hubs = (0..SHARDS).map(|me| Hub::new(me, SHARDS, 100 * u32::from(me)));
        let mut world = World {
            hubs: hubs.collect(),
            begun: vec![0; SHARDS as usize],
            inboxes: (0..SHARDS).map(|_| VecDeque::new()).collect(),
            heard: BTreeMap::new(),
            recovered: BTreeMap::new(),
            chance: chance * 2 + 1,
        };
        (0..SHARDS).for_each(|shard| world.open(shard, Letter::Begin(1)));
        (0..SHARDS).for_each(|shard| world.join(shard, 0, None));
        world.drain();
        world
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % below
    }

    fn open(&mut self, shard: u16, letter: Letter) {
        let at = shard as usize;
        match letter {
            Letter::Hub(message) => self.hubs[at].hear(message, Now::default()),
            Letter::Begin(generation) => {
                let (options, policy) = classes(generation);
                self.hubs[at].set_classes(APP, options, Some(policy));
                self.hubs[at].begin(generation, Now::default());
                self.begun[at] = generation;
                self.list(shard, None);
            }
        }
        self.carry(shard);
    }

    /// As a shard does: seats of classes that list who is there are told to their homes.
    fn list(&mut self, shard: u16, only: Option<u32>) {
        let hub = &mut self.hubs[shard as usize];
        let Some(number) = hub.find(APP, "c:1") else { return };
        let seats: Vec<Seat> = if hub.lists(number) { hub.channel(number).seats.to_vec() } else { Vec::new() };
        for seat in seats.into_iter().filter(|seat| only.is_none_or(|slot| slot == seat.slot)) {
            hub.present(number, member(shard, seat.slot), Now::default());
        }
    }

    fn carry(&mut self, shard: u16) {
        let at = shard as usize;
        while self.hubs[at].has_out() || self.hubs[at].hear_waiting() {
            let outs: Vec<Out> = self.hubs[at].drain().collect();
            for out in outs {
                match out {
                    Out::To { shard, message } => self.inboxes[shard as usize].push_back(Letter::Hub(message)),
                    Out::Deliver(parts) => {
                        for part in parts {
                            for seat in self.hubs[at].channel(part.channel).seats.clone() {
                                let heard = self.heard.entry((shard, seat.slot)).or_default();
                                heard.extend(part.batch.events.iter().filter_map(|e| told(part.batch.epoch, e)));
                            }
                        }
                    }
                    Out::Joined(joined) => self.sit(shard, &joined),
                    Out::Published(_) | Out::Full(_) => {}
                }
            }
        }
    }

    fn sit(&mut self, shard: u16, joined: &Joined) {
        self.hubs[shard as usize].sit(joined, joined.slot, 0);
        let heard = self.heard.entry((shard, joined.slot)).or_default();
        heard.extend(joined.events.iter().filter_map(|event| told(joined.epoch, event)));
        self.recovered.insert((shard, joined.slot), joined.recovered);
        if !joined.listed {
            self.list(shard, Some(joined.slot));
        }
    }

    fn join(&mut self, shard: u16, slot: u32, since: Option<Position>) {
        let generation = self.begun[shard as usize];
        let join = Join {
            app: APP,
            channel: name(),
            class: 0,
            generation,
            home: home(generation),
            shard,
            slot,
            member: member(shard, slot),
            since,
            asked_by: AskedBy::Client(0),
            alias: None,
            now: Now::default(),
        };
        self.hubs[shard as usize].subscribe(Box::new(join));
        self.carry(shard);
    }

    fn publish(&mut self, shard: u16, n: u64) {
        self.publish_by(self.begun[shard as usize], shard, n);
    }

    /// As one that was decided by this generation, and waited for its handler since.
    fn publish_by(&mut self, generation: u64, shard: u16, n: u64) {
        let event = Event {
            kind: EventKind::Message,
            data: format!("{shard}:{n}").into(),
            event: None,
            key: None,
            sender: None,
            exclude: None,
            priority: crate::model::Priority::default(),
            offset: 0,
            at: Now::default(),
        };
        let channels = smallvec::smallvec![(name(), 0)];
        let publication = Publication { app: APP, channels, generation, event, tally: None, answer: None };
        self.hubs[shard as usize].publish(home(generation), publication);
        self.carry(shard);
    }

    fn seal(&mut self, shard: u16) {
        self.hubs[shard as usize].seal();
        self.carry(shard);
    }

    /// Until nothing is on its way.
    fn drain(&mut self) {
        (0..SHARDS).for_each(|shard| self.seal(shard));
        while self.inboxes.iter().any(|inbox| !inbox.is_empty()) {
            for shard in 0..SHARDS {
                while let Some(letter) = self.inboxes[shard as usize].pop_front() {
                    self.open(shard, letter);
                }
            }
            (0..SHARDS).for_each(|shard| self.seal(shard));
        }
    }

    fn settled(&self, generation: u64) -> bool {
        self.hubs.iter().all(|hub| hub.settled() == generation)
    }
}

/// Presence events are no events of clients.
fn told(epoch: u32, event: &Event) -> Option<(u32, u64, String)> {
    let text = String::from_utf8(event.data.to_vec()).unwrap();
    (event.kind == EventKind::Message).then_some((epoch, event.offset, text))
}

/// One way in which it may go.
fn play(chance: u64) {
    let mut world = World::new(chance);
    let (mut published, mut next, mut slots) = ([0; SHARDS as usize], 2, 1);
    // Shards that have yet to be told of the newest generation.
    let mut to_tell: Vec<u16> = Vec::new();
    while published.iter().any(|n| *n < EVENTS) || next <= GENERATIONS || !to_tell.is_empty() {
        let shard = world.roll(SHARDS.into()) as u16;
        match world.roll(12) {
            0 if to_tell.is_empty() && next <= GENERATIONS && world.settled(next - 1) => {
                to_tell = (0..SHARDS).collect();
                next += 1;
            }
            1 if !to_tell.is_empty() => {
                let shard = to_tell.remove(0);
                world.inboxes[shard as usize].push_back(Letter::Begin(next - 1));
            }
            2 | 3 if published[shard as usize] < EVENTS => {
                world.publish(shard, published[shard as usize]);
                published[shard as usize] += 1;
            }
            4 => world.seal(shard),
            // Somebody comes back with the newest position that the first seat has heard of.
            5 if slots < 6 => {
                let last = world.heard.get(&(shard, 0)).and_then(|heard| heard.last().cloned());
                if let Some((epoch, offset, _)) = last {
                    world.join(shard, slots, Some(Position { epoch, offset }));
                    slots += 1;
                }
            }
            _ => {
                if let Some(letter) = world.inboxes[shard as usize].pop_front() {
                    world.open(shard, letter);
                }
            }
        }
    }
    world.drain();
    assert!(world.settled(GENERATIONS), "chance {chance}");
    let all = &world.heard[&(0, 0)];
    let epoch = all[0].0;
    let offsets: Vec<(u32, u64)> = all.iter().map(|(epoch, offset, _)| (*epoch, *offset)).collect();
    let wanted: Vec<(u32, u64)> = (1..=EVENTS * u64::from(SHARDS)).map(|offset| (epoch, offset)).collect();
    let wrong = offsets.iter().zip(&wanted).position(|(a, b)| a != b);
    assert!(
        wrong.is_none() && offsets.len() == wanted.len(),
        "chance {chance}: {} heard of {}, the first that is wrong at {wrong:?}: {:?}",
        offsets.len(),
        wanted.len(),
        wrong.map(|at| &all[at])
    );
    for shard in 0..SHARDS {
        let own: Vec<&String> =
            all.iter().map(|(_, _, text)| text).filter(|t| t.starts_with(&format!("{shard}:"))).collect();
        let wanted: Vec<String> = (0..EVENTS).map(|n| format!("{shard}:{n}")).collect();
        assert_eq!(own, wanted.iter().collect::<Vec<_>>(), "chance {chance}: each sender's order");
    }
    for (who, heard) in &world.heard {
        assert!(all.ends_with(heard), "chance {chance}: {who:?} heard otherwise");
        let first = who.1 == 0;
        assert!(
            first == (heard.len() == all.len()) && world.recovered[who] == (!first).then_some(true),
            "{chance} {who:?}"
        );
    }
    // History and the list of those who are there have moved along.
    let hub = &world.hubs[home(GENERATIONS) as usize];
    assert_eq!(hub.history(APP, &name(), None, 9_999).events.len() as u64, EVENTS * u64::from(SHARDS));
    let mut there: Vec<ConnectionId> = hub.presence(APP, &name()).iter().map(|m| m.connection).collect();
    let mut wanted: Vec<ConnectionId> =
        world.heard.keys().map(|(shard, slot)| member(*shard, *slot).connection).collect();
    there.sort_unstable_by_key(ToString::to_string);
    wanted.sort_unstable_by_key(ToString::to_string);
    assert_eq!(there, wanted, "chance {chance}");
}

#[test]
fn events_are_heard_once_and_in_order_while_their_channel_moves() {
    (0..400).for_each(play);
}

#[test]
fn a_publication_decided_long_ago_finds_the_home_of_today() {
    let mut world = World::new(0);
    for generation in 2..=4 {
        (0..SHARDS).for_each(|shard| world.open(shard, Letter::Begin(generation)));
        world.drain();
        assert!(world.settled(generation));
    }
    // Somebody still holds what the first generation decided.
    world.begun = vec![1; SHARDS as usize];
    (0..SHARDS).for_each(|shard| world.publish(shard, 0));
    world.begun = vec![4; SHARDS as usize];
    (0..SHARDS).for_each(|shard| world.seal(shard));
    world.drain();
    assert_eq!(world.heard[&(1, 0)].len(), SHARDS as usize);
}

/// A publication waits for its handler while files change twice: it goes to where its channel is by then.
#[test]
fn what_was_decided_two_generations_ago_goes_to_where_its_channel_is() {
    for chance in 0..500 {
        let mut world = World::new(chance);
        (0..3).for_each(|n| world.publish(0, n));
        world.drain();
        (0..SHARDS).for_each(|shard| world.open(shard, Letter::Begin(2)));
        world.drain();
        assert!(world.settled(2));
        let mut to_tell: Vec<u16> = (0..SHARDS).collect();
        let mut late = 3;
        while !to_tell.is_empty() || late < 9 || world.inboxes.iter().any(|inbox| !inbox.is_empty()) {
            let shard = world.roll(SHARDS.into()) as u16;
            match world.roll(6) {
                0 if !to_tell.is_empty() => {
                    let shard = to_tell.remove(0);
                    world.inboxes[shard as usize].push_back(Letter::Begin(3));
                }
                1 if late < 9 => {
                    // Its call ends at the home that it was decided for.
                    world.publish_by(1, home(1), late);
                    late += 1;
                }
                2 => world.seal(shard),
                _ => {
                    if let Some(letter) = world.inboxes[shard as usize].pop_front() {
                        world.open(shard, letter);
                    }
                }
            }
        }
        world.drain();
        assert!(world.settled(3), "{chance}");
        for shard in 0..SHARDS {
            let heard = &world.heard[&(shard, 0)];
            let offsets: Vec<u64> = heard.iter().map(|(_, offset, _)| *offset).collect();
            assert_eq!(offsets, (1..=9).collect::<Vec<_>>(), "chance {chance}, shard {shard}: {heard:?}");
            assert!(heard.iter().all(|(epoch, ..)| *epoch == heard[0].0), "chance {chance}: {heard:?}");
        }
    }
}

#[test]
fn who_joins_while_a_channel_moves_hears_what_is_published_right_behind() {
    let mut world = World::new(0);
    let generation = (2..=GENERATIONS).find(|generation| home(*generation) != home(1)).unwrap();
    let new = home(generation);
    // Its new home begins first: what comes waits there until the channel has come.
    world.open(new, Letter::Begin(generation));
    world.join(new, 7, None);
    world.publish(new, 1);
    world.join(new, 8, None);
    world.publish(new, 2);
    for other in (0..SHARDS).filter(|shard| *shard != new) {
        world.open(other, Letter::Begin(generation));
    }
    world.drain();
    let heard = |slot| world.heard[&(new, slot)].iter().map(|(_, _, data)| data.clone()).collect::<Vec<_>>();
    assert_eq!(heard(7), [format!("{new}:1"), format!("{new}:2")]);
    assert_eq!(heard(8), [format!("{new}:2")]);
}
