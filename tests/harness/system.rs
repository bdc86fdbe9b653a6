//! One `berth dev`, from its start to the proof that nothing of it is left.

use crate::eventually::{eventually, within};
use crate::{leftovers, postgres, program, repository};
use berth_rig::Rig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Not `/tmp`, which may be a tmpfs, on which dockerd stores no images. Short,
/// because a socket stands below.
const ROOT: &str = "/var/tmp";
const PREFIX: &str = "berth-t";
/// How long it may take to be ready, on a busy computer.
const READY: Duration = Duration::from_mins(4);
/// How long it may take to end, on a busy computer.
const END: Duration = Duration::from_mins(1);

/// What is started.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Machines.
    pub machines: u8,
    /// Replicas of every service.
    pub replicas: u8,
}

/// A running `berth dev` with a data folder of its own. It goes when the value
/// is dropped, however the test ends; a failing test shows its logs.
#[derive(Debug)]
pub struct Berth {
    shape: Shape,
    dir: PathBuf,
    process: Option<Child>,
    context: PathBuf,
    begun: Instant,
}

impl Berth {
    /// Starts it on a new folder, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not become ready, with its logs.
    #[must_use]
    pub fn start(shape: Shape) -> Self {
        Self::start_on(shape, |_| ())
    }

    /// As [`Self::start`], with Postgres on a disk of its own that a test can
    /// fill.
    ///
    /// # Panics
    ///
    /// When it does not become ready, with its logs.
    #[must_use]
    pub fn start_on_small_disk(shape: Shape) -> Self {
        Self::start_on(shape, postgres::mount)
    }

    fn start_on(shape: Shape, prepare: impl FnOnce(&Path)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = Path::new(ROOT).join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        prepare(&dir);
        let mut berth = Self {
            shape,
            dir,
            process: None,
            context: PathBuf::new(),
            begun: Instant::now(),
        };
        berth.resume();
        berth
    }

    /// Starts it again on its folder.
    ///
    /// # Panics
    ///
    /// When it runs, or does not become ready.
    pub fn resume(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("dev.log"))
            .unwrap();
        // It ends even when this process is killed.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(program("berth"))
            .arg("dev")
            .arg("--data-dir")
            .arg(&self.dir)
            .args(["--listen", "127.0.0.1:0", "--images"])
            .arg(repository().join("target/images"))
            .args(["--machines", &self.shape.machines.to_string()])
            .args(["--replicas", &self.shape.replicas.to_string()])
            .arg("--bao")
            .arg(self.bao_program())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("setpriv is part of util-linux");
        let said = child.stdout.take().expect("its standard output is piped");
        self.process = Some(child);
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                // Nobody listens once it is ready.
                sender.send(line).ok();
            }
        });
        let line = lines
            .recv_timeout(READY)
            .unwrap_or_else(|_| panic!("berth dev did not become ready"));
        let context = line
            .strip_prefix("berth ready endpoint=https://127.0.0.1:")
            .and_then(|rest| rest.split_once(" context="));
        let (_, context) = context.unwrap_or_else(|| panic!("unexpected line: {line}"));
        self.context = context.into();
        self.note("ready");
    }

    /// Ends it as Ctrl-C and `kill` do, and sees that nothing is left but its
    /// folder.
    ///
    /// # Panics
    ///
    /// When it fails, does not end, or leaves something.
    #[track_caller]
    pub fn stop(&mut self) {
        let rig = self.rig_name();
        let mut child = self.process.take().expect("it runs");
        let status = ended(&mut child, END);
        if status.is_none() {
            self.process = Some(child);
            panic!("berth dev was asked to end and still runs after {END:?}");
        }
        assert!(status.is_some_and(|s| s.success()), "it ended: {status:?}");
        postgres::unmount(&self.dir);
        let left = leftovers::find(&self.dir, &rig);
        assert!(left.is_empty(), "something is left:\n{}", left.join("\n"));
        self.note("stopped");
    }

    /// Fails when a service logged an error: that would mean that a person must
    /// look, and here nothing was wrong. But they start all at once, and then
    /// one may be there before another.
    ///
    /// # Panics
    ///
    /// With those lines.
    #[track_caller]
    pub fn assert_no_errors(&self) {
        let logs = fs::read_dir(self.dir.join("logs")).unwrap();
        let mut errors = Vec::new();
        for path in logs.map(|entry| entry.unwrap().path()) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let found = text
                .lines()
                .filter(|line| line.contains(" ERROR ") && !line.contains("DEPENDENCY_DOWN"));
            errors.extend(found.map(|line| format!("{}: {line}", path.display())));
        }
        assert!(errors.is_empty(), "{}", errors.join("\n"));
    }

    /// Ends one process of a service at once, as a crash does, and waits until
    /// it was started again; `name` is that of the process, such as `leasing`
    /// or `leasing-2`.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[track_caller]
    pub fn kill(&self, name: &str) {
        let killed = self.pid(name);
        self.signal(name, Signal::SIGKILL);
        let what = format!("{name} runs again");
        eventually(&what, Duration::from_mins(1), || {
            let pid = self.pid(name);
            if pid != killed && Path::new("/proc").join(pid.to_string()).exists() {
                Ok(())
            } else {
                Err(format!("process {pid}"))
            }
        });
    }

    /// Pauses a process of a service, as a busy host does, or lets it go on.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[track_caller]
    pub fn pause(&self, name: &str, paused: bool) {
        self.signal(
            name,
            if paused {
                Signal::SIGSTOP
            } else {
                Signal::SIGCONT
            },
        );
    }

    /// What a process of a service logged until now.
    ///
    /// # Panics
    ///
    /// When it never ran.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join("logs").join(format!("{name}.log"))).unwrap()
    }

    fn pid(&self, name: &str) -> Pid {
        let path = self.dir.join("logs").join(format!("{name}.pid"));
        let text = fs::read_to_string(path).unwrap();
        // It is empty for a moment while it is written.
        Pid::from_raw(text.trim().parse().unwrap_or(-1))
    }

    #[track_caller]
    fn signal(&self, name: &str, signal: Signal) {
        let pid = self.pid(name);
        assert!(pid.as_raw() > 1, "{name} does not run");
        kill(pid, signal).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Says what was done by now; seen when the test fails, or with
    /// `--no-capture`.
    pub fn note(&self, what: &str) {
        eprintln!("{:6.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    /// Runs one of several checks in the life of one control plane, and says
    /// which it was when it fails.
    pub fn row(&self, name: &str, check: impl FnOnce(&Self)) {
        struct Row<'a>(&'a str);
        impl Drop for Row<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    eprintln!("the row that failed: {}", self.0);
                }
            }
        }
        self.note(name);
        let _row = Row(name);
        check(self);
    }

    /// The data folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The context of the client.
    #[must_use]
    pub fn context(&self) -> &Path {
        &self.context
    }

    /// Its machines and their network.
    ///
    /// # Panics
    ///
    /// When there are none.
    #[must_use]
    pub fn rig(&self) -> Rig {
        Rig::find(&self.dir.join("rig")).unwrap()
    }

    fn rig_name(&self) -> String {
        fs::read_to_string(self.dir.join("rig/name")).unwrap_or_default()
    }

    /// The OpenBao executable: where `BERTH_BAO` says, else on the search path.
    pub(crate) fn bao_program(&self) -> PathBuf {
        std::env::var_os("BERTH_BAO").map_or_else(|| "bao".into(), PathBuf::from)
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!("{}", leftovers::last_words(&self.dir));
        }
        if let Some(mut child) = self.process.take()
            && ended(&mut child, END).is_none()
        {
            child.kill().ok();
            child.wait().ok();
        }
        if failed {
            keep_logs(&self.dir);
        }
        remove(&self.dir);
    }
}

/// Asks a process to end; `None` when it does not in time.
fn ended(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let pid = Pid::from_raw(i32::try_from(child.id()).ok()?);
    // It may have ended already.
    kill(pid, Signal::SIGTERM).ok();
    within(limit, || child.try_wait().ok().flatten())
}

/// Takes down the machines of a data folder and removes it.
fn remove(dir: &Path) {
    if dir.join("rig/name").exists() {
        match Rig::find(&dir.join("rig")).and_then(Rig::down) {
            Ok(()) => {}
            Err(error) => eprintln!("{}: {error}", dir.display()),
        }
    }
    postgres::unmount(dir);
    fs::remove_dir_all(dir).ok();
}

/// What a failed test leaves to be read: `target/failed/<folder>`.
fn keep_logs(dir: &Path) {
    let kept = repository()
        .join("target/failed")
        .join(dir.file_name().unwrap_or_default());
    fs::create_dir_all(&kept).ok();
    let folders = [dir.join("logs"), dir.join("openbao"), dir.to_path_buf()];
    for entry in folders.iter().flat_map(fs::read_dir).flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            fs::copy(&path, kept.join(entry.file_name())).ok();
        }
    }
    eprintln!("the logs are in {}", kept.display());
}

/// Takes away what tests left that were killed. One process sweeps at a time.
fn sweep() {
    let root = File::open(ROOT).unwrap();
    root.lock().unwrap();
    for entry in fs::read_dir(ROOT).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'))
            .map(|(pid, _)| Path::new("/proc").join(pid));
        if owner.is_some_and(|owner| !owner.exists()) {
            remove(&entry.path());
        }
    }
}
