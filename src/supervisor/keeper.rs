//! The components of one machine: which are to run, which do, and when the next one is started.
//!
//! Knows names, process numbers and times; how a process is started and noticed to end is its caller's business.
//! What it wants done comes out of [`Keeper::poll_deed`]; what became of it goes into the `handle_*` functions.
//! Invariant: of a component whose process has not been said to have ended, no other is started.

use std::collections::{BTreeMap, VecDeque};

use super::{Component, Life, Role, Wanted};
use crate::limits::{
    COMPONENT_FAILURES_MAX, COMPONENT_REPLACED_MS, COMPONENT_SETTLED_MS, COMPONENT_STOP_MS, RESTART_MS_MAX,
    RESTART_MS_MIN, SUPERVISOR_STEP_MS,
};
use crate::random::Random;
use crate::time::Tick;

/// Something to be done to a component's process. Its name is in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Start it; [`Keeper::handle_start`] or [`Keeper::handle_end`] is to be told.
    Start(String, Component),
    /// Ask it to end.
    Terminate(String),
    /// End it.
    Kill(String),
}

/// What a component's process is doing.
///
/// ```text
/// Down ──wanted──▶ Waiting ──its time has come──▶ Starting ──▶ Running ──not wanted, or to be replaced──▶ Ending
///  ▲                  ▲                               └─────────────┴── it ended by itself ──▶ Waiting      │
///  └──────────────────┴────────────────────────────────── it ended ◀────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is none, and none is wanted.
    Down,
    /// There is none; the next is started then.
    Waiting(Tick),
    /// It is being started.
    Starting,
    /// It runs.
    Running(Life),
    /// It was asked to end; it is killed at that time, if it still runs.
    Ending(Life, Tick),
    /// It was killed.
    Killed(Life),
}

impl State {
    /// The process, if there is one.
    pub fn life(self) -> Option<Life> {
        match self {
            State::Running(life) | State::Ending(life, _) | State::Killed(life) => Some(life),
            State::Down | State::Waiting(_) | State::Starting => None,
        }
    }
}

/// A component, and what became of it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What it is to be.
    pub component: Component,
    /// What its process was started as.
    started: Component,
    /// Whether it is to run.
    pub wanted: Wanted,
    /// It is forgotten as soon as it is down.
    leaves: bool,
    /// What its process is doing.
    pub state: State,
    /// Since when its process runs.
    pub since: Tick,
    /// How often it ended by itself, one time soon after the other.
    pub failures: u32,
    /// How often it ended by itself.
    pub restarts: u64,
    /// How it ended the last time.
    pub last_end: Option<String>,
    /// Its process was started in this life.
    pub is_own: bool,
}

impl Kept {
    fn new(component: Component, wanted: Wanted, now: Tick) -> Kept {
        Kept {
            started: component.clone(),
            component,
            wanted,
            leaves: false,
            state: State::Down,
            since: now,
            failures: 0,
            restarts: 0,
            last_end: None,
            is_own: true,
        }
    }

    /// What its process was started as.
    pub fn started(&self) -> &Component {
        &self.started
    }

    fn is_settled(&self, now: Tick) -> bool {
        matches!(self.state, State::Running(_)) && now.since_ms(self.since) >= COMPONENT_SETTLED_MS
    }

    fn is_to_run(&self) -> bool {
        self.wanted == Wanted::Up && !self.leaves
    }

    fn is_outdated(&self) -> bool {
        !self.component.is_like(&self.started)
    }

    /// Whether it fails over and over.
    pub fn is_failing(&self) -> bool {
        self.failures >= COMPONENT_FAILURES_MAX
    }

    /// When it is killed that is asked to end now.
    fn patience(&self, now: Tick) -> Tick {
        match self.wanted {
            Wanted::Stopped => now.plus_ms(COMPONENT_STOP_MS),
            Wanted::Up | Wanted::Drained => {
                now.plus_ms(self.started.drain_ms.saturating_add(COMPONENT_STOP_MS))
            }
        }
    }
}

/// All components of a machine.
#[derive(Debug)]
pub struct Keeper {
    kept: BTreeMap<String, Kept>,
    deeds: VecDeque<Deed>,
    random: Random,
    has_changed: bool,
}

impl Keeper {
    /// One that keeps nothing yet.
    pub fn new(seed: u64) -> Keeper {
        Keeper { kept: BTreeMap::new(), deeds: VecDeque::new(), random: Random::new(seed), has_changed: true }
    }

    /// All components by their names.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Kept)> {
        self.kept.iter().map(|(name, kept)| (name.as_str(), kept))
    }

    /// A component.
    pub fn get(&self, name: &str) -> Option<&Kept> {
        self.kept.get(name)
    }

    /// Whether something that others are told has changed since this was last asked.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Something has changed that others are told, though no component has.
    pub fn note_change(&mut self) {
        self.has_changed = true;
    }

    // -- Wishes -------------------------------------------------------------------------

    /// There is to be such a component, or it is to be different from now on.
    pub fn put(&mut self, name: &str, component: Component, wanted: Wanted, now: Tick) {
        let mut is_new = false;
        let kept = self.kept.entry(name.to_owned()).or_insert_with(|| {
            is_new = true;
            Kept::new(component.clone(), wanted, now)
        });
        if kept.wanted != wanted {
            // What was ordered is no failure, and what failed before has nothing to do with it.
            kept.failures = 0;
        }
        self.has_changed |= is_new || kept.component != component || kept.wanted != wanted || kept.leaves;
        (kept.component, kept.wanted, kept.leaves) = (component, wanted, false);
        self.judge(name, now);
    }

    /// There is to be no such component.
    pub fn remove(&mut self, name: &str, now: Tick) {
        let Some(kept) = self.kept.get_mut(name) else { return };
        self.has_changed |= !kept.leaves;
        kept.leaves = true;
        if kept.wanted == Wanted::Up {
            kept.wanted = Wanted::Drained;
        }
        self.judge(name, now);
    }

    /// Tries at once to start what waits after a failure.
    pub fn hurry(&mut self, name: &str, now: Tick) {
        let Some(kept) = self.kept.get_mut(name) else { return };
        kept.failures = 0;
        if let State::Waiting(until) = &mut kept.state {
            *until = now;
        }
        self.judge(name, now);
    }

    /// Whether no component of this kind has a process.
    pub fn is_idle(&self, role: Role) -> bool {
        let has_process = |kept: &Kept| kept.state.life().is_some() || kept.state == State::Starting;
        !self.kept.values().any(|kept| kept.component.role == role && has_process(kept))
    }

    /// Kills every process.
    pub fn kill_all(&mut self) {
        for (name, kept) in &mut self.kept {
            if let Some(life) = kept.state.life() {
                kept.wanted = Wanted::Stopped;
                kept.state = State::Killed(life);
                self.deeds.push_back(Deed::Kill(name.clone()));
            }
        }
    }

    // -- Fates --------------------------------------------------------------------------

    /// A process goes on that an earlier life of this program has started.
    pub fn adopt(&mut self, name: &str, component: Component, life: Life, now: Tick) {
        let mut kept = Kept::new(component, Wanted::Up, now);
        kept.state = State::Running(life);
        kept.is_own = false;
        self.kept.insert(name.to_owned(), kept);
        self.has_changed = true;
    }

    /// It was started.
    pub fn handle_start(&mut self, name: &str, life: Life, now: Tick) {
        let Some(kept) = self.kept.get_mut(name) else { return };
        kept.state = State::Running(life);
        kept.since = now;
        kept.is_own = true;
        self.has_changed = true;
        self.judge(name, now);
    }

    /// Its process ended, or could not be started.
    pub fn handle_end(&mut self, name: &str, how: &str, now: Tick) {
        let jitter = self.random.next_u64();
        let Some(kept) = self.kept.get_mut(name) else { return };
        self.has_changed = true;
        // What was still to be done to this process must not be done to the next.
        self.deeds
            .retain(|deed| !matches!(deed, Deed::Terminate(other) | Deed::Kill(other) if other == name));
        kept.last_end = Some(how.to_owned());
        if matches!(kept.state, State::Running(_) | State::Starting) && kept.is_to_run() {
            kept.failures = if kept.is_settled(now) { 1 } else { kept.failures.saturating_add(1) };
            kept.restarts += 1;
            let wait_ms = restart_ms(kept.failures, jitter);
            kept.state = State::Waiting(now.plus_ms(wait_ms));
            if kept.failures == COMPONENT_FAILURES_MAX {
                ::log::error!("{name} fails over and over ({how}): it is tried again, ever more rarely");
            } else if kept.failures < COMPONENT_FAILURES_MAX {
                ::log::warn!("{name} has ended ({how}): it is started again in {wait_ms} ms");
            }
        } else {
            ::log::info!("{name} has ended ({how})");
            kept.state = State::Down;
        }
        self.judge(name, now);
    }

    /// Time has passed.
    pub fn handle_time(&mut self, now: Tick) {
        for name in self.kept.keys().cloned().collect::<Vec<_>>() {
            self.judge(&name, now);
        }
    }

    /// When [`Keeper::handle_time`] has something to do; `None` for never.
    pub fn next_deadline(&self, now: Tick) -> Option<Tick> {
        let due = self.kept.values().filter_map(|kept| match kept.state {
            State::Waiting(until) | State::Ending(_, until) => Some(until),
            State::Running(_) if kept.is_outdated() => Some(now.plus_ms(SUPERVISOR_STEP_MS)),
            State::Running(_) if kept.failures > 0 => Some(kept.since.plus_ms(COMPONENT_SETTLED_MS)),
            _ => None,
        });
        due.min()
    }

    /// The next thing to do.
    pub fn poll_deed(&mut self) -> Option<Deed> {
        self.deeds.pop_front()
    }

    /// All transitions that need no news.
    fn judge(&mut self, name: &str, now: Tick) {
        let may_replace = self.may_replace(name, now);
        let Some(kept) = self.kept.get_mut(name) else { return };
        let before = kept.state;
        let to_run = kept.is_to_run();
        match kept.state {
            State::Down if kept.leaves => drop(self.kept.remove(name)),
            State::Down if to_run => {
                kept.state = State::Waiting(now);
                return self.judge(name, now);
            }
            State::Waiting(_) if !to_run => {
                kept.state = State::Down;
                self.has_changed = true;
                return self.judge(name, now);
            }
            State::Waiting(until) if now >= until => {
                kept.started = kept.component.clone();
                kept.state = State::Starting;
                self.deeds.push_back(Deed::Start(name.to_owned(), kept.component.clone()));
            }
            State::Running(life) if !to_run || kept.is_outdated() && may_replace => {
                kept.state = State::Ending(life, kept.patience(now));
                self.deeds.push_back(Deed::Terminate(name.to_owned()));
            }
            State::Running(_) if kept.is_settled(now) => kept.failures = 0,
            State::Ending(life, until) if kept.wanted == Wanted::Stopped && until > kept.patience(now) => {
                kept.state = State::Ending(life, kept.patience(now));
            }
            State::Ending(life, until) if now >= until => {
                kept.state = State::Killed(life);
                self.deeds.push_back(Deed::Kill(name.to_owned()));
            }
            _ => {}
        }
        self.has_changed |= self.kept.get(name).is_none_or(|kept| kept.state != before);
    }

    /// Whether this one may be ended so as to be started as something else: of a group one after the other.
    fn may_replace(&self, name: &str, now: Tick) -> bool {
        let Some(own) = self.kept.get(name) else { return false };
        let is_other = |(other, kept): &(&String, &Kept)| {
            *other != name && kept.component.group == own.component.group && kept.is_to_run()
        };
        let is_steady = |kept: &Kept| {
            matches!(kept.state, State::Running(_))
                && (kept.is_outdated() || now.since_ms(kept.since) >= COMPONENT_REPLACED_MS)
        };
        self.kept.iter().filter(is_other).all(|(_, kept)| is_steady(kept) || kept.is_failing())
    }
}

/// How long to wait after so many failures: 100 ms × 2ⁿ, less up to a half of it, so that what failed together does not
/// come back together.
fn restart_ms(failures: u32, jitter: u64) -> u64 {
    let whole = (RESTART_MS_MIN << failures.saturating_sub(1).min(20)).min(RESTART_MS_MAX);
    whole / 2 + jitter % (whole / 2 + 1)
}

#[cfg(test)]
mod tests;
