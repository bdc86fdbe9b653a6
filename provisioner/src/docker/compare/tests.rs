//! Each thing that may differ of a container, by its name.

use super::*;
use crate::spec::{Exposure, ImageRef, Mount as Mounted, MountSource, Port, Protocol};
use bollard::models::{
    ContainerConfig, DeviceMapping, EndpointSettings, NetworkSettings, PortBinding,
    RestartPolicyNameEnum,
};
use std::collections::HashMap;

const KERNEL: Kernel = Kernel {
    swap: true,
    pids: true,
};

fn placement() -> PlacementRef {
    PlacementRef {
        node_id: "node-1".to_owned(),
        placement_id: "placement-1".to_owned(),
        fence: 3,
    }
}

fn spec() -> ContainerSpec {
    ContainerSpec {
        name: "berth-1-node".to_owned(),
        component: "node".to_owned(),
        image: ImageRef {
            repository: "example.com/node".to_owned(),
            tag: "v1".to_owned(),
            digest: format!("sha256:{}", "a".repeat(64)),
        },
        entrypoint: vec![],
        command: vec!["start".to_owned(), "--fast".to_owned()],
        env: BTreeMap::from([("LOG".to_owned(), "info".to_owned())]),
        user: "1000:1000".to_owned(),
        mounts: vec![Mounted {
            source: MountSource::Volume("data".to_owned()),
            target: "/data".to_owned(),
            read_only: false,
        }],
        tmpfs: BTreeMap::from([("/tmp".to_owned(), 1024)]),
        ports: vec![Port {
            name: "p2p".to_owned(),
            container: 26656,
            host: 26656,
            protocol: Protocol::Tcp,
            exposure: Exposure::Peer,
        }],
        aliases: vec![],
        cap_add: vec!["NET_BIND_SERVICE".to_owned()],
        memory_bytes: 1 << 30,
        cpu_millis: 1500,
        pids: 100,
        nofile: 1024,
        stop_timeout_s: 30,
        gpus: 1,
        files_digest: String::new(),
    }
}

fn image() -> ImageConfig {
    ImageConfig {
        entrypoint: Some(vec!["/bin/node".to_owned()]),
        cmd: Some(vec!["help".to_owned()]),
        env: Some(vec!["PATH=/bin".to_owned(), "LOG=quiet".to_owned()]),
        working_dir: Some("/srv".to_owned()),
        ..ImageConfig::default()
    }
}

/// What Docker says of a container that was made as the specification says.
fn inspected(spec: &ContainerSpec) -> ContainerInspectResponse {
    let body = harden::container(&placement(), spec, "net", "sha256:id");
    ContainerInspectResponse {
        image: body.image,
        host_config: body.host_config,
        config: Some(ContainerConfig {
            entrypoint: image().entrypoint,
            cmd: body.cmd,
            env: Some(vec!["LOG=info".to_owned(), "PATH=/bin".to_owned()]),
            user: body.user,
            working_dir: image().working_dir,
            stop_timeout: body.stop_timeout,
            ..ContainerConfig::default()
        }),
        network_settings: Some(NetworkSettings {
            networks: Some(HashMap::from([(
                "net".to_owned(),
                EndpointSettings::default(),
            )])),
            ..NetworkSettings::default()
        }),
        ..ContainerInspectResponse::default()
    }
}

fn differences(found: &ContainerInspectResponse) -> Vec<Difference> {
    let (placement, spec, config) = (placement(), spec(), image());
    let wanted = Wanted {
        placement: &placement,
        spec: &spec,
        network: "net",
        image: Image {
            id: "sha256:id",
            config: &config,
        },
        kernel: KERNEL,
    };
    compare(&wanted, found)
}

fn host(found: &mut ContainerInspectResponse) -> &mut HostConfig {
    found.host_config.as_mut().unwrap()
}

fn config(found: &mut ContainerInspectResponse) -> &mut ContainerConfig {
    found.config.as_mut().unwrap()
}

fn list(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|&word| word.to_owned()).collect())
}

#[test]
fn a_container_as_it_was_made_has_no_differences() {
    assert_eq!(differences(&inspected(&spec())), []);
}

#[test]
fn other_spellings_of_an_engine_are_no_differences() {
    let mut found = inspected(&spec());
    host(&mut found).cap_add = list(&["CAP_NET_BIND_SERVICE"]);
    host(&mut found).security_opt = list(&["no-new-privileges"]);
    host(&mut found).binds = Some(vec![]);
    assert_eq!(differences(&found), []);
}

#[test]
fn a_limit_that_the_kernel_cannot_keep_is_not_compared() {
    let mut found = inspected(&spec());
    host(&mut found).memory_swap = Some(-1);
    host(&mut found).pids_limit = None;
    let (placement, spec, config) = (placement(), spec(), image());
    let wanted = Wanted {
        placement: &placement,
        spec: &spec,
        network: "net",
        image: Image {
            id: "sha256:id",
            config: &config,
        },
        kernel: Kernel {
            swap: false,
            pids: false,
        },
    };
    assert_eq!(compare(&wanted, &found), []);
}

type Spoil = fn(&mut ContainerInspectResponse);

/// What is done by hand to a limit, and what is told of it.
const LIMITS: [(Spoil, &str); 5] = [
    (
        |f| host(f).memory = Some(128 << 20),
        "memory limit of container `node` is `128 MiB`, not `1024 MiB`",
    ),
    (
        |f| host(f).memory_swap = Some(-1),
        "limit of memory and swap of container `node` is `-1 bytes`, not `1024 MiB`",
    ),
    (
        |f| host(f).nano_cpus = Some(1_000_000),
        "processor limit of container `node` is `1 millicores`, not `1500 millicores`",
    ),
    (
        |f| host(f).pids_limit = None,
        "limit of processes of container `node` is `0`, not `100`",
    ),
    (
        |f| {
            host(f).restart_policy = Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            });
        },
        "restart policy of container `node` is `no`, not `unless-stopped`",
    ),
];

#[test]
fn each_limit_is_named_and_can_change_while_the_container_runs() {
    for (spoil, expected) in LIMITS {
        let mut found = inspected(&spec());
        spoil(&mut found);
        let all = differences(&found);
        let told: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(told, [expected]);
        assert_eq!(all[0].part, Part::Limits("berth-1-node".to_owned()));
    }
}

/// What is done by hand, and the start of what is told of it.
const ANEW: [(Spoil, &str); 27] = [
    (|f| f.image = Some("sha256:other".to_owned()), "image "),
    (
        |f| config(f).entrypoint = list(&["/bin/sh"]),
        "entry point ",
    ),
    (|f| config(f).cmd = list(&["sleep", "1"]), "command "),
    (
        |f| config(f).env = list(&["LOG=info", "PATH=/bin", "X=1"]),
        "environment ",
    ),
    (|f| config(f).user = Some("0:0".to_owned()), "user "),
    (
        |f| config(f).working_dir = Some("/tmp".to_owned()),
        "working folder ",
    ),
    (|f| config(f).stop_timeout = Some(1), "time to stop "),
    (|f| host(f).cpu_quota = Some(5), "processor quota "),
    (
        |f| host(f).cpuset_cpus = Some("0".to_owned()),
        "processors ",
    ),
    (|f| host(f).ulimits = None, "limit of open files "),
    (|f| host(f).privileged = Some(true), "privileged mode "),
    (|f| host(f).readonly_rootfs = None, "read-only root "),
    (|f| host(f).cap_drop = None, "dropped capabilities "),
    (|f| host(f).cap_add = list(&["ALL"]), "added capabilities "),
    (
        |f| host(f).security_opt = list(&["seccomp=unconfined"]),
        "security options ",
    ),
    (
        |f| host(f).ipc_mode = Some("host".to_owned()),
        "IPC namespace ",
    ),
    (
        |f| host(f).pid_mode = Some("host".to_owned()),
        "process namespace ",
    ),
    (|f| host(f).log_config = None, "log "),
    (|f| host(f).mounts = None, "mounts "),
    (|f| host(f).tmpfs = None, "temporary folders "),
    (
        |f| {
            let bound = PortBinding {
                host_ip: None,
                host_port: Some("8545".to_owned()),
            };
            let ports = host(f).port_bindings.as_mut().unwrap();
            ports.insert("8545/tcp".to_owned(), Some(vec![bound]));
        },
        "published ports ",
    ),
    (
        |f| host(f).publish_all_ports = Some(true),
        "publishing of all ports ",
    ),
    (|f| host(f).device_requests = None, "graphics processors "),
    (
        |f| host(f).devices = Some(vec![DeviceMapping::default()]),
        "number of devices ",
    ),
    (
        |f| host(f).binds = list(&["/var/run/docker.sock:/s"]),
        "bound folders ",
    ),
    (
        |f| host(f).extra_hosts = list(&["signer:192.0.2.1"]),
        "names of other hosts ",
    ),
    (
        |f| {
            let networks = f.network_settings.as_mut().unwrap().networks.as_mut();
            networks
                .unwrap()
                .insert("other".to_owned(), EndpointSettings::default());
        },
        "networks ",
    ),
];

#[test]
fn everything_else_takes_a_new_container_and_is_named() {
    for (spoil, expected) in ANEW {
        let mut found = inspected(&spec());
        spoil(&mut found);
        let all = differences(&found);
        assert_eq!(all.len(), 1, "{expected}: {all:?}");
        assert!(all[0].what.starts_with(expected), "{expected}: {all:?}");
        assert_eq!(all[0].part, Part::Container("berth-1-node".to_owned()));
    }
}

#[test]
fn the_value_of_a_variable_is_not_told() {
    let mut found = inspected(&spec());
    config(&mut found).env = list(&["LOG=info", "PATH=/bin", "TOKEN=hidden"]);
    let told = differences(&found)[0].to_string();
    assert!(told.contains("TOKEN") && !told.contains("hidden"), "{told}");
}

#[test]
fn a_machine_that_says_nothing_or_much_makes_no_long_text() {
    let mut found = ContainerInspectResponse::default();
    assert!(!differences(&found).is_empty());
    found.config = Some(ContainerConfig {
        cmd: Some(vec!["x\n\u{1b}[2J".repeat(100_000)]),
        ..ContainerConfig::default()
    });
    for difference in differences(&found) {
        let told = difference.to_string();
        assert!(told.chars().count() < 700, "{told}");
        assert!(!told.contains(char::is_control), "{told}");
    }
}

#[test]
fn an_entry_point_of_ours_drops_the_command_of_the_image() {
    let mut spec = spec();
    spec.entrypoint = vec!["/bin/other".to_owned()];
    spec.command = vec![];
    let body = harden::container(&placement(), &spec, "net", "sha256:id");
    let (entrypoint, command) = run(&body, &image());
    assert_eq!((entrypoint, command), (list(&["/bin/other"]), None));
}
