//! What was measured, run by run.
//!
//! It refuses to judge and to draw. Invariant: nothing is dropped; a run that failed is here with its reason,
//! and a figure is taken from the runs that have it.

use std::collections::BTreeSet;

use super::Method;
use super::plan::{CrowdJob, Front, PollingJob};
use crate::series::Series;

/// What one run of Tables 1 and 2 came to; traffic is per publish interval, over all clients.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PollingRun {
    /// HTTP bytes that clients sent and received.
    pub payload_bytes: f64,
    /// Bytes that the loopback interface carried, with the heads of TCP and IP.
    pub loopback_bytes: f64,
    /// Packets that the loopback interface carried.
    pub loopback_packets: f64,
    /// Polls that were answered.
    pub answers: f64,
    /// Mean publish trip time, in milliseconds.
    pub trip_ms: f64,
    /// The trip time that 99 % of receptions did not exceed, in milliseconds.
    pub trip_p99_ms: f64,
    /// Received messages, in percent of those that should have been.
    pub received_percent: f64,
    /// Messages that did not come in time.
    pub lost: u64,
    /// Messages that came more than once.
    pub duplicated: u64,
    /// Connections that failed, answers that were none.
    pub errors: u64,
}

/// What the server and the kernel used for a crowd, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrowdMemory {
    /// Of the server's process: resident, what is shared counted in part.
    pub pss: f64,
    /// Of the server's process: resident and its own.
    pub private: f64,
    /// Address space that the process has reserved, most of it for stacks.
    pub address_space: f64,
    /// More than before in the kernel: sockets of both ends, stacks of threads, page tables.
    pub kernel: f64,
    /// Threads of the process.
    pub threads: f64,
}

/// What one run of Figures 9 to 13 came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrowdRun {
    /// Connections with a poll that the server held.
    pub held: u64,
    /// Seconds until all that could be held were held.
    pub connect_s: f64,
    /// Memory while the polls were held; none if the server was gone by then.
    pub memory: Option<CrowdMemory>,
    /// Mean publish trip time in milliseconds; none if nothing was received.
    pub trip_ms: Option<f64>,
    /// The trip time that 99 % of receptions did not exceed, in milliseconds.
    pub trip_p99_ms: Option<f64>,
    /// The longest trip time, in milliseconds.
    pub trip_max_ms: Option<f64>,
    /// Received messages, in percent of messages times connections that were wanted.
    pub received_percent: Option<f64>,
    /// Messages that did not come in time to connections that were held.
    pub lost: u64,
    /// Messages that came more than once.
    pub duplicated: u64,
    /// Connections that failed, answers that were none.
    pub errors: u64,
    /// What went wrong, for a person; empty if nothing did.
    pub trouble: String,
}

/// A run and what came of it; a run that could not be done has a reason instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Done<J, R> {
    /// What was run.
    pub job: J,
    /// What came of it.
    pub outcome: Result<R, String>,
}

/// Everything that was measured so far, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// Runs of Tables 1 and 2.
    pub polling: Vec<Done<PollingJob, PollingRun>>,
    /// Runs of Figures 9 to 13.
    pub crowds: Vec<Done<CrowdJob, CrowdRun>>,
}

impl Results {
    /// A figure of one cell of Tables 1 and 2, from all its runs.
    pub fn polling(
        &self,
        method: Method,
        clients: usize,
        interval_s: u32,
        figure: impl Fn(&PollingRun) -> f64,
    ) -> Series {
        let of_cell =
            |job: &PollingJob| (job.method, job.row.clients, job.interval_s) == (method, clients, interval_s);
        let runs = self.polling.iter().filter(|done| of_cell(&done.job));
        Series(runs.filter_map(|done| done.outcome.as_ref().ok()).map(figure).collect())
    }

    /// A figure of one crowd, from all its runs that have it.
    pub fn crowd(&self, job: CrowdJob, figure: impl Fn(&CrowdRun) -> Option<f64>) -> Series {
        let runs = self.crowds.iter().filter(|done| done.job == job);
        Series(runs.filter_map(|done| figure(done.outcome.as_ref().ok()?)).collect())
    }

    /// What went wrong with a crowd, each reason once.
    pub fn crowd_trouble(&self, job: CrowdJob) -> Vec<String> {
        let runs = self.crowds.iter().filter(|done| done.job == job);
        let told = runs.filter_map(|done| match &done.outcome {
            Ok(run) if run.trouble.is_empty() => None,
            Ok(run) => Some(run.trouble.clone()),
            Err(reason) => Some(reason.clone()),
        });
        told.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What went wrong in Tables 1 and 2, each with its cell.
    pub fn polling_trouble(&self) -> Vec<String> {
        let told = self.polling.iter().filter_map(|done| {
            let reason = done.outcome.as_ref().err()?;
            let PollingJob { method, row, interval_s } = done.job;
            Some(format!("{method}, {} clients, {interval_s} s: {reason}", row.clients))
        });
        told.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The numbers of clients for which something was measured, ascending.
    pub fn clients(&self) -> Vec<usize> {
        let all: BTreeSet<usize> = self.polling.iter().map(|done| done.job.row.clients).collect();
        all.into_iter().collect()
    }

    /// The publish intervals for which something was measured, ascending, in seconds of the paper.
    pub fn intervals_s(&self) -> Vec<u32> {
        let all: BTreeSet<u32> = self.polling.iter().map(|done| done.job.interval_s).collect();
        all.into_iter().collect()
    }

    /// The time's scale of a number of clients.
    pub fn scale(&self, clients: usize) -> Option<f64> {
        self.polling.iter().find(|done| done.job.row.clients == clients).map(|done| done.job.row.scale)
    }

    /// The numbers of connections that were tried behind a front, ascending.
    pub fn connections(&self, fronts: impl Fn(Front) -> bool) -> Vec<usize> {
        let those = self.crowds.iter().filter(|done| fronts(done.job.front));
        let all: BTreeSet<usize> = those.map(|done| done.job.connections).collect();
        all.into_iter().collect()
    }

    /// The numbers of nodes that were tried, ascending.
    pub fn nodes(&self) -> Vec<usize> {
        let nodes = |front| match front {
            Front::Direct => None,
            Front::Nodes(nodes) => Some(nodes),
        };
        let all: BTreeSet<usize> = self.crowds.iter().filter_map(|done| nodes(done.job.front)).collect();
        all.into_iter().collect()
    }
}

#[cfg(test)]
pub mod made_up;
