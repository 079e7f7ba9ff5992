//! Descriptors run out, and peers are slow: the others must not notice.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::http::Client;
use crate::node::{Launch, Node};
use crate::process::{cpu_ticks, exhaust_descriptors};
use crate::wait_for;

/// Whether this caller was turned away in the proper way.
fn is_turned_away(client: &mut Client) -> bool {
    let answer = client.read();
    if answer.status != 503 {
        return false;
    }
    assert!(answer.closes() && answer.field("Retry-After").is_some(), "{answer:?}");
    assert_eq!(answer.json()["status"], 503);
    client.read_end();
    true
}

/// A node of one shard, in a suite that may be run with several: what is tested is one table of
/// descriptors, and whose connection is in which is not known.
fn one_shard() -> Launch {
    Launch::new(&["--shards", "1"])
}

#[test]
fn a_full_house_makes_room_at_the_cost_of_the_idle() {
    let node = one_shard().files_max(100).start();
    // 64 descriptors are kept back: 36 connections it is.
    let mut idle: Vec<Client> = (0..36).map(|_| node.subscriber()).collect();
    for client in &mut idle {
        assert_eq!(client.get("/livez").status, 200);
    }
    let mut next = node.subscriber();
    assert!(is_turned_away(&mut next));
    // The one that was idle for longest has made room, and the others have not.
    idle[0].read_end();
    let mut guest = node.subscriber();
    assert_eq!(guest.get("/livez").status, 200);
    idle[1..].iter_mut().for_each(Client::assert_quiet);
}

#[test]
fn held_polls_are_never_evicted() {
    let node = one_shard().files_max(100).start();
    let mut held: Vec<Client> = (0..35)
        .map(|_| {
            let mut client = node.subscriber();
            client.send_get("/sub/a?after=now");
            client
        })
        .collect();
    node.wait_figure("held_polls", 35);
    // The one place left is taken and given back by each question asked of the node.
    let mut last = node.publisher();
    assert_eq!(last.get("/livez").status, 200);
    assert!(is_turned_away(&mut node.subscriber()));
    last.read_end();
    assert_eq!(node.publish("a", "hello")["subscribers"], 35);
    held.iter_mut().for_each(|client| assert_eq!(client.read().data(), ["hello"]));
}

#[test]
fn without_descriptors_callers_are_told_and_the_cpu_rests() {
    let node = one_shard().start();
    let mut held: Vec<Client> = (0..10).map(|_| node.hold("/sub/a?after=now")).collect();
    wait_for("the asking connections to go", || (node.figure("connections") == 11).then_some(()));
    let mut publisher = node.publisher();
    assert_eq!(publisher.post("/pub/other", b"x").status, 201);
    let before = node.figure("connections_refused_total");
    wait_for("that connection to go too", || {
        (publisher.get("/stats").json()["connections"] == 11).then_some(())
    });
    // Keep the publisher busy as far as eviction is concerned: it polls nothing, but has
    // begun a request.
    publisher.send("POST /pub/a HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhel");
    wait_for("the node to sleep", || {
        let ticks = cpu_ticks(node.pid());
        std::thread::sleep(Duration::from_millis(30));
        (cpu_ticks(node.pid()) == ticks).then_some(())
    });
    exhaust_descriptors(node.pid());

    // A naive accept loop spins on a listener that stays ready: here, the CPU rests while
    // there is always somebody at the door.
    let (started, ticks) = (Instant::now(), cpu_ticks(node.pid()));
    let mut turned_away = 0;
    while started.elapsed() < Duration::from_secs(1) {
        let mut callers: Vec<Client> = (0..5).map(|_| node.subscriber()).collect();
        for caller in &mut callers {
            assert!(is_turned_away(caller));
            turned_away += 1;
        }
    }
    let (used, took) = (cpu_ticks(node.pid()) - ticks, started.elapsed());
    let percent = used as f64 / took.as_secs_f64();
    assert!(percent <= 5.0, "{percent} % of a CPU for {turned_away} callers in {took:?}");
    assert!(turned_away > 0);

    // Nobody who was in has noticed, and once there is room there is room.
    publisher.send("lo");
    assert_eq!(publisher.read().json()["subscribers"], 10);
    held.iter_mut().for_each(|client| assert_eq!(client.read().data(), ["hello"]));
    drop(held);
    wait_for("room", || {
        let mut client = node.subscriber();
        (client.get("/livez").status == 200).then_some(())
    });
    assert!(node.figure("connections_refused_total") >= before + turned_away);
}

#[test]
fn without_descriptors_the_idle_make_room() {
    let node = one_shard().start();
    let mut idle: Vec<Client> = (0..10).map(|_| node.subscriber()).collect();
    // Some have asked something, others never; the last answer proves that all are in.
    for client in &mut idle[5..] {
        assert_eq!(client.get("/livez").status, 200);
    }
    exhaust_descriptors(node.pid());
    let mut guest = node.subscriber();
    assert_eq!(guest.get("/livez").status, 200);
    idle.iter_mut().for_each(Client::read_end);
    assert_eq!(node.figure("connections_evicted_total"), 10);
}

/// Each shard has 36 places. Whoever calls when one is full is handed on to the other, until both are.
#[test]
fn a_full_shard_hands_callers_on_to_the_others() {
    let node = Launch::new(&["--shards", "2"]).files_max(100).start();
    let mut publisher = node.publisher();
    assert_eq!(publisher.get("/livez").status, 200);
    // It has begun a request and is not evicted as idle.
    publisher.send("POST /pub/a HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhel");
    let callers: Vec<TcpStream> = (0..80)
        .map(|_| {
            let mut caller = TcpStream::connect(node.public).unwrap();
            // It may have been turned away by now.
            let _ = caller.write_all(b"GET /sub/a?after=now HTTP/1.1\r\nHost: t\r\n\r\n");
            caller.set_nonblocking(true).unwrap();
            caller
        })
        .collect();
    let waits = |caller: &&TcpStream| {
        caller.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    wait_for("those beyond 71 to be turned away", || {
        (callers.iter().filter(waits).count() <= 71).then_some(())
    });
    let held: Vec<&TcpStream> = callers.iter().filter(waits).collect();
    // The publisher has one of the 72 places; and when all are taken, one whose poll has not been read yet counts as
    // idle and may have to make room.
    assert!((66..=71).contains(&held.len()), "{} of 71 places are taken", held.len());
    publisher.send("lo");
    let answer = publisher.read();
    assert_eq!(answer.json()["subscribers"], held.len(), "{answer:?}");
    wait_for("the answers", || (!held.iter().any(waits)).then_some(()));
    drop(callers);
    wait_for("room", || (publisher.get("/stats").json()["connections"] == 1).then_some(()));
    let _again: Vec<Client> = (0..30).map(|_| node.hold("/sub/a?after=now")).collect();
}

#[test]
fn a_head_must_be_complete_in_time_however_busily_it_drips() {
    let node = Node::start(&[]);
    let (mut dripping, mut half) = (node.subscriber(), node.subscriber());
    half.send("GET /sub/a HTTP/1.1\r\nHo");
    let began = Instant::now();
    dripping.send("GET /sub/a HTTP/1.1\r\nX: ");
    while dripping.is_quiet() {
        assert!(began.elapsed() < Duration::from_secs(15), "a drip keeps the connection alive");
        // Once the node has had enough, the drip may find the connection reset.
        let _ = std::io::Write::write_all(&mut dripping.stream, b"x");
        std::thread::sleep(Duration::from_millis(200));
    }
    let took = began.elapsed();
    assert!(took > Duration::from_secs(9), "{took:?}");
    for client in [&mut half, &mut dripping] {
        let answer = client.read();
        assert_eq!((answer.status, answer.closes()), (408, true));
    }
    half.read_end();
    assert_eq!(node.figure("connections_too_slow_total"), 2);
}

#[test]
fn a_body_must_make_progress() {
    let node = Node::start(&[]);
    let mut stalled = node.publisher();
    stalled.send("POST /pub/a HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\nxx");
    // One that came in pieces and is done with is not judged any more.
    let mut done = node.publisher();
    done.send("POST /pub/b HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    node.figure("requests_total");
    done.send("1\r\nx\r\n0\r\n\r\n");
    assert_eq!(done.read().status, 201);
    // Slow, but not too slow: a little over 500 bytes a second.
    let mut slow = node.publisher();
    slow.send("POST /pub/a HTTP/1.1\r\nHost: t\r\nContent-Length: 24000\r\n\r\n");
    for _ in 0..24 {
        slow.send([b'x'; 1000]);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(slow.read().status, 201);
    let answer = stalled.read();
    assert_eq!((answer.status, answer.closes()), (408, true));
    stalled.read_end();
    done.assert_quiet();
    assert_eq!(node.read("a")["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(node.get_admin("/healthz").status, 200);
    assert_eq!(node.figure("connections_too_slow_total"), 1);
}
