//! A command in a container.

use crate::error::{Error, Result};
use crate::harden;
use crate::ssh::{ExecOutput, Session};
use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;

const WHAT: &str = "run a command in a container";
/// Most bytes of output.
const MAX_OUTPUT: usize = 1 << 20;

impl Session {
    /// Runs a command in a container, with at most 1 MiB of output.
    ///
    /// # Errors
    ///
    /// [`Error::Docker`] when the container does not run, [`Error::Answer`]
    /// when the command prints too much.
    pub async fn container_exec(
        &self,
        name: &str,
        command: &[&str],
        stdin: &[u8],
    ) -> Result<ExecOutput> {
        harden::check_name("the container's name", name)?;
        self.effect("exec")?;
        let limit = self.config().call_timeout;
        let run = Box::pin(self.run_in(name, command, stdin));
        self.within(WHAT, limit, run).await
    }

    async fn run_in(&self, name: &str, command: &[&str], stdin: &[u8]) -> Result<ExecOutput> {
        let docker = &self.engine().await?.docker;
        let config = ExecConfig {
            cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
            attach_stdin: Some(!stdin.is_empty()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = self.ask(WHAT, docker.create_exec(name, config)).await?.id;
        let started = self.ask(WHAT, docker.start_exec(&exec, None)).await?;
        let StartExecResults::Attached {
            mut output,
            mut input,
        } = started
        else {
            return Err(Error::answer(WHAT, "it was not attached"));
        };
        let feed = async {
            // A command need not read its input.
            input.write_all(stdin).await.ok();
            input.shutdown().await.ok();
        };
        let drain = async {
            let mut taken = ExecOutput::default();
            while let Some(part) = output.next().await {
                let part = part.map_err(|error| self.docker_error(WHAT, &error))?;
                take(&mut taken, part)?;
            }
            Ok::<_, Error>(taken)
        };
        let ((), taken) = futures::join!(feed, drain);
        let mut taken = taken?;
        let ended = self.ask(WHAT, docker.inspect_exec(&exec)).await?;
        let code = ended.exit_code.unwrap_or(255);
        taken.status = u32::try_from(code).unwrap_or(255);
        Ok(taken)
    }
}

fn take(taken: &mut ExecOutput, part: LogOutput) -> Result<()> {
    let into = match part {
        LogOutput::StdErr { .. } => &mut taken.stderr,
        LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => {
            &mut taken.stdout
        }
    };
    let part = part.into_bytes();
    if into.len() + part.len() > MAX_OUTPUT {
        return Err(Error::answer(WHAT, "too much output"));
    }
    into.extend_from_slice(&part);
    Ok(())
}
