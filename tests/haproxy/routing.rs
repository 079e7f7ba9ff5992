//! Who gets what: polls are spread over the nodes, and what is not a poll goes elsewhere.

use serde_json::json;

use crate::balancer::{Balancer, Mode};
use crate::node::Node;
use crate::web::start_web;

#[test]
fn tcp_mode_gives_every_node_the_same_number_of_polls() {
    let nodes: Vec<Node> = (0..3).map(|_| Node::start(&[])).collect();
    let Some(balancer) = Balancer::before(Mode::Tcp, &nodes) else { return };
    let mut polls = balancer.hold("/sub/news", 30, &nodes);
    for node in &nodes {
        assert_eq!(node.figure("held_polls"), 10);
        assert_eq!(node.publish("news", "hello")["subscribers"], 10);
    }
    for poll in &mut polls {
        assert_eq!(poll.read().data(), ["hello"]);
    }
}

#[test]
fn http_mode_gives_every_node_a_share_of_the_polls() {
    let nodes: Vec<Node> = (0..3).map(|_| Node::start(&[])).collect();
    let Some(balancer) = Balancer::before(Mode::Http, &nodes) else { return };
    let _polls = balancer.hold("/sub/news", 30, &nodes);
    for node in &nodes {
        let share = node.figure("held_polls");
        assert!((8..=12).contains(&share), "{share} of 30");
    }
}

#[test]
fn http_mode_sends_polls_to_pushup_and_everything_else_to_the_web_server() {
    let nodes = [Node::start(&[])];
    let Some(balancer) = Balancer::start(Mode::Http, &[nodes[0].public], Some(start_web())) else { return };
    let mut client = balancer.client();
    let answer = client.get("/sub/news?timeout=0");
    assert_eq!((answer.status, &answer.json()["messages"]), (200, &json!([])));
    // PushUp's own refusal, for what is its own.
    assert_eq!(client.post("/sub/news", b"").status, 405);
    assert_eq!(client.get("/sub/").status, 404);
    // Each may stand for something on the web server; none leads to a node.
    for path in [
        "/",
        "/sub",
        "/subscribe",
        "/pub/news",
        "/pub",
        "/channels",
        "/channels/news",
        "/stats",
        "/metrics",
        "/healthz",
        "/readyz",
    ] {
        assert_eq!(balancer.client().get(path).text(), format!("web: GET {path}"));
        assert_eq!(balancer.client().post(path, b"").text(), format!("web: POST {path}"));
    }
    assert_eq!(nodes[0].figure("publications_total"), 0);
}

#[test]
fn tcp_mode_leads_to_the_public_listener_only() {
    let nodes = [Node::start(&[])];
    let Some(balancer) = Balancer::before(Mode::Tcp, &nodes) else { return };
    let mut client = balancer.client();
    for path in ["/pub/news", "/channels", "/stats", "/metrics"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    assert_eq!(balancer.client().post("/pub/news", b"text").status, 404);
    assert_eq!(nodes[0].figure("publications_total"), 0);
}
