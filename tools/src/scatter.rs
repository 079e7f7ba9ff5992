//! x
pub mod clouds;
pub mod data;
pub mod documents;
pub mod fetch;
pub mod handler;
