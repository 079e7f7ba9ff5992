//! What a publisher is promised, and what it is told when nothing can be.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ask::{Reply, ask, publication};
use crate::fleet::{Fleet, Place};
use crate::wait_for;

fn publish(fleet: &Fleet, node: usize, acknowledge: &str, key: &str) -> Reply {
    let request = publication(&format!("/pub/a?ack={acknowledge}"), key, key);
    ask(fleet.places[node].publisher, &request, Duration::from_secs(10)).unwrap()
}

fn texts(fleet: &Fleet, node: usize) -> Vec<String> {
    fleet.contents(node, "a").into_iter().map(|(_, text)| text).collect()
}

#[test]
fn without_a_majority_a_quorum_is_refused_and_nothing_is_published() {
    let fleet = Fleet::start(3);
    assert_eq!(publish(&fleet, 0, "quorum", "first").status, 201);
    fleet.kill(1);
    assert_eq!(publish(&fleet, 0, "quorum", "second").status, 201);
    fleet.kill(2);
    let refused = |acknowledge: &str, key: &str| {
        // It may take a moment until the death is known; until then nobody acknowledges in time.
        wait_for("a refusal", || {
            let reply = publish(&fleet, 0, acknowledge, key);
            assert_eq!(reply.status, 503, "{reply:?}");
            let detail = reply.body["detail"].as_str().unwrap().to_string();
            detail.contains("Nothing was published").then_some(detail)
        })
    };
    wait_for("the deaths to be known", || {
        let members = fleet.ask_publisher(0, "/cluster").ok()?.body["members"].clone();
        members.as_array()?.iter().all(|member| member["linked"] == false).then_some(())
    });
    for (acknowledge, key) in [("quorum", "third"), ("one", "fourth")] {
        let detail = refused(acknowledge, key);
        assert_eq!(detail, "This takes 1 other node, and 0 are linked. Nothing was published.");
    }
    assert_eq!(texts(&fleet, 0), ["first", "second"]);
    assert_eq!(publish(&fleet, 0, "local", "fifth").status, 201);
    fleet.launch(1);
    fleet.wait_ready(1);
    assert_eq!(publish(&fleet, 0, "quorum", "sixth").status, 201);
    assert_eq!(texts(&fleet, 1), ["first", "second", "fifth", "sixth"]);
}

#[test]
fn what_is_acknowledged_is_there_and_a_repetition_elsewhere_is_told_the_first_id() {
    let fleet = Fleet::start(3);
    for (number, acknowledge) in ["one", "quorum"].into_iter().cycle().take(40).enumerate() {
        let (first, second) = (number % 3, (number + 1) % 3);
        let key = format!("key-{number}");
        let receipt = publish(&fleet, first, acknowledge, &key);
        assert_eq!((receipt.status, &receipt.body["duplicate"]), (201, &Value::Null), "{receipt:?}");
        let holders = fleet.all().filter(|node| texts(&fleet, *node).contains(&key)).count();
        assert!(holders >= 2, "{holders} have {key}");
        wait_for("the message", || texts(&fleet, second).contains(&key).then_some(()));
        let again = publish(&fleet, second, acknowledge, &key);
        assert_eq!((again.status, &again.body["id"]), (201, &receipt.body["id"]));
        assert_eq!(again.body["duplicate"], json!(true));
    }
    fleet.wait_linked();
    for node in fleet.all() {
        assert_eq!(texts(&fleet, node).len(), 40);
    }
}

#[test]
fn a_repetition_is_known_when_the_node_that_published_is_dead() {
    let fleet = Fleet::start(3);
    let receipt = publish(&fleet, 0, "quorum", "last-words");
    fleet.kill(0);
    for node in [1, 2] {
        let id = || (fleet.contents(node, "a").len() == 1).then_some(());
        wait_for("the last words", id);
        let again = publish(&fleet, node, "one", "last-words");
        assert_eq!((again.status, &again.body["id"]), (201, &receipt.body["id"]));
        assert_eq!(again.body["duplicate"], json!(true));
    }
}

#[test]
fn nodes_that_were_told_of_one_find_each_other() {
    let mut places: Vec<Place> = (0..4).map(|_| Place::choose()).collect();
    // All of them but the first are told of the first only.
    places.iter_mut().for_each(|place| place.peers_max = 1);
    let fleet = Fleet::start_at(places, &[]);
    for node in fleet.all() {
        let body = fleet.ask_publisher(node, "/cluster").unwrap().body;
        let names: Vec<&str> =
            body["members"].as_array().unwrap().iter().map(|one| one["node"].as_str().unwrap()).collect();
        assert_eq!(names.len(), 3, "{body}");
    }
    assert_eq!(publish(&fleet, 3, "quorum", "hello").status, 201);
}
