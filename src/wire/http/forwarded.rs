//! `X-Forwarded-For`: who the client is, behind proxies that speak HTTP.
//!
//! Owns how the field is read. Does not know which peers are asked about; whom to believe is told.
//! Reads a head that was taken already, so that no other request pays for the field.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::syntax;
use crate::config::network::Network;
use crate::limits::FORWARDED_HOPS_MAX;

const NAME: &[u8] = b"x-forwarded-for";

/// The client of a request whose head these bytes are and which came from `peer`.
///
/// Each proxy adds at the end, in the last field or as one more, the address that it was asked from;
/// what stands before it may be the client's own invention. So the addresses are walked from the
/// last to the first while whoever told them is trusted. What is no address ends the walk.
pub fn client(head: &[u8], peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let mut client = peer.to_canonical();
    for told in addresses(head).take(FORWARDED_HOPS_MAX) {
        if !Network::any_contains(trusted, client) {
            break;
        }
        match parse(told) {
            Some(address) => client = address.to_canonical(),
            None => break,
        }
    }
    client
}

/// All that the fields of that name list, from the last to the first.
fn addresses(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let values = head.rsplit(|&byte| byte == b'\n').filter_map(value);
    values.flat_map(|value| value.rsplit(|&byte| byte == b',').map(syntax::trim))
}

/// The value of a line that is such a field.
fn value(line: &[u8]) -> Option<&[u8]> {
    let (name, rest) = line.split_at_checked(NAME.len())?;
    let value = rest.strip_prefix(b":")?;
    name.eq_ignore_ascii_case(NAME).then(|| value.strip_suffix(b"\r").unwrap_or(value))
}

/// An address, perhaps with a port, as some proxies write it, or in brackets.
fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let plain = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    plain.or_else(with_port).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(peer: &str, fields: &str, expected: &str) {
        let trusted: Vec<Network> =
            ["10.0.0.0/8", "::1"].iter().map(|network| network.parse().unwrap()).collect();
        let head = format!("GET /sub/x-forwarded-for:1.1.1.1 HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let found = client(head.as_bytes(), peer.parse().unwrap(), &trusted);
        assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {fields}");
    }

    #[test]
    fn the_client_is_the_last_who_is_not_trusted() {
        for (peer, fields, expected) in [
            ("10.0.0.1", "", "10.0.0.1"),
            ("192.0.2.1", "X-Forwarded-For: 192.0.2.9\r\n", "192.0.2.1"),
            ("10.0.0.1", "X-Forwarded-For: 192.0.2.9\r\n", "192.0.2.9"),
            ("::ffff:10.0.0.1", "x-forwarded-for:192.0.2.9\r\n", "192.0.2.9"),
            ("::1", "X-FORWARDED-FOR: \t 2001:db8::9 \r\n", "2001:db8::9"),
            ("10.0.0.1", "X-Forwarded-For: 1.1.1.1, 192.0.2.9, 10.0.0.2\r\n", "192.0.2.9"),
            ("10.0.0.1", "X-Forwarded-For: 1.1.1.1\r\nB: c\r\nX-Forwarded-For: 192.0.2.9\r\n", "192.0.2.9"),
            ("10.0.0.1", "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-For: 10.0.0.2\r\n", "192.0.2.9"),
            ("10.0.0.1", "X-Forwarded-For: 10.0.0.3,10.0.0.2\r\n", "10.0.0.3"),
            ("10.0.0.1", "X-Forwarded-For: 192.0.2.9:1234\r\n", "192.0.2.9"),
            ("10.0.0.1", "X-Forwarded-For: [2001:db8::9]:1234\r\n", "2001:db8::9"),
            ("10.0.0.1", "X-Forwarded-For: [2001:db8::9]\r\n", "2001:db8::9"),
            ("10.0.0.1", "X-Forwarded-For: ::ffff:192.0.2.9\r\n", "192.0.2.9"),
            ("10.0.0.1", "X-Forwarded-For-Not: 192.0.2.9\r\n", "10.0.0.1"),
        ] {
            check(peer, fields, expected);
        }
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        for text in
            ["", ",", "unknown", "192.0.2.9,", "192.0.2.9, ,", "192.0.2.9 192.0.2.8", "192.0.2", "\u{ff}"]
        {
            check("10.0.0.1", &format!("X-Forwarded-For: {text}\r\n"), "10.0.0.1");
            check("10.0.0.1", &format!("X-Forwarded-For: 192.0.2.9, {text}, 10.0.0.2\r\n"), "10.0.0.2");
        }
    }

    #[test]
    fn only_so_many_hops_are_looked_at() {
        let hops = "10.0.0.2,".repeat(FORWARDED_HOPS_MAX - 1) + "10.0.0.2";
        check("10.0.0.1", &format!("X-Forwarded-For: 192.0.2.9,{hops}\r\n"), "10.0.0.2");
        check(
            "10.0.0.1",
            &format!("X-Forwarded-For: 192.0.2.9,{}\r\n", &hops["10.0.0.2,".len()..]),
            "192.0.2.9",
        );
    }
}
