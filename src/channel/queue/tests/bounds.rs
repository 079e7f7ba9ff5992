//! Nothing grows without bound, and what gives way is the oldest.

use super::*;

#[test]
fn a_channel_keeps_its_newest_messages() {
    let mut queue = queue_with(|bounds| bounds.channel_messages_max = 3);
    for _ in 0..10 {
        publish(&mut queue, "a", START);
    }
    assert_eq!(read(&queue, "a", None, START), (vec![8, 9, 10], false));
    assert_eq!(read(&queue, "a", Some(6), START), (vec![8, 9, 10], true));
    assert_eq!(read(&queue, "a", Some(7), START), (vec![8, 9, 10], false));
    check_counts(&queue);
}

#[test]
fn a_channel_keeps_so_many_bytes_and_always_the_newest() {
    let mut queue = queue_with(|bounds| bounds.channel_bytes_max = 5_000);
    for _ in 0..10 {
        queue.publish(publication("a", 1_500), START).unwrap();
        assert!(queue.cached_bytes() <= 5_000);
    }
    queue.publish(publication("a", 100_000), START).unwrap();
    assert_eq!(read(&queue, "a", None, START), (vec![11], false));
    check_counts(&queue);
}

#[test]
fn the_node_sheds_its_oldest_messages_wherever_they_are() {
    let mut queue = queue_with(|bounds| bounds.cache_bytes_max = 10_000);
    for n in 0..30 {
        queue.publish(publication(&format!("c{}", n % 4), 1_500), START).unwrap();
        assert!(queue.cached_bytes() <= 10_000);
    }
    let mut kept: Vec<u64> = (0..4).flat_map(|n| read(&queue, &format!("c{n}"), None, START).0).collect();
    kept.sort_unstable();
    assert!(kept.len() >= 4);
    assert_eq!(kept, (31 - kept.len() as u64..=30).collect::<Vec<_>>(), "the newest of the node");
    assert!(read(&queue, "c0", Some(0), START).1, "and it is told");
    check_counts(&queue);
    queue.shed_cache(0);
    assert_eq!((queue.cached_messages(), queue.cached_bytes()), (0, 0));
    check_counts(&queue);
}

#[test]
fn a_smaller_bound_takes_effect_at_once() {
    let mut queue = queue();
    for _ in 0..50 {
        queue.publish(publication("a", 1_000), START).unwrap();
    }
    queue.reconfigure(Bounds { cache_bytes_max: 5_000, ..bounds() });
    assert!(queue.cached_bytes() <= 5_000);
    assert_eq!(read(&queue, "a", None, START).0.last(), Some(&50));
    check_counts(&queue);
}

#[test]
fn only_so_many_channels_are_made() {
    let mut queue = queue_with(|bounds| bounds.channels_max = 2);
    publish(&mut queue, "a", START);
    queue.open(&name("b"), START.tick).unwrap();
    assert_eq!(reason(queue.open(&name("c"), START.tick)), Refusal::ChannelsExhausted);
    assert_eq!(reason(queue.create(Some(name("c")), None, START)), Refusal::ChannelsExhausted);
    assert_eq!(reason(queue.create(None, None, START)), Refusal::ChannelsExhausted);
    queue.close("a", START).unwrap();
    assert_eq!(reason(queue.publish(publication("c,d", 1), START)), Refusal::ChannelsExhausted);
    publish(&mut queue, "c", START);
}

#[test]
fn existing_only_makes_no_channel_by_use() {
    let mut queue = queue_with(|bounds| bounds.existing_only = true);
    assert_eq!(reason(queue.open(&name("a"), START.tick)), Refusal::ChannelUnknown);
    assert_eq!(reason(queue.publish(publication("a", 1), START)), Refusal::ChannelUnknown);
    queue.create(Some(name("a")), None, START).unwrap();
    assert!(queue.open(&name("a"), START.tick).is_ok());
    assert_eq!(reason(queue.publish(publication("a,b", 1), START)), Refusal::ChannelUnknown);
    assert_eq!(queue.cached_messages(), 0);
}

#[test]
fn polls_that_come_and_go_leave_nothing_in_the_timetable() {
    let mut queue = queue();
    for n in 0..20_000 {
        let ix = queue.open(&name(&format!("c{n}")), START.tick).unwrap();
        queue.join(ix, Subscriber(0));
        queue.leave(ix, 0);
    }
    assert_eq!(queue.channel_count(), 0);
    check_counts(&queue);
}

#[test]
fn short_lives_behind_a_long_one_leave_nothing_in_the_order_of_eviction() {
    let mut queue = queue();
    queue.publish(Publication { ttl_ms: Some(u64::MAX / 2), ..publication("a", 1) }, START).unwrap();
    let mut now = START;
    for _ in 0..10_000 {
        now = now.plus_ms(3_000);
        queue.publish(Publication { ttl_ms: Some(1_000), ..publication("a", 1) }, now).unwrap();
    }
    assert!(queue.cached_messages() <= 3);
    check_counts(&queue);
}

#[test]
fn names_closed_again_and_again_are_remembered_once() {
    let mut queue = queue();
    for ms in 0..2 * TOMBSTONES_MAX as u64 + 10 {
        queue.create(Some(name("a")), None, START.plus_ms(ms)).unwrap();
        queue.close("a", START.plus_ms(ms)).unwrap();
        queue.take_closed();
    }
    assert_eq!(queue.tombstones.len(), 1);
    check_counts(&queue);
}

#[test]
fn only_so_many_closed_names_are_remembered() {
    let mut queue = queue();
    for n in 0..TOMBSTONES_MAX + 5 {
        publish(&mut queue, &n.to_string(), START);
        queue.close(&n.to_string(), START).unwrap();
        queue.take_closed();
    }
    assert_eq!(queue.tombstones.len(), TOMBSTONES_MAX);
    assert_eq!((queue.find("4"), queue.find("5")), (Lookup::Unknown, Lookup::Closed));
    assert_eq!(read(&queue, "4", Some(0), START), (vec![], true), "forgotten, but not in silence");
}

#[test]
fn expiring_stops_at_its_budget_and_goes_on_later() {
    let mut queue = queue();
    for n in 0..50 {
        queue.create(Some(name(&format!("c{n}"))), Some(1_000), START).unwrap();
    }
    let now = START.plus_ms(1_000);
    assert!(!queue.expire(now.tick, 20));
    assert_eq!(queue.channel_count(), 30);
    assert!(queue.next_expiry().is_some_and(|next| next <= now.tick));
    assert!(!queue.expire(now.tick, 30) || queue.channel_count() == 0);
    assert!(queue.expire(now.tick, 30));
    assert_eq!((queue.channel_count(), queue.take_closed().len()), (0, 50));
}
