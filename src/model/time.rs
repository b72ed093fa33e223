//! The two times. They are read together at one place (`observe::clock`), once a turn of a thread, and handed down.
//!
//! The wall clock steps: an administrator sets it, NTP corrects it, a virtual machine moves. Whoever measures a duration
//! with it waits for an hour when it goes back by an hour, and ends all waits at once when it goes ahead. So a duration,
//! an age or a deadline is a `Mono`; a `Millis` is for what people, tokens and files read. The types differ so that
//! neither can be taken for the other.

/// The wall clock: milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = u64;

/// The monotonic clock, in milliseconds from a point of this process: never goes back, does not count a machine's sleep.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(u64);

/// Both times at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    pub mono: Mono,
    pub wall: Millis,
}

impl Mono {
    pub const MAX: Mono = Mono(u64::MAX);

    pub const fn from_ms(ms: u64) -> Mono {
        Mono(ms)
    }

    pub const fn ms(self) -> u64 {
        self.0
    }

    /// Milliseconds from `earlier` until now; 0 if that is yet to come.
    pub const fn since(self, earlier: Mono) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So many milliseconds before.
    pub const fn before(self, ms: u64) -> Mono {
        Mono(self.0.saturating_sub(ms))
    }
}

impl std::ops::Add<u64> for Mono {
    type Output = Mono;
    fn add(self, ms: u64) -> Mono {
        Mono(self.0.saturating_add(ms))
    }
}

impl Now {
    /// Both clocks at this number: for simulated time, where neither steps.
    pub const fn at(ms: u64) -> Now {
        Now { mono: Mono(ms), wall: ms }
    }

    /// When a moment of the monotonic clock is or was by the wall clock, as that stands now: to show and to store it.
    pub fn wall_of(self, at: Mono) -> Millis {
        self.wall.saturating_add(at.since(self.mono)).saturating_sub(self.mono.since(at))
    }

    /// The other way: for what was stored by an earlier process.
    pub fn mono_of(self, at: Millis) -> Mono {
        (self.mono + at.saturating_sub(self.wall)).before(self.wall.saturating_sub(at))
    }
}

impl std::ops::Add<u64> for Now {
    type Output = Now;
    fn add(self, ms: u64) -> Now {
        Now { mono: self.mono + ms, wall: self.wall.saturating_add(ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_one_clock_is_found_on_the_other() {
        let now = Now { mono: Mono(1_000_000), wall: 1_700_000_000_000 };
        for (mono, wall) in
            [(1_000_000, 1_700_000_000_000), (1_002_500, 1_700_000_002_500), (999_000, 1_699_999_999_000)]
        {
            assert_eq!(now.wall_of(Mono(mono)), wall);
            assert_eq!(now.mono_of(wall), Mono(mono));
        }
        assert_eq!(now.mono_of(0), Mono(0), "long ago is in the past");
        assert_eq!(now.mono_of(u64::MAX).since(now.mono), u64::MAX - now.wall, "and never is never");
    }
}
