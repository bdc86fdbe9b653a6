//! Machines of a rig, as a supplier, a network and a power station see them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use berth_rig::{Machine, Rig, RigConfig, TemporaryRig};

/// How long one try may take.
const TRY: Duration = Duration::from_secs(5);

/// Whether something at this address says that it is an SSH server, asked from inside the fabric. A busy computer
/// gets several tries.
fn answers(rig: &Rig, address: SocketAddr) -> bool {
    (0..12).any(|_| answers_at_once(rig, address))
}

fn answers_at_once(rig: &Rig, address: SocketAddr) -> bool {
    let banner = rig.in_fabric(|| -> std::io::Result<[u8; 8]> {
        let mut stream = TcpStream::connect_timeout(&address, TRY)?;
        stream.set_read_timeout(Some(TRY))?;
        let mut banner = [0; 8];
        stream.read_exact(&mut banner)?;
        Ok(banner)
    });
    matches!(banner, Ok(Ok(banner)) if &banner == b"SSH-2.0-")
}

/// Gives the machine's engine an image, `tiny`, made of the machine's own shell.
fn make_image(machine: &Machine) -> berth_rig::Result<String> {
    let make = "set -e; for p in sh cat sleep; do echo /bin/$p; ldd /bin/$p | grep -o '/[^ ]*'; done | sort -u \
                | tar -C / -chf - --files-from - | docker import - tiny";
    machine.run(&["sh", "-c", make])
}

#[test]
fn a_machine_answers_on_its_ssh_port_with_the_key_that_the_rig_names() {
    let rig = TemporaryRig::open().unwrap();
    let machine = rig.up(1).unwrap().remove(0);
    assert!(answers(&rig, machine.address()));
    let address = machine.address().ip().to_string();
    let scan = rig
        .in_fabric(|| {
            Command::new("ssh-keyscan")
                .args(["-T", "60", "-t", "ed25519", &address])
                .output()
        })
        .unwrap();
    let scan = String::from_utf8(scan.unwrap().stdout).unwrap();
    let key = machine.host_key().rsplit_once(' ').unwrap().0; // without the comment
    assert!(scan.trim().ends_with(key), "{scan:?} {key}");
}

#[test]
fn a_supplier_prepares_a_machine_for_logins_with_sudo() {
    let rig = TemporaryRig::open().unwrap();
    let machine = rig.up(1).unwrap().remove(0);
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let prepare = "set -e; useradd --create-home --shell /bin/sh berth; usermod -aG docker berth
        echo 'berth ALL=(root) NOPASSWD: ALL' >/etc/sudoers.d/berth; mkdir -p /etc/ssh/keys
        echo \"$1\" >/etc/ssh/keys/berth; echo 'AuthorizedKeysFile /etc/ssh/keys/%u' >/etc/ssh/sshd_config.d/berth.conf
        kill -HUP $(cat /run/sshd.pid)";
    machine
        .run(&["sh", "-c", prepare, "setup", &public])
        .unwrap();
    machine.kill().unwrap();
    machine.revive().unwrap(); // what a supplier did stays
    let login = rig.in_fabric(|| {
        let options = [
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "BatchMode=yes",
        ];
        let target = format!("berth@{}", machine.address().ip());
        let words = [target.as_str(), "docker ps >/dev/null && sudo -n id -u"];
        Command::new("ssh")
            .args(options)
            .arg("-i")
            .arg(&key)
            .args(words)
            .stdin(Stdio::null())
            .output()
    });
    let login = login.unwrap().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&login.stdout),
        "0\n",
        "{}",
        String::from_utf8_lossy(&login.stderr)
    );
}

#[test]
fn a_power_cut_loses_no_volume_and_containers_return() {
    let rig = TemporaryRig::open().unwrap();
    let machine = rig.up(1).unwrap().remove(0);
    make_image(&machine).unwrap();
    let work = "echo kept >/data/file; sleep 1000000";
    let run = [
        "docker",
        "run",
        "-d",
        "--name",
        "work",
        "--restart",
        "unless-stopped",
        "-v",
        "data:/data",
        "tiny",
    ];
    machine
        .run(&[&run[..], &["/bin/sh", "-c", work]].concat())
        .unwrap();
    machine
        .run(&[
            "docker",
            "run",
            "--rm",
            "-v",
            "data:/data",
            "tiny",
            "/bin/sh",
            "-c",
            "echo more >/data/more",
        ])
        .unwrap();
    machine.kill().unwrap();
    assert!(!machine.is_running());
    assert!(
        machine
            .exec(&["true"])
            .unwrap_err()
            .to_string()
            .contains("revive")
    );
    machine.revive().unwrap();
    let more = machine
        .run(&[
            "docker",
            "run",
            "--rm",
            "-v",
            "data:/data",
            "tiny",
            "/bin/cat",
            "/data/more",
        ])
        .unwrap();
    assert_eq!(more, "more\n");
    let state = machine
        .run(&[
            "docker",
            "inspect",
            "--format",
            "{{.State.Running}}",
            "work",
        ])
        .unwrap();
    assert_eq!(state, "true\n");
}

#[test]
fn a_partition_cuts_a_machine_off_until_it_is_healed() {
    let rig = TemporaryRig::open().unwrap();
    let machines = rig.up(2).unwrap();
    machines[0].partition().unwrap();
    assert_eq!(
        machines[0]
            .run(&["cat", "/sys/class/net/eth0/carrier"])
            .unwrap(),
        "0\n"
    );
    assert!(!answers_at_once(&rig, machines[0].address()));
    assert!(answers(&rig, machines[1].address()));
    machines[0].heal().unwrap();
    assert!(answers(&rig, machines[0].address()));
}

#[test]
fn packets_can_be_lost_silently_while_the_link_stays_up() {
    let rig = TemporaryRig::open().unwrap();
    let machine = rig.up(1).unwrap().remove(0);
    machine.drop_packets().unwrap();
    assert_eq!(
        machine
            .run(&["cat", "/sys/class/net/eth0/carrier"])
            .unwrap(),
        "1\n"
    );
    assert!(!answers_at_once(&rig, machine.address()));
    machine.undrop_packets().unwrap();
    assert!(answers(&rig, machine.address()));
}

#[test]
fn a_delayed_cable_delays_both_ways() {
    let rig = TemporaryRig::open().unwrap();
    let machine = rig.up(1).unwrap().remove(0);
    machine.delay(100, 0.0).unwrap();
    let start = Instant::now();
    assert!(answers(&rig, machine.address()));
    assert!(
        start.elapsed() >= Duration::from_millis(400),
        "the handshake and the banner take two round trips"
    );
    machine.undelay().unwrap();
    machine.rate("100mbit").unwrap();
    machine.unrate().unwrap();
    assert!(answers(&rig, machine.address()));
}

#[test]
fn a_machine_dials_what_listens_at_the_controllers_address() {
    let rig = TemporaryRig::open().unwrap();
    let machine = rig.up(1).unwrap().remove(0);
    let listener = rig
        .in_fabric(|| std::net::TcpListener::bind((rig.controller_address(), 0)))
        .unwrap()
        .unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello\n").unwrap());
    let dial = format!("cat </dev/tcp/{}/{}", address.ip(), address.port());
    assert_eq!(machine.run(&["bash", "-c", &dial]).unwrap(), "hello\n");
    server.join().unwrap();
}

#[test]
fn a_machine_sees_and_harms_nothing_of_the_others_or_of_the_host() {
    let rig = TemporaryRig::open().unwrap();
    let machines = rig.up(2).unwrap();
    let state = rig.state_dir().to_str().unwrap();
    assert!(
        !machines[0]
            .exec(&["sh", "-c", &format!("ls {state}/*")])
            .unwrap()
            .status
            .success()
    );
    assert!(
        !machines[0]
            .exec(&["touch", "/usr/bin/harm"])
            .unwrap()
            .status
            .success()
    );
    assert!(
        !machines[0]
            .exec(&["ls", "/run/netns"])
            .unwrap()
            .status
            .success()
    );
    machines[0]
        .run(&[
            "sh",
            "-c",
            "echo mine >/etc/mark; echo mine >/var/lib/berth/mark; echo mine >/home/mark",
        ])
        .unwrap();
    let seen = machines[1].run(&[
        "sh",
        "-c",
        "ls /etc/mark /var/lib/berth/mark /home/mark 2>/dev/null || echo none",
    ]);
    assert_eq!(seen.unwrap(), "none\n");
    let processes = machines[1]
        .run(&["sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null || true"]) // one may end meanwhile
        .unwrap();
    assert_eq!(processes.matches("sshd").count(), 1, "{processes}");
    assert_eq!(machines[1].run(&["hostname"]).unwrap(), "m2\n");
    assert!(!std::path::Path::new("/etc/mark").exists());
}

#[test]
fn two_rigs_run_side_by_side_and_cannot_take_each_others_name() {
    let rigs = [TemporaryRig::open().unwrap(), TemporaryRig::open().unwrap()];
    let machines = rigs.each_ref().map(|rig| rig.up(1).unwrap().remove(0));
    for (rig, machine) in rigs.iter().zip(&machines) {
        assert!(answers(rig, machine.address()));
    }
    let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
    let taken = Rig::open(RigConfig {
        state_dir: elsewhere.path().into(),
        name: rigs[0].name().into(),
    });
    assert!(taken.unwrap_err().to_string().contains("already runs"));
}

#[test]
fn a_rig_is_found_again_by_the_next_process_whatever_happened() {
    let rig = TemporaryRig::open().unwrap();
    let command = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_berth-rig"));
        command
            .arg("--state")
            .arg(rig.state_dir())
            .args(["--name", rig.name()])
            .args(words);
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    command(&["up", "2"]);
    let machine = rig.machine("1").unwrap();
    assert!(machine.is_running());
    let pid = fs::read_to_string(rig.state_dir().join("machines/m2/pid")).unwrap();
    assert!(
        Command::new("kill")
            .args(["-9", pid.trim()])
            .status()
            .unwrap()
            .success()
    ); // a crash: nobody tidies up
    let first = machine
        .run(&[
            "sh",
            "-c",
            "echo kept >/var/lib/berth/file; readlink /proc/1/ns/pid",
        ])
        .unwrap();
    rig.stop().unwrap();
    assert!(!machine.is_running());
    Rig::open(RigConfig {
        state_dir: rig.state_dir().into(),
        name: rig.name().into(),
    })
    .unwrap();
    command(&["up", "2"]);
    let again = machine
        .run(&[
            "sh",
            "-c",
            "cat /var/lib/berth/file; readlink /proc/1/ns/pid",
        ])
        .unwrap();
    assert!(again.starts_with("kept\n"));
    assert!(!again.ends_with(&first));
    let status: serde_json::Value =
        serde_json::from_str(&command(&["status", "--output", "json"])).unwrap();
    assert_eq!(status[0]["hostKey"], machine.host_key());
    assert_eq!(status[1]["running"], true);
}

#[test]
fn nothing_is_left_of_a_rig_that_was_taken_down() {
    let rig = TemporaryRig::open().unwrap();
    let (name, state) = (rig.name().to_owned(), rig.state_dir().to_owned());
    let machine = rig.up(1).unwrap().remove(0);
    make_image(&machine).unwrap();
    machine
        .run(&["docker", "run", "-d", "tiny", "/bin/sleep", "1000000"])
        .unwrap();
    machine.delay(1, 0.0).unwrap();
    drop(rig);
    assert!(!state.exists());
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        assert!(
            !entry
                .file_name()
                .to_string_lossy()
                .starts_with(&format!("{name}-"))
        );
    }
    assert!(
        !fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains(&*state.to_string_lossy())
    );
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        assert!(!hierarchy.path().join(format!("berth-rig-{name}")).exists());
    }
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments);
        assert!(
            !arguments.contains(&*state.to_string_lossy()),
            "{arguments}"
        );
    }
}

#[test]
fn a_secret_on_a_machine_is_found_in_a_file_and_in_the_memory_of_a_container() {
    let rig = TemporaryRig::open().unwrap();
    let machine = rig.up(1).unwrap().remove(0);
    let (raw, text) = ("4b".repeat(32), "7e5c".repeat(16)); // the first is 32 times K
    let both = format!("{raw}\n{text}\n");
    let clean = machine.search(&both).unwrap();
    assert_eq!(clean.found, [""; 0]);
    assert!(clean.files > 0 && clean.memory > 0, "{clean:?}");

    make_image(&machine).unwrap();
    let file = format!("printf %s {} >/var/local/key", "K".repeat(32));
    machine.run(&["sh", "-c", &file]).unwrap();
    let run = [
        "docker",
        "run",
        "--detach",
        "--env",
        &format!("KEY={text}"),
        "tiny",
        "sleep",
        "600",
    ];
    machine.run(&run).unwrap();
    let found = machine.search(&both).unwrap().found;
    let has = |place: &str| found.iter().any(|one| one.starts_with(place));
    assert!(has("/var/local/key"), "{found:?}");
    assert!(has("memory of sleep"), "{found:?}");
}
