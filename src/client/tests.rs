//! The client against a scripted server: each step of a script is one request that is
//! expected and the bytes that answer it. Pauses are counted, not slept.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::http::Server;
use super::*;

mod publishing;
mod subscribing;

/// How long the server waits for the client before a test fails.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the server does with the next request.
enum Step {
    /// Answers with these bytes and keeps the connection.
    Answer(String),
    /// Answers with these bytes and closes.
    AnswerAndClose(String),
    /// Closes without an answer.
    Close,
}

/// A request as the server saw it.
#[derive(Debug)]
struct Seen {
    line: String,
    fields: Vec<String>,
    body: String,
    connection: usize,
}

impl Seen {
    fn field(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        let mut values = self.fields.iter().filter_map(|field| field.strip_prefix(&prefix));
        let value = values.next().unwrap_or("");
        assert!(values.next().is_none(), "{name} twice");
        value
    }
}

fn answer(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn ok(body: &str) -> Step {
    Step::Answer(answer(200, body))
}

/// A server that plays a script in a thread of its own.
struct Script {
    server: Server,
    address: SocketAddr,
    thread: JoinHandle<Vec<Seen>>,
}

impl Script {
    fn start(listener: TcpListener, steps: Vec<Step>) -> Script {
        let address = listener.local_addr().unwrap();
        Script {
            server: address.to_string().parse().unwrap(),
            address,
            thread: std::thread::spawn(move || play(&listener, steps)),
        }
    }

    /// What it saw. A connection without a request tells it that the client has ended,
    /// so that steps which were never asked for fail a test rather than hang it.
    fn seen(self) -> Vec<Seen> {
        drop(TcpStream::connect(self.address));
        self.thread.join().unwrap()
    }
}

fn server(steps: Vec<Step>) -> Script {
    Script::start(TcpListener::bind("127.0.0.1:0").unwrap(), steps)
}

fn play(listener: &TcpListener, steps: Vec<Step>) -> Vec<Seen> {
    let (mut seen, mut connections) = (Vec::new(), 0);
    let mut steps = steps.into_iter().peekable();
    while steps.peek().is_some() {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut reader = BufReader::new(stream);
        connections += 1;
        if reader.fill_buf().unwrap().is_empty() {
            return seen;
        }
        while let Some(step) = steps.peek() {
            let Some(request) = read_request(&mut reader, connections) else {
                break;
            };
            seen.push(request);
            let keep = match step {
                Step::Answer(bytes) => write(reader.get_mut(), bytes),
                Step::AnswerAndClose(bytes) => !write(reader.get_mut(), bytes),
                Step::Close => false,
            };
            steps.next();
            if !keep {
                break;
            }
        }
    }
    seen
}

fn write(stream: &mut TcpStream, bytes: &str) -> bool {
    stream.write_all(bytes.as_bytes()).is_ok()
}

fn read_request(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        match line.trim_end_matches("\r\n") {
            "" => break,
            line => lines.push(line.to_string()),
        }
    }
    let mut seen = Seen { line: lines.remove(0), fields: lines, body: String::new(), connection };
    let length = seen.field("Content-Length").parse().unwrap_or(0);
    reader.take(length).read_to_string(&mut seen.body).unwrap();
    Some(seen)
}

/// What a client left behind.
struct Outcome {
    result: Result<(), StartError>,
    out: String,
    notices: String,
    pauses_ms: Vec<u128>,
}

impl Outcome {
    fn error(&self) -> String {
        self.result.as_ref().unwrap_err().to_string()
    }
}

fn with_terminal(client: impl FnOnce(&mut Terminal<'_>) -> Result<(), StartError>) -> Outcome {
    let (mut out, mut notices) = (Vec::new(), Vec::new());
    let pauses = RefCell::new(Vec::new());
    let result = client(&mut Terminal {
        out: &mut out,
        notices: &mut notices,
        pause: &|pause| {
            assert!(pauses.borrow().len() < 100, "no end of it");
            pauses.borrow_mut().push(pause.as_millis());
        },
    });
    Outcome {
        result,
        out: String::from_utf8(out).unwrap(),
        notices: String::from_utf8(notices).unwrap(),
        pauses_ms: pauses.into_inner(),
    }
}

/// An address where nobody listens, and nobody else can as long as the socket lives.
fn nobody() -> (Server, socket2::Socket) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (address.to_string().parse().unwrap(), socket)
}

/// A file with this text, in a directory of the test's own.
fn file(name: &str, text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("pushup-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn pauses_grow_and_are_bounded() {
    let mut backoff = Backoff::new();
    let ms: Vec<u128> = (0..9).map(|_| backoff.next(None).as_millis()).collect();
    assert_eq!(ms, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    assert_eq!(Backoff::new().next(Some(2)).as_secs(), 2);
    assert_eq!(Backoff::new().next(Some(u64::MAX)).as_secs(), CLIENT_RETRY_AFTER_S_MAX);
}

#[test]
fn temporary_troubles() {
    for status in [408, 429, 500, 502, 503, 504, 599] {
        assert!(is_temporary(status), "{status}");
    }
    for status in [200, 302, 400, 401, 403, 404, 410, 413, 501, 505, 600] {
        assert!(!is_temporary(status), "{status}");
    }
}

#[test]
fn servers_addresses() {
    for (text, expect) in [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("localhost:1", "http://localhost:1"),
        ("http://example.com", "http://example.com:80"),
        ("http://example.com/push/", "http://example.com:80/push"),
        ("[::1]:80", "http://[::1]:80"),
        ("http://[::1]", "http://[::1]:80"),
    ] {
        assert_eq!(text.parse::<Server>().unwrap().to_string(), expect);
    }
    for bad in ["", "http://", "https://a", "ftp://a", "a b", "u@h:1", "a/?x", "a\r\nb"] {
        assert!(bad.parse::<Server>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_token_is_one_word_from_a_small_file() {
    let read = |text: &str| {
        let path = file("token", text);
        let result = authorization(Some(&path));
        std::fs::remove_file(path).unwrap();
        result
    };
    assert_eq!(read(" abc\n").unwrap().unwrap(), "Bearer abc");
    for bad in ["", "\n", "a b", "a\nb", "é", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
        assert_eq!(read(bad).unwrap_err().exit_code(), 78, "{bad:?}");
    }
    let error = read(&"\n".repeat(FILE_BYTES_MAX as usize + 1)).unwrap_err();
    assert!(error.to_string().ends_with("it has more than 65536 bytes"), "{error}");
    assert!(authorization(Some(Path::new("/nowhere/at/all"))).is_err());
    assert_eq!(authorization(None).unwrap(), None);
}
