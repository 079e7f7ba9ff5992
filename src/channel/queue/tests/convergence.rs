//! Several queues that do what each other did, in any order: all come to the same channels, and to
//! those that follow from the set of all entries, whatever came first.

mod oracle;
pub(super) mod world;

use proptest::prelude::*;

use self::world::{Op, World, op};
use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn all_nodes_come_to_the_same_channels(ops in proptest::collection::vec(op(), 1..50)) {
        let mut world = World::new();
        ops.into_iter().for_each(|op| world.play(op));
        world.deliver_all();
        world.check();
    }
}

fn play(ops: &[Op]) -> World {
    let mut world = World::new();
    ops.iter().for_each(|op| world.play(op.clone()));
    world.deliver_all();
    world.check();
    world
}
