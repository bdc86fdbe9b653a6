//! What can go wrong with a rig, each in a sentence that says what to do.

/// An error of the rig.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Namespaces, mounts and dockerd need root.
    #[error("a rig needs root: run it with sudo")]
    NotRoot,
    /// A program of the system is not installed.
    #[error("the program {program} is missing: install the Debian package {package}")]
    Missing {
        /// The program that was looked for.
        program: &'static str,
        /// The Debian package that contains it.
        package: &'static str,
    },
    /// A name that cannot be a namespace's, a directory's and a host's name.
    #[error("{name:?} is not a name: use 1 to 30 of a-z, 0-9 and '-', starting with a letter")]
    Name {
        /// The name as given.
        name: String,
    },
    /// Another rig, with its state elsewhere, has this name.
    #[error("a rig named {name} already runs with its state in {state}: choose another name")]
    Taken {
        /// The rig's name.
        name: String,
        /// Where the other rig keeps its state.
        state: String,
    },
    /// The rig has no machine of this name.
    #[error("no machine named {name}: the rig has {known}")]
    Unknown {
        /// The name as given.
        name: String,
        /// The machines that exist.
        known: String,
    },
    /// There is no folder for an image of this name.
    #[error("no image named {name}: there are {known}")]
    UnknownImage {
        /// The name as given.
        name: String,
        /// The images that exist.
        known: String,
    },
    /// All addresses of the rig's network are in use.
    #[error("the rig is full: it has addresses for 99 numbered and 100 named machines")]
    Full,
    /// The machine has no power.
    #[error("machine {name} is off: revive it first")]
    Off {
        /// The machine's name.
        name: String,
    },
    /// A machine did not come up.
    #[error("machine {name} did not come up; the end of its log:\n{log}")]
    Boot {
        /// The machine's name.
        name: String,
        /// What it said last.
        log: String,
    },
    /// Something did not happen in time.
    #[error("{what} took longer than {seconds} s")]
    Late {
        /// What was awaited.
        what: String,
        /// How long it was awaited.
        seconds: u64,
    },
    /// A command failed.
    #[error("{command} failed ({status}): {said}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it wrote to standard error.
        said: String,
    },
    /// A file or a process could not be reached.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Something that was read is not what it should be.
    #[error("{what} is not understood: {problem}")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The result of a rig's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says what was tried when an operating system call fails.
pub(crate) trait Context<T> {
    /// Names the attempt.
    fn during(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for std::io::Result<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io {
            what: what(),
            source,
        })
    }
}
