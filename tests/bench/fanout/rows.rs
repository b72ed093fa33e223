//! The lines of the table.

use super::count;
use super::race::race;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use smallvec::{SmallVec, smallvec};
use std::collections::VecDeque;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use weir::dialect::{Dialect, Json, Settings};
use weir::hub::{Batch, ClassOptions, Hub, Join, Out, Publication};
use weir::kernel::{Encoded, Encoder, Meter};
use weir::model::{AppId, ChannelName, ConnectionId, Event, EventKind, Identity, Member, Now};
use weir::policy::{Asking, ChannelSettings, Policy, RightKind, Subscribe};
use weir::wire::{Arrived, DeflateParams, Incoming, Inflater, Limits, OpCode, Reader};

const NOW: u64 = 1_704_623_400_000;
const APP: AppId = AppId(0);

const REPORTS: &str = include_str!("../../../channels/reports.toml");
const CLINIC: &str = include_str!("../../../channels/clinic.toml");
const MINI: &str = include_str!("../../config/bench/channels/bench.toml");

fn dialect(file: &str, name: &str) -> Dialect {
    let file: Map<String, Value> = toml::from_str(file).unwrap();
    let settings: Settings = serde_json::from_value(file["dialect"][name].clone()).unwrap();
    Dialect::Json(Box::new(Json::compile(&settings).unwrap()))
}

fn event(bytes: usize) -> Event {
    let text = format!(r#"{{"at":"~1704623400000","n":1,"pad":"{}"}}"#, "x".repeat(bytes.saturating_sub(40)));
    Event {
        kind: EventKind::Message,
        data: text.into(),
        event: None,
        key: None,
        sender: None,
        exclude: None,
        priority: Default::default(),
        offset: 0,
        at: Now::at(NOW),
    }
}

// ── a client's message ───────────────────────────────────────────────────────────────────────────────────────────

/// Against serde_json, which only checks that it is JSON.
pub fn read() {
    let mini = dialect(MINI, "mini");
    let publish = format!(r#"{{"op":"pub","ch":"bench","data":{}}}"#, String::from_utf8_lossy(&event(165).data));
    for (name, text) in [
        ("ping", r#"{"op":"ping"}"#.to_owned()),
        ("subscribe", r#"{"op":"sub","ch":"user:u1:notifications"}"#.to_owned()),
        ("publish, 200 B", publish),
    ] {
        let weir = || mini.read(black_box(&text)).is_ok();
        let least = || serde_json::from_str::<IgnoredAny>(black_box(&text)).is_ok();
        race(&format!("read: {name}"), 1, weir, least);
    }
}

/// Against finding the same channel in a map.
pub fn decide() {
    let Value::Object(claims) = json!({ "role": "staff", "roles": ["staff", "user"], "clinicId": "c1" }) else {
        unreachable!()
    };
    let identity = Identity { user: Some("u1".into()), claims, ..Identity::default() };
    for (app, file) in [("reports", REPORTS), ("clinic", CLINIC)] {
        let file: Map<String, Value> = toml::from_str(file).unwrap();
        let classes: Vec<ChannelSettings> = serde_json::from_value(file["channel"].clone()).unwrap();
        let policy = Policy::compile(&classes, &[], &|path| path.into()).unwrap();
        let names: Vec<ChannelName> = classes.iter().map(|c| example(&c.name)).collect();
        let known: hashbrown::HashMap<&str, u16> = names.iter().map(|n| (n.as_str(), 0)).collect();
        for (class, name) in classes.iter().zip(&names) {
            let asking = Asking { identity: &identity, request: None, tables: &(), now: NOW };
            let weir = || policy.decide::<Subscribe>(black_box(name), &asking, 1).is_ok();
            let least = || (known.get(black_box(name.as_str())).copied(), name.clone());
            let (told, kept) = (if weir() { "yes" } else { "no" }, policy.cache(name, RightKind::Subscribe));
            race(&format!("decide: {app} {} ({told}, kept {kept:?})", class.name), 1, weir, least);
        }
    }
}

/// A channel that a pattern matches and, where it names somebody, ours.
fn example(pattern: &str) -> ChannelName {
    let segments: Vec<&str> = pattern
        .split(':')
        .map(|s| match s {
            "{id}" | "{userId}" => "u1",
            "{clinicId}" => "c1",
            s if s.starts_with('{') => "x",
            s => s,
        })
        .collect();
    ChannelName::parse(&segments.join(":")).unwrap()
}

// ── to those who hear it ─────────────────────────────────────────────────────────────────────────────────────────

/// A hub, and a list for each connection in the place of its out-queue.
struct Room {
    hub: Hub,
    encoder: Encoder,
    dialect: Dialect,
    meter: Meter,
    queues: Vec<VecDeque<Rc<Encoded>>>,
    names: Vec<ChannelName>,
}

impl Room {
    fn new(channels: usize, seats: usize, options: ClassOptions) -> Room {
        let mut hub = Hub::new(0, 1, 1);
        hub.set_classes(APP, Arc::from([options]), None);
        let names = (0..channels).map(|n| ChannelName::parse(&format!("clinic:c{n:05}:queue")).unwrap()).collect();
        let (encoder, dialect) = (Encoder::new(), dialect(MINI, "mini"));
        let mut room = Room { hub, encoder, dialect, meter: Meter::default(), queues: Vec::new(), names };
        (0..channels).for_each(|channel| (0..seats).for_each(|_| room.join(channel)));
        room
    }

    fn join(&mut self, channel: usize) {
        let slot = self.queues.len() as u32;
        self.queues.push(VecDeque::new());
        let connection = ConnectionId::uuid(slot as u128);
        let member = Member { connection, identity: Identity::anonymous(), joined_at: NOW };
        self.hub.subscribe(Box::new(Join {
            app: APP,
            channel: self.names[channel].clone(),
            class: 0,
            generation: 0,
            home: 0,
            shard: 0,
            slot,
            member,
            since: None,
            asked_by: weir::hub::AskedBy::Client(0),
            alias: None,
            now: Now::at(NOW),
        }));
        let joined: Vec<Out> = self.hub.drain().collect();
        for out in joined {
            if let Out::Joined(joined) = out {
                self.hub.sit(&joined, slot, 0);
            }
        }
    }

    fn publish(&mut self, channel: usize, event: Event) {
        let channels = smallvec![(self.names[channel].clone(), 0)];
        self.hub.publish(0, Publication { app: APP, channels, generation: 0, event, tally: None, answer: None });
    }

    /// As a shard's tick: seal, encode once, a slice for each seat.
    fn tick(&mut self) -> usize {
        self.hub.seal();
        let (mut delivered, outs) = (0, self.hub.drain().collect::<SmallVec<[Out; 4]>>());
        for out in outs {
            let Out::Deliver(parts) = out else { continue };
            for part in &parts {
                let encoded = Rc::new(self.encoder.batch(&part.batch, &self.dialect, 0, None, &self.meter));
                for seat in &self.hub.channel(part.channel).seats {
                    self.queues[seat.slot as usize].push_back(encoded.clone());
                    delivered += 1;
                }
            }
        }
        self.queues.iter_mut().for_each(VecDeque::clear);
        delivered
    }
}

/// Against handing a finished slice to the same queues. Per event and subscriber.
pub fn fan_out() {
    let slice = Bytes::from(vec![b'x'; 128]);
    let event = event(128);
    for seats in [1, 100, 1_000, 10_000] {
        let mut room = Room::new(1, seats, ClassOptions::default());
        let mut queues: Vec<VecDeque<Bytes>> = vec![VecDeque::new(); seats];
        for batch in [1, 4, 32] {
            let weir = || {
                (0..batch).for_each(|_| room.publish(0, event.clone()));
                room.tick()
            };
            let least = || {
                queues.iter_mut().for_each(|q| q.push_back(slice.clone()));
                queues.iter_mut().for_each(VecDeque::clear);
            };
            race(&format!("fan-out: {seats} on a channel, {batch} at a time"), seats * batch, weir, least);
        }
    }
    let channels = 10_000;
    let mut room = Room::new(channels, 2, ClassOptions::default());
    let mut queues: Vec<VecDeque<Bytes>> = vec![VecDeque::new(); 2 * channels];
    let weir = || {
        (0..channels).for_each(|c| room.publish(c, event.clone()));
        room.tick()
    };
    let least = || {
        for pair in queues.chunks_mut(2) {
            let slice = Bytes::copy_from_slice(&slice);
            pair.iter_mut().for_each(|q| q.push_back(slice.clone()));
        }
        queues.iter_mut().for_each(VecDeque::clear);
    };
    race("fan-out: 10000 channels of 2, 1 at a time", 2 * channels, weir, least);
}

// ── frames ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// 16 frames in one read, against copying and checking the same bytes. Per frame; both copy, as the kernel would.
pub fn decode() {
    let limits = Limits { message_bytes: 1 << 20, fragments: 16 };
    for bytes in [128, 1024] {
        let stream = frames(&event(bytes).data).repeat(16);
        let (mut reader, mut inflater, mut buffer) = (Reader::new(None), Inflater::new(), stream.clone());
        let weir = || {
            buffer.copy_from_slice(black_box(&stream));
            let (mut frames, mut heard) = (reader.feed(&mut buffer), 0);
            while let Ok(Some(Arrived::Message)) = frames.next(&limits) {
                if let Ok(Some(Incoming::Text(text))) = frames.take(1 << 20, &mut inflater) {
                    heard += text.len();
                }
            }
            frames.done(&mut inflater);
            assert!(heard >= 16 * bytes / 2);
        };
        let (text, mut copy) = (event(bytes).data.repeat(16), vec![0; 16 * bytes + 1024]);
        let least = || {
            copy[..text.len()].copy_from_slice(black_box(&text));
            simdutf8::basic::from_utf8(&copy[..text.len()]).is_ok()
        };
        race(&format!("decode: text of {bytes} B"), 16, weir, least);
    }
    let text = event(1024).data;
    let (mut deflated, mut stream) = (Vec::new(), Vec::new());
    weir::wire::Deflater::new().deflate(&text, 15, &mut deflated);
    mask(0xc1, &deflated, &mut stream);
    let deflate = Some(DeflateParams { server_bits: 15, client_bits: 15 });
    let (mut reader, mut inflater, mut buffer) = (Reader::new(deflate), Inflater::new(), stream.clone());
    let weir = || {
        buffer.copy_from_slice(black_box(&stream));
        let mut frames = reader.feed(&mut buffer);
        let arrived = matches!(frames.next(&limits), Ok(Some(Arrived::Message)));
        let text = matches!(frames.take(1 << 20, &mut inflater), Ok(Some(Incoming::Text(_))));
        frames.done(&mut inflater);
        arrived && text
    };
    race("decode: deflated text of 1024 B", 1, weir, || text.to_vec());
}

fn frames(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    mask(0x80 | OpCode::Text as u8, payload, &mut out);
    out
}

/// A client's frame (RFC 6455 §5.3).
fn mask(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    out.push(first);
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Against copying the data.
pub fn encode() {
    let name = ChannelName::parse("clinic:c1:queue").unwrap();
    for (what, dialect, window) in [
        ("raw", dialect(CLINIC, "clinic"), 0),
        ("raw, timestamp added", dialect(REPORTS, "reports"), 0),
        ("wrapped", dialect(MINI, "mini"), 0),
        ("wrapped, deflated", dialect(MINI, "mini"), 15),
    ] {
        let (mut encoder, meter) = (Encoder::new(), Meter::default());
        for bytes in [128, 1024] {
            let event = event(bytes);
            let batch = Batch::new(APP, name.clone(), 1, smallvec![event.clone()], &Vec::new());
            let weir = || encoder.batch(black_box(&batch), &dialect, window, Some(0), &meter);
            race(&format!("encode: {what}, {bytes} B"), 1, weir, || Bytes::copy_from_slice(black_box(&event.data)));
        }
    }
}

// ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// What a hub keeps, by the bytes that it asked for; a connection's own part is not in it.
pub fn memory() {
    println!("\n{:<58}{:>10}{:>10}", "", "bytes", "calls");
    let each = |name: &str, number: usize, build: &dyn Fn() -> Room| {
        let (bytes, calls) = (count::bytes(), count::calls());
        let room = build();
        let own = count::bytes() - bytes - (room.queues.capacity() * size_of::<VecDeque<Bytes>>()) as isize;
        let (own, calls) = (own as f64 / number as f64, (count::calls() - calls) as f64 / number as f64);
        println!("{name:<58}{own:>10.1}{calls:>10.1}");
    };
    let plain = ClassOptions::default();
    let presence = ClassOptions { presence: true, ..plain };
    each("memory: a channel and its name, 1 seat, of 10000", 10_000, &|| Room::new(10_000, 1, plain));
    each("memory: the same with 2 seats", 10_000, &|| Room::new(10_000, 2, plain));
    each("memory: the same with 3 seats", 10_000, &|| Room::new(10_000, 3, plain));
    each("memory: a seat of 10000 on one channel", 10_000, &|| Room::new(1, 10_000, plain));
    each("memory: the same with presence", 10_000, &|| Room::new(1, 10_000, presence));
}
