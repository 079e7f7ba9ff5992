//! What the paper says: the numbers of its Tables 1 and 2, and what its text says of the figures.
//!
//! It refuses to guess: where the paper prints no numbers there are none here either. The text of the
//! paper gives none for Figures 9 to 13, only the sentences that are quoted here.

use super::Method;

/// The paper's publish intervals, in seconds: the columns of its tables.
pub const INTERVALS_S: [u32; 5] = [10, 20, 30, 40, 50];
/// The paper's numbers of clients: the blocks of its tables.
pub const CLIENTS: [usize; 3] = [10, 100, 1_000];
/// The polling interval of client pulling, in seconds.
pub const POLLING_INTERVAL_S: f64 = 1.0;
/// How long a long poll is held at most, in seconds.
pub const LONG_POLL_S: f64 = 50.0;
/// Connections of Figures 9 to 11: "from 500-16000".
pub const CONNECTIONS: [usize; 6] = [500, 1_000, 2_000, 4_000, 8_000, 16_000];
/// Numbers of nodes of Figures 12 and 13 that the paper's text compares.
pub const NODES: [usize; 3] = [1, 2, 4];
/// The number of connections at which the paper's threads had filled the memory.
pub const MEMORY_FULL_CONNECTIONS: usize = 8_000;
/// Memory of a machine of the paper's cluster (§4.1.2), in bytes.
pub const MEMORY_BYTES: u64 = 8 << 30;
/// The paper's machines (§4.1.2).
pub const MACHINE: &str = "4 cores (AMD Opteron 4130, 2.6 GHz), 8 GB RAM, one disk";

/// One block of a table: a row for each method, a column for each interval.
type Block = (usize, [[f64; 5]; 3]);

/// Table 1: KB over one publish interval.
const TRAFFIC_KB: [Block; 3] = [
    (10, [[12.7, 25.8, 39.8, 55.2, 68.2], [1.27, 1.27, 1.27, 1.27, 1.27], [1.27, 1.27, 1.27, 1.27, 1.27]]),
    (
        100,
        [[127.4, 277.1, 415.2, 580.5, 745.5], [12.7, 12.7, 12.7, 12.7, 13.1], [12.7, 12.7, 12.7, 12.7, 12.7]],
    ),
    (
        1_000,
        [
            [1_370.5, 3_457.1, 5_537.5, 7_282.5, 10_743.5],
            [135.5, 132.5, 137.8, 133.4, 135.5],
            [130.1, 129.5, 132.8, 131.8, 130.5],
        ],
    ),
];

/// Table 2: seconds.
const TRIP_S: [Block; 3] = [
    (10, [[0.6, 0.7, 0.5, 0.7, 0.8], [0.1, 0.0, 0.1, 0.2, 0.1], [0.2, 0.1, 0.1, 0.4, 0.2]]),
    (100, [[0.8, 1.1, 2.5, 3.1, 2.7], [0.5, 0.4, 0.5, 0.8, 1.1], [0.7, 0.4, 0.8, 1.2, 0.9]]),
    (1_000, [[2.8, 3.4, 4.5, 5.3, 7.2], [2.3, 2.9, 2.7, 3.5, 3.4], [2.4, 2.8, 1.8, 2.4, 2.9]]),
];

/// Network traffic over one publish interval, in KB (Table 1); none if the paper has no such cell.
pub fn traffic_kb(method: Method, clients: usize, interval_s: u32) -> Option<f64> {
    cell(&TRAFFIC_KB, method, clients, interval_s)
}

/// Mean publish trip time, in seconds (Table 2); none if the paper has no such cell.
pub fn trip_s(method: Method, clients: usize, interval_s: u32) -> Option<f64> {
    cell(&TRIP_S, method, clients, interval_s)
}

fn cell(table: &[Block], method: Method, clients: usize, interval_s: u32) -> Option<f64> {
    let (_, rows) = table.iter().find(|(of, _)| *of == clients)?;
    let row = Method::ALL.iter().position(|other| *other == method)?;
    let column = INTERVALS_S.iter().position(|other| *other == interval_s)?;
    Some(rows[row][column])
}

/// What the paper says of Figure 9.
pub const ON_FIGURE_9: &str = "The event-driven method demonstrates an excellent memory usage as the \
                               number of active connections increases, while the memory usage of \
                               multithreading method soars rapidly and reaches 100% when the active \
                               connections' number goes to 8000.";
/// What the paper says of Figures 10 and 11.
pub const ON_FIGURES_10_11: &str = "Figure 10 and figure 11, show the mean publish trip time and received \
                                    message percentage. Event-driven method significantly excels \
                                    multithreading method in both evaluation.";
/// What the paper says of Figure 12.
pub const ON_FIGURE_12: &str = "…by using 2 nodes instead of 1 node, the MPT for any fixed number of \
                                concurrent connections approximately halves. If 4 PushUp nodes are used \
                                instead of 2, then the MPT is halved again.";
/// What the paper says of Figures 12 and 13.
pub const ON_FIGURES_12_13: &str = "These figures verify that the PushUp servers scale almost linearly as \
                                    the number of nodes increases, with a very small overhead in load \
                                    balancing and updates propagation among PushUp servers.";
/// What the paper says of Table 1.
pub const ON_TABLE_1: &str = "…the long polling based method keeps a relatively constant network traffic \
                              while the client pull method's network traffic grows (almost) linearly as \
                              the publish time increases.";
/// What the paper says of Table 2.
pub const ON_TABLE_2: &str = "The MPT of client pull increases much faster than the long polling based \
                              methods. This could be caused by the increase in growing network traffic \
                              which lead to a higher chance of package loss in the client pull method.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_the_papers_tables() {
        use Method::*;
        for (method, clients, interval_s, kb, s) in [
            (ClientPulling, 10, 10, 12.7, 0.6),
            (ThreadPerPoll, 100, 50, 13.1, 1.1),
            (EventDriven, 1_000, 30, 132.8, 1.8),
            (ClientPulling, 1_000, 50, 10_743.5, 7.2),
        ] {
            assert_eq!(traffic_kb(method, clients, interval_s), Some(kb), "{method} {clients} {interval_s}");
            assert_eq!(trip_s(method, clients, interval_s), Some(s), "{method} {clients} {interval_s}");
        }
        assert_eq!(traffic_kb(ClientPulling, 11, 10), None);
        assert_eq!(trip_s(ClientPulling, 10, 15), None);
    }
}
