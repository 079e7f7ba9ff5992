//! Good headers whole, prefix by prefix and followed by more; bad ones; arbitrary ones.

use proptest::prelude::*;

use super::*;

fn v4(text: &str) -> Option<IpAddr> {
    Some(text.parse::<Ipv4Addr>().unwrap().into())
}

fn v6(text: &str) -> Option<IpAddr> {
    Some(text.parse::<Ipv6Addr>().unwrap().into())
}

/// A header of version 2.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let len = (block.len() as u16).to_be_bytes();
    [SIGNATURE, &[command, family], &len, block].concat()
}

/// Addresses and ports as version 2 has them.
fn ends(source: IpAddr, destination: IpAddr, ports: [u16; 2]) -> Vec<u8> {
    let octets = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let [from, to] = ports.map(u16::to_be_bytes);
    [&octets(source)[..], &octets(destination), &from, &to].concat()
}

/// That it is a header of this client, whatever follows, and that each shorter piece may become one.
#[track_caller]
fn check_good(header: &[u8], client: Option<IpAddr>) {
    for len in 0..header.len() {
        assert_eq!(parse(&header[..len]), Ok(Parsed::Partial), "{}", header[..len].escape_ascii());
    }
    for more in [&b""[..], b"G", b"GET / HTTP/1.1\r\n\r\n", header] {
        let input = [header, more].concat();
        let expected = Ok(Parsed::Complete { len: header.len(), client });
        assert_eq!(parse(&input), expected, "{}", input.escape_ascii());
    }
}

/// That it is refused with its last byte and not before.
#[track_caller]
fn check_bad(input: &[u8], reason: NotProxy) {
    let len = input.len() - 1;
    assert_eq!(parse(&input[..len]), Ok(Parsed::Partial), "{}", input[..len].escape_ascii());
    assert_eq!(parse(input), Err(reason), "{}", input.escape_ascii());
    assert_eq!(parse(&[input, b" \r\n"].concat()), Err(reason), "{}", input.escape_ascii());
}

#[test]
fn lines() {
    for (line, client) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", v4("192.0.2.7")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", v4("255.255.255.255")),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", v4("0.0.0.0")),
        ("PROXY TCP6 2001:db8::7 2001:DB8::1 56324 443\r\n", v6("2001:db8::7")),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", v6("::ffff:192.0.2.7")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN 192.0.2.7 whatever 1 2 3 \x01\r\n", None),
    ] {
        check_good(line.as_bytes(), client);
    }
    let widest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    check_good(format!("PROXY TCP6 {widest} {widest} 65535 65535\r\n").as_bytes(), v6(widest));
    let longest = format!("PROXY UNKNOWN {widest} {widest} 65535 65535\r\n");
    assert_eq!(longest.len(), PROXY_LINE_BYTES_MAX);
    check_good(longest.as_bytes(), None);
}

#[test]
fn binaries() {
    let plain = ends(v4("192.0.2.7").unwrap(), v4("198.51.100.1").unwrap(), [56_324, 443]);
    assert_eq!(
        binary(0x21, 0x11, &plain),
        b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c\
          \xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb"
    );
    check_good(&binary(0x21, 0x11, &plain), v4("192.0.2.7"));
    let extended = [&plain[..], b"\x04\x00\x03any"].concat();
    check_good(&binary(0x21, 0x11, &extended), v4("192.0.2.7"));
    let wide = ends(v6("2001:db8::7").unwrap(), v6("::1").unwrap(), [1, 2]);
    check_good(&binary(0x21, 0x21, &wide), v6("2001:db8::7"));
    check_good(&binary(0x21, 0x21, &[&wide[..], &[0; 484]].concat()), v6("2001:db8::7"));
    // A proxy's own health check, with and without what is then to be ignored.
    check_good(&binary(0x20, 0x00, b""), None);
    check_good(&binary(0x20, 0x11, &plain), None);
    check_good(&binary(0x20, 0xff, b"any"), None);
    // No such address: unknown, Unix sockets, datagrams.
    check_good(&binary(0x21, 0x00, b""), None);
    check_good(&binary(0x21, 0x00, b"\x04\x00\x00"), None);
    check_good(&binary(0x21, 0x31, &[b'/'; 216]), None);
    check_good(&binary(0x21, 0x12, &plain), None);
}

#[test]
fn what_is_none_is_refused_at_its_first_wrong_byte() {
    use NotProxy::{Absent, Malformed, TooLong};
    for (input, reason) in [
        (&b"G"[..], Absent),
        (b"\x16", Absent),
        (b"\n", Absent),
        (b"PO", Absent),
        (b"PROXY\r", Absent),
        (b"\r\n\r\n\x01", Absent),
        (b"PROXY  ", Malformed),
        (b"PROXY TCP5", Malformed),
        (b"PROXY t", Malformed),
        (b"PROXY UNKNOWNS", Malformed),
        (b"PROXY UNKNOWN\n", Malformed),
        (b"PROXY UNKNOWN \rx", Malformed),
        (b"PROXY TCP4\r\n", Malformed),
        (b"PROXY TCP4  ", Malformed),
        (b"PROXY TCP4 1.2.3.4x", Malformed),
        (b"PROXY TCP4 :", Malformed),
        (b"PROXY TCP4 256.2.3.4 ", Malformed),
        (b"PROXY TCP4 01.2.3.4 ", Malformed),
        (b"PROXY TCP4 1.2.3 ", Malformed),
        (b"PROXY TCP6 1.2.3.4 ", Malformed),
        (b"PROXY TCP6 1::2::3 ", Malformed),
        (b"PROXY TCP6 fe80::1%", Malformed),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 ", Malformed),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 ", Malformed),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 -", Malformed),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ", Malformed),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", Malformed),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", Malformed),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", Malformed),
        (&[SIGNATURE, b"\x11"].concat(), Malformed),
        (&[SIGNATURE, b"\x22"].concat(), Malformed),
        (&[SIGNATURE, b"\x21\x13"].concat(), Malformed),
        (&[SIGNATURE, b"\x21\x41"].concat(), Malformed),
        (&[SIGNATURE, b"\x21\x11\x00\x0b"].concat(), Malformed),
        (&[SIGNATURE, b"\x21\x21\x00\x23"].concat(), Malformed),
        (&[SIGNATURE, b"\x21\x31\x00\xd7"].concat(), Malformed),
        (&[SIGNATURE, b"\x21\x11\x02\x09"].concat(), TooLong),
        (&[SIGNATURE, b"\x20\x00\xff\xff"].concat(), TooLong),
        (&[&b"PROXY UNKNOWN "[..], &[b'x'; 93]].concat(), TooLong),
    ] {
        check_bad(input, reason);
    }
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<Ipv4Addr>().prop_map(IpAddr::V4), any::<Ipv6Addr>().prop_map(IpAddr::V6)]
}

/// A good header and its client.
fn header() -> impl Strategy<Value = (Vec<u8>, Option<IpAddr>)> {
    let line = (address(), any::<u128>(), any::<[u16; 2]>()).prop_map(|(source, other, [from, to])| {
        let line = match source {
            IpAddr::V4(_) => {
                format!("PROXY TCP4 {source} {} {from} {to}\r\n", Ipv4Addr::from(other as u32))
            }
            IpAddr::V6(_) => format!("PROXY TCP6 {source} {} {from} {to}\r\n", Ipv6Addr::from(other)),
        };
        (line.into_bytes(), Some(source))
    });
    let extensions = prop::collection::vec(any::<u8>(), 0..=484);
    let binary = (address(), any::<[u16; 2]>(), any::<bool>(), extensions).prop_map(
        |(source, ports, is_local, extensions)| {
            let family = if source.is_ipv4() { 0x11 } else { 0x21 };
            let block = [ends(source, source, ports), extensions].concat();
            let client = (!is_local).then_some(source);
            (binary(if is_local { 0x20 } else { 0x21 }, family, &block), client)
        },
    );
    prop_oneof![line, binary]
}

proptest! {
    #[test]
    fn a_header_is_the_same_wherever_it_is_split((header, client) in header(), rest in any::<Vec<u8>>()) {
        let input = [&header[..], &rest].concat();
        for len in 0..header.len() {
            prop_assert_eq!(parse(&input[..len]), Ok(Parsed::Partial));
        }
        for len in header.len()..=input.len() {
            prop_assert_eq!(parse(&input[..len]), Ok(Parsed::Complete { len: header.len(), client }));
        }
    }

    /// Garbage, by itself and behind a good beginning: what was decided once stays, and what may
    /// yet become a header is short.
    #[test]
    fn a_verdict_is_final((header, _) in header(), keep in any::<prop::sample::Index>(),
                          garbage in prop::collection::vec(any::<u8>(), 0..600)) {
        let input = [&header[..keep.index(header.len())], &garbage].concat();
        for input in [&input[..], &garbage] {
            let mut decided = None;
            for len in 0..=input.len() {
                let verdict = parse(&input[..len]);
                match decided {
                    None if verdict == Ok(Parsed::Partial) => prop_assert!(len < PROXY_BYTES_MAX),
                    None => decided = Some(verdict),
                    Some(decided) => prop_assert_eq!(verdict, decided),
                }
            }
        }
    }
}
