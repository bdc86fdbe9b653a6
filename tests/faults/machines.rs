//! What happens to machines and on the way to them, and what becomes of the
//! nodes there. One control plane lives through all of it; each row says its
//! name before it begins.

use crate::{LAUNCH, launch};
use berth_rig::Machine;
use berth_tests::{Berth, Shape, Sight, eventually};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// The nodes, each alone on a machine.
const NORTH: &str = "north";
const SOUTH: &str = "south";
/// How long the reason for what happened may take to be seen: a machine that is
/// silent is noticed after a minute, and asked again.
const NOTICED: Duration = Duration::from_mins(4);

/// What a node says of a machine that we do not see.
const UNSEEN: [&str; 3] = [
    "cannot be reached",
    "session with the machine was lost",
    "took longer than",
];

/// The port that peers dial, as the chain's entry names it.
const PEERS: &str = "26656";

#[test]
fn nodes_outlast_what_happens_to_their_machines() {
    let mut berth = Berth::start(Shape {
        machines: 2,
        replicas: 1,
    });
    berth.register(Berth::COSMOS);
    berth.row("a machine's clock is hours off", a_clock_is_off);
    berth.row("SSH is cut in the middle of an image", ssh_is_cut);
    berth.row("a machine loses its power", the_power_is_cut);
    berth.row("a machine comes back with less memory", memory_is_gone);
    berth.row("dockerd is restarted", dockerd_restarts);
    berth.row("somebody changes what runs", somebody_changes_what_runs);
    berth.row("the way is slow and loses packets", the_way_is_slow);
    berth.row("a port is taken", a_port_is_taken);
    // Late: peers that still hold the silent connection refuse a new one for
    // minutes, and without them no block comes.
    berth.row("machines fall silent", machines_fall_silent);
    berth.row("a supplier withdraws", a_supplier_withdraws);
    berth.row("a host key changes", a_host_key_changes);
    berth.stop();
}

/// What stands of a node on its machine.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    fence: Value,
    machine: String,
    containers: BTreeSet<String>,
}

impl Standing {
    fn of(berth: &Berth, node: &str) -> Self {
        let machine = machine_of(berth, node);
        let ids = machine.run(&["docker", "ps", "--all", "--quiet", "--no-trunc"]);
        Self {
            fence: berth.node(node)["status"]["placement"]["fence"].take(),
            machine: machine.name().to_owned(),
            containers: ids.unwrap().lines().map(str::to_owned).collect(),
        }
    }
}

fn machine_of(berth: &Berth, node: &str) -> Machine {
    let node = berth.node(node);
    let id = node["status"]["placement"]["machineId"].as_str();
    berth.computer(id.unwrap())
}

/// The node says why it does not go on, in these words.
#[track_caller]
fn says(berth: &Berth, node: &str, words: &[&str]) -> Value {
    eventually(&format!("{node} says {words:?}"), NOTICED, || {
        let status = berth.node(node)["status"].take();
        let reason = status["statusReason"].as_str().unwrap_or_default();
        if words.iter().any(|words| reason.contains(words)) {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    })
}

/// We see the node and it speaks, whatever it says: one that lost its peers may
/// take long to find them, which is its own affair.
#[track_caller]
fn is_seen_again(berth: &Berth, node: &str) {
    eventually(&format!("{node} is seen again"), LAUNCH, || {
        let status = berth.node(node)["status"].take();
        let reason = status["statusReason"].as_str().unwrap_or_default();
        let unseen = UNSEEN.iter().any(|words| reason.contains(words));
        let silent = reason.contains("no signal") || status["health"] == "HEALTH_UNKNOWN";
        if unseen || silent {
            Err(status.to_string())
        } else {
            Ok(())
        }
    });
}

/// All of a node runs, its chain grows, and it has nothing to say.
#[track_caller]
fn runs(berth: &Berth, node: &str) {
    berth.node_becomes(node, "STATE_RUNNING", LAUNCH);
    let before = height(berth, node);
    eventually(&format!("{node} follows and is whole"), LAUNCH, || {
        let sight = Sight::of(&machine_of(berth, node));
        let up = |container: &String| container.ends_with(" running");
        let status = berth.node(node)["status"].take();
        let whole = sight.containers.len() == 2 && sight.containers.iter().all(up);
        let quiet = status["statusReason"]
            .as_str()
            .unwrap_or_default()
            .is_empty();
        let running = status["state"] == "STATE_RUNNING" && quiet;
        if whole && running && height(berth, node) > before {
            Ok(())
        } else {
            Err(format!("{sight:?} {status}"))
        }
    });
}

#[track_caller]
fn machine_becomes(berth: &Berth, machine: &str, state: &str) {
    eventually(&format!("{machine} becomes {state}"), LAUNCH, || {
        let status = berth.machine(machine)["status"].take();
        if status["state"] == state {
            Ok(())
        } else {
            Err(format!("{}: {}", status["state"], status["statusReason"]))
        }
    });
}

fn height(berth: &Berth, node: &str) -> u64 {
    let health = berth.run(&["health", node]);
    let height = health["health"]["height"].as_str().unwrap_or("0");
    height.parse().unwrap()
}

/// Runs a script as the machine's owner.
#[track_caller]
fn owner(machine: &Machine, script: &str) {
    machine
        .run(&["sh", "-c", script])
        .unwrap_or_else(|error| panic!("{}: {error}", machine.name()));
}

/// The machine's sshd, started anew with another clock, which judges certificates.
fn sshd(with: &str) -> String {
    format!(
        "kill $(cat /run/sshd.pid); while [ -e /run/sshd.pid ]; do sleep 0.1; done
         pkill -f '^sshd: berth' || true; {with} /usr/sbin/sshd -E /var/log/sshd.log"
    )
}

/// Nothing changes the clock of one namespace, so this changes that of sshd, and
/// then what `date` says, which is what Berth asks once it is signed in.
fn a_clock_is_off(berth: &Berth) {
    let late = r#"cp /usr/bin/date /run/date
        printf '%s\n' '#!/bin/sh' 'case $1 in' \
            '+%s%3N) echo $(($(/run/date +%s%3N) + 10800000)) ;;' \
            '*) exec /run/date "$@" ;;' esac > /run/late
        chmod +x /run/late; mount --bind /run/late /usr/bin/date"#;
    let machines = ["m1", "m2"].map(|name| berth.rig().machine(name).unwrap());
    let owners = |script: &str| machines.iter().for_each(|machine| owner(machine, script));
    owners(late);
    owners(&sshd("faketime '+3 hours'"));
    launch(berth, NORTH);
    says(berth, NORTH, &["see that its clock is right"]);
    owners(&sshd(""));
    says(berth, NORTH, &["the machine's clock is 1080"]);
    let sight = Sight::of(&machine_of(berth, NORTH));
    assert_eq!(sight.containers, [""; 0], "nothing is made there");
    owners("umount /usr/bin/date");
    runs(berth, NORTH);
}

fn ssh_is_cut(berth: &Berth) {
    let taken = machine_of(berth, NORTH);
    let free = ["m1", "m2"].into_iter().find(|name| *name != taken.name());
    let machine = berth.rig().machine(free.unwrap()).unwrap();
    machine.rate("200mbit").unwrap();
    launch(berth, SOUTH);
    let watch = berth.watch(SOUTH);
    watch.wait_for("the node's image", LAUNCH, |event| {
        event.message.ends_with(" on its way") && event.message.contains(Berth::CHAIN)
    });
    let half = "until find /var/lib/docker/tmp -size +1M | grep -q .; do sleep 0.05; done";
    owner(&machine, &format!("{half}; pkill -f '^sshd: berth'"));
    says(berth, SOUTH, &["the session with the machine was lost"]);
    machine.unrate().unwrap();
    runs(berth, SOUTH);
    assert_eq!(Sight::of(&machine).images.len(), 2, "each image once");
}

fn the_power_is_cut(berth: &Berth) {
    let before = Standing::of(berth, NORTH);
    let machine = machine_of(berth, NORTH);
    machine.kill().unwrap();
    machine.revive().unwrap();
    runs(berth, NORTH);
    assert_eq!(Standing::of(berth, NORTH), before, "all of it is adopted");
    let rules = "PATH=$PATH:/usr/sbin:/sbin nft list table inet berth >/dev/null";
    owner(&machine, rules);
}

/// Nothing takes memory from one namespace, and its kernel does not start again,
/// so this changes what that seems to say, which is what Berth reads.
fn memory_is_gone(berth: &Berth) {
    let before = Standing::of(berth, NORTH);
    let machine = machine_of(berth, NORTH);
    machine.kill().unwrap();
    machine.revive().unwrap();
    let less = "sed 's/^MemTotal: .*/MemTotal: 1048576 kB/' /proc/meminfo > /run/less
        mount --bind /run/less /proc/meminfo
        cat /proc/sys/kernel/random/uuid > /run/boot
        mount --bind /run/boot /proc/sys/kernel/random/boot_id";
    owner(&machine, less);
    berth.node_becomes(NORTH, "STATE_DEGRADED", NOTICED);
    says(
        berth,
        NORTH,
        &["the machine has 1073741824 bytes of memory"],
    );
    assert_eq!(Standing::of(berth, NORTH), before, "the node goes on there");
    let right = "umount /proc/meminfo /proc/sys/kernel/random/boot_id";
    owner(&machine, right);
    runs(berth, NORTH);
}

fn dockerd_restarts(berth: &Berth) {
    let before = Standing::of(berth, NORTH);
    let again = "pid=$(pgrep -x dockerd); cp /proc/$pid/cmdline /run/dockerd.words
        kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.1; done
        xargs -0 setsid --fork < /run/dockerd.words >> /var/log/dockerd.log 2>&1
        until docker version >/dev/null 2>&1; do sleep 0.1; done";
    owner(&machine_of(berth, NORTH), again);
    runs(berth, NORTH);
    assert_eq!(Standing::of(berth, NORTH), before, "all of it is adopted");
}

/// What can be put right while the node runs is; for a file it starts anew.
fn somebody_changes_what_runs(berth: &Berth) {
    let before = Standing::of(berth, NORTH);
    let machine = machine_of(berth, NORTH);
    let limits = "docker inspect --format '{{.Name}} {{.HostConfig.Memory}} \
                  {{.HostConfig.PidsLimit}}' $(docker ps -q) | sort";
    let limits = || machine.run(&["sh", "-c", limits]).unwrap();
    let was = limits();
    owner(
        &machine,
        "docker update --memory 3g --memory-swap 3g --pids-limit 600 $(docker ps -q) >/dev/null
        PATH=$PATH:/usr/sbin:/sbin nft delete table inet berth",
    );
    eventually("limits and firewall are right again", NOTICED, || {
        let sight = Sight::of(&machine);
        let now = limits();
        if sight.firewall && now == was {
            Ok(())
        } else {
            Err(format!("{sight:?} {now}"))
        }
    });
    runs(berth, NORTH);
    assert_eq!(Standing::of(berth, NORTH), before, "it ran meanwhile");

    let watch = berth.watch(NORTH);
    owner(
        &machine,
        "for file in $(find /var/lib/berth -name '*.toml'); do echo '# by hand' >> $file; done
        grep -rq '# by hand' /var/lib/berth",
    );
    watch.wait_for("the change is told", NOTICED, |event| {
        event.step == "drift"
            && event
                .message
                .ends_with("starting the node anew under the next fence")
    });
    runs(berth, NORTH);
    let after = Standing::of(berth, NORTH);
    assert_eq!(after.machine, before.machine);
    assert_ne!(
        (after.fence, after.containers),
        (before.fence, before.containers)
    );
    owner(&machine, "! grep -rq '# by hand' /var/lib/berth");
}

/// One cable is out, the other loses everything: the same to us, another error
/// to them. Neither machine is touched, and neither is given up.
fn machines_fall_silent(berth: &Berth) {
    let before = [NORTH, SOUTH].map(|node| Standing::of(berth, node));
    let [cut, deaf] = [NORTH, SOUTH].map(|node| machine_of(berth, node));
    cut.partition().unwrap();
    deaf.drop_packets().unwrap();
    for node in [NORTH, SOUTH] {
        berth.node_becomes(node, "STATE_DEGRADED", NOTICED);
        says(berth, node, &UNSEEN);
    }
    cut.heal().unwrap();
    deaf.undrop_packets().unwrap();
    for node in [NORTH, SOUTH] {
        is_seen_again(berth, node);
    }
    let after = [NORTH, SOUTH].map(|node| Standing::of(berth, node));
    assert_eq!(after, before, "nothing was done to them");
}

fn the_way_is_slow(berth: &Berth) {
    let machine = machine_of(berth, SOUTH);
    machine.delay(200, 1.0).unwrap();
    berth.run(&["node", "stop", SOUTH, "--wait"]);
    berth.run(&["node", "start", SOUTH, "--wait"]);
    runs(berth, SOUTH);
    machine.undelay().unwrap();
    runs(berth, SOUTH);
}

fn a_port_is_taken(berth: &Berth) {
    berth.run(&["node", "stop", SOUTH, "--wait"]);
    let machine = machine_of(berth, SOUTH);
    let take = format!(
        "setsid --fork perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => {PEERS}, \
         Listen => 1) or die; sleep 1 while 1' taker >/dev/null 2>&1 </dev/null
         until ss -Hltn sport = {PEERS} | grep -q .; do sleep 0.1; done"
    );
    owner(&machine, &take);
    berth.run(&["node", "start", SOUTH]);
    says(
        berth,
        SOUTH,
        &["address already in use", "port is already allocated"],
    );
    owner(&machine, "pkill -f ' taker$'");
    runs(berth, SOUTH);
}

fn a_supplier_withdraws(berth: &Berth) {
    let machine = machine_of(berth, NORTH);
    for offer in berth.run(&["offer", "list"])["offers"].as_array().unwrap() {
        berth.run(&["offer", "close", offer["id"].as_str().unwrap()]);
    }
    let refused = berth.ask(&["machine", "retire", machine.name()]);
    assert_eq!(refused.code, Some(5), "a lease holds it: {}", refused.said);
    is_seen_again(berth, NORTH);
    launch(berth, "late");
    says(berth, "late", &["no free machine"]);
    berth.run(&["node", "retire", "late", "--wait"]);
    berth.run(&["node", "retire", NORTH, "--wait"]);
    // Its memory was gone for a while, so that it has to be measured again.
    machine_becomes(berth, machine.name(), "STATE_FAULTY");
    berth.run(&["machine", "verify", machine.name(), "--wait"]);
    machine_becomes(berth, machine.name(), "STATE_AVAILABLE");
    assert_eq!(Sight::of(&machine), Sight::default(), "it leaves clean");
    berth.run(&["machine", "retire", machine.name()]);
}

fn a_host_key_changes(berth: &Berth) {
    let machine = machine_of(berth, SOUTH);
    let restart = "kill -HUP $(cat /run/sshd.pid); pkill -f '^sshd: berth' || true";
    let key = "/etc/ssh/ssh_host_ed25519_key";
    let other = format!("mv {key} {key}.old; ssh-keygen -qt ed25519 -N '' -f {key}.new");
    owner(
        &machine,
        &format!("{other}; mv {key}.new {key}; rm {key}.new.pub; {restart}"),
    );
    let failed = berth.node_becomes(SOUTH, "STATE_FAILED", NOTICED);
    let reason = failed["status"]["statusReason"].as_str().unwrap();
    assert!(reason.contains("host key changed"), "{reason}");
    owner(&machine, &format!("mv {key}.old {key}; {restart}"));
    berth.run(&["node", "retry", SOUTH]);
    berth.node_becomes(SOUTH, "STATE_RUNNING", LAUNCH);
    berth.run(&["node", "retire", SOUTH, "--wait"]);
    machine_becomes(berth, machine.name(), "STATE_FAULTY");
}
