//! The decoder against an oracle that reads a body as one would explain it: in one
//! piece, byte after byte, without states. Every vector is also split everywhere.

use super::*;
use Refusal::{BodyTooLarge, ChunkInvalid, HeadersTooLarge};
use proptest::prelude::*;

const MAX: usize = 1_000;

type Verdict = Result<(usize, ChunkProgress, Vec<u8>), Refusal>;

// -- The oracle ------------------------------------------------------------------

/// Why the oracle stops before the body's end.
enum Stop {
    NeedMore,
    Refused(Refusal),
}

struct Oracle<'a> {
    input: &'a [u8],
    at: usize,
    body: Vec<u8>,
    extension_bytes: usize,
    trailer_bytes: usize,
}

impl Oracle<'_> {
    fn byte(&mut self) -> Result<u8, Stop> {
        let byte = *self.input.get(self.at).ok_or(Stop::NeedMore)?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Stop> {
        require(self.byte()? == wanted)
    }

    fn body(&mut self) -> Result<(), Stop> {
        let mut announced = 0u128;
        loop {
            let size = self.size_line()?;
            if size == 0 {
                return self.trailers();
            }
            announced += u128::from(size);
            if announced > MAX as u128 {
                return Err(Stop::Refused(BodyTooLarge));
            }
            for _ in 0..size {
                let byte = self.byte()?;
                self.body.push(byte);
            }
            self.expect(b'\r')?;
            self.expect(b'\n')?;
        }
    }

    fn size_line(&mut self) -> Result<u64, Stop> {
        let mut digits = String::new();
        let mut byte = self.byte()?;
        while byte.is_ascii_hexdigit() {
            digits.push(byte as char);
            require(digits.len() <= 16)?;
            byte = self.byte()?;
        }
        require(!digits.is_empty())?;
        if byte != b'\r' {
            self.extension(byte)?;
        }
        self.expect(b'\n')?;
        Ok(u64::from_str_radix(&digits, 16).unwrap())
    }

    /// Blanks, a semicolon, and then anything up to the CR.
    fn extension(&mut self, mut byte: u8) -> Result<(), Stop> {
        let mut semicolon = false;
        while !(semicolon && byte == b'\r') {
            self.extension_bytes += 1;
            require(self.extension_bytes <= CHUNK_EXTENSION_BYTES_MAX)?;
            semicolon |= byte == b';';
            require(semicolon || byte == b' ' || byte == b'\t')?;
            require(byte == b'\t' || (byte >= b' ' && byte != 0x7f))?;
            byte = self.byte()?;
        }
        Ok(())
    }

    fn trailers(&mut self) -> Result<(), Stop> {
        loop {
            let mut byte = self.byte()?;
            if byte == b'\r' {
                return self.expect(b'\n');
            }
            let first = self.at;
            loop {
                self.trailer_bytes += 1;
                if self.trailer_bytes > TRAILER_BYTES_MAX {
                    return Err(Stop::Refused(HeadersTooLarge));
                }
                if byte == b'\r' {
                    break;
                }
                require(self.at > first || !b" \t:".contains(&byte))?;
                require(byte == b'\t' || (byte >= b' ' && byte != 0x7f))?;
                byte = self.byte()?;
            }
            self.expect(b'\n')?;
        }
    }
}

fn require(holds: bool) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::Refused(ChunkInvalid)) }
}

fn oracle(input: &[u8]) -> Verdict {
    let mut oracle = Oracle { input, at: 0, body: Vec::new(), extension_bytes: 0, trailer_bytes: 0 };
    match oracle.body() {
        Ok(()) => Ok((oracle.at, ChunkProgress::Done, oracle.body)),
        Err(Stop::NeedMore) => Ok((input.len(), ChunkProgress::NeedMore, oracle.body)),
        Err(Stop::Refused(refusal)) => Err(refusal),
    }
}

// -- The decoder, in pieces -------------------------------------------------------

/// Feeds the input cut at the given places, as a connection would.
fn decode(input: &[u8], cuts: &[usize]) -> Verdict {
    let mut decoder = ChunkDecoder::new();
    let mut out = b"before".to_vec();
    let mut start = 0;
    for &end in cuts.iter().chain([&input.len()]) {
        let (used, progress) = decoder.decode(&input[start..end], &mut out, MAX)?;
        if progress == ChunkProgress::Done {
            assert_eq!(decoder.decode(b"x", &mut out, MAX), Ok((0, ChunkProgress::Done)));
            return Ok((start + used, progress, out.split_off(6)));
        }
        assert_eq!(used, end - start);
        start = end;
    }
    assert!(out.starts_with(b"before"));
    Ok((start, ChunkProgress::NeedMore, out.split_off(6)))
}

/// Whole, byte by byte, in two pieces everywhere, and at each prefix.
fn check_splits(input: &[u8]) -> Verdict {
    let expect = oracle(input);
    let all: Vec<usize> = (0..input.len()).collect();
    assert_eq!(decode(input, &[]), expect, "{}", input.escape_ascii());
    assert_eq!(decode(input, &all), expect, "{}", input.escape_ascii());
    for at in 0..=input.len() {
        assert_eq!(decode(input, &[at]), expect, "{} at {at}", input.escape_ascii());
        assert_eq!(decode(&input[..at], &[]), oracle(&input[..at]));
    }
    expect
}

#[track_caller]
fn decodes(input: &str, body: &str) {
    let done = (input.len(), ChunkProgress::Done, body.as_bytes().to_vec());
    assert_eq!(check_splits(input.as_bytes()), Ok(done.clone()), "{input:?}");
    for follower in ["\r\n", "\n", "x", "GET / HTTP/1.1\r\n\r\n"] {
        let longer = [input, follower].concat();
        assert_eq!(check_splits(longer.as_bytes()), Ok(done.clone()), "{longer:?}");
    }
}

/// That `input` is refused at its last byte and not before.
#[track_caller]
fn refused(input: impl AsRef<[u8]>, refusal: Refusal) {
    let input = input.as_ref();
    assert_eq!(check_splits(input), Err(refusal), "{}", input.escape_ascii());
    let (_, before) = input.split_last().unwrap();
    let verdict = decode(before, &[]).map(|(_, progress, _)| progress);
    assert_eq!(verdict, Ok(ChunkProgress::NeedMore), "{}", input.escape_ascii());
}

#[test]
fn bodies_that_are_taken() {
    decodes("0\r\n\r\n", "");
    decodes("5\r\nhello\r\n0\r\n\r\n", "hello");
    decodes("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world");
    decodes("2\r\n\r\n\r\n0\r\n\r\n", "\r\n");
    decodes("A\r\n0123456789\r\na\r\nabcdefghij\r\n000\r\n\r\n", "0123456789abcdefghij");
    decodes("0000000000000003\r\nabc\r\n0000000000000000\r\n\r\n", "abc");
    decodes("3;a\r\nabc\r\n0;b=c;d=\"e\t;f\"\r\n\r\n", "abc");
    decodes("3 \t;a\r\nabc\r\n0;\r\n\r\n", "abc");
    decodes("3;caf\u{e9}\r\nabc\r\n0\r\n\r\n", "abc");
}

#[test]
fn trailers_are_dropped() {
    decodes("3\r\nabc\r\n0\r\nX: y\r\n\r\n", "abc");
    decodes("0\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "");
    for trailer in ["X: y\n", "X\0", "X: \x01", "X: \x7f", "X\rY", " X", "\tX", ":", "X: y\r\n\n"] {
        refused(first_fault("0\r\n", trailer), ChunkInvalid);
    }
    refused("0\r\n\r\r", ChunkInvalid);
    refused("0\r\n\n", ChunkInvalid);
}

/// The two together, up to the byte that the oracle refuses.
fn first_fault(before: &str, fault: &str) -> Vec<u8> {
    let input = [before, fault].concat().into_bytes();
    let end = (0..=input.len()).find(|&end| oracle(&input[..end]).is_err());
    input[..end.expect("a fault")].to_vec()
}

#[test]
fn sizes_that_are_refused() {
    for size in [
        "\r\n",
        "\n",
        "0x",
        "0X5",
        "x",
        "_",
        "1_0",
        "+5",
        "-5",
        " 5",
        "\t5",
        "5\n",
        "5\r\r",
        "5 \r\n",
        "5 x",
        "5\0",
        "5g",
        "g",
        "5.",
        "5,",
        ";",
        "\u{665}",
        "5\x0b",
        "00000000000000000",
        "fffffffffffffffff",
        "5\rx",
    ] {
        refused(first_fault("", size), ChunkInvalid);
        refused(first_fault("3\r\nabc\r\n", size), ChunkInvalid);
    }
}

#[test]
fn extensions_that_are_refused() {
    for extension in ["5;a\n", "5;a\rb", "5;\0", "5;a=\"\n\"", "5;\x7f", "5 \n", "0;a\n", "0 \r\n"] {
        refused(first_fault("", extension), ChunkInvalid);
    }
}

#[test]
fn data_that_does_not_end_where_its_size_says() {
    for chunk in ["3\r\nabcd", "3\r\nabc\n", "3\r\nabc\rx", "3\r\nabc0\r\n", "3\r\n\r\n0\n"] {
        refused(first_fault("", chunk), ChunkInvalid);
    }
}

/// Whole, and in pieces of a size that meets no line's length.
fn check_long(input: &[u8], refusal: Option<Refusal>) {
    let cuts: Vec<usize> = (0..input.len()).step_by(997).collect();
    let verdict = decode(input, &cuts);
    assert_eq!(verdict, decode(input, &[]));
    assert_eq!(verdict, oracle(input));
    assert_eq!(verdict.err(), refusal);
}

#[test]
fn extensions_are_bounded_over_the_whole_body() {
    let exact = format!("0;{}\r\n\r\n", "e".repeat(CHUNK_EXTENSION_BYTES_MAX - 1));
    check_long(exact.as_bytes(), None);
    let over = format!("0;{}", "e".repeat(CHUNK_EXTENSION_BYTES_MAX));
    check_long(over.as_bytes(), Some(ChunkInvalid));
    let many = "1;123456789\r\nx\r\n";
    check_long(many.repeat(900).as_bytes(), None);
    let each = CHUNK_EXTENSION_BYTES_MAX / 4;
    let large = format!("1;{}\r\nx\r\n", "e".repeat(each - 1));
    check_long((large.repeat(4) + "0\r\n\r\n").as_bytes(), None);
    check_long((large.repeat(4) + "0;").as_bytes(), Some(ChunkInvalid));
}

#[test]
fn trailers_are_bounded() {
    let exact = format!("0\r\nX:{}\r\n\r\n", "y".repeat(TRAILER_BYTES_MAX - 3));
    check_long(exact.as_bytes(), None);
    let over = format!("0\r\nX:{}\r\n\r\n", "y".repeat(TRAILER_BYTES_MAX - 2));
    check_long(over.as_bytes(), Some(HeadersTooLarge));
    let many = "0\r\n".to_owned() + &"X: 1234567\r\n".repeat(2_000);
    check_long(many.as_bytes(), Some(HeadersTooLarge));
}

#[test]
fn the_body_is_bounded_by_what_its_sizes_announce() {
    let exact = format!("1f4\r\n{0}\r\n1F4\r\n{0}\r\n0\r\n\r\n", "x".repeat(500));
    check_long(exact.as_bytes(), None);
    refused("3e9\r\n", BodyTooLarge);
    refused("ffffffffffffffff\r\n", BodyTooLarge);
    refused("1\r\nx\r\nffffffffffffffff\r\n", BodyTooLarge);
    refused("3e8;a\r\n".to_owned() + &"x".repeat(1_000) + "\r\n1\r\n", BodyTooLarge);
}

#[test]
fn no_memory_is_taken_for_what_has_not_come() {
    let mut out = Vec::new();
    let input = b"fffffff\r\nx";
    let verdict = ChunkDecoder::default().decode(input, &mut out, usize::MAX);
    assert_eq!(verdict, Ok((input.len(), ChunkProgress::NeedMore)));
    assert!(out.capacity() < 100);
}

// -- Arbitrary input --------------------------------------------------------------

const GOOD: [&[u8]; 4] = [
    b"0\r\n\r\n",
    b"5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n",
    b"10\r\n0123456789abcdef\r\n00\r\nX: y\r\nHost: h\r\n\r\n",
    b"1 ;x\r\na\r\n2\r\n\r\n\r\n0;y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
];

const PIECES: [&[u8]; 20] = [
    b"\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b"0",
    b"1",
    b"3",
    b"f",
    b"3e8",
    b"0x",
    b"_",
    b";",
    b" ",
    b":",
    b"\0",
    b"\xff",
    b"abc",
    b"1\r\na\r\n",
    b"0\r\n\r\n",
    b"X: y\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn pieces_in_any_order(which in prop::collection::vec(0..PIECES.len(), 0..12)) {
        let input: Vec<u8> = which.iter().flat_map(|&piece| PIECES[piece]).copied().collect();
        let _ = check_splits(&input);
    }

    #[test]
    fn mutated_bodies_in_random_pieces(
        which in 0..GOOD.len(),
        changes in prop::collection::vec((any::<usize>(), 0..3usize, 0..PIECES.len()), 0..4),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let mut input = GOOD[which].to_vec();
        for (at, removed, piece) in changes {
            let at = at % (input.len() + 1);
            let end = (at + removed).min(input.len());
            input.splice(at..end, PIECES[piece].iter().copied());
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(decode(&input, &cuts), oracle(&input));
    }

    #[test]
    fn arbitrary_bytes(input in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = check_splits(&input);
    }
}

#[test]
fn every_byte_at_every_place() {
    for good in GOOD {
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut input = good.to_vec();
                input[at] = byte;
                assert_eq!(decode(&input, &[at]), oracle(&input), "{}", input.escape_ascii());
            }
        }
    }
}
