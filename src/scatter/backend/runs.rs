//! Attempts: what a handler writes becomes records, chunks and frames.
//!
//! A record is a line. A line that begins with the byte 1E (record separator) is control: `{"end":{"id":"…","records":9}}`,
//! `{"error":{"message":"…","request":false}}`, `{"progress":{}}`, `{"spawn":{"tasks":[{…}]}}`, `{"ready":{}}`.

use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress, Status};
use serde_json::Value as Json;

use super::handlers::State;
use super::{Action, Backend, HandlerId, RunKey};
use crate::limits::{
    CHUNK_BYTES, CHUNK_MS, PROGRESS_TOLD_MS, RECORD_BYTES_MAX, RUN_GRACE_MS, SPAWN_BYTES_MAX,
    SPAWNED_BYTES_MAX, SPAWNED_MAX,
};
use crate::time::{Now, Tick};
use crate::wire::frame::Kind;
use crate::wire::frame::meta::NotUnderstood;
use crate::wire::frame::task::{Data, Delivered, Fail, Fault, Run as RunMeta, write_of_run, write_spawn};
use crate::wire::gzip::ends_at_a_byte;

/// The byte that a control line begins with.
const CONTROL: u8 = 0x1e;

/// An attempt at a sub-task.
#[derive(Debug)]
pub(super) struct Run {
    handler: HandlerId,
    /// What its handler calls it.
    id: String,
    credit: i64,
    /// What compresses its results, if they are to be.
    deflate: Option<Deflate>,
    deadline: Tick,
    /// What is still to be left out.
    skip: Delivered,
    /// What was left out.
    left_out: Hasher,
    left_out_bytes: u64,
    /// Whole records that were not sent.
    pending: Vec<u8>,
    pending_records: u64,
    records: u64,
    /// When they are sent, however few.
    flush_at: Option<Tick>,
    /// Sub-tasks that it has spawned, and their bytes.
    spawned: usize,
    spawned_bytes: usize,
    /// Before that its handler's word that it is at work is not passed on again.
    next_progress: Tick,
    /// Its handler said that it is done.
    ended: bool,
}

impl Run {
    /// When something of it is due.
    pub fn deadline(&self) -> Tick {
        // Without credit nothing is sent, however long it waits.
        let flush = self.flush_at.filter(|_| self.credit > 0);
        flush.map_or(self.deadline, |at| at.min(self.deadline))
    }
}

impl Backend {
    pub(super) fn begin_run(
        &mut self,
        at: usize,
        meta: RunMeta,
        line: &[u8],
        now: Now,
    ) -> Result<(), NotUnderstood> {
        let key = (at, meta.run);
        if self.runs.contains_key(&key) {
            return Err(NotUnderstood("run"));
        }
        let json: Option<Json> = serde_json::from_slice(line).ok();
        let id = json.as_ref().and_then(|json| json.pointer("/run/id")).and_then(Json::as_str);
        let refusal = match id {
            _ if !self.setup.programs.contains(&meta.program) => {
                Some((Fault::Busy, format!("there is no program {:?} here", meta.program)))
            }
            _ if self.runs.len() >= (self.setup.slots as usize + 1) * self.setup.join.len() => {
                Some((Fault::Busy, "all slots are taken".to_owned()))
            }
            _ if !self.has_room() => Some((Fault::Busy, "there are too many handlers".to_owned())),
            None => Some((Fault::Handler, "the sub-task's line is not understood".to_owned())),
            Some(_) => None,
        };
        if let Some((fault, reason)) = refusal {
            self.send_fail(key, fault, &reason);
            return Ok(());
        }
        let id = id.unwrap_or_default().to_owned();
        let handler = self.free_handler(at, &meta.edition, &meta.program, meta.processes as usize);
        if let Some(process) = self.handler(handler) {
            process.state = State::Busy(key);
        }
        self.actions.push_back(Action::Write(handler, line.to_vec()));
        self.farewell = false;
        self.runs.insert(
            key,
            Run {
                handler,
                id,
                credit: i64::try_from(meta.credit).unwrap_or(i64::MAX),
                deflate: meta.gzip.then(|| Deflate::new(meta.alone)),
                // The front-end ends it in time; this is for one that does not.
                deadline: now.tick.plus_ms(meta.deadline_ms.saturating_add(RUN_GRACE_MS)),
                skip: meta.skip,
                left_out: Hasher::new(),
                left_out_bytes: 0,
                pending: Vec::new(),
                pending_records: 0,
                records: 0,
                flush_at: None,
                spawned: 0,
                spawned_bytes: 0,
                next_progress: now.tick,
                ended: false,
            },
        );
        Ok(())
    }

    /// What a handler wrote to its descriptor 3.
    pub fn handle_records(&mut self, id: HandlerId, input: &[u8], now: Now) {
        let Some(handler) = self.handler(id) else { return };
        let mut bytes = std::mem::take(&mut handler.partial);
        let searched = bytes.len();
        bytes.extend_from_slice(input);
        let (mut begin, mut at) = (0, searched);
        while let Some(end) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
            let line = bytes.get(begin..at + end + 1).unwrap_or_default();
            self.handle_line(id, line, now);
            begin = at + end + 1;
            at = begin;
        }
        bytes.drain(..begin);
        if bytes.len() > RECORD_BYTES_MAX {
            return self.misbehaves(id, "a record is too long", now);
        }
        if let Some(handler) = self.handler(id) {
            handler.partial = bytes;
        }
        self.send_ready(id, now);
    }

    fn run_of(&mut self, id: HandlerId) -> Option<(RunKey, &mut Run)> {
        let State::Busy(key) = self.handler(id)?.state else { return None };
        self.runs.get_mut(&key).map(|run| (key, run))
    }

    fn handle_line(&mut self, id: HandlerId, line: &[u8], now: Now) {
        if let [CONTROL, control @ ..] = line {
            return self.handle_control(id, control, now);
        }
        let Some((_, run)) = self.run_of(id) else {
            if self.handler(id).is_some_and(|handler| handler.state == State::Idle) {
                self.misbehaves(id, "it wrote a record without a sub-task", now);
            }
            return;
        };
        if run.ended || line.len() > RECORD_BYTES_MAX {
            let why = if run.ended { "it wrote a record after the end" } else { "a record is too long" };
            return self.misbehaves(id, why, now);
        }
        run.records += 1;
        if run.skip.records > 0 {
            run.skip.records -= 1;
            run.left_out.update(line);
            run.left_out_bytes += line.len() as u64;
            if run.skip.records == 0 {
                self.check_left_out(id, now);
            }
            return;
        }
        run.pending.extend_from_slice(line);
        run.pending_records += 1;
        run.flush_at.get_or_insert(now.tick.plus_ms(CHUNK_MS));
    }

    /// All that was delivered before has come again: was it the same?
    fn check_left_out(&mut self, id: HandlerId, now: Now) {
        let Some((key, run)) = self.run_of(id) else { return };
        let same = run.left_out.clone().finalize() == run.skip.crc32 && run.left_out_bytes == run.skip.bytes;
        if !same {
            self.fail_run(key, Fault::Differs, "its records are not what they were before");
            self.terminate(id, now);
        }
    }

    fn handle_control(&mut self, id: HandlerId, control: &[u8], now: Now) {
        let json: Json = serde_json::from_slice(control).unwrap_or_default();
        let Some((what, content)) = json.as_object().and_then(|members| members.iter().next()) else {
            return self.misbehaves(id, "a control line is not understood", now);
        };
        match what.as_str() {
            "ready" => {
                if let Some(handler) = self.handler(id) {
                    handler.ready = true;
                }
                self.judge_preparations(now);
            }
            "end" => self.handle_end(id, content, now),
            "error" => self.handle_error(id, content, now),
            "progress" => {
                // It costs no credit, and so must be bounded in another way.
                if let Some((key, run)) = self.run_of(id)
                    && now.tick >= run.next_progress
                {
                    run.next_progress = now.tick.plus_ms(PROGRESS_TOLD_MS);
                    let Some(out) = self.out(key.0) else { return };
                    write_of_run(Kind::PROGRESS, key.1, 0, out);
                }
            }
            "spawn" => self.handle_spawn(id, content, control.len(), now),
            _ => self.misbehaves(id, "a control line is not understood", now),
        }
    }

    fn handle_end(&mut self, id: HandlerId, content: &Json, now: Now) {
        let Some((_, run)) = self.run_of(id) else {
            // What was cancelled has ended: the handler can go on with something else.
            if let Some(handler) = self.handler(id)
                && matches!(handler.state, State::Cancelled(_))
            {
                handler.state = State::Idle;
                self.retire(id, now);
            }
            return;
        };
        let counted = content.get("records").and_then(Json::as_u64);
        let named = content.get("id").and_then(Json::as_str);
        if run.ended
            || named.is_some_and(|named| named != run.id)
            || counted.is_some_and(|all| all != run.records)
        {
            return self.misbehaves(id, "its end is not that of its sub-task", now);
        }
        if run.skip.records > 0 || run.skip.spawned > 0 {
            let (key, _) = self.run_of(id).map_or(((0, 0), ()), |(key, _)| (key, ()));
            self.fail_run(key, Fault::Differs, "it ended earlier than before");
            return self.terminate(id, now);
        }
        run.ended = true;
    }

    fn handle_error(&mut self, id: HandlerId, content: &Json, now: Now) {
        let Some((key, _)) = self.run_of(id) else { return self.handle_end(id, content, now) };
        let message = content.get("message").and_then(Json::as_str).unwrap_or("the handler gives no reason");
        let fault =
            if content.get("request") == Some(&Json::Bool(true)) { Fault::Request } else { Fault::Handler };
        self.fail_run(key, fault, message);
        if let Some(handler) = self.handler(id) {
            handler.state = State::Idle;
        }
        self.retire(id, now);
    }

    fn handle_spawn(&mut self, id: HandlerId, content: &Json, len: usize, now: Now) {
        let tasks = content.get("tasks").and_then(Json::as_array).cloned();
        let Some(mut tasks) =
            tasks.filter(|tasks| len <= SPAWN_BYTES_MAX && tasks.iter().all(Json::is_object))
        else {
            return self.misbehaves(id, "what it spawns is not understood", now);
        };
        let Some((key, run)) = self.run_of(id) else { return };
        run.spawned += tasks.len();
        run.spawned_bytes += len;
        if run.spawned > SPAWNED_MAX || run.spawned_bytes > SPAWNED_BYTES_MAX {
            return self.misbehaves(id, "it spawns too much", now);
        }
        let known = (run.skip.spawned as usize).min(tasks.len());
        run.skip.spawned -= known as u32;
        tasks.drain(..known);
        if let Some(out) = self.out(key.0)
            && !tasks.is_empty()
        {
            write_spawn(key.1, &tasks, out);
        }
    }

    /// The handler broke its rules: nothing that it says counts any more.
    fn misbehaves(&mut self, id: HandlerId, why: &str, now: Now) {
        if let Some((key, _)) = self.run_of(id) {
            self.fail_run(key, Fault::Handler, why);
        }
        ::log::warn!("a handler is ended: {why}");
        self.terminate(id, now);
    }

    // -- Sending ------------------------------------------------------------------------

    /// Sends what is due of a handler's sub-task, as far as there is credit, and stops reading where there is none.
    fn send_ready(&mut self, id: HandlerId, now: Now) {
        let Some((key, _)) = self.run_of(id) else { return };
        self.send_due(key, now);
        let Some((_, run)) = self.run_of(id) else { return };
        let full = run.credit <= 0 && run.pending.len() >= CHUNK_BYTES;
        let Some(handler) = self.handler(id) else { return };
        if full && !handler.paused {
            handler.paused = true;
            self.actions.push_back(Action::Pause(id));
        } else if !full {
            self.read_on(id);
        }
    }

    fn send_due(&mut self, key: RunKey, now: Now) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        let is_due =
            run.ended || run.pending.len() >= CHUNK_BYTES || run.flush_at.is_some_and(|at| now.tick >= at);
        if is_due && !run.pending.is_empty() && run.credit > 0 {
            let plain = std::mem::take(&mut run.pending);
            let records = std::mem::take(&mut run.pending_records);
            run.flush_at = None;
            let crc32 = crc32fast::hash(&plain);
            let data = Data { run: key.1, records, plain_len: plain.len() as u32, crc32 };
            let body = match &mut run.deflate {
                Some(deflate) => deflate.compress(&plain),
                None => plain,
            };
            run.credit -= body.len() as i64;
            if let Some(out) = self.out(key.0) {
                data.write(&body, out);
            }
        }
        let Some(run) = self.runs.get(&key) else { return };
        if run.ended && run.pending.is_empty() {
            let (handler, records) = (run.handler, run.records);
            self.runs.remove(&key);
            if let Some(out) = self.out(key.0) {
                write_of_run(Kind::END, key.1, records, out);
            }
            if let Some(process) = self.handler(handler) {
                process.state = State::Idle;
            }
            self.read_on(handler);
            self.retire(handler, now);
        }
    }

    pub(super) fn take_credit(&mut self, key: RunKey, bytes: u64, now: Now) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        run.credit = run.credit.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        let handler = run.handler;
        self.send_ready(handler, now);
    }

    // -- Ends ---------------------------------------------------------------------------

    fn send_fail(&mut self, key: RunKey, fault: Fault, reason: &str) {
        if let Some(out) = self.out(key.0) {
            Fail { run: key.1, fault, reason: reason.to_owned() }.write(out);
        }
    }

    /// An attempt has failed. What it had not sent is of no use; its handler is the caller's concern.
    pub(super) fn fail_run(&mut self, key: RunKey, fault: Fault, reason: &str) {
        if self.runs.remove(&key).is_some() {
            self.send_fail(key, fault, reason);
        }
    }

    /// Nobody wants its results any more.
    pub(super) fn cancel(&mut self, key: RunKey, now: Now) {
        let Some(run) = self.runs.remove(&key) else { return };
        let mut line = serde_json::json!({"cancel": {"id": run.id}}).to_string().into_bytes();
        line.push(b'\n');
        self.cancel_handler(run.handler, line, now);
    }

    pub(super) fn cancel_runs_of(&mut self, at: usize, now: Now) {
        let keys: Vec<RunKey> = self.runs.keys().filter(|key| key.0 == at).copied().collect();
        keys.into_iter().for_each(|key| self.cancel(key, now));
    }

    pub(super) fn judge_runs(&mut self, now: Now) {
        let due: Vec<(RunKey, HandlerId, bool)> = self
            .runs
            .iter()
            .filter(|(_, run)| now.tick >= run.deadline())
            .map(|(key, run)| (*key, run.handler, now.tick >= run.deadline))
            .collect();
        for (key, handler, over) in due {
            if over {
                self.fail_run(key, Fault::Handler, "its time is over");
                self.terminate(handler, now);
            } else {
                self.send_ready(handler, now);
            }
        }
    }
}

/// Raw deflate (RFC 1951) in chunks that end at a byte boundary and are not the last block.
struct Deflate {
    state: Compress,
    /// Each chunk may stand anywhere: it refers to nothing before it. Else it refers to those before it, too.
    alone: bool,
}

impl Deflate {
    fn new(alone: bool) -> Deflate {
        Deflate { state: Compress::new(Compression::new(6), false), alone }
    }

    fn compress(&mut self, plain: &[u8]) -> Vec<u8> {
        let Deflate { state, alone } = self;
        if *alone {
            state.reset();
        }
        // Room for all, also of what cannot be compressed: one call is enough then.
        let mut out = Vec::with_capacity(plain.len() + plain.len() / 8 + 1024);
        let mut rest = plain;
        loop {
            let before = state.total_in();
            let room = out.capacity();
            let status = state.compress_vec(rest, &mut out, FlushCompress::Sync);
            rest = rest.get((state.total_in() - before) as usize..).unwrap_or_default();
            // Room that is left over does not say that it was flushed: a call that could not write a whole block leaves
            // the flush undone, and the next one writes the rest of that block and nothing more.
            let flushed = rest.is_empty() && out.len() < room && ends_at_a_byte(&out);
            match status {
                Ok(Status::Ok | Status::StreamEnd | Status::BufError) if flushed => return out,
                _ => out.reserve(plain.len() / 4 + 64),
            }
        }
    }
}

impl std::fmt::Debug for Deflate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Deflate(alone: {})", self.alone)
    }
}

#[cfg(test)]
mod tests {
    use super::Deflate;
    use crate::random::Random;
    use crate::wire::gzip::Member;

    /// Of any length: it ends in a flush, and nothing is missing.
    #[test]
    fn a_chunk_is_flushed_whatever_room_it_takes() {
        let mut random = Random::new(7);
        let mut text = Vec::new();
        while text.len() < 150_000 {
            text.extend(format!("{:06x}", random.next_u64() >> 40).into_bytes());
        }
        let noise: Vec<u8> = (0..20_000).flat_map(|_| random.next_u64().to_be_bytes()).collect();
        let lengths = (1..300).chain((70_000..76_000).step_by(61)).chain((145_000..150_000).step_by(61));
        for (len, plain) in lengths.flat_map(|len| [(len, &text), (len, &noise)]) {
            let plain = &plain[..len];
            for alone in [false, true] {
                let mut deflate = Deflate::new(alone);
                let pieces = [plain, plain].map(|plain| deflate.compress(plain));
                assert!(pieces.iter().all(|piece| piece.ends_with(&[0, 0, 0xff, 0xff])), "{len} bytes");
                // What has just gone by is not sent again.
                let repeats = !alone && (100..20_000).contains(&len);
                assert!(!repeats || pieces[1].len() * 4 < pieces[0].len() + 100, "{len} bytes");
                let mut member = Member::default();
                let mut bytes = Vec::new();
                for piece in pieces {
                    bytes.extend(member.add(piece, len as u32, crc32fast::hash(plain)));
                }
                bytes.extend(member.finish());
                let mut back = Vec::new();
                let mut decoder = flate2::bufread::GzDecoder::new(&bytes[..]);
                std::io::Read::read_to_end(&mut decoder, &mut back).unwrap();
                assert!(back == [plain, plain].concat(), "{len} bytes");
            }
        }
    }
}
