//! What each command line means, and what a person reads for a wrong one.

use std::path::Path;

use super::*;

fn parse_in(arguments: &[&str], env: &[(&str, &str)]) -> Result<Command, StartError> {
    parse(arguments.iter().map(OsString::from), &|name| {
        let found = env.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.to_string())
    })
}

fn good(arguments: &[&str]) -> Command {
    parse_in(arguments, &[]).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

fn flags(pairs: &[(&str, &str)]) -> Flags {
    let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    pairs.iter().map(own).collect()
}

fn subscribed(arguments: &[&str]) -> subscribe::Options {
    match good(arguments) {
        Command::Subscribe(options) => options,
        other => panic!("{other:?}"),
    }
}

fn published(arguments: &[&str]) -> publish::Options {
    match good(arguments) {
        Command::Publish(options) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_server_is_what_runs_if_nothing_is_said() {
    assert_eq!(good(&[]), Command::Serve(vec![]));
    assert_eq!(good(&["serve"]), Command::Serve(vec![]));
    let arguments = ["--listen", "a:1", "--listen=b:2", "-c", "x.toml", "--existing-only", "--drain-time=3"];
    let expect = flags(&[
        ("listen", "a:1"),
        ("listen", "b:2"),
        ("config", "x.toml"),
        ("existing-only", "true"),
        ("drain-time", "3"),
    ]);
    assert_eq!(good(&arguments), Command::Serve(expect.clone()));
    assert_eq!(good(&[&["serve"], &arguments[..]].concat()), Command::Serve(expect));
    let off = flags(&[("existing-only", "false"), ("config", "y")]);
    let arguments = ["--existing-only=false", "--config=y", "--check-config"];
    assert_eq!(good(&arguments), Command::Check(off));
}

#[test]
fn what_a_controller_is_told() {
    use crate::client::ctl::Order;
    let told = |arguments: &[&str]| match good(&[&["ctl"], arguments].concat()) {
        Command::Control(options) => options,
        other => panic!("{other:?}"),
    };
    for (arguments, order) in [
        (&["status"][..], Order::Status),
        (&["start", "work"], Order::Start("work".into())),
        (&["stop", "work.2"], Order::Stop("work.2".into())),
        (&["drain", "front"], Order::Drain("front".into())),
        (&["scale", "work", "0"], Order::Scale("work".into(), 0)),
        (&["scheduler", "p2c"], Order::Scheduler("p2c".into())),
    ] {
        let options = told(arguments);
        assert_eq!((options.order, options.json, options.no_wait), (order, false, false));
        assert_eq!(options.control, Path::new("control.sock"));
    }
    let options = told(&["--control", "a/b", "status", "--json", "--no-wait"]);
    assert!(options.json && options.no_wait && options.control == Path::new("a/b"));
    let Ok(Command::Control(options)) = parse_in(&["ctl", "status"], &[("PUSHUP_CONTROL", "c")]) else {
        panic!()
    };
    assert_eq!(options.control, Path::new("c"));
    for (arguments, why) in [
        (&["ctl", "scale", "work", "257"][..], "COUNT must be a whole number from 0 to 256"),
        (&["ctl", "scale", "work"], "scale needs the NAME of a group and a COUNT"),
        (&["ctl", "start", "a", "b"], "unexpected argument \"b\""),
        (&["ctl", "restart", "a"], "unknown command \"restart\", did you mean \"start\"?"),
        (&["ctl", "--jsn"], "unknown flag \"--jsn\""),
        (&["supervise"], "the FILE is missing: what is to run, like cluster.toml"),
        (&["agent"], "--join HOST:PORT, the controller's [agents] listen, is missing"),
        (&["superise"], "unknown command \"superise\", did you mean \"supervise\"?"),
    ] {
        match parse_in(arguments, &[]) {
            Err(StartError::Usage(text)) => assert_eq!(text, why),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }
}

#[test]
fn every_setting_is_a_flag() {
    for row in config::TABLE {
        let flag = format!("--{}=true", row.name);
        assert_eq!(good(&[&flag]), Command::Serve(flags(&[(row.name, "true")])));
    }
}

#[test]
fn help_and_version_are_asked_for() {
    for (arguments, expect) in [
        (&["--help"][..], "usage: pushup [serve]"),
        (&["-h"], "--poll-timeout SECONDS"),
        (&["serve", "-h"], "--poll-timeout SECONDS"),
        (&["--listen", "a:1", "--help"], "pushup sub CHANNEL..."),
        (&["pub", "--help"], "--ttl SECONDS"),
        (&["sub", "a", "-h"], "--count N"),
        (&["-V"], concat!("pushup ", env!("CARGO_PKG_VERSION"), "\n")),
        (&["--version"], "pushup "),
    ] {
        match good(arguments) {
            Command::Print(text) => assert!(text.contains(expect), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn subscriptions() {
    let options = subscribed(&["sub", "news", "c++,java", "news"]);
    assert_eq!(options.channels, ["news", "c++", "java"]);
    assert_eq!(options.server.to_string(), "http://127.0.0.1:8080");
    assert_eq!(options.after.as_deref(), Some("now"));
    assert_eq!((options.timeout_s, options.count, options.quiet), (50, None, false));
    let options = subscribed(&[
        "sub",
        "--server",
        "h:1",
        "--after=C",
        "--since",
        "5",
        "--timeout",
        "9",
        "--json",
        "--token-file",
        "t",
        "--count",
        "2",
        "-q",
        "a",
    ]);
    assert_eq!(options.server.to_string(), "http://h:1");
    assert_eq!((options.after.as_deref(), options.since_ms), (Some("C"), Some(5)));
    assert_eq!((options.timeout_s, options.count, options.quiet), (9, Some(2), true));
    assert_eq!(options.form, subscribe::Form::Json);
    assert_eq!(options.token_file.as_deref(), Some(Path::new("t")));
    assert_eq!(subscribed(&["sub", "a", "--since", "0"]).after, None);
}

#[test]
fn publications() {
    let options = published(&["pub", "a,b", "hello world"]);
    assert_eq!(options.channels, ["a", "b"]);
    assert_eq!(options.message.as_deref(), Some(&b"hello world"[..]));
    assert_eq!(options.media_type, "text/plain");
    assert_eq!(options.server.to_string(), "http://127.0.0.1:8081");
    let options = published(&["pub", "--json", "--ttl", "9", "--key", "k", "a", "--", "-1"]);
    assert_eq!(options.media_type, "application/json");
    assert_eq!((options.ttl_s, options.key.as_deref()), (Some(9), Some("k")));
    assert_eq!(options.message.as_deref(), Some(&b"-1"[..]));
    let options = published(&["pub", "a", "--type", "text/html; charset=utf-8"]);
    assert_eq!((options.message, options.media_type.as_str()), (None, "text/html; charset=utf-8"));
}

#[test]
fn the_environment_names_the_servers_and_flags_go_before() {
    let env = [("PUSHUP_SERVER", "s:1"), ("PUSHUP_PUBLISH_SERVER", "p:2")];
    for (arguments, expect) in [
        (&["sub", "a"][..], "http://s:1"),
        (&["pub", "a"], "http://p:2"),
        (&["sub", "a", "--server", "f:3"], "http://f:3"),
    ] {
        let server = match parse_in(arguments, &env).unwrap() {
            Command::Subscribe(options) => options.server,
            Command::Publish(options) => options.server,
            other => panic!("{other:?}"),
        };
        assert_eq!(server.to_string(), expect);
    }
}

#[test]
fn wrong_usage_says_why() {
    let many = (0..65).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    for (arguments, expect) in [
        (&["sreve"][..], "unknown command \"sreve\""),
        (&["serv"], "unknown command \"serv\", did you mean \"serve\"?"),
        (&["subs"], "unknown command \"subs\", did you mean \"sub\"?"),
        (&["serve", "pub"], "unexpected argument \"pub\""),
        (&["-c", "x", "serve"], "unexpected argument \"serve\""),
        (&["--pol-timeout", "1"], "unknown flag \"--pol-timeout\", did you mean \"--poll-timeout\"?"),
        (&["-x"], "unknown flag \"-x\""),
        (&["--drain-time"], "missing argument for option '--drain-time'"),
        (&["--check-config=1"], "unexpected argument for option '--check-config': \"1\""),
        (&["sub"], "the CHANNEL is missing"),
        (&["sub", "a b"], "\"a b\" is not a channel: a name is 1 to 128 of A-Z a-z 0-9 _ . : ~ @ + -"),
        (&["sub", "a,"], "\"\" is not a channel: a name is 1 to 128 of A-Z a-z 0-9 _ . : ~ @ + -"),
        (&["sub", &many], "at most 64 channels"),
        (&["sub", "a", "--timeout", "0"], "--timeout must be a whole number from 1 to 600, not \"0\""),
        (&["sub", "a", "--count", "+1"], "--count must be a whole number of at least 1, not \"+1\""),
        (&["sub", "a", "--after", ""], "--after must be \"now\" or a cursor"),
        (&["sub", "a", "--frob"], "unknown flag \"--frob\""),
        (
            &["sub", "a", "--server", "https://x"],
            "the server's address \"https://x\" is wrong: TLS is not spoken here; put a proxy in between",
        ),
        (&["pub"], "the CHANNEL is missing"),
        (&["pub", "a", "b", "c"], "one MESSAGE only; put it in quotes if it has spaces"),
        (&["pub", "a", "m", "--ttl", "0"], "--ttl must be a whole number from 1 to 31622400, not \"0\""),
        (&["pub", "a", "m", "--type", "x\r\ny/z"], "--type must be a media type like text/html"),
        (
            &["pub", "a", "m", "--type", "a/b", "--json"],
            "--type and --json say the same thing; give one, once",
        ),
        (&["pub", "a", "m", "--key", "a b"], "--key must be 1 to 128 printable characters without spaces"),
        (
            &["pub", "a", "--key", "k"],
            "--key needs a MESSAGE: one key for all lines would publish only the first",
        ),
    ] {
        let error = parse_in(arguments, &[]).unwrap_err();
        assert_eq!(error.to_string(), expect);
        assert_eq!(error.exit_code(), 2);
        assert_eq!(error_line(&error), format!("pushup: {expect} (try 'pushup --help')"));
    }
    let other = StartError::Run("no".into());
    assert_eq!(error_line(&other), "pushup: no");
}

#[test]
fn bytes_that_are_not_utf8_are_a_message_but_not_a_name() {
    use std::os::unix::ffi::OsStringExt;
    let odd = || OsString::from_vec(vec![0xff]);
    let command = |arguments: Vec<OsString>| parse(arguments, &|_| None);
    match command(vec!["pub".into(), "a".into(), odd()]).unwrap() {
        Command::Publish(options) => assert_eq!(options.message, Some(vec![0xff])),
        other => panic!("{other:?}"),
    }
    for arguments in [vec!["sub".into(), odd()], vec![odd()], vec!["--listen".into(), odd()]] {
        assert_eq!(command(arguments).unwrap_err().exit_code(), 2);
    }
}

#[test]
fn every_flag_of_the_clients_is_in_its_help() {
    for flag in
        ["--server", "--after", "--since", "--timeout", "--json", "--token-file", "--count", "--quiet"]
    {
        assert!(help::SUB.contains(flag), "{flag}");
    }
    for flag in ["--server", "--type", "--json", "--ttl", "--key", "--token-file"] {
        assert!(help::PUB.contains(flag), "{flag}");
    }
}
