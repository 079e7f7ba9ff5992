//! Beginning connections: from many addresses, without delay, leaving no port in TIME-WAIT.
//!
//! What it refuses to know: who connects and why.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::sys;

/// Connections to a loopback address come from so many of its neighbours, 127.0.0.1 and up: above
/// about 14,000 between one pair of addresses the kernel's search for a free port makes
/// connect() many times slower.
pub const LOOPBACK_SOURCES: u32 = 8;
/// A reader that falls behind on purpose has a small buffer…
const SMALL_BUFFER_BYTES: usize = 4_096;
/// …and takes small segments: with loopback's large ones the server's own buffer begins at
/// megabytes, and it would not notice.
const SMALL_SEGMENT_BYTES: u32 = 536;

/// How much the kernel takes for a connection whose owner does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Buffer {
    /// What it takes for everybody.
    Usual,
    /// As little as possible.
    Small,
}

/// The address that the connection of that number comes from, if it matters.
pub(super) fn source(to: SocketAddr, from: Option<IpAddr>, number: u32) -> Option<IpAddr> {
    match to.ip() {
        _ if from.is_some() => from,
        IpAddr::V4(ip) if ip.is_loopback() => {
            Some(Ipv4Addr::new(127, 0, 0, 1 + (number % LOOPBACK_SOURCES) as u8).into())
        }
        _ => None,
    }
}

/// Begins a connection; it may be established already when this returns, or fail later.
pub(super) fn dial(to: SocketAddr, from: Option<IpAddr>, buffer: Buffer) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    // Closing resets the connection: the next run finds all ports free.
    socket.set_linger(Some(Duration::ZERO))?;
    if buffer == Buffer::Small {
        socket.set_recv_buffer_size(SMALL_BUFFER_BYTES)?;
        socket.set_tcp_mss(SMALL_SEGMENT_BYTES)?;
    }
    if let Some(from) = from {
        if from.is_ipv4() {
            sys::choose_port_late(&socket)?;
        }
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}
