//! Short requests to front-ends, none of which anybody waits for.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry};

use super::{CALL, token};
use crate::limits::{CALL_MS, HEAD_BYTES_MAX};
use crate::supervisor::Call;
use crate::time::Tick;
use crate::wire::http::response::parse_response;

struct Calling {
    call: Call,
    stream: TcpStream,
    written: usize,
    input: Vec<u8>,
    until: Tick,
}

/// All that are under way.
#[derive(Default)]
pub(super) struct Calls {
    all: BTreeMap<usize, Calling>,
    last: usize,
}

impl Calls {
    /// Begins one; what becomes of it is found out later.
    pub fn begin(
        &mut self,
        call: Call,
        resolve: fn(&str) -> io::Result<Vec<SocketAddr>>,
        registry: &Registry,
        now: Tick,
    ) -> Result<(), (Call, io::Error)> {
        self.last += 1;
        let connected = resolve(&call.address).and_then(|found| {
            let address = found.first().ok_or(ErrorKind::NotFound)?;
            let mut stream = TcpStream::connect(*address)?;
            registry.register(
                &mut stream,
                token(self.last, CALL),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => {
                let until = now.plus_ms(CALL_MS);
                self.all.insert(self.last, Calling { call, stream, written: 0, input: Vec::new(), until });
                Ok(())
            }
            Err(error) => Err((call, error)),
        }
    }

    /// The answer's status, or why there is none, once that is known.
    pub fn handle_event(&mut self, id: usize) -> Option<(Call, Result<u16, String>)> {
        let answer = self.all.get_mut(&id)?.go_on()?;
        self.all.remove(&id).map(|calling| (calling.call, answer))
    }

    /// One that has had its time.
    pub fn end_late(&mut self, now: Tick) -> Option<(Call, String)> {
        let id = *self.all.iter().find(|(_, calling)| now >= calling.until)?.0;
        self.all.remove(&id).map(|calling| (calling.call, "it does not answer".to_owned()))
    }

    pub fn next_deadline(&self) -> Option<Tick> {
        self.all.values().map(|calling| calling.until).min()
    }
}

impl Calling {
    fn go_on(&mut self) -> Option<Result<u16, String>> {
        while let Some(rest) = self.call.request.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(len) => self.written += len,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Some(Err(error.to_string())),
            }
        }
        let mut chunk = [0; 2048];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Some(Err("it closes the connection without an answer".to_owned())),
                Ok(len) => self.input.extend_from_slice(chunk.get(..len).unwrap_or_default()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Some(Err(error.to_string())),
            }
            match parse_response(&self.input) {
                Ok(Some(head)) => return Some(Ok(head.status)),
                Ok(None) if self.input.len() <= HEAD_BYTES_MAX => {}
                _ => return Some(Err("what it answers is not HTTP".to_owned())),
            }
        }
    }
}
