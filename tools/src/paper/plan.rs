//! Which experiments are run, of which size and in which order, and how long they will take.
//!
//! It refuses to know how they are run. Invariant: the order is by repeats, so that a run that is
//! interrupted has measured everything once before it measured anything twice.

use std::time::Duration;

use super::{Exhibit, Method, published};

/// Setting up a polling run: starting the server, connecting, the first polls. For the estimate.
const POLLING_SETUP_S: f64 = 0.5;
/// Starting and ending a crowd's servers and reading their memory. For the estimate.
const CROWD_SETUP_S: f64 = 1.2;
/// Connections that can be made in a second. For the estimate.
const CONNECTS_PER_S: f64 = 8_000.0;
/// The least time between two messages to a crowd.
const BROADCAST_GAP_MIN: Duration = Duration::from_millis(500);
/// What each connection of a crowd adds to the time between two messages: several times what an
/// answer and the next poll cost, so that every message finds all polls waiting.
const BROADCAST_GAP_EACH: Duration = Duration::from_micros(120);
/// The publish interval of a crowd in the paper's time, in seconds: its shortest.
const CROWD_INTERVAL_S: f64 = 10.0;

/// Whether client pulling opens a connection for every question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// A new one each time, as in the paper's day.
    Fresh,
    /// One is kept for all.
    Kept,
}

/// One number of clients of the tables and how much faster than the paper it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Clients at once, the paper's "cc".
    pub clients: usize,
    /// Seconds here for each second of the paper.
    pub scale: f64,
}

/// Everything that is going to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is to be shown.
    pub exhibits: Vec<Exhibit>,
    /// Numbers of clients of Tables 1 and 2.
    pub rows: Vec<Row>,
    /// Publish intervals of Tables 1 and 2, in seconds of the paper.
    pub intervals_s: Vec<u32>,
    /// Publish intervals that one run of Tables 1 and 2 lasts, each with one message.
    pub publications: usize,
    /// How client pulling asks.
    pub pulling: Connections,
    /// Connections of Figures 9 to 13.
    pub crowds: Vec<usize>,
    /// Messages to each crowd.
    pub broadcasts: usize,
    /// Seconds here for each second of the paper between messages to a crowd.
    pub crowd_scale: f64,
    /// Numbers of nodes of Figures 12 and 13.
    pub nodes: Vec<usize>,
    /// How often everything is run.
    pub repeats: usize,
    /// Bytes of a published message.
    pub message_bytes: usize,
}

/// One run of Tables 1 and 2: a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PollingJob {
    /// How clients learn of messages.
    pub method: Method,
    /// How many clients, and the time's scale.
    pub row: Row,
    /// The publish interval, in seconds of the paper.
    pub interval_s: u32,
}

impl PollingJob {
    /// The publish interval here.
    pub fn interval(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.interval_s) * self.row.scale)
    }

    /// The polling interval of client pulling here.
    pub fn pull_every(&self) -> Duration {
        Duration::from_secs_f64(published::POLLING_INTERVAL_S * self.row.scale)
    }

    /// How long a long poll is held here: whole seconds, as servers count.
    pub fn long_poll_s(&self) -> u64 {
        (published::LONG_POLL_S * self.row.scale).round().max(1.0) as u64
    }
}

/// What clients of a crowd are connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Front {
    /// The server itself.
    Direct,
    /// A load balancer before so many nodes.
    Nodes(usize),
}

/// One run of Figures 9 to 13: many connections and a few messages to all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrowdJob {
    /// How clients learn of messages.
    pub method: Method,
    /// Connections at once.
    pub connections: usize,
    /// What they are connected to.
    pub front: Front,
}

/// One experiment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Job {
    /// Of §4.2.
    Polling(PollingJob),
    /// Of §4.3 and §4.4.
    Crowd(CrowdJob),
}

impl Job {
    /// For the line of progress.
    pub fn words(&self) -> String {
        match self {
            Job::Polling(job) => {
                format!(
                    "tables 1, 2: {}, {} clients, every {} s",
                    job.method, job.row.clients, job.interval_s
                )
            }
            Job::Crowd(CrowdJob { method, connections, front: Front::Direct }) => {
                format!("figures 9–11: {method}, {connections} connections")
            }
            Job::Crowd(CrowdJob { connections, front: Front::Nodes(nodes), .. }) => {
                format!("figures 12, 13: {connections} connections, {nodes} node(s)")
            }
        }
    }
}

/// What a client that pulls waits less than at the paper's pace, on average: half of what its polling
/// interval is shorter, in milliseconds.
pub fn shortened_wait_ms(scale: f64) -> f64 {
    1e3 * published::POLLING_INTERVAL_S / 2.0 * (1.0 - scale)
}

/// The scale of a number of clients: slower than wanted if they would ask too often together.
pub fn row_scale(clients: usize, wanted: f64, pulls_per_s_max: f64) -> f64 {
    let least = clients as f64 / published::POLLING_INTERVAL_S / pulls_per_s_max;
    // Never slower than the paper itself.
    wanted.max(least.min(1.0))
}

impl Plan {
    /// All experiments in their order.
    pub fn jobs(&self) -> Vec<Job> {
        let once: Vec<Job> =
            self.polling_jobs().map(Job::Polling).chain(self.crowd_jobs().map(Job::Crowd)).collect();
        once.repeat(self.repeats)
    }

    fn polling_jobs(&self) -> impl Iterator<Item = PollingJob> {
        let wanted = self.exhibits.iter().any(|exhibit| exhibit.is_polling());
        // Figures 7 and 8 alone need only the most clients.
        let figures_only = !self.exhibits.iter().any(|e| matches!(e, Exhibit::Table1 | Exhibit::Table2));
        let most = self.most_clients();
        let rows = self.rows.iter().filter(move |row| wanted && (!figures_only || row.clients == most));
        rows.flat_map(move |row| {
            let cell = move |interval_s, method| PollingJob { method, row: *row, interval_s };
            self.intervals_s.iter().flat_map(move |s| Method::ALL.map(|method| cell(*s, method)))
        })
    }

    fn crowd_jobs(&self) -> impl Iterator<Item = CrowdJob> {
        let direct = self.exhibits.iter().any(|exhibit| exhibit.is_crowd());
        let nodes = self.exhibits.iter().any(|exhibit| exhibit.is_nodes());
        let direct = self.crowds.iter().filter(move |_| direct).flat_map(|connections| {
            Method::LONG.map(|method| CrowdJob { method, connections: *connections, front: Front::Direct })
        });
        let nodes = self.nodes.iter().filter(move |_| nodes).flat_map(|count| {
            self.crowds.iter().map(|connections| CrowdJob {
                method: Method::EventDriven,
                connections: *connections,
                front: Front::Nodes(*count),
            })
        });
        direct.chain(nodes)
    }

    /// The largest number of clients of the tables.
    pub fn most_clients(&self) -> usize {
        self.rows.iter().map(|row| row.clients).max().unwrap_or(0)
    }

    /// Time between two messages to a crowd.
    pub fn broadcast_gap(&self, connections: usize) -> Duration {
        let scaled = Duration::from_secs_f64(CROWD_INTERVAL_S * self.crowd_scale);
        let each = BROADCAST_GAP_EACH * u32::try_from(connections).unwrap_or(u32::MAX);
        scaled.max(BROADCAST_GAP_MIN).max(each)
    }

    /// About how long an experiment takes, in seconds.
    pub fn estimate_s(&self, job: &Job) -> f64 {
        match job {
            Job::Polling(job) => POLLING_SETUP_S + job.interval().as_secs_f64() * self.publications as f64,
            Job::Crowd(job) => {
                let gap_s = self.broadcast_gap(job.connections).as_secs_f64();
                CROWD_SETUP_S + job.connections as f64 / CONNECTS_PER_S + gap_s * self.broadcasts as f64
            }
        }
    }

    /// About how long everything takes, in seconds.
    pub fn total_s(&self) -> f64 {
        self.jobs().iter().map(|job| self.estimate_s(job)).sum()
    }

    /// What will be done, in a few lines for a person.
    pub fn summary(&self) -> String {
        let jobs = self.jobs();
        let share = |of: fn(&Job) -> bool| {
            let these: Vec<&Job> = jobs.iter().filter(|job| of(job)).collect();
            (these.len(), these.iter().map(|job| self.estimate_s(job)).sum::<f64>())
        };
        let parts = [
            ("push against poll (tables 1, 2, figures 7, 8)", share(|job| matches!(job, Job::Polling(_)))),
            (
                "events against threads (figures 9, 10, 11)",
                share(|job| matches!(job, Job::Crowd(CrowdJob { front: Front::Direct, .. }))),
            ),
            (
                "several nodes (figures 12, 13)",
                share(|job| matches!(job, Job::Crowd(CrowdJob { front: Front::Nodes(_), .. }))),
            ),
        ];
        let mut out = format!("{} runs, about {}\n", jobs.len(), duration(self.total_s()));
        for (name, (count, seconds)) in parts.into_iter().filter(|(_, (count, _))| *count > 0) {
            out += &format!("  {name}: {count} runs, {}\n", duration(seconds));
        }
        if !jobs.iter().any(|job| matches!(job, Job::Polling(_))) {
            return out;
        }
        let scale = |row: &Row| format!("{} clients {}", row.clients, scale_words(row.scale));
        let scales: Vec<String> = self.rows.iter().map(scale).collect();
        out + &format!("  time: {}\n", scales.join(", "))
    }
}

/// Seconds as a person says them.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    if whole < 60 { format!("{whole} s") } else { format!("{} min {:02} s", whole / 60, whole % 60) }
}

/// A scale of time as a person says it.
pub fn scale_words(scale: f64) -> String {
    let faster = 1.0 / scale;
    if (scale - 1.0).abs() < 1e-9 {
        "at the paper's own pace".to_owned()
    } else if (faster - faster.round()).abs() < 1e-6 {
        format!("{} times faster than the paper", faster.round())
    } else {
        format!("{faster:.1} times faster than the paper")
    }
}

#[cfg(test)]
mod tests;
