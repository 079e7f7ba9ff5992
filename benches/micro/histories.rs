//! What a channel holds: adding to it when it is full, reading after a cursor, reading several
//! as one; and a publication from its name to its history. The yardstick is the paper's
//! B-tree (§3.2), by sequence; of several channels, all gathered and sorted.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, measurement::WallTime};
use pushup::channel::history::{History, Reading, Wanted, read};
use pushup::channel::message::{Message, Publication};
use pushup::channel::queue::{Bounds, MessageQueue};
use pushup::cursor::VersionVector;
use pushup::ids::{ChannelName, MessageId};
use pushup::time::{Now, Tick, Timestamp};

use crate::samples::{ORIGIN, Sample, message, publication, published};

/// The obvious history.
type Tree = BTreeMap<u64, Arc<Message>>;

/// Messages held: few, as many as an answer usually has, as many as a channel may.
const SIZES: [usize; 3] = [1, 10, 1_000];
const NOW: Tick = Tick(1);
/// Channels that are read as one.
const CHANNELS: usize = 8;

/// Times this part.
pub fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("histories");
    SIZES.iter().for_each(|size| measure_adding(&mut group, *size));
    for size in SIZES {
        let behind = [0, 1, 10, 1_000].into_iter().filter(|behind| *behind <= size);
        behind.for_each(|behind| measure_reading(&mut group, size, behind));
    }
    measure_merging(&mut group);
    measure_publishing(&mut group);
    group.finish();
}

/// Both histories with messages 1 to `size`.
fn filled(size: usize) -> (History, Tree) {
    let (mut history, mut tree) = (History::default(), Tree::new());
    for seq in 1..=size as u64 {
        let message = message(seq, Sample::Chat);
        history.append(message.clone());
        tree.insert(seq, message);
    }
    (history, tree)
}

fn add(history: &mut History, message: Arc<Message>, size: usize) {
    history.append(message);
    history.expire(NOW, drop);
    history.trim(size, usize::MAX, drop);
}

fn add_to_tree(tree: &mut Tree, message: Arc<Message>, size: usize) {
    tree.insert(message.id.seq, message);
    while tree.len() > size {
        tree.pop_first();
    }
}

/// A message in, the oldest out; the message is made beforehand, its end counts.
fn measure_adding(group: &mut BenchmarkGroup<WallTime>, size: usize) {
    let (mut history, mut tree) = filled(size);
    for seq in size as u64 + 1..=3 * size as u64 {
        let message = message(seq, Sample::Chat);
        add(&mut history, message.clone(), size);
        add_to_tree(&mut tree, message, size);
        assert!(history.iter().eq(tree.values()), "both hold the same");
    }
    let first = 3 * size as u64;
    let mut seq = first;
    group.bench_function(BenchmarkId::new("add and drop/pushup", size), |bencher| {
        bencher.iter_batched(
            || next(&mut seq),
            |message| add(&mut history, message, size),
            BatchSize::SmallInput,
        )
    });
    let mut seq = first;
    group.bench_function(BenchmarkId::new("add and drop/tree", size), |bencher| {
        bencher.iter_batched(
            || next(&mut seq),
            |message| add_to_tree(&mut tree, message, size),
            BatchSize::SmallInput,
        )
    });
}

fn next(seq: &mut u64) -> Arc<Message> {
    *seq += 1;
    message(*seq, Sample::Chat)
}

fn vector(seq: u64) -> VersionVector {
    let mut vector = VersionVector::default();
    vector.set(ORIGIN, seq);
    vector
}

fn wanted(after: &VersionVector) -> Wanted<'_> {
    Wanted {
        after: Some(after),
        since: Timestamp(0),
        until: Timestamp::MAX,
        messages_max: 1_000,
        bytes_max: 1024 * 1024,
    }
}

fn ids(reading: &Reading) -> Vec<MessageId> {
    reading.messages.iter().map(|carried| carried.message.id).collect()
}

/// A reader that has not examined the last `behind` of `size`.
fn measure_reading(group: &mut BenchmarkGroup<WallTime>, size: usize, behind: usize) {
    let (history, tree) = filled(size);
    let (head, after) = (vector(size as u64), vector((size - behind) as u64));
    let from_tree = |after: &VersionVector| -> Vec<Arc<Message>> {
        tree.range(after.seq(ORIGIN) + 1..).map(|(_, message)| message.clone()).collect()
    };
    let reading = read(&[Some(&history)], &wanted(&after), &head, NOW);
    assert_eq!(reading.messages.len(), behind);
    assert_eq!(ids(&reading), from_tree(&after).iter().map(|message| message.id).collect::<Vec<_>>());
    assert_eq!((&reading.examined, reading.gap), (&head, false));
    let name = format!("the last {behind} of {size}");
    group.bench_function(BenchmarkId::new("read/pushup", &name), |bencher| {
        bencher.iter(|| read(&[Some(&history)], &wanted(black_box(&after)), &head, NOW))
    });
    group.bench_function(BenchmarkId::new("read/tree", &name), |bencher| {
        bencher.iter(|| from_tree(black_box(&after)))
    });
}

/// Ten messages, each in two of eight channels that are read as one.
fn measure_merging(group: &mut BenchmarkGroup<WallTime>) {
    let mut histories: Vec<History> = (0..CHANNELS).map(|_| History::default()).collect();
    for seq in 1..=10 {
        let message = message(seq, Sample::Chat);
        histories[seq as usize % CHANNELS].append(message.clone());
        histories[(seq as usize + 3) % CHANNELS].append(message);
    }
    let (head, after) = (vector(10), VersionVector::default());
    let rooms: Vec<Option<&History>> = histories.iter().map(Some).collect();
    let gather = |after: &VersionVector| {
        let all = histories.iter().flat_map(History::iter);
        let mut all: Vec<&Arc<Message>> = all.filter(|message| !after.covers(message.id)).collect();
        all.sort_by_key(|message| (message.time, message.id));
        all.dedup_by_key(|message| message.id);
        all.into_iter().cloned().collect::<Vec<_>>()
    };
    let reading = read(&rooms, &wanted(&after), &head, NOW);
    assert_eq!(ids(&reading), gather(&after).iter().map(|message| message.id).collect::<Vec<_>>());
    assert!(reading.messages.iter().all(|carried| carried.carriers.count_ones() == 2));
    let name = "10 messages of 8 channels";
    group.bench_function(BenchmarkId::new("read/pushup", name), |bencher| {
        bencher.iter(|| read(&rooms, &wanted(black_box(&after)), &head, NOW))
    });
    group.bench_function(BenchmarkId::new("read/gathered", name), |bencher| {
        bencher.iter(|| gather(black_box(&after)))
    });
}

// -- A publication --------------------------------------------------------------------

/// Messages kept by each channel that is published to.
const KEPT: usize = 10;

fn queue() -> MessageQueue {
    let bounds = Bounds {
        message_ttl_ms: 3_600_000,
        channel_ttl_ms: 3_600_000,
        channel_messages_max: KEPT,
        channel_bytes_max: usize::MAX,
        cache_bytes_max: usize::MAX,
        channels_max: usize::MAX,
        existing_only: false,
    };
    MessageQueue::new(bounds, ORIGIN, 1)
}

/// The obvious queue: a map of names to trees.
fn publish_plainly(rooms: &mut HashMap<ChannelName, Tree>, publication: Publication, seq: u64) {
    let name = publication.channels[0].clone();
    add_to_tree(rooms.entry(name).or_default(), published(publication, seq), KEPT);
}

/// Publications to one channel, and to many in turn. They are made beforehand.
fn measure_publishing(group: &mut BenchmarkGroup<WallTime>) {
    let now = Now::default();
    for channels in [1, 16_000_u64] {
        let names: Vec<ChannelName> =
            (0..channels).map(|number| format!("user-{number}").parse().expect("it is a name")).collect();
        let name_of = |seq: u64| &names[(seq % channels) as usize];
        let (mut queue, mut rooms) = (queue(), HashMap::new());
        for seq in 1..=2 * KEPT as u64 * channels {
            queue.publish(publication(name_of(seq)), now).expect("there is room");
            publish_plainly(&mut rooms, publication(name_of(seq)), seq);
        }
        assert_eq!(queue.cached_messages(), rooms.values().map(Tree::len).sum::<usize>());
        let first = 2 * KEPT as u64 * channels;
        let mut seq = first;
        let mut next = || {
            seq += 1;
            publication(name_of(seq))
        };
        group.bench_function(BenchmarkId::new("publish/pushup", channels), |bencher| {
            bencher.iter_batched(
                &mut next,
                |publication| queue.publish(publication, now),
                BatchSize::SmallInput,
            )
        });
        let mut seq = first;
        let mut next = || {
            seq += 1;
            (seq, publication(name_of(seq)))
        };
        group.bench_function(BenchmarkId::new("publish/plain", channels), |bencher| {
            bencher.iter_batched(
                &mut next,
                |(seq, publication)| publish_plainly(&mut rooms, publication, seq),
                BatchSize::SmallInput,
            )
        });
    }
}
