//! Channels from their creation to their end.

use serde_json::json;

use crate::node::Node;
use crate::wait_for;

#[test]
fn a_channel_is_created_told_of_and_closed() {
    let node = Node::start(&[]);
    let mut admin = node.publisher();
    let created = admin.post("/channels", br#"{"name":"room","ttl":60}"#);
    assert_eq!((created.status, created.field("Location")), (201, Some("/channels/room")));
    assert!(created.json()["expires"].as_u64() > Some(0));
    let poll = node.hold("/sub/room");
    node.publish("other", "x");
    let info = admin.get("/channels/room").json();
    assert_eq!((&info["subscribers"], &info["messages"]), (&json!(1), &json!(0)));
    let page = admin.get("/channels").json();
    assert_eq!(page["channels"].as_array().unwrap().len(), 2, "{page}");

    assert_eq!(admin.delete("/channels/room").status, 204);
    let mut poll = poll;
    let closed = poll.read();
    assert_eq!((closed.status, &closed.json()["closed"]), (200, &json!(["room"])));
    assert_eq!(poll.get("/sub/room").status, 410);
    assert_eq!(admin.get("/channels/room").status, 410);
}

#[test]
fn one_of_several_channels_closing_is_told_and_the_rest_goes_on() {
    let node = Node::start(&[]);
    let mut poll = node.hold("/sub/a,b");
    assert_eq!(node.publisher().delete("/channels/b").status, 204);
    let closed = poll.read();
    assert_eq!(closed.json()["closed"], json!(["b"]));
    poll.send_get(&format!("/sub/a?after={}", closed.cursor()));
    node.wait_figure("held_polls", 1);
    node.publish("a", "still here");
    assert_eq!(poll.read().data(), ["still here"]);
}

#[test]
fn an_id_is_given_where_no_name_is() {
    let node = Node::start(&[]);
    let mut admin = node.publisher();
    let name = |answer: crate::http::Answer| answer.json()["channel"].as_str().unwrap().to_string();
    let (first, second) = (name(admin.post("/channels", b"{}")), name(admin.post("/channels", b"{}")));
    assert_ne!(first, second);
    assert!(first.parse::<u64>().is_ok(), "{first}");
    let mut poll = node.hold(&format!("/sub/{first}"));
    node.publish(&first, "hello");
    assert_eq!(poll.read().data(), ["hello"]);
}

#[test]
fn only_what_exists_may_be_used_where_that_is_the_rule() {
    let node = Node::start(&["--existing-only"]);
    let mut admin = node.publisher();
    assert_eq!(node.subscriber().get("/sub/room?timeout=0").status, 404);
    assert_eq!(admin.post("/pub/room", b"x").status, 404);
    assert_eq!(admin.post("/channels", br#"{"name":"room"}"#).status, 201);
    assert_eq!(admin.post("/pub/room", b"x").status, 201);
    assert_eq!(node.subscriber().get("/sub/room").data(), ["x"]);
}

#[test]
fn messages_and_channels_expire_by_themselves() {
    let node = Node::start(&["--message-ttl", "1", "--channel-ttl", "2"]);
    node.publish("brief", "soon gone");
    let cursor = node.read("nothing")["cursor"].as_str().unwrap().to_string();
    assert_eq!(node.read("brief")["messages"].as_array().unwrap().len(), 1);
    wait_for("the message to expire", || (node.figure("cached_messages") == 0).then_some(()));
    wait_for("the channels to expire", || (node.figure("channels") == 0).then_some(()));
    assert_eq!(node.subscriber().get(&format!("/sub/brief?timeout=0&after={cursor}")).status, 200);
}

#[test]
fn a_gap_is_told_and_so_is_another_life() {
    let node = Node::start(&["--channel-messages-max", "2"]);
    let start = node.read("a")["cursor"].as_str().unwrap().to_string();
    node.publish("a", "0");
    let early = node.subscriber().get("/sub/a").cursor();
    for text in ["1", "2", "3"] {
        node.publish("a", text);
    }
    let answer = node.subscriber().get(&format!("/sub/a?after={early}")).json();
    assert_eq!((&answer["gap"], crate::http::data_of(&answer).len()), (&json!(true), 2), "{answer}");
    let other = Node::start(&[]);
    let answer = other.subscriber().get(&format!("/sub/a?timeout=5&after={early}")).json();
    assert_eq!(answer["reset"], true, "{answer}");
    assert_ne!(start, early);
    assert_eq!(node.subscriber().get("/sub/a?after=garbage").status, 400);
}
