//! The seed's dice, and the trace that tells one run from another.

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Dice {
    state: u64,
    trace: u64,
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice { state: seed, trace: 0xcbf2_9ce4_8422_2325 }
    }

    /// 0 to `n - 1`.
    pub fn below(&mut self, n: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let rolled = ((z ^ (z >> 31)) % n.max(1) as u64) as usize;
        self.note(&rolled.to_le_bytes());
        rolled
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// FNV-1a over all that happened.
    pub fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    pub fn trace(&self) -> u64 {
        self.trace
    }
}
