//! The engine against a tiny server that does one thing wrong.

#[allow(dead_code)] // Other tests need the rest.
#[path = "../../tests/faulty/mod.rs"]
mod faulty;

use super::*;
use faulty::{Fault, Server};

/// A run that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(10);
const MESSAGES: u32 = 12;

fn engine(server: &Server) -> Engine {
    Engine::new(Dialect::pushup(), Options::new(vec![server.address])).unwrap()
}

fn poller(server: &Server, channel: u32) -> Poller {
    Poller {
        to: server.address,
        from: None,
        channel,
        start: Instant::now(),
        reading: Reading::Promptly,
        habit: Habit::LongPoll,
    }
}

/// Four pollers on two channels, twelve messages on each, some of them all at once.
fn conversation(fault: Fault) -> Engine {
    let server = Server::start(fault);
    let mut engine = engine(&server);
    for index in 0..4 {
        engine.add(poller(&server, index % 2)).unwrap();
    }
    let start = Instant::now();
    for message in 0..MESSAGES {
        let at = start + Duration::from_millis(5) * (message / 3);
        engine.publish(at, 0, 64);
        engine.publish(at, 1, 64);
    }
    let limit = if matches!(fault, Fault::Lose | Fault::Babble) { Duration::from_secs(1) } else { DEADLINE };
    engine.drain(limit, |_| {}).unwrap();
    engine
}

#[test]
fn a_good_server_is_found_good() {
    let all = u64::from(MESSAGES) * 4;
    for fault in [Fault::None, Fault::Dribble] {
        let engine = conversation(fault);
        let tally = engine.tally();
        assert_eq!((tally.deliveries, tally.expected, tally.received), (all, all, all), "{fault:?}");
        assert_eq!(
            (tally.broken_promises(), tally.troubles.total()),
            (0, 0),
            "{fault:?}: {:?}",
            tally.troubles
        );
        assert_eq!((tally.connected, tally.held, tally.connects), (4, 4, 4), "{fault:?}");
        assert_eq!((tally.published, tally.publish_answers, tally.in_flight), (24, 24, 0), "{fault:?}");
        assert_eq!((tally.latency.len(), tally.publish_latency.len()), (all, 24), "{fault:?}");
        assert!(tally.bytes_in > 64 * all && tally.bytes_out > 64 * 24, "{fault:?}");
    }
}

#[test]
fn each_fault_is_noticed() {
    for (fault, lost, duplicated, out_of_order, strays) in [
        (Fault::Lose, 1, 0, 0, 0),
        (Fault::Duplicate, 0, 1, 0, 0),
        (Fault::Reorder, 0, 0, 1, 0),
        (Fault::Misdeliver, 0, 0, 0, 1),
    ] {
        let engine = conversation(fault);
        let tally = engine.tally();
        let counted = (tally.lost, tally.duplicated, tally.out_of_order, tally.troubles.total());
        assert_eq!(counted, (lost, duplicated, out_of_order, strays), "{fault:?}");
        assert_eq!(tally.deliveries + lost, u64::from(MESSAGES) * 4, "{fault:?}");
    }
}

#[test]
fn a_server_that_closes_connections_loses_nothing() {
    for fault in [Fault::Close, Fault::CloseAnnounced] {
        let engine = conversation(fault);
        let tally = engine.tally();
        assert_eq!((tally.broken_promises(), tally.outstanding()), (0, 0), "{fault:?}");
        assert!(tally.closed_by_server > 0 && tally.reconnects > 0, "{fault:?}: {tally:?}");
    }
}

#[test]
fn what_was_refused_is_not_lost() {
    let engine = conversation(Fault::Refuse);
    let tally = engine.tally();
    assert_eq!((tally.broken_promises(), tally.outstanding()), (0, 0));
    assert_eq!((tally.publish_failed, tally.publish_answers), (16, 8));
    let counts: Vec<_> = tally.troubles.counts().collect();
    assert_eq!(counts, [(Trouble::PublishStatus(503), 16)]);
}

#[test]
fn what_is_not_http_is_an_error_and_does_not_spin() {
    let engine = conversation(Fault::Babble);
    let tally = engine.tally();
    assert!(tally.lost > 0 && tally.troubles.first().unwrap().contains("not the head"), "{tally:?}");
    assert!((4..500).contains(&tally.troubles.total()), "{:?}", tally.troubles);
}

#[test]
fn nobody_there_is_an_error_and_does_not_spin() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut engine = Engine::new(Dialect::pushup(), Options::new(vec![address])).unwrap();
    let server = Poller {
        to: address,
        from: None,
        channel: 0,
        start: Instant::now(),
        reading: Reading::Promptly,
        habit: Habit::LongPoll,
    };
    engine.add(server).unwrap();
    engine.publish(Instant::now(), 0, 64);
    engine.drain(Duration::from_millis(500), |_| {}).unwrap();
    let tally = engine.tally();
    assert_eq!((tally.lost, tally.published, tally.overdue), (1, 0, 1));
    assert!((2..60).contains(&tally.troubles.total()), "{:?}", tally.troubles);
}

#[test]
fn a_storm_loses_nothing() {
    let server = Server::start(Fault::None);
    let mut engine = engine(&server);
    for index in 0..10 {
        engine.add(poller(&server, index % 2)).unwrap();
    }
    let start = Instant::now();
    for message in 0..20 {
        engine.publish(start + Duration::from_millis(4) * message, message % 2, 64);
    }
    for _ in 0..5 {
        engine.run(Instant::now() + Duration::from_millis(15), |_| false).unwrap();
        engine.drop_all(Instant::now() + Duration::from_millis(5));
        assert_eq!((engine.tally().connected, engine.tally().held), (0, 0));
    }
    engine.drain(DEADLINE, |_| {}).unwrap();
    engine.run(Instant::now() + DEADLINE, |tally| tally.held == 10).unwrap();
    let tally = engine.tally();
    assert_eq!((tally.broken_promises(), tally.deliveries, tally.connected), (0, 100, 10), "{tally:?}");
    assert_eq!(tally.connects - tally.reconnects, 10);
}

#[test]
fn visitors_come_and_go() {
    let server = Server::start(Fault::None);
    let mut engine = engine(&server);
    let (every, stay) = (Duration::from_millis(40), Duration::from_millis(10));
    for index in 0..4 {
        let start = Instant::now() + every / 4 * index;
        engine.add(Poller { habit: Habit::Visit { every, stay }, start, ..poller(&server, 0) }).unwrap();
    }
    engine.run(Instant::now() + DEADLINE, |tally| tally.visits >= 20).unwrap();
    let tally = engine.tally();
    assert!(tally.visits >= 20 && tally.connects >= 20 && tally.reconnects == 0, "{tally:?}");
    assert_eq!((tally.troubles.total(), tally.expected), (0, 0));
}

#[test]
fn a_puller_asks_at_its_pace() {
    for between in [Between::KeepAlive, Between::Reconnect] {
        let server = Server::start(Fault::None);
        let mut engine = engine(&server);
        let habit = Habit::Pull { every: Duration::from_millis(20), between };
        engine.add(Poller { habit, ..poller(&server, 0) }).unwrap();
        let start = Instant::now();
        (0..10).for_each(|message| engine.publish(start + Duration::from_millis(20) * message, 0, 64));
        engine.drain(DEADLINE, |_| {}).unwrap();
        let tally = engine.tally();
        assert_eq!(
            (tally.deliveries, tally.broken_promises(), tally.troubles.total()),
            (10, 0, 0),
            "{between:?}"
        );
        assert!((2..=12).contains(&tally.answers), "{between:?}: {}", tally.answers);
        assert_eq!(tally.reconnects > 0, between == Between::Reconnect);
    }
}

#[test]
fn slow_readers_get_everything_in_the_end() {
    let server = Server::start(Fault::None);
    let mut engine = engine(&server);
    engine.add(Poller { reading: Reading::Slowly { bytes_per_s: 1_000 }, ..poller(&server, 0) }).unwrap();
    engine.add(Poller { reading: Reading::Never, ..poller(&server, 0) }).unwrap();
    engine.add(poller(&server, 0)).unwrap();
    (0..8).for_each(|_| engine.publish(Instant::now(), 0, 2_000));
    engine.run(Instant::now() + DEADLINE, Tally::is_complete).unwrap();
    // The prompt one has all; the slow one has not even one of them.
    assert_eq!((engine.tally().received, engine.tally().deliveries), (8, 8));
    engine.drain(Duration::from_millis(300), |_| {}).unwrap();
    let end = Instant::now() + DEADLINE;
    engine.run(end, |tally| tally.deliveries == 16).unwrap();
    assert_eq!((engine.tally().deliveries, engine.tally().broken_promises()), (16, 0));
}

#[test]
fn a_supply_keeps_its_bound_and_comes_to_its_end() {
    let server = Server::start(Fault::None);
    let mut engine = engine(&server);
    for channel in 0..3 {
        engine.add(poller(&server, channel)).unwrap();
    }
    engine.supply(Some(Supply { channels: 0..3, publications: 90, outstanding_max: 5, body_bytes: 64 }));
    let mut most = 0;
    engine
        .run(Instant::now() + DEADLINE, |tally| {
            most = most.max(tally.outstanding()).max(tally.in_flight + tally.overdue);
            tally.deliveries == 90
        })
        .unwrap();
    assert_eq!((engine.tally().deliveries, engine.tally().published), (90, 90));
    assert!((1..=5).contains(&most), "{most}");
}

#[test]
fn rounds_are_followed() {
    let server = Server::start(Fault::None);
    let options = Options { rounds: Rounds::Kept, ..Options::new(vec![server.address]) };
    let mut engine = Engine::new(Dialect::pushup(), options).unwrap();
    for _ in 0..3 {
        engine.add(poller(&server, 0)).unwrap();
    }
    (0..2).for_each(|_| engine.publish(Instant::now(), 0, 64));
    engine.drain(DEADLINE, |_| {}).unwrap();
    let rounds = engine.rounds(0);
    assert_eq!(rounds.len(), 2);
    assert!(rounds.iter().all(|round| round.receipts == 3 && round.first_us <= round.last_us));
    assert!(engine.rounds(7).is_empty());
}

#[test]
fn a_stop_is_obeyed_and_nothing_is_called_lost() {
    let server = Server::start(Fault::None);
    let stop = Arc::new(AtomicBool::new(true));
    let options = Options { stop: Some(stop), ..Options::new(vec![server.address]) };
    let mut engine = Engine::new(Dialect::pushup(), options).unwrap();
    engine.add(poller(&server, 0)).unwrap();
    engine.publish(Instant::now(), 0, 64);
    engine.drain(DEADLINE, |_| {}).unwrap();
    assert!(engine.is_stopped() && engine.tally().lost == 0);
}

#[test]
fn a_poller_is_small() {
    assert!(size_of::<Slot>() <= 128, "{}", size_of::<Slot>());
}

/// Runs both until all that was published has arrived at the companion, or for so long.
fn run_both(publishing: &mut Engine, polling: &mut Engine, limit: Duration) {
    let until = Instant::now() + limit;
    while Instant::now() < until && !(publishing.tally().is_complete() && polling.tally().is_complete()) {
        for engine in [&mut *publishing, &mut *polling] {
            engine.run(Instant::now() + Duration::from_millis(2), |_| false).unwrap();
        }
    }
}

fn publish_to_companion(publishing: &mut Engine, polling: &mut Engine, channel: u32) {
    polling.expect(channel);
    publishing.publish(Instant::now(), channel, 64);
    run_both(publishing, polling, Duration::from_secs(1));
}

#[test]
fn one_engine_publishes_and_another_polls() {
    let server = Server::start(Fault::None);
    let mut publishing = engine(&server);
    let mut polling = Engine::new(Dialect::pushup(), publishing.companion()).unwrap();
    for _ in 0..3 {
        polling.add(poller(&server, 0)).unwrap();
    }
    publish_to_companion(&mut publishing, &mut polling, 0);
    let tally = polling.tally();
    assert_eq!((tally.expected, tally.received, tally.deliveries), (3, 3, 3));
    assert_eq!((polling.audit(), polling.tally().troubles.total()), (0, 0));
    polling.expect(0);
    assert_eq!(polling.audit(), 3, "what is expected and not published is missing");
}

#[test]
fn pollers_go_on_to_other_channels() {
    let server = Server::start(Fault::None);
    let mut publishing = engine(&server);
    let mut polling = Engine::new(Dialect::pushup(), publishing.companion()).unwrap();
    for _ in 0..4 {
        polling.add(poller(&server, 0)).unwrap();
    }
    polling.lead_on(Onward { first: 1, count: 2, place: 7 });
    publish_to_companion(&mut publishing, &mut polling, 0);
    assert_eq!(polling.tally().received, 4);
    // This server's cursor is the number of one channel's messages: on another channel it leads past the
    // first, which must be noticed.
    for (channel, lost) in [(1, 2), (2, 4)] {
        publish_to_companion(&mut publishing, &mut polling, channel);
        assert_eq!(polling.audit(), lost);
        publish_to_companion(&mut publishing, &mut polling, channel);
    }
    let tally = polling.tally();
    assert_eq!((tally.received, tally.troubles.total()), (8, 0), "{tally:?}");
}

#[test]
fn what_a_poller_had_not_got_when_it_went_on_is_lost() {
    let server = Server::start(Fault::None);
    let mut publishing = engine(&server);
    let mut polling = Engine::new(Dialect::pushup(), publishing.companion()).unwrap();
    polling.add(poller(&server, 0)).unwrap();
    polling.expect(0);
    polling.lead_on(Onward { first: 1, count: 1, place: 0 });
    publish_to_companion(&mut publishing, &mut polling, 0);
    assert_eq!((polling.tally().received, polling.audit()), (1, 1));
}
