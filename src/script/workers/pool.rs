//! What is ready to be worked on, and the threads that sleep until there is something.
//!
//! At most one thread is on its way at a time; when it takes something and leaves something behind, it calls the next.
//! So a busy process wakes nobody, and a burst wakes as many as it needs. A thread is called by name: no call is lost
//! on somebody who was awake already. Each app has a lane, and lanes take turns: however much one asks for, another's
//! next call does not wait for all that came before it. Nor does it wait for what runs: one lane never has all threads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

pub(super) struct Pool<T> {
    state: Mutex<Ready<T>>,
    /// As long as `state.first` and `state.rest` together; a hint without the lock.
    waiting: AtomicUsize,
    sleepers: Box<[Sleeper]>,
}

struct Ready<T> {
    /// What began already and needs only to be ended.
    first: VecDeque<T>,
    /// By lane.
    rest: Vec<VecDeque<T>>,
    /// Lanes that are not empty; the next to be served is in front.
    turns: VecDeque<u16>,
    rest_len: usize,
    /// By lane: threads that work for it, and how many may at most.
    working: Vec<usize>,
    working_max: usize,
    /// By thread: the lane that it works for.
    works_for: Box<[Option<u16>]>,
    /// Threads that sleep; the last to lie down is called first: its memory is still warm.
    asleep: Vec<usize>,
    /// Threads that were called and have not looked yet.
    coming: usize,
    closed: bool,
}

#[derive(Default)]
struct Sleeper {
    thread: OnceLock<Thread>,
    called: AtomicBool,
}

impl<T> Pool<T> {
    pub fn new(threads: usize) -> Pool<T> {
        let ready = Ready {
            first: VecDeque::new(),
            rest: Vec::new(),
            turns: VecDeque::new(),
            rest_len: 0,
            working: Vec::new(),
            // Of two threads, half would be kept back.
            working_max: if threads > 2 { threads - 1 } else { usize::MAX },
            works_for: (0..threads).map(|_| None).collect(),
            asleep: Vec::with_capacity(threads),
            coming: 0,
            closed: false,
        };
        Pool {
            state: Mutex::new(ready),
            waiting: AtomicUsize::new(0),
            sleepers: (0..threads).map(|_| Sleeper::default()).collect(),
        }
    }

    pub fn threads(&self) -> usize {
        self.sleepers.len()
    }

    /// Something to begin, behind what is in the lane. Err, given back: closed.
    pub fn push(&self, lane: u16, item: T) -> Result<(), T> {
        self.put(item, |ready, item| ready.put(lane, item))
    }

    /// Something to end: goes before all that has not begun.
    pub fn push_first(&self, item: T) -> Result<(), T> {
        self.put(item, |ready, item| ready.first.push_back(item))
    }

    /// Whether somebody else waits for a thread; may be a moment old.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// The calling thread is worker number `me`: once, before its first `next`.
    pub fn enter(&self, me: usize) {
        let _ = self.sleepers[me].thread.set(std::thread::current());
    }

    /// What is to be done next; sleeps until there is something. `None`: closed, and nothing is left.
    pub fn next(&self, me: usize) -> Option<T> {
        let mut ready = self.lock();
        if let Some(lane) = ready.works_for[me].take() {
            ready.working[usize::from(lane)] -= 1;
        }
        loop {
            let item = ready.first.pop_front().or_else(|| {
                let (lane, item) = ready.take()?;
                ready.working[usize::from(lane)] += 1;
                ready.works_for[me] = Some(lane);
                Some(item)
            });
            if let Some(item) = item {
                self.count(&ready);
                let next = ready.call();
                drop(ready);
                self.wake(next);
                return Some(item);
            }
            if ready.closed {
                return None;
            }
            ready.asleep.push(me);
            drop(ready);
            let sleeper = &self.sleepers[me];
            // `park` may return for no reason; the flag is the word.
            while !sleeper.called.swap(false, Ordering::Acquire) {
                std::thread::park();
            }
            ready = self.lock();
            ready.coming -= 1;
        }
    }

    /// The same without waiting, for whoever drives workers step by step.
    pub fn try_next(&self) -> Option<T> {
        let mut ready = self.lock();
        let item = ready.first.pop_front().or_else(|| ready.take().map(|(_, item)| item));
        self.count(&ready);
        item
    }

    /// Nothing more is taken; threads end when nothing is left.
    pub fn close(&self) {
        let mut ready = self.lock();
        ready.closed = true;
        let asleep = std::mem::take(&mut ready.asleep);
        ready.coming += asleep.len();
        drop(ready);
        asleep.into_iter().for_each(|sleeper| self.wake(Some(sleeper)));
    }

    fn put(&self, item: T, queue: impl FnOnce(&mut Ready<T>, T)) -> Result<(), T> {
        let mut ready = self.lock();
        if ready.closed {
            return Err(item);
        }
        queue(&mut ready, item);
        self.count(&ready);
        let next = ready.call();
        drop(ready);
        self.wake(next);
        Ok(())
    }

    fn count(&self, ready: &Ready<T>) {
        self.waiting.store(ready.first.len() + ready.rest_len, Ordering::Relaxed);
    }

    /// After the lock is let go: else the thread wakes only to wait for it.
    fn wake(&self, sleeper: Option<usize>) {
        let Some(sleeper) = sleeper.map(|i| &self.sleepers[i]) else { return };
        sleeper.called.store(true, Ordering::Release);
        if let Some(thread) = sleeper.thread.get() {
            thread.unpark();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ready<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Ready<T> {
    fn put(&mut self, lane: u16, item: T) {
        let at = lane as usize;
        if self.rest.len() <= at {
            self.rest.resize_with(at + 1, VecDeque::new);
            self.working.resize(at + 1, 0);
        }
        if self.rest[at].is_empty() {
            self.turns.push_back(lane);
        }
        self.rest[at].push_back(item);
        self.rest_len += 1;
    }

    /// The place in `turns` of the lane whose turn it is, passing over those that have all the threads that they may.
    fn turn(&self) -> Option<usize> {
        self.turns.iter().position(|lane| self.working[usize::from(*lane)] < self.working_max)
    }

    /// The next of that lane.
    fn take(&mut self) -> Option<(u16, T)> {
        let lane = self.turn().and_then(|at| self.turns.remove(at))?;
        let queue = &mut self.rest[lane as usize];
        let item = queue.pop_front()?;
        self.rest_len -= 1;
        match queue.is_empty() {
            // Its room was a burst's.
            true if queue.capacity() > 1_024 => *queue = VecDeque::new(),
            true => {}
            false => self.turns.push_back(lane),
        }
        Some((lane, item))
    }

    /// Whom to wake: nobody while nothing may be taken, nor while somebody is on the way, who will look under the lock and
    /// call the next.
    fn call(&mut self) -> Option<usize> {
        if self.coming > 0 || self.first.is_empty() && self.turn().is_none() {
            return None;
        }
        let sleeper = self.asleep.pop()?;
        self.coming += 1;
        Some(sleeper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    #[test]
    fn nothing_is_lost_between_sleep_and_wake() {
        const THREADS: usize = 4;
        const ITEMS: usize = 20_000;
        let pool = Arc::new(Pool::new(THREADS));
        let (taken, heard) = channel();
        let threads: Vec<_> = (0..THREADS)
            .map(|me| {
                let (pool, taken) = (pool.clone(), taken.clone());
                std::thread::spawn(move || {
                    pool.enter(me);
                    while let Some(item) = pool.next(me) {
                        taken.send(item).unwrap();
                    }
                })
            })
            .collect();
        // One after another: each finds the threads asleep, or about to be.
        for item in 0..ITEMS {
            pool.push(item as u16 % 3, item).unwrap();
            assert_eq!(heard.recv().unwrap(), item);
        }
        // And from several sides at once.
        let pushers: Vec<_> = (0..3)
            .map(|at| {
                let pool = pool.clone();
                std::thread::spawn(move || (0..ITEMS).for_each(|i| pool.push(at as u16, at * ITEMS + i).unwrap()))
            })
            .collect();
        let mut all: Vec<usize> = (0..3 * ITEMS).map(|_| heard.recv().unwrap()).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..3 * ITEMS));
        pushers.into_iter().for_each(|p| p.join().unwrap());
        pool.close();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(pool.push(0, 1), Err(1));
    }

    #[test]
    fn one_app_s_crowd_does_not_stand_before_another_s_call() {
        let pool = Pool::new(1);
        (0..1_000).for_each(|n| pool.push(0, ("crowd", n)).unwrap());
        pool.push(7, ("other", 0)).unwrap();
        pool.push(7, ("other", 1)).unwrap();
        let first: Vec<_> = (0..4).filter_map(|_| pool.next(0)).collect();
        assert_eq!(first, [("crowd", 0), ("other", 0), ("crowd", 1), ("other", 1)]);
        assert_eq!(pool.next(0), Some(("crowd", 2)));
    }

    #[test]
    fn one_app_s_calls_never_have_all_threads() {
        let pool = Pool::new(3);
        (0..9).for_each(|n| pool.push(0, ("crowd", n)).unwrap());
        assert_eq!((pool.next(0), pool.next(1)), (Some(("crowd", 0)), Some(("crowd", 1))));
        // Both are at work: the third thread is for others, and sleeps until there are some.
        std::thread::scope(|scope| {
            let third = scope.spawn(|| {
                pool.enter(2);
                (pool.next(2), pool.next(2))
            });
            pool.push(7, ("other", 0)).unwrap();
            pool.push_first(("begun", 0)).unwrap();
            let (one, other) = third.join().unwrap();
            let both = [one, other].map(|item| item.unwrap().0);
            assert!(both.contains(&"other") && both.contains(&"begun"), "{both:?}");
        });
        assert_eq!((pool.next(0), pool.next(1)), (Some(("crowd", 2)), Some(("crowd", 3))));
        pool.close();
        // Until one of the two is done, nothing may be taken; what is left is theirs to take.
        assert_eq!(pool.next(2), None);
        assert_eq!((4..9).map(|_| pool.next(0).unwrap().1).collect::<Vec<_>>(), (4..9).collect::<Vec<_>>());
        assert_eq!((pool.next(0), pool.next(1)), (None, None));
    }

    #[test]
    fn what_began_goes_before_what_has_not() {
        let pool = Pool::new(1);
        pool.push(0, "second").unwrap();
        pool.push_first("first").unwrap();
        pool.close();
        assert_eq!((pool.next(0), pool.next(0), pool.next(0)), (Some("first"), Some("second"), None));
    }
}
