//! What a cluster of many nodes costs: bytes on links and in datagrams, idle and under load.

use crate::agenda::Ms;
use crate::net::Traffic;
use crate::plan::{Make, Plan};
use crate::world::World;

/// How long all nodes have for finding each other, in milliseconds.
const GATHER_MS: Ms = 20_000;
/// For how long they are watched while nobody publishes, in milliseconds.
const IDLE_MS: Ms = 10_000;
/// What is published under load.
const PUBLICATIONS: u64 = 1_000;
/// The load takes no longer than this, in milliseconds.
const LOAD_MS_MAX: Ms = 120_000;

/// Prints bytes for each node and second, and for each publication and node.
pub fn figure(nodes: usize, make: Make) -> bool {
    let mut world = World::new(Plan::calm(nodes, PUBLICATIONS, GATHER_MS + IDLE_MS, make), false);
    world.run_for(GATHER_MS);
    let ready = world.hosts.iter().filter(|host| host.ready).count();
    println!("sim: {ready} of {nodes} nodes are ready, {} links stand", world.scene.net.links().len());
    let idle = watch(&mut world, |world| world.run_for(IDLE_MS));
    let begun = world.scene.now();
    let load = watch(&mut world, |world| {
        while !world.is_published() && world.scene.now() < begun + LOAD_MS_MAX {
            world.run_for(100);
        }
        world.run_for(1_000);
    });
    let seconds = (world.scene.now() - begun) as f64 / 1000.0;
    show("idle", idle, nodes, IDLE_MS as f64 / 1000.0);
    show("load", load, nodes, seconds);
    let each = |bytes: u64| bytes as f64 / PUBLICATIONS as f64 / nodes as f64;
    println!(
        "sim: {PUBLICATIONS} publications, {:.0} a second: {:.0} bytes on links and {:.1} in datagrams for each of them and each node",
        PUBLICATIONS as f64 / seconds,
        each(load.link_bytes),
        each(load.datagram_bytes)
    );
    ready == nodes && world.is_published()
}

/// What goes over the network meanwhile.
fn watch(world: &mut World, meanwhile: impl FnOnce(&mut World)) -> Traffic {
    world.scene.net.traffic = Traffic::default();
    meanwhile(world);
    world.scene.net.traffic
}

fn show(what: &str, traffic: Traffic, nodes: usize, seconds: f64) {
    let each = |count: u64| count as f64 / nodes as f64 / seconds;
    println!(
        "sim: {what}: {:.0} bytes a second on links, {:.1} datagrams of {:.0} bytes a second, for each node",
        each(traffic.link_bytes),
        each(traffic.datagrams),
        each(traffic.datagram_bytes)
    );
}
