//! Deploys while clients call without a pause: another definition, another program, back-ends drained and replaced.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use super::*;

/// Writes its version with each record.
fn versioned(dir: &TempDir, version: &str) {
    let code = format!(
        r#"
for line in sys.stdin:
    run = json.loads(line).get("run")
    if run is None:
        continue
    for n in range(200):
        records.write("{version} " + str(run["params"]["task"]) + " " + str(n) + "\n")
    records.write("\x1e" + json.dumps({{"end": {{"id": run["id"], "records": 200}}}}) + "\n")
    records.flush()
"#
    );
    program(dir, &format!("program-{version}"), &code);
}

fn definition(version: &str, count: usize) -> Value {
    json!({
        "name": "deployed", "url": "/deployed", "params": {"task": {"type": "int"}},
        "split": {"kind": "count", "count": count}, "run": {"parallel": 3},
        "handler": {"program": format!("program-{version}"), "processes": 2},
    })
}

fn response(version: &str, count: usize) -> Vec<u8> {
    let task = |task: usize| (0..200).map(move |n| format!("{version} {task} {n}\n"));
    (0..count).flat_map(task).collect::<String>().into_bytes()
}

const CLIENTS: usize = 8;

#[test]
fn a_deploy_under_load_fails_nobody() {
    let (node, dir) = (front_end(), TempDir::new());
    versioned(&dir, "a");
    versioned(&dir, "b");
    let mut workers: Vec<Running> = (0..3).map(|_| back_end(&node, dir.path(), 2)).collect();
    assert_eq!(put(&node, &definition("a", 3)).0, 201);
    let (over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    // By version of the program and number of sub-tasks.
    let good = [response("a", 3), response("b", 3), response("a", 4), response("b", 4)];
    std::thread::scope(|scope| {
        let calling: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = node.subscriber();
                    while !over.load(Ordering::Relaxed) {
                        let answer = client.get("/deployed");
                        assert_eq!(answer.status, 200, "{answer:?}");
                        assert!(good.contains(&answer.body), "of no one version: {}", answer.text());
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let some_more = |count: usize| {
            let before = answers.load(Ordering::Relaxed);
            wait_for("answers", || {
                let failed = calling.iter().any(|client| client.is_finished());
                (failed || answers.load(Ordering::Relaxed) >= before + count).then_some(())
            });
        };
        for round in 0..20 {
            let version = ["b", "a"][round % 2];
            assert_eq!(put(&node, &definition(version, 3 + round / 2 % 2)).0, 200);
            some_more(10);
            // Others come and go beside it.
            let mut other = definition("a", 1);
            (other["name"], other["url"]) = (json!("other"), json!("/other"));
            assert_eq!(put(&node, &other).0, 201);
            assert_eq!(node.publisher().delete("/usecases/other").status, 204);
            // One after the other is drained, and another takes its place.
            if round % 3 == 2 {
                workers.push(back_end(&node, dir.path(), 2));
                let mut old = workers.remove(0);
                old.signal(rustix::process::Signal::TERM);
                assert!(old.end_within(crate::PATIENCE).status.success());
                some_more(10);
            }
        }
        over.store(true, Ordering::Relaxed);
        calling.into_iter().for_each(|client| client.join().unwrap());
    });
    assert_eq!(view(&node)["retries"], 0, "nothing was even tried again");
    println!("{} answers", answers.into_inner());
}

/// A back-end that is told to stop does what it was given, also what was on its way to it.
#[test]
fn a_back_end_that_is_drained_loses_nothing() {
    let (node, dir) = (front_end(), TempDir::new());
    versioned(&dir, "a");
    let _steady = back_end(&node, dir.path(), 1);
    assert_eq!(put(&node, &definition("a", 3)).0, 201);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let calling: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = node.subscriber();
                    while !over.load(Ordering::Relaxed) {
                        let answer = client.get("/deployed");
                        assert!(answer.status == 200 && answer.body == response("a", 3), "{answer:?}");
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            let mut worker = back_end(&node, dir.path(), 2);
            worker.signal(rustix::process::Signal::TERM);
            assert!(worker.end_within(crate::PATIENCE).status.success());
        }
        over.store(true, Ordering::Relaxed);
        calling.into_iter().for_each(|client| client.join().unwrap());
    });
    assert_eq!(view(&node)["retries"], 0, "nothing was even tried again");
}
