//! Which crate may depend on which, and which may use a foreign library.
//!
//! Read from `cargo metadata`, so features and renames hide nothing. Transitive
//! dependencies are not looked at: cargo-deny does that.

use crate::none;
use crate::tree::root;
use serde_json::Value;
use std::process::Command;

/// What a service may use of this workspace.
const SHARED: &[&str] = &[
    "berth-core",
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
    ("berth-runtime", &["berth-core", "berth-proto"]),
    ("berth-secrets", &["berth-core"]),
    ("berth-provisioner", &["berth-core"]),
    ("berth-agent", &["berth-proto"]),
    (
        "berth-provisioning",
        &[
            "berth-core",
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

/// One crate of the workspace with its direct dependencies.
struct Crate {
    name: String,
    /// Name, and whether only its tests use it.
    dependencies: Vec<(String, bool)>,
}

fn crates() -> Vec<Crate> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
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
    assert_eq!(found("berth-provisioner", "berth-rig", true), 0);
    assert_eq!(found("berth-runtime", "opentelemetry_sdk", false), 0);
}
