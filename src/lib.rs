#![doc = include_str!("ARCHITECTURE.md")]

// The modules in reading order; imports run downward only, from a later row to an
// earlier one. `tests/tidy.rs` holds that.

// 1: ground.
pub mod error;
pub mod ids;
pub mod limits;
pub mod mailbox;
pub mod planted;
pub mod random;
pub mod sorted;
pub mod sync;
pub mod time;

// 2: what several of the rows below need and none owns.
pub mod config;
pub mod cursor;
pub mod metrics;

// 3: wire: bytes to meaning and back.
pub mod wire;

// 4: domain.
pub mod channel;
pub mod cluster;
pub mod scatter;
pub mod supervisor;

// 5: what one connection is being.
pub mod session;

// 6: all that one core owns.
pub mod shard;

// 7: sockets.
pub mod reactor;

// 8: threads, signals, the terminal's client and its commands.
pub mod client;
pub mod command;
pub mod handler;
pub mod node;
pub mod resolve;
