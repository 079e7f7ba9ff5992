use super::*;
use crate::paper::options::{Command, parse};
use crate::paper::results::made_up::{World, results};

fn setting(line: &str) -> Setting {
    let Ok(Command::Evaluate(options)) = parse(line.split_whitespace().map(Into::into)) else {
        panic!("{line}")
    };
    Setting {
        plan: options.plan,
        command: "pushup-paper --out '<here>'".to_owned(),
        versions: vec![("pushup".to_owned(), "0.0.0".to_owned())],
        machine: Machine {
            cpus: 2,
            model: "Processor & Sons".to_owned(),
            kernel: "6.1".to_owned(),
            memory_bytes: 24 << 30,
            load: "1 2 3".to_owned(),
        },
        load_after: "4 5 6".to_owned(),
        began: "Sun, 22 Nov 2026 20:08:53 GMT".to_owned(),
        took_s: 61.0,
        ending: Ending::Complete,
        remarks: vec!["a remark".to_owned()],
        received_within_s: 10.0,
    }
}

fn html(line: &str, results: &Results) -> String {
    let setting = setting(line);
    let verdicts = judge(&setting, results);
    page(&setting, results, &verdicts).expect("a page")
}

#[test]
fn everything_is_on_the_page() {
    let html = html("", &results(World::WithoutOverload));
    for exhibit in Exhibit::ALL {
        assert!(html.contains(&format!("<h3 id={}>{}:", exhibit.word(), exhibit.title())), "{exhibit:?}");
        assert!(html.contains(&format!("href=\"#{}\"", exhibit.word())), "{exhibit:?}");
    }
    for part in [
        "10,743.5",
        "Processor &amp; Sons",
        "4 5 6 after",
        "'&lt;here&gt;'",
        "a remark",
        "Time was shortened",
        "1 min 01 s",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // Figures 7 and 8 are pairs; 9 to 13 are ours beside the paper's words.
    assert_eq!(html.matches("<svg role").count(), 2 * 2 + 5);
    assert_eq!(html.matches("gives no numbers for this figure").count(), 5);
    for foreign in ["http://", "https://", "<script", "<link", "@import", "url("] {
        let html = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!html.contains(foreign), "{foreign}");
    }
}

#[test]
fn only_what_is_wanted() {
    let html = html("--only fig9 --full", &results(World::WithoutOverload));
    assert_eq!(html.matches("class=\"standing ").count(), 2);
    assert!(html.contains("id=fig9>") && !html.contains("id=fig10>") && !html.contains("id=table1>"));
    assert!(!html.contains("Time was shortened"));
}

#[test]
fn failures_are_told_and_nothing_is_no_failure() {
    let with_failures = html("", &results(World::OfThePaper));
    assert!(with_failures.contains("stopped at 97 % of the memory"));
    let mut interrupted = setting("");
    interrupted.ending = Ending::Interrupted;
    let nothing = Results::default();
    let html = page(&interrupted, &nothing, &judge(&interrupted, &nothing)).expect("a page");
    assert!(html.contains("This run was interrupted") && html.contains("Nothing was measured"));
}

#[test]
fn files_are_written_where_they_are_wanted() {
    let directory = std::env::temp_dir().join(format!("paper-report-test-{}", std::process::id()));
    let path =
        write(&directory.join("deep"), &setting(""), &results(World::WithoutOverload)).expect("written");
    assert!(path.ends_with("report.html"));
    assert_eq!(fs::read_dir(directory.join("deep")).expect("there").count(), 8);
    fs::remove_dir_all(directory).expect("removed");
    let file = std::env::current_exe().expect("a file");
    assert!(write(&file, &setting(""), &Results::default()).is_err());
}
