//! Answers that many connections share: serialised once, counted, freed with the last.

use slab::Slab;

/// One answer: a body, and the heads in which it goes out.
///
/// The heads differ by what a request asked for (connection, CORS origin, preference);
/// each variant is written once and kept with the answer. A short body stands behind its
/// head in one piece, so that one plain `send` does.
#[derive(Debug)]
pub struct Answer {
    users: u32,
    body: Box<[u8]>,
    variants: Vec<(u16, Box<[u8]>)>,
}

/// Bodies up to this many bytes are copied behind each variant of their head.
const JOINED_BYTES_MAX: usize = 4 * 1024;

/// The answers that are on their way.
#[derive(Debug, Default)]
pub struct Answers {
    answers: Slab<Answer>,
    bytes: usize,
}

impl Answers {
    /// Adds an answer, used once by the caller.
    pub fn add(&mut self, body: &[u8]) -> u32 {
        self.bytes += size_of::<Answer>() + body.len();
        self.answers.insert(Answer { users: 1, body: body.into(), variants: Vec::new() }) as u32
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
            let heads: usize = answer.variants.iter().map(|variant| variant.1.len()).sum();
            self.bytes -= size_of::<Answer>() + answer.body.len() + heads;
        }
    }

    /// What is to be sent, in two pieces, from byte `from` on. `write_head` is called if
    /// this variant has not been sent before; it is told the body's length.
    pub fn pieces(
        &mut self,
        number: u32,
        variant: u16,
        from: usize,
        write_head: impl FnOnce(usize, &mut Vec<u8>),
    ) -> (&[u8], &[u8]) {
        let answer = &mut self.answers[number as usize];
        let at = match answer.variants.iter().position(|known| known.0 == variant) {
            Some(at) => at,
            None => {
                let head = make_head(&answer.body, write_head);
                self.bytes += head.len();
                answer.variants.push((variant, head));
                answer.variants.len() - 1
            }
        };
        let head = &answer.variants[at].1;
        let rest: &[u8] = if answer.body.len() <= JOINED_BYTES_MAX { &[] } else { &answer.body };
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

fn make_head(body: &[u8], write_head: impl FnOnce(usize, &mut Vec<u8>)) -> Box<[u8]> {
    let mut head = Vec::with_capacity(512);
    write_head(body.len(), &mut head);
    if body.len() <= JOINED_BYTES_MAX {
        head.extend_from_slice(body);
    }
    head.into()
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
