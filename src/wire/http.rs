//! HTTP/1.1 on the wire (RFC 9110, RFC 9112): heads, bodies, answers.
//!
//! Stricter than the RFCs where leniency is how requests are smuggled. Invariant:
//! input split at any byte gives the same result as in one piece.

pub mod body;
pub mod date;
pub mod forwarded;
pub mod request;
pub mod response;
mod syntax;
pub mod target;
