//! Several queues that do what each other did, in any order: all come to the same channels, and to
//! those that follow from the set of all entries, whatever came first. Some start anew, or catch up by
//! a snapshot; clients go from node to node, get nothing twice and lose nothing in silence.

mod oracle;
mod reader;
mod world;

use proptest::prelude::*;

use self::world::{Caches, World, op};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn all_nodes_come_to_the_same_channels(ops in proptest::collection::vec(op(), 1..60)) {
        let mut world = World::new(Caches::Everything);
        ops.into_iter().for_each(|op| world.play(op));
        world.deliver_all();
        world.check();
    }

    #[test]
    fn small_caches_lose_nothing_in_silence(ops in proptest::collection::vec(op(), 1..60)) {
        let mut world = World::new(Caches::Little);
        ops.into_iter().for_each(|op| world.play(op));
        world.deliver_all();
        world.check();
    }
}
