//! A browser reads what was merged: see `tests/clients/scatter.py`.

use std::io::Write;

use serde_json::json;

use super::*;
use crate::clients::{client_file, expect_success, find_program};

/// Numbers, and for the use case that breaks an end in their middle.
const NUMBERS: &str = r#"
for line in sys.stdin:
    run = json.loads(line).get("run")
    if run is None:
        continue
    params = run["params"]
    for n in range(params["from"], params["to"]):
        if n == 20000 and run["usecase"] == "broken":
            records.flush()
            sys.exit(3)
        records.write(json.dumps({"n": n}) + "\n")
    records.write("\x1e" + json.dumps({"end": {"id": run["id"]}}) + "\n")
    records.flush()
"#;

#[test]
fn chromium_reads_what_is_stitched() {
    let Some(chromium) = find_program(&["chromium", "chromium-browser", "google-chrome"]) else { return };
    let Some(python) = find_program(&["python3"]) else { return };
    let (dir, programs) = (TempDir::new(), TempDir::new());
    program(&programs, "numbers", NUMBERS);
    let mut command = bare_command(python);
    // What it imports is not to leave files beside it.
    command.arg("-B").arg(client_file("scatter.py")).arg(chromium).arg(dir.path()).stdin(Stdio::piped());
    let mut running = Running::spawn(&mut command);
    let origin = running.wait_stdout("the page's origin", |text| text.ends_with('\n'));
    let flags = ["--worker-listen", "127.0.0.1:0", "--shards", "1", "--cors-origin", origin.trim()];
    let node = Launch::new(&flags).start();
    let _workers: Vec<Running> = (0..2).map(|_| back_end(&node, programs.path(), 2)).collect();
    for (name, merge) in [("ordered", "ordered"), ("unordered", "unordered"), ("broken", "ordered")] {
        let int = |default: u32| json!({"type": "int", "default": default});
        let case = json!({
            "name": name, "url": format!("/{name}"), "params": {"from": int(0), "to": int(100_000)},
            "split": {"kind": "range", "over": ["from", "to"], "unit": 7_000},
            "run": {"merge": merge, "parallel": 4, "retries": 1}, "handler": {"program": "numbers"},
        });
        assert_eq!(put(&node, &case).0, 201);
    }
    writeln!(running.stdin(), "http://{}", node.public).unwrap();
    expect_success(running);
}
