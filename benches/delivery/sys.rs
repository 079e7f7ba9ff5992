//! The system calls that the standard library does not offer, each behind a safe function.
//!
//! What it refuses to know: what the descriptors are for. All unsafe code of the bench is here.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where the measured process runs when processes are pinned.
pub const SERVER_CPU: usize = 0;
/// Where this process runs when processes are pinned.
pub const CLIENT_CPU: usize = 1;

pub use libc::epoll_event as Event;

/// Readable, edge-triggered, registered once: how the server registers its sockets too.
pub const READABLE: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
/// Readable or writable, edge-triggered.
pub const BOTH: u32 = READABLE | libc::EPOLLOUT as u32;

/// An event before the kernel has filled it in.
pub const NO_EVENT: Event = Event { events: 0, u64: 0 };

/// An epoll instance.
pub struct Epoll(OwnedFd);

impl Epoll {
    /// A new, empty instance.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: no memory is passed.
        let fd = ok(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and nobody else has it.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Registers a socket for as long as it is open.
    pub fn add(&self, socket: &impl AsRawFd, interest: u32, token: u64) -> io::Result<()> {
        let mut event = Event { events: interest, u64: token };
        let (epoll, fd) = (self.0.as_raw_fd(), socket.as_raw_fd());
        // SAFETY: `event` lives through the call, which copies it.
        ok(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) }).map(drop)
    }

    /// Fills `events` and returns how many there are; −1 waits without end.
    pub fn wait(&self, events: &mut [Event], timeout_ms: i32) -> io::Result<usize> {
        let room = events.len() as i32;
        // SAFETY: the kernel writes at most `room` events into the slice.
        let count =
            ok(unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, timeout_ms) });
        match count {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            other => other.map(|count| count as usize),
        }
    }
}

/// Starts a connection from `source`, non-blocking.
///
/// The source address is chosen because above about 14,000 connections between one pair
/// of addresses the kernel's search for a free port makes connect() many times slower.
pub fn connect_from(source: Ipv4Addr, to: SocketAddrV4) -> io::Result<TcpStream> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no memory is passed.
    let fd = ok(unsafe { libc::socket(libc::AF_INET, kind, 0) })?;
    // SAFETY: the descriptor was just made and nobody else has it.
    let stream = unsafe { TcpStream::from_raw_fd(fd) };
    // The port is then chosen at connect(), for the pair of addresses, not for the source alone.
    set_option(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &1i32)?;
    let (from, length) = address(source, 0);
    // SAFETY: the address lives through the call and `length` is its size.
    ok(unsafe { libc::bind(fd, (&raw const from).cast(), length) })?;
    let (to, length) = address(*to.ip(), to.port());
    // SAFETY: as above.
    match ok(unsafe { libc::connect(fd, (&raw const to).cast(), length) }) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(stream),
    }
}

/// Lets as many connections wait to be accepted as the server does.
pub fn set_backlog(listener: &TcpListener) -> io::Result<()> {
    // SAFETY: no memory is passed; listening again on a listening socket sets its backlog.
    ok(unsafe { libc::listen(listener.as_raw_fd(), 4_096) }).map(drop)
}

/// Makes closing reset the connection, so that no port is left in TIME-WAIT for the next run.
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, &linger)
}

/// Raises the soft limit of open descriptors to the hard one and returns it.
pub fn raise_descriptor_limit() -> io::Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the kernel to write.
    ok(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is valid for the kernel to read.
    ok(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

/// Keeps the calling thread on one processor.
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set; CPU_SET writes inside it.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `cpu` is 0 or 1, within the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` lives through the call and the size is its own.
    ok(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) }).map(drop)
}

/// Ties a child to this process's life, and to a processor if one is given.
pub fn prepare_child(command: &mut Command, cpu: Option<usize>) {
    // SAFETY: between fork and exec only system calls run: prctl and sched_setaffinity.
    unsafe {
        command.pre_exec(move || {
            ok(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            cpu.map_or(Ok(()), pin)
        });
    }
}

/// Clock ticks per second, the unit of CPU time in /proc/<pid>/stat.
pub fn ticks_per_second() -> u64 {
    // SAFETY: no memory is passed.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as u64 }
}

/// Where `needle` begins in `hay`; the C library's vectorised search, as the client
/// shares the machine with what it measures.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    // SAFETY: both pointers are valid for the lengths given.
    let at = unsafe { libc::memmem(hay.as_ptr().cast(), hay.len(), needle.as_ptr().cast(), needle.len()) };
    (!at.is_null()).then(|| at as usize - hay.as_ptr() as usize)
}

fn address(ip: Ipv4Addr, port: u16) -> (libc::sockaddr_in, libc::socklen_t) {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
        sin_zero: [0; 8],
    };
    (address, size_of::<libc::sockaddr_in>() as libc::socklen_t)
}

fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is valid for reading `length` bytes.
    ok(unsafe { libc::setsockopt(fd, level, name, (&raw const *value).cast(), length) }).map(drop)
}

fn ok(result: i32) -> io::Result<i32> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
