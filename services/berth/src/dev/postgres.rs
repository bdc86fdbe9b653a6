//! A private Postgres: the installed programs on a folder of our own, on a
//! socket only, as the `postgres` user, since it refuses root.

use anyhow::{Context as _, bail, ensure};
use nix::unistd::{Gid, Uid, User, chown};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How long it may take to start, with recovery after a crash.
const START: Duration = Duration::from_secs(60);
/// Pause before one that ended is started again.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest path of a socket, with its name.
const SOCKET_PATH: usize = 107;

/// A running Postgres.
#[derive(Debug)]
pub(super) struct Postgres {
    child: Child,
    programs: PathBuf,
    dir: PathBuf,
    user: (Uid, Gid),
}

impl Postgres {
    /// Starts Postgres on `dir`, which is made when it is not there.
    pub(super) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let user = user()?;
        let programs = programs()?;
        ensure!(
            dir.as_os_str().len() + "/.s.PGSQL.5432".len() < SOCKET_PATH,
            "{} is too long for a socket; choose a shorter --data-dir",
            dir.display()
        );
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        chown(dir, Some(user.0), Some(user.1))?;
        let data = dir.join("data");
        if !data.join("PG_VERSION").exists() {
            // A folder without it was left by an attempt that was cut off.
            if data.exists() {
                fs::remove_dir_all(&data)?;
            }
            let made = command(&programs, "initdb", user)
                .arg("-D")
                .arg(&data)
                .args(["-U", "berth", "--auth=trust", "-E", "UTF8", "--locale=C"])
                .stdin(Stdio::null())
                .output()
                .await
                .context("cannot run initdb")?;
            ensure!(
                made.status.success(),
                "initdb failed; may the `postgres` user pass through every folder above {}?\n{}",
                dir.display(),
                String::from_utf8_lossy(&made.stderr).trim()
            );
        }
        end_leftover(&programs, &data, user).await?;
        let postgres = Self {
            child: run(&programs, dir, user)?,
            programs,
            dir: dir.to_owned(),
            user,
        };
        postgres.ready().await?;
        Ok(postgres)
    }

    /// Waits until it ends by itself, and starts it again, as whoever runs a
    /// Postgres would; it is away for so long.
    pub(super) async fn keep(&mut self) -> anyhow::Error {
        loop {
            let status = self.child.wait().await;
            super::say(&format!(
                "Postgres ended by itself ({status:?}); starting it again"
            ));
            // What it left may take a moment to end, and a disk to be emptied.
            tokio::time::sleep(AGAIN).await;
            match run(&self.programs, &self.dir, self.user) {
                Ok(child) => self.child = child,
                Err(error) => return error,
            }
        }
    }

    /// URL of one of its databases, for a role.
    pub(super) fn url(&self, role: &str, database: &str) -> String {
        format!(
            "postgres://{role}@localhost:5432/{database}?host={}",
            self.dir.display()
        )
    }

    /// Sees that a role exists.
    pub(super) async fn ensure_role(&self, name: &str) -> anyhow::Result<()> {
        let role = format!(
            "do $$ begin create role {name} login; exception when duplicate_object then null; end $$"
        );
        self.sql(&role).await.map(drop)
    }

    /// Sees that a database and its owner exist.
    pub(super) async fn ensure_database(&self, name: &str, owner: &str) -> anyhow::Result<()> {
        self.ensure_role(owner).await?;
        let exists = self
            .sql(&format!(
                "select 1 from pg_database where datname = '{name}'"
            ))
            .await?;
        if exists.trim().is_empty() {
            self.sql(&format!("create database {name} owner {owner}"))
                .await?;
        }
        Ok(())
    }

    async fn sql(&self, statement: &str) -> anyhow::Result<String> {
        let output = Command::new(self.programs.join("psql"))
            .arg("-h")
            .arg(&self.dir)
            .args([
                "-U",
                "berth",
                "-d",
                "postgres",
                "-XAtq",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
            ])
            .arg(statement)
            .stdin(Stdio::null())
            .output()
            .await
            .context("cannot run psql")?;
        ensure!(
            output.status.success(),
            "postgres refused a statement: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let answers = async {
            while self.sql("select 1").await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(START, answers).await.is_err() {
            bail!(
                "postgres did not start; see {}",
                self.dir.join("postgres.log").display()
            );
        }
        Ok(())
    }

    /// Ends it cleanly, within seconds.
    pub(super) async fn stop(mut self) {
        let data = self.dir.join("data");
        stop(&self.programs, &data, self.user).await.ok();
        self.child.wait().await.ok();
    }
}

/// A program of Postgres, run as the user that may.
fn command(programs: &Path, program: &str, user: (Uid, Gid)) -> Command {
    let mut command = Command::new(programs.join(program));
    command
        .uid(user.0.as_raw())
        .gid(user.1.as_raw())
        .current_dir("/");
    command
}

/// Starts the server; it is not ready yet.
fn run(programs: &Path, dir: &Path, user: (Uid, Gid)) -> anyhow::Result<Child> {
    let path = dir.join("postgres.log");
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    command(programs, "postgres", user)
        .arg("-D")
        .arg(dir.join("data"))
        .args(["-c", "listen_addresses=", "-c"])
        .arg(format!("unix_socket_directories={}", dir.display()))
        .args(["-c", "max_connections=400", "-c", "shared_buffers=128MB"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("cannot run postgres")
}

/// A server that an earlier process left running on the same folder.
async fn end_leftover(programs: &Path, data: &Path, user: (Uid, Gid)) -> anyhow::Result<()> {
    if data.join("postmaster.pid").exists() {
        stop(programs, data, user).await?;
    }
    Ok(())
}

async fn stop(programs: &Path, data: &Path, user: (Uid, Gid)) -> anyhow::Result<()> {
    command(programs, "pg_ctl", user)
        .arg("-D")
        .arg(data)
        .args(["stop", "-m", "fast", "-t", "8", "-s"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await
        .context("cannot run pg_ctl")?;
    Ok(())
}

fn user() -> anyhow::Result<(Uid, Gid)> {
    if !Uid::effective().is_root() {
        return Ok((Uid::effective(), Gid::effective()));
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok((user.uid, user.gid));
        }
    }
    bail!("there is no user `postgres`; install PostgreSQL, or run `make bootstrap`")
}

/// The newest installed version, as Debian lays it out, or what is on the path.
fn programs() -> anyhow::Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    if let Some((_, newest)) = found.pop() {
        return Ok(newest);
    }
    ["/usr/local/bin", "/usr/bin", "/usr/pgsql/bin"]
        .into_iter()
        .map(PathBuf::from)
        .find(|bin| bin.join("initdb").exists())
        .context("PostgreSQL is not installed; run `make bootstrap`")
}
