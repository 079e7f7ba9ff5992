//! Deadlines with 100,000 polls live, moved in no order. The yardstick is the obvious code: a
//! tree of deadlines.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, measurement::WallTime};
use pushup::session::route::Door;
use pushup::session::subscriber::with_jitter;
use pushup::shard::connection::Connection;
use pushup::shard::timers::{Class, Timers};
use pushup::time::Tick;
use slab::Slab;

/// Deadlines that are always there.
const LIVE: u32 = 100_000;
/// Deadlines that come and go beside them, at most so many at once.
const GUESTS: u32 = 20_000;
/// So many are set in a millisecond.
const PER_MS: u64 = 64;
const POLL_TIMEOUT_S: u64 = 50;

/// What can be done with deadlines.
trait Deadlines {
    fn set(&mut self, index: u32, now: Tick);
    fn clear(&mut self, index: u32);
    fn next(&self) -> Option<(Tick, u32)>;
}

/// The server's: lists that run through the slots.
struct Lists {
    slots: Slab<Connection>,
    timers: Timers,
}

/// The obvious ones.
struct Tree {
    deadlines: Vec<Option<Tick>>,
    ordered: BTreeSet<(Tick, u32)>,
}

fn timeout_s(index: u32) -> u64 {
    with_jitter(POLL_TIMEOUT_S, index)
}

impl Default for Lists {
    fn default() -> Lists {
        let connections = (0..LIVE + GUESTS).map(|number| Connection::new(number, Door::Public));
        Lists { slots: connections.enumerate().collect(), timers: Timers::default() }
    }
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { deadlines: vec![None; (LIVE + GUESTS) as usize], ordered: BTreeSet::new() }
    }
}

impl Deadlines for Lists {
    fn set(&mut self, index: u32, now: Tick) {
        self.timers.set(&mut self.slots, index, Class::Poll(timeout_s(index) as u16), now);
    }

    fn clear(&mut self, index: u32) {
        self.timers.clear(&mut self.slots, index);
    }

    fn next(&self) -> Option<(Tick, u32)> {
        self.timers.next(&self.slots)
    }
}

impl Deadlines for Tree {
    fn set(&mut self, index: u32, now: Tick) {
        self.clear(index);
        let deadline = now.plus_ms(timeout_s(index) * 1000);
        self.deadlines[index as usize] = Some(deadline);
        self.ordered.insert((deadline, index));
    }

    fn clear(&mut self, index: u32) {
        if let Some(deadline) = self.deadlines[index as usize].take() {
            self.ordered.remove(&(deadline, index));
        }
    }

    fn next(&self) -> Option<(Tick, u32)> {
        self.ordered.first().copied()
    }
}

/// Deadlines, the time, and in which order they are gone through.
struct World<D> {
    deadlines: D,
    order: Vec<u32>,
    done: u64,
    /// Those that came to their end.
    expired: Vec<u32>,
}

impl<D: Deadlines + Default> World<D> {
    /// All that are always there are set, in order.
    fn new() -> World<D> {
        let mut world = World { deadlines: D::default(), order: shuffled(), done: 0, expired: Vec::new() };
        (0..LIVE).for_each(|index| world.set(index));
        world
    }

    /// Sets a deadline; time passes by it.
    fn set(&mut self, index: u32) {
        self.done += 1;
        self.deadlines.set(index, Tick(self.done / PER_MS));
    }

    /// Moves one that is there.
    fn move_one(&mut self) {
        let index = self.order[(self.done % u64::from(LIVE)) as usize];
        self.set(index);
    }

    /// The next deadline is over.
    fn expire(&mut self) {
        let (_, index) = self.deadlines.next().expect("some are live");
        self.deadlines.clear(index);
        self.expired.push(index);
    }

    fn set_expired(&mut self) {
        for index in std::mem::take(&mut self.expired) {
            self.set(index);
        }
    }

    /// How long `iters` of `step` take, each for another guest; what `undo` does to the guests
    /// does not count.
    fn for_guests(&mut self, iters: u64, step: fn(&mut Self, u32), undo: fn(&mut Self, u32)) -> Duration {
        let (mut left, mut spent) = (iters, Duration::ZERO);
        while left > 0 {
            let guests = LIVE..LIVE + left.min(u64::from(GUESTS)) as u32;
            left -= u64::from(guests.end - guests.start);
            let started = Instant::now();
            guests.clone().for_each(|guest| step(self, guest));
            spent += started.elapsed();
            guests.for_each(|guest| undo(self, guest));
        }
        spent
    }
}

/// All that are always there, in no order, but always in the same.
fn shuffled() -> Vec<u32> {
    let mut order: Vec<u32> = (0..LIVE).collect();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for at in (1..order.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        order.swap(at, (random >> 33) as usize % (at + 1));
    }
    order
}

/// Times this part.
pub fn measure(criterion: &mut Criterion) {
    check();
    let mut group = criterion.benchmark_group("timers");
    measure_one::<Lists>(&mut group, "pushup");
    measure_one::<Tree>(&mut group, "tree");
    group.finish();
}

fn measure_one<D: Deadlines + Default>(group: &mut BenchmarkGroup<WallTime>, name: &str) {
    let mut world = World::<D>::new();
    group.bench_function(BenchmarkId::new("re-arm", name), |bencher| bencher.iter(|| world.move_one()));
    group.bench_function(BenchmarkId::new("next", name), |bencher| bencher.iter(|| world.deadlines.next()));
    group.bench_function(BenchmarkId::new("arm", name), |bencher| {
        bencher.iter_custom(|iters| {
            world.for_guests(iters, World::set, |world, guest| world.deadlines.clear(guest))
        })
    });
    group.bench_function(BenchmarkId::new("expire", name), |bencher| {
        bencher.iter_custom(|iters| {
            let (mut left, mut spent) = (iters, Duration::ZERO);
            while left > 0 {
                let count = left.min(u64::from(GUESTS));
                left -= count;
                let started = Instant::now();
                (0..count).for_each(|_| world.expire());
                spent += started.elapsed();
                world.set_expired();
            }
            spent
        })
    });
    (LIVE..LIVE + GUESTS).for_each(|guest| world.set(guest));
    group.bench_function(BenchmarkId::new("cancel", name), |bencher| {
        bencher.iter_custom(|iters| {
            world.for_guests(iters, |world, guest| world.deadlines.clear(guest), World::set)
        })
    });
}

/// That both tell the same deadlines: while they move, come and go, and to the last.
fn check() {
    let (mut lists, mut tree) = (World::<Lists>::new(), World::<Tree>::new());
    for step in 0..LIVE / 2 {
        let guest = LIVE + step % GUESTS;
        lists.move_one();
        tree.move_one();
        if step % 3 > 0 {
            lists.set(guest);
            tree.set(guest);
        } else {
            lists.deadlines.clear(guest);
            tree.deadlines.clear(guest);
        }
        assert_eq!(lists.deadlines.next().map(|next| next.0), tree.deadlines.next().map(|next| next.0));
    }
    while let (Some(one), Some(other)) = (lists.deadlines.next(), tree.deadlines.next()) {
        assert_eq!(one.0, other.0);
        lists.expire();
        tree.expire();
    }
    assert_eq!((lists.deadlines.next(), tree.deadlines.next()), (None, None));
    lists.expired.sort_unstable();
    tree.expired.sort_unstable();
    assert_eq!(lists.expired, tree.expired);
}
