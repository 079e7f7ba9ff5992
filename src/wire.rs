//! Bytes to meaning and back. Knows no channels, no sockets and no clock.
//!
//! Everything here is pure: slices come in, values or bytes go out, and whatever a
//! peer sends leads to a value or a refusal, never to a panic.

pub mod frame;
pub mod gzip;
pub mod http;
pub mod jwt;
pub mod proxy;
