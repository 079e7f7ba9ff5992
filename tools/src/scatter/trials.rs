//! One trial: requests at once to one system, how long they take, and what its processes use for them.
//!
//! It refuses to know why it is asked. Invariant: every answer is looked into, off the clock: it must be the
//! same, byte by byte, as everybody else's to the same request.

use std::collections::HashMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::documents::{Day, FIRST, PER_DAY};
use super::fetch::Fetcher;
use super::systems::{Part, Role, System, URL};
use crate::{Fallible, process};

/// An answer that takes longer will not come.
const PATIENCE: Duration = Duration::from_secs(1_800);
/// So often it is looked how much memory processes have.
const LOOK: Duration = Duration::from_millis(50);
/// Processes come to rest within this, or nearly so.
const REST: Duration = Duration::from_secs(2);
/// Two looks at whether they have lie this far apart: longer than a quota's period.
const REST_LOOK: Duration = Duration::from_millis(40);
/// Processor time that all of them may use between two looks, for their timers.
const REST_NS: u64 = 400_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ask {
    /// Days from 2003-07-01 on.
    pub days: u32,
    /// Documents of each day at most.
    pub limit: u32,
    /// Whether the answer is to be compressed.
    pub gzip: bool,
}

impl Ask {
    /// Whole days.
    pub fn days(days: u32) -> Ask {
        Ask { days, limit: PER_DAY, gzip: true }
    }

    /// How many documents that are.
    pub fn documents(&self) -> u64 {
        u64::from(self.days) * u64::from(self.limit.min(PER_DAY))
    }

    fn target(&self) -> String {
        let to = Day(FIRST.0 + i64::from(self.days) - 1);
        format!("{URL}?from={FIRST}&to={to}&limit={}", self.limit)
    }
}

/// What a part of a system has used.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// What it is called.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Processor time, in seconds.
    pub cpu_s: f64,
    /// What of it the processes have used that it has started: a back-end's handlers.
    pub handlers_cpu_s: f64,
    /// The most memory that it had at once, in bytes of resident pages.
    pub rss_bytes: u64,
    /// How long it was held up by its quota, in seconds, added up over processors.
    pub held_up_s: f64,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// From the request to the whole answer, mean of all requests, in seconds.
    pub response_s: f64,
    /// The longest.
    pub slowest_s: f64,
    /// From the request to the first byte of the body, mean of all requests, in seconds.
    pub first_byte_s: f64,
    /// From the first request to the last answer, in seconds.
    pub wall_s: f64,
    /// Bytes of one answer's body, as they came.
    pub body_bytes: u64,
    /// Bytes of it when it is not compressed.
    pub plain_bytes: u64,
    /// By part of the system.
    pub parts: Vec<Use>,
    /// Processor time of the data side, in seconds.
    pub data_cpu_s: f64,
}

impl Trial {
    /// Processor time of the parts with a role, in seconds.
    pub fn cpu_s(&self, role: Role) -> f64 {
        self.parts.iter().filter(|part| part.role == role).map(|part| part.cpu_s).sum()
    }

    /// Processor time of the whole system, in seconds.
    pub fn whole_cpu_s(&self) -> f64 {
        self.parts.iter().map(|part| part.cpu_s).sum()
    }

    /// The most memory that a part with this role had, if there is one.
    pub fn rss_bytes(&self, role: Role) -> Option<u64> {
        self.parts.iter().filter(|part| part.role == role).map(|part| part.rss_bytes).max()
    }
}

/// What answers must be: their length and SHA-256 for each request.
#[derive(Default)]
pub struct Expected(HashMap<Ask, (u64, [u8; 32], String)>);

impl Expected {
    /// Compares an answer with those before it; returns its plain length.
    pub fn check(&mut self, ask: Ask, who: &str, body: &Body) -> Fallible<u64> {
        let plain = body.plain()?;
        let told = (plain.len() as u64, hmac_sha256::Hash::hash(&plain));
        let lines = memchr::memchr_iter(b'\n', &plain).count() as u64;
        if lines != ask.documents() {
            return Err(format!("{who} gave {lines} records of {} documents", ask.documents()).into());
        }
        let ask = Ask { gzip: false, ..ask };
        let first = self.0.entry(ask).or_insert_with(|| (told.0, told.1, who.to_owned()));
        if (first.0, first.1) != told {
            return Err(format!("{who} and {} do not agree on {}", first.2, ask.target()).into());
        }
        Ok(told.0)
    }
}

/// An answer's body as it came.
pub struct Body {
    bytes: Vec<u8>,
    gzip: bool,
}

impl Body {
    fn plain(&self) -> Fallible<Vec<u8>> {
        if !self.gzip {
            return Ok(self.bytes.clone());
        }
        let (mut out, mut input) = (Vec::new(), self.bytes.as_slice());
        flate2::bufread::GzDecoder::new(&mut input).read_to_end(&mut out)?;
        if input.is_empty() { Ok(out) } else { Err("there is something behind the compressed answer".into()) }
    }
}

/// One request as its client saw it.
struct Answer {
    begun: Instant,
    first: Instant,
    ended: Instant,
    body: Body,
}

/// Asks so often at once and waits for all.
pub fn run(
    system: &System,
    data_pid: u32,
    ask: Ask,
    at_once: u32,
    expected: &mut Expected,
    stop: &Arc<AtomicBool>,
) -> Fallible<Trial> {
    let (before, data_before) = (Spent::look(system), process::cpu(data_pid)?);
    let (answers, peaks) = ask_all(system, ask, at_once, stop)?;
    rest(system);
    let after = Spent::look(system);
    let data_cpu_s = process::cpu(data_pid)?.since(data_before).ran_ns as f64 / 1e9;
    let mut plain_bytes = 0;
    for answer in &answers {
        plain_bytes = expected.check(ask, &system.kind.words(), &answer.body)?;
    }
    let mean = |time: fn(&Answer) -> Duration| {
        answers.iter().map(|answer| time(answer).as_secs_f64()).sum::<f64>() / answers.len() as f64
    };
    let (begun, ended) =
        (answers.iter().map(|answer| answer.begun).min(), answers.iter().map(|answer| answer.ended).max());
    let took = |answer: &Answer| answer.ended - answer.begun;
    Ok(Trial {
        response_s: mean(took),
        slowest_s: answers.iter().map(|answer| took(answer).as_secs_f64()).fold(0.0, f64::max),
        first_byte_s: mean(|answer| answer.first - answer.begun),
        wall_s: ended.zip(begun).map_or(0.0, |(ended, begun)| (ended - begun).as_secs_f64()),
        body_bytes: answers.first().map_or(0, |answer| answer.body.bytes.len() as u64),
        plain_bytes,
        parts: after.since(&before, system, &peaks),
        data_cpu_s,
    })
}

/// Waits until all processes have done what they were asked for, for a while.
fn rest(system: &System) {
    let used = || -> u64 {
        let pids = system.parts.iter().flat_map(Part::pids);
        pids.filter_map(|pid| process::cpu(pid).ok()).map(|cpu| cpu.ran_ns).sum()
    };
    let (deadline, mut before) = (Instant::now() + REST, used());
    while Instant::now() < deadline {
        sleep(REST_LOOK);
        let now = used();
        if now.saturating_sub(before) < REST_NS {
            return;
        }
        before = now;
    }
}

/// The answers, and the most memory that each part had meanwhile.
fn ask_all(
    system: &System,
    ask: Ask,
    at_once: u32,
    stop: &Arc<AtomicBool>,
) -> Fallible<(Vec<Answer>, Vec<u64>)> {
    let begin = Barrier::new(at_once as usize);
    let over = AtomicBool::new(false);
    let peaks = Mutex::new(vec![0; system.parts.len()]);
    let answers = scope(|threads| {
        let asking: Vec<_> = (0..at_once as usize)
            .map(|number| {
                let (address, begin) = (system.addresses[number % system.addresses.len()], &begin);
                threads.spawn(move || fetch(address, ask, begin, stop))
            })
            .collect();
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                look(&system.parts, &peaks);
                sleep(LOOK);
            }
        });
        let answers: Vec<_> = asking.into_iter().map(|thread| thread.join()).collect();
        over.store(true, Ordering::Relaxed);
        answers
    });
    look(&system.parts, &peaks);
    let answers: Fallible<Vec<Answer>> =
        answers.into_iter().map(|answer| answer.map_err(|_| "a client has panicked")?).collect();
    let peaks = peaks.into_inner().map_err(|_| "a look at memory has panicked")?;
    Ok((answers?, peaks))
}

fn fetch(address: SocketAddr, ask: Ask, begin: &Barrier, stop: &Arc<AtomicBool>) -> Fallible<Answer> {
    let asking = Fetcher::connect(address, Instant::now() + PATIENCE, Some(Arc::clone(stop)));
    // Who cannot connect does not keep the others waiting.
    begin.wait();
    let mut asking = asking?;
    let mut bytes = Vec::with_capacity(1 << 20);
    let fields = if ask.gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    let begun = Instant::now();
    let head = asking.ask("GET", &ask.target(), fields, b"")?;
    if head.status != 200 {
        let said = asking.whole()?;
        return Err(format!("the answer is {}: {}", head.status, String::from_utf8_lossy(&said)).into());
    }
    asking.next(&mut bytes)?;
    let first = Instant::now();
    while asking.next(&mut bytes)? {}
    let body = Body { bytes, gzip: head.gzip };
    Ok(Answer { begun, first, ended: Instant::now(), body })
}

fn look(parts: &[Part], peaks: &Mutex<Vec<u64>>) {
    let now: Vec<u64> = parts
        .iter()
        .map(|part| part.pids().into_iter().filter_map(|pid| process::resident(pid).ok()).sum())
        .collect();
    if let Ok(mut peaks) = peaks.lock() {
        for (peak, now) in peaks.iter_mut().zip(now) {
            *peak = now.max(*peak);
        }
    }
}

/// What every process of a system has spent so far.
struct Spent {
    cpu_ns: HashMap<u32, u64>,
    held_up_ns: Vec<u64>,
}

impl Spent {
    fn look(system: &System) -> Spent {
        let cpu = |pid: u32| Some((pid, process::cpu(pid).ok()?.ran_ns));
        let held_up = |part: &Part| part.group.as_ref().map_or(0, |group| group.throttled().1);
        Spent {
            cpu_ns: system.parts.iter().flat_map(Part::pids).filter_map(cpu).collect(),
            held_up_ns: system.parts.iter().map(held_up).collect(),
        }
    }

    /// What was spent since, by part; who was not there before began at nothing.
    fn since(&self, before: &Spent, system: &System, peaks: &[u64]) -> Vec<Use> {
        let spent = |pid: &u32| {
            let now = self.cpu_ns.get(pid).copied().unwrap_or(0);
            now.saturating_sub(before.cpu_ns.get(pid).copied().unwrap_or(0))
        };
        let seconds = |pids: &[u32]| pids.iter().map(spent).sum::<u64>() as f64 / 1e9;
        let part = |(index, part): (usize, &Part)| Use {
            name: part.name.clone(),
            role: part.role,
            cpu_s: seconds(&part.pids()),
            handlers_cpu_s: seconds(&part.pids()[1..]),
            rss_bytes: peaks[index],
            held_up_s: (self.held_up_ns[index] - before.held_up_ns[index]) as f64 / 1e9,
        };
        system.parts.iter().enumerate().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_differ_are_noticed() {
        let ask = Ask { days: 1, limit: 2, gzip: true };
        let body = |text: &str| Body { bytes: text.as_bytes().to_vec(), gzip: false };
        let mut expected = Expected::default();
        assert_eq!(expected.check(ask, "one", &body("a\nb\n")).expect("two records"), 4);
        assert!(expected.check(ask, "two", &body("a\nb\n")).is_ok());
        let told = expected.check(ask, "three", &body("a\nc\n")).expect_err("it differs").to_string();
        assert!(told.contains("three and one do not agree"), "{told}");
        assert!(expected.check(ask, "four", &body("a\n")).is_err());
        assert_eq!(Ask::days(31).documents(), 61_008);
        assert_eq!(ask.target(), "/v1/clouds?from=2003-07-01&to=2003-07-01&limit=2");
    }

    #[test]
    fn compressed_answers_are_one_member() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"text").expect("in memory");
        let mut bytes = encoder.finish().expect("in memory");
        assert_eq!(Body { bytes: bytes.clone(), gzip: true }.plain().expect("whole"), b"text");
        assert!(Body { bytes: bytes[..bytes.len() - 1].to_vec(), gzip: true }.plain().is_err());
        bytes.push(0);
        assert!(Body { bytes, gzip: true }.plain().is_err());
    }
}
