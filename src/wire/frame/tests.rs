use proptest::prelude::*;

use super::*;
use crate::limits::HANDSHAKE_BYTES_MAX;

fn encoded(kind: u8, flags: u8, meta: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(Kind(kind), flags, meta, body, &mut out);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_are_what_is_documented() {
    let pull = encoded(5, 0, br#"{"origin":"00000000000000ab","from":3,"to":9}"#, b"");
    assert_eq!(hex(&pull[..32]), "000000350500002db6fab5b37b226f726967696e223a22303030303030303030");
    assert_eq!(hex(&encoded(0xfe, 0x81, b"{}", b"\x00\xff")), "0000000cfe810002167758247b7d00ff");
    assert_eq!(hex(&encoded(7, 0, b"", b"")).len(), 24);
}

#[test]
fn a_frame_is_nothing_until_it_is_whole_and_then_takes_what_is_its() {
    let mut input = encoded(3, ACK_WANTED, b"{\"a\":1}", b"body");
    let len = input.len();
    input.extend(encoded(9, 0, b"", b""));
    for end in 0..len {
        assert_eq!(decode(&input[..end], len), Ok(None), "{end}");
    }
    for end in len..=input.len() {
        let frame = Frame { kind: Kind::ENTRY, flags: 1, meta: b"{\"a\":1}", body: b"body" };
        assert_eq!(decode(&input[..end], len), Ok(Some((frame, len))));
    }
    let (last, len) = decode(&input[len..], FRAME_BYTES_MAX).unwrap().unwrap();
    assert_eq!((last.kind, last.meta, last.body, len), (Kind::BYE, &b""[..], &b""[..], 12));
}

#[test]
fn a_frame_that_is_too_long_is_refused_before_it_comes() {
    let length = |bytes: usize| ((bytes - 4) as u32).to_be_bytes();
    assert_eq!(decode(&length(HANDSHAKE_BYTES_MAX), HANDSHAKE_BYTES_MAX), Ok(None));
    for bytes in [HANDSHAKE_BYTES_MAX + 1, FRAME_BYTES_MAX, u32::MAX as usize] {
        assert_eq!(decode(&length(bytes), HANDSHAKE_BYTES_MAX), Err(FrameError::TooLong));
    }
    let fits = encoded(1, 0, &[b' '; 50], &[0; 38]);
    assert!(matches!(decode(&fits, 100), Ok(Some((_, 100)))));
    assert_eq!(decode(&fits, 99), Err(FrameError::TooLong));
    assert_eq!(decode(&[0xff; 4], FRAME_BYTES_MAX), Err(FrameError::TooLong));
}

#[test]
fn a_frame_too_short_for_its_parts_is_refused() {
    for length in 0..8_u32 {
        assert_eq!(decode(&length.to_be_bytes(), 100), Err(FrameError::TooShort));
    }
    let mut frame = encoded(1, 0, b"{}", b"");
    frame[7] = 3;
    assert_eq!(decode(&frame, 100), Err(FrameError::TooShort));
}

#[test]
fn every_changed_bit_is_noticed() {
    let frame = encoded(3, 1, b"{\"a\":1}", b"body");
    for bit in 32..8 * frame.len() {
        let mut changed = frame.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let expected = if (48..64).contains(&bit) { None } else { Some(FrameError::Checksum) };
        let error = decode(&changed, 1000).expect_err("it was changed");
        assert!(expected.is_none_or(|expected| error == expected), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn frames_in_a_row_come_back_however_they_are_split(
        frames in prop::collection::vec(
            (any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..60), prop::collection::vec(any::<u8>(), 0..300)),
            0..5,
        ),
        step in 1_usize..50,
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, meta, body)| encoded(*kind, *flags, meta, body)).collect();
        let (mut got, mut buffer) = (Vec::new(), Vec::new());
        for chunk in bytes.chunks(step) {
            buffer.extend_from_slice(chunk);
            while let Some((frame, len)) = decode(&buffer, 1000).unwrap() {
                got.push((frame.kind.0, frame.flags, frame.meta.to_vec(), frame.body.to_vec()));
                buffer.drain(..len);
            }
        }
        prop_assert_eq!(got, frames);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn any_bytes_are_an_error_a_frame_or_not_whole(bytes: Vec<u8>, bytes_max in 0_usize..400) {
        if let Ok(Some((frame, len))) = decode(&bytes, bytes_max) {
            prop_assert_eq!(len, 12 + frame.meta.len() + frame.body.len());
            prop_assert!(len <= bytes_max.min(bytes.len()));
        }
    }
}
