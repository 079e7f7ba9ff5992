//! What one connection is being: subscriber or publisher. Requests become commands,
//! results become JSON.
//!
//! Pure, and without state: a [`route`] says what a path is, [`access`] who may, a
//! [`subscriber`] turns a request into a [`subscriber::Poll`], a [`publisher`] turns bodies
//! into publications, an [`answer`] is what a poll gets.

pub mod access;
pub mod answer;
pub mod peer;
pub mod publisher;
pub mod roster;
pub mod route;
pub mod subscriber;
