//! The Date field (RFC 9110 §5.6.7): a moment as IMF-fixdate. Reads no clock.

use crate::time::Timestamp;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The last second that four digits of a year can name.
const LAST_SECOND: u64 = 253_402_300_799;

/// A moment as in `Sun, 06 Nov 1994 08:49:37 GMT`. What lies past the year 9999 is
/// given as its last second.
pub fn http_date(now: Timestamp) -> [u8; 29] {
    let seconds = now.seconds().min(LAST_SECOND);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    put(&mut date, 0, DAYS[(days % 7) as usize]);
    put(&mut date, 5, &two_digits(day));
    put(&mut date, 8, MONTHS[(month - 1) as usize]);
    put(&mut date, 12, &two_digits(year / 100));
    put(&mut date, 14, &two_digits(year % 100));
    put(&mut date, 17, &two_digits(second / 3600));
    put(&mut date, 20, &two_digits(second / 60 % 60));
    put(&mut date, 23, &two_digits(second % 60));
    date
}

/// Year, month (1–12) and day (1–31) of a day since the Unix epoch, in the Gregorian
/// calendar. Years are taken to begin in March, which puts the leap day last (Howard
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub(crate) fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let since_march_0000 = days + 719_468;
    let era = since_march_0000 / 146_097;
    let day_of_era = since_march_0000 % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

fn put(date: &mut [u8; 29], at: usize, text: &[u8]) {
    date[at..at + text.len()].copy_from_slice(text);
}

fn two_digits(number: u64) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

#[cfg(test)]
mod tests;
