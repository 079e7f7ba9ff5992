//! The whole core against clients that are bytes and a clock that is a number.
//!
//! [`harness::World`] stands in the reactor's place and drives the shard as that does;
//! what comes out is read by a strict parser of the tests' own. At the end of a test
//! nothing may be left behind: see [`harness::World::finish`].

mod access;
mod batch;
mod channels;
mod clients;
mod drain;
mod exhaustion;
mod harness;
mod http;
mod pipelining;
mod polling;
mod publishing;
mod random;
mod response;
mod team;
mod time;

use super::*;
