//! What happened, for a person and for comparing two runs.

/// The trace of a run.
#[derive(Debug)]
pub struct Trace {
    /// Lines are kept.
    pub on: bool,
    pub lines: Vec<String>,
    /// Of everything that happened (FNV-1a).
    pub hash: u64,
}

impl Trace {
    pub fn new(on: bool) -> Trace {
        Trace { on, lines: Vec::new(), hash: 0xcbf2_9ce4_8422_2325 }
    }

    pub fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    pub fn mix_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(bytes.len() as u64);
    }
}
