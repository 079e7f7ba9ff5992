//! Numbers that look random and that a seed repeats: SplitMix64 (Steele, Lea, Flood 2014).
//!
//! Where the seed comes from is the caller's business. Not for secrets: one number betrays all that follow.

/// A sequence of well-mixed numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of that seed.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Its next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number that is the same until the next one is asked for: sets this sequence's owner apart from others.
    pub const fn salt(&self) -> u64 {
        self.0
    }
}

/// The finaliser by itself: every bit of the number counts for every bit of the result, and no two numbers
/// have the same one.
pub const fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the published implementation gives (splitmix64.c, Vigna 2015).
    #[test]
    fn the_sequence_is_the_published_one() {
        for (seed, expected) in [
            (0, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]),
            (1_234_567, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]),
        ] {
            let mut random = Random::new(seed);
            assert_eq!([(); 3].map(|()| random.next_u64()), expected, "seed {seed}");
        }
    }
}
