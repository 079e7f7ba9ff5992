//! Use cases: what a URL means to the back-ends (Node Scala §IV).
//!
//! Pure: a definition is a JSON object; whether its program exists is for the back-ends to say.

use serde_json::{Map, Value as Json};

use super::params::{Param, Params, check_name, parse_all};
use super::split::{Split, Tasks};
use crate::limits::{
    USECASE_DEADLINE_S_MAX, USECASE_JOBS_MAX, USECASE_PARALLEL_MAX, USECASE_PROCESSES_MAX,
    USECASE_RETRIES_MAX, USECASE_URL_BYTES_MAX,
};

/// How sub-tasks are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All at once, evenly (`execute_concurrent`).
    Concurrent,
    /// So many at a time: a back-end that has done one is given the next (`execute_iterative`).
    Iterative,
}

/// In which order the results of sub-tasks come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// As the sub-tasks were split: the same bytes every time.
    Ordered,
    /// As they are ready, whole records.
    Unordered,
}

/// A heavy request that clients can make.
#[derive(Clone, Debug, PartialEq)]
pub struct UseCase {
    /// Its name.
    pub name: String,
    /// The path at which it is called.
    pub url: String,
    /// What its results are.
    pub media_type: String,
    /// What a request's query may say.
    pub params: Vec<Param>,
    /// How a request is divided.
    pub split: Split,
    /// How sub-tasks are handed out.
    pub mode: Mode,
    /// Sub-tasks of one request under way at once.
    pub parallel: usize,
    /// In which order results come.
    pub merge: Merge,
    /// How long a request may take, in seconds.
    pub deadline_s: u64,
    /// How often a sub-task is tried again.
    pub retries: u8,
    /// Requests at once; one more is told to come again.
    pub jobs_max: usize,
    /// The name of the program that the back-ends run.
    pub program: String,
    /// Processes of it that a back-end keeps.
    pub processes: usize,
    /// The definition as it was written.
    pub source: Json,
}

/// What a section of a definition says, and that it says nothing else.
struct Section<'a> {
    name: &'static str,
    members: Option<&'a Map<String, Json>>,
}

impl<'a> Section<'a> {
    fn of(json: &'a Json, name: &'static str, known: &[&str]) -> Result<Section<'a>, String> {
        let json = if name.is_empty() { Some(json) } else { json.get(name) };
        let Some(json) = json else { return Ok(Section { name, members: None }) };
        let Some(members) = json.as_object() else { return Err(format!("\"{name}\" must be an object")) };
        match members.keys().find(|member| !known.contains(&member.as_str())) {
            Some(member) => {
                Err(format!("{member:?} is not known{}", Section { name, members: None }.place()))
            }
            None => Ok(Section { name, members: Some(members) }),
        }
    }

    fn place(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!(" in \"{}\"", self.name) }
    }

    fn text(&self, member: &str) -> Result<Option<&'a str>, String> {
        let Some(json) = self.members.and_then(|members| members.get(member)) else { return Ok(None) };
        json.as_str().map(Some).ok_or(format!("\"{member}\"{} must be text", self.place()))
    }

    fn required(&self, member: &str) -> Result<&'a str, String> {
        self.text(member)?.ok_or(format!("\"{member}\"{} is missing", self.place()))
    }

    fn number(&self, member: &str, default: u64, min: u64, max: u64) -> Result<u64, String> {
        let Some(json) = self.members.and_then(|members| members.get(member)) else { return Ok(default) };
        json.as_u64()
            .filter(|number| (min..=max).contains(number))
            .ok_or(format!("\"{member}\"{} must be a number from {min} to {max}", self.place()))
    }

    fn one_of<T: Copy>(&self, member: &str, choices: &[(&str, T)]) -> Result<Option<T>, String> {
        let Some(text) = self.text(member)? else { return Ok(None) };
        let found = choices.iter().find(|(name, _)| *name == text);
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        found.map(|(_, choice)| Some(*choice)).ok_or(format!(
            "\"{member}\"{} must be one of {}",
            self.place(),
            names.join(", ")
        ))
    }
}

impl UseCase {
    /// Reads a definition; else what its author is told.
    pub fn parse(json: &Json) -> Result<UseCase, String> {
        let known = ["name", "url", "type", "params", "split", "run", "handler"];
        let top = Section::of(json, "", &known)
            .map_err(|why| if json.is_object() { why } else { "a use case is an object".to_owned() })?;
        let run =
            Section::of(json, "run", &["mode", "parallel", "merge", "deadline_s", "retries", "jobs_max"])?;
        let handler = Section::of(json, "handler", &["program", "processes"])?;
        let name = top.required("name")?;
        check_name(name)?;
        let params = parse_all(json.get("params"))?;
        let split = Split::parse(json.get("split"), &params)?;
        let program = handler.required("program")?;
        check_name(program)?;
        let media_type = top.text("type")?.unwrap_or("application/x-ndjson");
        if media_type.len() > 128 || !media_type.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err("\"type\" must be a media type".to_owned());
        }
        let mode = [("concurrent", Mode::Concurrent), ("iterative", Mode::Iterative)];
        let merge = [("ordered", Merge::Ordered), ("unordered", Merge::Unordered)];
        Ok(UseCase {
            name: name.to_owned(),
            url: check_url(top.required("url")?)?,
            media_type: media_type.to_owned(),
            params,
            split,
            mode: run.one_of("mode", &mode)?.unwrap_or(Mode::Iterative),
            parallel: run.number("parallel", 8, 1, USECASE_PARALLEL_MAX as u64)? as usize,
            merge: run.one_of("merge", &merge)?.unwrap_or(Merge::Ordered),
            deadline_s: run.number("deadline_s", 120, 1, USECASE_DEADLINE_S_MAX)?,
            retries: run.number("retries", 2, 0, u64::from(USECASE_RETRIES_MAX))? as u8,
            jobs_max: run.number("jobs_max", 64, 1, USECASE_JOBS_MAX as u64)? as usize,
            program: program.to_owned(),
            processes: handler.number("processes", 1, 1, USECASE_PROCESSES_MAX as u64)? as usize,
            source: json.clone(),
        })
    }

    /// The sub-tasks of a request; else what the client is told.
    pub fn tasks<'a>(&self, query: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Tasks, String> {
        self.split.tasks(Params::read(&self.params, query)?)
    }
}

/// A definition in TOML as the same one in JSON.
pub fn json_of_toml(text: &str) -> Result<Json, String> {
    let table: toml::Table = toml::from_str(text).map_err(|why| {
        let line = why
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |before| before.lines().count().max(1));
        format!("line {line}: {}", why.message())
    })?;
    Ok(Json::Object(table.into_iter().map(|(name, value)| (name, json_of(value))).collect()))
}

fn json_of(value: toml::Value) -> Json {
    match value {
        toml::Value::String(text) => Json::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        // A date may stand without quotes.
        toml::Value::Datetime(date) => Json::String(date.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json_of).collect(),
        toml::Value::Table(table) => {
            Json::Object(table.into_iter().map(|(name, value)| (name, json_of(value))).collect())
        }
    }
}

/// A path that none of the node's own is.
fn check_url(url: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'.' | b'~');
    if !url.starts_with('/') || url.len() < 2 || url.len() > USECASE_URL_BYTES_MAX || !url.bytes().all(plain)
    {
        return Err(format!(
            "\"url\" must be a path of letters, digits, '-', '_', '.', '~' and '/', at most {USECASE_URL_BYTES_MAX} bytes"
        ));
    }
    let own = ["/sub", "/livez", "/readyz", "/healthz"];
    if own.contains(&url) || url.starts_with("/sub/") {
        return Err(format!("\"url\" {url:?} is the node's own"));
    }
    Ok(url.to_owned())
}

#[cfg(test)]
mod tests;
