//! Tools that load and judge long-polling servers: what `pushup-load`, `pushup-paper` and
//! `pushup-scatter-paper` are made of.
//!
//! Nothing here knows the server's code: servers are child processes, or strangers, spoken to
//! over sockets by a [`dialect`]. Modules stand in reading order; each names only those above it.
//!
//! | row | modules | what |
//! |---|---|---|
//! | ground | `sys` `random` `series` `machine` `process` | system calls, seeded numbers, medians and tables, what the kernel says of this machine and of a process |
//! | meaning | `marker` `ledger` `answers` `dialect` | what a published message looks like, who got what exactly once, bytes to answers, how a kind of server is spoken to |
//! | driving | `engine` `servers` `progress` | the event-driven client; measured child processes and yardsticks; the live line |
//! | experiments | `profiles` `compare` `replicate` `paper` `scatter` | `pushup-load PROFILE`, `pushup-load compare`, `pushup-load replicate`, `pushup-paper`, `pushup-scatter-paper` |

pub mod machine;
pub mod process;
pub mod random;
pub mod series;
pub mod sys;

pub mod answers;
pub mod dialect;
pub mod ledger;
pub mod marker;

pub mod engine;
pub mod progress;
pub mod servers;

pub mod compare;
pub mod paper;
pub mod profiles;
pub mod replicate;
pub mod scatter;

use std::error::Error;

/// What can fail here fails with a line for a person; nothing is handled by kind.
pub type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;
