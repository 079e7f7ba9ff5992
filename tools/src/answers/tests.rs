//! Each vector is fed whole, split at every byte, and followed by more.

use super::*;

/// What is compared of an answer: status, body, the wanted Etag, what becomes of the connection.
type Seen = (u16, Vec<u8>, Option<Vec<u8>>, Afterwards);

fn seen(answer: &Answer<'_>) -> Seen {
    (answer.status, answer.body.to_vec(), answer.field(0).map(<[u8]>::to_vec), answer.afterwards)
}

fn splitter() -> Splitter {
    Splitter::new(&["etag".to_owned()])
}

/// A client that takes pieces as they come, as the engine does.
fn feed(pieces: &[&[u8]]) -> Result<Vec<Seen>, Malformed> {
    let (mut splitter, mut held, mut need, mut out) = (splitter(), Vec::new(), 0, Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        while !held.is_empty() && held.len() >= need {
            match splitter.first(&held)? {
                Split::Whole(answer) => {
                    out.push(seen(&answer));
                    let taken = answer.whole_bytes;
                    held.drain(..taken);
                    need = 0;
                }
                Split::Incomplete { need: more } => {
                    assert!(more > held.len(), "a need that is already met");
                    need = more;
                }
            }
        }
    }
    if !held.is_empty() {
        out.push(seen(&splitter.at_close(&held)?));
    }
    Ok(out)
}

fn vectors() -> Vec<(&'static str, Seen)> {
    let stays = Afterwards::Stays;
    vec![
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", (200, b"hello".to_vec(), None, stays)),
        ("HTTP/1.1 200 OK\r\ncontent-length:0\r\netag: 7\r\n\r\n", (200, vec![], Some(b"7".to_vec()), stays)),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", (304, vec![], Some(b"\"a\"".to_vec()), stays)),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", (204, vec![], None, stays)),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
            (200, b"abc0123456789".to_vec(), None, stays),
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
            (201, b"x".to_vec(), None, stays),
        ),
        (
            "HTTP/1.1 503 Busy\r\nConnection: foo, Close\r\nContent-Length: 2\r\n\r\nno",
            (503, b"no".to_vec(), None, Afterwards::Closes),
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nk",
            (200, b"k".to_vec(), None, stays),
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nk", (200, b"k".to_vec(), None, Afterwards::Closes)),
    ]
}

#[test]
fn answers_are_the_same_however_they_are_cut() {
    for (text, wanted) in vectors() {
        let bytes = text.as_bytes();
        assert_eq!(feed(&[bytes]).unwrap(), vec![wanted.clone()], "{text:?}");
        for at in 1..bytes.len() {
            assert_eq!(
                feed(&[&bytes[..at], &bytes[at..]]).unwrap(),
                vec![wanted.clone()],
                "{text:?} cut at {at}"
            );
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(feed(&single).unwrap(), vec![wanted], "{text:?} byte by byte");
    }
}

#[test]
fn pipelined_answers_follow_each_other() {
    let all: Vec<_> = vectors();
    let text: String = all.iter().chain(&all).map(|(text, _)| *text).collect();
    let wanted: Vec<_> = all.iter().chain(&all).map(|(_, seen)| seen.clone()).collect();
    assert_eq!(feed(&[text.as_bytes()]).unwrap(), wanted);
    for size in [1, 2, 3, 7, 64, 100] {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        assert_eq!(feed(&pieces).unwrap(), wanted, "pieces of {size}");
    }
}

#[test]
fn an_answer_without_length_ends_with_its_connection() {
    let text = "HTTP/1.1 200 OK\r\nEtag: e\r\n\r\nall that comes";
    let wanted = (200, b"all that comes".to_vec(), Some(b"e".to_vec()), Afterwards::Closes);
    for at in 1..text.len() {
        assert_eq!(feed(&[&text.as_bytes()[..at], &text.as_bytes()[at..]]).unwrap(), vec![wanted.clone()]);
    }
}

#[test]
fn what_is_no_answer_is_refused() {
    for (text, wanted) in [
        ("SSH-2.0-OpenSSH\r\n", Malformed::Head),
        ("GET / HTTP/1.1\r\n\r\n", Malformed::Head),
        ("HTTP/1.1 101 Switching\r\n\r\n", Malformed::Head),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n", Malformed::Length),
        ("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", Malformed::Length),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", Malformed::Length),
        ("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", Malformed::TooLong),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", Malformed::Truncated),
        ("HTTP/1.1 200 OK\r\nContent-", Malformed::Truncated),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", Malformed::Chunk),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", Malformed::Chunk),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n", Malformed::TooLong),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", Malformed::Truncated),
    ] {
        assert_eq!(feed(&[text.as_bytes()]), Err(wanted), "{text:?}");
    }
}

#[test]
fn nothing_is_taken_without_end() {
    let endless_head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
    assert_eq!(feed(&[endless_head.as_bytes()]), Err(Malformed::HeadTooLong));
    let mut endless_body = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless_body.resize(ANSWER_BYTES_MAX + 1, b'x');
    assert_eq!(feed(&[&endless_body]), Err(Malformed::TooLong));
    let trailers = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}",
        "Trailer: field\r\n".repeat(HEAD_BYTES_MAX / 8)
    );
    assert_eq!(feed(&[trailers.as_bytes()]), Err(Malformed::Chunk));
}

#[test]
fn a_known_head_is_not_taken_for_a_longer_one() {
    let mut splitter = splitter();
    for text in
        ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n22"]
    {
        match splitter.first(text.as_bytes()).unwrap() {
            Split::Whole(answer) => assert_eq!(answer.whole_bytes, text.len()),
            Split::Incomplete { .. } => panic!("{text}"),
        }
    }
}
