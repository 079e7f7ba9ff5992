//! Known moments, and a calendar that counts day by day as the oracle.

use super::*;

fn date(seconds: u64) -> String {
    let date = http_date(Timestamp(seconds.saturating_mul(1_000)));
    String::from_utf8(date.to_vec()).unwrap()
}

#[test]
fn known_moments() {
    for (seconds, expect) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
        (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
        (1_234_567_890, "Fri, 13 Feb 2009 23:31:30 GMT"),
        (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
        (2_147_483_647, "Tue, 19 Jan 2038 03:14:07 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
        (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (253_402_300_800, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        assert_eq!(date(seconds), expect, "{seconds}");
    }
}

#[test]
fn milliseconds_are_cut_off() {
    assert_eq!(&http_date(Timestamp(1_999))[17..25], b"00:00:01");
    assert_eq!(http_date(Timestamp::MAX)[12..16], *b"9999");
}

fn days_in(year: u64, month: u64) -> u64 {
    let leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[test]
fn every_day_of_eight_centuries() {
    let mut days = 0;
    for year in 1970..2770 {
        for month in 1..=12 {
            for day in 1..=days_in(year, month) {
                assert_eq!(civil_from_days(days), (year, month, day));
                days += 1;
            }
        }
    }
}
