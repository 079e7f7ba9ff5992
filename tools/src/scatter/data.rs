//! The data side: documents in SQLite, served by one process over HTTP to whoever computes.
//!
//! `GET /documents?from=2003-07-01&to=2003-07-31&limit=1968` streams them as lines, in the order of their
//! times, at most `limit` of each day. They are stored as the text that they are sent as, indexed by time.
//!
//! It refuses to know what is done with them. Invariant: an answer that cannot be finished is broken off,
//! never ended as if it were whole.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params};

use super::documents::{self, Day, FIRST, PER_DAY};
use crate::Fallible;

/// Bytes of documents in one chunk of an answer, about.
const CHUNK_BYTES: usize = 64 * 1_024;
/// Bytes of a chunk's first line, for which room is left.
const CHUNK_LINE_BYTES: usize = 8;
/// Bytes of a request's head at most.
const HEAD_BYTES_MAX: u64 = 16 * 1_024;
/// Days of one request at most.
const DAYS_MAX: i64 = 4_000;

/// Writes the documents of so many days into a new file.
pub fn make(path: &Path, seed: u64, days: u32) -> Fallible<()> {
    let mut store = Connection::open(path)?;
    // The file lives no longer than the run.
    store.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
         CREATE TABLE documents (time INTEGER PRIMARY KEY, text TEXT NOT NULL);",
    )?;
    let filling = store.transaction()?;
    {
        let mut insert = filling.prepare("INSERT INTO documents VALUES (?1, ?2)")?;
        let mut text = String::new();
        for day in (0..days).map(|day| Day(FIRST.0 + i64::from(day))) {
            for number in 0..PER_DAY {
                text.clear();
                documents::write(seed, day, number, &mut text);
                insert.execute(params![documents::time_ms(day, number), text])?;
            }
        }
    }
    filling.commit()?;
    Ok(())
}

/// Serves a file of documents until the process is ended; the ready-file tells where.
pub fn serve(path: &Path, ready: &Path) -> Fallible<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    open(path)?;
    let (address, new) = (listener.local_addr()?, ready.with_extension("new"));
    fs::write(&new, format!("{{\"listen\":[\"{address}\"]}}"))?;
    fs::rename(&new, ready)?;
    for caller in listener.incoming() {
        let (caller, path) = (caller?, PathBuf::from(path));
        // A caller that goes away ends its thread.
        std::thread::spawn(move || {
            if let Err(error) = converse(caller, &path) {
                eprintln!("a caller was given up: {error}");
            }
        });
    }
    Ok(())
}

fn open(path: &Path) -> Fallible<Connection> {
    let store = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // Pages are read where the kernel has them.
    store.query_row("PRAGMA mmap_size = 4294967296", [], |_| Ok(()))?;
    Ok(store)
}

/// Answers one request after the other.
fn converse(mut caller: TcpStream, path: &Path) -> Fallible<()> {
    caller.set_nodelay(true)?;
    let store = open(path)?;
    let mut input = BufReader::new(caller.try_clone()?);
    loop {
        let Some(target) = request(&mut input)? else { return Ok(()) };
        let Some(wanted) = Wanted::parse(&target) else {
            caller.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        caller.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        stream(&store, &wanted, &mut caller)?;
    }
}

/// The target of the next request; none if there is no other.
fn request(input: &mut BufReader<TcpStream>) -> Fallible<Option<String>> {
    let mut head = std::io::Read::take(input, HEAD_BYTES_MAX);
    let mut first = String::new();
    if head.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut line = String::new();
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err("a request without end".into());
        }
        if line == "\r\n" {
            let target = first.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
            return Ok(Some(target.unwrap_or_default().to_owned()));
        }
    }
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    from: Day,
    to: Day,
    limit: u32,
}

impl Wanted {
    fn parse(target: &str) -> Option<Wanted> {
        let query = target.strip_prefix("/documents?")?;
        let value = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.split_once('=').filter(|(found, _)| *found == name))
                .map(|pair| pair.1)
        };
        let limit = value("limit").map_or(Some(PER_DAY), |text| text.parse().ok())?;
        let wanted = Wanted { from: Day::parse(value("from")?)?, to: Day::parse(value("to")?)?, limit };
        let days = wanted.to.0 - wanted.from.0;
        (0..DAYS_MAX).contains(&days).then_some(wanted)
    }
}

fn stream(store: &Connection, wanted: &Wanted, caller: &mut TcpStream) -> Fallible<()> {
    let mut select = store
        .prepare_cached("SELECT text FROM documents WHERE time >= ?1 AND time < ?2 ORDER BY time LIMIT ?3")?;
    let mut chunk = Vec::with_capacity(2 * CHUNK_BYTES);
    chunk.resize(CHUNK_LINE_BYTES, b'0');
    for day in wanted.from.0..=wanted.to.0 {
        let (begin, end) = (Day(day).begin_ms(), Day(day + 1).begin_ms());
        let mut rows = select.query(params![begin, end, wanted.limit])?;
        while let Some(row) = rows.next()? {
            chunk.extend_from_slice(row.get_ref(0)?.as_bytes()?);
            chunk.push(b'\n');
            if chunk.len() >= CHUNK_BYTES {
                send(&mut chunk, caller)?;
            }
        }
    }
    send(&mut chunk, caller)?;
    Ok(caller.write_all(b"0\r\n\r\n")?)
}

/// Sends what has been gathered behind the room for the first line, which is filled in.
fn send(chunk: &mut Vec<u8>, caller: &mut TcpStream) -> Fallible<()> {
    let length = chunk.len() - CHUNK_LINE_BYTES;
    if length > 0 {
        chunk.extend_from_slice(b"\r\n");
        let line = format!("{length:06x}\r\n");
        chunk[..CHUNK_LINE_BYTES].copy_from_slice(line.as_bytes());
        caller.write_all(chunk)?;
        chunk.truncate(CHUNK_LINE_BYTES);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_understood() {
        let parse = Wanted::parse;
        let (from, to) = (FIRST, Day(FIRST.0 + 30));
        let month = "/documents?from=2003-07-01&to=2003-07-31";
        assert_eq!(parse(month), Some(Wanted { from, to, limit: PER_DAY }));
        assert_eq!(parse(&format!("{month}&limit=9")), Some(Wanted { from, to, limit: 9 }));
        for wrong in [
            "",
            "/documents",
            "/documents?from=2003-07-01",
            "/documents?from=2003-07-02&to=2003-07-01",
            "/documents?from=2003-07-01&to=2903-07-01",
            "/documents?from=2003-07-01&to=2003-07-01&limit=-1",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
