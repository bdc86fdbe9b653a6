//! Keeps the keys of this process out of files and of other processes.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// No core files, and nobody but root reads this process's memory. Called
/// first in `main`.
///
/// # Errors
///
/// What the kernel says; the process must not go on then.
pub fn no_dumps() -> Result<(), Errno> {
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}
