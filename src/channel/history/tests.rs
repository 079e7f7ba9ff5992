//! Beside the fast reading, the obvious one: gather all, sort, cut. Channels are filled and
//! emptied at random; what they should hold is kept beside them in plain lists.

mod oracle;

use proptest::prelude::*;

use self::oracle::Room;
use super::*;

const ORIGINS: u64 = 3;
const ROOMS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    /// The next entry of an origin's log: to some channels, if any, so long after the one
    /// before, with this time to live and this many bytes.
    Append {
        origin: u64,
        channels: u8,
        after_ms: u64,
        ttl_ms: u64,
        len: usize,
    },
    /// Time passes, and one channel drops what has expired.
    Expire {
        channel: usize,
        ms: u64,
    },
    Trim {
        channel: usize,
        count_max: usize,
        bytes_max: usize,
    },
    DropOldest(usize),
    DropFront {
        channel: usize,
        origin: u64,
    },
}

/// Channels beside what they should hold, the clocks, and the nodes' logs.
struct World {
    rooms: Vec<Room>,
    now: Tick,
    head: VersionVector,
    times: [u64; ORIGINS as usize],
}

impl World {
    fn play(ops: Vec<Op>) -> World {
        // The nodes' clocks differ.
        let times = [1_000, 1_005, 900];
        let rooms = (0..ROOMS).map(|_| Room::default()).collect();
        let mut world = World { rooms, now: Tick(0), head: VersionVector::default(), times };
        for op in ops {
            world.step(op);
            world.rooms.iter().for_each(Room::check);
        }
        world
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Append { origin, channels, after_ms, ttl_ms, len } => {
                self.append(origin, channels, after_ms, ttl_ms, len);
            }
            Op::Expire { channel, ms } => {
                self.now = self.now.plus_ms(ms);
                self.rooms[channel].expire(self.now);
            }
            Op::Trim { channel, count_max, bytes_max } => self.rooms[channel].trim(count_max, bytes_max),
            Op::DropOldest(channel) => self.rooms[channel].drop_oldest(),
            Op::DropFront { channel, origin } => self.rooms[channel].drop_front(Origin(origin)),
        }
    }

    fn append(&mut self, origin: u64, channels: u8, after_ms: u64, ttl_ms: u64, len: usize) {
        self.now = self.now.plus_ms(after_ms);
        self.times.iter_mut().for_each(|time| *time += after_ms);
        let id = MessageId { origin: Origin(origin), seq: self.head.seq(Origin(origin)) + 1 };
        self.head.set(id.origin, id.seq);
        let message = oracle::message(id, self.times[origin as usize], self.now.plus_ms(ttl_ms), len);
        for (at, room) in self.rooms.iter_mut().enumerate() {
            if channels >> at & 1 == 1 {
                room.append(message.clone());
            }
        }
    }

    fn read(&self, places: &[Option<usize>], wanted: &Wanted) -> Reading {
        let histories: Vec<_> = places.iter().map(|place| place.map(|at| &self.rooms[at].history)).collect();
        read(&histories, wanted, &self.head, self.now)
    }

    fn rooms(&self, places: &[Option<usize>]) -> Vec<Option<&Room>> {
        places.iter().map(|place| place.map(|at| &self.rooms[at])).collect()
    }
}

fn op() -> impl Strategy<Value = Op> {
    let append = (0..ORIGINS, 0_u8..1 << ROOMS, 0..4_u64, prop_oneof![1..30_u64, Just(1_000)], 0..50_usize);
    let channel = 0..ROOMS;
    prop_oneof![
        12 => append.prop_map(|(origin, channels, after_ms, ttl_ms, len)| {
            Op::Append { origin, channels, after_ms, ttl_ms, len }
        }),
        2 => (channel.clone(), 0..20_u64).prop_map(|(channel, ms)| Op::Expire { channel, ms }),
        1 => (channel.clone(), 0..8_usize, 0..4_000_usize)
            .prop_map(|(channel, count_max, bytes_max)| Op::Trim { channel, count_max, bytes_max }),
        1 => channel.clone().prop_map(Op::DropOldest),
        1 => (channel, 0..ORIGINS).prop_map(|(channel, origin)| Op::DropFront { channel, origin }),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(op(), 0..60)
}

/// What a reader may have examined: anything, also more than this node has.
fn after() -> impl Strategy<Value = Option<VersionVector>> {
    let entries = proptest::collection::vec((0..=ORIGINS, 0..40_u64), 0..4);
    proptest::option::of(entries.prop_map(|entries| {
        let mut after = VersionVector::default();
        entries.into_iter().for_each(|(origin, seq)| after.raise(Origin(origin), seq));
        after
    }))
}

/// Some channels in some order, among them one that does not exist.
fn places() -> impl Strategy<Value = Vec<Option<usize>>> {
    let all = vec![None, Some(0), Some(1), Some(2)];
    proptest::sample::subsequence(all, 1..=4).prop_shuffle()
}

fn bounds() -> impl Strategy<Value = (u64, u64, usize, usize)> {
    let since = prop_oneof![Just(0), 890..1_100_u64];
    let until = prop_oneof![Just(u64::MAX), 890..1_100_u64];
    let messages = prop_oneof![Just(usize::MAX), 1..6_usize];
    (since, until, messages, prop_oneof![Just(usize::MAX), 0..200_usize])
}

fn everything(after: Option<&VersionVector>) -> Wanted<'_> {
    Wanted {
        after,
        since: Timestamp(0),
        until: Timestamp::MAX,
        messages_max: usize::MAX,
        bytes_max: usize::MAX,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn reading_agrees_with_gathering_sorting_and_cutting(
        ops in ops(), after in after(), places in places(), (since, until, messages_max, bytes_max) in bounds(),
    ) {
        let world = World::play(ops);
        let wanted = Wanted {
            after: after.as_ref(), since: Timestamp(since), until: Timestamp(until), messages_max, bytes_max,
        };
        let reading = world.read(&places, &wanted);
        let expected = oracle::read(&world.rooms(&places), &wanted, &world.head, world.now);
        let got: Vec<_> = reading.messages.iter().map(|carried| (carried.message.id, carried.carriers)).collect();
        prop_assert_eq!(got, expected.messages);
        prop_assert_eq!(&reading.examined, &expected.examined);
        let (must, may) = oracle::gap(&world.rooms(&places), &wanted, &reading.examined, world.now);
        prop_assert!(!must || reading.gap, "a loss is not told");
        prop_assert!(!reading.gap || may, "a loss is told that is none");
        for (origin, seq) in after.iter().flat_map(VersionVector::iter) {
            prop_assert!(reading.examined.seq(origin) >= seq, "it goes back");
        }
    }

    #[test]
    fn page_by_page_every_held_message_comes_once_and_in_order(
        ops in ops(), after in after(), places in places(), limits in proptest::collection::vec(1..5_usize, 1..4),
    ) {
        let world = World::play(ops);
        let whole = world.read(&places, &everything(after.as_ref()));
        let ids = |reading: &Reading| reading.messages.iter().map(|one| one.message.id).collect::<Vec<_>>();
        let (mut got, mut after) = (Vec::new(), after);
        for turn in 0.. {
            prop_assert!(turn <= whole.messages.len() + 1, "it does not come to an end");
            let wanted = Wanted { messages_max: limits[turn % limits.len()], ..everything(after.as_ref()) };
            let page = world.read(&places, &wanted);
            if page.messages.is_empty() {
                prop_assert_eq!(&page.examined, &whole.examined);
                break;
            }
            got.extend(ids(&page));
            after = Some(page.examined);
        }
        prop_assert_eq!(&got, &ids(&whole));
        for origin in (0..ORIGINS).map(Origin) {
            prop_assert!(got.iter().filter(|id| id.origin == origin).is_sorted());
        }
    }

    #[test]
    fn a_reader_that_keeps_up_loses_nothing_unless_told(
        ops in ops(), places in places(), every in 1..6_usize,
    ) {
        let mut world = World::play(Vec::new());
        let mut after = VersionVector::default();
        let mut told = false;
        let mut got = Vec::new();
        for (turn, op) in ops.into_iter().enumerate() {
            world.step(op);
            if turn % every == 0 {
                let reading = world.read(&places, &everything(Some(&after)));
                got.extend(reading.messages.iter().map(|one| one.message.id));
                told |= reading.gap;
                after = reading.examined;
            }
        }
        let reading = world.read(&places, &everything(Some(&after)));
        got.extend(reading.messages.iter().map(|one| one.message.id));
        told |= reading.gap;
        let mut unique = got.clone();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), got.len(), "a message came twice");
        let rooms = world.rooms(&places);
        let all: std::collections::BTreeSet<_> = rooms.iter().flatten().flat_map(|room| room.ever()).collect();
        prop_assert!(told || all.len() == got.len(), "lost: {:?} of {:?}", got, all);
    }
}

// -- Small cases -----------------------------------------------------------------------

#[test]
fn a_channel_without_history_reads_as_empty() {
    let mut head = VersionVector::default();
    head.set(Origin(1), 7);
    let history = History::default();
    for histories in [&[None][..], &[Some(&history)], &[None, Some(&history)]] {
        let reading = read(histories, &everything(None), &head, Tick(0));
        assert_eq!((reading.messages.len(), reading.gap, &reading.examined), (0, false, &head));
    }
    assert_eq!((history.count(), history.bytes(), history.next_expiry()), (0, 0, None));
}

#[test]
#[should_panic(expected = "entries come in order")]
fn an_entry_out_of_order_is_our_own_fault() {
    let mut history = History::default();
    for seq in [2, 1] {
        history.append(oracle::message(MessageId { origin: Origin(1), seq }, 1, Tick(9), 0));
    }
}

#[test]
fn the_newest_message_survives_any_trim() {
    let mut history = History::default();
    for seq in 1..=3 {
        history.append(oracle::message(MessageId { origin: Origin(1), seq }, seq, Tick(9), 1_000));
    }
    let mut dropped = Vec::new();
    history.trim(0, 0, |message| dropped.push(message.id.seq));
    assert_eq!((dropped, history.count()), (vec![1, 2], 1));
}

#[test]
fn what_expired_behind_a_longer_life_is_dropped_and_not_held() {
    let mut history = History::default();
    let id = |seq| MessageId { origin: Origin(1), seq };
    for (seq, expires) in [(1, 1_000), (2, 10), (3, 500)] {
        history.append(oracle::message(id(seq), seq, Tick(expires), 0));
    }
    assert_eq!(history.next_expiry(), Some(Tick(10)));
    history.expire(Tick(9), |_| panic!("too early"));
    history.expire(Tick(10), drop);
    assert_eq!((history.count(), history.next_expiry()), (2, Some(Tick(500))));
    assert_eq!([1, 2, 3].map(|seq| history.holds(id(seq))), [true, false, true]);
    assert_eq!(history.evicted(false).collect::<Vec<_>>(), [(Origin(1), 2)]);
    assert_eq!(history.evicted(true).collect::<Vec<_>>(), [(Origin(1), 3)]);
}
