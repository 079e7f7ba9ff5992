//! Which sub-task goes to which back-end, and what happens to requests that wait too long.

use super::{Frontend, JobId, Running};
use crate::ids::LinkId;
use crate::limits::{BACKEND_OUTPUT_BYTES_MAX, RUN_SILENT_MS, STARVED_MS, WINDOW_BYTES};
use crate::scatter::job::{Attempt, Errand, Failure};
use crate::scatter::scheduler::Candidate;
use crate::scatter::usecase::{Merge, Mode};
use crate::time::Now;
use crate::wire::frame::Kind;
use crate::wire::frame::task::{Edition, Fault, Run, write_of_run};

impl Frontend {
    /// Hands out sub-tasks, a request at a time one, until nothing more can be.
    pub(super) fn assign(&mut self, now: Now) {
        loop {
            let mut placed = false;
            let ids: Vec<JobId> = self
                .jobs
                .iter()
                .map(|(index, entry)| JobId { index: index as u32, generation: entry.generation })
                .collect();
            if ids.is_empty() {
                return;
            }
            for at in 0..ids.len() {
                let Some(id) = ids.get((at + self.turn) % ids.len()).copied() else { continue };
                let Some(entry) = self.entry(id) else { continue };
                if let Some(errand) = entry.job.next_errand() {
                    placed |= self.place(id, &errand, now);
                }
            }
            self.turn = self.turn.wrapping_add(1);
            if !placed {
                return;
            }
        }
    }

    fn place(&mut self, id: JobId, errand: &Errand, now: Now) -> bool {
        let Some(entry) = self.jobs.get(id.index as usize) else { return false };
        let (case, version) = (entry.job.case.clone(), entry.job.version);
        let evenly = case.mode == Mode::Concurrent;
        let mut candidates: Vec<Candidate> = Vec::new();
        for (index, backend) in &self.backends {
            let Some(register) = &backend.register else { continue };
            // Results wait for the head: the place that is kept is for it.
            let slots = register.slots as usize + usize::from(errand.is_head);
            let fits = !register.draining
                && backend.runs.len() < slots
                && backend.link.output().len() < BACKEND_OUTPUT_BYTES_MAX / 2
                && register.programs.contains(&case.program);
            if fits {
                let busy = backend.runs.len() as u32 * 1000 / register.slots.max(1);
                let of_this = backend.runs.values().filter(|run| run.job == id).count() as u32;
                candidates.push(Candidate { backend: index as u32, load: busy + register.load / 4, of_this });
            }
        }
        if candidates.iter().any(|one| Some(one.backend) != errand.avoid) {
            candidates.retain(|one| Some(one.backend) != errand.avoid);
        }
        let Some(chosen) = self.scheduler.choose(&candidates, evenly) else { return false };
        let Some(backend) = self.backends.get_mut(chosen as usize) else { return false };
        backend.next_run = backend.next_run.wrapping_add(1);
        let attempt = Attempt { backend: chosen, run: backend.next_run };
        let link = LinkId { index: chosen, generation: backend.generation };
        let Some(entry) = self.jobs.get_mut(id.index as usize) else { return false };
        let of = entry.job.of();
        let Some(order) = entry.job.hand_out(&errand.path, attempt) else { return false };
        entry.job.starved = None;
        let deadline_ms = entry.job.deadline.0.saturating_sub(now.tick.0);
        // What waits of earlier attempts is in the window, too.
        let credit = WINDOW_BYTES.saturating_sub(order.waiting);
        let run = Run {
            run: attempt.run,
            edition: Edition { usecase: case.name.clone(), version },
            program: case.program.clone(),
            processes: case.processes as u32,
            deadline_ms,
            credit: credit as u64,
            gzip: entry.job.gzip,
            alone: case.merge == Merge::Unordered,
            skip: order.skip,
        };
        let line = serde_json::json!({"run": {
            "id": format!("{}-{}", id.generation, order.number),
            "usecase": case.name,
            "task": order.number,
            "of": of,
            "attempt": order.attempt,
            "params": order.params,
            "deadline_ms": deadline_ms,
        }});
        let mut line = line.to_string().into_bytes();
        line.push(b'\n');
        let (path, credit) = (errand.path.clone(), credit as i64);
        let running = Running { job: id, path, credit, owed: 0, heard: now.tick };
        backend.runs.insert(attempt.run, running);
        run.write(&line, &mut backend.link.out);
        self.list(link);
        true
    }

    /// Requests whose time is over, sub-tasks that say nothing, and those that nobody can run.
    pub(super) fn judge_jobs(&mut self, now: Now) {
        self.cancel_silent(now);
        let ids: Vec<JobId> = self
            .jobs
            .iter()
            .map(|(index, entry)| JobId { index: index as u32, generation: entry.generation })
            .collect();
        for id in ids {
            let Some(entry) = self.jobs.get(id.index as usize) else { continue };
            let program = entry.job.case.program.clone();
            let nobody = !self.registers().any(|register| register.programs.contains(&program));
            let Some(entry) = self.entry(id) else { continue };
            if now.tick >= entry.job.deadline {
                entry.job.fail(Failure::new(504, "The back-ends took too long."));
            }
            if nobody {
                let since = *entry.job.starved.get_or_insert(now.tick);
                if now.tick.since_ms(since) >= STARVED_MS {
                    entry.job.fail(Failure::new(503, "No back-end is there to do this."));
                }
            } else {
                entry.job.starved = None;
            }
            self.wake_if_over(id);
        }
    }

    /// Whoever may send and says nothing for long hangs, and is tried elsewhere. One without credit waits for the
    /// client.
    fn cancel_silent(&mut self, now: Now) {
        let mut silent = Vec::new();
        for (index, backend) in &mut self.backends {
            let link = LinkId { index: index as u32, generation: backend.generation };
            for (run, running) in &backend.runs {
                if running.credit > 0 && now.tick.since_ms(running.heard) >= RUN_SILENT_MS {
                    silent.push((link, *run));
                }
            }
        }
        for (link, run) in silent {
            let Some(backend) = self.backend(link) else { continue };
            let Some(running) = backend.runs.remove(&run) else { continue };
            write_of_run(Kind::CANCEL, run, 0, &mut backend.link.out);
            self.list(link);
            let reason = format!("nothing came for {} s", RUN_SILENT_MS / 1000);
            self.take_failure(link, run, &running, Fault::Handler, &reason);
        }
    }
}
