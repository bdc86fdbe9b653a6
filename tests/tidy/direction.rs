//! Which crate may depend on which, and which may use a foreign library.
//!
//! Read from `cargo metadata`, so features and renames hide nothing. Transitive
//! dependencies are looked at for the signer alone; cargo-deny looks at the rest.

use crate::none;
use crate::tree::root;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What a service may use of this workspace.
const SHARED: &[&str] = &[
    "berth-core",
    "berth-input",
    "berth-proto",
    "berth-runtime",
    "berth-secrets",
];

/// The services, which meet through proto; only their tests may start another.
const SERVICES: &[&str] = &[
    "gateway",
    "inventory",
    "leasing",
    "monitoring",
    "provisioning",
    "signer",
];

/// The crates of ours that a crate may depend on; the rest are services.
const DIRECTION: &[(&str, &[&str])] = &[
    ("berth-core", &[]),
    ("berth-proto", &[]),
    ("berth-rig", &[]),
    (
        "berth-fuzz",
        &[
            "berth-agent",
            "berth-gateway",
            "berth-inventory",
            "berth-leasing",
            "berth-monitoring",
            "berth-provisioner",
            "berth-provisioning",
            "berth-runtime",
            "berth-signer",
        ],
    ),
    ("berth-input", &["berth-core"]),
    (
        "berth-runtime",
        &["berth-core", "berth-input", "berth-proto"],
    ),
    ("berth-secrets", &["berth-core", "berth-input"]),
    (
        "berth-process",
        &["berth-core", "berth-runtime", "berth-secrets"],
    ),
    ("berth-provisioner", &["berth-core"]),
    ("berth-agent", &["berth-input", "berth-proto"]),
    // An executable too, and a service.
    (
        "berth-signer",
        &[
            "berth-core",
            "berth-input",
            "berth-process",
            "berth-proto",
            "berth-runtime",
            "berth-secrets",
        ],
    ),
    (
        "berth-provisioning",
        &[
            "berth-core",
            "berth-input",
            "berth-proto",
            "berth-runtime",
            "berth-secrets",
            "berth-provisioner",
        ],
    ),
];

/// Libraries by the start of their name, and the crates that own them. A crate
/// that wants one asks its owner for what it needs.
const OWNERS: &[(&str, &[&str])] = &[
    ("russh", &["berth-provisioner"]),
    ("bollard", &["berth-provisioner"]),
    ("vaultrs", &["berth-secrets"]),
    ("rustify", &["berth-secrets"]),
    // The wire format: whoever sends or receives OTLP.
    ("opentelemetry-proto", &["berth-agent", "berth-monitoring"]),
    ("opentelemetry", &["berth-runtime"]),
    ("tracing-opentelemetry", &["berth-runtime"]),
    ("axum", &["berth-gateway", "berth-signer"]),
];

/// Libraries that reach machines, by the start of their name. The process that
/// holds keys has none of them, however far down.
const REACH_MACHINES: &[&str] = &[
    "russh",
    "bollard",
    "tfkit",
    "terraform",
    "berth-provisioner",
    "berth-provisioning",
    "berth-rig",
];

/// One crate of the workspace with its direct dependencies.
struct Crate {
    name: String,
    /// Name, and whether only its tests use it.
    dependencies: Vec<(String, bool)>,
}

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version=1"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn crates() -> Vec<Crate> {
    let metadata = metadata(&["--no-deps"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| Crate {
            name: text(&package["name"]),
            dependencies: package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .map(|d| (text(&d["name"]), d["kind"] == "dev"))
                .collect(),
        })
        .collect()
}

fn check(krate: &Crate) -> Vec<String> {
    let name = krate.name.as_str();
    // The executable puts the parts together and the tests look at all of them.
    if name == "berth-tests" {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for (dependency, for_tests) in &krate.dependencies {
        let ours = dependency.starts_with("berth-");
        if ours && !may_use(name, dependency, *for_tests) {
            wrong.push(format!(
                "{name} depends on {dependency}: crates point downwards only and services \
                 meet through berth-proto. Call its rpc, or move what both need into \
                 berth-core or berth-runtime (docs/architecture.md, Direction)."
            ));
        }
        let owners = OWNERS
            .iter()
            .find(|(library, _)| is_part_of(dependency, library));
        if let Some((library, owners)) = owners.filter(|(_, owners)| !owners.contains(&name)) {
            wrong.push(format!(
                "{name} depends on {dependency}: {library} belongs to {}. Add what you need \
                 to its owner and call that.",
                owners.join(" and ")
            ));
        }
    }
    wrong
}

fn may_use(name: &str, dependency: &str, for_tests: bool) -> bool {
    if name == "berth" {
        return dependency != "berth-tests";
    }
    // Tests start the real machine, agent and neighbour, never a model of them.
    let neighbour = dependency == "berth-agent" || is_service(dependency);
    if for_tests && (dependency == "berth-rig" || is_service(name) && neighbour) {
        return true;
    }
    let allowed = DIRECTION
        .iter()
        .find(|(krate, _)| *krate == name)
        .map_or(SHARED, |(_, allowed)| allowed);
    allowed.contains(&dependency)
}

fn is_service(name: &str) -> bool {
    name.strip_prefix("berth-")
        .is_some_and(|role| SERVICES.contains(&role))
}

/// `opentelemetry_sdk` is a part of `opentelemetry`; `russhy` is none of `russh`.
fn is_part_of(dependency: &str, library: &str) -> bool {
    dependency
        .strip_prefix(library)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

/// The names of all crates that a crate of ours is built from.
fn tree(metadata: &Value, name: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().unwrap().iter();
    let names: BTreeMap<_, _> = packages
        .map(|p| (text(&p["id"]), text(&p["name"])))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap().iter();
    let nodes: BTreeMap<_, _> = nodes.map(|node| (text(&node["id"]), node)).collect();
    let mut ahead: Vec<_> = names
        .iter()
        .filter(|(_, n)| **n == name)
        .map(|(id, _)| *id)
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = ahead.pop() {
        if !seen.insert(id) {
            continue;
        }
        let edges = nodes[id]["deps"].as_array().unwrap().iter();
        let built = |edge: &&Value| {
            let kinds = edge["dep_kinds"].as_array().unwrap();
            kinds.iter().any(|kind| kind["kind"] != "dev")
        };
        ahead.extend(edges.filter(built).map(|edge| text(&edge["pkg"])));
    }
    seen.iter().map(|id| names[id].to_owned()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What in a tree reaches machines.
fn reaching(tree: &BTreeSet<String>) -> Vec<String> {
    tree.iter()
        .filter(|name| {
            REACH_MACHINES
                .iter()
                .any(|library| is_part_of(name, library))
        })
        .map(|name| {
            format!(
                "berth-signer is built from {name}: the process that holds keys opens no \
                 connection to a machine. Find the edge with `cargo tree -p berth-signer -i \
                 {name}` and cut it (docs/architecture.md, Processes)."
            )
        })
        .collect()
}

#[test]
fn the_signer_has_no_code_that_reaches_machines() {
    let metadata = metadata(&[]);
    none(&reaching(&tree(&metadata, "berth-signer")));
    // The same look finds it where it is.
    let found = reaching(&tree(&metadata, "berth"));
    for library in ["russh", "bollard", "berth-provisioner"] {
        let named = format!("built from {library}:");
        assert!(
            found.iter().any(|f| f.contains(&named)),
            "{library} in berth"
        );
    }
}

#[test]
fn crates_point_downwards_and_services_meet_through_proto() {
    none(&crates().iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let wrong: Vec<_> = crate::tree::files("Cargo.toml")
        .iter()
        // Generated code has its own style.
        .filter(|f| f.path != "Cargo.toml" && f.path != "proto/Cargo.toml")
        .filter(|f| !f.text.contains("[lints]\nworkspace = true"))
        .map(|f| format!("{}: add `[lints]` with `workspace = true`.", f.path))
        .collect();
    none(&wrong);
}

#[test]
fn a_wrong_dependency_is_found() {
    let found = |name: &str, dependency: &str, for_tests: bool| {
        check(&Crate {
            name: name.to_owned(),
            dependencies: vec![(dependency.to_owned(), for_tests)],
        })
        .len()
    };
    assert_eq!(found("berth-leasing", "berth-inventory", false), 1);
    assert_eq!(found("berth-leasing", "berth-inventory", true), 0);
    assert_eq!(found("berth-runtime", "berth-inventory", true), 1);
    assert_eq!(found("berth-core", "berth-runtime", false), 1);
    assert_eq!(found("berth-leasing", "berth-provisioner", false), 1);
    assert_eq!(found("berth-inventory", "russh", false), 1);
    assert_eq!(found("berth-gateway", "opentelemetry_sdk", false), 1);
    assert_eq!(found("berth-runtime", "opentelemetry-proto", false), 1);
    assert_eq!(found("berth-provisioning", "berth-provisioner", false), 0);
    assert_eq!(found("berth-signer", "berth-process", false), 0);
    assert_eq!(found("berth-leasing", "berth-process", false), 1);
    assert_eq!(found("berth-provisioner", "berth-rig", true), 0);
    assert_eq!(found("berth-runtime", "opentelemetry_sdk", false), 0);
}
