//! Results that nobody measured, for tests: a world in which the paper is right, or one in which nothing
//! is ever overloaded and everything is on one machine.

use super::*;
use crate::paper::plan::Row;
use crate::paper::published;

/// Which world the results come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// The paper's numbers, and figures as its text describes them.
    OfThePaper,
    /// Clients pull at their pace and everything arrives; all nodes are on one machine.
    WithoutOverload,
}

/// Two runs of everything.
pub fn results(world: World) -> Results {
    let mut results = Results::default();
    for _ in 0..2 {
        results.polling.extend(polling(world));
        results.crowds.extend(crowds(world));
    }
    results
}

fn polling(world: World) -> Vec<Done<PollingJob, PollingRun>> {
    let mut all = Vec::new();
    for clients in published::CLIENTS {
        for interval_s in published::INTERVALS_S {
            for method in Method::ALL {
                let job = PollingJob { method, row: Row { clients, scale: 0.1 }, interval_s };
                all.push(Done { job, outcome: Ok(polling_run(world, &job)) });
            }
        }
    }
    all
}

fn polling_run(world: World, job: &PollingJob) -> PollingRun {
    let (clients, pulling) = (job.row.clients as f64, job.method == Method::ClientPulling);
    let polls = clients * if pulling { f64::from(job.interval_s) } else { 1.0 };
    let of_paper = |cell: fn(Method, usize, u32) -> Option<f64>| {
        cell(job.method, job.row.clients, job.interval_s).expect("a cell of the paper")
    };
    let (payload_bytes, trip_ms) = match world {
        World::OfThePaper => {
            (1_000.0 * of_paper(published::traffic_kb), 1_000.0 * of_paper(published::trip_s))
        }
        World::WithoutOverload => (350.0 * polls, if pulling { 50.0 } else { 0.2 }),
    };
    PollingRun {
        payload_bytes,
        loopback_bytes: 2.0 * payload_bytes,
        loopback_packets: 8.0 * polls,
        answers: polls,
        trip_ms,
        trip_p99_ms: 2.0 * trip_ms,
        received_percent: 100.0,
        ..PollingRun::default()
    }
}

fn crowds(world: World) -> Vec<Done<CrowdJob, CrowdRun>> {
    let mut all = Vec::new();
    for connections in published::CONNECTIONS {
        let job = |method, front| CrowdJob { method, connections, front };
        all.extend(Method::LONG.map(|method| done(world, job(method, Front::Direct))));
        all.push(done(world, job(Method::EventDriven, Front::Nodes(1))));
        all.extend([2, 4].map(|nodes| done(world, job(Method::EventDriven, Front::Nodes(nodes)))));
    }
    all
}

fn done(world: World, job: CrowdJob) -> Done<CrowdJob, CrowdRun> {
    let full = world == World::OfThePaper && job.method == Method::ThreadPerPoll && job.connections > 8_000;
    let outcome =
        if full { Err("stopped at 97 % of the memory".to_owned()) } else { Ok(crowd_run(world, job)) };
    Done { job, outcome }
}

fn crowd_run(world: World, job: CrowdJob) -> CrowdRun {
    let connections = job.connections as f64;
    let threads = job.method == Method::ThreadPerPoll;
    let paper = world == World::OfThePaper;
    let each = match (threads, paper) {
        (true, true) => 1_000_000.0,
        (true, false) => 24_000.0,
        (false, _) => 70.0,
    };
    let nodes = match job.front {
        Front::Nodes(nodes) => nodes as f64,
        Front::Direct => 1.0,
    };
    // Nodes that have a machine each share the work; on one machine each adds to it.
    let more = if paper { 1.0 / nodes } else { 0.7 + 0.3 * f64::min(nodes, 3.0) };
    let trip_ms = connections * if threads && paper { 0.05 } else { 0.006 } * more;
    CrowdRun {
        held: job.connections as u64,
        connect_s: connections / 10_000.0,
        memory: Some(CrowdMemory {
            pss: 1_500_000.0 + each * connections,
            private: 200_000.0 + each * connections,
            address_space: 3e6 + if threads { 8_388_608.0 * connections } else { 0.0 },
            kernel: connections * if threads { 30_000.0 } else { 8_000.0 },
            threads: if threads { connections + 2.0 } else { 1.0 },
        }),
        trip_ms: Some(trip_ms),
        trip_p99_ms: Some(2.0 * trip_ms),
        trip_max_ms: Some(2.1 * trip_ms),
        received_percent: Some(if threads && paper { 100.0 - connections / 200.0 } else { 100.0 }),
        ..CrowdRun::default()
    }
}
