//! How a request is divided into sub-tasks, one by one, so that a million of them cost no memory.

use serde_json::Value as Json;

use super::params::{Day, Kind, Param, Params, Value};
use crate::limits::SPLIT_TASKS_MAX;

/// How a request is divided.
#[derive(Clone, Debug, PartialEq)]
pub enum Split {
    /// Not at all.
    None,
    /// Two parameters, from and to, are narrowed.
    Range {
        /// The first of them.
        from: String,
        /// The other.
        to: String,
        /// What one sub-task gets: days, or so many of the integers.
        unit: i64,
        /// Of dates both ends are included; of integers the upper one is not.
        dates: bool,
        /// What one day, or one integer, costs.
        cost: u64,
        /// A request that costs less is not worth dividing.
        min_cost: u64,
    },
    /// One parameter is a list, with commas: a sub-task for each.
    List {
        /// Which.
        over: String,
    },
    /// As many as the use case says; each learns its number.
    Count {
        /// How many.
        count: u32,
    },
    /// The handler says: the first sub-task is the request itself, and spawns the others.
    Handler,
}

impl Split {
    /// Reads the section `split` of a definition, against its parameters.
    pub fn parse(json: Option<&Json>, params: &[Param]) -> Result<Split, String> {
        let Some(json) = json else { return Ok(Split::None) };
        let Some(members) = json.as_object() else { return Err("\"split\" must be an object".to_owned()) };
        let kind = members.get("kind").and_then(Json::as_str).unwrap_or_default();
        let known: &[&str] = match kind {
            "none" | "handler" => &["kind"],
            "range" => &["kind", "over", "unit", "cost", "min_cost"],
            "list" => &["kind", "over"],
            "count" => &["kind", "count"],
            _ => {
                return Err(
                    "\"kind\" in \"split\" must be one of \"none\", \"range\", \"list\", \"count\", \
                            \"handler\""
                        .to_owned(),
                );
            }
        };
        if let Some(member) = members.keys().find(|member| !known.contains(&member.as_str())) {
            return Err(format!("{member:?} is not known in \"split\" of kind {kind:?}"));
        }
        let number = |member: &str, default: u64| match members.get(member) {
            None => Ok(default),
            Some(json) => json.as_u64().ok_or(format!("{member:?} in \"split\" must be a number")),
        };
        match kind {
            "none" => Ok(Split::None),
            "handler" => Ok(Split::Handler),
            "count" => match number("count", 0)? {
                count @ 1..=SPLIT_TASKS_MAX => Ok(Split::Count { count: count as u32 }),
                _ => Err(format!("\"count\" in \"split\" must be a number from 1 to {SPLIT_TASKS_MAX}")),
            },
            "list" => {
                let over = members.get("over").and_then(Json::as_str).unwrap_or_default();
                match params.iter().find(|param| param.name == over).map(|param| &param.kind) {
                    Some(Kind::Text { .. }) => Ok(Split::List { over: over.to_owned() }),
                    _ => Err("\"over\" in \"split\" must name a parameter of type text".to_owned()),
                }
            }
            _ => parse_range(members.get("over"), members.get("unit"), params)
                .and_then(|range| Ok((range, number("cost", 1)?, number("min_cost", 0)?)))
                .map(|((from, to, unit, dates), cost, min_cost)| Split::Range {
                    from,
                    to,
                    unit,
                    dates,
                    cost,
                    min_cost,
                }),
        }
    }

    /// The sub-tasks of a request; else what the client is told.
    pub fn tasks(&self, params: Params) -> Result<Tasks, String> {
        let (next, end, step) = match self {
            Split::None | Split::Handler => (0, 1, 1),
            Split::Count { count } => (0, i64::from(*count), 1),
            Split::List { over } => match params.get(over) {
                Some(Value::Text(text)) if !text.is_empty() => (0, text.split(',').count() as i64, 1),
                _ => (0, 1, 1),
            },
            Split::Range { from, to, unit, dates, cost, min_cost } => {
                let (first, last) = match (params.get(from), params.get(to)) {
                    (Some(Value::Day(first)), Some(Value::Day(last))) => (first.0, last.0 + 1),
                    (Some(Value::Int(first)), Some(Value::Int(last))) => (*first, *last),
                    _ => return Err(format!("{from:?} and {to:?} are both needed")),
                };
                if last < first + i64::from(*dates) {
                    return Err(format!("{from:?} must not be after {to:?}"));
                }
                let size = last.checked_sub(first).ok_or(format!("{from:?} and {to:?} are too far apart"))?;
                let worth = (size as u64).saturating_mul(*cost) >= *min_cost;
                (first, last, if worth { *unit } else { size.max(1) })
            }
        };
        let whole = Tasks { split: self.clone(), params, first: next, next, end, step };
        if whole.of() > SPLIT_TASKS_MAX {
            return Err(format!("this would be {} sub-tasks, more than {SPLIT_TASKS_MAX}", whole.of()));
        }
        Ok(whole)
    }
}

type Ends = (String, String, i64, bool);

fn parse_range(over: Option<&Json>, unit: Option<&Json>, params: &[Param]) -> Result<Ends, String> {
    let names: Option<Vec<&str>> =
        over.and_then(Json::as_array).map(|names| names.iter().filter_map(Json::as_str).collect());
    let Some([from, to]) = names.as_deref() else {
        return Err("\"over\" in \"split\" must name two parameters, from and to".to_owned());
    };
    let kind = |name: &str| params.iter().find(|param| param.name == name).map(|param| &param.kind);
    let dates = match (kind(from), kind(to)) {
        (Some(Kind::Date), Some(Kind::Date)) => true,
        (Some(Kind::Int { .. }), Some(Kind::Int { .. })) => false,
        _ => return Err("\"over\" in \"split\" must name two dates or two integers".to_owned()),
    };
    let unit = match unit {
        Some(Json::String(text)) if text == "day" && dates => 1,
        Some(json) => json.as_i64().filter(|unit| *unit > 0).unwrap_or(0),
        None => i64::from(dates),
    };
    if unit == 0 {
        return Err("\"unit\" in \"split\" must be \"day\", or a number of days or integers".to_owned());
    }
    Ok(((*from).to_owned(), (*to).to_owned(), unit, dates))
}

/// The sub-tasks of one request that were not handed out yet.
#[derive(Clone, Debug)]
pub struct Tasks {
    split: Split,
    params: Params,
    first: i64,
    next: i64,
    end: i64,
    step: i64,
}

impl Tasks {
    /// How many there are in all.
    pub fn of(&self) -> u64 {
        // An empty range of integers has none.
        (self.end.abs_diff(self.first)).div_ceil(self.step.unsigned_abs().max(1))
    }

    /// Whether all were handed out.
    pub fn is_over(&self) -> bool {
        self.next >= self.end
    }
}

impl Iterator for Tasks {
    type Item = Params;

    fn next(&mut self) -> Option<Params> {
        if self.next >= self.end {
            return None;
        }
        let (from_at, to_at) = (self.next, self.next.saturating_add(self.step).min(self.end));
        self.next = to_at;
        Some(match &self.split {
            Split::None | Split::Handler => self.params.clone(),
            Split::Count { .. } => self.params.with(&[("task", Value::Int(from_at))]),
            Split::List { over } => match self.params.get(over) {
                Some(Value::Text(text)) => {
                    let part = text.split(',').nth(from_at as usize).unwrap_or_default();
                    self.params.with(&[(over, Value::Text(part.to_owned()))])
                }
                _ => self.params.clone(),
            },
            Split::Range { from, to, dates: true, .. } => {
                self.params.with(&[(from, Value::Day(Day(from_at))), (to, Value::Day(Day(to_at - 1)))])
            }
            Split::Range { from, to, .. } => {
                self.params.with(&[(from, Value::Int(from_at)), (to, Value::Int(to_at))])
            }
        })
    }
}

#[cfg(test)]
mod tests;
