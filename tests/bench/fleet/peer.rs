//! The peer: one OpenSSH client a machine, each held open with the same
//! keepalives, as those who deploy by a script hold theirs.

use crate::holder::AT_ONCE;
use crate::machines::{address, host_key};
use crate::usage::{memory, processor_seconds};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// How many there are: each is a process.
pub(crate) const CLIENTS: u16 = 250;

/// Clients that are signed in; they end when the value is dropped.
pub(crate) struct Clients(Vec<Child>);

impl Clients {
    /// Signs in to as many machines, some at once.
    pub(crate) fn open(port: u16) -> Self {
        let dir = TempDir::new().unwrap();
        write_files(dir.path(), port);
        let mut clients = Self(Vec::new());
        let mut waiting = VecDeque::new();
        for machine in 0..CLIENTS {
            if waiting.len() == AT_ONCE {
                signed_in(waiting.pop_front());
            }
            let mut client = command(dir.path(), machine, port).spawn().unwrap();
            waiting.push_back(client.stdout.take().unwrap());
            clients.0.push(client);
        }
        while !waiting.is_empty() {
            signed_in(waiting.pop_front());
        }
        clients
    }

    /// KiB of memory of all.
    pub(crate) fn memory(&self) -> f64 {
        self.0.iter().map(|client| memory(client.id())).sum()
    }

    /// Seconds of processors that all took until now.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let taken = self.0.iter().map(|client| processor_seconds(client.id()));
        taken.sum()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        for client in &mut self.0 {
            client.kill().ok();
        }
        for client in &mut self.0 {
            client.wait().ok();
        }
    }
}

/// The key to sign in with, and those that the machines must show.
fn write_files(dir: &Path, port: u16) {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[8; 32]));
    key.write_openssh_file(dir.join("key"), LineEnding::LF)
        .unwrap();
    let known: String = (0..CLIENTS)
        .map(|machine| {
            let ip = address(machine, port).ip();
            let key = host_key(machine).public_key().to_openssh().unwrap();
            format!("[{ip}]:{port} {key}\n")
        })
        .collect();
    fs::write(dir.join("known"), known).unwrap();
}

fn command(dir: &Path, machine: u16, port: u16) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "ssh", "-F", "none", "-N"])
        .args(["-p", &port.to_string(), "-i"])
        .arg(dir.join("key"))
        .arg("-o")
        .arg(format!(
            "UserKnownHostsFile={}",
            dir.join("known").display()
        ));
    for option in [
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=none",
        "UpdateHostKeys=no",
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "ServerAliveInterval=15",
        "PermitLocalCommand=yes",
        "LocalCommand=echo in",
    ] {
        command.args(["-o", option]);
    }
    command
        .arg(format!("berth@{}", address(machine, port).ip()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// Waits until a client says that it is in.
fn signed_in(said: Option<impl std::io::Read>) {
    let mut line = String::new();
    BufReader::new(said.unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "in\n", "a client did not sign in");
}
