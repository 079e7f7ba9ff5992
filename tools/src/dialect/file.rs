//! The file of a dialect: its sections as text, requests with the line ends of the wire.
//!
//! Invariant: every section is there exactly once, but `[empty]`, which may be missing.

/// Bytes of the largest file.
const FILE_BYTES_MAX: usize = 64 * 1_024;

/// What a file says, not yet understood.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub first: String,
    pub next: String,
    pub publish: String,
    pub empty_statuses: Vec<u16>,
}

/// Takes the text of a file apart.
pub(super) fn sections(text: &str) -> Result<Sections, String> {
    if text.len() > FILE_BYTES_MAX {
        return Err(format!("longer than {FILE_BYTES_MAX} bytes"));
    }
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (section(line), found.last_mut()) {
            (Some(name), _) => found.push((name, Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) if line.trim().is_empty() || line.starts_with('#') => {}
            (None, None) => return Err(format!("{line:?} stands before the first section")),
        }
    }
    for name in ["first poll", "next poll", "publish"] {
        if !found.iter().any(|(known, _)| *known == name) {
            return Err(format!("[{name}] is missing"));
        }
    }
    let mut sections = Sections::default();
    for (at, (name, lines)) in found.iter().enumerate() {
        if found[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(format!("[{name}] is there twice"));
        }
        match *name {
            "first poll" => sections.first = request(lines),
            "next poll" => sections.next = request(lines),
            "publish" => sections.publish = request(lines),
            "empty" => sections.empty_statuses = statuses(lines)?,
            _ => return Err(format!("[{name}] is none of [first poll], [next poll], [publish], [empty]")),
        }
    }
    Ok(sections)
}

fn section(line: &str) -> Option<&str> {
    let name = line.trim_end().strip_prefix('[')?.strip_suffix(']')?;
    // The body of a request may well be a JSON array.
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b' ').then_some(name)
}

/// The lines of a request as bytes on the wire: CRLF up to the empty line, LF behind it, and
/// none at the end.
fn request(lines: &[&str]) -> String {
    let begin = lines.iter().position(|line| !line.is_empty()).unwrap_or(0);
    let lines = &lines[begin..];
    let end = lines.iter().position(|line| line.is_empty()).unwrap_or(lines.len());
    let head: String = lines[..end].iter().map(|line| format!("{line}\r\n")).collect();
    let body = lines.get(end + 1..).unwrap_or_default().join("\n");
    format!("{head}\r\n{}", body.trim_end_matches('\n'))
}

fn statuses(lines: &[&str]) -> Result<Vec<u16>, String> {
    let mut statuses = Vec::new();
    for line in lines.iter().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let numbers =
            line.strip_prefix("status ").ok_or_else(|| format!("[empty]: {line:?} is no \"status …\""))?;
        for number in numbers.split_whitespace() {
            let status = number.parse().ok().filter(|status| (200..600).contains(status));
            statuses.push(status.ok_or_else(|| format!("[empty]: {number:?} is no status of an answer"))?);
        }
    }
    Ok(statuses)
}
