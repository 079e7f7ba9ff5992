//! What all tests of whole nodes share: nodes as processes, clients on sockets, deadlines.

pub mod http;
pub mod node;
pub mod process;
pub mod temp;
pub mod wait;
