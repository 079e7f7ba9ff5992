//! Nodes behind real HAProxy, with the very files that `tools/haproxy` offers.
//!
//! A HAProxy that is not there is passed over with a line that says so, but not where `CI` or
//! `REQUIRE_CLIENTS` is set: there it fails (`tools/install-peers` gets it). Every process dies with its
//! test, every port is the system's choice where a node does not have to come back to it, and every wait
//! has a deadline.

// What the tests of sockets use is more than is used here.
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;

mod balancer;
mod web;

mod cluster;
mod command;
mod deaths;
mod drains;
mod files;
mod holding;
mod routing;

use common::wait::{PATIENCE, wait_for, wait_within};
use common::{http, node, process, temp};
