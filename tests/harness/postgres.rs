//! The databases, as their administrator sees them.

use crate::host::{output, text};
use crate::system::Berth;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Size of a disk that has room, in KiB. It is in memory and takes what is used.
const ROOMY: u64 = 1 << 20;

impl Berth {
    /// Names of all databases of the control plane.
    #[must_use]
    pub fn databases(&self) -> Vec<String> {
        let names = "select datname from pg_database where datname like 'berth_%' order by 1";
        self.sql("postgres", names)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Runs one statement; a line a row, `|` between columns.
    #[must_use]
    #[track_caller]
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let mut psql = Command::new("psql");
        psql.arg("--host")
            .arg(self.dir().join("postgres"))
            .args(["--username", "berth", "--dbname", database])
            .args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet"])
            .args(["--set", "ON_ERROR_STOP=1", "--command", statement]);
        text(&mut psql).trim_end().to_owned()
    }

    /// Ends the server at once, as a crash does; `berth dev` starts it again.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn kill_postgres(&self) {
        let file = self.dir().join("postgres/data/postmaster.pid");
        let text = fs::read_to_string(file).unwrap();
        let pid = text.lines().next().and_then(|line| line.parse().ok());
        kill(Pid::from_raw(pid.expect("a process id")), Signal::SIGKILL).unwrap();
    }

    /// Leaves no room on the disk of Postgres, or makes some again. It began
    /// with [`Self::start_on_small_disk`].
    pub fn fill_postgres_disk(&self, full: bool) {
        let disk = disk(self.dir());
        let mut used = Command::new("df");
        used.args(["--output=used", "--block-size=1K"]).arg(&disk);
        let used = text(&mut used);
        let used = used.lines().next_back().and_then(|n| n.trim().parse().ok());
        let size = if full { used.expect("a size") } else { ROOMY };
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}k")]);
        output(mount.arg(disk));
    }

    /// Everything that a database holds.
    #[must_use]
    pub fn dump(&self, database: &str) -> Vec<u8> {
        output(
            Command::new("pg_dump")
                .arg("--host")
                .arg(self.dir().join("postgres"))
                .args(["--username", "berth", database]),
        )
    }
}

fn disk(dir: &Path) -> PathBuf {
    dir.join("postgres")
}

/// Gives Postgres a disk of its own.
pub(crate) fn mount(dir: &Path) {
    let disk = disk(dir);
    fs::create_dir(&disk).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={ROOMY}k"), "postgres"]);
    output(mount.arg(disk));
}

/// Takes it away, if there is one.
pub(crate) fn unmount(dir: &Path) {
    let mut umount = Command::new("umount");
    // It mostly says that nothing is mounted there.
    umount
        .args(["--quiet", "--lazy"])
        .arg(disk(dir))
        .output()
        .ok();
}
