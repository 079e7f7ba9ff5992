//! The system calls that the standard library does not offer, each behind a safe function.
//!
//! What it refuses to know: what the descriptors and processes are for.
//! Invariant: all unsafe code of the tools is here, and no function of it can be misused by safe code.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

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

    /// Registers a socket for as long as it is open; `token` comes back with its events.
    pub fn add(&self, socket: &impl AsRawFd, interest: u32, token: u64) -> io::Result<()> {
        let mut event = Event { events: interest, u64: token };
        let (epoll, fd) = (self.0.as_raw_fd(), socket.as_raw_fd());
        // SAFETY: `event` lives through the call, which copies it.
        ok(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) }).map(drop)
    }

    /// Fills `events` and returns how many there are; −1 waits without end.
    pub fn wait(&self, events: &mut [Event], timeout_ms: i32) -> io::Result<usize> {
        let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes at most `room` events into the slice.
        let count =
            ok(unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, timeout_ms) });
        match count {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            other => other.map(|count| count as usize),
        }
    }
}

/// Starts a connection from `source`, non-blocking, without delay of small segments.
///
/// The source address is chosen because above about 14,000 connections between one pair
/// of addresses the kernel's search for a free port makes connect() many times slower.
pub fn connect_from(source: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
    choose_port_late(&socket)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// Lets a bound socket's port be chosen at connect(), for the pair of addresses, so that
/// each destination has all ports of the source to itself.
pub fn choose_port_late(socket: &impl AsRawFd) -> io::Result<()> {
    let on = 1i32;
    let length = size_of::<i32>() as libc::socklen_t;
    let (level, name) = (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
    // SAFETY: `on` is valid for reading `length` bytes.
    ok(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), length) }).map(drop)
}

/// Lets as many connections wait to be accepted as the server does.
pub fn set_backlog(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).listen(4_096)
}

/// Takes a connection that waits, non-blocking, in one system call; none if none waits.
pub fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    let (nobody, flags) = (std::ptr::null_mut(), libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
    // SAFETY: without a place for the peer's address the kernel writes no memory.
    match ok(unsafe { libc::accept4(listener.as_raw_fd(), nobody, std::ptr::null_mut(), flags) }) {
        // SAFETY: the descriptor was just made and nobody else has it.
        Ok(fd) => Ok(Some(unsafe { TcpStream::from_raw_fd(fd) })),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes closing reset the connection, so that no port is left in TIME-WAIT for the next run.
pub fn reset_on_close(stream: &impl std::os::fd::AsFd) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO))
}

/// A port of the loopback address that nobody has at this moment. Somebody may take it
/// before its user does, who then tries another.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
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

/// Gives the calling thread a descriptor table of its own, so that the limit counts for it
/// alone. Call it before the thread opens anything; what it opens afterwards cannot be
/// used by other threads, nor closed by them.
pub fn own_descriptors() -> io::Result<()> {
    // Containers allow this call and forbid unshare(2). No descriptor has so high a number: none is closed.
    let none = libc::c_uint::MAX;
    // SAFETY: no memory is passed; the table is copied, and ours stays valid.
    let result = unsafe { libc::syscall(libc::SYS_close_range, none, none, libc::CLOSE_RANGE_UNSHARE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps the calling thread on one processor.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `cpu` is within the set, as was just checked.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` lives through the call and the size is its own.
    ok(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) }).map(drop)
}

/// How a child is told that its parent is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphaned {
    /// It is killed: it has no children of its own.
    Kill,
    /// It is asked to end and takes its own children along.
    Terminate,
}

/// Ties a child to the life of the *thread* that starts it, and to a processor if one is given.
///
/// The kernel counts a child's parent by thread: start long-lived children from a thread
/// that lives as long.
pub fn prepare_child(command: &mut Command, cpu: Option<usize>, orphaned: Orphaned) {
    let signal = match orphaned {
        Orphaned::Kill => libc::SIGKILL,
        Orphaned::Terminate => libc::SIGTERM,
    };
    let parent = std::process::id();
    // SAFETY: between fork and exec only system calls run, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            ok(libc::prctl(libc::PR_SET_PDEATHSIG, signal))?;
            // It may have ended before the child could ask to be told.
            if libc::getppid() as u32 != parent {
                return Err(io::ErrorKind::NotConnected.into());
            }
            cpu.map_or(Ok(()), pin)
        });
    }
}

/// Asks a process to end (SIGTERM).
pub fn terminate(pid: u32) -> io::Result<()> {
    signal(pid, libc::SIGTERM)
}

/// Ends a process at once (SIGKILL).
pub fn kill(pid: u32) -> io::Result<()> {
    signal(pid, libc::SIGKILL)
}

fn signal(pid: u32, signal: i32) -> io::Result<()> {
    // Zero and negative numbers would mean whole groups of processes.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: no memory is passed.
    ok(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Clock ticks per second, the unit of CPU time in `/proc/PID/stat`.
pub fn ticks_per_second() -> u64 {
    // SAFETY: no memory is passed.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100)
}

/// Bytes of a page of memory, the unit of many counts in /proc.
pub fn page_bytes() -> u64 {
    // SAFETY: no memory is passed.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4_096)
}

fn ok(result: i32) -> io::Result<i32> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
