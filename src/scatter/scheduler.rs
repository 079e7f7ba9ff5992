//! Which back-end is given the next sub-task (Node Scala §III-B: the mapper between sub-tasks and back-ends).

use crate::random::Random;

/// How back-ends are chosen; the administrator's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// One after the other.
    RoundRobin,
    /// The one that has least to do.
    LeastLoaded,
    /// Of two at random the one that has less to do (the power of two choices).
    #[default]
    P2c,
}

impl Policy {
    /// All, with their names.
    pub const ALL: [(&'static str, Policy); 3] =
        [("round_robin", Policy::RoundRobin), ("least_loaded", Policy::LeastLoaded), ("p2c", Policy::P2c)];

    /// The policy of a name.
    pub fn parse(name: &str) -> Option<Policy> {
        Policy::ALL.iter().find(|(other, _)| *other == name).map(|(_, policy)| *policy)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Policy::ALL.iter().find(|(_, policy)| *policy == self).map_or("", |(name, _)| name)
    }
}

/// A back-end that could take the sub-task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub backend: u32,
    /// What it is doing, as a share of what it can do, in thousandths; its own word and ours.
    pub load: u32,
    /// Sub-tasks of the same request that it has.
    pub of_this: u32,
}

/// What a scheduler remembers.
#[derive(Debug)]
pub struct Scheduler {
    /// How it chooses.
    pub policy: Policy,
    random: Random,
    last: u32,
}

impl Scheduler {
    /// One that chooses so.
    pub fn new(policy: Policy, seed: u64) -> Scheduler {
        Scheduler { policy, random: Random::new(seed), last: u32::MAX }
    }

    /// One of the candidates, which are in the order of their numbers; `None` if there are none. With `evenly` none
    /// gets a second one of the same request before all have one.
    pub fn choose(&mut self, candidates: &[Candidate], evenly: bool) -> Option<u32> {
        let least = candidates.iter().map(|one| one.of_this).min()?;
        let fair = |one: &&Candidate| !evenly || one.of_this == least;
        let count = candidates.iter().filter(fair).count();
        let nth = |at: usize| candidates.iter().filter(fair).nth(at);
        let chosen = match self.policy {
            Policy::RoundRobin => candidates
                .iter()
                .filter(fair)
                .find(|one| one.backend > self.last || self.last == u32::MAX)
                .or(nth(0)),
            Policy::LeastLoaded => candidates.iter().filter(fair).min_by_key(|one| one.load),
            Policy::P2c => {
                let first = (self.random.next_u64() % count as u64) as usize;
                let other = (self.random.next_u64() % (count as u64 - 1).max(1)) as usize;
                let second = if count > 1 && other >= first { other + 1 } else { other };
                [nth(first), nth(second)].into_iter().flatten().min_by_key(|one| one.load)
            }
        }?;
        self.last = chosen.backend;
        Some(chosen.backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(loads: &[u32]) -> Vec<Candidate> {
        let candidate = |(at, load): (usize, &u32)| Candidate { backend: at as u32, load: *load, of_this: 0 };
        loads.iter().enumerate().map(candidate).collect()
    }

    fn choices(policy: Policy, loads: &[u32], count: usize) -> Vec<u32> {
        let mut scheduler = Scheduler::new(policy, 7);
        (0..count).map(|_| scheduler.choose(&candidates(loads), false).unwrap()).collect()
    }

    #[test]
    fn round_robin_takes_one_after_the_other() {
        assert_eq!(choices(Policy::RoundRobin, &[9, 0, 5], 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn round_robin_goes_on_where_one_is_missing() {
        let mut scheduler = Scheduler::new(Policy::RoundRobin, 7);
        let all = candidates(&[0, 0, 0]);
        assert_eq!(scheduler.choose(&all, false), Some(0));
        assert_eq!(scheduler.choose(&[all[0], all[2]], false), Some(2));
        assert_eq!(scheduler.choose(&all, false), Some(0));
    }

    #[test]
    fn the_least_loaded_is_taken() {
        assert_eq!(choices(Policy::LeastLoaded, &[9, 2, 5], 3), [1, 1, 1]);
    }

    #[test]
    fn of_two_the_one_that_has_less_to_do() {
        let taken = choices(Policy::P2c, &[9, 0, 5], 300);
        assert!(!taken.contains(&0), "it is never the less loaded one");
        let of_five = taken.iter().filter(|one| **one == 2).count();
        assert!((60..140).contains(&of_five), "a third of the pairs are the other two: {of_five}");
    }

    #[test]
    fn ten_on_five_are_two_each() {
        for (_, policy) in Policy::ALL {
            let mut scheduler = Scheduler::new(policy, 7);
            let mut all = candidates(&[0; 5]);
            for _ in 0..10 {
                let chosen = scheduler.choose(&all, true).unwrap();
                all[chosen as usize].of_this += 1;
            }
            assert!(all.iter().all(|one| one.of_this == 2), "{policy:?}: {all:?}");
        }
    }

    #[test]
    fn every_policy_can_be_configured() {
        assert!(Policy::ALL.iter().all(|(name, _)| crate::config::SCHEDULERS.contains(name)));
        assert_eq!(Policy::ALL.len(), crate::config::SCHEDULERS.len());
    }

    #[test]
    fn without_candidates_there_is_no_choice() {
        for (name, policy) in Policy::ALL {
            assert_eq!(Scheduler::new(policy, 7).choose(&[], true), None);
            assert_eq!((Policy::parse(name), policy.name()), (Some(policy), name));
        }
        assert_eq!(Policy::parse("nonsense"), None);
    }
}
