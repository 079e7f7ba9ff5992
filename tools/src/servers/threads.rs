//! The paper's multithreaded long polling (§4): an ordinary blocking web server, a thread per connection.
//!
//! A poll that finds nothing blocks its thread on the channel's condition variable. The API is as much of
//! PushUp's as the evaluation needs (`GET /sub/CHANNEL?after=&timeout=`, `POST /pub/CHANNEL`), with heads and
//! bodies of the same length, so that traffic compares methods and not formats. A poll with `timeout=0` is
//! answered at once: this is the web server that client pulling asks.
//!
//! What it refuses to know: who measures it. Invariant: there are never more threads for connections than
//! [`Options::threads_max`]; a connection beyond that is answered 503, one for which the system has no
//! thread is closed.

mod conversation;
pub mod date;
mod history;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::Fallible;
use history::Channel;

/// Connections that may wait to be accepted; as many as PushUp lets wait.
const BACKLOG: i32 = 4_096;
/// Channels that one life of the server may have.
const CHANNELS_MAX: usize = 100_000;
/// The stack of a thread if the system sets no limit: what the C library takes then.
const STACK_BYTES_UNLIMITED: usize = 2 << 20;

/// How the server is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to write the bound addresses to, once ready: JSON with `listen` and `publish_listen`.
    pub ready_file: PathBuf,
    /// Threads for connections at once.
    pub threads_max: usize,
    /// Address space of each thread's stack, in bytes; none: the system's default.
    pub stack_bytes: Option<usize>,
}

/// What all threads share.
struct Server {
    channels: Mutex<HashMap<String, Arc<Channel>>>,
    /// Part of every message's id: which life of which server made it.
    life: u64,
    threads: AtomicUsize,
    threads_max: usize,
    stack_bytes: usize,
}

/// Serves until the process is ended.
pub fn serve(options: &Options) -> Fallible<()> {
    let server = Arc::new(Server::new(options));
    let (subscribe, publish) = (listen()?, listen()?);
    write_ready(options, subscribe.local_addr()?, publish.local_addr()?)?;
    let other = Arc::clone(&server);
    thread::Builder::new().spawn(move || other.accept(&publish))?;
    server.accept(&subscribe);
    Ok(())
}

/// Starts a server inside this process, for tests; its threads end with the process.
#[cfg(test)]
fn start(threads_max: usize) -> SocketAddr {
    let options = Options { ready_file: PathBuf::new(), threads_max, stack_bytes: None };
    let server = Arc::new(Server::new(&options));
    let listener = listen().expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || server.accept(&listener));
    address
}

impl Server {
    fn new(options: &Options) -> Server {
        Server {
            channels: Mutex::default(),
            life: (u64::from(std::process::id()) << 32) | (date::now_ms() & 0xffff_ffff),
            threads: AtomicUsize::new(0),
            threads_max: options.threads_max,
            stack_bytes: options.stack_bytes.unwrap_or_else(default_stack_bytes),
        }
    }

    /// Gives every connection a thread; a failure concerns the one connection.
    fn accept(self: &Arc<Server>, listener: &TcpListener) {
        let mut failures = 0u64;
        loop {
            let outcome = listener.accept().and_then(|(stream, _)| self.take(stream));
            if let Err(error) = outcome {
                failures += 1;
                // Powers of two: a full server must not spend its time on telling so.
                if failures.is_power_of_two() {
                    eprintln!("connection refused ({failures} so far): {error}");
                }
            }
        }
    }

    fn take(self: &Arc<Server>, mut stream: TcpStream) -> io::Result<()> {
        if self.threads.fetch_add(1, Ordering::Relaxed) >= self.threads_max {
            self.threads.fetch_sub(1, Ordering::Relaxed);
            let _ = stream.write_all(conversation::FULL.as_bytes());
            return Err(io::Error::other(format!("{} threads are the limit", self.threads_max)));
        }
        let server = Arc::clone(self);
        let serve = move || {
            conversation::hold(&server, stream);
            server.threads.fetch_sub(1, Ordering::Relaxed);
        };
        let begun = thread::Builder::new().stack_size(self.stack_bytes).spawn(serve);
        begun.map(drop).inspect_err(|_| {
            self.threads.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// The channel of a name, made by its first use; none if there are too many.
    fn channel(&self, name: &str) -> Option<Arc<Channel>> {
        let mut channels = self.channels.lock().ok()?;
        if let Some(channel) = channels.get(name) {
            return Some(Arc::clone(channel));
        }
        if channels.len() >= CHANNELS_MAX {
            return None;
        }
        let channel = Arc::new(Channel::new(name));
        channels.insert(name.to_owned(), Arc::clone(&channel));
        Some(channel)
    }
}

fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn write_ready(options: &Options, subscribe: SocketAddr, publish: SocketAddr) -> Fallible<()> {
    let text = json!({
        "pid": std::process::id(), "listen": [subscribe.to_string()], "publish_listen": [publish.to_string()],
    });
    // Renamed into place: who waits for the file never reads half of it.
    let partial = options.ready_file.with_extension("partial");
    fs::write(&partial, format!("{text}\n"))?;
    Ok(fs::rename(partial, &options.ready_file)?)
}

/// What the system gives a thread that asks for nothing: the limit of stacks, 8 MiB on most.
pub fn default_stack_bytes() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    soft_stack_limit(&limits).unwrap_or(STACK_BYTES_UNLIMITED)
}

/// The soft limit of stacks in the text of /proc/self/limits; none if unlimited.
fn soft_stack_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max stack size"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests;
