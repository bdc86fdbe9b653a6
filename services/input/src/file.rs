//! Files that somebody names, read to a limit. Whatever else a name leads to is
//! told apart: a folder, a pipe that nobody writes into, a device without an end.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The text of a file, which may be a pipe.
///
/// # Errors
///
/// Those of [`bytes`], and [`ErrorKind::InvalidData`] when it is not UTF-8.
pub fn text(path: &Path, most: usize) -> Result<String> {
    String::from_utf8(bytes(path, most)?).map_err(|_| {
        let problem = "it is not UTF-8, as text must be; is it the right file?";
        Error::new(ErrorKind::InvalidData, problem)
    })
}

/// What is in a file, which may be a pipe.
///
/// # Errors
///
/// What the system says; [`ErrorKind::IsADirectory`] for a folder,
/// [`ErrorKind::FileTooLarge`] when it is longer, [`ErrorKind::UnexpectedEof`] for a
/// pipe without a writer. None names the file, which the caller does.
pub fn bytes(path: &Path, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    append(path, most, &mut bytes)?;
    Ok(bytes)
}

/// Adds what is in a file to a buffer, which does not move when there is room in it
/// for one byte more than may be: so no copy of a secret is left behind.
///
/// # Errors
///
/// Those of [`bytes`].
pub fn append(path: &Path, most: usize, buffer: &mut Vec<u8>) -> Result<()> {
    // Or it waits at a pipe until somebody writes.
    let file = File::options()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        let problem = "it is a folder; name a file";
        return Err(Error::new(ErrorKind::IsADirectory, problem));
    }
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    let before = buffer.len();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(buffer)?;
    let length = buffer.len() - before;
    if length > most {
        let problem = format!("it is longer than {most} bytes; is it the right file?");
        return Err(Error::new(ErrorKind::FileTooLarge, problem));
    }
    if length == 0 && kind.is_fifo() {
        let problem = "nothing came through this pipe; start what writes into it first";
        return Err(Error::new(ErrorKind::UnexpectedEof, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::{gettid, mkfifo};
    use std::fs::DirEntry;
    use std::io::Write as _;
    use std::sync::mpsc::channel;

    #[test]
    fn a_file_is_read_to_its_limit_and_no_further() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for (content, most, length) in [("", 0, Some(0)), ("abc", 3, Some(3)), ("abc", 2, None)] {
            std::fs::write(&path, content).unwrap();
            let read = text(&path, most).map_err(|error| error.kind());
            match length {
                Some(length) => assert_eq!(read.unwrap().len(), length),
                None => assert_eq!(read, Err(ErrorKind::FileTooLarge)),
            }
        }
    }

    #[test]
    fn what_is_no_file_with_text_is_told_apart_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        std::fs::write(at("latin"), b"caf\xe9").unwrap();
        for (path, kind, says) in [
            (at("absent"), ErrorKind::NotFound, "No such file"),
            (at(""), ErrorKind::IsADirectory, "name a file"),
            ("/dev/zero".into(), ErrorKind::FileTooLarge, "than 64 bytes"),
            (at("latin"), ErrorKind::InvalidData, "not UTF-8"),
            (at("pipe"), ErrorKind::UnexpectedEof, "writes into it first"),
        ] {
            let error = text(&path, 64).unwrap_err();
            assert_eq!(error.kind(), kind, "{}: {error}", path.display());
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_pipe_is_read_to_its_end_however_slowly_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        // Opened for both, it waits for nobody.
        let mut writer = File::options().read(true).write(true).open(&path).unwrap();
        let (tell, told) = channel();
        std::thread::scope(|scope| {
            let read = scope.spawn(|| {
                tell.send(gettid()).unwrap();
                text(&path, 64)
            });
            let stat = format!("/proc/self/task/{}/stat", told.recv().unwrap());
            let sleeps = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") S "));
            let opened = || {
                let files = std::fs::read_dir("/proc/self/fd").unwrap();
                let leads = |file: Result<DirEntry>| std::fs::read_link(file?.path());
                files
                    .map(leads)
                    .filter(|to| matches!(to, Ok(to) if *to == path))
                    .count()
            };
            while !(read.is_finished() || opened() == 2 && sleeps()) {
                std::thread::yield_now();
            }
            writer.write_all(b"late").unwrap();
            drop(writer);
            assert_eq!(read.join().unwrap().unwrap(), "late");
        });
    }

    #[test]
    fn a_buffer_with_room_for_what_may_be_does_not_move() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for length in [0, 1, 64, 65] {
            std::fs::write(&path, "x".repeat(length)).unwrap();
            let mut buffer = Vec::with_capacity(65);
            let place = buffer.as_ptr();
            assert_eq!(append(&path, 64, &mut buffer).is_ok(), length <= 64);
            assert_eq!((buffer.as_ptr(), buffer.capacity()), (place, 65));
        }
    }
}
