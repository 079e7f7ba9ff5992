//! Values of one figure from several runs, and how figures are written: numbers and tables.
//!
//! What it refuses to know: what is measured. Invariant: a series keeps the order of its
//! runs, so that two series can be divided run by run.

use serde_json::{Value, json};

/// Values of one figure from several runs, in the order of the runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series(pub Vec<f64>);

impl Series {
    /// The middle one, or between the middle two; NaN if there is none.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value below which so much of the series lies (0 to 1), between neighbours if need be.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
        let place = share.clamp(0.0, 1.0) * last as f64;
        let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        low + (high - low) * place.fract()
    }

    /// The smallest and the largest; NaN if there is none.
    pub fn range(&self) -> (f64, f64) {
        let values = || self.0.iter().copied();
        (values().fold(f64::NAN, f64::min), values().fold(f64::NAN, f64::max))
    }

    /// This series by the other, run by run.
    pub fn over(&self, other: &Series) -> Series {
        Series(self.0.iter().zip(&other.0).map(|(this, other)| this / other).collect())
    }

    /// Only what is greater than zero: a part that there is not has used nothing.
    pub fn positive(self) -> Series {
        Series(self.0.into_iter().filter(|value| *value > 0.0).collect())
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The median, and the range behind it if there are several values; nothing if there is none.
    pub fn show(&self, number: Number) -> String {
        let (least, most) = self.range();
        match self.0.len() {
            0 => String::new(),
            1 => number(self.median()),
            _ => format!("{} ({}–{})", number(self.median()), number(least), number(most)),
        }
    }

    /// For a program: the median and all values.
    pub fn json(&self) -> Value {
        json!({ "median": self.median(), "values": self.0 })
    }
}

/// How a value is written.
pub type Number = fn(f64) -> String;

/// Two decimals.
pub fn decimals(value: f64) -> String {
    format!("{value:.2}")
}

/// No decimals, thousands apart.
pub fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let sign = usize::from(digits.starts_with('-'));
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > sign && digit.is_ascii_digit() && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes with the unit that leaves one to four digits before the point.
pub fn bytes(value: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled.abs() >= 10_000.0 && unit + 1 < units.len() {
        scaled /= 1_000.0;
        unit += 1;
    }
    if scaled.abs() >= 100.0 || unit == 0 {
        format!("{} {}", whole(scaled), units[unit])
    } else {
        format!("{scaled:.1} {}", units[unit])
    }
}

/// A table in Markdown whose columns are aligned as plain text too. The first row is the
/// head; first column to the left, the others to the right. Short rows are filled up.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| length(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        out.push_str(&line(row, &widths));
        if index == 0 {
            out.push_str(&rule(&widths));
        }
    }
    out
}

fn length(cell: &str) -> usize {
    cell.chars().count()
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut out = String::from("|");
    for (column, width) in widths.iter().enumerate() {
        let cell = cells.get(column).map_or("", String::as_str);
        let space = " ".repeat(width - length(cell));
        // Names to the left, numbers to the right.
        let padded = if column == 0 { format!("{cell}{space}") } else { format!("{space}{cell}") };
        out.push_str(&format!(" {padded} |"));
    }
    out + "\n"
}

fn rule(widths: &[usize]) -> String {
    let mut out = String::from("|");
    for (column, width) in widths.iter().enumerate() {
        let end = if column == 0 { '-' } else { ':' };
        out.push_str(&format!("-{}{end}|", "-".repeat(*width)));
    }
    out + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_ranges_and_ratios() {
        for (values, median, range) in [
            (vec![3.0], 3.0, (3.0, 3.0)),
            (vec![3.0, 1.0, 2.0], 2.0, (1.0, 3.0)),
            (vec![4.0, 1.0, 2.0, 3.0], 2.5, (1.0, 4.0)),
        ] {
            let series = Series(values);
            assert_eq!((series.median(), series.range()), (median, range));
        }
        assert!(Series::default().median().is_nan());
        let ratio = Series(vec![2.0, 9.0, 1.0]).over(&Series(vec![1.0, 3.0]));
        assert_eq!(ratio, Series(vec![2.0, 3.0]));
        assert_eq!(Series((0..=100).map(f64::from).collect()).quantile(0.99), 99.0);
    }

    #[test]
    fn numbers_are_written_for_people() {
        for (value, text) in
            [(0.0, "0"), (999.4, "999"), (1000.0, "1,000"), (-123456.0, "-123,456"), (f64::NAN, "NaN")]
        {
            assert_eq!(whole(value), text);
        }
        for (value, text) in [(68.0, "68 B"), (9_584.0, "9,584 B"), (52_000_000.0, "52.0 MB")] {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(Series(vec![1.0, 3.0]).show(decimals), "2.00 (1.00–3.00)");
        assert_eq!(Series::default().show(decimals), "");
    }

    #[test]
    fn tables_are_aligned() {
        let row = |cells: &[&str]| cells.iter().map(|cell| cell.to_string()).collect::<Vec<_>>();
        let rows = [row(&["figure", "µs"]), row(&["a", "12.5"]), row(&["long name"])];
        let wanted = "\
| figure    |   µs |
|-----------|-----:|
| a         | 12.5 |
| long name |      |
";
        assert_eq!(table(&rows), wanted);
    }
}
