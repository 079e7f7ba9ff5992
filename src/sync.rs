//! What threads share with each other: the standard library's. `tests/mailbox.rs` compiles what uses it
//! with another of the same shape, which tries every interleaving.

pub use std::sync::{Mutex, MutexGuard};

/// Here a test runs once, there in every interleaving.
#[cfg(test)]
pub fn model(test: impl Fn() + Sync + Send + 'static) {
    test();
}
