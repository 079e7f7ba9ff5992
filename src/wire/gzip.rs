//! A gzip member (RFC 1952) that is put together from blocks which others have compressed.
//!
//! Each piece is raw deflate (RFC 1951) that ends at a byte boundary after a sync flush, is not the last block and
//! refers to nothing that will not stand before it. They stand behind one another as they are; the checksum of the whole is combined from
//! theirs. Nothing is compressed here.

use crc32fast::Hasher;

/// Header: deflate, no name, no time, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty last block with fixed codes.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];
/// What a sync flush ends in: an empty stored block's length and its complement.
const SYNC: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Whether a piece can stand before another.
pub fn ends_at_a_byte(piece: &[u8]) -> bool {
    piece.ends_with(&SYNC)
}

/// A member that is being written.
#[derive(Clone, Debug, Default)]
pub struct Member {
    has_begun: bool,
    checksum: Hasher,
    plain_len: u64,
}

impl Member {
    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            out.extend_from_slice(&HEADER);
        }
    }

    /// The member's next bytes: a piece, of which this was the plain length and its checksum.
    pub fn add(&mut self, piece: Vec<u8>, plain_len: u32, crc32: u32) -> Vec<u8> {
        self.checksum.combine(&Hasher::new_with_initial_len(crc32, u64::from(plain_len)));
        self.plain_len += u64::from(plain_len);
        if self.has_begun {
            return piece;
        }
        let mut out = Vec::with_capacity(HEADER.len() + piece.len());
        self.begin(&mut out);
        out.extend_from_slice(&piece);
        out
    }

    /// The member's last bytes.
    pub fn finish(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.begin(&mut out);
        out.extend_from_slice(&LAST_BLOCK);
        out.extend_from_slice(&self.checksum.finalize().to_le_bytes());
        // Modulo 2³², as the format has it.
        out.extend_from_slice(&(self.plain_len as u32).to_le_bytes());
        out
    }
}

#[cfg(test)]
mod tests;
