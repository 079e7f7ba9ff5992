//! Answers that many connections share: serialised once, counted, freed with the last.

use crate::limits::{JOINED_BYTES_MAX, SPARE_BUFFERS_MAX, SPARE_BYTES_MAX};
use slab::Slab;

/// One answer: a body, and the heads in which it goes out.
///
/// The heads differ by what a request asked for (connection, CORS origin, preference);
/// each variant is written once and kept with the answer. A short body stands behind its
/// head in one piece, so that one plain `send` does.
#[derive(Debug)]
pub struct Answer {
    users: u32,
    body: Vec<u8>,
    /// The variant that was asked for first; most answers have no other.
    first: Option<Variant>,
    others: Vec<Variant>,
}

#[derive(Debug)]
struct Variant {
    key: u16,
    /// The head, and behind it the body if that is short.
    bytes: Vec<u8>,
}

/// The answers that are on their way.
#[derive(Debug, Default)]
pub struct Answers {
    answers: Slab<Answer>,
    bytes: usize,
    /// Buffers of answers that are over, for the next.
    spare: Vec<Vec<u8>>,
}

impl Answers {
    /// Adds an answer, used once by the caller.
    pub fn add(&mut self, body: &[u8]) -> u32 {
        self.bytes += size_of::<Answer>() + body.len();
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.extend_from_slice(body);
        self.answers.insert(Answer { users: 1, body: kept, first: None, others: Vec::new() }) as u32
    }

    /// Keeps a buffer for the next answer, if it is of a usual size and few are kept.
    fn spare(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// One user more.
    pub fn share(&mut self, number: u32) {
        self.answers[number as usize].users += 1;
    }

    /// One user less; frees the answer with its last.
    pub fn release(&mut self, number: u32) {
        let answer = &mut self.answers[number as usize];
        answer.users -= 1;
        if answer.users == 0 {
            let answer = self.answers.remove(number as usize);
            let variants: usize = answer.variants().map(|variant| variant.bytes.len()).sum();
            self.bytes -= size_of::<Answer>() + answer.body.len() + variants;
            self.spare(answer.body);
            answer.first.into_iter().chain(answer.others).for_each(|variant| self.spare(variant.bytes));
        }
    }

    /// What is to be sent, in two pieces, from byte `from` on. `write_head` is called if
    /// this variant has not been sent before; it is told the body's length.
    pub fn pieces(
        &mut self,
        number: u32,
        key: u16,
        from: usize,
        write_head: impl FnOnce(usize, &mut Vec<u8>),
    ) -> (&[u8], &[u8]) {
        let answer = &mut self.answers[number as usize];
        if !answer.variants().any(|variant| variant.key == key) {
            let mut bytes = self.spare.pop().unwrap_or_default();
            write_head(answer.body.len(), &mut bytes);
            if answer.is_joined() {
                bytes.extend_from_slice(&answer.body);
            }
            self.bytes += bytes.len();
            answer.keep(Variant { key, bytes });
        }
        let variant = answer.variants().find(|variant| variant.key == key);
        let head = variant.map_or(&[][..], |variant| &variant.bytes);
        let rest: &[u8] = if answer.is_joined() { &[] } else { &answer.body };
        let in_rest = from.saturating_sub(head.len());
        (head.get(from..).unwrap_or_default(), rest.get(in_rest..).unwrap_or_default())
    }

    /// Memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Answers on their way.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether no answer is on its way.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

impl Answer {
    fn variants(&self) -> impl Iterator<Item = &Variant> {
        self.first.iter().chain(&self.others)
    }

    fn keep(&mut self, variant: Variant) {
        match self.first {
            None => self.first = Some(variant),
            Some(_) => self.others.push(variant),
        }
    }

    /// Whether the body stands behind each head.
    fn is_joined(&self) -> bool {
        self.body.len() <= JOINED_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rest_of_an_answer_joins_to_the_whole() {
        for len in [0, 10, JOINED_BYTES_MAX, JOINED_BYTES_MAX + 1] {
            let body = vec![b'x'; len];
            let mut answers = Answers::default();
            let number = answers.add(&body);
            let whole = [format!("head {len} ").as_bytes(), &body].concat();
            for from in 0..=whole.len() {
                let write = |len: usize, out: &mut Vec<u8>| out.extend(format!("head {len} ").bytes());
                let (first, second) = answers.pieces(number, 0, from, write);
                assert_eq!([first, second].concat(), whole[from..], "{len} {from}");
            }
        }
    }

    #[test]
    fn the_last_user_frees_it() {
        let mut answers = Answers::default();
        let number = answers.add(b"body");
        answers.share(number);
        answers.pieces(number, 1, 0, |_, out| out.extend(b"one "));
        answers.pieces(number, 2, 0, |_, out| out.extend(b"two "));
        answers.release(number);
        assert!(!answers.is_empty());
        answers.release(number);
        assert_eq!((answers.len(), answers.bytes()), (0, 0));
    }
}
