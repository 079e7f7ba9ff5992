//! The server as a process, and real clients on real sockets.
//!
//! What can be proven without a socket is proven beside the code; here stands what only the
//! whole program shows: processes, signals, descriptors, memory, other people's clients.
//! Every node listens on ports of its own choosing on loopback and dies with its test;
//! every wait has a deadline.

#[path = "../common/mod.rs"]
mod common;

mod channels;
mod cli;
mod clients;
mod cluster;
mod config;
mod crowd;
mod exhaustion;
mod map;
mod memory;
mod polling;
mod proxies;
mod publishing;
mod scatter;
mod signals;
mod supervise;

use common::wait::{PATIENCE, wait_for, wait_within};
use common::{http, node, process, temp};
