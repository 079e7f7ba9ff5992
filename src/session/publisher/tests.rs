mod batch;
mod single;

use super::*;
use crate::wire::http::request::{Parsed, parse};

/// What `look` sees of a POST with this query and these fields.
fn with_head<T>(query: &str, fields: &str, look: impl FnOnce(&RequestHead) -> T) -> T {
    let bytes = format!("POST /pub/a?{query} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let Ok(Parsed::Complete { head, .. }) = parse(bytes.as_bytes()) else { panic!("bad test: {bytes}") };
    look(&head)
}

fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

fn reason<T: std::fmt::Debug>(result: Result<T, Refused>) -> Refusal {
    result.expect_err("refused").reason
}
