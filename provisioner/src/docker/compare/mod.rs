//! What a container is, compared with what it is to be.
//!
//! A label says what a container was made from, and whoever has root on the
//! machine can copy a label or change a limit afterwards. So this looks at what
//! Docker itself says of the container. Docker's words are a machine's words:
//! this finds what was changed by hand, not a Docker that lies.

use crate::drift::{Difference, Part};
use crate::harden;
use crate::spec::{ContainerSpec, PlacementRef};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerUpdateBody, HostConfig, ImageConfig,
    Mount, PortMap, ResourcesUlimits, RestartPolicy,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// What Docker's kernel can limit at all; what it cannot is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) swap: bool,
    pub(crate) pids: bool,
}

/// An image on the machine.
pub(crate) struct Image<'a> {
    /// Docker's id of it.
    pub(crate) id: &'a str,
    /// What it says of itself.
    pub(crate) config: &'a ImageConfig,
}

/// What is to stand, and where.
pub(crate) struct Wanted<'a> {
    pub(crate) placement: &'a PlacementRef,
    pub(crate) spec: &'a ContainerSpec,
    pub(crate) network: &'a str,
    pub(crate) image: Image<'a>,
    pub(crate) kernel: Kernel,
}

/// All in which a container is another one.
pub(crate) fn compare(wanted: &Wanted<'_>, found: &ContainerInspectResponse) -> Vec<Difference> {
    let spec = wanted.spec;
    let body = harden::container(wanted.placement, spec, wanted.network, wanted.image.id);
    let mut list = List {
        name: &spec.name,
        component: &spec.component,
        all: Vec::new(),
    };
    list.identity(wanted, &body, found);
    let nothing = HostConfig::default();
    let host = found.host_config.as_ref().unwrap_or(&nothing);
    let meant = body.host_config.as_ref().unwrap_or(&nothing);
    list.limits(wanted.kernel, meant, host);
    list.confinement(meant, host);
    list.outside(meant, host);
    list.networks(wanted.network, found);
    list.all
}

/// The limits that Docker can change while a container runs.
pub(crate) fn limits(spec: &ContainerSpec, kernel: Kernel) -> ContainerUpdateBody {
    let host = harden::host_config(spec, "");
    ContainerUpdateBody {
        memory: host.memory,
        memory_swap: host.memory_swap.filter(|_| kernel.swap),
        nano_cpus: host.nano_cpus,
        pids_limit: host.pids_limit.filter(|_| kernel.pids),
        restart_policy: host.restart_policy,
        ..ContainerUpdateBody::default()
    }
}

struct List<'a> {
    name: &'a str,
    component: &'a str,
    all: Vec<Difference>,
}

impl List<'_> {
    /// Something of which it takes a new container to put it right.
    fn same(&mut self, what: &str, wanted: impl Display, found: impl Display) {
        let part = Part::Container(self.name.to_owned());
        self.put(part, what, &wanted.to_string(), &found.to_string());
    }

    fn put(&mut self, part: Part, what: &str, wanted: &str, found: &str) {
        if wanted != found {
            let what = format!("{what} of container `{}`", self.component);
            self.all.push(Difference::new(part, &what, wanted, found));
        }
    }

    /// What runs in it, and as whom.
    fn identity(
        &mut self,
        wanted: &Wanted<'_>,
        body: &ContainerCreateBody,
        found: &ContainerInspectResponse,
    ) {
        let image = wanted.image.config;
        let config = found.config.clone().unwrap_or_default();
        self.same("image", wanted.image.id, text(found.image.as_ref()));
        let (entrypoint, command) = run(body, image);
        self.same(
            "entry point",
            words(entrypoint.as_ref()),
            words(config.entrypoint.as_ref()),
        );
        self.same(
            "command",
            words(command.as_ref()),
            words(config.cmd.as_ref()),
        );
        let mut environment = variables(image.env.as_ref());
        environment.extend(variables(body.env.as_ref()));
        // Names only: what stands there may be somebody's secret.
        if let Some(name) = differing(&environment, &variables(config.env.as_ref())) {
            self.same("environment", "as specified", format!("other in {name}"));
        }
        self.same("user", text(body.user.as_ref()), text(config.user.as_ref()));
        self.same(
            "working folder",
            folder(image.working_dir.as_ref()),
            folder(config.working_dir.as_ref()),
        );
        self.same(
            "time to stop",
            number(body.stop_timeout),
            number(config.stop_timeout),
        );
    }

    fn limits(&mut self, kernel: Kernel, wanted: &HostConfig, found: &HostConfig) {
        let part = Part::Limits(self.name.to_owned());
        let mut limit = |what, wanted: String, found: String| {
            self.put(part.clone(), what, &wanted, &found);
        };
        limit("memory limit", bytes(wanted.memory), bytes(found.memory));
        if kernel.swap {
            limit(
                "limit of memory and swap",
                bytes(wanted.memory_swap),
                bytes(found.memory_swap),
            );
        }
        limit(
            "processor limit",
            cores(wanted.nano_cpus),
            cores(found.nano_cpus),
        );
        if kernel.pids {
            limit(
                "limit of processes",
                number(wanted.pids_limit),
                number(found.pids_limit),
            );
        }
        limit(
            "restart policy",
            restart(wanted.restart_policy.as_ref()),
            restart(found.restart_policy.as_ref()),
        );
        for (what, found) in [
            ("processor quota", found.cpu_quota),
            ("processor shares", found.cpu_shares),
            ("reserved memory", found.memory_reservation),
        ] {
            self.same(what, 0, number(found));
        }
        self.same("processors", "any", any(found.cpuset_cpus.as_ref()));
        self.same(
            "limit of open files",
            open_files(wanted.ulimits.as_ref()),
            open_files(found.ulimits.as_ref()),
        );
    }

    /// What keeps it in.
    fn confinement(&mut self, wanted: &HostConfig, found: &HostConfig) {
        let flag = |flag: Option<bool>| flag.unwrap_or_default();
        self.same(
            "privileged mode",
            flag(wanted.privileged),
            flag(found.privileged),
        );
        self.same(
            "read-only root",
            flag(wanted.readonly_rootfs),
            flag(found.readonly_rootfs),
        );
        self.same(
            "dropped capabilities",
            capabilities(wanted.cap_drop.as_ref()),
            capabilities(found.cap_drop.as_ref()),
        );
        self.same(
            "added capabilities",
            capabilities(wanted.cap_add.as_ref()),
            capabilities(found.cap_add.as_ref()),
        );
        self.same(
            "security options",
            security(wanted.security_opt.as_ref()),
            security(found.security_opt.as_ref()),
        );
        self.same(
            "IPC namespace",
            text(wanted.ipc_mode.as_ref()),
            text(found.ipc_mode.as_ref()),
        );
        for (what, mode) in [
            ("process namespace", &found.pid_mode),
            ("name namespace", &found.uts_mode),
            ("user namespace", &found.userns_mode),
        ] {
            self.same(what, "", text(mode.as_ref()));
        }
        self.same("log", log(wanted), log(found));
    }

    /// What it sees of the machine and of the world.
    fn outside(&mut self, wanted: &HostConfig, found: &HostConfig) {
        self.same("mounts", mounts(wanted), mounts(found));
        self.same("temporary folders", tmpfs(wanted), tmpfs(found));
        self.same(
            "published ports",
            ports(wanted.port_bindings.as_ref()),
            ports(found.port_bindings.as_ref()),
        );
        let every = found.publish_all_ports.unwrap_or_default();
        self.same("publishing of all ports", false, every);
        self.same("graphics processors", gpus(wanted), gpus(found));
        let devices = found.devices.as_ref().map_or(0, Vec::len);
        self.same("number of devices", 0, devices);
        for (what, list) in [
            ("bound folders", &found.binds),
            ("borrowed volumes", &found.volumes_from),
            ("name servers", &found.dns),
            ("names of other hosts", &found.extra_hosts),
            ("links", &found.links),
            ("groups", &found.group_add),
        ] {
            self.same(what, "", words(list.as_ref()));
        }
        let sysctls = found.sysctls.as_ref().map_or(0, |map| map.len());
        self.same("number of kernel settings", 0, sysctls);
    }

    fn networks(&mut self, wanted: &str, found: &ContainerInspectResponse) {
        let networks = found
            .network_settings
            .as_ref()
            .and_then(|settings| settings.networks.as_ref());
        let names: BTreeSet<&str> = networks
            .map(|map| map.keys().map(String::as_str).collect())
            .unwrap_or_default();
        self.same("networks", wanted, join(names));
    }
}

/// Entry point and command that Docker makes of a specification and an image.
fn run(
    body: &ContainerCreateBody,
    image: &ImageConfig,
) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let entrypoint = body.entrypoint.clone();
    let command = body.cmd.clone();
    match (entrypoint, command) {
        (Some(entrypoint), command) => (Some(entrypoint), command),
        (None, Some(command)) => (image.entrypoint.clone(), Some(command)),
        (None, None) => (image.entrypoint.clone(), image.cmd.clone()),
    }
}

fn join<T: AsRef<str>>(parts: impl IntoIterator<Item = T>) -> String {
    let parts: Vec<T> = parts.into_iter().collect();
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    parts.join(" ")
}

fn text(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
}

fn any(text: Option<&String>) -> &str {
    text.map(String::as_str)
        .filter(|text| !text.is_empty())
        .unwrap_or("any")
}

fn words(words: Option<&Vec<String>>) -> String {
    words.map(|words| words.join(" ")).unwrap_or_default()
}

fn folder(path: Option<&String>) -> &str {
    path.map(String::as_str)
        .filter(|path| !path.is_empty())
        .unwrap_or("/")
}

fn number(number: Option<i64>) -> String {
    number.unwrap_or_default().to_string()
}

fn bytes(number: Option<i64>) -> String {
    let number = number.unwrap_or_default();
    if number > 0 && number % (1 << 20) == 0 {
        format!("{} MiB", number >> 20)
    } else {
        format!("{number} bytes")
    }
}

fn cores(nano: Option<i64>) -> String {
    format!("{} millicores", nano.unwrap_or_default() / 1_000_000)
}

fn restart(policy: Option<&RestartPolicy>) -> String {
    let name = policy.and_then(|policy| policy.name);
    name.map_or_else(|| "no".to_owned(), |name| name.to_string())
}

fn open_files(limits: Option<&Vec<ResourcesUlimits>>) -> String {
    let mut limits = limits.into_iter().flatten();
    let found = limits.find(|limit| limit.name.as_deref() == Some("nofile"));
    found.map_or_else(
        || "none".to_owned(),
        |limit| format!("{} and {}", number(limit.soft), number(limit.hard)),
    )
}

/// By name: newer engines write `CAP_` before it.
fn capabilities(list: Option<&Vec<String>>) -> String {
    let names: BTreeSet<&str> = list
        .into_iter()
        .flatten()
        .map(|name| name.strip_prefix("CAP_").unwrap_or(name))
        .collect();
    join(names)
}

/// `no-new-privileges` has three spellings.
fn security(list: Option<&Vec<String>>) -> String {
    let options: BTreeSet<String> = list
        .into_iter()
        .flatten()
        .map(|option| match option.as_str() {
            "no-new-privileges" | "no-new-privileges=true" => "no-new-privileges:true".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    join(options)
}

fn log(host: &HostConfig) -> String {
    let Some(log) = &host.log_config else {
        return String::new();
    };
    let options: BTreeSet<String> = log
        .config
        .iter()
        .flatten()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("{} {}", text(log.typ.as_ref()), join(options))
}

fn mounts(host: &HostConfig) -> String {
    let list: BTreeSet<String> = host.mounts.iter().flatten().map(mount).collect();
    join(list)
}

fn mount(mount: &Mount) -> String {
    let mode = if mount.read_only.unwrap_or_default() {
        "ro"
    } else {
        "rw"
    };
    let (source, target) = (text(mount.source.as_ref()), text(mount.target.as_ref()));
    format!("{source}:{target}:{mode}")
}

fn tmpfs(host: &HostConfig) -> String {
    let list: BTreeSet<String> = host
        .tmpfs
        .iter()
        .flatten()
        .map(|(path, options)| format!("{path}:{options}"))
        .collect();
    join(list)
}

fn ports(map: Option<&PortMap>) -> String {
    let mut list = BTreeSet::new();
    for (inside, bindings) in map.into_iter().flatten() {
        for binding in bindings.iter().flatten() {
            let ip = binding.host_ip.as_deref().unwrap_or_default();
            let port = binding.host_port.as_deref().unwrap_or_default();
            list.insert(format!("{ip}:{port}:{inside}"));
        }
    }
    join(list)
}

fn gpus(host: &HostConfig) -> String {
    let list: BTreeSet<String> = host
        .device_requests
        .iter()
        .flatten()
        .map(|request| {
            let driver = text(request.driver.as_ref());
            format!("{driver}:{}", number(request.count))
        })
        .collect();
    join(list)
}

fn variables(list: Option<&Vec<String>>) -> BTreeMap<String, String> {
    let pairs = list.into_iter().flatten().map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.to_owned(), value.to_owned())
    });
    pairs.collect()
}

/// Names of the variables that are others, a few of them.
fn differing(
    wanted: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Option<String> {
    let names: BTreeSet<&String> = wanted
        .keys()
        .chain(found.keys())
        .filter(|name| wanted.get(*name) != found.get(*name))
        .collect();
    (!names.is_empty()).then(|| join(names))
}

#[cfg(test)]
mod tests;
