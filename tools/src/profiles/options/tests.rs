use super::*;

fn parsed(profile: Profile, args: &[&str]) -> Result<Plan, String> {
    match parse(profile, lexopt::Parser::from_args(args)) {
        Ok(Asked::Run(plan)) => Ok(*plan),
        Ok(Asked::Help) => Err("help".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn options_reach_the_plan() {
    let args =
        ["--connections", "16000", "--interval=250ms", "--target", "http://127.0.0.1:81/", "--pid", "77"];
    let plan = parsed(Profile::Broadcast, &args).unwrap();
    assert_eq!((plan.connections, plan.interval), (16_000, Duration::from_millis(250)));
    assert_eq!((plan.targets[0].port(), plan.pid, plan.placement), (81, Some(77), Placement::Anywhere));
    assert_eq!(plan.host.as_deref(), Some("127.0.0.1:81"));
    let plan =
        parsed(Profile::Cycle, &["--connections", "7", "--server-arg", "-x", "--quiet", "--no-pin"]).unwrap();
    assert_eq!((plan.channels, plan.server_args, plan.voice), (7, vec!["-x".into()], Voice::Quiet));
    let plan = parsed(Profile::Hold, &["--server", "nchan"]).unwrap();
    assert_eq!((plan.own.clone(), plan.dialect().name()), (OwnServer::Nchan, "nchan"));
    let plan = parsed(Profile::Hold, &["--target", "127.0.0.1:1", "--target", "127.0.0.2:1"]).unwrap();
    assert_eq!((plan.targets.len(), plan.host), (2, None));
}

#[test]
fn bad_usage_is_refused_with_a_reason() {
    for (profile, args, reason) in [
        (Profile::Hold, &["--help"][..], "help"),
        (Profile::Hold, &["--conections", "1"], "there is no --conections"),
        (Profile::Hold, &["--connections", "0"], "from 1 to"),
        (Profile::Hold, &["--connections", "many"], "from 1 to"),
        (Profile::Hold, &["--connections"], "missing"),
        (Profile::Hold, &["10"], "unexpected"),
        (Profile::Hold, &["--rate", "5"], "--rate is not for hold"),
        (Profile::Cycle, &["--channels", "5"], "--channels is not for cycle"),
        (Profile::Hold, &["--channels", "2000"], "2000 channels for 1000 connections"),
        (Profile::Hold, &["--body-bytes", "10"], "at least 53"),
        (Profile::Soak, &["--duration", "8000h"], "not a time"),
        (
            Profile::Soak,
            &["--connections", "9999", "--channels", "9999", "--interval", "1ms"],
            "messages a second",
        ),
        (Profile::Hold, &["--server", "apache"], "neither pushup nor nchan"),
        (Profile::Hold, &["--server-path", "/nowhere"], "no such file"),
        (Profile::Hold, &["--dialect", "/nowhere"], "built in"),
        (Profile::Hold, &["--pid", "7"], "--pid needs --target"),
        (Profile::Hold, &["--publish-target", "127.0.0.1:1"], "needs --target"),
        (Profile::Hold, &["--target", "192.0.2.1:80"], "say --remote"),
        (Profile::Hold, &["--target", "127.0.0.1:1", "--publish-target", "192.0.2.1:80"], "say --remote"),
        (Profile::Hold, &["--target", "https://127.0.0.1/"], "TLS"),
        (Profile::Hold, &["--target", "http://127.0.0.1/sub"], "a path belongs"),
    ] {
        let error = parsed(profile, args).unwrap_err();
        assert!(error.contains(reason), "{args:?}: {error:?} does not say {reason:?}");
    }
    let remote = parsed(Profile::Hold, &["--target", "192.0.2.1", "--remote"]).unwrap();
    assert_eq!(remote.targets[0].to_string(), "192.0.2.1:80");
}

#[test]
fn every_profile_has_a_name() {
    for profile in Profile::ALL {
        assert_eq!(Profile::from_word(profile.word()), Some(profile));
        assert!(parsed(profile, &[]).is_ok(), "{profile:?}");
    }
    assert_eq!(Profile::from_word("nothing"), None);
}

#[test]
fn visitors_have_left_before_they_come_again() {
    let plan = Plan { rate: 200.0, stay: Duration::from_millis(100), ..Plan::of(Profile::Churn) };
    assert_eq!(plan.visitors(), 31);
}

#[test]
fn only_hold_is_divided() {
    let divided = |profile, args: &[&str]| {
        let plan = parsed(profile, args).unwrap();
        Asked::Run(Box::new(plan)).fitting_descriptors().map(|asked| match asked {
            Asked::Run(plan) => *plan,
            Asked::Help => panic!("nobody asked for help"),
        })
    };
    let plan = divided(Profile::Hold, &["--connections", "200"]).unwrap();
    assert_eq!((plan.division, plan.channels, plan.duration.as_secs()), (None, 1, 10));
    let plan = divided(Profile::Hold, &["--connections", "200", "--shards", "2"]).unwrap();
    assert_eq!(plan.division, Some(Division { workers: 1, shards: 2 }));
    assert_eq!((plan.channels, plan.duration, plan.pin), (200, MANY_DURATION, None));
    let said = ["--connections", "4000", "--workers", "3", "--channels", "1", "--duration", "2"];
    let plan = divided(Profile::Hold, &said).unwrap();
    assert_eq!(plan.division, Some(Division { workers: 3, shards: 1 }));
    assert_eq!((plan.channels, plan.duration.as_secs()), (1, 2));
    let nchan = divided(Profile::Hold, &["--server", "nchan", "--workers", "2"]).unwrap_err();
    assert!(nchan.to_string().contains("--target"), "{nchan}");
    assert!(parsed(Profile::Broadcast, &["--workers", "2"]).unwrap_err().contains("not for broadcast"));
}
