//! `deploy/systemd`.

use crate::configuration::command;
use crate::{ROLES, understands};
use berth_tests::repository;
use std::collections::BTreeMap;
use std::fs;

/// A unit's settings: section and key, and every value in order.
fn unit(name: &str) -> BTreeMap<(String, String), Vec<String>> {
    let path = repository().join("deploy/systemd").join(name);
    let text = fs::read_to_string(&path).unwrap();
    let mut section = String::new();
    let mut settings: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            name.clone_into(&mut section);
            continue;
        }
        let (key, value) = line.split_once('=').unwrap();
        let key = (section.clone(), key.to_owned());
        settings.entry(key).or_default().push(value.to_owned());
    }
    settings
}

/// The unit of a role, with the name of its instance filled in.
fn of(role: &str) -> BTreeMap<(String, String), Vec<String>> {
    let name = if role == "signer" {
        "berth-signer.service"
    } else {
        "berth@.service"
    };
    let mut unit = unit(name);
    for value in unit.values_mut().flatten() {
        *value = value.replace("%i", role);
    }
    unit
}

#[test]
fn every_role_has_a_unit_whose_command_exists() {
    for role in ROLES {
        let unit = of(role);
        let service = |key: &str| unit[&("Service".to_owned(), key.to_owned())].clone();
        let line = service("ExecStart").remove(0);
        let words: Vec<_> = line.split(' ').collect();
        let (executable, mut wanted) = command(role);
        wanted.extend(["--config", "%d/config.toml"]);
        assert_eq!(words[0], format!("/usr/bin/{executable}"), "{role}");
        assert_eq!(words[1..], wanted, "{role}");
        understands(executable, &wanted);
        assert_eq!(
            service("LoadCredential"),
            [
                format!("{role}:/etc/berth/secret-id/{role}"),
                format!("config.toml:/etc/berth/{role}.toml")
            ]
        );
        // Set from the environment, by a key that exists.
        assert_eq!(service("Environment"), ["BERTH__VAULT__SECRET_ID_DIR=%d"]);
        crate::configuration::read(role, "[vault]\nsecret_id_dir = \"\"");
    }
}

#[test]
fn every_unit_is_hardened_and_comes_back() {
    for role in ROLES {
        let unit = of(role);
        for (key, value) in [
            ("DynamicUser", "yes"),
            ("ProtectSystem", "strict"),
            ("ProtectHome", "yes"),
            ("PrivateTmp", "yes"),
            ("PrivateDevices", "yes"),
            ("NoNewPrivileges", "yes"),
            ("CapabilityBoundingSet", ""),
            ("MemoryDenyWriteExecute", "yes"),
            ("LimitCORE", "0"),
            ("Restart", "on-failure"),
        ] {
            let key = ("Service".to_owned(), key.to_owned());
            assert_eq!(unit[&key], [value], "{role}: {}", key.1);
        }
    }
}
