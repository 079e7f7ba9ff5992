//! How figures are written: with as many digits as say something.

use crate::series::whole;

/// Three digits or more, none behind the point from a thousand on.
pub fn three(value: f64) -> String {
    match value.abs() {
        size if size >= 999.5 => whole(value),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// KB as the paper prints them: two decimals below ten, then one.
pub fn paper_kilobytes(value: f64) -> String {
    if value.abs() < 9.995 {
        return format!("{value:.2}");
    }
    let tenths = (10.0 * value).round();
    format!("{}.{}", whole((tenths / 10.0).trunc()), (tenths as i64 % 10).abs())
}

/// Bytes as KB of a thousand, as the paper's.
pub fn kilobytes(bytes: f64) -> String {
    paper_kilobytes(bytes / 1e3)
}

/// Bytes as MB of a million.
pub fn megabytes(bytes: f64) -> String {
    three(bytes / 1e6)
}

/// Bytes as GB of a thousand million.
pub fn gigabytes(bytes: f64) -> String {
    three(bytes / 1e9)
}

/// Milliseconds as seconds, to the millisecond or, where that would be little, to a tenth of it.
pub fn seconds(ms: f64) -> String {
    if ms < 10.0 { format!("{:.4}", ms / 1e3) } else { format!("{:.3}", ms / 1e3) }
}

/// The paper's seconds: tenths.
pub fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

/// Percent, exact enough to see one message in ten thousand.
pub fn percent(value: f64) -> String {
    if value == 100.0 { "100".to_owned() } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_that_say_something() {
        for (value, text) in [
            (0.0, "0.00"),
            (1.27, "1.27"),
            (9.999, "10.0"),
            (12.74, "12.7"),
            (127.4, "127"),
            (10_743.5, "10,744"),
            (999.6, "1,000"),
        ] {
            assert_eq!(three(value), text, "{value}");
        }
        for (value, text) in
            [(1.27, "1.27"), (12.74, "12.7"), (9.999, "10.0"), (10_743.5, "10,743.5"), (1_370.96, "1,371.0")]
        {
            assert_eq!(paper_kilobytes(value), text, "{value}");
        }
        assert_eq!((kilobytes(1_270.0), megabytes(2_500_000.0)), ("1.27".to_owned(), "2.50".to_owned()));
        assert_eq!((seconds(5.4), tenths(0.64)), ("0.0054".to_owned(), "0.6".to_owned()));
        assert_eq!((percent(100.0), percent(99.999)), ("100".to_owned(), "100.00".to_owned()));
    }
}
