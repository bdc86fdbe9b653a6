//! `deploy/kubernetes`.

use crate::configuration::{command, port, read};
use crate::rendered::{Rendered, folder, render};
use crate::{ROLES, understands};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The oldest and the newest minor version that the manifests are for.
const VERSIONS: [&str; 2] = ["1.29", "1.37"];
/// Label of a role.
const ROLE: &str = "app.kubernetes.io/component";

fn newest() -> Rendered {
    render(&folder(), VERSIONS[1])
}

/// A list of values, none where there is none.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn texts<'a>(values: &'a [Value], key: &str) -> BTreeSet<&'a str> {
    values
        .iter()
        .filter_map(|value| value[key].as_str())
        .collect()
}

/// The container of a role and its pod.
fn container<'a>(rendered: &'a Rendered, role: &str) -> (&'a Value, &'a Value) {
    let pod = &rendered.one("Deployment", role)["spec"]["template"]["spec"];
    assert_eq!(list(&pod["containers"]).len(), 1, "{role}");
    (&pod["containers"][0], pod)
}

/// The configuration file of a role, as its pod gets it.
fn configuration(rendered: &Rendered, role: &str) -> toml::Table {
    let name = format!("{role}-config");
    let generated = list(&rendered.kustomization["secretGenerator"]);
    let one = generated.iter().find(|one| one["name"] == name.as_str());
    let file = one.unwrap()["files"][0].as_str().unwrap();
    assert_eq!(file, format!("config/{role}.toml"));
    read(role, &fs::read_to_string(folder().join(file)).unwrap())
}

#[test]
fn every_manifest_fits_the_published_schemas() {
    for version in VERSIONS {
        let rendered = render(&folder(), version);
        assert_eq!(rendered.problems, [""; 0], "{version}");
        assert!(rendered.manifests.len() > ROLES.len());
    }
}

#[test]
fn a_manifest_with_a_wrong_field_is_found() {
    let damaged = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            fs::copy(&path, damaged.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let file = damaged.path().join("leasing.yaml");
    let text = fs::read_to_string(&file).unwrap();
    for (right, wrong) in [
        ("replicas:", "replicaz:"),
        ("replicas: 2", "replicas: two"),
        ("      automount", "      hostPit: true\n      automount"),
        ("readOnlyRootFilesystem:", "readonlyRootFilesystem:"),
        ("podSelector:", "podSelecter:"),
        ("apps/v1", "apps/v1beta1"),
    ] {
        assert!(text.contains(right), "{right}");
        fs::write(&file, text.replacen(right, wrong, 1)).unwrap();
        let problems = render(damaged.path(), VERSIONS[1]).problems;
        assert_eq!(problems.len(), 1, "{wrong}: {problems:?}");
    }
}

#[test]
fn every_file_is_named_by_the_kustomization() {
    let rendered = newest();
    let mut named: BTreeSet<_> = list(&rendered.kustomization["resources"])
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    named.insert("kustomization.yaml".to_owned());
    let there: BTreeSet<_> = fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(named, there);
}

#[test]
fn every_role_is_started_by_a_command_and_a_configuration_that_exist() {
    let rendered = newest();
    let roles: BTreeSet<_> = rendered.of("Deployment").map(|(name, _)| name).collect();
    assert_eq!(roles, ROLES.into());
    for role in ROLES {
        let (container, pod) = container(&rendered, role);
        let (executable, mut words) = command(role);
        let file = format!("/etc/berth/{role}.toml");
        words.extend(["--config", &file]);
        assert_eq!(container["image"], executable, "{role}");
        assert_eq!(container["args"], json!(words), "{role}");
        understands(executable, &words);

        // What it is told to read is mounted.
        let config = configuration(&rendered, role);
        let mounts = texts(list(&container["volumeMounts"]), "mountPath");
        let vault = &config["vault"];
        for path in ["secret_id_dir", "ca_file"] {
            let path = vault[path].as_str().unwrap();
            let mounted = mounts.iter().any(|mount| path.starts_with(mount));
            assert!(mounted, "{role}: {path} is not below {mounts:?}");
        }
        let volumes = texts(list(&pod["volumes"]), "name");
        assert_eq!(texts(list(&container["volumeMounts"]), "name"), volumes);
    }
}

#[test]
fn ports_are_those_that_the_configuration_opens() {
    let rendered = newest();
    for role in ROLES {
        let (container, _) = container(&rendered, role);
        let config = configuration(&rendered, role);
        let section = config[role].as_table().unwrap();
        let opened: BTreeSet<_> = section
            .iter()
            .filter(|(key, _)| key.ends_with("listen"))
            .map(|(_, address)| port(address))
            .collect();
        let ports = list(&container["ports"]);
        let exposed: BTreeSet<_> = ports
            .iter()
            .filter_map(|port| port["containerPort"].as_u64())
            .collect();
        assert_eq!(opened, exposed, "{role}");

        let names = texts(ports, "name");
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let name = container[probe]["tcpSocket"]["port"].as_str().unwrap();
            assert!(names.contains(name), "{role}: {probe}: {name}");
        }
        for (service, manifest) in rendered.of("Service") {
            if manifest["spec"]["selector"][ROLE] != role {
                continue;
            }
            for port in list(&manifest["spec"]["ports"]) {
                let named = ports.iter().find(|one| one["name"] == port["targetPort"]);
                let named = named.unwrap_or_else(|| panic!("{service}: {port}"));
                assert_eq!(named["containerPort"], port["port"], "{service}");
            }
        }
    }
}

#[test]
fn services_reach_those_that_they_are_configured_to_ask_and_nobody_else_does() {
    let rendered = newest();
    let mut asked = BTreeSet::new();
    for role in ROLES {
        let config = configuration(&rendered, role);
        for (peer, address) in config["peers"].as_table().unwrap() {
            let (_, main) = (
                role,
                &configuration(&rendered, peer)[peer.as_str()]["listen"],
            );
            let wanted = format!("{peer}.berth.svc:{}", port(main));
            assert_eq!(address.as_str(), Some(wanted.as_str()), "{role}");
            rendered.one("Service", peer);
            // A replica of monitoring tells itself through loopback or another.
            asked.insert((role.to_owned(), peer.clone()));
        }
    }
    let (mut admitted, mut open) = (BTreeSet::new(), BTreeSet::new());
    for role in ROLES {
        let policy = &rendered.one("NetworkPolicy", role)["spec"];
        assert_eq!(policy["policyTypes"], json!(["Ingress"]), "{role}");
        for rule in list(&policy["ingress"]) {
            let ports = texts(list(&rule["ports"]), "port");
            // Without ports it would be of all of them, without `from` of everybody.
            assert_eq!((ports.len(), list(&rule["ports"]).len()), (1, 1), "{role}");
            let Some(callers) = rule["from"].as_array() else {
                open.extend(ports.into_iter().map(|port| (role, port)));
                continue;
            };
            assert_eq!((ports, callers.is_empty()), (["grpc"].into(), false));
            for from in callers {
                let caller = from["podSelector"]["matchLabels"][ROLE].as_str().unwrap();
                let alone = json!({ "podSelector": { "matchLabels": { ROLE: caller } } });
                assert_eq!(*from, alone, "{role}");
                admitted.insert((caller.to_owned(), role.to_owned()));
            }
        }
    }
    let for_all = [
        ("gateway", "public"),
        ("monitoring", "otlp"),
        ("provisioning", "placements"),
        ("signer", "duties"),
    ];
    assert_eq!(open, for_all.into());
    assert_eq!(asked, admitted);
}

#[test]
fn roles_that_reach_nobody_outside_are_kept_from_it() {
    let rendered = newest();
    let policy = &rendered.one("NetworkPolicy", "egress")["spec"];
    let roles = [
        "inventory",
        "leasing",
        "provisioning",
        "monitoring",
        "signer",
    ];
    let one_of = |roles: &[&str]| json!({ "matchExpressions": [{ "key": ROLE, "operator": "In", "values": roles }] });
    // The others call webhooks, machines, collectors and beacon nodes.
    let kept = one_of(&["gateway", "inventory", "signer"]);
    assert_eq!(policy["podSelector"], kept);
    assert_eq!(policy["policyTypes"], json!(["Egress"]));
    let postgres = json!({ "podSelector": { "matchLabels": { "cnpg.io/cluster": "postgres" } } });
    let vault = json!({ "ports": [{ "port": 8200 }] });
    let names = ["UDP", "TCP"].map(|protocol| json!({ "port": 53, "protocol": protocol }));
    let wanted = json!([
        { "to": [{ "podSelector": one_of(&roles) }] },
        { "to": [postgres], "ports": [{ "port": 5432 }] },
        vault,
        { "ports": names },
    ]);
    assert_eq!(policy["egress"], wanted);
}

#[test]
fn every_role_has_the_database_and_the_user_of_its_configuration() {
    let rendered = newest();
    let cluster = render(&folder().join("postgres"), VERSIONS[1]);
    let spec = &cluster.one("Cluster", "postgres")["spec"];
    let users = list(&spec["managed"]["roles"]);
    let databases: BTreeMap<_, _> = cluster
        .of("Database")
        .map(|(_, database)| {
            let spec = &database["spec"];
            assert_eq!(spec["cluster"]["name"], "postgres");
            (
                spec["name"].as_str().unwrap(),
                spec["owner"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(databases.len(), ROLES.len());
    let mut connections = 0;
    for role in ROLES {
        let config = configuration(&rendered, role);
        let database = &config[role]["database"];
        connections += database["max_connections"].as_integer().unwrap();
        let name = format!("berth_{role}");
        let url = format!("postgres://{name}@postgres-rw:5432/{name}");
        assert_eq!(database["url"].as_str(), Some(url.as_str()), "{role}");
        // The signer's own user owns nothing there.
        let (owner, named) = match role {
            "signer" => ("berth_signer_owner".to_owned(), 2),
            _ => (name.clone(), 1),
        };
        assert_eq!(databases.get(name.as_str()), Some(&owner.as_str()));
        let of_role = |user: &&Value| user["name"] == name.as_str() || user["name"] == owner;
        let of_role: Vec<_> = users.iter().filter(of_role).collect();
        assert_eq!(of_role.len(), named, "{role}");
        for user in of_role {
            let text = user["name"].as_str().unwrap();
            let secret = text.replacen("berth_", "postgres-", 1).replace('_', "-");
            assert_eq!(user["passwordSecret"]["name"], secret.as_str());
            assert_eq!(user["login"], true, "{text}");
        }
    }
    assert_eq!(users.len(), ROLES.len() + 1);
    // Two replicas each, and one more while a new version takes over.
    let parameters = &spec["postgresql"]["parameters"];
    let most = parameters["max_connections"].as_str().unwrap();
    assert!(
        connections * 3 < most.parse::<i64>().unwrap(),
        "{connections}"
    );
    // What a signer asks of its database.
    assert_eq!(
        spec["postgresql"]["synchronous"]["dataDurability"],
        "required"
    );
}

#[test]
fn every_role_is_hardened_and_survives_the_drain_of_a_node() {
    let rendered = newest();
    for role in ROLES {
        let (container, pod) = container(&rendered, role);
        assert_eq!(pod["automountServiceAccountToken"], false, "{role}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{role}");
        let seccomp = &pod["securityContext"]["seccompProfile"]["type"];
        assert_eq!(seccomp, "RuntimeDefault", "{role}");
        let wanted = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        });
        assert_eq!(container["securityContext"], wanted, "{role}");
        let resources = &container["resources"];
        assert!(resources["requests"]["cpu"].is_string(), "{role}");
        assert!(resources["requests"]["memory"].is_string(), "{role}");
        assert!(resources["limits"]["memory"].is_string(), "{role}");

        let labels = json!({ ROLE: role });
        let deployment = &rendered.one("Deployment", role)["spec"];
        assert!(deployment["replicas"].as_u64() >= Some(2), "{role}");
        assert_eq!(deployment["template"]["metadata"]["labels"], labels);
        assert_eq!(deployment["selector"]["matchLabels"], labels, "{role}");
        let budget = &rendered.one("PodDisruptionBudget", role)["spec"];
        assert_eq!(budget["selector"]["matchLabels"], labels, "{role}");
        assert_eq!(budget["maxUnavailable"], 1, "{role}");
        let policy = &rendered.one("NetworkPolicy", role)["spec"];
        assert_eq!(policy["podSelector"]["matchLabels"], labels, "{role}");
        // No secret stands in an environment.
        assert!(container["env"].is_null(), "{role}");
    }
}
