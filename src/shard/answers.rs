//! Answers that many connections share: serialised once, counted, freed with the last.

use crate::limits::{HEAD_ROOM_BYTES, SPARE_BUFFERS_MAX, SPARE_BYTES_MAX};
use slab::Slab;

/// One answer: a body, and the heads in which it goes out.
///
/// The heads differ by what a request asked for (connection, CORS origin, preference);
/// each variant is written once and kept with the answer. The first stands right before the
/// body, so that one plain `send` does and nothing is copied; most answers have no other.
#[derive(Debug)]
pub struct Answer {
    users: u32,
    /// Room for a head, and the body.
    buffer: Vec<u8>,
    /// Which variant's head stands in that room, and where it begins.
    first: Option<(u16, usize)>,
    /// Other variants, and heads that are too long for the room.
    others: Vec<Variant>,
}

#[derive(Debug)]
struct Variant {
    key: u16,
    head: Vec<u8>,
}

/// An answer's body while it is being written.
#[derive(Debug)]
pub struct Draft(Vec<u8>);

impl Draft {
    /// Where to append the body.
    pub fn body(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

/// The answers that are on their way.
#[derive(Debug, Default)]
pub struct Answers {
    answers: Slab<Answer>,
    bytes: usize,
    /// Buffers of answers that are over, for the next.
    spare: Vec<Vec<u8>>,
    /// Where a head is written before it is put into its place.
    head: Vec<u8>,
}

impl Answers {
    /// Begins an answer.
    pub fn draft(&mut self) -> Draft {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.resize(HEAD_ROOM_BYTES, 0);
        Draft(buffer)
    }

    /// Adds an answer whose body is written, used once by the caller.
    pub fn add(&mut self, draft: Draft) -> u32 {
        let answer = Answer { users: 1, buffer: draft.0, first: None, others: Vec::new() };
        self.bytes += answer.bytes();
        self.answers.insert(answer) as u32
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
            self.bytes -= answer.bytes();
            self.spare(answer.buffer);
        }
    }

    /// Keeps a buffer for the next answer, if it is of a usual size and few are kept.
    fn spare(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            self.spare.push(buffer);
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
        if !answer.has(key) {
            self.head.clear();
            write_head(answer.body().len(), &mut self.head);
            let before = answer.bytes();
            answer.keep(key, &self.head);
            self.bytes = self.bytes + answer.bytes() - before;
        }
        answer.pieces(key, from)
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
    fn body(&self) -> &[u8] {
        self.buffer.get(HEAD_ROOM_BYTES..).unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        let heads: usize = self.others.iter().map(|variant| variant.head.len()).sum();
        size_of::<Answer>() + self.buffer.capacity() + heads
    }

    fn has(&self, key: u16) -> bool {
        self.first.is_some_and(|first| first.0 == key) || self.others.iter().any(|variant| variant.key == key)
    }

    fn keep(&mut self, key: u16, head: &[u8]) {
        let start = HEAD_ROOM_BYTES.checked_sub(head.len()).filter(|_| self.first.is_none());
        match start.and_then(|start| Some((start, self.buffer.get_mut(start..HEAD_ROOM_BYTES)?))) {
            Some((start, room)) => {
                room.copy_from_slice(head);
                self.first = Some((key, start));
            }
            None => self.others.push(Variant { key, head: head.to_vec() }),
        }
    }

    fn pieces(&self, key: u16, from: usize) -> (&[u8], &[u8]) {
        if let Some((_, start)) = self.first.filter(|first| first.0 == key) {
            return (self.buffer.get(start.saturating_add(from)..).unwrap_or_default(), &[]);
        }
        let variant = self.others.iter().find(|variant| variant.key == key);
        let head = variant.map_or(&[][..], |variant| &variant.head);
        let in_body = from.saturating_sub(head.len());
        (head.get(from..).unwrap_or_default(), self.body().get(in_body..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(answers: &mut Answers, body: &[u8]) -> u32 {
        let mut draft = answers.draft();
        draft.body().extend_from_slice(body);
        answers.add(draft)
    }

    #[test]
    fn every_rest_of_an_answer_joins_to_the_whole() {
        for (head_len, body_len) in
            [(20, 0), (20, 10), (20, 5000), (HEAD_ROOM_BYTES, 10), (HEAD_ROOM_BYTES + 1, 10)]
        {
            let body = vec![b'x'; body_len];
            let mut answers = Answers::default();
            let number = add(&mut answers, &body);
            for key in [7, 8] {
                let head = |len: usize| format!("{len:head_len$}{key}");
                let whole = [head(body_len).as_bytes(), &body].concat();
                for from in 0..=whole.len() {
                    let write = |len: usize, out: &mut Vec<u8>| out.extend(head(len).bytes());
                    let (first, second) = answers.pieces(number, key, from, write);
                    assert_eq!([first, second].concat(), whole[from..], "{head_len} {body_len} {from}");
                }
            }
        }
    }

    #[test]
    fn the_last_user_frees_it() {
        let mut answers = Answers::default();
        let number = add(&mut answers, b"body");
        answers.share(number);
        answers.pieces(number, 1, 0, |_, out| out.extend(b"one "));
        answers.pieces(number, 2, 0, |_, out| out.extend(b"two "));
        answers.release(number);
        assert!(!answers.is_empty());
        answers.release(number);
        assert_eq!((answers.len(), answers.bytes()), (0, 0));
    }

    #[test]
    fn a_buffer_that_is_used_again_shows_nothing_of_its_past() {
        let mut answers = Answers::default();
        for body in [&b"a long one"[..], b"short"] {
            let number = add(&mut answers, body);
            let (first, second) =
                answers.pieces(number, 0, 0, |len, out| out.extend(format!("{len} ").bytes()));
            assert_eq!([first, second].concat(), [format!("{} ", body.len()).as_bytes(), body].concat());
            answers.release(number);
        }
    }
}
