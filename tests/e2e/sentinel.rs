//! Secrets are where they must be and nowhere else: the real values of a
//! running node are looked for in all that anybody could read.

use berth_rig::Machine;
use berth_tests::{Berth, output};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where secrets stand on a machine: in memory.
const MEMORY: &str = "/run/berth";

/// Values to look for, one a line, in a file that only we read.
struct Sentinels(PathBuf);

/// Looks for every secret of a running node, `own` among them, everywhere but in
/// the machine's memory, in Vault and in the two files that hold the
/// administrator's token.
pub(crate) fn no_secret_is_anywhere(berth: &Berth, node: &Value, own: &str) {
    let machine_id = node["status"]["placement"]["machineId"].as_str().unwrap();
    let machine = berth.computer(machine_id);
    let sentinels = Sentinels::collect(berth, own, &machine);
    let mut found = sentinels.on_machine(&machine);
    found.extend(sentinels.in_files(&berth.dir().join("rig/machines").join(machine.name())));
    found.extend(sentinels.in_files(&berth.dir().join("logs")));
    for log in [
        "dev.log",
        "client.log",
        "openbao/server.log",
        "openbao/audit.log",
    ] {
        found.extend(sentinels.in_files(&berth.dir().join(log)));
    }
    for database in berth.databases() {
        if sentinels.within(&berth.dump(&database)) {
            found.push(format!("a dump of {database}"));
        }
    }
    found.extend(sentinels.in_processes());
    assert!(
        found.is_empty(),
        "a secret stands in:\n{}",
        found.join("\n")
    );
}

impl Sentinels {
    /// One value of each class: what the node's software needs, the agent's key,
    /// the tokens of the administrators, and the logins of the services.
    fn collect(berth: &Berth, own: &str, machine: &Machine) -> Self {
        let pem = format!("cat $(grep -rl 'PRIVATE KEY' {MEMORY})");
        let pem = machine
            .run(&["sh", "-c", &pem])
            .expect("the agent has a key");
        let agent = pem.lines().nth(1).expect("PEM has lines").to_owned();

        let dir = berth.dir();
        let read = |path: &Path| fs::read_to_string(path).unwrap().trim().to_owned();
        let context = read(berth.context());
        let token = context
            .split('"')
            .find(|part| part.starts_with("berth_admin_"));
        let mut values = vec![
            own.to_owned(),
            agent,
            token.expect("a context holds a token").to_owned(),
            read(&dir.join("openbao/admin-token")),
        ];
        let logins = fs::read_dir(dir.join("secret-id")).unwrap();
        values.extend(logins.map(|entry| read(&entry.unwrap().path())));
        assert!(
            values.iter().all(|value| value.len() >= 20),
            "too short to look for"
        );

        let path = dir.join("sentinels");
        let mut file = fs::OpenOptions::new();
        let file = file
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        std::io::Write::write_all(&mut file.unwrap(), values.join("\n").as_bytes()).unwrap();
        let sentinels = Self(path);
        sentinels.can_be_found(machine);
        sentinels
    }

    /// The search finds what it looks for where that must stand.
    fn can_be_found(&self, machine: &Machine) {
        let all = "cat $(find /run/berth -type f)";
        let memory = machine.run(&["sh", "-c", all]).unwrap();
        let values = fs::read_to_string(&self.0).unwrap();
        let there: Vec<bool> = values.lines().map(|value| memory.contains(value)).collect();
        assert!(
            there[0] && there[1],
            "the node's keys are in the machine's memory"
        );
        assert!(
            !there[2..].contains(&true),
            "nothing of ours is on the machine"
        );
    }

    /// What the owner of a machine sees through Docker and in its processes.
    fn on_machine(&self, machine: &Machine) -> Vec<String> {
        let mut found = Vec::new();
        let ids = machine.run(&["docker", "ps", "--all", "--quiet"]).unwrap();
        for id in ids.lines() {
            for verb in ["inspect", "logs", "export", "top"] {
                let shown = machine.exec(&["docker", verb, id]).unwrap();
                assert!(shown.status.success(), "docker {verb}: {shown:?}");
                if self.within(&shown.stdout) || self.within(&shown.stderr) {
                    found.push(format!("docker {verb} {id}"));
                }
            }
        }
        let objects = "docker volume inspect $(docker volume ls -q); docker image inspect \
            $(docker images -aq); docker network inspect $(docker network ls -q); \
            docker events --since 0 --until $(date +%s)";
        let objects = machine.run(&["sh", "-c", objects]).unwrap();
        if self.within(objects.as_bytes()) {
            found.push("Docker's objects or events".to_owned());
        }
        found
    }

    /// Files below a path that hold a secret.
    fn in_files(&self, path: &Path) -> Vec<String> {
        assert!(path.exists(), "{}", path.display());
        let answer = Command::new("grep")
            .args([
                "--recursive",
                "--files-with-matches",
                "--fixed-strings",
                "--file",
            ])
            .arg(&self.0)
            .arg(path)
            .output()
            .unwrap();
        // Files of a running machine come and go: 2 is that one went.
        let text = String::from_utf8_lossy(&answer.stdout);
        text.lines().map(str::to_owned).collect()
    }

    /// Arguments and environments of every process of this computer, which are
    /// also those of the machines.
    fn in_processes(&self) -> Vec<String> {
        let look = r#"grep --files-with-matches --fixed-strings --file "$1" /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null || true"#;
        let found = output(Command::new("sh").args(["-c", look, "look"]).arg(&self.0));
        let found = String::from_utf8_lossy(&found).into_owned();
        found.lines().map(str::to_owned).collect()
    }

    /// Whether a text holds one of the values.
    fn within(&self, text: &[u8]) -> bool {
        use std::io::Write as _;
        let mut grep = Command::new("grep")
            .args(["--quiet", "--text", "--fixed-strings", "--file"])
            .arg(&self.0)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = grep.stdin.take().unwrap();
        // It stops reading at the first hit.
        input.write_all(text).ok();
        drop(input);
        grep.wait().unwrap().success()
    }
}
