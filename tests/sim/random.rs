//! Chance that a seed repeats.

use pushup::random;

/// A source of numbers.
#[derive(Clone, Debug)]
pub struct Random(random::Random);

impl Random {
    pub fn new(seed: u64) -> Random {
        let mut random = random::Random::new(seed ^ 0x5eed_5eed_5eed_5eed);
        random.next_u64();
        Random(random)
    }

    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `from` to `to`, both inclusive.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// The same, mostly small: the square of an even share.
    pub fn mostly_small(&mut self, from: u64, to: u64) -> u64 {
        let most = self.between(from, to);
        self.between(from, most)
    }

    /// Whether something happens that happens so many times in a hundred.
    pub fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// An index of something of that length, which is not zero.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// One of some.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.index(all.len())]
    }

    /// `count` different numbers below `end`, in any order.
    pub fn choose(&mut self, count: usize, end: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..end).collect();
        for at in 0..count.min(end) {
            let other = at + self.index(end - at);
            all.swap(at, other);
        }
        all.truncate(count);
        all
    }

    /// Another source, which takes nothing more from this one.
    pub fn fork(&mut self) -> Random {
        Random::new(self.next())
    }
}
