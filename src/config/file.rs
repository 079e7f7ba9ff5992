//! The configuration file: a flat subset of TOML.
//!
//! `name = value`, one per line; a value is a string in quotes, a whole number,
//! `true` or `false`, or a list of these in brackets, which may span lines; `#`
//! starts a comment. Every such file is TOML, so editors and generators know it.
//! Tables, dates, fractions and multi-line strings are not settings of ours.

use std::iter::Peekable;
use std::str::Chars;

use super::Config;
use super::table::{Row, nearest, row};

/// What is wrong, and where.
pub(super) struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// One line for a person.
    pub text: String,
}

/// A value's text, and whether it stood in quotes.
struct Item {
    text: String,
    quoted: bool,
}

/// Reads all settings of a file into `config`; the first fault ends it.
pub(super) fn apply(config: &mut Config, text: &str) -> Result<(), Fault> {
    let mut reader =
        Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable(), line: 1 };
    let mut seen: Vec<(&'static str, usize)> = Vec::new();
    loop {
        reader.skip_blank_lines();
        let line = reader.line;
        if reader.rest.peek().is_none() {
            return Ok(());
        }
        let fault = |text| Fault { line, text };
        let row = known(&reader.key().map_err(fault)?).map_err(fault)?;
        if let Some((_, first)) = seen.iter().find(|(name, _)| *name == row.name) {
            let text = format!("\"{}\" stands already in line {first}", row.name);
            return Err(fault(text));
        }
        seen.push((row.name, line));
        let items = reader.value(row).map_err(fault)?;
        set(config, row, items).map_err(fault)?;
        reader.end_of_line().map_err(|text| reader.fault(text))?;
    }
}

fn known(name: &str) -> Result<&'static Row, String> {
    row(name).ok_or_else(|| match nearest(name) {
        Some(near) => format!("unknown name \"{name}\", did you mean \"{}\"?", near.name),
        None => format!("unknown name \"{name}\""),
    })
}

fn set(config: &mut Config, row: &Row, items: Vec<Item>) -> Result<(), String> {
    let bare = items.iter().find(|item| !item.quoted && !is_bare(&item.text));
    let unquoted = bare.map(|item| {
        let (name, text) = (row.name, &item.text);
        format!("\"{name}\" needs quotes: {name} = \"{text}\"")
    });
    let values: Vec<String> = items.into_iter().map(Item::plain).collect();
    row.set(config, &values).map_err(|fault| format!("\"{}\" {fault}", row.name))?;
    unquoted.map_or(Ok(()), Err)
}

/// Whether TOML lets this text stand without quotes.
fn is_bare(text: &str) -> bool {
    matches!(text, "true" | "false") || text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

impl Item {
    /// The text as a flag would have it: TOML's `1_000` is 1000.
    fn plain(self) -> String {
        let inside = !self.text.starts_with('_') && !self.text.ends_with('_');
        if !self.quoted && is_bare(&self.text) && inside && !self.text.contains("__") {
            return self.text.replace('_', "");
        }
        self.text
    }
}

/// The text that is left, and the line it starts in.
struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn fault(&self, text: String) -> Fault {
        Fault { line: self.line, text }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        if next == Some('\n') {
            self.line += 1;
        }
        next
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(next) = self.rest.next_if(|next| wanted(*next)) {
            taken.push(next);
        }
        taken
    }

    fn skip_spaces(&mut self) {
        self.take_while(|next| matches!(next, ' ' | '\t' | '\r'));
    }

    /// Skips spaces, comments and line ends.
    fn skip_blank_lines(&mut self) {
        loop {
            self.skip_spaces();
            match self.rest.peek() {
                Some('#') => drop(self.take_while(|next| next != '\n')),
                Some('\n') => drop(self.next()),
                _ => return,
            }
        }
    }

    /// A name and the `=` after it.
    fn key(&mut self) -> Result<String, String> {
        if self.rest.peek() == Some(&'[') {
            let header = self.take_while(|next| next != '\n');
            let header = header.trim_end();
            return Err(format!("\"{header}\": tables are not known here, only name = value"));
        }
        let key = self.take_while(|next| next.is_ascii_alphanumeric() || "_-.".contains(next));
        self.skip_spaces();
        if key.is_empty() || self.rest.next_if_eq(&'=').is_none() {
            return Err("a line must be: name = value".into());
        }
        Ok(key)
    }

    /// One value, or for a row that takes several also a list in brackets.
    fn value(&mut self, row: &Row) -> Result<Vec<Item>, String> {
        self.skip_spaces();
        if self.rest.next_if_eq(&'[').is_none() {
            return Ok(vec![self.item()?]);
        }
        if !row.is_list() {
            return Err(format!("\"{}\" takes one value, not a list", row.name));
        }
        let mut items = Vec::new();
        loop {
            self.skip_blank_lines();
            if self.rest.next_if_eq(&']').is_some() {
                return Ok(items);
            }
            items.push(self.item()?);
            self.skip_blank_lines();
            if self.rest.next_if_eq(&',').is_none() && self.rest.peek() != Some(&']') {
                return Err("a list is written [\"a\", \"b\"]".into());
            }
        }
    }

    fn item(&mut self) -> Result<Item, String> {
        match self.rest.next_if(|next| matches!(next, '"' | '\'')) {
            Some('"') => self.basic_string(),
            Some(_) => self.literal_string(),
            None => {
                let text = self.take_while(|next| !" \t\r\n,]#".contains(next));
                if text.is_empty() {
                    return Err("the value is missing".into());
                }
                Ok(Item { text, quoted: false })
            }
        }
    }

    fn literal_string(&mut self) -> Result<Item, String> {
        let text = self.take_while(|next| !matches!(next, '\'' | '\n'));
        match self.rest.next_if_eq(&'\'') {
            Some(_) => Ok(Item { text, quoted: true }),
            None => Err("a string is not closed".into()),
        }
    }

    fn basic_string(&mut self) -> Result<Item, String> {
        let mut text = String::new();
        loop {
            match self.rest.next_if(|next| *next != '\n') {
                None => return Err("a string is not closed".into()),
                Some('"') => return Ok(Item { text, quoted: true }),
                Some('\\') => text.push(self.escape()?),
                Some(next) => text.push(next),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        match self.rest.next_if(|next| *next != '\n') {
            Some('"') => Ok('"'),
            Some('\\') => Ok('\\'),
            Some('t') => Ok('\t'),
            Some('n') => Ok('\n'),
            _ => Err("in a string only \\\" \\\\ \\t \\n are escapes; or use '…'".into()),
        }
    }

    /// Nothing but a comment may stand after a value.
    fn end_of_line(&mut self) -> Result<(), String> {
        self.skip_spaces();
        match self.rest.peek() {
            None | Some('\n' | '#') => Ok(()),
            Some(_) => {
                let extra = self.take_while(|next| next != '\n');
                Err(format!("unexpected \"{}\" after the value", extra.trim_end()))
            }
        }
    }
}
