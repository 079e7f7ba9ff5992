//! The control socket: commands of the administrator's, a line each, and their answers.
//!
//! It is a Unix socket that only its owner can open, which is all the proof that is asked for.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::fs::Mode;
use rustix::process::umask;

use crate::limits::{CONTROL_BYTES_MAX, CONTROL_IDLE_MS, CONTROLS_MAX};
use crate::time::Tick;

struct Caller {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    until: Tick,
}

/// The socket and who has connected.
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
    callers: BTreeMap<usize, Caller>,
    last: usize,
}

impl Control {
    /// Binds it. The caller knows that no other controller lives, so that a socket that is there is left over.
    pub fn bind(path: &Path, registry: &Registry, token: Token) -> io::Result<Control> {
        if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
            fs::remove_file(path)?;
        }
        // It is never there for others, not even for a moment.
        let before = umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
        let bound = UnixListener::bind(path);
        umask(before);
        let mut listener = bound?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Control { listener, path: path.to_owned(), callers: BTreeMap::new(), last: 0 })
    }

    pub fn accept(&mut self, registry: &Registry, token: impl Fn(usize) -> Token, now: Tick) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            if self.callers.len() >= CONTROLS_MAX {
                self.callers.pop_first();
            }
            self.last += 1;
            let interest = Interest::READABLE | Interest::WRITABLE;
            if registry.register(&mut stream, token(self.last), interest).is_ok() {
                let until = now.plus_ms(CONTROL_IDLE_MS);
                let caller = Caller { stream, input: Vec::new(), output: Vec::new(), until };
                self.callers.insert(self.last, caller);
            }
        }
    }

    /// Reads commands and writes answers, until the socket has no more or takes no more.
    pub fn handle_event(&mut self, id: usize, now: Tick, mut command: impl FnMut(&[u8]) -> Vec<u8>) {
        let Some(caller) = self.callers.get_mut(&id) else { return };
        caller.until = now.plus_ms(CONTROL_IDLE_MS);
        if !caller.converse(&mut command) {
            self.callers.remove(&id);
        }
    }

    pub fn end_idle(&mut self, now: Tick) {
        self.callers.retain(|_, caller| now < caller.until);
    }

    pub fn next_deadline(&self) -> Option<Tick> {
        self.callers.values().map(|caller| caller.until).min()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Caller {
    /// Tells whether it goes on.
    fn converse(&mut self, command: &mut impl FnMut(&[u8]) -> Vec<u8>) -> bool {
        let mut chunk = [0; 4096];
        loop {
            if !self.write() {
                return false;
            }
            if !self.output.is_empty() {
                // What is read next has to wait until this is taken; that it was is told.
                return true;
            }
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                self.output = command(&line);
                continue;
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(len) => self.input.extend_from_slice(chunk.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if self.input.len() > CONTROL_BYTES_MAX {
                return false;
            }
        }
    }

    fn write(&mut self) -> bool {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(len) => drop(self.output.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}
