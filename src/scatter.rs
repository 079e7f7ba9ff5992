//! A heavy request, split into sub-tasks that back-ends run, merged into one held response
//! (Maatouki et al., "A horizontally-scalable multiprocessing platform", §III–V).
//!
//! Pure: frames, the fates of links, requests and `now` in; frames and pieces of responses out. In reading order:
//! [`params`] what a request may say, [`split`] how it is divided, [`usecase`] the two and how they run, `scheduler`
//! which back-end is given a sub-task, `job` one request and the merge of its streams (the paper's commander),
//! [`frontend`] all requests and all back-ends of a node, [`backend`] the other end: sub-tasks and their handlers.
//!
//! Invariant: what a client is sent of an ordered request depends on the use case and the request alone, however many
//! back-ends there are, wherever they are, and however often one dies.

pub mod backend;
pub mod frontend;
mod job;
pub mod params;
pub mod scheduler;
pub mod split;
pub mod usecase;

pub use crate::wire::frame::link::Identity;

#[cfg(test)]
mod tests;
