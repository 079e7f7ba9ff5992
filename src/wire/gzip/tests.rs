use super::*;
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use std::io::Read;

/// One piece, as a back-end makes it.
fn piece(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() * 2 + 100);
    Compress::new(Compression::new(6), false).compress_vec(plain, &mut out, FlushCompress::Sync).unwrap();
    out
}

fn stitched(plains: &[Vec<u8>]) -> Vec<u8> {
    let (mut member, mut out) = (Member::default(), Vec::new());
    for plain in plains {
        let piece = piece(plain);
        assert!(ends_at_a_byte(&piece));
        out.extend(member.add(piece, plain.len() as u32, crc32fast::hash(plain)));
    }
    out.extend(member.finish());
    out
}

/// Read by somebody else's code, which checks the length and the checksum, and that nothing follows.
fn read(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = flate2::bufread::GzDecoder::new(bytes);
    decoder.read_to_end(&mut plain).expect("a good member");
    assert!(decoder.into_inner().is_empty(), "something follows");
    plain
}

#[test]
fn a_member_without_anything_is_one() {
    assert_eq!(read(&stitched(&[])), b"");
    assert_eq!(read(&stitched(&[b"x".to_vec()])), b"x");
}

proptest! {
    #[test]
    fn what_is_stitched_is_read_as_one(plains in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..2_000), 0..8)) {
        prop_assert_eq!(read(&stitched(&plains)), plains.concat());
    }
}
