//! HTML as text: escaping, tables, and the page around them, with nothing from elsewhere.
//!
//! It refuses to know what is told. Invariant: a text becomes part of the page only by [`escape`]; the page
//! needs no other file and no network.

use std::fmt::Write;

use crate::series::{Number, Series};

/// The page's style: light and dark by the reader's preference, and on paper.
const STYLE: &str = include_str!("style.css");

/// A text with the characters that mean something in HTML made harmless.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

/// The same text, with numbers kept on one line with their units.
pub fn unbroken(text: &str) -> String {
    const UNITS: [&str; 7] = ["%", "ms", "s", "kB", "MB", "GB", "clients"];
    UNITS.iter().fold(text.to_owned(), |text, unit| {
        let mut out = String::with_capacity(text.len());
        for (index, part) in text.split(&format!(" {unit}")).enumerate() {
            let counts = out.ends_with(|last: char| last.is_ascii_digit());
            if index > 0 {
                out.push(if counts { '\u{a0}' } else { ' ' });
                out.push_str(unit);
            }
            out.push_str(part);
        }
        out
    })
}

/// A paragraph of plain text.
pub fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// What the paper says, marked as its words.
pub fn quote(text: &str) -> String {
    format!("<blockquote><b>The paper:</b> “{}”</blockquote>\n", escape(text))
}

/// A cell of a table, as HTML.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Words, to the left.
    Words(String),
    /// A number, to the right.
    Number(String),
    /// A number of the paper, to the right and told apart.
    Paper(String),
    /// Nothing was measured.
    Empty,
}

impl Cell {
    /// The median of a series, its range below if it has several values.
    pub fn series(series: &Series, number: Number) -> Cell {
        if series.is_empty() {
            return Cell::Empty;
        }
        let (least, most) = series.range();
        let (low, high) = (number(least), number(most));
        let range = if series.0.len() > 1 && low != high {
            format!("<small>{low}–{high}</small>")
        } else {
            String::new()
        };
        Cell::Number(format!("{}{range}", number(series.median())))
    }

    /// A number of the paper, if it has one.
    pub fn paper(value: Option<f64>, number: Number) -> Cell {
        value.map_or(Cell::Empty, |value| Cell::Paper(number(value)))
    }

    fn html(&self) -> String {
        match self {
            Cell::Words(words) => format!("<td class=words>{words}</td>"),
            Cell::Number(number) => format!("<td>{number}</td>"),
            Cell::Paper(number) => format!("<td class=paper>{number}</td>"),
            Cell::Empty => "<td class=none>–</td>".to_owned(),
        }
    }
}

/// A head over several columns.
#[derive(Clone, Debug)]
pub struct Head {
    /// The words.
    pub words: String,
    /// How many columns it stands over.
    pub columns: usize,
}

/// A head over one column.
pub fn head(words: &str) -> Head {
    Head { words: words.to_owned(), columns: 1 }
}

/// A head over several columns.
pub fn wide(words: &str, columns: usize) -> Head {
    Head { words: words.to_owned(), columns }
}

/// A table: heads, then rows that begin with their name.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// What it shows, with its unit.
    pub caption: String,
    /// Lines of heads.
    pub heads: Vec<Vec<Head>>,
    /// Rows; one without cells is a head over all columns.
    pub rows: Vec<(String, Vec<Cell>)>,
}

impl Table {
    /// The table as HTML, wide ones scrolling by themselves.
    pub fn html(&self) -> String {
        // A caption of the table itself would be no wider than the table.
        let caption = escape(&self.caption);
        let mut out = format!(
            "<p class=caption>{caption}</p>\n<div class=scroll><table aria-label=\"{caption}\">\n<thead>\n"
        );
        for line in &self.heads {
            out.push_str("<tr>");
            for Head { words, columns } in line {
                let span = if *columns > 1 { format!(" colspan={columns}") } else { String::new() };
                let _ = write!(out, "<th scope=col{span}>{}</th>", escape(words));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</thead>\n<tbody>\n");
        for (name, cells) in &self.rows {
            out.push_str(&self.row(name, cells));
        }
        out + "</tbody>\n</table></div>\n"
    }

    fn row(&self, name: &str, cells: &[Cell]) -> String {
        let name = escape(name);
        if cells.is_empty() {
            let columns = self.heads.last().map_or(1, |line| line.iter().map(|head| head.columns).sum());
            return format!("<tr class=block><th scope=rowgroup colspan={columns}>{name}</th></tr>\n");
        }
        let cells: String = cells.iter().map(Cell::html).collect();
        format!("<tr><th scope=row>{name}</th>{cells}</tr>\n")
    }
}

/// The whole page.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
         <meta name=color-scheme content=\"light dark\">\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::whole;

    #[test]
    fn texts_cannot_break_out() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
        assert_eq!(paragraph("1 < 2"), "<p>1 &lt; 2</p>\n");
    }

    #[test]
    fn numbers_stay_with_their_units() {
        for (text, expected) in [
            ("at 8 % of 25.3 GB in 4 ms", "at 8\u{a0}% of 25.3\u{a0}GB in 4\u{a0}ms"),
            ("the % of size", "the % of size"),
            ("", ""),
        ] {
            assert_eq!(unbroken(text), expected);
        }
    }

    #[test]
    fn cells_show_the_spread_where_there_is_one() {
        for (values, html) in [
            (vec![], "<td class=none>–</td>"),
            (vec![5.0], "<td>5</td>"),
            (vec![5.0, 5.0], "<td>5</td>"),
            (vec![1.0, 2.0, 9.0], "<td>2<small>1–9</small></td>"),
        ] {
            assert_eq!(Cell::series(&Series(values), whole).html(), html);
        }
        assert_eq!(Cell::paper(Some(7.0), whole).html(), "<td class=paper>7</td>");
        assert_eq!(Cell::Words("why".to_owned()).html(), "<td class=words>why</td>");
    }

    #[test]
    fn tables_have_heads_blocks_and_rows() {
        let table = Table {
            caption: "KB & more".to_owned(),
            heads: vec![vec![head(""), wide("10 s", 2)]],
            rows: vec![
                ("10 clients".to_owned(), vec![]),
                ("CP".to_owned(), vec![Cell::Number("1".to_owned()), Cell::Empty]),
            ],
        };
        let html = table.html();
        assert!(html.contains("<p class=caption>KB &amp; more</p>"));
        assert!(html.contains("<th scope=col></th><th scope=col colspan=2>10 s</th>"));
        assert!(html.contains("<tr class=block><th scope=rowgroup colspan=3>10 clients</th></tr>"));
        assert!(html.contains("<tr><th scope=row>CP</th><td>1</td><td class=none>–</td></tr>"));
    }
}
