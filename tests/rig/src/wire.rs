//! The network: one bridge in a namespace of its own, a cable from it to every machine, and ways to spoil a cable.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::Context;
use crate::rig::Inner;
use crate::{Error, Machine, Result, shell};

/// Where `ip netns` keeps its namespaces.
pub(crate) fn namespace_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Makes the bridge, unless it is there.
pub(crate) fn build_fabric(rig: &Inner) -> Result<()> {
    let fabric = rig.fabric();
    let owner = rig.state.display().to_string();
    if namespace_path(&fabric).exists() {
        let state = bridge_alias(&fabric)?;
        return match state == owner {
            true => Ok(()),
            false => Err(Error::Taken {
                name: rig.name.clone(),
                state,
            }),
        };
    }
    shell::ip(&format!("netns add {fabric}"))?;
    shell::ip(&format!("-n {fabric} link set lo up"))?;
    shell::ip(&format!("-n {fabric} link add br0 type bridge"))?;
    shell::run(shell::command("ip").args(["-n", &fabric, "link", "set", "br0", "alias", &owner]))?;
    shell::ip(&format!(
        "-n {fabric} addr add {}/24 dev br0",
        rig.controller()
    ))?;
    shell::ip(&format!("-n {fabric} link set br0 up")).map(drop)
}

/// The bridge's alias holds the state directory of the rig that made it.
fn bridge_alias(fabric: &str) -> Result<String> {
    let links = shell::ip(&format!("-j -n {fabric} link show"))?;
    let links: serde_json::Value = serde_json::from_str(&links).map_err(|e| Error::Malformed {
        what: "the output of ip".into(),
        problem: e.to_string(),
    })?;
    let bridge = links
        .as_array()
        .and_then(|all| all.iter().find(|link| link["ifname"] == "br0"));
    Ok(bridge
        .and_then(|bridge| bridge["ifalias"].as_str())
        .unwrap_or_default()
        .to_owned())
}

/// Takes the bridge and its namespace away, with everything that still runs there.
pub(crate) fn remove_fabric(rig: &Inner) -> Result<()> {
    remove_namespace(&rig.fabric())
}

/// Ends a namespace: no process of it runs on.
pub(crate) fn remove_namespace(name: &str) -> Result<()> {
    if !namespace_path(name).exists() {
        return Ok(());
    }
    shell::wait_until(
        &format!("ending the processes of {name}"),
        shell::PATIENCE,
        || {
            let pids: Vec<i32> = pids(name)?;
            for pid in &pids {
                end(*pid);
            }
            Ok(pids.is_empty())
        },
    )?;
    shell::ip(&format!("netns del {name}")).map(drop)
}

/// The processes in a network namespace, other than this one.
fn pids(namespace: &str) -> Result<Vec<i32>> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let text = shell::ip(&format!("netns pids {namespace}"))?;
    Ok(text
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .filter(|pid| *pid != own)
        .collect())
}

/// Kills a process. One that ended by itself is what was wanted.
pub(crate) fn end(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or_default();
}

/// Whether a process is in this network namespace.
pub(crate) fn is_in_namespace(pid: i32, namespace: &str) -> bool {
    let process = fs::metadata(format!("/proc/{pid}/ns/net"));
    let namespace = fs::metadata(namespace_path(namespace));
    matches!((process, namespace), (Ok(a), Ok(b)) if a.ino() == b.ino() && a.dev() == b.dev())
}

/// Gives a machine a network namespace with a cable to the bridge.
pub(crate) fn plug(machine: &Machine) -> Result<()> {
    let (fabric, namespace, port) = (machine.rig().fabric(), machine.namespace(), machine.port());
    if !namespace_path(&namespace).exists() {
        shell::ip(&format!("netns add {namespace}"))?;
        shell::ip(&format!("-n {namespace} link set lo up"))?;
    }
    if shell::ip(&format!("-n {fabric} link show {port}")).is_err() {
        shell::ip(&format!(
            "-n {fabric} link add {port} type veth peer name eth0 netns {namespace}"
        ))?;
    }
    configure(machine)
}

/// Addresses both ends of a cable. A machine keeps its MAC: a new one would stall peers on a stale ARP entry.
fn configure(machine: &Machine) -> Result<()> {
    let (fabric, namespace, port) = (machine.rig().fabric(), machine.namespace(), machine.port());
    let mac = format!(
        "02:be:00:00:{:02x}:{:02x}",
        machine.rig().subnet(),
        machine.index()
    );
    shell::ip(&format!("-n {fabric} link set {port} master br0 up"))?;
    shell::ip(&format!("-n {namespace} link set eth0 address {mac}"))?;
    shell::ip(&format!(
        "-n {namespace} addr replace {}/24 dev eth0",
        machine.address().ip()
    ))?;
    shell::ip(&format!("-n {namespace} link set eth0 up"))?;
    shell::ip(&format!(
        "-n {namespace} route replace default via {}",
        machine.rig().controller()
    ))
    .map(drop)
}

/// Pulls the cable, as far as there is one.
pub(crate) fn unplug(machine: &Machine) -> Result<()> {
    end_delay(machine)?;
    let (fabric, port) = (machine.rig().fabric(), machine.port());
    if namespace_path(&fabric).exists()
        && shell::ip(&format!("-n {fabric} link show {port}")).is_ok()
    {
        shell::ip(&format!("-n {fabric} link del {port}"))?;
    }
    Ok(())
}

/// Sets something of the bridge's end of the cable.
pub(crate) fn set_port(machine: &Machine, what: &str) -> Result<()> {
    shell::ip(&format!(
        "-n {} link set {} {what}",
        machine.rig().fabric(),
        machine.port()
    ))
    .map(drop)
}

/// Limits what goes towards the machine, or lifts the limit.
pub(crate) fn set_rate(machine: &Machine, rate: Option<&str>) -> Result<()> {
    let (fabric, port) = (machine.rig().fabric(), machine.port());
    let mut tc = shell::command("tc");
    tc.args(["-n", &fabric, "qdisc"]);
    match rate {
        Some(rate) => tc.args([
            "replace", "dev", &port, "root", "tbf", "rate", rate, "burst", "256k", "latency",
            "200ms",
        ]),
        None => tc.args(["del", "dev", &port, "root"]),
    };
    shell::run(&mut tc).map(drop)
}

/// Swaps the cable for a pipe that delays each frame, one way, and loses some.
pub(crate) fn delay(machine: &Machine, milliseconds: u32, loss: f32) -> Result<()> {
    shell::require("python3", "python3")?;
    unplug(machine)?;
    let log = machine.path("delay.log");
    let file = fs::File::create(&log).during(|| format!("create {}", log.display()))?;
    let errors = file
        .try_clone()
        .during(|| format!("open {}", log.display()))?;
    let script = machine.rig().state.join("delay.py");
    let mut setsid = shell::command("setsid");
    setsid
        .args([
            "--fork",
            "bash",
            "-c",
            r#"echo $$ >"$1"; shift; exec python3 "$@""#,
            "delay",
        ])
        .arg(machine.path("delay.pid"))
        .arg(script)
        .args([
            machine.rig().fabric(),
            machine.port(),
            machine.namespace(),
            "eth0".into(),
        ])
        .args([milliseconds.to_string(), loss.to_string()])
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors);
    setsid.status().during(|| "start the slow wire".into())?;
    shell::wait_until("the slow wire", shell::PATIENCE, || {
        let said = fs::read_to_string(&log).during(|| format!("read {}", log.display()))?;
        match said.contains("Error") {
            true => Err(Error::Boot {
                name: machine.name().into(),
                log: said,
            }),
            false => Ok(said.contains("ready")),
        }
    })?;
    configure(machine)
}

/// Ends the pipe; the machine is then without a cable.
fn end_delay(machine: &Machine) -> Result<()> {
    let path = machine.path("delay.pid");
    let Ok(pid) = fs::read_to_string(&path) else {
        return Ok(());
    };
    let pid: i32 = pid.trim().parse().unwrap_or_default();
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if String::from_utf8_lossy(&arguments).contains("delay.py") {
        end(pid);
        let (fabric, namespace) = (machine.rig().fabric(), machine.namespace());
        shell::wait_until("the end of the slow wire", shell::PATIENCE, || {
            let port = shell::ip(&format!("-n {fabric} link show {}", machine.port()));
            Ok(port.is_err() && shell::ip(&format!("-n {namespace} link show eth0")).is_err())
        })?;
    }
    fs::remove_file(&path).during(|| format!("remove {}", path.display()))
}
