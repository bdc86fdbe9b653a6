//! Commands on a machine.

use super::{Link, Session};
use crate::error::{Error, Result, said};
use bytes::Bytes;
use futures::future::{Either, select};
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use std::fmt;
use std::pin::pin;
use std::time::Duration;

/// How often, and how long apart, a channel is asked for again.
const OPEN_TRIES: u32 = 40;
const OPEN_PAUSE: Duration = Duration::from_millis(50);
/// How much longer than a command may take its machine may take to end it.
const GRACE: Duration = Duration::from_secs(10);
/// Stream number of standard error in the SSH protocol.
const STDERR: u32 = 1;

/// A command to run.
#[derive(Clone)]
pub struct Exec<'a> {
    /// What it is, for messages.
    pub what: &'static str,
    /// POSIX shell text; never a secret.
    pub script: &'a str,
    /// Standard input; may be a secret.
    pub stdin: &'a [u8],
    /// Longest run.
    pub timeout: Duration,
    /// Most bytes taken of each of standard output and standard error.
    pub max_output: usize,
}

impl<'a> Exec<'a> {
    /// A command without input, of at most 60 s and 1 MiB.
    #[must_use]
    pub fn new(what: &'static str, script: &'a str) -> Self {
        Self {
            what,
            script,
            stdin: &[],
            timeout: Duration::from_secs(60),
            max_output: 1 << 20,
        }
    }
}

impl fmt::Debug for Exec<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

/// What a command left.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Exit status; 255 when a signal ended it.
    pub status: u32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl fmt::Debug for ExecOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecOutput")
            .field("status", &self.status)
            .field("stdout_bytes", &self.stdout.len())
            .field("stderr_bytes", &self.stderr.len())
            .finish()
    }
}

impl ExecOutput {
    /// Standard output of a command that must succeed.
    ///
    /// # Errors
    ///
    /// [`Error::Command`], or [`Error::NoSpace`] when that is what it says.
    pub fn success(self, what: &'static str) -> Result<Vec<u8>> {
        if self.status == 0 {
            return Ok(self.stdout);
        }
        let message = said(&String::from_utf8_lossy(&self.stderr));
        if message.contains("No space left on device") {
            return Err(Error::NoSpace { what });
        }
        Err(Error::Command {
            what,
            status: self.status,
            message,
        })
    }
}

impl Session {
    /// Runs a command as the user of the session, whatever its exit status.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`], [`Error::Timeout`], and [`Error::Answer`] when it
    /// prints too much.
    pub async fn exec(&self, command: Exec<'_>) -> Result<ExecOutput> {
        self.run(&command, "").await
    }

    /// Runs a command as root (by `sudo -n` when the user is not root) and
    /// gives what it printed.
    ///
    /// # Errors
    ///
    /// Those of [`Self::exec`], and [`Error::Command`] when its exit status is
    /// not 0.
    pub async fn root(&self, command: Exec<'_>) -> Result<Vec<u8>> {
        let become_root = if self.is_root() { "" } else { "sudo -n " };
        let output = self.run(&command, become_root).await?;
        if output.status == TIMED_OUT {
            return Err(Error::Timeout {
                what: command.what,
                seconds: command.timeout.as_secs(),
            });
        }
        output.success(command.what)
    }

    async fn run(&self, command: &Exec<'_>, prefix: &str) -> Result<ExecOutput> {
        let seconds = command.timeout.as_secs().max(1);
        // The machine ends it too: closing a channel does not end a command.
        let line = format!(
            "{prefix}timeout -k 5 {seconds} sh -c {}",
            quote(command.script)
        );
        let grace = GRACE.min(self.config().call_timeout);
        self.within(
            command.what,
            command.timeout + grace,
            self.converse(command, line),
        )
        .await
    }

    async fn converse(&self, command: &Exec<'_>, line: String) -> Result<ExecOutput> {
        let lost = |_| Error::Lost { what: command.what };
        let _slot = self.commands().acquire().await.map_err(|e| {
            Error::answer(command.what, e) // The semaphore is never closed.
        })?;
        let channel = open_command(self.link()).await.map_err(lost)?;
        channel.exec(true, line).await.map_err(lost)?;
        let (mut read, write) = channel.split();
        let output = {
            let feed = pin!(feed(&write, command.stdin));
            let drain = pin!(drain(&mut read, command));
            match select(feed, drain).await {
                Either::Left(((), drain)) => drain.await,
                Either::Right((output, _)) => output,
            }
        };
        // It may be closed already.
        write.close().await.ok();
        output
    }
}

/// Opens a channel for a command. sshd counts a command that ended until it has
/// tidied up behind it, so that a refusal is worth another try.
pub(crate) async fn open_command(link: &Link) -> Result<Channel<Msg>, russh::Error> {
    let mut tries = 0;
    loop {
        match link.channel_open_session().await {
            Err(russh::Error::ChannelOpenFailure(_)) if tries < OPEN_TRIES => {
                tries += 1;
                tokio::time::sleep(OPEN_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Status of a command that a signal ended.
const SIGNALLED: u32 = 255;
/// Status of a command that `timeout` ended.
const TIMED_OUT: u32 = 124;

/// A command that ends early does not read its input; that is its own affair.
async fn feed(write: &ChannelWriteHalf<Msg>, stdin: &[u8]) {
    if !stdin.is_empty() {
        write.data_bytes(Bytes::copy_from_slice(stdin)).await.ok();
    }
    write.eof().await.ok();
}

async fn drain(read: &mut ChannelReadHalf, command: &Exec<'_>) -> Result<ExecOutput> {
    let mut output = ExecOutput::default();
    let mut status = None;
    while let Some(message) = read.wait().await {
        if matches!(message, ChannelMsg::Failure) {
            return Err(Error::answer(command.what, "it refuses to run commands"));
        }
        if let ChannelMsg::ExitStatus { exit_status } = message {
            status = Some(exit_status);
        }
        if matches!(message, ChannelMsg::ExitSignal { .. }) {
            status = Some(SIGNALLED);
        }
        let Some((stderr, data)) = printed(message) else {
            continue;
        };
        let taken = if stderr {
            &mut output.stderr
        } else {
            &mut output.stdout
        };
        if taken.len() + data.len() > command.max_output {
            return Err(Error::answer(command.what, "too much output"));
        }
        taken.extend_from_slice(&data);
    }
    // A session that is lost ends the channel without a word.
    output.status = status.ok_or(Error::Lost { what: command.what })?;
    Ok(output)
}

/// What was printed, and whether on standard error.
fn printed(message: ChannelMsg) -> Option<(bool, Bytes)> {
    if let ChannelMsg::Data { data } = message {
        Some((false, data))
    } else if let ChannelMsg::ExtendedData { data, ext: STDERR } = message {
        Some((true, data))
    } else {
        None
    }
}

/// Text as one word of a POSIX shell.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_failed_command_for_lack_of_space_says_so() {
        let output = ExecOutput {
            status: 1,
            stderr: b"cp: write error: No space left on device".to_vec(),
            ..ExecOutput::default()
        };
        assert!(matches!(
            output.success("a copy"),
            Err(Error::NoSpace { .. })
        ));
    }

    #[test]
    fn output_is_not_in_debug() {
        let output = ExecOutput {
            stdout: b"s3cret".to_vec(),
            ..ExecOutput::default()
        };
        assert!(!format!("{output:?}").contains("s3cret"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_quoted_word_comes_out_of_the_shell_unchanged(text in "[^\0]{0,40}") {
            let printed = std::process::Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quote(&text)))
                .output()
                .unwrap();
            prop_assert_eq!(printed.stdout, text.into_bytes());
        }
    }
}
