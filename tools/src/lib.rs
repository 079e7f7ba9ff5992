//! Tools that load and judge long-polling servers: what `pushup-load` and `pushup-paper` are made of.

pub mod answers;
pub mod compare;
pub mod dialect;
pub mod engine;
pub mod ledger;
pub mod machine;
pub mod marker;
pub mod paper;
pub mod process;
pub mod profiles;
pub mod progress;
pub mod random;
pub mod series;
pub mod servers;
pub mod sys;

use std::error::Error;

/// What can fail here fails with a line for a person; nothing is handled by kind.
pub type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;
