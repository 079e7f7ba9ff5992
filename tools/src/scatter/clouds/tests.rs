use std::io::Write;
use std::process::{Command, Stdio};

use super::super::documents::{self, Day, FIRST, SEED};
use super::*;

/// A profile on every 1.5 km from 30 km down to 6 km, the same in all channels.
fn profile(index: impl Fn(i64) -> i64) -> (Vec<[i64; 3]>, Vec<[i64; 3]>) {
    let heights: Vec<i64> = (4..=20).rev().map(|step| 1_500 * step).collect();
    (
        heights.iter().map(|height| [*height; 3]).collect(),
        heights.iter().map(|height| [index(*height); 3]).collect(),
    )
}

fn top(index: impl Fn(i64) -> i64, threshold: i64) -> Option<Top> {
    let (heights, indices) = profile(index);
    Finder::default().top(&heights, &indices, 1, threshold).expect("a good profile")
}

#[test]
fn a_straight_profile_is_crossed_where_it_should_be() {
    // A spline keeps a straight line, and so does a kernel that is symmetric, but for the last digit: 1.8 is
    // reached at 12 km.
    let straight = |height: i64| 600 + height / 10;
    assert_eq!(top(straight, 1_801), Some(Top { altitude: 12_000, index: 1_800 }));
    assert_eq!(top(straight, 1_849), Some(Top { altitude: 12_400, index: 1_840 }));
    assert_eq!(top(straight, 100), None);
    assert_eq!(top(straight, 9_000).map(|top| top.altitude), Some(30_000));
}

#[test]
fn a_cloud_ends_where_its_edge_is() {
    for edge in [9_000, 12_000, 16_500] {
        let thick = |height: i64| if height <= edge { 1_200 } else { 5_000 };
        let robust = top(thick, 1_800).expect("a cloud").altitude;
        let sensitive = top(thick, 4_000).expect("a cloud").altitude;
        assert!((edge..edge + 1_500).contains(&robust), "{edge}: {robust}");
        assert!(robust < sensitive && sensitive < edge + 1_500, "{edge}: {robust} {sensitive}");
        // A thin one is seen by the sensitive threshold only.
        let thin = |height: i64| if height <= edge { 3_000 } else { 5_000 };
        assert_eq!(top(thin, 1_800), None);
        assert!(top(thin, 4_000).is_some());
    }
    // Of two clouds it is the higher one.
    let two =
        |height: i64| if height <= 7_500 || (13_500..=16_500).contains(&height) { 1_200 } else { 5_000 };
    assert!((16_500..18_000).contains(&top(two, 1_800).expect("a cloud").altitude));
}

#[test]
fn what_is_no_profile_is_an_error() {
    let mut finder = Finder::default();
    let (heights, indices) = profile(|_| 5_000);
    assert!(finder.top(&heights[..2], &indices[..2], 0, 1_800).is_err());
    assert!(finder.top(&heights, &indices[1..], 0, 1_800).is_err());
    assert!(finder.top(&heights, &indices, 3, 1_800).is_err());
    let rising: Vec<[i64; 3]> = heights.iter().rev().copied().collect();
    assert!(finder.top(&rising, &indices, 0, 1_800).is_err());
    for text in ["", "{}", "{\"time\":\"\",\"orbit\":1,\"latitude\":0,\"longitude\":0,\"data\":[[],[]]}"] {
        assert!(finder.record(text.as_bytes(), 0, 1_800, &mut String::new()).is_err(), "{text}");
    }
}

#[test]
fn javascript_and_rust_agree_to_the_byte() {
    let mut text = String::new();
    for day in [FIRST, Day(FIRST.0 + 200)] {
        for number in 0..700 {
            documents::write(SEED, day, number, &mut text);
            text.push('\n');
        }
    }
    for (channel, threshold) in [(0, 1_800), (1, 4_000), (2, 2_345)] {
        let mut ours = String::new();
        let mut finder = Finder::default();
        for line in text.lines() {
            finder.record(line.as_bytes(), channel, threshold, &mut ours).expect("a good document");
        }
        let theirs = in_javascript(&text, channel, threshold);
        for (ours, theirs) in ours.lines().zip(theirs.lines()) {
            assert_eq!(ours, theirs);
        }
        assert!(ours == theirs, "{} {}", ours.len(), theirs.len());
        assert!(
            ours.contains("null") && ours.matches("null").count() < 1_400 * 2,
            "no clouds, or nothing else"
        );
    }
}

fn in_javascript(documents: &str, channel: usize, threshold: i64) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scatter/node/profile.js");
    let mut child = Command::new("node")
        .args([script, &channel.to_string(), &threshold.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node runs");
    child.stdin.take().expect("piped").write_all(documents.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}
