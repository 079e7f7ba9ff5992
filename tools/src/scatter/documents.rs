//! The data: documents as MIPAS left them behind, made up from a seed (Node Scala §VI-A).
//!
//! A document is one scan of the limb, at one place and time: `data[attribute][measurement][channel]`, where
//! attribute 0 is the tangent altitude in metres and attribute 1 the cloud index in thousandths, of three
//! channels. All numbers are integers, or eighths: every language reads the same.
//!
//! It refuses to know where documents are kept. Invariant: a document depends on the seed, its day and its
//! number within the day, and on nothing else.

use std::fmt::{self, Write};

use crate::random::Random;

/// Documents of a day; 61,008 in a month of 31 days.
pub const PER_DAY: u32 = 1_968;
/// Channels of the instrument.
pub const CHANNELS: usize = 3;
/// What the documents are made from.
pub const SEED: u64 = 2_003;

const DAY_MS: i64 = 86_400_000;
/// From one tangent altitude to the one above, in metres.
const STEPS_M: [i64; 16] = [
    3_000, 3_000, 3_000, 3_000, 3_000, 3_000, 3_000, 3_000, 3_000, 3_000, 3_000, 3_000, 5_000, 5_000, 8_000,
    8_000,
];
/// Scans of one orbit.
const PER_ORBIT: i64 = 137;

/// A day of the Gregorian calendar, as the number of days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

/// The day that every request begins at: 2003-07-01.
pub const FIRST: Day = Day(12_234);

impl Day {
    /// Reads `2003-07-14`.
    pub fn parse(text: &str) -> Option<Day> {
        if text.len() != 10 || !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return None;
        }
        let mut parts = text.splitn(3, '-').map(|part| part.parse::<i64>().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        if !(1..=12).contains(&month) {
            return None;
        }
        // Years that begin in March, so that the leap day comes last.
        let from_march = year - i64::from(month <= 2);
        let (era, of_era) = (from_march.div_euclid(400), from_march.rem_euclid(400));
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let found = Day(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468);
        (found.civil() == (year, month, day)).then_some(found)
    }

    /// When it begins, in Unix milliseconds.
    pub fn begin_ms(self) -> i64 {
        self.0 * DAY_MS
    }

    fn civil(self) -> (i64, i64, i64) {
        let days = self.0 + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (year + era * 400 + i64::from(month <= 2), month, day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(out, "{year:04}-{month:02}-{day:02}")
    }
}

/// When a day's document was measured, in Unix milliseconds.
pub fn time_ms(day: Day, number: u32) -> i64 {
    day.begin_ms() + i64::from(number) * DAY_MS / i64::from(PER_DAY)
}

/// Appends a document: a line of JSON, without its end.
pub fn write(seed: u64, day: Day, number: u32, out: &mut String) {
    let time = time_ms(day, number);
    let count = (day.0 - FIRST.0) * i64::from(PER_DAY) + i64::from(number);
    let (orbit, place) = (6_947 + count.div_euclid(PER_ORBIT), count.rem_euclid(PER_ORBIT));
    let latitude = triangle(place) * 700 / 34;
    let longitude = (count * 37 + orbit * 291).rem_euclid(2_880) - 1_440;
    let clock = time - day.begin_ms();
    let (hour, minute, second) = (clock / 3_600_000, clock / 60_000 % 60, clock / 1_000 % 60);
    let _ = write!(
        out,
        "{{\"time\":\"{day}T{hour:02}:{minute:02}:{second:02}.{:03}Z\",\"orbit\":{orbit},\"latitude\":{},\
         \"longitude\":{},\"data\":[[",
        clock % 1_000,
        Eighths(latitude),
        Eighths(longitude)
    );
    let mut random = Random::new(seed ^ (count as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let sky = Sky::of(&mut random);
    let heights = heights(&mut random);
    rows(out, &heights, |height, _| height);
    out.push_str("],[");
    rows(out, &heights, |height, channel| sky.index(height, channel, &mut random));
    out.push_str("]]}");
}

/// From the equator to a pole and back, to the other and back: −34 to 34 over an orbit.
fn triangle(place: i64) -> i64 {
    match place {
        0..=34 => place,
        35..=102 => 68 - place,
        _ => place - 136,
    }
}

/// An array of a value for each channel, for each height.
fn rows(out: &mut String, heights: &[i64], mut value: impl FnMut(i64, i64) -> i64) {
    for (measurement, height) in heights.iter().enumerate() {
        out.push_str(if measurement > 0 { ",[" } else { "[" });
        for channel in 0..CHANNELS as i64 {
            let comma = if channel > 0 { "," } else { "" };
            let _ = write!(out, "{comma}{}", value(*height, channel));
        }
        out.push(']');
    }
}

/// Tangent altitudes of one scan, the highest first.
fn heights(random: &mut Random) -> Vec<i64> {
    let mut at = 6_000 + 100 * random.below(13) as i64;
    let mut all = vec![at];
    for step in STEPS_M {
        at += step;
        all.push(at);
    }
    all.reverse();
    all
}

/// What is to be seen in a scan.
struct Sky {
    /// Where clouds end, in metres; 0 if there are none.
    top: i64,
    /// The cloud index within them, in thousandths.
    within: i64,
}

impl Sky {
    /// Thick clouds in five scans of eight, thin ones in one.
    fn of(random: &mut Random) -> Sky {
        let top = 7_000 + random.below(10_000) as i64;
        match random.below(8) {
            0..=4 => Sky { top, within: 1_100 + random.below(400) as i64 },
            5 => Sky { top, within: 2_200 + random.below(1_200) as i64 },
            _ => Sky { top: 0, within: 0 },
        }
    }

    /// The cloud index at a height, in thousandths: high where the air is clear.
    fn index(&self, height: i64, channel: i64, random: &mut Random) -> i64 {
        let clear = 4_600 + 400 * channel + (height - 6_000) / 32;
        let noise = random.below(241) as i64 - 120;
        // The instrument sees 3 km at once, half of it above what it looks at.
        match height - self.top {
            ..=0 => self.within + 30 * channel + noise / 4,
            above @ 1..=1_500 => self.within + (clear - self.within) * above / 1_500 + noise,
            _ => clear + noise,
        }
    }
}

/// A number of eighths, as the shortest decimal.
struct Eighths(i64);

impl fmt::Display for Eighths {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0 as f64 / 8.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn days_are_read_and_written() {
        assert_eq!(Day::parse("2003-07-01"), Some(FIRST));
        for text in ["1970-01-01", "2000-02-29", "2003-07-31", "2012-12-31"] {
            assert_eq!(Day::parse(text).expect("a day").to_string(), text);
        }
        for wrong in ["", "2003-7-01", "2003-02-29", "2003-13-01", "2003-07-01-", "+003-07-01", "x"] {
            assert_eq!(Day::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_document_is_what_the_paper_describes() {
        let make = |number| {
            let mut text = String::new();
            write(SEED, FIRST, number, &mut text);
            text
        };
        assert_eq!(make(7), make(7));
        for number in [0, 1, PER_DAY - 1] {
            let document: Value = serde_json::from_str(&make(number)).expect("it is JSON");
            assert!(document["time"].as_str().expect("a time").starts_with("2003-07-01T"));
            let data = document["data"].as_array().expect("attributes");
            assert_eq!(data.len(), 2);
            for attribute in data {
                let measurements = attribute.as_array().expect("measurements");
                assert_eq!(measurements.len(), STEPS_M.len() + 1);
                assert!(
                    measurements
                        .iter()
                        .all(|channels| channels.as_array().expect("channels").len() == CHANNELS)
                );
            }
            let latitude = document["latitude"].as_f64().expect("a number");
            assert!((-90.0..=90.0).contains(&latitude) && (latitude * 8.0).fract() == 0.0);
            let longitude = document["longitude"].as_f64().expect("a number");
            assert!((-180.0..180.0).contains(&longitude));
        }
        assert_eq!(31 * PER_DAY, 61_008);
        assert!(time_ms(FIRST, PER_DAY - 1) < Day(FIRST.0 + 1).begin_ms());
    }
}
