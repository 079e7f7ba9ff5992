//! How a setting's text is read: numbers, sizes, addresses, origins, names. No
//! setting is known here; a reader tells good from bad, and the row says what is
//! allowed.

use crate::limits::CLUSTER_NAME_BYTES_MAX;
use std::net::Ipv6Addr;

/// A size in the largest unit that divides it.
pub(super) fn size_text(bytes: usize) -> String {
    for (unit, shift) in [("G", 30), ("M", 20), ("k", 10)] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A plain decimal number: no sign, no space.
pub(super) fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// A number with an optional `k`, `M` or `G`, in either case.
pub(super) fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

pub(super) fn is_cluster_name(text: &str) -> bool {
    (1..=CLUSTER_NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// `host:port` with a host that can be a name or an address; it is looked up later.
pub(super) fn address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let good = is_host(host) && number(port)? <= u64::from(u16::MAX) && !port.is_empty();
    good.then(|| text.to_string())
}

/// Whether the port of an [`address`] is 0, which lets the system choose.
pub(super) fn is_any_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte == b'0'))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => {
            let address = inside.split('%').next().unwrap_or_default();
            address.parse::<Ipv6Addr>().is_ok()
        }
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    }
}

/// An origin as browsers write it (RFC 6454 §6.2): lower case and without the
/// scheme's own port, so that it can be compared byte by byte.
pub(super) fn origin(text: &str) -> Option<String> {
    if text == "*" {
        return Some(text.into());
    }
    let lower = text.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://")?;
    let scheme_good = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
    let with_port = address(authority).is_some();
    if !scheme_good || !(with_port || is_host(authority)) {
        return None;
    }
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let bare = if with_port && !own_port.is_empty() {
        lower.strip_suffix(own_port).unwrap_or(&lower)
    } else {
        &lower
    };
    Some(bare.to_string())
}

/// A wrong value as an error shows it: one line, and not for ever.
pub(super) fn shown(text: &str) -> String {
    text.escape_debug().take(80).collect()
}

/// How many bytes must be inserted, deleted or replaced to get from `a` to `b`
/// (Levenshtein's distance, one row of the matrix at a time).
pub fn edits(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut current = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = previous[j] + usize::from(x != *y);
            current.push(replaced.min(previous[j + 1] + 1).min(current[j] + 1));
        }
        previous = current;
    }
    previous[b.len()]
}
