//! Building the images that tests and the demo deploy, on a machine of a temporary rig: the computer's own Docker
//! is never touched. Each image becomes an OCI image layout in a directory.
//!
//! An image is a folder with a `Dockerfile` and a `prepare.sh`, which fills the build context: containers of the
//! rig reach no network. `FROM berth/NAME` names another folder. What is up to date is not built again: a layout
//! keeps the hash of what its image was made of.

mod layout;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::error::Context;
use crate::{Error, Machine, Result, TemporaryRig, shell};

/// Where images are built from and to.
#[derive(Clone, Debug)]
pub struct ImageDirs {
    /// The folder of the image folders.
    pub sources: PathBuf,
    /// The folder in which each image gets a folder with its OCI layout.
    pub out: PathBuf,
    /// What is downloaded is kept here.
    pub cache: PathBuf,
    /// Where cargo puts its executables.
    pub bin: PathBuf,
}

/// An image that is up to date.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name of its folder.
    pub name: String,
    /// The digest of its manifest: `sha256:…`.
    pub digest: String,
    /// Its OCI layout.
    pub layout: PathBuf,
    /// Whether this call built it.
    pub built: bool,
}

/// Sees to it that images are up to date: those named, or all, and what they stand on.
pub fn build(dirs: &ImageDirs, names: &[String], say: &dyn Fn(&str)) -> Result<Vec<Image>> {
    for dir in [&dirs.out, &dirs.cache] {
        fs::create_dir_all(dir).during(|| format!("create {}", dir.display()))?;
    }
    let absolute = |dir: &Path| {
        dir.canonicalize()
            .during(|| format!("open {}", dir.display()))
    };
    let dirs = ImageDirs {
        sources: absolute(&dirs.sources)?,
        out: absolute(&dirs.out)?,
        cache: absolute(&dirs.cache)?,
        bin: dirs.bin.canonicalize().unwrap_or_else(|_| dirs.bin.clone()),
    };
    let lock = File::open(&dirs.out).during(|| format!("open {}", dirs.out.display()))?;
    lock.lock()
        .during(|| format!("lock {}", dirs.out.display()))?;
    let all = folders(&dirs.sources)?;
    let mut builder = Builder {
        dirs: &dirs,
        all: &all,
        say,
        rig: None,
        images: BTreeMap::new(),
    };
    let wanted = if names.is_empty() { &all } else { names };
    for name in wanted {
        builder.ensure(name)?;
    }
    let images = builder
        .images
        .into_values()
        .map(|(_, image)| image)
        .collect();
    for dir in [&dirs.out, &dirs.cache] {
        give_to_owner_of(&dirs.sources, dir)?;
    }
    Ok(images)
}

/// Loads an image from its layout into a machine's engine, as `berth/NAME`.
pub fn load(machine: &Machine, layout: &Path) -> Result<()> {
    let layout = layout
        .canonicalize()
        .during(|| format!("open the image {}", layout.display()))?;
    let mut docker = machine.command("docker")?;
    docker.args(["load", "--quiet"]);
    shell::pipe(
        shell::command("tar")
            .arg("-C")
            .arg(layout)
            .args(["-c", "."]),
        &mut docker,
    )
}

/// The folders that hold an image.
fn folders(sources: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(sources).during(|| format!("list {}", sources.display()))?;
    let dirs = entries
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.path().join("Dockerfile").is_file());
    let mut names: Vec<String> = dirs
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

struct Builder<'a> {
    dirs: &'a ImageDirs,
    all: &'a [String],
    say: &'a dyn Fn(&str),
    rig: Option<(TemporaryRig, Machine)>,
    /// What is up to date by now, with the hash of what it was made of.
    images: BTreeMap<String, (String, Image)>,
}

impl Builder<'_> {
    /// Brings one image up to date and returns the hash of what it is made of.
    fn ensure(&mut self, name: &str) -> Result<String> {
        if let Some((inputs, _)) = self.images.get(name) {
            return Ok(inputs.clone());
        }
        if !self.all.iter().any(|known| known == name) {
            return Err(Error::UnknownImage {
                name: name.into(),
                known: self.all.join(", "),
            });
        }
        let parent = self.parent(name)?;
        let below = parent
            .as_deref()
            .map(|parent| self.ensure(parent))
            .transpose()?;
        let inputs = self.inputs(name, below.as_deref())?;
        let layout = self.dirs.out.join(name);
        let present = layout::read(&layout).filter(|present| present.inputs == inputs);
        let built = present.is_none();
        let digest = match present {
            Some(present) => present.digest,
            None => self.build(name, parent.as_deref(), &inputs)?,
        };
        let image = Image {
            name: name.into(),
            digest,
            layout,
            built,
        };
        self.images.insert(name.into(), (inputs.clone(), image));
        Ok(inputs)
    }

    /// The image of ours that this one stands on.
    fn parent(&self, name: &str) -> Result<Option<String>> {
        let path = self.dirs.sources.join(name).join("Dockerfile");
        let text = fs::read_to_string(&path).during(|| format!("read {}", path.display()))?;
        let parent = text
            .lines()
            .find_map(|line| line.strip_prefix("FROM berth/"));
        Ok(parent.map(|parent| parent.trim().to_owned()))
    }

    fn inputs(&self, name: &str, parent: Option<&str>) -> Result<String> {
        let mut hash = Sha256::new();
        for path in self.files(name)? {
            let content = fs::read(&path).during(|| format!("read {}", path.display()))?;
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            hash.update(format!("{file} {}\n", content.len()));
            hash.update(content);
        }
        hash.update(shell::run(self.prepare(name).arg("inputs"))?);
        hash.update(parent.unwrap_or_default());
        Ok(hex::encode(hash.finalize()))
    }

    /// The files of an image's folder that go into its build context. The catalogue entry is not one of them.
    fn files(&self, name: &str) -> Result<Vec<PathBuf>> {
        let dir = self.dirs.sources.join(name);
        let entries = fs::read_dir(&dir).during(|| format!("list {}", dir.display()))?;
        let paths = entries
            .filter_map(|entry| entry.ok())
            .map(|entry| entry.path());
        let catalogue = |path: &Path| path.extension().is_some_and(|e| e == "toml" || e == "md");
        let mut paths: Vec<PathBuf> = paths
            .filter(|path| path.is_file() && !catalogue(path))
            .collect();
        paths.sort();
        Ok(paths)
    }

    /// The folder's own script, with the caller's environment: it may need a proxy.
    fn prepare(&self, name: &str) -> Command {
        let mut command = Command::new("bash");
        command.arg(self.dirs.sources.join(name).join("prepare.sh"));
        command
            .env("CACHE_DIR", &self.dirs.cache)
            .env("BIN_DIR", &self.dirs.bin)
            .stderr(Stdio::inherit());
        command
    }

    fn build(&mut self, name: &str, parent: Option<&str>, inputs: &str) -> Result<String> {
        (self.say)(&format!("building the image {name}"));
        let context = Scratch::new(&self.dirs.cache.join(format!("context-{name}")))?;
        for path in self.files(name)? {
            let to = context.0.join(path.file_name().unwrap_or_default());
            fs::copy(&path, &to).during(|| format!("copy {}", path.display()))?;
        }
        shell::run(self.prepare(name).arg("context").arg(&context.0))?;
        let machine = self.machine()?;
        let tag = format!("berth/{name}");
        if let Some(parent) = parent
            && !machine
                .exec(&["docker", "image", "inspect", &format!("berth/{parent}")])?
                .status
                .success()
        {
            load(&machine, &self.dirs.out.join(parent))?;
        }
        let mut docker = machine.command("docker")?;
        docker.env("DOCKER_BUILDKIT", "0").args([
            "build",
            "--quiet",
            "--network",
            "none",
            "--tag",
            &tag,
            "-",
        ]);
        shell::pipe(
            shell::command("tar")
                .arg("-C")
                .arg(&context.0)
                .args(["-c", "."]),
            &mut docker,
        )?;
        drop(context);

        let archive = Scratch::new(&self.dirs.out.join(format!(".{name}.archive")))?;
        let mut save = machine.command("docker")?;
        shell::pipe(
            save.args(["save", &tag]),
            shell::command("tar").arg("-C").arg(&archive.0).arg("-x"),
        )?;
        layout::write(&archive.0, &self.dirs.out, name, inputs)
    }

    /// The machine on which images are built, started when the first one needs it.
    fn machine(&mut self) -> Result<Machine> {
        if let Some((_, machine)) = &self.rig {
            return Ok(machine.clone());
        }
        let rig = TemporaryRig::open()?;
        let machine = rig.add("builder")?;
        self.rig = Some((rig, machine.clone()));
        Ok(machine)
    }
}

/// A directory that is emptied before and removed after its use.
struct Scratch(PathBuf);

impl Scratch {
    fn new(path: &Path) -> Result<Self> {
        if path.exists() {
            fs::remove_dir_all(path).during(|| format!("remove {}", path.display()))?;
        }
        fs::create_dir_all(path).during(|| format!("create {}", path.display()))?;
        Ok(Self(path.into()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// Files made with sudo belong to whoever owns the checkout, who can then remove them.
fn give_to_owner_of(model: &Path, path: &Path) -> Result<()> {
    let owner = fs::metadata(model).during(|| format!("open {}", model.display()))?;
    if owner.uid() == 0 {
        return Ok(());
    }
    lchown(path, Some(owner.uid()), Some(owner.gid()))
        .during(|| format!("give away {}", path.display()))?;
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).during(|| format!("list {}", path.display()))? {
            give_to_owner_of(
                model,
                &entry.during(|| format!("list {}", path.display()))?.path(),
            )?;
        }
    }
    Ok(())
}
