//! What each place accepts and refuses, and what a person reads then.

use super::*;

/// Loads with these flags, variables and file text.
fn load(flags: &[(&str, &str)], env: &[(&str, &str)], file: Option<&str>) -> Result<Config, StartError> {
    let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    let mut flags = own(flags);
    if file.is_some() {
        flags.push((FILE_FLAG.into(), "pushup.toml".into()));
    }
    Config::load(flags, own(env).into_iter(), &|path| {
        assert_eq!(path, Path::new("pushup.toml"));
        file.map(String::from).ok_or_else(|| io::ErrorKind::NotFound.into())
    })
}

fn file(text: &str) -> Result<Config, String> {
    match load(&[], &[], Some(text)) {
        Ok(config) => Ok(config),
        Err(StartError::Config(text)) => Err(text),
        Err(other) => panic!("{other:?}"),
    }
}

fn flag(name: &str, value: &str) -> Result<Config, String> {
    match load(&[(name, value)], &[], None) {
        Ok(config) => Ok(config),
        Err(StartError::Usage(text)) => Err(text),
        Err(other) => panic!("{other:?}"),
    }
}

fn variable(name: &str, value: &str) -> Result<Config, String> {
    match load(&[], &[(name, value)], None) {
        Ok(config) => Ok(config),
        Err(StartError::Config(text)) => Err(text),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = Config::default();
    assert_eq!(load(&[], &[], None).unwrap(), config);
    assert_eq!(config.listen, ["0.0.0.0:8080"]);
    assert_eq!(config.publish_listen, ["127.0.0.1:8081"]);
    assert_eq!(config.log_level, LevelFilter::Info);
    assert_eq!((config.poll_timeout_s, config.poll_timeout_s_max), (50, 120));
    assert_eq!((config.message_ttl_s, config.channel_ttl_s), (300, 3600));
    assert_eq!(config.channel_messages_max, 1000);
    assert_eq!(config.channel_bytes_max, 4 << 20);
    assert_eq!(config.cache_bytes_max, 256 << 20);
    assert_eq!(config.channels_max, 1_000_000);
    assert_eq!(config.memory_bytes_max, 1 << 30);
    assert_eq!(config.body_bytes_max, 1 << 20);
    assert_eq!((config.connections_max, config.drain_s), (0, 10));
    assert!(!config.existing_only && config.cors_origins.is_empty());
    assert_eq!((config.ready_file, config.publish_token_file), (None, None));
    assert_eq!(config.subscribe_key_file, None);
    assert_eq!(config.cluster_name, "pushup");
    assert_eq!((config.cluster_listen, config.cluster_advertise, config.node_id), (None, None, None));
    assert_eq!((config.peers, config.cluster_key_file), (Vec::<String>::new(), None));
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let text = "poll-timeout = 10\nmessage-ttl = 11\nchannel-ttl = 12";
    let env = [("PUSHUP_POLL_TIMEOUT", "20"), ("PUSHUP_MESSAGE_TTL", "21")];
    let config = load(&[("poll-timeout", "30")], &env, Some(text)).unwrap();
    assert_eq!(config.poll_timeout_s, 30);
    assert_eq!(config.message_ttl_s, 21);
    assert_eq!(config.channel_ttl_s, 12);
    assert_eq!(config.drain_s, 10);
}

#[test]
fn a_list_replaces_the_one_below_it() {
    let flags = [("listen", "a:1"), ("drain-time", "1"), ("listen", "b:2")];
    let config = load(&flags, &[("PUSHUP_LISTEN", "c:3")], None).unwrap();
    assert_eq!(config.listen, ["a:1", "b:2"]);
    let config = variable("PUSHUP_LISTEN", "c:3, d:4").unwrap();
    assert_eq!(config.listen, ["c:3", "d:4"]);
    assert!(variable("PUSHUP_LISTEN", ",").is_err());
    assert!(file("listen = []").is_err());
    let env = [("PUSHUP_CORS_ORIGIN", "*")];
    assert_eq!(load(&[], &env, Some("cors-origin = []")).unwrap().cors_origins, ["*"]);
}

#[test]
fn the_file_is_named_by_flag_or_variable() {
    let read = |path: &Path| match path.to_str() {
        Some("a") => Ok("drain-time = 1".to_string()),
        Some("b") => Ok("drain-time = 2".to_string()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let load = |flag: Option<&str>, variable: &str| {
        let flags = flag.map(|path| (FILE_FLAG.to_string(), path.to_string()));
        let env = [(FILE_VARIABLE.to_string(), variable.to_string())];
        Config::load(flags.into_iter().collect(), env.into_iter(), &read)
    };
    assert_eq!(load(None, "b").unwrap().drain_s, 2);
    assert_eq!(load(Some("a"), "b").unwrap().drain_s, 1);
    assert_eq!(load(None, "").unwrap().drain_s, 10);
    let error = load(None, "gone").unwrap_err();
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().starts_with("cannot read \"gone\": "), "{error}");
}

#[test]
fn a_file_with_everything_in_it() {
    let config = file(
        "\u{feff}# a comment\r\n\
         listen = [ # two\n  \"0.0.0.0:80\",\n  '[::1]:80',\n]\r\n\
         \n\
         publish-listen=\"localhost:0\" # loopback\n\
         poll-timeout = 1_0\n\
         existing-only = true\n\
         cache-bytes-max = \"1k\"\n\
         body-bytes-max = 4096\n\
         publish-token-file = \"a \\\"b\\\"\\t\\\\ #\"\n\
         log-level = 'debug'\n\
         cors-origin = \"HTTPS://Example.com:443\"",
    )
    .unwrap();
    assert_eq!(config.listen, ["0.0.0.0:80", "[::1]:80"]);
    assert_eq!(config.publish_listen, ["localhost:0"]);
    assert_eq!((config.poll_timeout_s, config.body_bytes_max), (10, 4096));
    assert!(config.existing_only);
    assert_eq!(config.cache_bytes_max, 1024);
    assert_eq!(config.publish_token_file, Some("a \"b\"\t\\ #".into()));
    assert_eq!(config.log_level, LevelFilter::Debug);
    assert_eq!(config.cors_origins, ["https://example.com"]);
}

#[test]
fn a_bad_file_names_the_line_and_what_is_allowed() {
    for (text, expect) in [
        (
            "\n\npoll-timeout = abc",
            "3: \"poll-timeout\" must be a whole number of seconds from 0 to 600, not \"abc\"",
        ),
        ("drain-time = -1", "1: \"drain-time\" must be a whole number of seconds from 0 to 600, not \"-1\""),
        (
            "drain-time = 1.5",
            "1: \"drain-time\" must be a whole number of seconds from 0 to 600, not \"1.5\"",
        ),
        ("# x\npol-timeout = 1", "2: unknown name \"pol-timeout\", did you mean \"poll-timeout\"?"),
        ("poll_timeout = 1", "1: unknown name \"poll_timeout\", did you mean \"poll-timeout\"?"),
        ("colour = 1", "1: unknown name \"colour\""),
        ("drain-time = 1\ndrain-time = 2", "2: \"drain-time\" stands already in line 1"),
        ("[server]\ndrain-time = 1", "1: \"[server]\": tables are not known here, only name = value"),
        ("drain-time 1", "1: a line must be: name = value"),
        ("drain-time =", "1: the value is missing"),
        ("drain-time = 1 2", "1: unexpected \"2\" after the value"),
        ("drain-time = [1]", "1: \"drain-time\" takes one value, not a list"),
        (
            "drain-time = 1__0",
            "1: \"drain-time\" must be a whole number of seconds from 0 to 600, not \"1__0\"",
        ),
        ("log-level = info", "1: \"log-level\" needs quotes: log-level = \"info\""),
        ("cache-bytes-max = 4M", "1: \"cache-bytes-max\" needs quotes: cache-bytes-max = \"4M\""),
        ("log-level = \"info", "1: a string is not closed"),
        ("log-level = 'info", "1: a string is not closed"),
        ("log-level = \"\\x\"", "1: in a string only \\\" \\\\ \\t \\n are escapes; or use '…'"),
        ("listen = [\"a:1\" \"b:2\"]", "1: a list is written [\"a\", \"b\"]"),
        ("listen = [\"a:1\"", "1: a list is written [\"a\", \"b\"]"),
        ("existing-only = yes", "1: \"existing-only\" must be true or false, not \"yes\""),
        ("publish-token-file = \"\"", "1: \"publish-token-file\" must be the path of a file, not \"\""),
    ] {
        assert_eq!(file(text).unwrap_err(), format!("pushup.toml:{expect}"), "{text}");
    }
}

#[test]
fn numbers_and_sizes_are_held_to_their_range() {
    let size = |text| flag("cache-bytes-max", text).map(|config| config.cache_bytes_max);
    assert_eq!(size("1").unwrap(), 1);
    assert_eq!(size("3k").unwrap(), 3 << 10);
    assert_eq!(size("3K").unwrap(), 3 << 10);
    assert_eq!(size("3m").unwrap(), 3 << 20);
    assert_eq!(size("1G").unwrap(), 1 << 30);
    for bad in
        ["0", "", "k", "1kB", "1 k", "-1", "+1", "1.5M", "0x10", "99999999999999999999", "20000000000G"]
    {
        assert!(size(bad).is_err(), "{bad}");
    }
    assert_eq!(
        flag("body-bytes-max", "65M").unwrap_err(),
        "--body-bytes-max must be a size from 1 to 64M bytes (k, M and G are powers of 1024), not \"65M\""
    );
    assert!(flag("body-bytes-max", "64M").is_ok());
    assert!(flag("poll-timeout", "0").is_ok());
    assert!(flag("poll-timeout-max", "0").is_err());
    assert!(flag("poll-timeout-max", "600").is_ok());
    assert!(flag("poll-timeout-max", "601").is_err());
    assert!(flag("channel-messages-max", "1000001").is_err());
    assert!(flag("drain-time", "1k").is_err());
}

#[test]
fn addresses() {
    for good in ["0.0.0.0:8080", "localhost:0", "a-b.c_d:65535", "[::1]:80", "[fe80::1%eth0]:1"] {
        assert_eq!(flag("listen", good).unwrap().listen, [good]);
    }
    for bad in
        ["", "8080", ":8080", "a", "a:", "a:65536", "a:x", "::1:80", "[::1]", "[a]:1", "a b:1", "http://a:1"]
    {
        let error = flag("listen", bad).unwrap_err();
        assert!(error.starts_with("--listen must be host:port, like "), "{error}");
    }
}

#[test]
fn origins_are_what_a_browser_sends() {
    for (text, expect) in [
        ("*", "*"),
        ("https://Example.com", "https://example.com"),
        ("http://localhost:80", "http://localhost"),
        ("https://a.b:8443", "https://a.b:8443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[::1]", "http://[::1]"),
        ("moz-extension://abc", "moz-extension://abc"),
    ] {
        assert_eq!(flag("cors-origin", text).unwrap().cors_origins, [expect]);
    }
    for bad in [
        "",
        "example.com",
        "https://",
        "https://a/",
        "https://a/b",
        "https://a?b",
        "https://u@a",
        "://a",
        "null",
        "**",
    ] {
        let error = flag("cors-origin", bad).unwrap_err();
        assert!(error.starts_with("--cors-origin must be * or scheme://"), "{error}");
    }
}

#[test]
fn a_wrong_flag_is_a_usage_error() {
    assert_eq!(
        flag("pol-timeout", "1").unwrap_err(),
        "unknown flag \"--pol-timeout\", did you mean \"--poll-timeout\"?"
    );
    assert_eq!(flag("x", "1").unwrap_err(), "unknown flag \"--x\"");
    let twice = load(&[("drain-time", "1"), ("drain-time", "2")], &[], None).unwrap_err();
    assert_eq!(twice.to_string(), "--drain-time is given more than once");
    assert_eq!(twice.exit_code(), 2);
    let error = flag("log-level", "a\nb\u{1b}").unwrap_err();
    assert!(!error.contains(['\n', '\u{1b}']), "{error:?}");
}

#[test]
fn variables_of_ours_must_be_known() {
    assert_eq!(
        variable("PUSHUP_POLL_TIMEOUTS", "1").unwrap_err(),
        "PUSHUP_POLL_TIMEOUTS is not a variable of PushUp, did you mean PUSHUP_POLL_TIMEOUT?"
    );
    assert_eq!(variable("PUSHUP_", "1").unwrap_err(), "PUSHUP_ is not a variable of PushUp");
    assert_eq!(
        variable("PUSHUP_EXISTING_ONLY", "1").unwrap_err(),
        "PUSHUP_EXISTING_ONLY must be true or false, not \"1\""
    );
    for fine in ["PUSHUP_SEED", "PUSHUP_SERVER", "PUSHUP_PUBLISH_SERVER", "PATH", "pushup_x"] {
        assert!(variable(fine, "anything").is_ok(), "{fine}");
    }
    let empty = [("PUSHUP_DRAIN_TIME", ""), ("PUSHUP_READY_FILE", "")];
    assert_eq!(load(&[], &empty, None).unwrap(), Config::default());
}

#[test]
fn settings_must_agree_with_each_other() {
    let error = |flags: &[(&str, &str)]| load(flags, &[], None).unwrap_err();
    for (flags, expect) in [
        (
            &[("poll-timeout", "121")][..],
            "\"poll-timeout\" (121) must not be more than \"poll-timeout-max\" (120)",
        ),
        (
            &[("memory-bytes-max", "128M")],
            "\"cache-bytes-max\" (256M) must not be more than \"memory-bytes-max\" (128M), which includes it",
        ),
        (
            &[("shards", "2"), ("memory-bytes-max", "511M")],
            "with several \"shards\", which divide the rest, \"cache-bytes-max\" (256M) must not be more than half of \
             \"memory-bytes-max\" (511M)",
        ),
        (
            &[("cors-origin", "*"), ("cors-origin", "https://a")],
            "\"cors-origin\" is either \"*\" alone or a list of origins",
        ),
        (
            &[("listen", "127.0.0.1:8081")],
            "\"127.0.0.1:8081\" stands twice in \"listen\", \"publish-listen\", \"proxy-listen\" \
             and \"cluster-listen\"",
        ),
        (
            &[("cluster-listen", "0.0.0.0:8080")],
            "\"0.0.0.0:8080\" stands twice in \"listen\", \"publish-listen\", \"proxy-listen\" \
             and \"cluster-listen\"",
        ),
        (&[("peer", "a:1")], "\"peer\" is for a cluster and needs \"cluster-listen\""),
        (&[("node-id", "a")], "\"node-id\" is for a cluster and needs \"cluster-listen\""),
        (
            &[("cluster-advertise", "a:1")],
            "\"cluster-advertise\" is for a cluster and needs \"cluster-listen\"",
        ),
        (&[("cluster-key-file", "a")], "\"cluster-key-file\" is for a cluster and needs \"cluster-listen\""),
        (
            &[("cluster-listen", "a:0"), ("peer", "b:1"), ("peer", "b:00")],
            "\"peer\" needs a port that others know, not \"b:00\"",
        ),
        (
            &[("cluster-listen", "a:0"), ("cluster-advertise", "b:0")],
            "\"cluster-advertise\" needs a port that others know, not \"b:0\"",
        ),
    ] {
        assert_eq!(error(flags).to_string(), expect);
        assert_eq!(error(flags).exit_code(), 78);
    }
    assert!(load(&[("listen", "a:0"), ("publish-listen", "a:0")], &[], None).is_ok());
}

#[test]
fn a_cluster() {
    let text = "cluster-listen = \"0.0.0.0:7946\"\ncluster-advertise = \"n1:7946\"\nnode-id = \"n1\"\n\
                peer = [\"n2:7946\", \"[::1]:7946\"]\ncluster-key-file = \"key\"";
    let config = file(text).unwrap();
    assert_eq!(config.cluster_listen.as_deref(), Some("0.0.0.0:7946"));
    assert_eq!(config.cluster_advertise.as_deref(), Some("n1:7946"));
    assert_eq!(config.peers, ["n2:7946", "[::1]:7946"]);
    assert_eq!(config.cluster_key_file, Some("key".into()));
    assert_eq!(config.node_id.as_ref().map(NodeId::as_str), Some("n1"));
    assert!(file("peer = []").unwrap().peers.is_empty());
    assert_eq!(
        flag("node-id", "a b").unwrap_err(),
        "--node-id must be 1 to 64 characters of A-Z a-z 0-9 _ . : ~ @ + - [ ], not \"a b\""
    );
    assert!(
        flag("cluster-listen", "7946").unwrap_err().starts_with("--cluster-listen must be host:port, like ")
    );
}

#[test]
fn proxies() {
    let text = |config: &Config| config.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>();
    let config = Config::default();
    assert_eq!((config.proxy_listen.len(), config.polls_per_client_max), (0, 0));
    assert_eq!(text(&config), ["127.0.0.0/8", "::1/128"]);
    let config =
        file("proxy-listen = [\"[::]:8082\"]\ntrusted-proxy = [\"10.0.0.0/8\", \"192.0.2.1\"]").unwrap();
    assert_eq!(config.proxy_listen, ["[::]:8082"]);
    assert_eq!(text(&config), ["10.0.0.0/8", "192.0.2.1/32"]);
    assert!(file("trusted-proxy = []").unwrap().trusted_proxies.is_empty());
    assert_eq!(
        flag("trusted-proxy", "10.0.0.1/8").unwrap_err(),
        "--trusted-proxy must be a network like 10.0.0.0/8 or 2001:db8::/32, or an address, not \"10.0.0.1/8\""
    );
}

#[test]
fn the_clusters_settings_of_a_running_node_stay() {
    let running = file("cluster-listen = \"a:1\"\npeer = \"b:1\"\nnode-id = \"n\"").unwrap();
    let mut same = Config { drain_s: 1, ..running.clone() };
    assert!(!same.keep_cluster(&running));
    assert_eq!(same, Config { drain_s: 1, ..running.clone() });
    for text in ["", "cluster-listen = \"a:1\"\npeer = \"b:1\"", "cluster-name = \"other\""] {
        let mut other = file(text).unwrap();
        assert!(other.keep_cluster(&running), "{text}");
        assert_eq!(other, running);
    }
}

#[test]
fn every_row_works_in_all_three_places() {
    for row in TABLE {
        let value = match (row.name, row.default) {
            ("cluster-listen" | "cluster-advertise" | "peer" | "worker-listen", _) => "a:1",
            ("node-id", _) => "[::1]:1",
            ("proxy-listen", _) => "a:1",
            ("trusted-proxy", _) => "10.0.0.0/8",
            (_, "") if row.is_list() => "https://a.example",
            (_, "") => "some/file",
            (_, default) => default,
        };
        let of_cluster = ["cluster-advertise", "peer", "cluster-key-file", "node-id"].contains(&row.name);
        let cluster = [("PUSHUP_CLUSTER_LISTEN", "b:0")];
        let scatter = [("PUSHUP_WORKER_LISTEN", "c:0")];
        let cluster = match row.name {
            "usecases" => &scatter[..],
            _ if of_cluster => &cluster[..],
            _ => &[],
        };
        let by_flag = load(&[(row.name, value)], cluster, None).unwrap();
        let name = row.variable();
        let variable = [cluster, &[(name.as_str(), value)]].concat();
        assert_eq!(by_flag, load(&[], &variable, None).unwrap());
        let text = format!("{} = \"{value}\"", row.name);
        assert_eq!(by_flag, load(&[], cluster, Some(&text)).unwrap());
        assert_eq!(by_flag == Config::default(), value == row.default);
        assert!(!row.help.is_empty() && !row.help.contains('|'), "{}", row.name);
        assert_eq!(TABLE.iter().filter(|other| other.name == row.name).count(), 1);
    }
}

#[test]
fn the_tables_have_a_line_per_row_and_fit_a_terminal() {
    let help = help_table();
    assert_eq!(help.lines().count(), TABLE.len());
    assert!(help.contains("  --poll-timeout SECONDS        50              seconds that a poll"));
    for line in help.lines() {
        assert!(line.len() <= 120, "{line}");
    }
    let markdown = markdown_table();
    assert_eq!(markdown.lines().count(), TABLE.len() + 2);
    assert!(markdown.contains("| `--drain-time` | `PUSHUP_DRAIN_TIME` | `10` | seconds that "));
    assert!(markdown.contains("| `--ready-file` | `PUSHUP_READY_FILE` |  | file "));
}

#[test]
fn edits_count_single_letters() {
    for (a, b, expect) in [
        ("", "", 0),
        ("abc", "abc", 0),
        ("abc", "", 3),
        ("abc", "axc", 1),
        ("serv", "serve", 1),
        ("kitten", "sitting", 3),
    ] {
        assert_eq!(edits(a, b), expect);
        assert_eq!(edits(b, a), expect);
    }
}
