use super::*;

fn plan() -> Plan {
    Plan {
        exhibits: Exhibit::ALL.to_vec(),
        rows: vec![Row { clients: 10, scale: 0.1 }, Row { clients: 100, scale: 0.5 }],
        intervals_s: vec![10, 50],
        publications: 2,
        pulling: Connections::Fresh,
        crowds: vec![500, 16_000],
        broadcasts: 5,
        crowd_scale: 0.1,
        nodes: vec![1, 2],
        repeats: 3,
        message_bytes: 64,
    }
}

#[test]
fn everything_is_run_once_before_anything_twice() {
    let jobs = plan().jobs();
    // 2 clients × 2 intervals × 3 methods, 2 crowds × 2 methods, 2 crowds × 2 numbers of nodes.
    assert_eq!(jobs.len(), 3 * (12 + 4 + 4));
    assert_eq!(jobs[..20], jobs[20..40]);
    assert!(jobs[..20].iter().enumerate().all(|(at, job)| !jobs[..at].contains(job)));
}

#[test]
fn figures_alone_need_the_most_clients_alone() {
    let only = Plan { exhibits: vec![Exhibit::Figure7], repeats: 1, ..plan() };
    let jobs = only.jobs();
    assert_eq!(jobs.len(), 6);
    assert!(jobs.iter().all(|job| matches!(job, Job::Polling(job) if job.row.clients == 100)));
}

#[test]
fn times_are_scaled_alike() {
    for (scale, interval_ms, pull_ms, long_poll_s) in
        [(1.0, 50_000, 1_000, 50), (0.1, 5_000, 100, 5), (0.02, 1_000, 20, 1), (0.005, 250, 5, 1)]
    {
        let row = Row { clients: 10, scale };
        let job = PollingJob { method: Method::ClientPulling, row, interval_s: 50 };
        assert_eq!(job.interval().as_millis(), interval_ms);
        assert_eq!(job.pull_every().as_millis(), pull_ms);
        assert_eq!(job.long_poll_s(), long_poll_s);
    }
}

#[test]
fn many_clients_run_slower_but_never_slower_than_the_paper() {
    for (clients, wanted, rate, expected) in [
        (10, 0.1, 5_000.0, 0.1),
        (1_000, 0.1, 5_000.0, 0.2),
        (1_000, 0.1, 100.0, 1.0),
        (1_000, 0.5, 1e6, 0.5),
    ] {
        assert_eq!(row_scale(clients, wanted, rate), expected, "{clients} {wanted} {rate}");
    }
}

#[test]
fn crowds_get_time_for_every_message() {
    let plan = plan();
    for (connections, ms) in [(500, 1_000), (8_000, 1_000), (16_000, 1_920)] {
        assert_eq!(plan.broadcast_gap(connections).as_millis(), ms);
    }
    assert_eq!((shortened_wait_ms(1.0), shortened_wait_ms(0.2)), (0.0, 400.0));
    assert_eq!(Plan { crowd_scale: 1.0, ..plan }.broadcast_gap(16_000).as_millis(), 10_000);
}

#[test]
fn estimates_and_words() {
    let plan = plan();
    let one = Job::Polling(PollingJob { method: Method::EventDriven, row: plan.rows[0], interval_s: 50 });
    assert!((10.0..12.0).contains(&plan.estimate_s(&one)));
    assert!(plan.summary().contains("60 runs"), "{}", plan.summary());
    assert!(plan.summary().contains("10 clients 10 times faster"), "{}", plan.summary());
    for (seconds, words) in [(0.4, "0 s"), (59.4, "59 s"), (60.0, "1 min 00 s"), (754.0, "12 min 34 s")] {
        assert_eq!(duration(seconds), words);
    }
    for (scale, words) in [
        (1.0, "at the paper's own pace"),
        (0.1, "10 times faster than the paper"),
        (0.4, "2.5 times faster than the paper"),
    ] {
        assert_eq!(scale_words(scale), words);
    }
}
