//! What oracles ask a node, at once and without the network.

use pushup::session::route::Door;

use super::{HUB, Host, TURNS_MAX};
use crate::http::{Response, request};
use crate::net::Net;

impl Host {
    /// Asks a shard.
    pub fn ask(&mut self, shard: usize, door: Door, target: &str, net: &Net) -> Response {
        self.send(shard, door, &request(&format!("GET {target}"), "", &[]), net)
    }

    /// The same with any request.
    pub fn send(&mut self, shard: usize, door: Door, request: &[u8], net: &Net) -> Response {
        let now = self.now(net);
        let id = self.shard(shard).open(door, now).expect("there is room for one more connection");
        self.shard(shard).handle_input(id, request, now);
        if self.shard(shard).output(id, now).concat().is_empty() {
            // It takes more than one shard to answer it.
            self.carry_all(net);
            self.dirty = true;
        }
        let shard = self.shard(shard);
        let mut received = Vec::new();
        for _ in 0..TURNS_MAX {
            let [first, second] = shard.output(id, now);
            let len = first.len() + second.len();
            if len == 0 {
                break;
            }
            received.extend_from_slice(first);
            received.extend_from_slice(second);
            shard.handle_all_sent(id, len);
        }
        shard.handle_flushed(id, now);
        shard.handle_gone(id);
        let response = Response::parse(&received).map(|(response, _)| response);
        response
            .unwrap_or_else(|| panic!("no answer to {}: {}", request.escape_ascii(), received.escape_ascii()))
    }

    /// The shards that say that they are ready and have not said so before.
    pub fn newly_ready(&mut self, net: &Net) -> Vec<usize> {
        let mut newly = Vec::new();
        if self.is_up() && !self.paused && !self.ready {
            for shard in HUB..self.shards.len() {
                if !self.said_ready[shard] && self.ask(shard, Door::Public, "/readyz", net).status == 200 {
                    self.said_ready[shard] = true;
                    newly.push(shard);
                }
            }
            self.ready = self.said_ready.iter().all(|said| *said);
        }
        newly
    }

    /// Memory as it counts it, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.memory_bytes()).sum()
    }
}
