//! A network between nodes that can be cut: a relay for each node, whose address the node tells the others.
//!
//! Whose bytes they are is known for datagrams by where they come from, for connections by the first
//! frame, in which whoever calls says who he is.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pushup::limits::HANDSHAKE_BYTES_MAX;
use pushup::wire::frame::decode;
use pushup::wire::frame::message::Hello;

use crate::PATIENCE;

/// How soon a change of rules is noticed.
const LOOK: Duration = Duration::from_millis(10);
/// A datagram, in bytes, at most.
const DATAGRAM_BYTES: usize = 2_048;

/// What becomes of what one node sends another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// It takes this long.
    Slow(Duration),
    /// It vanishes, and nobody is told. Of a connection that lives so long the rest comes later.
    Gone,
    /// Connections are cut, now and later.
    Cut,
}

/// All relays of a cluster.
pub struct Relay {
    addresses: Vec<SocketAddr>,
    targets: Vec<SocketAddr>,
    ways: Mutex<Vec<Vec<Way>>>,
    over: AtomicBool,
}

impl Relay {
    /// A relay before each of these addresses.
    pub fn start(targets: &[SocketAddr]) -> Arc<Relay> {
        let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
        for _ in targets {
            let (listener, datagrams) = bind();
            addresses.push(listener.local_addr().unwrap());
            sockets.push((listener, datagrams));
        }
        let ways = Mutex::new(vec![vec![Way::Open; targets.len()]; targets.len()]);
        let relay = Relay { addresses, targets: targets.to_vec(), ways, over: AtomicBool::new(false) };
        let relay = Arc::new(relay);
        for (to, (listener, datagrams)) in sockets.into_iter().enumerate() {
            let (one, two) = (relay.clone(), relay.clone());
            std::thread::spawn(move || one.accept(&listener, to));
            std::thread::spawn(move || two.pass_datagrams(&datagrams, to));
        }
        relay
    }

    /// Where the nodes are to be reached.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What becomes of what `from` sends `to` from now on.
    pub fn set(&self, from: usize, to: usize, way: Way) {
        self.ways.lock().unwrap()[from][to] = way;
    }

    /// The same for both directions between a node and all others.
    pub fn set_around(&self, node: usize, way: Way) {
        for other in (0..self.targets.len()).filter(|other| *other != node) {
            self.set(node, other, way);
            self.set(other, node, way);
        }
    }

    /// All is open again.
    pub fn heal(&self) {
        self.ways.lock().unwrap().iter_mut().for_each(|row| row.fill(Way::Open));
    }

    fn way(&self, from: usize, to: usize) -> Way {
        self.ways.lock().unwrap()[from][to]
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Ends its threads; they hold the relay themselves.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn accept(self: Arc<Relay>, listener: &TcpListener, to: usize) {
        listener.set_nonblocking(true).unwrap();
        while !self.is_over() {
            match listener.accept() {
                Ok((stream, _)) => {
                    let relay = self.clone();
                    std::thread::spawn(move || {
                        // Whoever fails here is cut, and calls again.
                        let _ = relay.join(stream, to);
                    });
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }

    /// One connection to a node, from one that says who it is.
    fn join(self: Arc<Relay>, mut caller: TcpStream, to: usize) -> std::io::Result<()> {
        caller.set_nonblocking(false)?;
        caller.set_read_timeout(Some(PATIENCE))?;
        let (mut first, mut chunk) = (Vec::new(), [0; 4096]);
        let from = loop {
            match caller.read(&mut chunk)? {
                0 => return Ok(()),
                len => first.extend_from_slice(&chunk[..len]),
            }
            if let Ok(Some((frame, _))) = decode(&first, HANDSHAKE_BYTES_MAX) {
                let hello = Hello::parse(frame.meta).map_err(|_| ErrorKind::InvalidData)?;
                break self.addresses.iter().position(|address| *address == hello.address);
            }
        };
        let from = from.ok_or(ErrorKind::InvalidData)?;
        let callee = TcpStream::connect_timeout(&self.targets[to], PATIENCE)?;
        let relay = self.clone();
        let (reader, writer) = (callee.try_clone()?, caller.try_clone()?);
        std::thread::spawn(move || relay.pass(reader, writer, Vec::new(), to, from));
        self.pass(caller, callee, first, from, to);
        Ok(())
    }

    /// Passes bytes on in one direction until either side ends; then both do.
    fn pass(&self, mut reader: TcpStream, mut writer: TcpStream, first: Vec<u8>, from: usize, to: usize) {
        let _ = (reader.set_read_timeout(Some(LOOK)), writer.set_nodelay(true));
        let _ = writer.set_write_timeout(Some(PATIENCE));
        let (mut pending, mut chunk) = (first, vec![0; 64 * 1024]);
        while !self.is_over() {
            match self.way(from, to) {
                Way::Cut => break,
                Way::Gone => {
                    std::thread::sleep(LOOK);
                    continue;
                }
                Way::Slow(delay) if !pending.is_empty() => std::thread::sleep(delay),
                Way::Slow(_) | Way::Open => {}
            }
            if writer.write_all(&pending).is_err() {
                break;
            }
            pending.clear();
            match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(len) => pending.extend_from_slice(&chunk[..len]),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(_) => break,
            }
        }
        let _ = (reader.shutdown(Shutdown::Both), writer.shutdown(Shutdown::Both));
    }

    fn pass_datagrams(&self, socket: &UdpSocket, to: usize) {
        socket.set_read_timeout(Some(LOOK)).unwrap();
        let (mut chunk, mut late) = ([0; DATAGRAM_BYTES], Vec::<(Instant, Vec<u8>)>::new());
        while !self.is_over() {
            if let Ok((len, source)) = socket.recv_from(&mut chunk)
                && let Some(from) = self.targets.iter().position(|target| *target == source)
            {
                match self.way(from, to) {
                    Way::Open => late.push((Instant::now(), chunk[..len].to_vec())),
                    Way::Slow(delay) => late.push((Instant::now() + delay, chunk[..len].to_vec())),
                    Way::Gone | Way::Cut => {}
                }
            }
            let now = Instant::now();
            for (_, datagram) in late.extract_if(.., |(due, _)| *due <= now) {
                // To a node that is down: lost, as datagrams may be.
                let _ = socket.send_to(&datagram, self.targets[to]);
            }
        }
    }
}

/// A port that is free for both.
fn bind() -> (TcpListener, UdpSocket) {
    for _ in 0..20 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(datagrams) = UdpSocket::bind(listener.local_addr().unwrap()) {
            return (listener, datagrams);
        }
    }
    panic!("no port was free for both TCP and UDP");
}
