//! `GET /cluster`: what an operator is told of the cluster, as JSON.

use serde_json::{Value, json};

use crate::cluster::members::MemberState;
use crate::cluster::view::{MemberView, View};

/// The cluster as one JSON object, with a member for each other node.
pub fn write(view: &View) -> String {
    let members: Vec<Value> = view.members.iter().map(member).collect();
    let counts = view.counts;
    let whole = json!({
        "cluster": view.cluster,
        "node": view.node.as_str(),
        "origin": view.origin.to_string(),
        "address": view.address.to_string(),
        "ready": view.ready,
        "origins": view.origins,
        "log_entries": view.log_entries,
        "log_bytes": view.log_bytes,
        "members": members,
        "counts": {
            "entries": counts.entries,
            "repeated": counts.repeated,
            "early": counts.early,
            "pulls": counts.pulls,
            "snapshots": counts.snapshots,
            "links": counts.links,
            "refused": counts.refused,
        },
    });
    format!("{whole}\n")
}

fn member(view: &MemberView) -> Value {
    let state = match view.state {
        Some(MemberState::Alive) => "alive",
        Some(MemberState::Suspect) => "suspect",
        Some(MemberState::Down) => "down",
        None => "unknown",
    };
    json!({
        "node": view.node.as_str(),
        "origin": view.origin.to_string(),
        "address": view.address.to_string(),
        "state": state,
        "linked": view.linked,
        "ready": view.ready,
        "lacks": view.lacks,
        "ahead": view.ahead,
        "sent_bytes": view.sent_bytes,
        "received_bytes": view.received_bytes,
    })
}
