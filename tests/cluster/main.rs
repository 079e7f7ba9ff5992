//! Nodes in processes of their own that are one cluster, and what happens to such processes: they are
//! killed, stopped, restarted, cut off from each other, and called by strangers.
//!
//! Subscribers take another node for each poll, publishers repeat at another node what was not
//! acknowledged; `traffic` says what must be so in the end. Every process dies with its test, and every
//! wait has a deadline. Partitions are made by a relay that the nodes take for each other (`relay`), and
//! where this machine allows it by unplugging a network namespace (`unplugged`; `REQUIRE_NETNS` makes that
//! a must).

// What the tests of sockets use is more than is used here.
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;

mod ask;
mod fleet;
mod random;
mod relay;
mod traffic;

mod acknowledging;
mod deaths;
mod joining;
mod partitions;
mod standstills;
mod strangers;
mod unplugged;

use common::wait::{PATIENCE, wait_for, wait_within};
use common::{http, node, process, temp};
