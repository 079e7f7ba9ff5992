//! Several shards that are one node. What a client sees at any of them is what it would see at the only
//! one: the same bytes, wherever that can be said.

mod bounds;
mod channels;
mod crew;
mod cursors;
mod ends;
mod publishing;
mod random;
mod requests;

use super::*;
