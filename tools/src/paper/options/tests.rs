use super::*;
use crate::paper::Method;

fn evaluate(line: &str) -> Options {
    match parse(line.split_whitespace().map(Into::into)) {
        Ok(Command::Evaluate(options)) => *options,
        other => panic!("{line}: {other:?}"),
    }
}

fn refusal(line: &str) -> String {
    parse(line.split_whitespace().map(Into::into)).expect_err(line)
}

#[test]
fn the_papers_own_sizes_are_the_default() {
    let options = evaluate("");
    assert_eq!(options.out, PathBuf::from("paper-report"));
    assert_eq!(options.plan.exhibits, Exhibit::ALL);
    assert_eq!(options.plan.intervals_s, [10, 20, 30, 40, 50]);
    assert_eq!(options.plan.crowds, [500, 1_000, 2_000, 4_000, 8_000, 16_000]);
    let scales: Vec<_> = options.plan.rows.iter().map(|row| (row.clients, row.scale)).collect();
    assert_eq!(scales, [(10, 0.1), (100, 0.1), (1_000, 0.2)]);
    assert_eq!((options.plan.repeats, &options.plan.nodes[..]), (3, &[1, 2, 4][..]));
}

#[test]
fn full_is_the_papers_pace_and_quick_is_quick() {
    let full = evaluate("--full").plan;
    assert!(full.rows.iter().all(|row| row.scale == 1.0));
    assert!(full.total_s() > 1_300.0, "{}", full.total_s());
    let quick = evaluate("--quick").plan;
    assert!(quick.total_s() < 100.0, "{}", quick.total_s());
    assert_eq!((quick.rows.len(), &quick.nodes[..]), (3, &[1, 2][..]));
    assert!(evaluate("--smoke").plan.total_s() < 35.0);
}

#[test]
fn lists_scales_and_counts() {
    let plan = evaluate("--only fig9,table1 --clients 30,3,3 --time-scale 1/4 --repeats 7 --keep-alive").plan;
    assert_eq!(plan.exhibits, [Exhibit::Figure9, Exhibit::Table1]);
    assert_eq!(plan.rows, [Row { clients: 3, scale: 0.25 }, Row { clients: 30, scale: 0.25 }]);
    assert_eq!((plan.repeats, plan.pulling), (7, Connections::Kept));
    assert_eq!(evaluate("--pulls-per-second 100 --clients 1000").plan.rows[0].scale, 1.0);
    assert_eq!(evaluate("--shared-loopback").loopback, Loopback::Shared);
}

#[test]
fn what_cannot_be_run_is_refused_with_its_reason() {
    for (line, says) in [
        ("--nodes 0", "from 1"),
        ("--nodes 17", "to 16"),
        ("--only fig6", "fig6"),
        ("--repeats 0", "from 1"),
        ("--time-scale 2", "scale"),
        ("--time-scale x/y", "scale"),
        ("--connections 0", "\"0\""),
        ("--connections 1,,2", "\"\""),
        ("--message-bytes 5", "from 64"),
        ("--whatever", "--whatever"),
        ("stray", "stray"),
        ("--out", "--out"),
        ("--intervals 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "at most"),
    ] {
        let told = refusal(line);
        assert!(told.contains(says) && !told.contains('\n'), "{line}: {told}");
    }
}

#[test]
fn the_other_commands() {
    let one = |line: &str| parse(line.split_whitespace().map(Into::into)).expect(line);
    assert!(matches!(one("--help"), Command::Help));
    assert!(matches!(one("-V"), Command::Version));
    assert!(matches!(one("--quick --plan"), Command::ShowPlan(_)));
    let Command::ThreadPerPoll(server) = one("thread-per-poll ready 7 0") else { panic!("another command") };
    assert_eq!((server.threads_max, server.stack_bytes), (7, None));
    assert!(USAGE.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn tables_need_all_methods_and_figures_only_the_long_polls() {
    let methods = |line: &str| {
        let mut all: Vec<Method> = evaluate(line)
            .plan
            .jobs()
            .iter()
            .map(|job| match job {
                crate::paper::plan::Job::Polling(job) => job.method,
                crate::paper::plan::Job::Crowd(job) => job.method,
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    assert_eq!(methods("--only table2"), Method::ALL);
    assert_eq!(methods("--only fig10"), Method::LONG);
    assert_eq!(methods("--only fig13"), [Method::EventDriven]);
}
