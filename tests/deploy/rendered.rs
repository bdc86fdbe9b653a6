//! The manifests of a folder as JSON, with what the schemas say of them.

use berth_tests::repository;
use serde_json::Value;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a kustomization names.
pub(crate) struct Rendered {
    pub(crate) kustomization: Value,
    pub(crate) manifests: Vec<Value>,
    /// What fits no schema.
    pub(crate) problems: Vec<String>,
}

/// The folder under test.
pub(crate) fn folder() -> PathBuf {
    repository().join("deploy/kubernetes")
}

/// Where `scripts/bootstrap` puts the schemas.
fn schemas() -> PathBuf {
    let pins = include_str!("requirements.txt");
    let pinned = |line: &'static str| line.strip_prefix("kubernetes-validate==");
    let version = pins.lines().find_map(pinned).unwrap();
    let version = version.trim_end_matches([' ', '\\']);
    let below = |name: &str, rest: &str| env::var_os(name).map(|at| PathBuf::from(at).join(rest));
    let cache = below("BERTH_CACHE", "")
        .or_else(|| below("XDG_CACHE_HOME", "berth"))
        .or_else(|| below("HOME", ".cache/berth"));
    cache.unwrap().join("kubernetes").join(version)
}

/// Reads a folder and checks it against a version of Kubernetes.
pub(crate) fn render(folder: &Path, version: &str) -> Rendered {
    let output = Command::new("python3")
        .arg(repository().join("tests/deploy/render.py"))
        .args([folder.as_os_str(), version.as_ref()])
        .env("PYTHONPATH", schemas())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "run make bootstrap; {said}");
    let mut all: Value = serde_json::from_slice(&output.stdout).unwrap();
    Rendered {
        kustomization: all["kustomization"].take(),
        manifests: serde_json::from_value(all["manifests"].take()).unwrap(),
        problems: serde_json::from_value(all["problems"].take()).unwrap(),
    }
}

impl Rendered {
    /// Everything of a kind, by name.
    pub(crate) fn of(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.manifests
            .iter()
            .filter(move |manifest| manifest["kind"] == kind)
            .map(|manifest| (manifest["metadata"]["name"].as_str().unwrap(), manifest))
    }

    /// The one of a kind and name.
    pub(crate) fn one(&self, kind: &str, name: &str) -> &Value {
        let found = self.of(kind).find(|(found, _)| *found == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}")).1
    }
}
