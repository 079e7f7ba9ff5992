//! Entries, snapshots and dead origins by small cases; all that may happen in any order stands in
//! [`super::convergence`].

use super::*;
use crate::channel::entry::Deed;
use crate::channel::snapshot::Piece;
use crate::cursor::{ClusterTag, Cursor};
use crate::limits::{
    CLOCK_AHEAD_MS_MAX, CURSOR_ORIGINS_MAX, ORIGIN_KEPT_MS, RETIRED_ORIGINS_MAX, RETIREMENTS_MAX,
};

const OTHER: Origin = Origin(6);

fn replicated(origin: Origin) -> MessageQueue {
    let mut queue = MessageQueue::new(bounds(), origin, origin.0);
    queue.set_replicated(true);
    queue
}

/// Two nodes.
fn pair() -> (MessageQueue, MessageQueue) {
    (replicated(ORIGIN), replicated(OTHER))
}

/// Everything that `from` did is done at `to`.
fn pass(from: &mut MessageQueue, to: &mut MessageQueue, now: Now) -> Vec<Applied> {
    from.take_log().into_iter().map(|entry| to.apply(entry, now)).collect()
}

fn put_into(delivered: usize) -> Applied {
    Applied::Message(Fates { delivered, ..Fates::default() })
}

fn vector(entries: &[(Origin, u64)]) -> VersionVector {
    let mut vector = VersionVector::default();
    entries.iter().for_each(|(origin, seq)| vector.set(*origin, *seq));
    vector
}

/// The ids that a reader of one channel gets, whether there is a gap, and its next cursor.
fn read_after(
    queue: &MessageQueue,
    channel: &str,
    after: &VersionVector,
    now: Now,
) -> (Vec<MessageId>, bool, VersionVector) {
    let wanted = Wanted {
        after: Some(after),
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
    (reading.messages.iter().map(|one| one.message.id).collect(), reading.gap, reading.examined)
}

fn snapshot_of(queue: &MessageQueue, now: Now) -> Staged {
    let (mut at, mut pieces, mut staged) = (queue.snapshot(), Vec::new(), Staged::default());
    while !at.is_over() {
        queue.next_pieces(&mut at, 1_000, now, &mut pieces);
    }
    pieces.into_iter().for_each(|piece| staged.add(piece, usize::MAX).unwrap());
    staged
}

// -- The log ---------------------------------------------------------------------------------

#[test]
fn a_node_by_itself_writes_no_log_and_numbers_as_ever() {
    let mut queue = queue();
    queue.create(Some(name("a")), None, START).unwrap();
    queue.renew("a", None, START).unwrap();
    assert_eq!(publish(&mut queue, "a", START), 1);
    assert!(queue.take_log().is_empty());
}

#[test]
fn whatever_changes_is_an_entry() {
    let mut queue = replicated(ORIGIN);
    queue.create(Some(name("a")), Some(5_000), START).unwrap();
    queue.renew("a", Some(1_000), START).unwrap();
    publish(&mut queue, "a,b", START);
    queue.close("b", START).unwrap();
    expire(&mut queue, START.plus_ms(1_000));
    assert_eq!(queue.take_overdue(), [Overdue { name: name("a"), ms: 0 }]);
    assert!(queue.propose_expiry("a", START.plus_ms(1_000)));
    let log = queue.take_log();
    assert_eq!(log.iter().map(|entry| entry.id.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(log.is_sorted_by_key(|entry| entry.time));
    // What follows at once counts as later, whatever the clock says.
    let renewed = START.wall.plus_ms(1);
    let deeds: Vec<Deed> = log.into_iter().map(|entry| entry.deed).collect();
    let (a, generation) = (name("a"), 1);
    assert_eq!(deeds[0], Deed::Create { name: a.clone(), generation, ttl_ms: 5_000 });
    assert_eq!(deeds[1], Deed::Renew { name: a.clone(), generation, ttl_ms: 1_000 });
    assert_eq!(deeds[3], Deed::Close { name: name("b"), generation });
    assert_eq!(deeds[4], Deed::Expire { name: a.clone(), generation, touched: renewed });
    let Deed::Publish(published) = &deeds[2] else { panic!("{:?}", deeds[2]) };
    assert_eq!(published.channels[..], [(a, 1), (name("b"), 1)]);
    assert_eq!(published.body, publication("a", 10).body);
    assert!(queue.take_log().is_empty());
}

#[test]
fn an_overdue_channel_waits_for_whose_turn_it_is() {
    let mut queue = replicated(ORIGIN);
    queue.create(Some(name("a")), Some(1_000), START).unwrap();
    let late = START.plus_ms(1_500);
    expire(&mut queue, late);
    assert_eq!(queue.take_overdue(), [Overdue { name: name("a"), ms: 500 }]);
    queue.postpone_expiry("a", 5_000, late);
    expire(&mut queue, late.plus_ms(4_999));
    assert_eq!(queue.take_overdue(), []);
    expire(&mut queue, late.plus_ms(5_000));
    assert_eq!(queue.take_overdue(), [Overdue { name: name("a"), ms: 5_500 }]);
    publish(&mut queue, "a", late.plus_ms(5_000));
    assert!(!queue.propose_expiry("a", late.plus_ms(5_000)), "something has happened to it");
    expire(&mut queue, late.plus_ms(6_000));
    assert_eq!(queue.take_overdue().len(), 1);
}

#[test]
fn an_entry_that_is_not_the_next_changes_nothing() {
    let (mut here, mut there) = pair();
    publish(&mut there, "a", START);
    publish(&mut there, "a", START);
    let log = there.take_log();
    assert_eq!(here.apply(log[1].clone(), START), Applied::OutOfTurn);
    assert_eq!(here.apply(log[0].clone(), START), put_into(1));
    assert_eq!(here.apply(log[0].clone(), START), Applied::OutOfTurn);
    assert_eq!(here.apply(log[1].clone(), START), put_into(1));
    assert_eq!(there.apply(log[0].clone(), START), Applied::OutOfTurn, "its own");
    assert_eq!((here.cached_messages(), here.known(OTHER)), (2, 2));
}

#[test]
fn who_waits_anywhere_is_stirred() {
    let (mut here, mut there) = pair();
    let ix = here.open(&name("a"), START.tick).unwrap();
    here.join(ix, Subscriber(1));
    publish(&mut there, "a", START);
    let fates = Fates { delivered: 1, subscribers: 1, ..Fates::default() };
    assert_eq!(pass(&mut there, &mut here, START), [Applied::Message(fates)]);
    assert_eq!(here.take_stirred()[..], [ix]);
    there.close("a", START).unwrap();
    assert_eq!(pass(&mut there, &mut here, START), [Applied::Changed]);
    assert_eq!(here.take_closed()[0].subscribers.as_slice(), [Subscriber(1)]);
    assert_eq!(here.find("a"), Lookup::Closed);
}

#[test]
fn who_waits_for_a_name_learns_only_by_the_first_entry_which_life_it_is_in() {
    let (mut here, mut there) = pair();
    there.create(Some(name("a")), None, START).unwrap();
    there.close("a", START).unwrap();
    there.take_log();
    let mut third = replicated(Origin(7));
    assert!(third.install(&snapshot_of(&there, START), START));
    third.create(Some(name("a")), None, START).unwrap();
    let ix = here.open(&name("a"), START.tick).unwrap();
    here.join(ix, Subscriber(1));
    assert_eq!(pass(&mut third, &mut here, START), [Applied::Changed]);
    assert_eq!(here.channels[ix.0 as usize].life, 2);
    assert!(here.take_closed().is_empty(), "it waits on");
}

#[test]
fn a_key_stands_for_its_first_sending_at_every_node() {
    let (mut here, mut there) = pair();
    let keyed = |key: &str| Publication { idempotency_key: Some(key.into()), ..publication("a", 10) };
    let first = there.publish(keyed("k"), START).unwrap();
    assert_eq!(pass(&mut there, &mut here, START), [put_into(1)]);
    let again = here.publish(keyed("k"), START).unwrap();
    assert_eq!((again.id, again.duplicate), (first.id, true));
    assert!(here.take_log().is_empty());
    // At the same time at both: both are published, everywhere. A node that dropped the other's would
    // lose both to a reader that comes from there.
    there.publish(keyed("both"), START).unwrap();
    here.publish(keyed("both"), START).unwrap();
    assert_eq!(pass(&mut there, &mut here, START), [put_into(1)]);
    assert_eq!(pass(&mut here, &mut there, START), [put_into(1)]);
    assert_eq!((here.cached_messages(), there.cached_messages()), (3, 3));
    assert_eq!(here.head(), there.head());
}

#[test]
fn what_there_is_no_room_for_is_told_to_who_missed_it() {
    let mut here = queue_with(|bounds| bounds.channels_max = 1);
    let mut there = replicated(OTHER);
    publish(&mut here, "a", START);
    let before = here.head().clone();
    publish(&mut there, "a,b", START);
    let fates = Fates { delivered: 1, closed: 0, no_room: 1, ..Fates::default() };
    assert_eq!(pass(&mut there, &mut here, START), [Applied::Message(fates)]);
    assert!(read_after(&here, "b", &before, START).1);
    let head = here.head().clone();
    assert!(!read_after(&here, "b", &head, START).1);
}

#[test]
fn a_clock_that_is_ahead_moves_ours_unless_it_is_mad() {
    for (ahead_ms, moves) in [(CLOCK_AHEAD_MS_MAX, true), (CLOCK_AHEAD_MS_MAX + 1, false)] {
        let (mut here, mut there) = pair();
        let ahead = Now { wall: START.wall.plus_ms(ahead_ms), ..START };
        publish(&mut there, "a", ahead);
        pass(&mut there, &mut here, START);
        let time = here.publish(publication("b", 1), START).unwrap().time;
        assert_eq!(time, if moves { ahead.wall } else { START.wall });
    }
}

#[test]
fn a_message_lives_as_long_as_it_says_wherever_the_clocks_stand() {
    for (wall, tick) in [(0, 0), (u64::MAX / 2, 500)] {
        let (mut here, mut there) = pair();
        publish(&mut there, "a", START);
        let now = Now { wall: Timestamp(wall), tick: Tick(tick) };
        pass(&mut there, &mut here, now);
        let later = now.plus_ms(bounds().message_ttl_ms - 1);
        assert_eq!(read_after(&here, "a", &VersionVector::default(), later).0.len(), 1);
        let over = later.plus_ms(1);
        assert_eq!(read_after(&here, "a", &VersionVector::default(), over).0.len(), 0);
    }
}

#[test]
fn a_name_is_free_again_everywhere_once_it_is_free_anywhere() {
    let (mut here, mut there) = pair();
    there.create(Some(name("a")), None, START).unwrap();
    there.close("a", START).unwrap();
    // It heard of the close only later, and its clock stands still.
    pass(&mut there, &mut here, START.plus_ms(5_000));
    expire(&mut there, START.plus_ms(TOMBSTONE_MS));
    let stopped = Now { wall: START.wall, tick: START.tick.plus_ms(TOMBSTONE_MS) };
    assert_eq!(there.find("a"), Lookup::Unknown);
    publish(&mut there, "a", stopped);
    assert_eq!(here.find("a"), Lookup::Closed);
    assert_eq!(pass(&mut there, &mut here, START.plus_ms(TOMBSTONE_MS)), [put_into(1)]);
    // A close of that life counts, though a later one is remembered.
    there.close("a", stopped).unwrap();
    pass(&mut there, &mut here, START.plus_ms(TOMBSTONE_MS));
    assert_eq!((here.find("a"), there.find("a")), (Lookup::Closed, Lookup::Closed));
}

#[test]
fn a_peer_that_names_a_channel_twice_does_no_harm() {
    let (mut here, mut there) = pair();
    publish(&mut there, "a", START);
    let mut entry = there.take_log().remove(0);
    let Deed::Publish(published) = &mut entry.deed else { panic!("{entry:?}") };
    let again = published.channels[0].clone();
    published.channels.push(again);
    assert_eq!(here.apply(entry, START), put_into(1));
    check_counts(&here);
}

// -- Snapshots -------------------------------------------------------------------------------

#[test]
fn a_snapshot_brings_everything_and_each_message_once() {
    let mut there = replicated(OTHER);
    there.create(Some(name("a")), Some(60_000), START).unwrap();
    let keyed = Publication { idempotency_key: Some("k".into()), ..publication("a,b", 10) };
    let first = there.publish(keyed.clone(), START).unwrap();
    there.create(Some(name("over")), None, START).unwrap();
    there.close("over", START).unwrap();
    let now = START.plus_ms(10_000);
    let mut here = replicated(ORIGIN);
    let ix = here.open(&name("b"), now.tick).unwrap();
    here.join(ix, Subscriber(1));
    assert!(here.install(&snapshot_of(&there, now), now));
    assert_eq!(here.take_stirred()[..], [ix]);
    assert_eq!(here.head(), there.head());
    assert_eq!(here.info(ix, now).unwrap().messages, 1);
    assert_eq!(here.find("over"), Lookup::Closed);
    assert_eq!(here.publish(keyed, now).unwrap().id, first.id);
    let Lookup::Open(a) = here.find("a") else { panic!("not open") };
    assert_eq!(here.info(a, now).unwrap().expires, START.wall.plus_ms(60_000), "as where it came from");
    let held = |ix: ChannelIx| here.channels[ix.0 as usize].history().unwrap().iter().next().unwrap().clone();
    assert!(std::sync::Arc::ptr_eq(&held(a), &held(ix)), "one message");
    check_counts(&here);
    // What is known already is not taken again; who waits is told to look.
    let before = here.cached_messages();
    assert!(here.install(&snapshot_of(&there, now), now));
    assert_eq!((here.cached_messages(), &here.take_stirred()[..]), (before, &[ix][..]));
}

#[test]
fn a_snapshot_is_bounded_ordered_and_whole_or_not_at_all() {
    let mut there = replicated(OTHER);
    publish(&mut there, "a", START);
    let (mut at, mut pieces) = (there.snapshot(), Vec::new());
    there.next_pieces(&mut at, usize::MAX, START, &mut pieces);
    let all: usize = pieces.iter().map(|piece| piece.bytes()).sum();
    let stage = |pieces: &[Piece], bytes_max: usize| {
        let mut staged = Staged::default();
        let added: Result<Vec<()>, Unfit> =
            pieces.iter().map(|piece| staged.add(piece.clone(), bytes_max)).collect();
        added.map(|_| staged)
    };
    assert_eq!(stage(&pieces, all - 1).err(), Some(Unfit::TooLarge));
    assert_eq!(stage(&pieces[1..], all).err(), Some(Unfit::Misplaced));
    assert_eq!(stage(&[&pieces[..], &pieces[1..2]].concat(), 2 * all).err(), Some(Unfit::Misplaced));
    let mut here = replicated(ORIGIN);
    assert!(!here.install(&stage(&pieces[..pieces.len() - 1], all).unwrap(), START));
    assert!(here.head().is_empty() && here.channel_count() == 0);
    assert!(here.install(&stage(&pieces, all).unwrap(), START));
    assert_eq!(here.channel_count(), 1);
}

/// Times of another node's are only as good as that node; the order within an origin is its log's.
#[test]
fn a_snapshot_whose_times_contradict_its_order_loses_nothing() {
    let mut there = replicated(OTHER);
    for _ in 0..3 {
        publish(&mut there, "a", START);
    }
    let (mut at, mut pieces, mut staged) = (there.snapshot(), Vec::new(), Staged::default());
    there.next_pieces(&mut at, usize::MAX, START, &mut pieces);
    for mut piece in pieces {
        if let Piece::Message(entry) = &mut piece {
            entry.time = Timestamp(START.wall.0 - entry.id.seq);
        }
        staged.add(piece, usize::MAX).unwrap();
    }
    let mut here = replicated(ORIGIN);
    assert!(here.install(&staged, START));
    let ids = read_after(&here, "a", &VersionVector::default(), START).0;
    assert_eq!(ids.iter().map(|id| id.seq).collect::<Vec<_>>(), [1, 2, 3]);
}

// -- Dead origins ----------------------------------------------------------------------------

/// A node that knows of a dead one, and of itself, each with `a` and two entries; and long after.
fn bereaved() -> (MessageQueue, MessageQueue, Now) {
    let (mut here, mut there) = pair();
    for _ in 0..2 {
        publish(&mut there, "a", START);
        pass(&mut there, &mut here, START);
        publish(&mut here, "a", START);
    }
    let over = START.plus_ms(60_000);
    expire(&mut here, over.plus_ms(2_000));
    here.retire_dead(|_| false, over);
    here.retire_dead(|_| false, over.plus_ms(ORIGIN_KEPT_MS - 1));
    assert_eq!(here.head(), &vector(&[(ORIGIN, 3), (OTHER, 2)]), "too early; and the moment is marked");
    let now = over.plus_ms(ORIGIN_KEPT_MS);
    here.retire_dead(|_| false, now);
    (here, there, now)
}

#[test]
fn a_mark_is_an_entry_that_concerns_no_channel() {
    let (mut here, _, now) = bereaved();
    let log = here.take_log();
    assert_eq!(log.last().map(|entry| (entry.id.seq, &entry.deed)), Some((3, &Deed::Mark)));
    let mut third = replicated(Origin(7));
    let applied: Vec<Applied> = log.into_iter().map(|entry| third.apply(entry, now)).collect();
    assert_eq!(applied, [put_into(1), put_into(1), Applied::Void]);
    assert_eq!((third.known(ORIGIN), third.channel_count()), (3, 1));
}

#[test]
fn a_dead_origin_leaves_the_cursors() {
    let (mut here, _, now) = bereaved();
    assert_eq!((here.head(), here.known(OTHER)), (&vector(&[(ORIGIN, 3)]), 2));
    // Who has read all of it hears of nothing, before and after the cursor is stripped.
    let mut after = vector(&[(ORIGIN, 3), (OTHER, 2)]);
    for _ in 0..2 {
        let (got, gap, examined) = read_after(&here, "a", &after, now);
        assert_eq!((got, gap, &examined), (vec![], false, here.head()));
        after = examined;
    }
    // Who has not is told, whether it had begun or not.
    assert!(read_after(&here, "b", &vector(&[(ORIGIN, 3), (OTHER, 1)]), now).1);
    assert!(read_after(&here, "b", &vector(&[(ORIGIN, 2)]), now).1);
    publish(&mut here, "a", now);
    let (got, gap, _) = read_after(&here, "a", &after, now);
    assert_eq!((got.len(), gap), (1, false));
    let Lookup::Open(ix) = here.find("a") else { panic!("not open") };
    assert_eq!(here.channels[ix.0 as usize].history().unwrap().strands().count(), 1);
}

#[test]
fn an_origin_that_is_alive_stays_however_silent() {
    let (mut here, mut there) = pair();
    publish(&mut there, "a", START);
    pass(&mut there, &mut here, START);
    for (turn, lives) in [false, true, false, false].into_iter().enumerate() {
        let now = START.plus_ms(60_000 + turn as u64 * ORIGIN_KEPT_MS);
        here.retire_dead(|_| lives, now);
        assert_eq!(here.head().seq(OTHER), u64::from(turn < 3), "dead in a row");
    }
}

#[test]
fn an_origin_that_was_only_away_comes_back() {
    let (mut here, mut there, now) = bereaved();
    publish(&mut there, "a", now);
    let after = here.head().clone();
    assert_eq!(pass(&mut there, &mut here, now), [put_into(1)]);
    assert_eq!(here.head(), &vector(&[(ORIGIN, 3), (OTHER, 3)]));
    assert_eq!(read_after(&here, "a", &after, now).0, [MessageId { origin: OTHER, seq: 3 }]);
    assert!(here.retirement.is_empty());
}

#[test]
fn a_snapshot_brings_what_is_known_of_the_dead() {
    let (there, _, now) = bereaved();
    let mut here = replicated(Origin(7));
    assert!(here.install(&snapshot_of(&there, now), now));
    assert_eq!((here.head(), here.known(OTHER)), (there.head(), 2));
    assert!(read_after(&here, "a", &vector(&[(ORIGIN, 3), (OTHER, 1)]), now).1);
    assert!(!read_after(&here, "a", &vector(&[(ORIGIN, 3)]), now).1);
    // One that had heard less of it: whoever had as well is told.
    let mut behind = replicated(Origin(8));
    let mut source = replicated(OTHER);
    publish(&mut source, "a", START);
    pass(&mut source, &mut behind, START);
    assert!(behind.install(&snapshot_of(&there, now), now));
    assert_eq!(behind.known(OTHER), 2);
    assert!(read_after(&behind, "a", &vector(&[(ORIGIN, 3), (OTHER, 1)]), now).1);
}

#[test]
fn only_so_many_dead_are_remembered() {
    let mut here = replicated(ORIGIN);
    let mut now = START;
    let dead = RETIRED_ORIGINS_MAX + 100;
    for n in 0..dead {
        let mut there = replicated(Origin(1_000 + n as u64));
        there.create(Some(name("a")), None, now).unwrap();
        pass(&mut there, &mut here, now);
        if n % (dead / 20) == 0 {
            now = now.plus_ms(ORIGIN_KEPT_MS);
            here.retire_dead(|_| false, now);
        }
    }
    here.retire_dead(|_| false, now);
    here.retire_dead(|_| false, now.plus_ms(ORIGIN_KEPT_MS));
    assert_eq!(here.head().len(), 1);
    assert_eq!(here.retirement.all().0.len(), RETIRED_ORIGINS_MAX);
    assert!(here.retirement.round_count() <= RETIREMENTS_MAX);
}

/// A node that crashes again and again: each of its lives has an origin, and a cursor holds only so many.
#[test]
fn the_dead_leave_room_in_cursors_before_their_time() {
    let mut here = replicated(ORIGIN);
    publish(&mut here, "a", START);
    let mut now = START;
    let mut after = here.head().clone();
    for n in 0..3 * CURSOR_ORIGINS_MAX {
        let mut there = replicated(Origin(1_000 + n as u64));
        publish(&mut there, "a", now);
        pass(&mut there, &mut here, now);
        let (got, gap, examined) = read_after(&here, "a", &after, now);
        assert_eq!((got.len(), gap), (1, false), "who keeps up misses nothing: {n}");
        let mut text = Vec::new();
        Cursor::write(ClusterTag(0), &examined, &mut text);
        let text = String::from_utf8(text).unwrap();
        after = Cursor::parse(&text).expect("what is given out can be read back").seen;
        now = now.plus_ms(1);
        here.retire_dead(|_| false, now);
    }
    let behind = vector(&[(ORIGIN, 1)]);
    assert!(read_after(&here, "a", &behind, now).1, "who does not is told");
    assert_eq!(here.known(Origin(1_000)), 1, "and nothing is taken for new");
}

#[test]
fn nobody_knows_more_of_this_nodes_log_than_it_does() {
    let mut there = replicated(OTHER);
    publish(&mut there, "a", START);
    let mut staged = snapshot_of(&there, START);
    staged.boast(ORIGIN, 1_000);
    let mut here = replicated(ORIGIN);
    here.correct(&mut staged);
    assert!(here.install(&staged, START));
    assert_eq!((here.known(ORIGIN), here.known(OTHER)), (0, 1));
    assert_eq!(publish(&mut here, "a", START), 1);
}

#[test]
fn a_channel_without_time_to_live_that_someone_waits_on_is_not_looked_at_again_and_again() {
    let (mut here, mut there) = pair();
    let ix = here.open(&name("a"), START.tick).unwrap();
    here.join(ix, Subscriber(1));
    publish(&mut there, "a", START);
    there.renew("a", Some(0), START).unwrap();
    pass(&mut there, &mut here, START);
    let later = START.plus_ms(100_000);
    assert!(here.expire(later.tick, 100));
    assert!(here.next_expiry().is_none_or(|next| next > later.tick));
}
