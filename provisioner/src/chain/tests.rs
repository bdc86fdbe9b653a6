//! Entries that parse, and many that must not.

use super::*;

/// A small entry that passes.
pub(crate) const ENTRY: &str = r#"schema = 1
name = "example"
display_name = "Example"
chain_id = "example-1"
version = "1"
custody = "remote-signer"
licence = "MIT"

[[components]]
name = "node"
roles = ["full"]
image = { repository = "example.com/node", tag = "v1" }
command = ["start", "--home={volume.data}", "--name={settings.moniker}"]
env = { LEVEL = "info" }
user = "1000:1000"
volumes = { data = "/data" }
tmpfs = { "/tmp" = "1MiB" }
memory = "64MiB"
cpu_millis = 500

[[ports]]
name = "p2p"
component = "node"
number = 26656
purpose = "p2p"
exposure = "peer"

[[ports]]
name = "rpc"
component = "node"
number = 26657
purpose = "rpc"
exposure = "private"

[[files]]
component = "node"
path = "/data/config/config.toml"
template = "peers = '{bootstrap.peers}'"

[[files]]
component = "node"
path = "/data/config/genesis.json"
source = "genesis"

[[secrets]]
name = "node-key"
kind = "cometbft-node-key"
components = ["node"]
file = "node_key.json"

[requirements.full]
memory = "64MiB"

[bootstrap]
genesis = { file = "genesis.json" }
peers = ["a@10.0.0.1:1"] # the first

[[probes]]
kind = "http-json"
name = "status"
url = "http://node:26657/status"
liveness = true
values = [{ metric = "berth.node.height", pointer = "/height" }]

[[probes]]
kind = "disk"
name = "disk"
volume = "data"

[settings.moniker]
type = "text"
default = "{node.name}"
pattern = "[a-z]{1,9}"
help = "Name that peers see."

[settings.peers]
type = "integer"
default = "10"
min = 1
max = 20
help = "Most peers."
"#;

/// What is wrong once a part of the entry is replaced.
fn problem(from: &str, to: &str) -> Problem {
    assert!(ENTRY.contains(from), "{from} is not in the entry");
    let text = ENTRY.replacen(from, to, 1);
    let Err(Invalid(problems)) = ChainEntry::parse(&text) else {
        panic!("{to} was accepted");
    };
    problems.into_iter().next().unwrap()
}

#[test]
fn a_sound_entry_passes() {
    let entry = ChainEntry::parse(ENTRY).unwrap();
    assert_eq!(entry.roles(), BTreeSet::from([Role::Full]));
    assert_eq!(entry.components[0].memory, Bytes(64 << 20));
    assert_eq!(entry.health.silence_s, 60);
    assert_eq!(entry.probes_of(Role::Full).len(), 2);
    assert!(entry.probes_of(Role::Validator).is_empty());
}

#[test]
fn a_role_survives_text() {
    for role in Role::ALL {
        assert_eq!(role.to_string().parse(), Ok(role));
    }
    assert_eq!("king".parse::<Role>(), Err(UnknownRole));
}

#[test]
fn an_error_names_line_column_and_field() {
    let wrong = problem("user = \"1000:1000\"", "user = \"0:0\"");
    assert_eq!((wrong.line, wrong.column), (15, 8));
    assert_eq!(wrong.field, "components[0].user");
    assert_eq!(
        wrong.to_string(),
        "line 15, column 8: components[0].user: not an ordinary user; \
         two numbers from 1 to 65535 such as `10001:10001`; root is not allowed"
    );
}

#[test]
fn misspelt_and_misshapen_fields_are_found() {
    for (from, to, at, field) in [
        ("custody", "custdy", "custdy", "custdy"),
        ("cpu_millis", "cpus", "cpus", "components[0].cpus"),
        ("tag = ", "tga = ", "tga", "components[0].image.tga"),
        ("64MiB", "64Mib", "\"64Mib", "components[0].memory"),
        ("26657", "99999", "99999", "ports[1].number"),
        ("\"peer\"", "\"world\"", "\"world", "ports[0].exposure"),
        ("pointer", "ponter", "ponter", "probes[0].values[0].ponter"),
        ("min = 1", "mim = 1", "mim", "settings.peers.mim"),
        (
            "full]\nmemory",
            "full]\nram",
            "ram",
            "requirements.full.ram",
        ),
        ("ements.full", "ements.king", "king", "requirements.king"),
        ("schema = 1", "schema = §", "§", ""),
    ] {
        let wrong = problem(from, to);
        let text = ENTRY.replacen(from, to, 1);
        let before = &text[..text.find(at).unwrap()];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let seen = (wrong.line, wrong.column, wrong.field.as_str());
        assert_eq!(seen, (line, column, field), "{to}: {wrong}");
    }
}

/// What is replaced, by what, and the field that is named.
const HARMFUL: &[(&str, &str, &str)] = &[
    ("schema = 1", "schema = 2", "schema"),
    ("\"example\"", "\"Example\"", "name"),
    ("\"MIT\"", "\"\"", "licence"),
    (
        "name = \"node\"\nroles",
        "name = \"agent\"\nroles",
        "components[0].name",
    ),
    ("[\"full\"]", "[]", "components[0].roles"),
    (
        "example.com/node",
        "example.com/node@sha256",
        "components[0].image.repository",
    ),
    (
        "tag = \"v1\"",
        "tag = \"v1\", digest = \"sha256:1\"",
        "components[0].image.digest",
    ),
    (
        "tag = \"v1\"",
        "tag = \"v1\", build = \"../x\"",
        "components[0].image.build",
    ),
    ("\"start\"", "\"/bin/sh\"", "components[0].command[0]"),
    ("\"start\"", "\"a\\nb\"", "components[0].command[0]"),
    ("{volume.data}", "{signer.url}", "components[0].command[1]"),
    (
        "{volume.data}",
        "{volume.other}",
        "components[0].command[1]",
    ),
    ("LEVEL =", "API_TOKEN =", "components[0].env.API_TOKEN"),
    ("LEVEL =", "\"A=B\" =", "components[0].env.A=B"),
    (
        "\"/data\"",
        "\"/data/../etc\"",
        "components[0].volumes.data",
    ),
    ("\"/data\"", "\"/usr\"", "components[0].volumes.data"),
    (
        "\"/data\"",
        "\"/data/config/db\"",
        "components[0].volumes.data",
    ),
    ("\"/data\"", "\"/run/secrets\"", "components[0].secrets_dir"),
    ("\"/tmp\"", "\"/proc\"", "components[0].tmpfs./proc"),
    ("1MiB", "1B", "components[0].tmpfs./tmp"),
    (
        "memory = \"64MiB\"\ncpu",
        "memory = 1\ncpu",
        "components[0].memory",
    ),
    (
        "cpu_millis = 500",
        "cpu_millis = 500\ncap_add = [\"SYS_ADMIN\"]",
        "components[0].cap_add[0]",
    ),
    (
        "cpu_millis = 500",
        "cpu_millis = 500\ngpus = 1",
        "requirements.full.gpu_count",
    ),
    (
        "component = \"node\"",
        "component = \"other\"",
        "ports[0].component",
    ),
    ("\"private\"", "\"public\"", "ports[1].exposure"),
    ("\"private\"", "\"peer\"", "ports[1].exposure"),
    ("number = 26656", "number = 8545", "ports[0].exposure"),
    ("number = 26657", "number = 26656", "ports[1].number"),
    (
        "/data/config/config.toml",
        "data/config.toml",
        "files[0].path",
    ),
    (
        "/data/config/config.toml",
        "/data/config.toml",
        "files[0].path",
    ),
    (
        "{bootstrap.peers}",
        "{bootstrap.colour}",
        "files[0].template",
    ),
    (
        "source = \"genesis\"",
        "template = \"\"\nsource = \"genesis\"",
        "files[1]",
    ),
    (
        "genesis = { file = \"genesis.json\" }",
        "",
        "files[1].source",
    ),
    (
        "file = \"node_key.json\"",
        "file = \"../key\"",
        "secrets[0].file",
    ),
    (
        "components = [\"node\"]",
        "components = [\"x\"]",
        "secrets[0].components[0]",
    ),
    ("a@10.0.0.1:1", "a,b@10.0.0.1:1", "bootstrap.peers[0]"),
    (
        "file = \"genesis.json\"",
        "file = \"a/b\"",
        "bootstrap.genesis.file",
    ),
    (
        "http://node:26657",
        "http://169.254.169.254:80",
        "probes[0].url",
    ),
    (
        "http://node:26657",
        "http://node:26657@evil:80",
        "probes[0].url",
    ),
    ("http://node:26657", "https://node:26657", "probes[0].url"),
    ("liveness = true", "liveness = false", "probes"),
    (
        "berth.node.height",
        "berth.node.up",
        "probes[0].values[0].metric",
    ),
    (
        "\"/height\"",
        "\"/*/height\"",
        "probes[0].values[0].pointer",
    ),
    (
        "volume = \"data\"",
        "volume = \"other\"",
        "probes[1].volume",
    ),
    ("\"[a-z]{1,9}\"", "\"(a\"", "settings.moniker.pattern"),
    (
        "\"[a-z]{1,9}\"",
        "\"(((a{99}){99}){99}){99}\"",
        "settings.moniker.pattern",
    ),
    (
        "default = \"10\"",
        "default = \"21\"",
        "settings.peers.default",
    ),
    (
        "{node.name}",
        "{node.name}{node.id}",
        "settings.moniker.default",
    ),
    (
        "[requirements.full]\nmemory = \"64MiB\"",
        "[requirements.light]",
        "requirements",
    ),
];

#[test]
fn what_would_harm_a_machine_is_refused() {
    for (from, to, field) in HARMFUL {
        let wrong = problem(from, to);
        assert_eq!(wrong.field, *field, "{to}: {wrong}");
    }
}

#[test]
fn every_broken_rule_is_reported_at_once() {
    let text = ENTRY
        .replace("1000:1000", "0:0")
        .replace("\"private\"", "\"public\"")
        .replace("max = 20", "max = 5");
    let Invalid(problems) = ChainEntry::parse(&text).unwrap_err();
    let fields: Vec<&str> = problems.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "components[0].user",
            "ports[1].exposure",
            "settings.peers.default"
        ]
    );
}

#[test]
fn a_pin_keeps_comments_and_lets_nodes_launch() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let pinned = pin(ENTRY, "node", &digest).unwrap();
    assert!(pinned.contains("# the first"));
    assert!(pinned.contains("\", digest = \"sha256:"), "{pinned}");
    let entry = ChainEntry::parse(&pinned).unwrap();
    assert_eq!(entry.components[0].image.digest, Some(digest.clone()));
    assert_eq!(entry.obstacles().len(), 1, "the genesis is still missing");

    let again = pin(&pinned, "node", &digest).unwrap();
    assert_eq!(again, pinned);
    assert_eq!(
        pin(ENTRY, "other", &digest),
        Err(EditError::NoComponent("other".into()))
    );
    assert!(matches!(
        pin(ENTRY, "node", "sha256:1"),
        Err(EditError::Invalid(_))
    ));
}

#[test]
fn a_registration_writes_genesis_and_peers() {
    let genesis = b"{}".to_vec();
    let change = BootstrapChange {
        genesis_sha256: Some(hex::encode(Sha256::digest(&genesis))),
        peers: Some(vec!["b@10.0.0.2:2".into(), "c@10.0.0.3:3".into()]),
        seeds: None,
    };
    let text = with_bootstrap(ENTRY, &change).unwrap();
    let text = pin(&text, "node", &format!("sha256:{}", "0".repeat(64))).unwrap();
    let entry = ChainEntry::parse(&text).unwrap();
    assert_eq!(entry.bootstrap.peers, ["b@10.0.0.2:2", "c@10.0.0.3:3"]);
    assert_eq!(entry.launchable(), Ok(()));

    let files = |name: &str, contents: &[u8]| [(name.to_owned(), contents.to_vec())].into();
    entry.check_files(&files("genesis.json", &genesis)).unwrap();
    let wrong = entry.check_files(&files("genesis.json", b"x")).unwrap_err();
    assert!(wrong.contains("has SHA-256"), "{wrong}");
    let other = entry
        .check_files(&files("other.json", &genesis))
        .unwrap_err();
    assert!(other.contains("names no file"), "{other}");
    assert!(entry.check_files(&BTreeMap::new()).is_err());

    let bad = BootstrapChange {
        peers: Some(vec!["a b".into()]),
        ..BootstrapChange::default()
    };
    assert!(with_bootstrap(ENTRY, &bad).is_err());
}

#[test]
fn a_registration_adds_a_bootstrap_where_there_is_none() {
    let text = ENTRY
        .replace("[bootstrap]\ngenesis = { file = \"genesis.json\" }\n", "")
        .replace("peers = [\"a@10.0.0.1:1\"] # the first\n", "")
        .replace("source = \"genesis\"", "template = \"\"");
    assert!(ChainEntry::parse(&text).is_ok());
    let change = BootstrapChange {
        genesis_sha256: Some("0".repeat(64)),
        peers: None,
        seeds: Some(vec!["d@10.0.0.4:4".into()]),
    };
    let entry = ChainEntry::parse(&with_bootstrap(&text, &change).unwrap()).unwrap();
    assert_eq!(entry.bootstrap.genesis.unwrap().file, "genesis.json");
    assert_eq!(entry.bootstrap.seeds, ["d@10.0.0.4:4"]);
}

#[test]
fn settings_fall_back_and_are_checked() {
    let entry = ChainEntry::parse(ENTRY).unwrap();
    let chosen = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs.map(|(k, v)| ((*k).into(), (*v).into())).collect()
    };
    let values = entry
        .settings(Role::Full, &chosen(&[("peers", "7")]), "mine")
        .unwrap();
    assert_eq!(values, chosen(&[("moniker", "mine"), ("peers", "7")]));

    let wrong = chosen(&[("colour", "red"), ("moniker", "A"), ("peers", "0")]);
    let problems = entry.settings(Role::Full, &wrong, "mine").unwrap_err();
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "settings.colour: no such setting; known are moniker, peers",
            "settings.moniker: does not match `[a-z]{1,9}`",
            "settings.peers: expected a number from 1 to 20",
        ]
    );
}

#[test]
fn a_huge_text_is_refused_before_it_is_read() {
    let text = format!("{ENTRY}# {}", "x".repeat(MAX_TEXT));
    assert!(ChainEntry::parse(&text).is_err());
    let deep = format!("x = {}", "[".repeat(100_000));
    assert!(ChainEntry::parse(&deep).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,400}") {
        drop(ChainEntry::parse(&text));
    }

    #[test]
    fn no_damage_to_an_entry_makes_the_parser_panic(
        at in 0..ENTRY.len(),
        cut in 0usize..40,
        insert in "[\\[\\]{}=\"'.,#\n\\\\a-z0-9*/ é-]{0,12}",
    ) {
        let end = (at + cut).min(ENTRY.len());
        let text = format!("{}{insert}{}", &ENTRY[..at], &ENTRY[end..]);
        match ChainEntry::parse(&text) {
            Ok(entry) => assert!(entry.launchable().is_err()),
            Err(Invalid(problems)) => {
                assert!(!problems.is_empty());
                let lines = text.lines().count() + 1;
                for problem in problems {
                    assert!((1..=lines).contains(&problem.line));
                    assert!(problem.column >= 1);
                    assert!(!problem.message.contains('\n'));
                }
            }
        }
    }
}
