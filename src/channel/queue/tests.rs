//! The queue by small cases; whatever may happen in any order stands in [`arbitrary`].

mod arbitrary;
mod bounds;
mod convergence;
mod replication;

use super::eviction::Cached;
use super::*;
use crate::channel::message::{Body, Publication};
use crate::limits::{EVICTION_SLACK, IDEMPOTENCY_MS, TOMBSTONE_MS, TOMBSTONES_MAX};

const ORIGIN: Origin = Origin(5);
const START: Now = Now { wall: Timestamp(1_000_000), tick: Tick(500) };

fn bounds() -> Bounds {
    Bounds {
        message_ttl_ms: 60_000,
        channel_ttl_ms: 600_000,
        channel_messages_max: 100,
        channel_bytes_max: 1_000_000,
        cache_bytes_max: 10_000_000,
        channels_max: 100,
        existing_only: false,
    }
}

fn queue() -> MessageQueue {
    MessageQueue::new(bounds(), ORIGIN, 7)
}

fn queue_with(change: impl FnOnce(&mut Bounds)) -> MessageQueue {
    let mut bounds = bounds();
    change(&mut bounds);
    MessageQueue::new(bounds, ORIGIN, 7)
}

fn name(text: &str) -> ChannelName {
    text.parse().unwrap()
}

fn publication(channels: &str, len: usize) -> Publication {
    Publication {
        channels: channels.split(',').map(name).collect(),
        media_type: "text/plain".into(),
        body: Body::text("x".repeat(len).into()),
        ttl_ms: None,
        idempotency_key: None,
    }
}

/// Publishes something small; tells its number.
#[track_caller]
fn publish(queue: &mut MessageQueue, channels: &str, now: Now) -> u64 {
    queue.publish(publication(channels, 10), now).unwrap().id.seq
}

#[track_caller]
fn reason<T: std::fmt::Debug>(result: Result<T, Refused>) -> Refusal {
    result.expect_err("refused").reason
}

/// What a reader of one channel gets who has examined this node's log up to `seq`; `None`
/// for one without a cursor. The numbers, and whether there is a gap.
fn read(queue: &MessageQueue, channel: &str, seq: Option<u64>, now: Now) -> (Vec<u64>, bool) {
    let after = seq.map(|seq| {
        let mut after = VersionVector::default();
        after.set(queue.origin, seq);
        after
    });
    let wanted = Wanted {
        after: after.as_ref(),
        since: Timestamp(0),
        until: Timestamp::MAX,
        messages_max: usize::MAX,
        bytes_max: usize::MAX,
    };
    let place = match queue.find(channel) {
        Lookup::Open(ix) => Some(ix),
        Lookup::Closed | Lookup::Unknown => None,
    };
    let reading = queue.read(&[place], &wanted, now.tick);
    assert_eq!(&reading.examined, queue.head());
    (reading.messages.iter().map(|carried| carried.message.id.seq).collect(), reading.gap)
}

/// Lets all that is due happen.
fn expire(queue: &mut MessageQueue, now: Now) {
    for turns in 0.. {
        assert!(turns < 1_000, "no end");
        if queue.expire(now.tick, 10) {
            return;
        }
    }
}

/// That what is counted is what is there.
#[track_caller]
fn check_counts(queue: &MessageQueue) {
    let histories = || queue.channels.iter().filter_map(|(_, channel)| channel.history());
    let messages: usize = histories().map(|history| history.iter().count()).sum();
    let bytes: usize = histories().flat_map(History::iter).map(|message| message.bytes()).sum();
    assert_eq!((queue.cached_messages(), queue.cached_bytes()), (messages, bytes));
    assert_eq!(queue.channel_count(), queue.names.len());
    let held = |cached: &&Cached| {
        let channel = queue.channels.get(cached.channel.0 as usize);
        channel.is_some_and(|channel| {
            channel.generation == cached.generation
                && channel.history().is_some_and(|history| history.holds(cached.id))
        })
    };
    assert_eq!(queue.eviction_order.iter().filter(held).count(), messages, "each can be evicted");
    assert!(queue.eviction_order.len() <= 3 * messages + 2 * EVICTION_SLACK);
    assert!(queue.timetable.len() <= 2 * queue.channels.len() + 1_025);
}

// -- Numbers and times -------------------------------------------------------------------

#[test]
fn entries_are_numbered_from_1_without_holes() {
    let mut queue = queue();
    assert_eq!(publish(&mut queue, "a", START), 1);
    assert_eq!(publish(&mut queue, "b", START), 2);
    assert_eq!(publish(&mut queue, "a,b,c", START), 3);
    queue.close("a", START).unwrap();
    assert_eq!(reason(queue.publish(publication("a", 1), START)), Refusal::ChannelClosed);
    assert_eq!(publish(&mut queue, "b", START), 5, "the close was an entry, the refusal none");
    assert_eq!(queue.head().seq(ORIGIN), 5);
}

#[test]
fn times_never_go_back_when_the_clock_does() {
    let mut queue = queue();
    let mut last = Timestamp(0);
    for (step, wall) in [100, 200, 50, 0, 199, 200, 201, 3].into_iter().enumerate() {
        let now = Now { wall: Timestamp(wall), tick: Tick(step as u64) };
        let time = queue.publish(publication("a", 1), now).unwrap().time;
        assert!(time >= last && time >= now.wall);
        last = time;
    }
    assert_eq!(last, Timestamp(201));
}

#[test]
fn ids_given_to_channels_are_unique_integers_exact_in_javascript() {
    let mut queue = queue_with(|bounds| bounds.channels_max = 5_000);
    for _ in 0..5_000 {
        let (info, fresh) = queue.create(None, None, START).unwrap();
        let id: u64 = info.name.as_str().parse().unwrap();
        assert!(fresh && id > 0 && id < 1 << 53);
        assert_eq!(info.name.as_str(), id.to_string());
    }
    assert_eq!(queue.channel_count(), 5_000);
}

// -- Publishing ----------------------------------------------------------------------------

#[test]
fn a_publication_goes_to_all_its_channels_or_to_none() {
    let mut queue = queue_with(|bounds| bounds.channels_max = 3);
    queue.create(Some(name("closed")), None, START).unwrap();
    queue.close("closed", START).unwrap();
    assert_eq!(reason(queue.publish(publication("a,closed", 1), START)), Refusal::ChannelClosed);
    assert_eq!(reason(queue.publish(publication("a,b,c,d", 1), START)), Refusal::ChannelsExhausted);
    assert_eq!((queue.channel_count(), queue.cached_messages(), queue.head().seq(ORIGIN)), (0, 0, 1));
    publish(&mut queue, "a,b,c", START);
    publish(&mut queue, "c,a", START);
    assert_eq!(reason(queue.publish(publication("d", 1), START)), Refusal::ChannelsExhausted);
    assert_eq!(read(&queue, "a", None, START), (vec![2, 3], false));
    check_counts(&queue);
}

#[test]
fn a_key_stands_for_its_first_sending() {
    let mut queue = queue();
    let keyed = |channels: &str, key: &str| Publication {
        idempotency_key: Some(key.into()),
        ..publication(channels, 10)
    };
    let first = queue.publish(keyed("a", "k"), START).unwrap();
    let again = queue.publish(keyed("a", "k"), START.plus_ms(IDEMPOTENCY_MS - 1)).unwrap();
    assert_eq!((again.id, again.time, again.subscribers, again.duplicate), (first.id, first.time, 0, true));
    assert_eq!(queue.cached_messages(), 1);
    let later = queue.publish(keyed("a", "k"), START.plus_ms(IDEMPOTENCY_MS)).unwrap();
    assert_eq!((later.id.seq, later.duplicate), (2, false));
}

#[test]
fn a_key_is_not_used_up_by_a_refusal() {
    let mut queue = queue_with(|bounds| bounds.existing_only = true);
    let keyed = || Publication { idempotency_key: Some("k".into()), ..publication("a", 1) };
    assert_eq!(reason(queue.publish(keyed(), START)), Refusal::ChannelUnknown);
    queue.create(Some(name("a")), None, START).unwrap();
    assert!(!queue.publish(keyed(), START).unwrap().duplicate);
}

#[test]
fn subscribers_are_counted_once_and_stirred_once() {
    let mut queue = queue();
    let (a, b) = (queue.open(&name("a"), START.tick).unwrap(), queue.open(&name("b"), START.tick).unwrap());
    queue.join(a, Subscriber(1));
    queue.join(b, Subscriber(1));
    queue.join(b, Subscriber(2));
    assert_eq!(queue.publish(publication("a,b,c", 1), START).unwrap().subscribers, 2);
    publish(&mut queue, "a", START);
    assert!(queue.has_news());
    assert_eq!(queue.take_stirred()[..], [a, b]);
    assert!(!queue.has_news());
    assert_eq!(queue.take_subscribers(b).len(), 2);
    assert_eq!(queue.publish(publication("b", 1), START).unwrap().subscribers, 0);
    assert!(!queue.has_news(), "nobody waits there");
}

// -- Channels --------------------------------------------------------------------------------

#[test]
fn a_channel_of_first_use_lives_while_something_holds_it() {
    let mut queue = queue_with(|bounds| bounds.channel_ttl_ms = 10_000);
    let ix = queue.open(&name("waited"), START.tick).unwrap();
    queue.join(ix, Subscriber(1));
    queue.publish(Publication { ttl_ms: Some(60_000), ..publication("kept", 1) }, START).unwrap();
    publish(&mut queue, "recent", START);
    expire(&mut queue, START.plus_ms(59_999));
    assert_eq!(queue.find("waited"), Lookup::Open(ix));
    assert!(matches!(queue.find("kept"), Lookup::Open(_)));
    expire(&mut queue, START.plus_ms(62_000));
    assert_eq!((queue.find("kept"), queue.find("recent")), (Lookup::Unknown, Lookup::Unknown));
    assert_eq!(queue.find("waited"), Lookup::Open(ix));
    assert_eq!(queue.leave(ix, 0), None);
    assert_eq!(queue.find("waited"), Lookup::Unknown, "nothing is lost with it");
    assert!(!queue.has_news(), "forgotten without a word");
    check_counts(&queue);
}

#[test]
fn a_created_channel_ends_when_it_is_inactive_whoever_waits() {
    let mut queue = queue();
    let (info, fresh) = queue.create(Some(name("a")), Some(10_000), START).unwrap();
    assert_eq!((fresh, info.expires), (true, START.wall.plus_ms(10_000)));
    let Lookup::Open(ix) = queue.find("a") else { panic!("not open") };
    queue.join(ix, Subscriber(9));
    publish(&mut queue, "a", START.plus_ms(9_000));
    expire(&mut queue, START.plus_ms(18_999));
    assert!(matches!(queue.find("a"), Lookup::Open(_)), "the publication postponed it");
    assert_eq!(queue.next_expiry(), Some(START.tick.plus_ms(19_000)));
    expire(&mut queue, START.plus_ms(19_000));
    assert_eq!(queue.find("a"), Lookup::Closed);
    let closed = queue.take_closed();
    assert_eq!((closed[0].ix, closed[0].subscribers.as_slice()), (ix, &[Subscriber(9)][..]));
    check_counts(&queue);
}

#[test]
fn renewing_changes_when_a_channel_ends() {
    let mut queue = queue();
    queue.create(Some(name("a")), Some(10_000), START).unwrap();
    let later = START.plus_ms(5_000);
    assert_eq!(queue.renew("a", None, later).unwrap().expires, later.wall.plus_ms(10_000));
    assert_eq!(queue.renew("a", Some(1_000), later).unwrap().expires, later.wall.plus_ms(1_000));
    expire(&mut queue, later.plus_ms(999));
    assert!(matches!(queue.find("a"), Lookup::Open(_)));
    expire(&mut queue, later.plus_ms(1_000));
    assert_eq!(reason(queue.renew("a", None, later)), Refusal::ChannelClosed);
    assert_eq!(reason(queue.renew("b", None, later)), Refusal::ChannelUnknown);
}

#[test]
fn a_closed_name_is_free_again_after_an_hour() {
    let mut queue = queue();
    publish(&mut queue, "a", START);
    queue.close("a", START).unwrap();
    assert_eq!(reason(queue.close("a", START)), Refusal::ChannelClosed);
    assert_eq!(reason(queue.open(&name("a"), START.tick)), Refusal::ChannelClosed);
    expire(&mut queue, START.plus_ms(TOMBSTONE_MS - 1));
    assert_eq!(queue.find("a"), Lookup::Closed);
    assert_eq!(queue.next_expiry(), Some(START.tick.plus_ms(TOMBSTONE_MS)));
    expire(&mut queue, START.plus_ms(TOMBSTONE_MS));
    assert_eq!((queue.find("a"), queue.next_expiry()), (Lookup::Unknown, None));
    assert_eq!(read(&queue, "a", Some(0), START), (vec![], true), "what was missed is still missed");
    publish(&mut queue, "a", START);
}

#[test]
fn a_channel_closed_again_is_remembered_from_then() {
    let mut queue = queue();
    for at in [0, 1_000] {
        queue.create(Some(name("a")), None, START.plus_ms(at)).unwrap();
        queue.close("a", START.plus_ms(at)).unwrap();
    }
    expire(&mut queue, START.plus_ms(TOMBSTONE_MS));
    assert_eq!(queue.find("a"), Lookup::Closed);
    expire(&mut queue, START.plus_ms(TOMBSTONE_MS + 1_000));
    assert_eq!(queue.find("a"), Lookup::Unknown);
}

#[test]
fn creating_takes_over_a_channel_of_first_use() {
    let mut queue = queue();
    publish(&mut queue, "a", START);
    let (info, fresh) = queue.create(Some(name("a")), Some(1_000), START).unwrap();
    assert_eq!((fresh, info.created, info.messages), (false, true, 1));
    expire(&mut queue, START.plus_ms(1_000));
    assert_eq!(queue.find("a"), Lookup::Closed);
}

#[test]
fn a_channel_created_again_tells_a_gap_only_to_who_missed_something() {
    let mut queue = queue();
    publish(&mut queue, "a", START);
    publish(&mut queue, "a", START);
    queue.close("a", START).unwrap();
    queue.create(Some(name("a")), None, START).unwrap();
    for (seq, gap) in [(0, true), (1, true), (2, false), (3, false)] {
        assert_eq!(read(&queue, "a", Some(seq), START), (vec![], gap), "{seq}");
    }
    assert_eq!(read(&queue, "a", None, START), (vec![], false));
    assert_eq!(publish(&mut queue, "a", START), 4);
    assert_eq!(read(&queue, "a", Some(2), START), (vec![4], false));
}

#[test]
fn a_forgotten_channel_tells_a_gap_to_who_missed_something() {
    let mut queue = queue_with(|bounds| bounds.channel_ttl_ms = 1_000);
    publish(&mut queue, "old", START);
    let short = Publication { ttl_ms: Some(1_000), ..publication("a", 1) };
    queue.publish(short, START).unwrap();
    expire(&mut queue, START.plus_ms(5_000));
    assert_eq!(queue.find("a"), Lookup::Unknown);
    let now = START.plus_ms(5_000);
    assert_eq!(read(&queue, "a", Some(1), now), (vec![], true));
    assert_eq!(read(&queue, "a", Some(2), now), (vec![], false));
    assert_eq!(publish(&mut queue, "a", now), 3);
    assert_eq!(read(&queue, "a", Some(1), now), (vec![3], true), "it was born since");
    assert_eq!(read(&queue, "a", Some(2), now), (vec![3], false));
    assert_eq!(read(&queue, "old", Some(1), now), (vec![], false), "that one was there throughout");
}

#[test]
fn a_closed_channel_s_gap_counts_what_expired_behind_a_longer_life() {
    let mut queue = queue();
    for ttl_ms in [50_000, 1_000] {
        queue.publish(Publication { ttl_ms: Some(ttl_ms), ..publication("a", 1) }, START).unwrap();
    }
    expire(&mut queue, START.plus_ms(3_000));
    queue.close("a", START).unwrap();
    queue.create(Some(name("a")), None, START).unwrap();
    assert_eq!(read(&queue, "a", Some(1), START), (vec![], true), "the second was never read");
}

#[test]
fn the_list_gives_every_channel_once_in_pages() {
    let mut queue = queue();
    for n in 0..30 {
        publish(&mut queue, &format!("c{n}"), START);
    }
    (0..30).step_by(3).for_each(|n| queue.close(&format!("c{n}"), START).unwrap());
    for limit in [1, 7, 20, 1_000] {
        let (mut names, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let (page, next) = queue.list(at, limit, START);
            assert!(page.len() <= limit && (next.is_none() || page.len() == limit));
            names.extend(page.into_iter().map(|info| info.name));
            assert!(next.is_none_or(|next| next > at), "it goes on");
            from = next;
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 20, "{limit}");
    }
    assert_eq!(queue.list(usize::MAX, 5, START), (vec![], None));
}
