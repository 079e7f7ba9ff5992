//! What no compiler checks and everyone relies on: the layers, the sizes, the bounds, the
//! documents. Where a rule is broken the message says which and where.

use std::fs;
use std::path::{Path, PathBuf};

/// The longest file in `src`, in lines; past it there is a second subject to be found.
const FILE_LINES_MAX: usize = 600;
/// The longest function, in lines.
const FUNCTION_LINES_MAX: usize = 70;

/// Names that have their place, and where that is.
const PLACES: &[(&str, &[&str])] = &[
    ("httparse", &["wire/http/", "wire/http.rs"]),
    ("mio::", &["reactor"]),
    ("socket2::", &["reactor"]),
    ("TcpStream", &["reactor", "client/"]),
    ("TcpListener", &["reactor", "node"]),
    ("UdpSocket", &["reactor/"]),
    ("UnixStream", &["reactor", "node/", "client/ctl.rs"]),
    ("UnixListener", &["reactor/supervisor/control.rs"]),
    ("UnixDatagram", &["node/", "reactor/handing"]),
    ("SystemTime", &["time.rs"]),
    ("Instant", &["time.rs", "client/", "handler.rs"]),
    // The terminal's client pauses between its tries.
    ("thread::", &["node/", "main.rs"]),
    // What a signal handler may do cannot be checked by the compiler.
    // Nor can a system call that no crate has.
    ("unsafe ", &["reactor/worker/process.rs", "node/signals.rs", "node/crew.rs"]),
];

/// A file below `src`: its path from there, and its code without tests, comments and the
/// contents of strings.
struct Source {
    path: String,
    lines: usize,
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files of the server but those that hold tests.
fn sources() -> Vec<Source> {
    sources_below("src")
}

/// The server's files, the load tools' and the benches'.
fn all_sources() -> Vec<Source> {
    ["src", "tools/src", "benches"].into_iter().flat_map(sources_below).collect()
}

fn sources_below(directory: &str) -> Vec<Source> {
    let directory = root().join(directory);
    let mut found = Vec::new();
    collect(&directory, &mut found);
    found.sort();
    let is_test = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    let sources: Vec<Source> = found
        .into_iter()
        .map(|path| path.strip_prefix(&directory).unwrap().to_str().unwrap().to_string())
        .filter(|path| !is_test(path))
        .map(|path| {
            let text = read(directory.join(&path));
            let code = without_tests(&without_text(&text));
            Source { path, lines: text.lines().count(), code }
        })
        .collect();
    assert!(!sources.is_empty(), "nothing was found in {}", directory.display());
    sources
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Blanks comments and the contents of string and character literals, line by line as they
/// stand, so that what is left can be searched and its braces counted.
fn without_text(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let len = text_len(&bytes[at..], at.checked_sub(1).map(|before| bytes[before]));
        if len == 0 {
            out.push(bytes[at]);
            at += 1;
        } else {
            let blanked = bytes[at..at + len].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' });
            out.extend(blanked);
            at += len;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How long the comment or literal is that begins here; 0 if none does.
fn text_len(rest: &[u8], before: Option<u8>) -> usize {
    let through = |from: usize, end: &[u8]| {
        let found = rest[from..].windows(end.len()).position(|window| window == end);
        found.map_or(rest.len(), |at| from + at + end.len())
    };
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest {
        [b'/', b'/', ..] => through(0, b"\n"),
        [b'/', b'*', ..] => through(2, b"*/"),
        [b'r', b'#', b'"', ..] if !in_word || before == Some(b'b') => through(3, b"\"#"),
        [b'r', b'"', ..] if !in_word || before == Some(b'b') => through(2, b"\""),
        [b'"', ..] => {
            let mut at = 1;
            while at < rest.len() && rest[at] != b'"' {
                at += 1 + usize::from(rest[at] == b'\\');
            }
            (at + 1).min(rest.len())
        }
        [b'\'', b'\\', ..] => 2 + through(3, b"'") - 2,
        // A character and not a lifetime: there is a quote right behind it.
        [b'\'', first, ..] => {
            let len = [0x80, 0xe0, 0xf0].iter().filter(|from| first >= from).count() + 1;
            if rest.get(1 + len) == Some(&b'\'') { len + 2 } else { 0 }
        }
        _ => 0,
    }
}

/// Cuts `#[cfg(test)]` items out.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        out.push_str(before);
        let end = match (after.find(';'), after.find('{')) {
            (Some(semicolon), Some(brace)) if brace < semicolon => block_end(after, brace),
            (Some(semicolon), _) => semicolon + 1,
            (None, Some(brace)) => block_end(after, brace),
            (None, None) => after.len(),
        };
        rest = &after[end..];
    }
    out + rest
}

/// Where the block that opens at `open` ends.
fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether `name` stands in the code as a word of its own.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let begins = at.checked_sub(1).is_none_or(|before| !is_word_byte(code.as_bytes()[before]));
        let next = code.as_bytes().get(at + name.len());
        begins
            && (!name.ends_with(|last: char| last.is_alphanumeric())
                || next.is_none_or(|b| !is_word_byte(*b)))
    })
}

// -- Layers ----------------------------------------------------------------------

/// The rows of `src/lib.rs`: each module with its row's number.
fn rows() -> Vec<(String, u32)> {
    let mut rows = Vec::new();
    let mut row = 0;
    for line in read("src/lib.rs").lines() {
        let heading = line.strip_prefix("// ").and_then(|text| text.split_once(": "));
        if let Some(number) = heading.and_then(|(number, _)| number.parse().ok()) {
            assert_eq!(number, row + 1, "the rows are not in order: {line}");
            row = number;
        } else if let Some(module) = line.strip_prefix("pub mod ") {
            assert!(row > 0, "{module} stands in no row");
            rows.push((module.trim_end_matches(';').to_string(), row));
        }
    }
    assert_eq!(row, 8, "src/lib.rs has other rows than it had");
    rows
}

/// The modules that a file names after `crate::`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let group = rest.strip_prefix('{').map(|group| &group[..block_end(rest, 0) - 2]);
        let parts = group.unwrap_or(rest).split(',').take(if group.is_some() { usize::MAX } else { 1 });
        for part in parts {
            let name: String =
                part.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            found.push(name);
        }
    }
    found
}

#[test]
fn imports_run_downward_only() {
    let rows = rows();
    let row_of = |module: &str| rows.iter().find(|row| row.0 == module).map(|row| row.1);
    let mut wrong = Vec::new();
    for Source { path, code, .. } in sources() {
        let module = path.split('/').next().unwrap().trim_end_matches(".rs").to_string();
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        let own = row_of(&module).unwrap_or_else(|| panic!("{module} stands in no row of src/lib.rs"));
        for import in imports(&code) {
            let row = row_of(&import).unwrap_or_else(|| panic!("{path}: what is crate::{import}?"));
            if row > own {
                wrong.push(format!("{path} (row {own}) imports crate::{import} (row {row})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_domains_never_name_each_other() {
    for (own, other) in [
        ("channel", "cluster"),
        ("cluster", "channel"),
        ("scatter", "channel"),
        ("scatter", "cluster"),
        ("channel", "scatter"),
        ("cluster", "scatter"),
        ("supervisor", "channel"),
        ("supervisor", "cluster"),
        ("supervisor", "scatter"),
        ("channel", "supervisor"),
        ("cluster", "supervisor"),
        ("scatter", "supervisor"),
    ] {
        let is_own = |path: &str| path == format!("{own}.rs") || path.starts_with(&format!("{own}/"));
        let files: Vec<Source> = sources().into_iter().filter(|source| is_own(&source.path)).collect();
        assert!(files.len() > 5, "only {} files belong to {own}", files.len());
        let names_other = |source: &&Source| imports(&source.code).iter().any(|import| import == other);
        let wrong: Vec<&str> = files.iter().filter(names_other).map(|source| source.path.as_str()).collect();
        assert!(wrong.is_empty(), "these name crate::{other}: {wrong:?}");
    }
}

#[test]
fn everything_has_its_place() {
    let mut wrong = Vec::new();
    for Source { path, code, .. } in sources() {
        for (name, places) in PLACES {
            let allowed = places.iter().any(|place| path.starts_with(place));
            if !allowed && names(&code, name) {
                wrong.push(format!("{path} names {name}, which belongs in {places:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

// -- Sizes -----------------------------------------------------------------------

#[test]
fn files_are_not_too_long() {
    let long: Vec<String> = all_sources()
        .iter()
        .filter(|source| source.lines > FILE_LINES_MAX)
        .map(|source| format!("{}: {} lines of at most {FILE_LINES_MAX}", source.path, source.lines))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn functions_are_not_too_long() {
    let mut long = Vec::new();
    for Source { path, code, .. } in all_sources() {
        for (at, _) in code.match_indices("fn ").filter(|(at, _)| begins_word(&code, *at)) {
            let rest = &code[at..];
            let (Some(open), semicolon) = (rest.find('{'), rest.find(';')) else { continue };
            if semicolon.is_some_and(|semicolon| semicolon < open) {
                continue;
            }
            let lines = rest[..block_end(rest, open)].lines().count();
            if lines >= FUNCTION_LINES_MAX {
                long.push(format!("{path}: {} has {lines} lines", rest[..open].trim()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

fn begins_word(code: &str, at: usize) -> bool {
    at.checked_sub(1).is_none_or(|before| !is_word_byte(code.as_bytes()[before]))
}

#[test]
fn the_tools_keep_their_unsafe_code_together() {
    let named = |source: &Source| source.path != "sys.rs" && names(&source.code, "unsafe ");
    let wrong: Vec<String> =
        sources_below("tools/src").into_iter().filter(named).map(|source| source.path).collect();
    assert!(wrong.is_empty(), "unsafe code belongs into tools/src/sys.rs: {wrong:?}");
}

// -- Bounds and documents ----------------------------------------------------------

#[test]
fn every_bound_binds_something() {
    let sources = sources();
    let limits = sources.iter().find(|source| source.path == "limits.rs").unwrap();
    let bounds = limits.code.lines().filter_map(|line| line.strip_prefix("pub const "));
    let bounds: Vec<&str> = bounds.filter_map(|rest| rest.split(':').next()).collect();
    assert!(bounds.len() > 30, "only {} bounds were found", bounds.len());
    let elsewhere =
        |name: &&&str| sources.iter().any(|source| source.path != "limits.rs" && names(&source.code, name));
    let unused: Vec<&&str> = bounds.iter().filter(|name| !elsewhere(name)).collect();
    assert!(unused.is_empty(), "nothing but limits.rs names these: {unused:?}");
}

#[test]
fn the_readme_has_the_table_of_settings() {
    let readme = read("README.md");
    let between = readme
        .split_once("<!-- configuration table -->")
        .and_then(|(_, rest)| rest.split_once("<!-- end -->"))
        .expect("README.md has no markers for the table of settings")
        .0;
    let table = pushup::config::markdown_table();
    assert!(between.trim() == table.trim(), "this belongs between README.md's markers:\n{table}");
}

#[test]
fn the_readme_has_no_placeholder_left() {
    let readme = read("README.md");
    let is_name = |text: &str| text.len() > 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    let left: Vec<&str> = readme.split('@').skip(1).filter(|text| is_name(text)).collect();
    assert!(left.is_empty(), "README.md: {left:?}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in ["README.md", "src/ARCHITECTURE.md"] {
        let text = read(document);
        let directory = root().join(document).parent().unwrap().to_path_buf();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split(['#', ' ']).next().unwrap();
            let local = !path.is_empty() && !target.contains("://") && !target.contains("::");
            assert!(!local || directory.join(path).exists(), "{document} links to {target}");
        }
    }
}
