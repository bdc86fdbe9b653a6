//! A Postgres of a test's own that flushes what it commits, with an owner and a
//! role that serves.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User, chown};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

use crate::eventually::eventually;

/// The database of the signer.
pub(crate) const DATABASE: &str = "signer";
/// Who owns it.
pub(crate) const OWNER: &str = "signer_owner";
/// Who serves.
pub(crate) const SERVING: &str = "signer_serving";
/// A superuser.
pub(crate) const ADMIN: &str = "berth";

pub(crate) struct Postgres {
    folder: TempDir,
    server: Option<Child>,
}

impl Postgres {
    /// Starts one with an empty database.
    pub(crate) async fn start() -> Self {
        // Short, for the path of the socket, and open to the `postgres` user.
        let folder = tempfile::Builder::new()
            .prefix("berth-")
            .tempdir_in("/tmp")
            .unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let (uid, gid) = user();
        chown(folder.path(), Some(uid), Some(gid)).unwrap();
        let mut postgres = Self {
            folder,
            server: None,
        };
        let made = postgres
            .command("initdb")
            .arg("--pgdata")
            .arg(postgres.data())
            .args([
                "--username",
                ADMIN,
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ])
            .arg("--no-sync")
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        postgres.run(&[]).await;
        for statement in [
            format!("create role {OWNER} login"),
            format!("create role {SERVING} login"),
        ] {
            postgres.sql("postgres", &statement).await;
        }
        let make = format!("create database {DATABASE} owner {OWNER}");
        postgres.sql("postgres", &make).await;
        postgres
    }

    /// Runs the server with these settings besides the defaults.
    pub(crate) async fn run(&mut self, settings: &[&str]) {
        let log = File::create(self.folder.path().join("log")).unwrap();
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-c", "listen_addresses=", "-c", "shared_buffers=16MB"])
            .arg("-c")
            .arg(format!(
                "unix_socket_directories={}",
                self.folder.path().display()
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        for setting in settings {
            command.args(["-c", setting]);
        }
        self.server = Some(command.spawn().unwrap());
        let url = self.url(ADMIN, "postgres");
        eventually("postgres answers", async || {
            PgConnection::connect(&url).await.ok()
        })
        .await;
    }

    /// Ends the server cleanly, whoever is connected.
    pub(crate) fn stop(&mut self) {
        let stopped = self
            .command("pg_ctl")
            .args(["stop", "-w", "-s", "-m", "fast", "-D"])
            .arg(self.data())
            .status();
        assert!(stopped.unwrap().success());
        self.server.take().unwrap().wait().unwrap();
    }

    /// Kills the server and all that it started, at once.
    pub(crate) async fn crash(&mut self) {
        let mut server = self.server.take().unwrap();
        let own = Pid::from_raw(server.id().try_into().unwrap());
        // Stopped first, so that it starts no more.
        kill(own, Signal::SIGSTOP).unwrap();
        let state = || process(own).map(|(state, _)| state);
        eventually("it stopped", async || (state() == Some('T')).then_some(())).await;
        let started = children(own);
        for child in started.iter().chain([&own]) {
            kill(*child, Signal::SIGKILL).unwrap();
        }
        server.wait().unwrap();
        eventually("all of it is gone", async || {
            started.iter().all(|child| ended(*child)).then_some(())
        })
        .await;
    }

    /// A program of Postgres, as the user that it wants. It ends with this test.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        if Uid::effective().is_root() {
            let (uid, gid) = user();
            command
                .arg(format!("--reuid={uid}"))
                .arg(format!("--regid={gid}"))
                .args(["--clear-groups", "--", "setpriv"]);
        }
        command
            .args(["--pdeathsig=QUIT", "--"])
            .arg(programs().join(program))
            .current_dir("/");
        command
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn url(&self, role: &str, database: &str) -> String {
        let folder = self.folder.path().display();
        format!("postgres://{role}@localhost/{database}?host={folder}")
    }

    /// What a statement answers, or why it is refused.
    pub(crate) fn psql(&self, role: &str, statement: &str) -> String {
        let output = self
            .command("psql")
            .arg(self.url(role, DATABASE))
            .args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet"])
            .args(["--command", statement])
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Runs statements as a superuser.
    pub(crate) async fn sql(&self, database: &str, statements: &str) {
        let mut conn = PgConnection::connect(&self.url(ADMIN, database))
            .await
            .unwrap();
        let statements = AssertSqlSafe(statements.to_owned());
        sqlx::raw_sql(statements).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // At once, and without a segment of shared memory left behind.
            kill(
                Pid::from_raw(server.id().try_into().unwrap()),
                Signal::SIGQUIT,
            )
            .ok();
            server.wait().ok();
        }
    }
}

/// The state of a process, and who started it.
fn process(id: Pid) -> Option<(char, Pid)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // After the name, which may hold anything.
    let mut fields = text.rsplit(')').next()?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, Pid::from_raw(fields.next()?.parse().ok()?)))
}

fn children(parent: Pid) -> Vec<Pid> {
    let all = fs::read_dir("/proc").unwrap();
    let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.map(Pid::from_raw)
        .filter(|id| process(*id).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// Whether it holds nothing any more, though nobody may have asked how it ended.
fn ended(id: Pid) -> bool {
    process(id).is_none_or(|(state, _)| state == 'Z' || state == 'X')
}

fn user() -> (Uid, Gid) {
    if Uid::effective().is_root() {
        let user = User::from_name("postgres").unwrap();
        let user = user.unwrap();
        return (user.uid, user.gid);
    }
    (Uid::effective(), Gid::effective())
}

/// The newest that is installed as Debian does, or what is on the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    versions
        .filter_map(|entry| {
            let bin = entry.unwrap().path().join("bin");
            let version: u32 = bin.parent()?.file_name()?.to_str()?.parse().ok()?;
            bin.join("initdb").exists().then_some((version, bin))
        })
        .max()
        .map(|(_, bin)| bin)
        .unwrap_or_default()
}
