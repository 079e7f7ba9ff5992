//! Nodes behind real HAProxy, with the very files that `tools/haproxy` offers.
//!
//! A HAProxy that is not there is passed over with a line that says so, but not where `CI` or
//! `REQUIRE_CLIENTS` is set: there it fails (`tools/install-peers` gets it). Every process dies with its
//! test, every port is the system's choice where a node does not have to come back to it, and every wait
//! has a deadline.

// What the tests of sockets use is more than is used here.
#[allow(dead_code)]
#[path = "../sockets/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../sockets/node.rs"]
mod node;
#[allow(dead_code)]
#[path = "../sockets/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../sockets/temp.rs"]
mod temp;
#[path = "../sockets/wait.rs"]
mod wait;

mod balancer;
mod web;

mod cluster;
mod command;
mod deaths;
mod drains;
mod files;
mod holding;
mod routing;

use wait::{PATIENCE, wait_for, wait_within};
