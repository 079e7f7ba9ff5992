//! Which of several nodes a channel is at home at: rendezvous hashing (Thaler and Ravishankar 1998).
//!
//! Every node gives every other a weight for the channel; the heaviest is its home. When a node goes,
//! only its channels find another.

use crate::ids::NodeId;
use crate::random::mix;

/// A node's weight for a channel, the same wherever it is computed: FNV-1a (64 bits) over the node's
/// name, a zero byte and the channel's name, and then the finaliser of SplitMix64.
pub fn weight(node: &NodeId, name: &str) -> u64 {
    let bytes = node.as_str().bytes().chain([0]).chain(name.bytes());
    // FNV alone leaves names that differ in their last letter close together.
    mix(bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}

/// How many of `others` come before `node` for this channel: 0 means that it is at home there.
pub fn rank<'a>(node: &NodeId, others: impl Iterator<Item = &'a NodeId>, name: &str) -> usize {
    let own = (weight(node, name), node);
    others.filter(|other| (weight(other, name), *other) > own).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    /// These stand for all versions: nodes of two versions must agree.
    #[test]
    fn weights_never_change() {
        let expected = [
            ("a", "news", 0xbe2a_bdc0_aec8_a597),
            ("b", "news", 0xf24e_6a52_f77b_4b94),
            ("10.0.0.1:7000", "c++", 0x02fb_5986_252b_f680),
        ];
        for (name, channel, expected) in expected {
            assert_eq!(weight(&node(name), channel), expected, "{name} {channel}");
        }
    }

    #[test]
    fn every_channel_has_one_node_of_each_rank_and_homes_are_even() {
        let nodes: Vec<NodeId> = (0..5).map(|n| node(&format!("node-{n}"))).collect();
        let mut homes = [0; 5];
        for channel in 0..5_000 {
            let channel = format!("channel-{channel}");
            let mut ranks: Vec<usize> = nodes
                .iter()
                .map(|own| rank(own, nodes.iter().filter(|other| *other != own), &channel))
                .collect();
            homes[ranks.iter().position(|rank| *rank == 0).unwrap()] += 1;
            ranks.sort_unstable();
            assert_eq!(ranks, [0, 1, 2, 3, 4]);
        }
        assert!(homes.iter().all(|count| (850..1_150).contains(count)), "{homes:?}");
    }
}
