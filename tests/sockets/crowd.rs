//! Thousands of polls at once: each is answered, and answered once.

use serde_json::json;

use crate::http::Client;
use crate::node::Node;
use crate::process::raise_own_descriptors;

/// How many polls are held, where descriptors allow it.
const POLLS: usize = 2_000;

/// As many polls as this process has descriptors for, beside all that the other tests open.
fn crowd_size() -> usize {
    let files = usize::try_from(raise_own_descriptors()).unwrap_or(usize::MAX);
    let size = POLLS.min(files.saturating_sub(600) / 3);
    assert!(size >= 100, "{files} descriptors are too few");
    size
}

/// Holds `count` polls, each on the channel that `channel` names for it.
fn hold_all(node: &Node, count: usize, channel: impl Fn(usize) -> String) -> Vec<Client> {
    let mut clients = Vec::with_capacity(count);
    for number in 0..count {
        let mut client = node.subscriber();
        client.send_get(&format!("/sub/{}?after=now", channel(number)));
        clients.push(client);
    }
    node.wait_figure("held_polls", count as u64);
    clients
}

#[test]
fn everyone_on_one_channel_is_answered_once() {
    let count = crowd_size();
    let node = Node::start(&[]);
    let mut clients = hold_all(&node, count, |_| "all".into());
    assert_eq!(node.publish("all", "first")["subscribers"], count);
    let mut cursors = Vec::new();
    for client in &mut clients {
        let answer = client.read();
        assert_eq!(answer.data(), ["first"]);
        cursors.push(answer.cursor());
    }
    // They all come back, on the same connections, and nothing is told twice.
    for (client, cursor) in clients.iter_mut().zip(&cursors) {
        client.assert_quiet();
        client.send_get(&format!("/sub/all?after={cursor}"));
    }
    node.wait_figure("held_polls", count as u64);
    assert_eq!(node.publish("all", "second")["subscribers"], count);
    for client in &mut clients {
        assert_eq!(client.read().data(), ["second"]);
        client.assert_quiet();
    }
    assert_eq!(node.figure("deliveries_total"), 2 * count as u64);
    assert_eq!(node.figure("held_polls"), 0);
}

#[test]
fn everyone_on_many_channels_gets_their_own_and_once() {
    const CHANNELS: usize = 500;
    let count = crowd_size();
    let node = Node::start(&[]);
    let mut clients = hold_all(&node, count, |number| format!("c{}", number % CHANNELS));
    let mut publisher = node.publisher();
    for channel in 0..CHANNELS.min(count) {
        let answer = publisher.post(&format!("/pub/c{channel}"), format!("m{channel}").as_bytes());
        let subscribers = (0..count).filter(|number| number % CHANNELS == channel).count();
        assert_eq!(answer.json()["subscribers"], subscribers);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read().data(), [json!(format!("m{}", number % CHANNELS))]);
    }
    for client in &mut clients {
        client.assert_quiet();
    }
    assert_eq!(node.figure("deliveries_total"), count as u64);
}

#[test]
fn everyone_leaving_at_once_leaves_nothing_behind() {
    let count = crowd_size() / 4;
    let node = Node::start(&[]);
    let clients = hold_all(&node, count, |number| format!("a{},b{}", number % 7, number % 5));
    let channels = node.figure("channels");
    assert_eq!(channels, 12);
    drop(clients);
    node.wait_figure("held_polls", 0);
    node.wait_figure("connections", 1);
    assert_eq!(node.publish("a0,b0", "nobody")["subscribers"], 0);
}
