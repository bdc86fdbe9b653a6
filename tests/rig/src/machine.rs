//! One machine: its address and key, commands on it, and what can happen to it.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use crate::error::Context;
use crate::rig::Inner;
use crate::{Error, Result, boot, shell, wire};

/// A machine of a rig. The value is a handle: it can be cloned, and it does not own the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    rig: Arc<Inner>,
    name: String,
    index: u8,
    host_key: String,
}

impl Machine {
    /// The machine of this name, if it was made.
    pub(crate) fn find(rig: &Arc<Inner>, name: &str) -> Result<Option<Self>> {
        let dir = rig.state.join("machines").join(name);
        let Ok(index) = fs::read_to_string(dir.join("index")) else {
            return Ok(None);
        };
        let malformed = |problem: String| Error::Malformed {
            what: dir.join("index").display().to_string(),
            problem,
        };
        let index = index
            .trim()
            .parse()
            .map_err(|e: std::num::ParseIntError| malformed(e.to_string()))?;
        let key = dir.join("ssh_host_key.pub");
        let host_key = fs::read_to_string(&key).during(|| format!("read {}", key.display()))?;
        Ok(Some(Self {
            rig: Arc::clone(rig),
            name: name.into(),
            index,
            host_key: host_key.trim().into(),
        }))
    }

    /// Makes a machine that has never run.
    pub(crate) fn create(rig: &Arc<Inner>, name: &str, index: u8) -> Result<Self> {
        let dir = rig.state.join("machines").join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).during(|| format!("remove {}", dir.display()))?; // half made
        }
        fs::create_dir_all(dir.join("disk")).during(|| format!("create {}", dir.display()))?;
        let mut keygen = shell::command("ssh-keygen");
        keygen
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(dir.join("ssh_host_key"));
        shell::run(&mut keygen)?;
        shell::write(&dir.join("index"), index.to_string())?;
        Self::find(rig, name)?.ok_or_else(|| Error::Unknown {
            name: name.into(),
            known: "none".into(),
        })
    }

    /// The machine's name, which is also its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine's number in the rig's network: 1 to 99 for `m1` to `m99`.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// Where its sshd listens, as seen from the fabric and from the other machines.
    pub fn address(&self) -> SocketAddr {
        let ip = Ipv4Addr::new(10, 231, self.rig.subnet(), 10 + self.index);
        SocketAddr::new(IpAddr::V4(ip), 22)
    }

    /// The public key that its sshd shows, as a line of OpenSSH.
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// Whether the machine has power.
    pub fn is_running(&self) -> bool {
        boot::pid(self).is_some()
    }

    /// Runs a command as root on the machine, with no input, and waits for it.
    pub fn exec(&self, words: &[&str]) -> Result<Output> {
        shell::output(&mut self.words(words)?)
    }

    /// Runs a command as root on the machine and returns its output; any exit status but 0 is an error.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        shell::run(&mut self.words(words)?)
    }

    /// A command that will run as root on the machine, for callers that choose its input and output.
    pub fn command(&self, program: &str) -> Result<Command> {
        let pid = boot::pid(self).ok_or_else(|| Error::Off {
            name: self.name.clone(),
        })?;
        let mut command = shell::command("nsenter");
        command.args([
            "-t",
            &pid.to_string(),
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "--",
            program,
        ]);
        Ok(command)
    }

    /// Cuts the power: the cable first, for a dead machine says no goodbye, then every process at once.
    pub fn kill(&self) -> Result<()> {
        boot::power_off(self)
    }

    /// Turns a machine on that is off. A slow cable is a normal one afterwards.
    pub fn revive(&self) -> Result<()> {
        boot::start(self)
    }

    /// Pulls the cable; the machine sees that its link is down.
    pub fn partition(&self) -> Result<()> {
        wire::set_port(self, "down")
    }

    /// Plugs the cable in again.
    pub fn heal(&self) -> Result<()> {
        wire::set_port(self, "up")
    }

    /// Loses every packet in both directions while the link stays up.
    pub fn drop_packets(&self) -> Result<()> {
        wire::set_port(self, "nomaster arp off")
    }

    /// Ends [`Machine::drop_packets`].
    pub fn undrop_packets(&self) -> Result<()> {
        wire::set_port(self, "master br0 arp on")
    }

    /// Delays each frame, each way, by so many milliseconds and loses so many per cent of them.
    pub fn delay(&self, milliseconds: u32, loss_percent: f32) -> Result<()> {
        wire::delay(self, milliseconds, loss_percent)
    }

    /// Ends [`Machine::delay`].
    pub fn undelay(&self) -> Result<()> {
        wire::unplug(self)?;
        wire::plug(self)
    }

    /// Limits what goes towards the machine, in the words of `tc`: `100mbit`.
    pub fn rate(&self, rate: &str) -> Result<()> {
        wire::set_rate(self, Some(rate))
    }

    /// Ends [`Machine::rate`].
    pub fn unrate(&self) -> Result<()> {
        wire::set_rate(self, None)
    }

    /// Loads the images of a `docker save` file.
    pub fn load_image(&self, tar: &Path) -> Result<()> {
        let file = File::open(tar).during(|| format!("open {}", tar.display()))?;
        let mut load = self.command("docker")?;
        let status = load
            .args(["load", "-q"])
            .stdin(file)
            .stdout(std::process::Stdio::null())
            .status();
        let status = status.during(|| "docker load".into())?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::Command {
                command: format!("docker load < {}", tar.display()),
                status: status.to_string(),
                said: "see above".into(),
            }),
        }
    }

    pub(crate) fn rig(&self) -> &Inner {
        &self.rig
    }

    /// A file of the machine's, on the host.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.rig.state.join("machines").join(&self.name).join(name)
    }

    /// Its network namespace.
    pub(crate) fn namespace(&self) -> String {
        format!("{}-{}", self.rig.name, self.name)
    }

    /// The bridge's end of its cable.
    pub(crate) fn port(&self) -> String {
        format!("port{}", self.index)
    }

    /// Its control group, below the rig's.
    pub(crate) fn cgroup(&self) -> String {
        format!("{}/{}", self.rig.cgroup(), self.name)
    }

    fn words(&self, words: &[&str]) -> Result<Command> {
        let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
        let mut command = self.command(program)?;
        command.args(arguments);
        Ok(command)
    }
}
