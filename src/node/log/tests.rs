//! The lines as they are written, and the calendar.

use super::*;

#[test]
fn a_line_on_a_terminal_and_in_the_journal() {
    let time = Some(Timestamp(1_795_366_500_123));
    assert_eq!(
        line(time, Level::Info, "listening"),
        "time=2026-11-22T16:55:00.123Z level=info msg=\"listening\"\n"
    );
    for (level, expect) in [
        (Level::Error, "<3>level=error msg=\"x\"\n"),
        (Level::Warn, "<4>level=warn msg=\"x\"\n"),
        (Level::Info, "<6>level=info msg=\"x\"\n"),
        (Level::Debug, "<7>level=debug msg=\"x\"\n"),
        (Level::Trace, "<7>level=trace msg=\"x\"\n"),
    ] {
        assert_eq!(line(None, level, "x"), expect);
    }
}

#[test]
fn a_message_stays_one_line() {
    let hostile = "a\"b\\c\nd\re\tf\0g\u{1b}[31mh\u{85}i\u{2028}jé";
    assert_eq!(
        line(None, Level::Info, hostile),
        "<6>level=info msg=\"a\\\"b\\\\c\\nd\\re\\tf\\u0000g\\u001b[31mh\\u0085i\\u2028jé\"\n"
    );
}

#[test]
fn dates_around_the_odd_days() {
    for (seconds, expect) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (86_399, "1970-01-01T23:59:59.000Z"),
        (951_782_400, "2000-02-29T00:00:00.000Z"),
        (951_868_800, "2000-03-01T00:00:00.000Z"),
        (1_709_164_800, "2024-02-29T00:00:00.000Z"),
        (1_735_689_599, "2024-12-31T23:59:59.000Z"),
        (1_735_689_600, "2025-01-01T00:00:00.000Z"),
        (4_107_542_400, "2100-03-01T00:00:00.000Z"),
    ] {
        assert_eq!(rfc3339(Timestamp(seconds * 1000)), expect);
    }
    assert!(rfc3339(Timestamp::MAX).ends_with('Z'));
}

#[test]
fn every_day_follows_the_one_before() {
    let mut last = civil_from_days(0);
    for day in 1..200_000 {
        let next = civil_from_days(day);
        let (year, month, _) = last;
        let same_month = (year, month, last.2 + 1);
        let next_month = if month == 12 { (year + 1, 1, 1) } else { (year, month + 1, 1) };
        assert!(next == same_month || next == next_month, "{last:?} {next:?}");
        assert!((28..=31).contains(&last.2) || next == same_month);
        last = next;
    }
}

#[test]
fn a_stream_that_is_not_stderr_is_not_the_journal() {
    assert!(!is_journal(None));
    assert!(!is_journal(Some("")));
    assert!(!is_journal(Some("0:0")));
}
