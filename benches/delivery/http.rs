//! As much HTTP as the client needs: requests as bytes, answers by their Content-Length.
//!
//! The client shares the machine with the server, so a head that was seen before is
//! recognised by comparing bytes and not parsed again.

use crate::sys::find;

/// Bytes of a published message.
pub const BODY_BYTES: usize = 64;
/// Header fields of a small client.
const SMALL_FIELDS: &str = "User-Agent: pushup-bench\r\nAccept: application/json\r\n";
/// Header fields such as a browser sends with a fetch to another origin.
const BROWSER_FIELDS: &str = "\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n\
Accept: application/json\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8,fr;q=0.7\r\n\
Cache-Control: no-cache\r\n\
Origin: https://www.example.com\r\n\
Referer: https://www.example.com/some/page/with/a/path\r\n\
Sec-Ch-Ua: \"Chromium\";v=\"142\", \"Google Chrome\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n\
Sec-Ch-Ua-Mobile: ?0\r\n\
Sec-Ch-Ua-Platform: \"Linux\"\r\n\
Sec-Fetch-Dest: empty\r\n\
Sec-Fetch-Mode: cors\r\n\
Sec-Fetch-Site: cross-site\r\n";

/// A channel's name; all names have the same length, so that all requests do.
pub fn channel(number: usize) -> String {
    format!("c{number:05}")
}

/// The message of a round for a channel: it names both, so that a stray one is known.
pub fn message(round: u32, channel: usize) -> [u8; BODY_BYTES] {
    let mut bytes = *b"round 00000000 channel 00000 and so many bytes up to sixty-four.";
    digits(&mut bytes[6..14], round as usize);
    digits(&mut bytes[23..28], channel);
    bytes
}

/// The round that a message of [`message`] was made for.
pub fn round_of(message: &[u8]) -> Option<u32> {
    std::str::from_utf8(message.strip_prefix(b"round ")?.get(..8)?).ok()?.parse().ok()
}

fn digits(place: &mut [u8], mut number: usize) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The request that publishes `message`.
pub fn publication(channel_number: usize, message: &[u8; BODY_BYTES]) -> Vec<u8> {
    let mut request = format!(
        "POST /pub/{} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {BODY_BYTES}\r\n\r\n",
        channel(channel_number)
    )
    .into_bytes();
    request.extend_from_slice(message);
    request
}

/// Builds polls into one buffer.
pub struct PollRequest {
    buffer: Vec<u8>,
    fields: Vec<u8>,
}

impl PollRequest {
    /// Polls with a browser's header fields or with few.
    pub fn new(browser: bool) -> PollRequest {
        let fields = if browser { BROWSER_FIELDS } else { SMALL_FIELDS };
        let fields = format!(" HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes();
        PollRequest { buffer: Vec::with_capacity(4096), fields }
    }

    /// A poll on a channel, from a cursor if there is one.
    pub fn build(&mut self, channel: usize, cursor: &[u8]) -> &[u8] {
        self.buffer.clear();
        self.buffer.extend_from_slice(b"GET /sub/c00000");
        let end = self.buffer.len();
        digits(&mut self.buffer[end - 5..], channel);
        if !cursor.is_empty() {
            self.buffer.extend_from_slice(b"?after=");
            self.buffer.extend_from_slice(cursor);
        }
        self.buffer.extend_from_slice(&self.fields);
        &self.buffer
    }
}

/// One whole answer at the beginning of some bytes.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The answer, head and body.
    pub whole: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// Splits a stream of answers, remembering the last head.
#[derive(Default)]
pub struct Splitter {
    head: Vec<u8>,
    status: u16,
    body_bytes: usize,
}

impl Splitter {
    /// The first answer in `bytes`, if it is complete; an error if it is none.
    pub fn first<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Answer<'a>>, String> {
        if self.head.is_empty() || !bytes.starts_with(&self.head) {
            let Some(end) = find(bytes, b"\r\n\r\n") else {
                return Ok(None);
            };
            self.learn(&bytes[..end + 4])?;
        }
        let end = self.head.len() + self.body_bytes;
        Ok(bytes.get(..end).map(|whole| Answer {
            status: self.status,
            whole,
            body: &whole[self.head.len()..],
        }))
    }

    fn learn(&mut self, head: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(head).map_err(|_| "an answer's head is not text")?;
        let mut lines = text.split("\r\n");
        self.status = lines.next().and_then(status).ok_or_else(|| format!("not an answer: {text:?}"))?;
        self.body_bytes = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .ok_or_else(|| format!("an answer without a usable Content-Length: {text:?}"))?;
        self.head.clear();
        self.head.extend_from_slice(head);
        Ok(())
    }
}

fn status(line: &str) -> Option<u16> {
    line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// The value of a string member, wherever it stands, and what follows its closing quote.
/// `key` is written as in `"data":"`. Good for values without escapes, as ours are.
pub fn member<'a>(json: &'a [u8], key: &str) -> Option<(&'a [u8], &'a [u8])> {
    let value = &json[find(json, key.as_bytes())? + key.len()..];
    let end = value.iter().position(|&byte| byte == b'"')?;
    Some((&value[..end], &value[end + 1..]))
}
