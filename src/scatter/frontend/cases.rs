//! Use cases of a front-end: put, replaced and taken away while they are called (Node Scala §IV).
//!
//! ```text
//! PUT ─▶ read, checked ─▶ PREPARE to the back-ends ─▶ PREPARED by them ─▶ its path leads to it ─▶ the answer
//!                                                                         the version before it drains ─▶ DROP
//! ```
//!
//! Invariant: at any time a path leads to one version, whose back-ends have its processes; what cannot be prepared
//! changes nothing.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Failure, Frontend};
use crate::ids::{ConnId, LinkId};
use crate::limits::{PREPARE_MS_MAX, USECASES_MAX};
use crate::scatter::scheduler::Policy;
use crate::scatter::usecase::UseCase;
use crate::time::{Now, Tick};
use crate::wire::frame::task::{Edition, Prepare, Prepared, Register};

/// A use case that is called.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub case: Arc<UseCase>,
    pub version: u64,
}

/// One that is about to be.
#[derive(Debug)]
pub(super) struct Preparing {
    case: Case,
    /// Who has put it and waits.
    owner: ConnId,
    /// Back-ends that have not said whether they are ready.
    waits: Vec<LinkId>,
    ready: usize,
    /// What those said who are not.
    refused: Option<String>,
    until: Tick,
}

/// A definition is in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// Rises with each definition that is put.
    pub version: u64,
    /// There was none of that name.
    pub is_new: bool,
}

/// What became of a definition, and who is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Who has put it.
    pub owner: ConnId,
    /// Why it is not in its place, if it is not.
    pub result: Result<Stored, Failure>,
}

impl Frontend {
    /// Takes a definition at once, whoever is there to run it: what the operator has written down.
    pub fn load(&mut self, json: &Json, now: Now) -> Result<Stored, Failure> {
        let case = self.admit(json)?;
        let case = self.number(case);
        let name = case.case.name.clone();
        let stored = self.install(case, now);
        let ids: Vec<LinkId> = self.backend_ids().collect();
        ids.into_iter().for_each(|id| self.prepare_installed(id, &name));
        Ok(stored)
    }

    /// Takes a definition as soon as back-ends are ready for it, which [`Frontend::poll_outcome`] tells; or says
    /// at once why not.
    pub fn put(&mut self, json: &Json, owner: ConnId, now: Now) -> Result<(), Failure> {
        let case = self.admit(json)?;
        self.check_program(&case.program)?;
        let case = self.number(case);
        let prepare = prepare_of(&case);
        let of_it = |(index, backend): (usize, &super::Backend)| {
            let has_it = backend.register.as_ref()?.programs.contains(&prepare.program);
            has_it.then_some(LinkId { index: index as u32, generation: backend.generation })
        };
        let waits: Vec<LinkId> = self.backends.iter().filter_map(of_it).collect();
        for id in waits.iter().copied() {
            if let Some(backend) = self.backend(id) {
                prepare.write(&mut backend.link.out);
            }
            self.list(id);
        }
        let until = now.tick.plus_ms(PREPARE_MS_MAX);
        let name = case.case.name.clone();
        self.preparing.insert(name, Preparing { case, owner, waits, ready: 0, refused: None, until });
        self.next_step = self.next_step.min(until);
        Ok(())
    }

    /// Reads a definition, and sees whether there is a place for it.
    fn admit(&self, json: &Json) -> Result<UseCase, Failure> {
        let case = UseCase::parse(json).map_err(|why| Failure::new(400, why))?;
        if self.preparing.contains_key(&case.name) {
            return Err(Failure::new(409, format!("{:?} is being replaced just now.", case.name)));
        }
        let all = || self.cases.values().chain(self.preparing.values().map(|one| &one.case));
        if let Some(other) = all().find(|other| other.case.url == case.url && other.case.name != case.name) {
            let why = format!("{:?} is the use case {:?}'s.", case.url, other.case.name);
            return Err(Failure::new(409, why));
        }
        if self.cases.len() + self.preparing.len() >= USECASES_MAX && !self.cases.contains_key(&case.name) {
            return Err(Failure::new(503, format!("There are {USECASES_MAX} use cases already.")));
        }
        Ok(case)
    }

    fn number(&mut self, case: UseCase) -> Case {
        self.versions += 1;
        Case { case: Arc::new(case), version: self.versions }
    }

    /// From now on its path leads to it; requests under way go on with the version that they began with.
    fn install(&mut self, case: Case, now: Now) -> Stored {
        let (name, version) = (case.case.name.clone(), case.version);
        let old = self.cases.insert(name.clone(), case);
        if let Some(old) = &old {
            self.drop_edition_if_unused(&name, old.version);
        }
        self.assign(now);
        Stored { name, version, is_new: old.is_none() }
    }

    /// An unknown program is refused when the use case is put, not when it is called.
    fn check_program(&self, program: &str) -> Result<(), Failure> {
        let mut known: Vec<&str> =
            self.registers().flat_map(|one| &one.programs).map(String::as_str).collect();
        known.sort_unstable();
        known.dedup();
        match (known.contains(&program), self.registers().next()) {
            (true, _) => Ok(()),
            (false, None) => Err(Failure::new(
                503,
                "No back-end is connected that could tell whether it has this program.",
            )),
            (false, Some(_)) => Err(Failure::new(
                400,
                format!("No back-end has a program {program:?}; there are: {}.", known.join(", ")),
            )),
        }
    }

    pub(super) fn registers(&self) -> impl Iterator<Item = &Register> {
        self.backends.iter().filter_map(|(_, backend)| backend.register.as_ref())
    }

    /// Whether there is somebody to run anything.
    pub fn has_backend(&self) -> bool {
        self.registers().next().is_some()
    }

    // -- Preparing ----------------------------------------------------------------------

    /// A back-end has come, or has other programs than before: it makes itself ready for what is called.
    pub(super) fn prepare_all(&mut self, id: LinkId) {
        let named: Vec<String> = self.cases.keys().cloned().collect();
        named.iter().for_each(|name| self.prepare_installed(id, name));
    }

    fn prepare_installed(&mut self, id: LinkId, name: &str) {
        let Some(case) = self.cases.get(name) else { return };
        let prepare = prepare_of(case);
        let Some(backend) = self.backend(id) else { return };
        if backend.register.as_ref().is_some_and(|register| register.programs.contains(&prepare.program)) {
            prepare.write(&mut backend.link.out);
            self.list(id);
        }
    }

    /// A back-end says whether it is ready.
    pub(super) fn handle_prepared(&mut self, id: LinkId, prepared: Prepared, now: Now) {
        let Prepared { edition: Edition { usecase, version }, refused } = prepared;
        let node = self.backend(id).and_then(|backend| backend.link.peer().cloned());
        let Some(preparing) = self.preparing.get_mut(&usecase) else { return };
        let Some(at) = preparing.waits.iter().position(|waits| *waits == id) else { return };
        if preparing.case.version != version {
            return;
        }
        preparing.waits.swap_remove(at);
        match refused {
            None => preparing.ready += 1,
            Some(why) => {
                let name = node.map_or_else(String::new, |node| node.to_string());
                ::log::warn!("back-end {name} is not ready for {usecase}: {why}");
                preparing.refused.get_or_insert(format!("{name}: {why}"));
            }
        }
        self.judge_preparing(now);
    }

    /// A back-end is gone: nobody waits for it.
    pub(super) fn forget_preparing(&mut self, id: LinkId, now: Now) {
        self.preparing.values_mut().for_each(|preparing| preparing.waits.retain(|waits| *waits != id));
        self.judge_preparing(now);
    }

    /// What all have answered, or what has waited long enough, takes its place or is given up.
    pub(super) fn judge_preparing(&mut self, now: Now) {
        let is_over = |one: &Preparing| one.waits.is_empty() || now.tick >= one.until;
        let names: Vec<String> =
            self.preparing.iter().filter(|(_, one)| is_over(one)).map(|(name, _)| name.clone()).collect();
        for name in names {
            let Some(Preparing { case, owner, ready, refused, .. }) = self.preparing.remove(&name) else {
                continue;
            };
            let result = match (ready, refused) {
                (1.., _) => Ok(self.install(case, now)),
                (0, refused) => {
                    self.drop_edition_if_unused(&name, case.version);
                    Err(match refused {
                        Some(why) => Failure::new(
                            502,
                            format!("No back-end is ready for it; nothing was changed. {why}"),
                        ),
                        None => {
                            Failure::new(504, "No back-end was ready for it in time; nothing was changed.")
                        }
                    })
                }
            };
            self.outcomes.push_back(Outcome { owner, result });
        }
    }

    /// What became of a definition that was put.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// Tells the back-ends that a version is called no more.
    pub(super) fn drop_edition_if_unused(&mut self, name: &str, version: u64) {
        let is_called = self.cases.get(name).is_some_and(|case| case.version == version)
            || self.jobs.iter().any(|(_, entry)| entry.job.version == version);
        if is_called {
            return;
        }
        let edition = Edition { usecase: name.to_owned(), version };
        let ids: Vec<LinkId> = self.backend_ids().collect();
        for id in ids {
            if let Some(backend) = self.backend(id) {
                edition.write(&mut backend.link.out);
            }
            self.list(id);
        }
    }

    // -- Managing -----------------------------------------------------------------------

    /// Takes a use case away; requests under way go on. Tells whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(case) = self.cases.remove(name) else { return false };
        self.drop_edition_if_unused(name, case.version);
        true
    }

    /// A use case's definition and version.
    pub fn get(&self, name: &str) -> Option<(&UseCase, u64)> {
        self.cases.get(name).map(|case| (&*case.case, case.version))
    }

    /// Whether something is called at this path.
    pub fn has_url(&self, path: &str) -> bool {
        self.cases.values().any(|case| case.case.url == path)
    }

    /// The policy by which back-ends are chosen from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.scheduler.policy = policy;
    }

    /// The policy.
    pub fn policy(&self) -> Policy {
        self.scheduler.policy
    }

    /// What an operator is shown: use cases, back-ends, requests under way.
    pub fn view(&self) -> Json {
        let cases = self.cases.values().map(|case| {
            let under_way =
                self.jobs.iter().filter(|(_, entry)| entry.job.case.name == case.case.name).count();
            json!({"name": case.case.name, "url": case.case.url, "version": case.version,
                   "program": case.case.program, "requests": under_way})
        });
        let backends = self.backends.iter().filter_map(|(_, backend)| {
            let (node, register) = (backend.link.peer()?, backend.register.as_ref()?);
            Some(
                json!({"name": node.as_str(), "address": backend.address.to_string(), "slots": register.slots,
                        "running": backend.runs.len(), "load": register.load, "draining": register.draining,
                        "programs": register.programs}),
            )
        });
        json!({"usecases": cases.collect::<Vec<_>>(), "backends": backends.collect::<Vec<_>>(),
               "scheduler": self.policy().name(), "requests": self.jobs.len(), "retries": self.retries})
    }
}

fn prepare_of(Case { case, version }: &Case) -> Prepare {
    Prepare {
        edition: Edition { usecase: case.name.clone(), version: *version },
        program: case.program.clone(),
        processes: case.processes as u32,
    }
}
