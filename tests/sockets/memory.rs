//! Whatever peers do or leave undone, memory has a bound and the node stays up.

use std::time::Duration;

use crate::http::Client;
use crate::node::Node;
use crate::process::resident_kib;
use crate::{wait_for, wait_within};

/// Publishes messages of `bytes` bytes each.
fn fill(node: &Node, channel: &str, count: usize, bytes: usize) {
    let mut publisher = node.publisher();
    let body = vec![b'x'; bytes];
    for _ in 0..count {
        assert_eq!(publisher.post(&format!("/pub/{channel}"), &body).status, 201);
    }
}

/// How much more memory, in KiB, a node has come to use at most while `busy` is true.
fn growth_kib(node: &Node, before_kib: u64, mut busy: impl FnMut() -> bool) -> u64 {
    let mut most = 0;
    wait_within(Duration::from_secs(60), "the readers to be cut", || {
        most = most.max(resident_kib(node.pid()).saturating_sub(before_kib));
        (!busy()).then_some(())
    });
    most
}

#[test]
fn a_reader_that_does_not_read_is_cut() {
    let node = Node::start(&[]);
    fill(&node, "big", 4, 900_000);
    let before = resident_kib(node.pid());
    let mut readers: Vec<Client> = (0..30).map(|_| Client::connect_narrow(node.public)).collect();
    for reader in &mut readers {
        // Far more is asked for than the kernel takes off our hands.
        reader.send("GET /sub/big HTTP/1.1\r\nHost: t\r\n\r\n".repeat(8));
    }
    let most = growth_kib(&node, before, || node.figure("connections_too_slow_total") < 30);
    assert!(most < 60 * 1024, "{most} KiB for 30 readers of answers of 1 MB");
    for mut reader in readers {
        // All that it gets is what the kernel had taken already.
        assert!(reader.read_until_cut() < 8 * 900_000);
    }
    wait_for("their connections to go", || (node.figure("connections") == 1).then_some(()));
    assert!(node.figure("memory_bytes") < 5_000_000);
}

#[test]
fn readers_that_do_not_read_stay_below_the_cap_together() {
    let node = Node::start(&["--memory-bytes-max", "24M", "--cache-bytes-max", "8M"]);
    fill(&node, "big", 4, 900_000);
    let before = resident_kib(node.pid());
    // Connected first, so that none is turned away at the door.
    let mut readers: Vec<Client> = (0..150).map(|_| Client::connect_narrow(node.public)).collect();
    for reader in &mut readers {
        reader.send("GET /sub/big HTTP/1.1\r\nHost: t\r\n\r\n".repeat(8));
    }
    let stats = |name: &str| {
        let mut client = node.publisher();
        let answer = client.get("/stats");
        (answer.status == 200).then(|| answer.json()[name].as_u64().unwrap())
    };
    let most = growth_kib(&node, before, || stats("connections").is_none_or(|open| open > 1));
    assert!(most < 40 * 1024, "{most} KiB with a cap of 24 MiB");
    node.publish("still", "here");
}

#[test]
fn a_pipeliner_that_does_not_read_is_not_run_ahead_of() {
    const REQUESTS: usize = 1_000;
    let node = Node::start(&[]);
    fill(&node, "page", 1, 100_000);
    let before = resident_kib(node.pid());
    let mut client = Client::connect_narrow(node.public).patient(Duration::from_secs(60));
    let mut writer = client.stream.try_clone().unwrap();
    let requests = "GET /sub/page HTTP/1.1\r\nHost: t\r\n\r\n".repeat(REQUESTS);
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut writer, requests.as_bytes()));
    // It stops when the kernel takes no more; a hundred answers would be 10 MB.
    let mut last = 0;
    wait_for("the node to come to a stop", || {
        let sent = node.figure("sent_bytes_total");
        let stopped = sent > 100_000 && sent - last < 10_000;
        last = sent;
        std::thread::sleep(Duration::from_millis(100));
        stopped.then_some(())
    });
    let grown = resident_kib(node.pid()).saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB");
    assert!(node.figure("memory_bytes") < 1_500_000);
    // Nothing was lost: as it reads, all the answers come.
    for number in 0..REQUESTS {
        assert_eq!(client.read().body.len(), client_len(&node), "answer {number}");
    }
    sending.join().unwrap().unwrap();
    client.assert_quiet();
    let grown = resident_kib(node.pid()).saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB");
}

/// Shards of the nodes that are tested.
fn shards() -> u64 {
    std::env::var("PUSHUP_SHARDS").map_or(1, |shards| shards.parse().unwrap())
}

/// The length of the answer that the pipeliner asks for, learnt once.
fn client_len(node: &Node) -> usize {
    static LEN: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *LEN.get_or_init(|| node.subscriber().get("/sub/page").body.len())
}

#[test]
fn a_flood_of_publications_pushes_out_the_old_and_nothing_else() {
    // Of several shards each needs room for an answer.
    let memory = format!("{}M", 2 + 2 * shards());
    let node =
        Node::start(&["--memory-bytes-max", &memory, "--cache-bytes-max", "2M", "--channel-bytes-max", "2M"]);
    node.publish("flood", "first");
    let early = node.subscriber().get("/sub/flood").cursor();
    let mut held = node.hold("/sub/quiet");
    let before = resident_kib(node.pid());
    let mut publisher = node.publisher();
    let body = vec![b'x'; 100_000];
    for number in 0..400 {
        let channel = if number % 2 == 0 { "flood" } else { "other" };
        let answer = publisher.post(&format!("/pub/{channel}"), &body);
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    assert!(node.figure("cached_bytes") <= 2 << 20);
    assert!(node.figure("memory_bytes") <= (2 + 2 * shards()) << 20);
    let grown = resident_kib(node.pid()).saturating_sub(before);
    // Each thread's part of the heap has holes of its own.
    assert!(grown < 7 * 1024 + 1024 * shards(), "{grown} KiB");
    let answer = node.subscriber().get(&format!("/sub/flood?after={early}")).json();
    assert_eq!(answer["gap"], true);
    node.publish("quiet", "still here");
    assert_eq!(held.read().data(), ["still here"]);
}

#[test]
fn a_flood_of_channels_is_refused_at_its_bound() {
    let node = Node::start(&["--channels-max", "100"]);
    let mut publisher = node.publisher();
    let mut statuses = (0..150).map(|number| publisher.post(&format!("/pub/c{number}"), b"x").status);
    assert!(statuses.by_ref().take(100).all(|status| status == 201));
    assert!(statuses.all(|status| status == 503));
    assert_eq!(node.figure("channels"), 100);
    assert_eq!(node.publish("c1", "old ones go on")["subscribers"], 0);
}

#[test]
fn bodies_that_never_end_are_counted_against_the_cap() {
    let node =
        Node::start(&["--memory-bytes-max", "8M", "--cache-bytes-max", "4M", "--body-bytes-max", "2M"]);
    let before = resident_kib(node.pid());
    let mut senders: Vec<Client> = (0..20).map(|_| node.publisher()).collect();
    for sender in &mut senders {
        sender.send("POST /pub/a HTTP/1.1\r\nHost: t\r\nContent-Length: 2000000\r\n\r\n");
    }
    let chunk = vec![b'x'; 1_500_000];
    for sender in &mut senders {
        // Some are refused while they send; that they notice.
        let _ = std::io::Write::write_all(&mut sender.stream, &chunk);
    }
    let grown = resident_kib(node.pid()).saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB");
    drop(senders);
    // Who is turned away at the door in the meantime may see a reset instead of its 503.
    wait_for("the node to take publications again", || {
        let request = "POST /pub/a HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
        let mut stream = node.publisher().stream;
        let mut answer = String::new();
        std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
        std::io::Read::read_to_string(&mut stream, &mut answer).ok()?;
        answer.starts_with("HTTP/1.1 201 ").then_some(())
    });
}
