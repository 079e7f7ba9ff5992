//! What a file says, and what a person reads of a wrong one.

use super::*;

const FRONT: &str = r#"
[[front_end]]
name = "front"
settings = { listen = "127.0.0.1:1", publish-listen = "127.0.0.1:11", worker-listen = "0.0.0.0:21", shards = 1 }
"#;
const BACK: &str = r#"
[[back_end]]
name = "work"
programs = "programs"
"#;

fn parse(text: &str) -> Result<Plan, String> {
    Plan::parse(text, Path::new("/etc/pushup/cluster.toml"))
}

fn arguments(plan: &Plan, at: usize, number: usize) -> Vec<String> {
    let group = &plan.groups[at];
    let component = match &group.kind {
        Kind::FrontEnd(front) => plan.front_end(group, front, number, None),
        Kind::BackEnd(back) => {
            plan.back_end(group, back, number, &plan.join(back, &BTreeMap::new()).unwrap())
        }
    };
    component.command_line()
}

#[test]
fn a_small_file() {
    let plan = parse(&format!("{FRONT}count = 2\n{BACK}")).unwrap();
    assert_eq!(plan.control, Path::new("/etc/pushup/control.sock"));
    assert_eq!(plan.state, Path::new("/etc/pushup"));
    assert_eq!((plan.groups[0].count, plan.groups[1].count), (2, 1));
    let expected = "serve --share-port=true --listen=127.0.0.1:1 --publish-listen=127.0.0.1:12 --shards=1 \
                    --worker-listen=0.0.0.0:22 --cluster-name=pushup --scheduler=p2c";
    assert_eq!(arguments(&plan, 0, 2).join(" "), expected);
    let expected = "worker --name=work.1 --programs=programs --cluster-name=pushup --join=127.0.0.1:21 \
                    --join=127.0.0.1:22";
    assert_eq!(arguments(&plan, 1, 1).join(" "), expected);
}

#[test]
fn a_file_with_everything() {
    let text = r#"
control = "run/control"
state = "/var/lib/pushup"
cluster_name = "c"
key_file = "key"
[[front_end]]
name = "f"
settings = { worker-listen = "10.0.0.1:84", cluster-listen = "10.0.0.1:90", peer = ["10.0.0.1:90", "10.0.0.2:90"], drain-time = 3, scheduler = "round_robin", publish-token-file = "t" }
[[back_end]]
name = "w"
count = 2
slots = 3
join = ["10.0.0.1:84"]
machine = "b"
[agents]
listen = "10.0.0.1:95"
"#;
    let plan = parse(text).unwrap();
    assert_eq!(
        (plan.control.to_str(), plan.state.to_str()),
        (Some("/etc/pushup/run/control"), Some("/var/lib/pushup"))
    );
    assert_eq!(plan.agents_listen.as_deref(), Some("10.0.0.1:95"));
    let given = arguments(&plan, 0, 3).join(" ");
    for part in [
        "--worker-listen=10.0.0.1:86",
        "--cluster-listen=10.0.0.1:92",
        "--publish-listen=127.0.0.1:8083",
        "--peer=10.0.0.1:90 --peer=10.0.0.2:90",
        "--cluster-name=c --cluster-key-file=/etc/pushup/key --scheduler=round_robin",
    ] {
        assert!(given.contains(part), "{part} in {given}");
    }
    let (group, Kind::BackEnd(back)) = (&plan.groups[1], &plan.groups[1].kind) else { panic!() };
    let join = plan.join(back, &BTreeMap::new()).unwrap();
    let order = plan.order(group, back, 2, &join);
    assert_eq!((order.name.as_str(), order.slots, order.join), ("w.2", 3, vec!["10.0.0.1:84".to_owned()]));
    let Kind::FrontEnd(front) = &plan.groups[0].kind else { panic!() };
    assert_eq!((front.drain_ms, plan.publisher(front, 2).as_deref()), (3_000, Some("127.0.0.1:8082")));
    assert_eq!(front.token_file.as_deref(), Some(Path::new("t")));
}

#[test]
fn what_a_person_reads_of_a_wrong_file() {
    let front = |settings: &str| format!("[[front_end]]\nname = \"f\"\nsettings = {{ {settings} }}");
    for (text, told) in [
        ("".to_owned(), "there is no [[front_end]] and no [[back_end]] in it"),
        ("a = \n".to_owned(), "line 1: "),
        ("\n\n[[front_end]\n".to_owned(), "line 3: "),
        (format!("contrl = \"a\"\n{FRONT}"), "unknown name \"contrl\", did you mean \"control\"?"),
        (format!("control = 3\n{FRONT}"), "\"control\" must be a text in quotes, and not empty"),
        ("[front_end]\nname = \"f\"".to_owned(), "\"front_end\" must be tables: [[front_end]]"),
        ("front_end = [1]".to_owned(), "\"front_end\" must be tables: [[front_end]]"),
        ("[[front_end]]\ncount = 2".to_owned(), "front_end \"without a name\": \"name\" is missing"),
        ("[[front_end]]\nname = \"a b\"".to_owned(), "front_end \"a b\": \"name\" must be 1 to 32 of"),
        (format!("{FRONT}{FRONT}"), "front_end \"front\": there are two groups of this name"),
        (format!("{FRONT}count = 0"), "front_end \"front\": \"count\" must be a whole number from 1 to 256"),
        (format!("{FRONT}cuont = 1"), "front_end \"front\": unknown name \"cuont\", did you mean \"count\"?"),
        (front("lisen = \"a:1\""), "front_end \"f\": unknown setting \"lisen\", did you mean \"listen\"?"),
        (front("listen = \"a\""), "front_end \"f\": settings: --listen must be host:port"),
        (front("listen = 1.5"), "front_end \"f\": \"listen\" must be a text, a whole number"),
        (front("listen = \"a:0\""), "front_end \"f\": \"listen\" needs a port that others know"),
        (
            front("worker-listen = \"a:0\""),
            "front_end \"f\": \"worker-listen\" needs a port that others know",
        ),
        (front("usecases = \"u\""), "front_end \"f\": settings: \"usecases\" needs \"worker-listen\""),
        (
            front("share-port = true"),
            "front_end \"f\": \"share-port\" is no setting here: the controller always",
        ),
        (
            front("cluster-name = \"c\""),
            "front_end \"f\": \"cluster-name\" is no setting here: it is \"cluster_name\"",
        ),
        (
            front("publish-listen = \"a:5\", worker-listen = \"a:6\"") + "\ncount = 2",
            "front_end \"f\": f.2 would listen on a:6, as f.1 does",
        ),
        (
            front("publish-listen = \"a:65535\"") + "\ncount = 2",
            "front_end \"f\": \"publish-listen\" of instance 2 would be port 65536",
        ),
        (
            front("ready-file = \"r\"") + "\ncount = 2",
            "front_end \"f\": \"ready-file\" is for one, and there are 2",
        ),
        (
            format!("{FRONT}[[front_end]]\nname = \"g\"\nsettings.listen = \"127.0.0.1:1\""),
            "front_end \"g\": g.1 would",
        ),
        (BACK.to_owned(), "back_end \"work\": no front-end has a \"worker-listen\": say where to \"join\""),
        (format!("{BACK}slots = 1000"), "back_end \"work\": \"slots\" must be a whole number from 1 to 256"),
        (format!("{BACK}join = [\"a\"]"), "back_end \"work\": \"join\" must be host:port"),
        (
            "[[back_end]]\nname = \"w\"\njoin = [\"a:1\"]".to_owned(),
            "back_end \"w\": \"programs\" is missing",
        ),
        (
            "[[back_end]]\nname = \"w\"\njoin = [\"a:1\"]\nmachine = \"b\"".to_owned(),
            "back_end \"w\": a \"machine\" needs [agents] with \"listen\"",
        ),
        (format!("{BACK}machine = \"b\""), "back_end \"work\": \"programs\" is for the agent to say"),
        (
            format!("{FRONT}[[back_end]]\nname = \"w\"\nmachine = \"b\"\n[agents]\nlisten = \"a:1\""),
            "back_end \"w\": another machine cannot reach 0.0.0.0:21: say where to \"join\"",
        ),
        (format!("{FRONT}[agents]\nlisten = \"a\""), "[agents]: \"listen\" must be host:port"),
        (format!("{FRONT}[agents]\nkey = \"a\""), "[agents]: unknown name \"key\""),
        (format!("{FRONT}count = 200\n{BACK}count = 100\n"), "300 components are too many: at most 256"),
    ] {
        let why = parse(&text).expect_err(&text);
        let rest = why.strip_prefix("/etc/pushup/cluster.toml: ").expect(&why);
        assert!(rest.starts_with(told), "{text}\n{rest}\n{told}");
    }
}
