//! Listening sockets, with all that their connections inherit.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::{CLUSTER_BIND_TRIES, LISTEN_BACKLOG, USER_TIMEOUT_MS};

/// Binds a listener. Linux passes these options on to every accepted connection, which
/// saves as many system calls for each.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    listen_with(address, false)
}

/// Binds one of several listeners of the same address, among which the kernel divides those who call
/// (SO_REUSEPORT).
pub fn listen_among(address: SocketAddr) -> io::Result<TcpListener> {
    listen_with(address, true)
}

fn listen_with(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    watch_peer(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// No delay, and a peer that vanished is noticed when it owes acknowledgements for 35 s: after its poll's
/// end, since that is answered. TCP's keep-alive would notice it earlier, but polls that began together
/// would be probed together: the kernel sends the probes of one timer slot in one go, what its queues
/// do not take is lost, and after a few such losses it resets connections of living clients by the ten
/// thousand.
pub(super) fn watch_peer(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(Duration::from_millis(USER_TIMEOUT_MS)))
}

/// Where other nodes reach this one: a listener for their links and a socket for their datagrams,
/// at the same address.
pub struct ClusterSockets {
    pub(super) listener: TcpListener,
    pub(super) datagrams: UdpSocket,
}

impl ClusterSockets {
    /// The address of both.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Binds both sockets of a cluster's node. Where the system is to choose the port (0), it knows
/// what is free for TCP only, so it may have to choose again.
pub fn listen_cluster(address: SocketAddr) -> io::Result<ClusterSockets> {
    let tries = if address.port() == 0 { CLUSTER_BIND_TRIES } else { 1 };
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..tries {
        let listener = listen(address)?;
        match UdpSocket::bind(listener.local_addr()?) {
            Ok(datagrams) => {
                datagrams.set_nonblocking(true)?;
                return Ok(ClusterSockets { listener, datagrams });
            }
            Err(error) => last = error,
        }
    }
    Err(io::Error::new(last.kind(), format!("for datagrams: {last}")))
}
