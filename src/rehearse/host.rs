//! What handlers see of the stage: its channels and connections, a clock that stands still, ids and chance that repeat.

use super::stage::Stage;
use super::world::World;
use crate::model::{
    AppId, AppStats, ChannelInfo, ChannelName, ConnectionInfo, Event, Member, Millis, Now, Refusal, Slot, Target,
};
use crate::script::Host;
use crate::store::{Done, Parcel, Store, StoreError, Timer, Write};
use serde_json::Value;
use std::collections::BTreeMap;

/// Lines of `print` that are remembered for `log`.
const PRINTED_MAX: usize = 10_000;

impl Host for Stage {
    fn now(&self) -> Now {
        self.world().now
    }

    fn random(&self) -> u128 {
        self.chance.next()
    }

    fn random_id(&self) -> u128 {
        self.chance.next_id()
    }

    fn printed(&self, line: &str) -> bool {
        let mut world = self.world();
        if world.printed.len() == PRINTED_MAX {
            world.printed.pop_front();
        }
        world.printed.push_back(line.to_owned());
        true
    }

    fn history(&self, app: AppId, channel: &ChannelName, limit: usize, _: u64) -> Result<Vec<Event>, Refusal> {
        Ok(self.world().hub.history(app, channel, None, limit).events)
    }

    fn presence(&self, app: AppId, channel: &ChannelName, _: u64) -> Result<Vec<Member>, Refusal> {
        Ok(self.world().hub.presence(app, channel))
    }

    fn channels(&self, _: AppId, prefix: &str, limit: usize, _: u64) -> Result<Vec<ChannelInfo>, Refusal> {
        Ok(self.world().channels(limit, |name| name.as_str().starts_with(prefix)))
    }

    fn connections(
        &self,
        _: AppId,
        target: Target,
        limit: usize,
        _: u64,
    ) -> Result<(Vec<ConnectionInfo>, usize), Refusal> {
        Ok(self.world().connections(&target, limit))
    }

    fn stats(&self, _: AppId, claims: &[String], _: u64) -> Result<AppStats, Refusal> {
        Ok(self.world().stats(claims))
    }
}

/// Read by handlers; what they write goes the way of `keep`.
impl Store for Stage {
    fn get(&self, _: &str, key: &str, now: Millis) -> Result<Option<String>, StoreError> {
        Ok(self.world().kept.value(key, now).map(str::to_owned))
    }

    fn keys(&self, _: &str, prefix: &str, limit: usize, now: Millis) -> Result<Vec<String>, StoreError> {
        let world = self.world();
        let keys = world.kept.values.keys().filter(|key| key.starts_with(prefix));
        Ok(keys.filter(|key| world.kept.value(key, now).is_some()).take(limit).cloned().collect())
    }

    fn entity(&self, _: &str, entity: &str) -> Result<Option<String>, StoreError> {
        let state = self.world().kept.states.get(entity).map(|(state, _)| state.to_json());
        state.transpose().map_err(StoreError::Broken)
    }

    fn commit(&self, _: Vec<Write>, done: Done) {
        done(Err(StoreError::Broken("a rehearsal has no disk".into())));
    }

    fn timers(&self) -> Result<Vec<Timer>, StoreError> {
        Ok(Vec::new())
    }

    fn outbox(&self) -> Result<Vec<Parcel>, StoreError> {
        Ok(Vec::new())
    }

    fn sweep(&self, _: Millis) -> Result<usize, StoreError> {
        Ok(0)
    }
}

impl World {
    /// Channels that pass, by name.
    pub fn channels(&self, limit: usize, pass: impl Fn(&ChannelName) -> bool) -> Vec<ChannelInfo> {
        let known = self.hub.channels().filter(|(channel, _)| pass(&channel.name));
        let mut all: Vec<ChannelInfo> = known
            .map(|(channel, subscribers)| ChannelInfo {
                name: channel.name.clone(),
                subscribers,
                since: channel.since(),
            })
            .collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all.truncate(limit);
        all
    }

    /// Oldest first, and how many there are.
    pub fn connections(&self, target: &Target, limit: usize) -> (Vec<ConnectionInfo>, usize) {
        let slots = self.targets(target);
        (slots.iter().take(limit).filter_map(|slot| self.info(*slot)).collect(), slots.len())
    }

    fn info(&self, slot: Slot) -> Option<ConnectionInfo> {
        let session = &self.players.get(slot as usize)?.session;
        Some(ConnectionInfo {
            id: session.id,
            identity: session.identity.clone(),
            channels: session.subs.iter().map(|sub| self.hub.channel(sub.channel).name.clone()).collect(),
            ip: session.ip,
            user_agent: session.user_agent.clone(),
            endpoint: self.app.endpoint(session.endpoint)?.path.clone(),
            connected_at: session.connected_at.wall,
            last_activity: self.now.wall_of(session.last_activity),
            queued_bytes: 0,
        })
    }

    /// `claims`: those to count connections by.
    pub fn stats(&self, claims: &[String]) -> AppStats {
        let open: Vec<_> = self.players.iter().filter(|player| player.open).collect();
        let by = claims.iter().map(|claim| {
            let mut counts = BTreeMap::new();
            for value in open.iter().filter_map(|player| player.session.identity.claim(claim)) {
                let text = value.as_str().map_or_else(|| Value::to_string(value), str::to_owned);
                *counts.entry(text).or_insert(0) += 1;
            }
            (claim.clone(), counts)
        });
        let (counted, measured) = self.metrics.own.of(self.app.id);
        AppStats {
            connections: open.len(),
            channels: self.hub.channels().count(),
            subscriptions: open.iter().map(|player| player.session.subs.len()).sum(),
            by: by.collect(),
            own: counted.into_iter().map(|(name, n)| (name, n as f64)).chain(measured).collect(),
            ..AppStats::default()
        }
    }
}

/// Ids and chance that are the same in every run of a test.
#[derive(Default)]
pub(super) struct Chance {
    ids: std::sync::atomic::AtomicU64,
    rolls: std::sync::atomic::AtomicU64,
}

impl Chance {
    /// 1, 2, 3 …: as UUIDs `00000000-0000-4000-8000-000000000001` and so on.
    fn next_id(&self) -> u128 {
        u128::from(self.ids.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), two of its numbers together.
    fn next(&self) -> u128 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let at = self.rolls.fetch_add(STEP.wrapping_mul(2), std::sync::atomic::Ordering::Relaxed);
        let mix = |z: u64| {
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        u128::from(mix(at.wrapping_add(STEP))) << 64 | u128::from(mix(at.wrapping_add(STEP.wrapping_mul(2))))
    }
}

#[test]
fn ids_are_counted_and_chance_repeats() {
    let (one, two) = (Chance::default(), Chance::default());
    let ids: Vec<String> = (0..2).map(|_| crate::model::ConnectionId::uuid(one.next_id()).to_string()).collect();
    assert_eq!(ids, ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"]);
    let rolls = |chance: &Chance| [chance.next(), chance.next(), chance.next()];
    let first = rolls(&one);
    assert_eq!(first, rolls(&two));
    assert!(first[0] != first[1] && first[1] != first[2]);
}
