//! Input that nobody meant: it never panics and obeys the prefix rule.

use super::*;
use proptest::prelude::*;

const GOOD: [&[u8]; 6] = [
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /v1/a?b=c HTTP/1.1\r\nHost: h:80\r\nContent-Length: 12\r\nContent-Type: a/b\r\n\r\n",
    b"\r\nPUT /%41 HTTP/1.1\r\nhost: [::1]:8\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: h\r\nOrigin: http://a\r\nAccess-Control-Request-Method: GET\r\n\r\n",
    b"HEAD http://h/a HTTP/1.0\r\nConnection: keep-alive, x\r\nPrefer: wait=3\r\n\r\n",
    b"DELETE /a HTTP/1.1\r\nHost: a.b\r\nConnection: close\r\nTTL: 3\r\nAck: one\r\nAccept: */*\r\n\r\n",
];

const PIECES: [&[u8]; 34] = [
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b": ",
    b",",
    b"\0",
    b"\xff",
    b"GET",
    b"POST",
    b"OPTIONS",
    b" / ",
    b" /a?b ",
    b" * ",
    b" http://h ",
    b"HTTP/1.1\r\n",
    b"HTTP/1.0\r\n",
    b"HTTP/2.0",
    b"Host: h\r\n",
    b"Host:",
    b"Content-Length: 5\r\n",
    b"Content-Length:",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding:",
    b"chunked",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"X: y\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n",
    b"0",
];

/// One change: replace, insert, delete or double a piece somewhere.
fn mutate(input: &mut Vec<u8>, kind: u8, at: usize, piece: &[u8]) {
    let at = at % (input.len() + 1);
    let end = (at + piece.len()).min(input.len());
    match kind % 4 {
        0 => drop(input.splice(at..end, piece.iter().copied())),
        1 => drop(input.splice(at..at, piece.iter().copied())),
        2 => drop(input.drain(at..end)),
        _ => {
            let doubled = input[at..end].to_vec();
            input.splice(at..at, doubled);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn arbitrary_bytes(input in prop::collection::vec(any::<u8>(), 0..120)) {
        check_invariants(&input);
    }

    #[test]
    fn pieces_in_any_order(which in prop::collection::vec(0..PIECES.len(), 0..16)) {
        let input: Vec<u8> = which.iter().flat_map(|&piece| PIECES[piece]).copied().collect();
        check_invariants(&input);
    }

    #[test]
    fn mutated_requests(
        which in 0..GOOD.len(),
        changes in prop::collection::vec((any::<u8>(), any::<usize>(), 0..PIECES.len()), 0..4),
        byte in any::<u8>(),
        at in any::<usize>(),
    ) {
        let mut input = GOOD[which].to_vec();
        mutate(&mut input, 0, at, &[byte]);
        for (kind, at, piece) in changes {
            mutate(&mut input, kind, at, PIECES[piece]);
        }
        check_invariants(&input);
    }
}

#[test]
fn every_byte_at_every_place() {
    for good in GOOD {
        head(good);
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut input = good.to_vec();
                input[at] = byte;
                check_against_oracle(&input);
                let ends = [at, at + 1, good.len() - 1, good.len()];
                check_prefixes(&input, ends.into_iter());
            }
        }
    }
}
