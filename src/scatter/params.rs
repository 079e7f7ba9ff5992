//! Parameters of a use case: what a request's query must say, and what a sub-task is given.
//!
//! Knows no URL: names and values come decoded. Invariant: every value is one that its parameter admits.

use std::fmt;

use serde_json::{Map, Value as Json};

use crate::limits::{PARAM_TEXT_BYTES_MAX, USECASE_NAME_BYTES_MAX, USECASE_PARAMS_MAX};

/// A day of the Gregorian calendar, as the number of days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

impl Day {
    /// The first and the last day that four digits of a year can say.
    const RANGE: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;

    /// Reads `2003-07-14`.
    pub fn parse(text: &str) -> Option<Day> {
        let bytes = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| -> Option<i64> {
            let part = bytes.get(range)?;
            let all = part.iter().all(u8::is_ascii_digit);
            all.then(|| part.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
        };
        if bytes.len() != 10 || bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
            return None;
        }
        let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
        let found = Day::of(year, month, day)?;
        // What does not come back as it was is no day: the 31st of April, for instance.
        (found.civil() == (year, month, day)).then_some(found)
    }

    /// Days from a civil date, in years that begin in March so that the leap day comes last.
    fn of(year: i64, month: i64, day: i64) -> Option<Day> {
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let year = year - i64::from(month <= 2);
        let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        Some(Day(era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468))
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
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// What a parameter may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// An integer between two, both included.
    Int {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A day, as `2003-07-14`.
    Date,
    /// Any text.
    Text {
        /// Its length, in bytes.
        bytes_max: usize,
    },
    /// `true` or `false`.
    Flag,
}

/// A value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of an integer.
    Int(i64),
    /// Of a date.
    Day(Day),
    /// Of a text.
    Text(String),
    /// Of a flag.
    Flag(bool),
}

impl Value {
    /// As a handler is given it: numbers and flags as such, dates as text.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Int(number) => Json::from(*number),
            Value::Day(day) => Json::from(day.to_string()),
            Value::Text(text) => Json::from(text.as_str()),
            Value::Flag(flag) => Json::from(*flag),
        }
    }
}

/// A parameter of a use case.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name in the query.
    pub name: String,
    /// What it may be.
    pub kind: Kind,
    /// Whether a request must name it.
    pub required: bool,
    /// What it is if a request does not name it.
    pub default: Option<Value>,
}

impl Param {
    /// Reads a definition: `{"type":"int","min":0,"max":2,"default":0}`.
    pub fn parse(name: &str, json: &Json) -> Result<Param, String> {
        check_name(name)?;
        let Some(members) = json.as_object() else { return Err(format!("param {name:?} must be an object")) };
        let wrong = |what: &str| Err(format!("param {name:?}: {what}"));
        for member in members.keys() {
            if !["type", "min", "max", "bytes_max", "required", "default"].contains(&member.as_str()) {
                return wrong(&format!("{member:?} is not known"));
            }
        }
        let number = |member: &str, default: i64| match members.get(member) {
            None => Ok(default),
            Some(json) => json.as_i64().ok_or(format!("param {name:?}: {member:?} must be an integer")),
        };
        let kind = match members.get("type").and_then(Json::as_str) {
            Some("int") => {
                let (min, max) = (number("min", i64::MIN)?, number("max", i64::MAX)?);
                if min > max {
                    return wrong("\"min\" is more than \"max\"");
                }
                Kind::Int { min, max }
            }
            Some("date") => Kind::Date,
            Some("text") => {
                let bytes_max = number("bytes_max", PARAM_TEXT_BYTES_MAX as i64)?;
                Kind::Text { bytes_max: usize::try_from(bytes_max).unwrap_or(0).min(PARAM_TEXT_BYTES_MAX) }
            }
            Some("bool") => Kind::Flag,
            _ => return wrong("\"type\" must be \"int\", \"date\", \"text\" or \"bool\""),
        };
        let required = match members.get("required") {
            None => false,
            Some(json) => {
                json.as_bool().ok_or(format!("param {name:?}: \"required\" must be true or false"))?
            }
        };
        let mut param = Param { name: name.to_owned(), kind, required, default: None };
        if let Some(default) = members.get("default") {
            let text = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            param.default = Some(param.read(&text)?);
        }
        if param.required && param.default.is_some() {
            return wrong("what is required has no default");
        }
        Ok(param)
    }

    /// The value that a request's text stands for; else what a client is told.
    pub fn read(&self, text: &str) -> Result<Value, String> {
        let name = &self.name;
        match self.kind {
            Kind::Int { min, max } => match text.parse() {
                Ok(number) if (min..=max).contains(&number) => Ok(Value::Int(number)),
                Ok(number) if number < min => Err(format!("{name:?} must be at least {min}")),
                Ok(_) => Err(format!("{name:?} must be at most {max}")),
                Err(_) => Err(format!("{name:?} must be an integer")),
            },
            Kind::Date => Day::parse(text)
                .filter(|day| Day::RANGE.contains(&day.0))
                .map(Value::Day)
                .ok_or(format!("{name:?} must be a day, like 2003-07-14")),
            Kind::Text { bytes_max } if text.len() > bytes_max => {
                Err(format!("{name:?} must not be longer than {bytes_max} bytes"))
            }
            Kind::Text { .. } => Ok(Value::Text(text.to_owned())),
            Kind::Flag => match text {
                "true" | "1" => Ok(Value::Flag(true)),
                "false" | "0" => Ok(Value::Flag(false)),
                _ => Err(format!("{name:?} must be true or false")),
            },
        }
    }
}

/// What a request, or a sub-task, is about: one value for each parameter that has one, in the
/// definition's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params(Vec<(String, Value)>);

impl Params {
    /// Reads a request's query against the definitions; else what the client is told.
    pub fn read<'a>(
        defined: &[Param],
        query: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Params, String> {
        let mut given: Vec<Option<Value>> = vec![None; defined.len()];
        for (name, text) in query {
            let Some(at) = defined.iter().position(|param| param.name == name) else {
                return Err(format!("there is no parameter {:?}", shown(name)));
            };
            let (Some(place), Some(param)) = (given.get_mut(at), defined.get(at)) else { continue };
            if place.is_some() {
                return Err(format!("{name:?} stands there twice"));
            }
            *place = Some(param.read(text)?);
        }
        let mut params = Params::default();
        for (param, value) in defined.iter().zip(given) {
            match value.or_else(|| param.default.clone()) {
                Some(value) => params.0.push((param.name.clone(), value)),
                None if param.required => return Err(format!("{:?} is missing", param.name)),
                None => {}
            }
        }
        Ok(params)
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The same with other values for some.
    pub fn with(&self, changed: &[(&str, Value)]) -> Params {
        let mut params = self.clone();
        for (name, value) in changed {
            match params.0.iter_mut().find(|(other, _)| other == name) {
                Some(place) => place.1 = value.clone(),
                None => params.0.push(((*name).to_owned(), value.clone())),
            }
        }
        params
    }

    /// As a handler is given them.
    pub fn to_json(&self) -> Map<String, Json> {
        self.0.iter().map(|(name, value)| (name.clone(), value.to_json())).collect()
    }
}

/// Names of use cases and parameters: what needs no quotes anywhere.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty()
        || name.len() > USECASE_NAME_BYTES_MAX
        || !name.bytes().all(plain)
        || name.starts_with('.')
    {
        return Err(format!(
            "{:?} is no name: letters, digits, '_', '-' and '.', at most {USECASE_NAME_BYTES_MAX}",
            shown(name)
        ));
    }
    Ok(())
}

/// Whatever a stranger wrote, cut to a length that one reads.
pub fn shown(text: &str) -> String {
    text.chars().take(USECASE_NAME_BYTES_MAX).collect()
}

/// Reads the definitions of all parameters.
pub fn parse_all(json: Option<&Json>) -> Result<Vec<Param>, String> {
    let Some(json) = json else { return Ok(Vec::new()) };
    let Some(members) = json.as_object() else { return Err("\"params\" must be an object".to_owned()) };
    if members.len() > USECASE_PARAMS_MAX {
        return Err(format!("\"params\" has more than {USECASE_PARAMS_MAX}"));
    }
    members.iter().map(|(name, json)| Param::parse(name, json)).collect()
}

#[cfg(test)]
mod tests;
