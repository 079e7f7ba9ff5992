//! What back-ends send of their sub-tasks, and the credit that they are given for more.

use super::{Frontend, Running};
use crate::ids::LinkId;
use crate::limits::{CHUNK_BYTES_MAX, CREDIT_BYTES};
use crate::scatter::job::{Attempt, Chunk};
use crate::time::Now;
use crate::wire::frame::task::{Data, Fail, Fault, parse_of_run, parse_spawn, write_of_run};
use crate::wire::frame::{Frame, Kind};
use crate::wire::gzip::ends_at_a_byte;

impl Frontend {
    /// A frame of an attempt. An error ends the link; what comes of one that is cancelled is passed over.
    pub(super) fn handle_result(&mut self, id: LinkId, frame: &Frame, now: Now) -> Result<(), String> {
        match frame.kind {
            Kind::DATA => {
                let data = Data::parse(frame.meta).map_err(|why| why.to_string())?;
                self.handle_data(id, data, frame.body, now)
            }
            Kind::SPAWN => {
                let (run, tasks) = parse_spawn(frame.meta, frame.body).map_err(|why| why.to_string())?;
                if let Some((job, path)) = self.heard_of(id, run, now) {
                    let attempt = Attempt { backend: id.index, run };
                    if let Some(entry) = self.entry(job) {
                        entry.job.take_spawned(&path, attempt, tasks, frame.body.len());
                    }
                    self.wake_if_over(job);
                    self.assign(now);
                }
                Ok(())
            }
            Kind::PROGRESS => {
                let (run, _) = parse_of_run(frame.meta).map_err(|why| why.to_string())?;
                self.heard_of(id, run, now);
                Ok(())
            }
            Kind::END => {
                let (run, records) = parse_of_run(frame.meta).map_err(|why| why.to_string())?;
                let Some((job, path)) = self.heard_of(id, run, now) else { return Ok(()) };
                if self.entry(job).is_some_and(|entry| entry.job.records(&path) != records) {
                    return Err("an end does not count what came before it".to_owned());
                }
                let Some(running) = self.backend(id).and_then(|backend| backend.runs.remove(&run)) else {
                    return Ok(());
                };
                if let Some(entry) = self.entry(running.job) {
                    entry.job.take_end(&running.path, Attempt { backend: id.index, run });
                }
                // What is behind it in order may be there already.
                self.wake(running.job);
                self.assign(now);
                Ok(())
            }
            Kind::FAIL => {
                let Fail { run, fault, reason } = Fail::parse(frame.meta).map_err(|why| why.to_string())?;
                let Some(running) = self.backend(id).and_then(|backend| backend.runs.remove(&run)) else {
                    return Ok(());
                };
                self.take_failure(id, run, &running, fault, &reason);
                self.assign(now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn heard_of(&mut self, id: LinkId, run: u32, now: Now) -> Option<(super::JobId, super::Path)> {
        let running = self.backend(id)?.runs.get_mut(&run)?;
        running.heard = now.tick;
        Some((running.job, running.path.clone()))
    }

    fn handle_data(&mut self, id: LinkId, data: Data, body: &[u8], now: Now) -> Result<(), String> {
        let Some((job, path)) = self.heard_of(id, data.run, now) else { return Ok(()) };
        let Some(running) = self.backend(id).and_then(|backend| backend.runs.get_mut(&data.run)) else {
            return Ok(());
        };
        if body.is_empty() || data.records == 0 || data.records > u64::from(data.plain_len) {
            return Err("a chunk has other records than it says".to_owned());
        }
        running.credit -= body.len() as i64;
        if running.credit < -(CHUNK_BYTES_MAX as i64) {
            return Err("it sends more than it was given credit for".to_owned());
        }
        let Some(entry) = self.entry(job) else { return Ok(()) };
        if entry.job.gzip {
            if !ends_at_a_byte(body) {
                return Err("a compressed chunk does not end in a sync flush".to_owned());
            }
            // Whether it is right only the client can tell; this much cannot be.
            if data.plain_len as usize > CHUNK_BYTES_MAX {
                return Err("a chunk is too long".to_owned());
            }
        } else if body.len() != data.plain_len as usize {
            return Err("a chunk is not as long as it says".to_owned());
        }
        let from = Attempt { backend: id.index, run: data.run };
        let chunk = Chunk { bytes: body.to_vec(), plain_len: data.plain_len, crc32: data.crc32, from };
        entry.job.take_data(&path, data.records, chunk);
        self.wake(job);
        Ok(())
    }

    /// What the client took may be sent again.
    pub(super) fn give_credit(&mut self, to: Attempt, len: usize, now: Now) {
        let Some(backend) = self.backends.get_mut(to.backend as usize) else { return };
        let Some(running) = backend.runs.get_mut(&to.run) else { return };
        running.heard = now.tick;
        running.owed += len;
        // In portions: what was not given yet, what waits here and what may still be sent are one window together, so
        // that nobody stands still for it.
        if running.owed < CREDIT_BYTES {
            return;
        }
        let owed = std::mem::take(&mut running.owed);
        running.credit += owed as i64;
        write_of_run(Kind::CREDIT, to.run, owed as u64, &mut backend.link.out);
        let link = LinkId { index: to.backend, generation: backend.generation };
        self.list(link);
    }

    pub(super) fn take_failure(
        &mut self,
        id: LinkId,
        run: u32,
        running: &Running,
        fault: Fault,
        reason: &str,
    ) {
        self.retries += 1;
        if let Some(entry) = self.entry(running.job) {
            ::log::warn!("a sub-task of {} failed: {reason}", entry.job.case.name);
            entry.job.take_failure(&running.path, Attempt { backend: id.index, run }, fault, reason);
        }
        self.wake_if_over(running.job);
    }

    pub(super) fn take_loss(&mut self, id: LinkId, run: u32, running: &Running) {
        self.retries += 1;
        if let Some(entry) = self.entry(running.job) {
            entry.job.take_loss(&running.path, Attempt { backend: id.index, run });
        }
        self.wake_if_over(running.job);
    }
}
