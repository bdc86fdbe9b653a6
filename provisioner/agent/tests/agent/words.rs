//! The command line and the configuration of the program when they are none.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

const GOLDEN: &str = include_str!("../../../../images/agent/golden/agent.toml");

fn agent<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Output {
    through("", words)
}

/// What comes of words, with this on standard input.
fn through<W: Into<OsString>>(input: &str, words: impl IntoIterator<Item = W>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_berth-agent"))
        .args(words.into_iter().map(Into::into))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have read enough, or nothing, and be gone.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn said(ended: &Output) -> String {
    String::from_utf8(ended.stderr.clone()).unwrap()
}

#[test]
fn words_that_are_none_end_with_two_and_are_named() {
    let long = "x".repeat((64 << 10) + 1);
    let raw = OsString::from_vec(vec![b'a', 0xff]);
    for (words, says) in [
        (vec!["--wish".into()], "unexpected argument '--wish'"),
        (vec!["dance".into()], "unrecognized subcommand 'dance'"),
        (
            vec!["csr".into(), "more".into()],
            "unexpected argument 'more'",
        ),
        (vec!["--config".into()], "--config <FILE>"),
        (
            vec!["--config".into(), "a\u{1b}[2J".into()],
            "the value of --config holds control characters",
        ),
        (
            vec!["--config=a\u{202e}b".into()],
            "the value of --config holds control characters",
        ),
        (
            vec!["--config".into(), long.into()],
            "the value of --config is longer than 65,536 bytes",
        ),
        (vec![raw], "word 1 of the command line is not UTF-8"),
    ] {
        let ended = agent::<OsString>(words);
        let said = said(&ended);
        assert_eq!(ended.status.code(), Some(2), "{says}: {said}");
        assert!(said.contains(says) && said.len() < 1024, "{says}: {said}");
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
    }
}

#[test]
fn help_and_the_version_need_no_configuration() {
    let help = agent(["--help"]);
    assert!(help.status.success(), "{help:?}");
    let text = String::from_utf8(help.stdout).unwrap();
    for word in [
        "--config",
        "run",
        "csr",
        "install-certificate",
        "healthcheck",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let version = agent(["--version"]);
    let expected = concat!("berth-agent ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(version.stdout, expected.as_bytes());
}

#[test]
fn a_configuration_that_is_no_file_is_named_and_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("long"), "# x\n".repeat(1 << 17)).unwrap();
    std::fs::write(at("latin"), b"# caf\xe9").unwrap();
    mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
    for (path, says) in [
        (at("absent"), "No such file"),
        (at("."), "it is a folder"),
        (at("long"), "longer than 262144 bytes"),
        (at("latin"), "not UTF-8"),
        (at("pipe"), "nothing came through this pipe"),
        (
            Path::new("/dev/zero").to_owned(),
            "longer than 262144 bytes",
        ),
    ] {
        let ended = agent([OsString::from("--config"), path.clone().into()]);
        let said = said(&ended);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        let name = path.display().to_string();
        assert!(
            said.contains(&name) && said.contains(says),
            "{name}: {said}"
        );
    }
}

#[test]
fn a_configuration_may_come_through_a_pipe_with_the_same_limit() {
    let words = ["--config", "/dev/stdin", "healthcheck"];
    // It was taken: what is missing is an agent that runs.
    let ended = said(&through(GOLDEN, words));
    assert!(ended.contains("no round of probes"), "{ended}");
    let ended = said(&through(&"# x\n".repeat(1 << 17), words));
    assert!(ended.contains("longer than 262144 bytes"), "{ended}");
}
