//! Every option of the profiles in one table: its name, what it means, its bounds, who has it.
//!
//! Invariant: an option that a profile would pass over is refused, not swallowed.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::options::{OwnServer, Plan, Profile, Reach, target};
use crate::Fallible;
use crate::dialect::{Dialect, FILE_HELP};
use crate::progress::Voice;
use crate::servers::Placement;

use Profile::{Broadcast, Churn, Cycle, Hold, Publish, Slow, Soak, Storm};

/// One option.
struct Setting {
    name: &'static str,
    value: &'static str,
    meaning: &'static str,
    profiles: &'static [Profile],
}

const ALL: &[Profile] = &Profile::ALL;
const POLLING: &[Profile] = &[Hold, Broadcast, Cycle, Churn, Storm, Soak, Slow];
const ON_CHANNELS: &[Profile] = &[Hold, Broadcast, Churn, Publish, Storm, Soak, Slow];
const AT_INTERVALS: &[Profile] = &[Broadcast, Churn, Storm, Soak, Slow];

const fn setting(
    name: &'static str,
    value: &'static str,
    meaning: &'static str,
    profiles: &'static [Profile],
) -> Setting {
    Setting { name, value, meaning, profiles }
}

const SETTINGS: &[Setting] = &[
    setting("connections", "N", "pollers", POLLING),
    setting("channels", "N", "channels that pollers or publications are spread over", ON_CHANNELS),
    setting("duration", "TIME", "how long is measured: 10, 10s, 5m, 2h", ALL),
    setting(
        "rate",
        "N",
        "visits or publications a second; 0 publishes as fast as it goes",
        &[Churn, Publish],
    ),
    setting("interval", "TIME", "from one message to the next on each channel", AT_INTERVALS),
    setting("body-bytes", "N", "bytes of a message", ALL),
    setting("stay", "TIME", "how long a visitor stays", &[Churn]),
    setting("storms", "N", "how often all connections are lost", &[Storm]),
    setting("sample", "TIME", "from one look at the memory to the next", &[Soak]),
    setting(
        "slow-share",
        "SHARE",
        "the part of the pollers that does not read promptly, 0.01 to 0.9",
        &[Slow],
    ),
    setting("slow-rate", "N", "bytes a second that half of them read; the others read nothing", &[Slow]),
    setting("in-flight", "N", "messages that may be under way at once", &[Cycle]),
    setting("publishers", "N", "connections that publish", ALL),
    setting("pipeline", "N", "publications without an answer on each of them", ALL),
    setting("connecting", "N", "connections that may be under way at once", POLLING),
    setting("connect-rate", "N", "connections a second; 0: as fast as it goes", POLLING),
    setting("workers", "N", "threads that hold polls; 0: as many as their descriptors need", &[Hold]),
    setting("shards", "N", "shards of the server to start; 0: as many as descriptors need", &[Hold]),
    setting("drain", "TIME", "how long is waited for what is still to come before it is called lost", ALL),
    setting("errors-max", "N", "errors that are tolerated", ALL),
    setting("seed", "N", "of what is random", ALL),
    setting("server", "NAME", "the server to start: pushup or nchan", ALL),
    setting("server-path", "PATH", "its program, if it is pushup", ALL),
    setting("server-arg", "ARG", "one more argument for it; may be repeated", ALL),
    setting("target", "URL", "drive this running server instead; repeated: in turn", ALL),
    setting("publish-target", "URL", "and publish there; the target itself if not said", ALL),
    setting("pid", "N", "its process, to read its CPU time and memory", ALL),
    setting("dialect", "NAME", "pushup, pushup-pull, nchan, or a file (see below)", ALL),
    setting("remote", "", "a target may be another machine", ALL),
    setting("pin", "", "server on processor 0, client on 1 (usual with two processors)", ALL),
    setting("no-pin", "", "anywhere", ALL),
    setting("json", "FILE", "write all figures there as well", ALL),
    setting("quiet", "", "show no progress", ALL),
];

const MANY_HELP: &str = "
With more polls than one thread may have descriptors, or with --workers or --shards, polls are held by
several threads. All begin on one channel; they are watched for a while (--duration, then 50 s), get a
message, get another one with which they go on to --channels others (then 1000), and get one there.
";

/// Takes one option from the command line into the plan.
pub(super) fn apply(plan: &mut Plan, name: &str, args: &mut lexopt::Parser) -> Fallible<()> {
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
        return Err(format!("there is no --{name}; see --help").into());
    };
    if !setting.profiles.contains(&plan.profile) {
        return Err(format!("--{name} is not for {}", plan.profile.word()).into());
    }
    if setting.value.is_empty() {
        switch(plan, name);
        return Ok(());
    }
    plan.said.push(setting.name);
    let value = args.value()?;
    if name == "server-arg" {
        plan.server_args.push(value);
        return Ok(());
    }
    let text = value.to_str().ok_or_else(|| format!("--{name} {value:?} is not text"))?;
    assign(plan, name, text).map_err(|error| format!("--{name} {text}: {error}").into())
}

fn switch(plan: &mut Plan, name: &str) {
    match name {
        "remote" => plan.reach = Reach::Remote,
        "pin" => plan.pin = Some(Placement::Apart),
        "no-pin" => plan.pin = Some(Placement::Anywhere),
        "quiet" => plan.voice = Voice::Quiet,
        _ => unreachable!("every switch of the table has its arm"),
    }
}

fn assign(plan: &mut Plan, name: &str, text: &str) -> Result<(), String> {
    match name {
        "connections" => plan.connections = number(text, 1..=1_000_000)? as usize,
        "channels" => plan.channels = number(text, 1..=1_000_000)? as u32,
        "duration" => plan.duration = time(text, 0.1..=7.0 * 86_400.0)?,
        "rate" => plan.rate = decimal(text, 0.0..=1_000_000.0)?,
        "interval" => plan.interval = time(text, 0.001..=3_600.0)?,
        "body-bytes" => plan.body_bytes = number(text, 1..=1 << 20)? as usize,
        "stay" => plan.stay = time(text, 0.001..=3_600.0)?,
        "storms" => plan.storms = number(text, 1..=1_000)? as u32,
        "sample" => plan.sample = time(text, 0.05..=3_600.0)?,
        "slow-share" => plan.slow_share = decimal(text, 0.01..=0.9)?,
        "slow-rate" => plan.slow_rate = number(text, 10..=10_000_000)? as u32,
        "in-flight" => plan.in_flight = number(text, 1..=1_000_000)?,
        "publishers" => plan.publishers = number(text, 1..=1_000)? as usize,
        "pipeline" => plan.pipeline = number(text, 1..=10_000)? as usize,
        "connecting" => plan.connecting = number(text, 1..=1_000_000)? as usize,
        "connect-rate" => plan.connect_rate = decimal(text, 0.0..=10_000_000.0)?,
        "workers" => plan.workers = number(text, 0..=256)? as usize,
        "shards" => plan.shards = number(text, 0..=256)? as usize,
        "drain" => plan.drain = time(text, 0.1..=3_600.0)?,
        "errors-max" => plan.errors_max = number(text, 0..=u64::MAX)?,
        "seed" => plan.seed = number(text, 0..=u64::MAX)?,
        "pid" => plan.pid = Some(number(text, 2..=1 << 22)? as u32),
        "json" => plan.json = Some(text.into()),
        "dialect" => plan.dialect = Some(Dialect::named(text).map_err(|error| error.to_string())?),
        "server" | "server-path" | "target" | "publish-target" => return assign_server(plan, name, text),
        _ => unreachable!("every option of the table has its arm"),
    }
    Ok(())
}

fn assign_server(plan: &mut Plan, name: &str, text: &str) -> Result<(), String> {
    match name {
        "server" => match text {
            "pushup" => plan.own = OwnServer::PushUp(None),
            "nchan" => plan.own = OwnServer::Nchan,
            _ => return Err("neither pushup nor nchan; drive another one with --target".to_owned()),
        },
        "server-path" if !std::path::Path::new(text).is_file() => {
            return Err("there is no such file".to_owned());
        }
        "server-path" => plan.own = OwnServer::PushUp(Some(text.into())),
        "target" => {
            let (address, host) = target(text)?;
            plan.targets.push(address);
            // Several targets are told apart by their addresses.
            plan.host = (plan.targets.len() == 1).then_some(host);
        }
        _ => plan.publish_targets.push(target(text)?.0),
    }
    Ok(())
}

fn number(text: &str, bounds: RangeInclusive<u64>) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| format!("not a number from {} to {}", bounds.start(), bounds.end()))
}

fn decimal(text: &str, bounds: RangeInclusive<f64>) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| format!("not a number from {} to {}", bounds.start(), bounds.end()))
}

/// Seconds, or a number with its unit.
fn time(text: &str, bounds_s: RangeInclusive<f64>) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];
    let unit = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (number, unit_s) = unit.unwrap_or((text, 1.0));
    let seconds = number.parse::<f64>().ok().map(|number| number * unit_s);
    let seconds = seconds.filter(|seconds| bounds_s.contains(seconds));
    let bounds = || format!("not a time from {} s to {} s", bounds_s.start(), bounds_s.end());
    seconds.map(Duration::from_secs_f64).ok_or_else(bounds)
}

/// The options of a profile with their defaults.
pub(super) fn help(profile: Profile) -> String {
    let mut text = format!("Usage: pushup-load {} [OPTIONS]\n\n{}\n\n", profile.word(), profile.summary());
    let plan = Plan::of(profile);
    for setting in SETTINGS.iter().filter(|setting| setting.profiles.contains(&profile)) {
        let left = format!("--{} {}", setting.name, setting.value);
        let default = default(&plan, setting.name).map(|value| format!(" ({value})")).unwrap_or_default();
        text += &format!("  {left:<22} {}{default}\n", setting.meaning);
    }
    if profile == Hold {
        text += MANY_HELP;
    }
    text += "\nExit status: 0 every message arrived exactly once and in order, 1 not so, or more errors than\n\
             are tolerated, 2 bad usage, 130 interrupted.\n\n";
    text + FILE_HELP
}

fn default(plan: &Plan, name: &str) -> Option<String> {
    let seconds = |time: Duration| Some(format!("{} s", time.as_secs_f64()));
    match name {
        "connections" if plan.profile != Publish => Some(plan.connections.to_string()),
        "channels" => Some(plan.channels.to_string()),
        "duration" => seconds(plan.duration),
        "rate" => Some(plan.rate.to_string()),
        "interval" => seconds(plan.interval),
        "body-bytes" => Some(plan.body_bytes.to_string()),
        "stay" => seconds(plan.stay),
        "storms" => Some(plan.storms.to_string()),
        "sample" => seconds(plan.sample),
        "slow-share" => Some(plan.slow_share.to_string()),
        "slow-rate" => Some(plan.slow_rate.to_string()),
        "in-flight" => Some(plan.in_flight.to_string()),
        "publishers" => Some(plan.publishers.to_string()),
        "pipeline" => Some(plan.pipeline.to_string()),
        "connecting" => Some(plan.connecting.to_string()),
        "connect-rate" => Some(plan.connect_rate.to_string()),
        "workers" => Some(plan.workers.to_string()),
        "shards" => Some(plan.shards.to_string()),
        "drain" => seconds(plan.drain),
        "errors-max" => Some(plan.errors_max.to_string()),
        "seed" => Some(plan.seed.to_string()),
        "server" => Some("pushup".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_the_table_is_understood() {
        for setting in SETTINGS {
            for profile in setting.profiles {
                let mut plan = Plan::of(*profile);
                let value = match setting.name {
                    "server" | "dialect" => "pushup",
                    "target" | "publish-target" => "127.0.0.1:1",
                    "server-path" => "/proc/self/exe",
                    "slow-share" => "0.5",
                    _ => "10",
                };
                match setting.name {
                    "server-arg" => {}
                    name if setting.value.is_empty() => switch(&mut plan, name),
                    name => assign(&mut plan, name, value).unwrap(),
                }
            }
        }
    }

    #[test]
    fn help_names_what_a_profile_has_and_nothing_else() {
        for profile in Profile::ALL {
            let text = help(profile);
            for setting in SETTINGS {
                let named = text.contains(&format!("  --{} ", setting.name));
                assert_eq!(named, setting.profiles.contains(&profile), "{profile:?} {}", setting.name);
            }
            assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
        }
    }

    #[test]
    fn times_have_units_and_bounds() {
        for (text, ms) in
            [("2", 2_000), ("0.25", 250), ("10ms", 10), ("3s", 3_000), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(time(text, 0.001..=1e9), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1", "1d", "inf", "NaN", "1e99", "0"] {
            assert!(time(text, 0.001..=1e9).is_err(), "{text}");
        }
    }
}
