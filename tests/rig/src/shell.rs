//! Running the system's programs, with their complaints kept.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::error::Context;
use crate::{Error, Result};

/// How long something small may take, on a busy computer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where programs are looked for, here and on the machines. The caller's environment is not passed on.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a rig calls, and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 13] = [
    ("bash", "bash"),
    ("docker", "docker.io"),
    ("dockerd", "docker.io"),
    ("hostname", "hostname"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server"),
    ("sudo", "sudo"),
    ("tc", "iproute2"),
];

/// Fails with the package to install if the host lacks a program.
pub(crate) fn require_all() -> Result<()> {
    PROGRAMS
        .iter()
        .try_for_each(|(program, package)| require(program, package))
}

/// Fails with the package to install if the host lacks this program.
pub(crate) fn require(program: &'static str, package: &'static str) -> Result<()> {
    match PATH
        .split(':')
        .any(|dir| Path::new(dir).join(program).is_file())
    {
        true => Ok(()),
        false => Err(Error::Missing { program, package }),
    }
}

/// A command with nothing of the caller's environment.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .current_dir("/");
    command
}

/// Runs a command to its end and returns its standard output; an exit status other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command {
        command: line(command),
        status: output.status.to_string(),
        said: tail(&String::from_utf8_lossy(&output.stderr), 20),
    })
}

/// Runs a command to its end, whatever its exit status is.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .during(|| line(command))
}

/// Runs two commands, the output of the first being the input of the second.
pub(crate) fn pipe(first: &mut Command, second: &mut Command) -> Result<()> {
    let mut writer = first
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .during(|| line(first))?;
    let input = writer.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let reader = second
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .during(|| line(second))?;
    second.stdin(Stdio::null()); // closes our copy of the pipe, so that the first ends when the second does
    let output = reader.wait_with_output().during(|| line(second))?;
    let status = writer.wait().during(|| line(first))?;
    let failed =
        |command: &Command, status: std::process::ExitStatus, said: &[u8]| Error::Command {
            command: line(command),
            status: status.to_string(),
            said: tail(&String::from_utf8_lossy(said), 20),
        };
    match (output.status.success(), status.success()) {
        (false, _) => Err(failed(second, output.status, &output.stderr)),
        (_, false) => Err(failed(first, status, b"see above")),
        (true, true) => Ok(()),
    }
}

/// Runs `ip` with arguments separated by spaces.
pub(crate) fn ip(arguments: &str) -> Result<String> {
    run(command("ip").args(arguments.split_whitespace()))
}

/// Waits until something is true.
pub(crate) fn wait_until(
    what: &str,
    limit: Duration,
    mut done: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let start = Instant::now();
    while !done()? {
        if start.elapsed() > limit {
            return Err(Error::Late {
                what: what.into(),
                seconds: limit.as_secs(),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Writes a file that only root can read.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).during(|| format!("write {}", path.display()))
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
