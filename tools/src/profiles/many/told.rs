//! What a run of many polls tells: its figures, and a table of them.
//!
//! What it refuses to know: how they are measured. Invariant: the table says of every message to all how
//! many polls got it, and how many did not or got it twice.

use std::time::Duration;

use super::Look;
use super::fit::Division;
use crate::engine::Latencies;
use crate::process::Memory;
use crate::profiles::report::Report;
use crate::profiles::stage::Stage;
use crate::series::{self, decimals, whole};

/// All polls are held.
pub(super) struct Held {
    /// Until all were connected and had polled.
    pub connected: Duration,
    /// Until the server had taken them.
    pub accepted: Duration,
    /// How many polls it holds by its own count.
    pub by_server: Option<u64>,
    /// CPU time of the server until then.
    pub server_us: Option<f64>,
    pub before: Look,
    pub after: Look,
}

/// A time without messages.
pub(super) struct Idle {
    pub seconds: f64,
    /// Polls that timed out and were sent again.
    pub time_outs: u64,
    /// CPU time of the server.
    pub server_us: Option<f64>,
    /// How many polls it holds at the end by its own count.
    pub by_server: Option<u64>,
}

/// A message to all.
pub(super) struct Broadcast {
    pub channels: u32,
    pub deliveries: u64,
    pub lost: u64,
    pub duplicated: u64,
    /// Everybody got it in time.
    pub is_complete: bool,
    pub latency: Latencies,
    /// CPU time of the server.
    pub server_us: Option<f64>,
    /// The most bytes that were seen in the kernel's TCP buffers.
    pub buffers: u64,
}

/// All of it.
pub(super) struct Told {
    polls: f64,
    division: Division,
    is_own: bool,
    ends: &'static str,
    rows: Vec<Vec<String>>,
    pub held: Option<Held>,
    pub idle: Option<Idle>,
    pub broadcasts: Vec<Broadcast>,
    /// Memory at the end and at the beginning.
    pub held_again: Option<(Memory, Memory)>,
}

impl Told {
    /// Nothing yet.
    pub fn new(stage: &Stage<'_>, division: Division) -> Told {
        let is_near = stage.subject.subscribe.iter().all(|to| to.ip().is_loopback());
        Told {
            polls: stage.plan.connections as f64,
            division,
            is_own: stage.plan.targets.is_empty(),
            ends: if is_near { "a pair: both ends are on this machine" } else { "our end" },
            rows: Vec::new(),
            held: None,
            idle: None,
            broadcasts: Vec::new(),
            held_again: None,
        }
    }

    /// Adds the figures and the table to the report.
    pub fn into_report(mut self, report: &mut Report) {
        let command: Vec<String> = std::env::args().skip(1).collect();
        self.row(&format!("`pushup-load {}`", command.join(" ")), String::new());
        self.row("polls held at once, a connection each", whole(self.polls));
        let parts = match self.is_own {
            true => {
                ("shards of the server (one process) / load workers", format!("{} / ", self.division.shards))
            }
            false => ("load workers", String::new()),
        };
        self.row(parts.0, format!("{}{}", parts.1, self.division.workers));
        if let Some(held) = self.held.take() {
            self.tell_held(&held, report);
        }
        if let Some(idle) = self.idle.take() {
            self.tell_idle(&idle, report);
        }
        let keys = ["all", "onward", "each"];
        for (broadcast, key) in std::mem::take(&mut self.broadcasts).iter().zip(keys) {
            self.tell_broadcast(broadcast, key, report);
        }
        if let Some((now, before)) = self.held_again.take() {
            let (pss, dirty) = self.memory(now, before);
            report.add("held_again_pss_bytes", "", pss, "B");
            self.row(
                "user memory per held poll after all messages",
                format!("{} / {} B", whole(pss), whole(dirty)),
            );
        }
        report.table = Some(series::table(&self.rows));
    }

    fn row(&mut self, name: &str, value: String) {
        self.rows.push(vec![name.to_owned(), value]);
    }

    /// Pss and Private_Dirty of each poll.
    fn memory(&self, now: Memory, before: Memory) -> (f64, f64) {
        let each = |now: u64, before: u64| (now as f64 - before as f64) / self.polls;
        (each(now.pss, before.pss), each(now.private_dirty, before.private_dirty))
    }

    fn tell_held(&mut self, held: &Held, report: &mut Report) {
        let seconds = held.connected.as_secs_f64();
        report.add("connect_s", "", seconds, "s");
        report.add("connects_per_s", "", self.polls / seconds, "/s");
        report.add("accept_s", "", held.accepted.as_secs_f64(), "s");
        let rate = whole(self.polls / seconds);
        self.row("until all were connected and had polled", format!("{seconds:.1} s ({rate}/s)"));
        if let Some(count) = held.by_server {
            report.add("held_by_server", "", count as f64, "");
            let text = format!("{:.1} s ({})", held.accepted.as_secs_f64(), whole(count as f64));
            self.row("until the server held them (its own count)", text);
        }
        if let Some(us) = held.server_us {
            report.add("accept_cpu_us", "", us / self.polls, "µs");
            self.row("server CPU per connection and first poll", format!("{} µs", decimals(us / self.polls)));
        }
        if let Some((now, before)) = held.after.user.zip(held.before.user) {
            let (pss, dirty) = self.memory(now, before);
            report.add("held_pss_bytes", "", pss, "B");
            report.add("held_private_dirty_bytes", "", dirty, "B");
            report.add("idle_rss_bytes", "", before.rss as f64, "B");
            self.row(
                "user memory per held poll, Pss / Private_Dirty",
                format!("{} / {} B", whole(pss), whole(dirty)),
            );
        }
        let polls = self.polls;
        let each = |now: u64, before: u64| (now as f64 - before as f64) / polls;
        let slab = each(held.after.kernel.slab, held.before.kernel.slab);
        report.add("kernel_slab_bytes", "", slab, "B");
        self.row(&format!("kernel memory per connection ({})", self.ends), format!("{} B", whole(slab)));
        if let Some((now, before)) = held.after.unused.zip(held.before.unused) {
            let taken = each(before, now);
            report.add("machine_bytes", "", taken, "B");
            self.row("memory of the whole machine but files, per connection", format!("{} B", whole(taken)));
        }
    }

    fn tell_idle(&mut self, idle: &Idle, report: &mut Report) {
        let time_outs = idle.time_outs as f64;
        report.add("time_outs", "", time_outs, "");
        let name = format!("{:.0} s without messages: polls that timed out and polled again", idle.seconds);
        self.row(&name, whole(time_outs));
        if let Some(count) = idle.by_server {
            report.add("held_by_server_after", "", count as f64, "");
            self.row("… polls the server holds afterwards (its own count)", whole(count as f64));
        }
        let Some(us) = idle.server_us else { return };
        let percent = us / 1e4 / idle.seconds;
        report.add("idle_cpu_percent", "", percent, "%");
        self.row("… server CPU meanwhile, of one core", format!("{percent:.1} %"));
        if time_outs > 0.0 {
            report.add("time_out_cpu_us", "", us / time_outs, "µs");
            self.row("… server CPU per time-out and new poll", format!("{} µs", decimals(us / time_outs)));
        }
    }

    fn tell_broadcast(&mut self, broadcast: &Broadcast, key: &str, report: &mut Report) {
        let name = match key {
            "all" => "one message to all, on one channel".to_owned(),
            "onward" => "again; with it each goes on to a channel of its own".to_owned(),
            _ => format!("one message on each of {} channels", whole(broadcast.channels.into())),
        };
        let latency = &broadcast.latency;
        if !latency.is_empty() {
            report.add(&format!("{key}_first_ms"), "", latency.min() as f64 / 1e3, "ms");
            report.add_latencies(key, "", latency, &[50.0, 99.0, 100.0]);
            let at = |percentile| ms(latency.value_at_percentile(percentile));
            let values = [ms(latency.min()), at(50.0), at(99.0), at(100.0)].join(" / ");
            self.row(&format!("{name}: first / p50 / p99 / last"), format!("{values} ms"));
        }
        let counts = [broadcast.deliveries, broadcast.lost, broadcast.duplicated];
        for (word, count) in ["deliveries", "lost", "duplicated"].into_iter().zip(counts) {
            report.add(&format!("{key}_{word}"), "", count as f64, "");
        }
        let counts = counts.map(|count| whole(count as f64)).join(" / ");
        self.row("… polls that got it / did not / got it again", counts);
        if let Some(us) = broadcast.server_us.filter(|_| broadcast.deliveries > 0) {
            let each = us / broadcast.deliveries as f64;
            report.add(&format!("{key}_cpu_us"), "", each, "µs");
            self.row("… server CPU per delivery and new poll", format!("{} µs", decimals(each)));
        }
        if broadcast.buffers > 0 {
            report.add(&format!("{key}_buffer_bytes"), "", broadcast.buffers as f64, "B");
            self.row("… most data in the kernel's TCP buffers", series::bytes(broadcast.buffers as f64));
        }
    }
}

fn ms(us: u64) -> String {
    let ms = us as f64 / 1e3;
    if ms >= 100.0 { whole(ms) } else { decimals(ms) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::latencies;
    use crate::machine::{KernelMemory, Machine};

    fn look(bytes: u64) -> Look {
        Look {
            user: Some(Memory { pss: bytes, private_dirty: bytes, rss: bytes }),
            kernel: KernelMemory { slab: 80 * bytes, ..KernelMemory::default() },
            unused: Some((1 << 40) - 100 * bytes),
        }
    }

    fn told() -> Told {
        let mut latency = latencies();
        [2_000, 3_000, 4_000, 900_000].into_iter().for_each(|us| latency.record(us).expect("within bounds"));
        let broadcast = |channels, lost| Broadcast {
            channels,
            deliveries: 4 - lost,
            lost,
            duplicated: 0,
            is_complete: lost == 0,
            latency: latency.clone(),
            server_us: Some(40.0),
            buffers: 5_000_000,
        };
        Told {
            polls: 4.0,
            division: Division { workers: 2, shards: 3 },
            is_own: true,
            ends: "a pair",
            rows: Vec::new(),
            held: Some(Held {
                connected: Duration::from_millis(2_000),
                accepted: Duration::from_millis(2_500),
                by_server: Some(4),
                server_us: Some(48.0),
                before: look(1_000),
                after: look(1_400),
            }),
            idle: Some(Idle { seconds: 50.0, time_outs: 4, server_us: Some(1e6), by_server: Some(4) }),
            broadcasts: vec![broadcast(1, 0), broadcast(1, 0), broadcast(1_000, 1)],
            held_again: None,
        }
    }

    #[test]
    fn the_table_says_what_was_measured() {
        let mut report = Report::new("title".to_owned(), Machine::look(), 0);
        told().into_report(&mut report);
        let table = report.table.clone().expect("a table");
        // Cells without the space that aligns them.
        let rows: Vec<String> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for wanted in [
            "| shards of the server (one process) / load workers | 3 / 2 |",
            "| until all were connected and had polled | 2.0 s (2/s) |",
            "| until the server held them (its own count) | 2.5 s (4) |",
            "| user memory per held poll, Pss / Private_Dirty | 100 / 100 B |",
            "| kernel memory per connection (a pair) | 8,000 B |",
            "| memory of the whole machine but files, per connection | 10,000 B |",
            "| 50 s without messages: polls that timed out and polled again | 4 |",
            "| … server CPU meanwhile, of one core | 2.0 % |",
            "| one message to all, on one channel: first / p50 / p99 / last | 2.00 / 3.00 / 900 / 900 ms |",
            "| … polls that got it / did not / got it again | 4 / 0 / 0 |",
            "| … polls that got it / did not / got it again | 3 / 1 / 0 |",
            "| … most data in the kernel's TCP buffers | 5,000 kB |",
        ] {
            assert!(rows.iter().any(|row| row == wanted), "{wanted} is not in\n{table}");
        }
        assert!(report.show().contains(&table), "{}", report.show());
        let figure =
            |key: &str| report.figures.iter().find(|figure| figure.key == key).map(|figure| figure.value);
        assert_eq!((figure("each_lost"), figure("onward_first_ms")), (Some(1.0), Some(2.0)));
    }
}
