//! A web server that says who it is and what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::PATIENCE;

/// Serves until the test's process ends; returns where.
pub fn start_web() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever fails here is missed by the client, which says so.
            let _ = answer(stream);
        }
    });
    address
}

/// One request without a body that matters, one answer: `web: GET /path`.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let asked = request.rsplit_once(' ').map_or("", |(asked, _)| asked);
    let mut forwarded = false;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        forwarded |= line == "x-forwarded-for: 127.0.0.1";
    }
    let body = format!("web: {asked}{}", if forwarded { "" } else { " from nobody" });
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}
