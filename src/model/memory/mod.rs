//! The bytes that clients make Weir hold: one budget for the process, with an account for each app.
//!
//! Bytes are counted when they are taken on, and given back when whoever has them is dropped. A part of the budget is
//! kept back for each app (`limits.app_memory`); the rest is the pool, for whoever needs more. So an app that fills
//! the pool still leaves each other app its own part.
//!
//! Two ways to count: a [`Taken`] for one thing that several may hold, such as what was published; an [`Allowance`]
//! for the many small things of one thread, such as the entries of out-queues.

mod account;
mod allowance;
mod budget;
mod kind;

pub use account::{Account, Taken};
pub use allowance::Allowance;
pub use budget::{Holding, Memory};
pub use kind::Kind;

#[cfg(test)]
mod tests {
    use super::allowance::{CHUNK, SPARE};
    use super::*;
    use crate::model::AppId;
    use bytes::Bytes;
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;

    const A: AppId = AppId(0);
    const B: AppId = AppId(1);

    fn memory(max: usize, apps: &[(AppId, Option<usize>)]) -> Arc<Memory> {
        let memory = Memory::new();
        let apps: Vec<_> = apps.iter().map(|(id, own)| (*id, Arc::from(format!("app{}", id.0)), *own)).collect();
        memory.set(max, &apps);
        memory
    }

    #[test]
    fn an_app_that_fills_the_pool_leaves_the_other_its_own_part() {
        let memory = memory(1600, &[(A, None), (B, None)]);
        let (a, b) = (memory.app(A), memory.app(B));
        // 1,600 less a quarter and a sixteenth are 1,100: 275 for each app, 550 for whoever needs more.
        let _most = a.reserve(Kind::Events, 825).unwrap();
        assert!(a.reserve(Kind::Events, 1).is_none());
        let own = b.reserve(Kind::Events, 275).unwrap();
        assert!(b.reserve(Kind::Events, 1).is_none());
        assert_eq!((a.over(), b.over()), (0, 0));
        drop(own);
        let (forced, fits) = a.take(Kind::Events, 100);
        assert!(!fits && a.over() == 100 && b.over() == 0, "only who is beyond its part has to give");
        assert!(b.take(Kind::Events, 275).1, "what another has too much is not taken from it");
        drop(forced);
        assert_eq!((a.over(), a.used(), b.used()), (0, 825, 0));
    }

    #[test]
    fn what_lasts_leaves_room_for_what_comes_and_goes() {
        let memory = memory(1600, &[(A, None)]);
        let a = memory.app(A);
        let mut lasting = a.reserve_lasting(Kind::Entities, 800).unwrap();
        assert!(!lasting.resize_lasting(900) && lasting.bytes() == 800);
        assert!(!a.has_room(100) && a.reserve(Kind::Queues, 300).is_some());
        assert!(lasting.resize_lasting(10) && a.used() == 10);
    }

    #[test]
    fn a_part_that_changes_under_load_keeps_the_sums() {
        let memory = memory(1600, &[(A, Some(1000)), (B, None)]);
        let (a, b) = (memory.app(A), memory.app(B));
        let held = a.reserve(Kind::Events, 1000).unwrap();
        assert_eq!(memory.set(1600, &[(B, "b".into(), Some(100))]), 0);
        assert_eq!(a.over(), 0, "it is of the pool now");
        assert!(b.reserve(Kind::Events, 101).is_none() && b.reserve(Kind::Events, 100).is_some());
        drop(held);
        assert_eq!((a.used(), b.used(), memory.pool.used.load(Relaxed)), (0, 0, 0));
        assert_eq!(memory.set(1600, &[(B, "b".into(), Some(2000))]), 900, "more is kept back than there is");
    }

    #[test]
    fn an_allowance_asks_in_chunks_and_gives_all_of_it_back() {
        let memory = memory(16 << 20, &[(A, None)]);
        let a = memory.app(A);
        let mut allowance = Allowance::new(a.clone());
        allowance.add(Kind::Queues, 100);
        assert_eq!((a.used(), allowance.of(Kind::Queues)), (CHUNK, 100));
        for _ in 0..200 {
            allowance.add(Kind::Queues, CHUNK);
        }
        assert!(allowance.is_over() && allowance.tell() > 0);
        assert_eq!(memory.holdings()[0].kinds[Kind::Queues as usize], 100 + 200 * CHUNK);
        for _ in 0..200 {
            allowance.sub(Kind::Queues, CHUNK);
        }
        assert!(!allowance.is_over() && a.used() <= SPARE + 2 * CHUNK);
        drop(allowance);
        assert_eq!((a.used(), memory.holdings()[0].kinds[Kind::Queues as usize]), (0, 0));
    }

    #[test]
    fn what_several_hold_counts_once_until_the_last_lets_go() {
        let memory = memory(1600, &[(A, None)]);
        let a = memory.app(A);
        let (data, fits) = a.hold(Bytes::from_static(b"0123456789"), 5);
        let readers: Vec<Bytes> = (0..1_000).map(|at| data.slice(at % 10..)).collect();
        drop(data);
        assert!(fits && a.used() == 15 && &readers[7][..] == b"789");
        drop(readers);
        assert_eq!(a.used(), 0);
    }

    #[test]
    fn strangers_take_their_own_part_and_nothing_else() {
        let memory = memory(1600, &[(A, None)]);
        let all = memory.strangers.reserve(Kind::Http, 400).unwrap();
        assert!(memory.strangers.reserve(Kind::Http, 1).is_none());
        assert_eq!(memory.app(A).bound(), 1100);
        let bodies = memory.callers.reserve(Kind::Http, 650).unwrap();
        assert!(memory.callers.reserve(Kind::Http, 1).is_none() && memory.operators.reserve(Kind::Http, 100).is_some());
        drop((all, bodies));
        assert_eq!(memory.strangers.used(), 0);
    }
}
