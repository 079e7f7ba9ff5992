//! Names to addresses.
//!
//! A static binary cannot carry the system's resolver, which loads its parts at run time; it
//! would add a tenth to the binary's size besides. So addresses and `localhost` are
//! understood here, and any other name is looked up by the system's own `getent`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};

/// The addresses that `host:port` stands for, the preferred first; never none.
pub fn resolve(authority: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = authority.parse() {
        return Ok(vec![address]);
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "the address is not host:port");
    let (host, port) = authority.rsplit_once(':').ok_or_else(invalid)?;
    let port: u16 = port.parse().map_err(|_| invalid())?;
    let found = if host.eq_ignore_ascii_case("localhost") {
        vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
    } else if is_host_name(host) {
        look_up(host)?
    } else {
        return Err(invalid());
    };
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

/// A name that can be handed to another program without being taken for an option.
fn is_host_name(host: &str) -> bool {
    let byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.len() <= 253 && !host.starts_with('-') && host.bytes().all(byte)
}

fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    let output = Command::new("getent").args(["ahosts", host]).stdin(Stdio::null()).output()?;
    let found = parse_ahosts(&String::from_utf8_lossy(&output.stdout));
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no host named {host}")));
    }
    Ok(found)
}

/// The first column of each line, each address once.
fn parse_ahosts(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for address in text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_need_nobody() {
        assert_eq!(resolve("127.0.0.1:80").unwrap(), ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(resolve("[::1]:80").unwrap(), ["[::1]:80".parse().unwrap()]);
        assert_eq!(resolve("LocalHost:8080").unwrap()[0], "127.0.0.1:8080".parse().unwrap());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["", "host", "host:", "host:65536", ":80", "-x:80", "a b:80", "$(reboot):80", "a/b:80"] {
            assert_eq!(resolve(bad).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bad:?}");
        }
    }

    #[test]
    fn what_getent_prints_is_understood() {
        let text = "10.0.0.7       STREAM web\n10.0.0.7       DGRAM\nfe80::1 STREAM\n\nnonsense\n";
        assert_eq!(parse_ahosts(text), ["10.0.0.7".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
    }
}
