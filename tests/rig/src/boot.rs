//! Power: what happens between a directory and a machine that answers, and back.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use crate::error::Context;
use crate::{Error, Machine, Result, cgroup, shell, wire};

/// How long a machine may take to come up, on a busy computer.
const PATIENCE: Duration = Duration::from_secs(90);

/// Process 1 of a machine, as the host numbers it, while it runs.
pub(crate) fn pid(machine: &Machine) -> Option<i32> {
    let pid = fs::read_to_string(machine.path("pid"))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    wire::is_in_namespace(pid, &machine.namespace()).then_some(pid)
}

/// Turns a machine on, unless it runs.
pub(crate) fn start(machine: &Machine) -> Result<()> {
    if pid(machine).is_some() {
        return Ok(());
    }
    power_off(machine)?; // what a crash left
    wire::plug(machine)?;
    let started = launch(machine);
    if started.is_err() {
        power_off(machine)?;
    }
    started
}

/// Starts process 1 in new namespaces and waits until it says that the machine is ready.
fn launch(machine: &Machine) -> Result<()> {
    let log = machine.path("boot.log");
    let errors = fs::File::create(&log).during(|| format!("create {}", log.display()))?;
    let state = &machine.rig().state;
    // Not `ip netns exec`: it mounts another /sys, which hides the control groups.
    let script = r#"echo $$; net=$1; shift
        exec nsenter --net="$net" unshare --mount --uts --ipc --pid --fork --kill-child bash "$@""#;
    let mut setsid = shell::command("setsid");
    setsid
        .args(["--fork", "bash", "-c", script, "machine"])
        .arg(wire::namespace_path(&machine.namespace()))
        .arg(state.join("init.sh"))
        .arg(machine.name())
        .arg(machine.path(""))
        .arg(state)
        .arg(format!("/{}", machine.cgroup()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors);
    let mut child = setsid.spawn().during(|| "start setsid".into())?;
    let said = child.stdout.take();
    child.wait().during(|| "wait for setsid".into())?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = said
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines())
            .map_while(std::io::Result::ok);
        lines
            .map(|line| sender.send(line))
            .take_while(|sent| sent.is_ok())
            .count()
    });
    let failed = || Error::Boot {
        name: machine.name().into(),
        log: shell::tail(&fs::read_to_string(&log).unwrap_or_default(), 30),
    };
    let parent = lines.recv_timeout(PATIENCE).map_err(|_| failed())?;
    lines
        .recv_timeout(PATIENCE)
        .ok()
        .filter(|line| line == "ready")
        .ok_or_else(failed)?;
    let children = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(&children).during(|| format!("read {children}"))?;
    shell::write(&machine.path("pid"), children.trim())
}

/// Cuts the cable, then ends every process of the machine at once. Its disk stays.
pub(crate) fn power_off(machine: &Machine) -> Result<()> {
    wire::unplug(machine)?;
    if let Some(pid) = pid(machine) {
        wire::end(pid); // the kernel ends all others of the machine with its process 1
    }
    wire::remove_namespace(&machine.namespace())?;
    cgroup::remove(&machine.cgroup())?;
    let path = machine.path("pid");
    match path.exists() {
        true => fs::remove_file(&path).during(|| format!("remove {}", path.display())),
        false => Ok(()),
    }
}
