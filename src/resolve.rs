//! Names to addresses.
//!
//! The static binary understands addresses and `localhost` only: libc's resolver loads its
//! parts at run time, which a static binary cannot do, and costs a tenth of its size. The
//! ordinary build asks libc for any other name.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses that `host:port` stands for, the preferred first; never none.
pub fn resolve(authority: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = authority.parse() {
        return Ok(vec![address]);
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "the address is not host:port");
    let (host, port) = authority.rsplit_once(':').ok_or_else(invalid)?;
    let port: u16 = port.parse().map_err(|_| invalid())?;
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    if !is_host_name(host) {
        return Err(invalid());
    }
    look_up(host, port)
}

fn is_host_name(host: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.len() <= 253 && host.bytes().all(known)
}

#[cfg(not(target_feature = "crt-static"))]
fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    use std::net::ToSocketAddrs;
    let found: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let nothing = || io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    if found.is_empty() { Err(nothing()) } else { Ok(found) }
}

#[cfg(target_feature = "crt-static")]
fn look_up(host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
    let why = format!("this static build does not look up names: give the IP address of {host}");
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
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
        for bad in ["", "host", "host:", "host:65536", ":80", "a b:80", "$(reboot):80", "a/b:80"] {
            assert_eq!(resolve(bad).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bad:?}");
        }
    }
}
