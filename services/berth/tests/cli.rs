//! The executable as scripts use it, without a control plane: exit codes, help
//! and what it prints by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot run must fail")]

use std::process::{Command, Output};

/// Runs `berth` with nothing of the caller's surroundings.
fn berth(words: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(words)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_exit_code_tells_scripts_what_to_do() {
    let nowhere = [
        ("BERTH_ENDPOINT", "https://127.0.0.1:1"),
        ("BERTH_TOKEN", "berth_admin_0"),
    ];
    for (code, words, says) in [
        (1, &["node", "list"][..], "BERTH_ENDPOINT"),
        (2, &["node", "launch"], "--chain"),
        (2, &["wish"], "unrecognized"),
    ] {
        let ended = berth(words, &[]);
        assert_eq!(ended.status.code(), Some(code), "{words:?}");
        assert!(text(&ended.stderr).contains(says), "{ended:?}");
    }
    let ended = berth(&["node", "list"], &nowhere);
    assert_eq!(ended.status.code(), Some(7));
    assert!(text(&ended.stderr).contains("not reachable"), "{ended:?}");
    assert!(ended.stdout.is_empty(), "what programs read stays empty");
}

#[test]
fn help_never_shows_the_token() {
    let secret = [("BERTH_TOKEN", "berth_admin_sesame")];
    for words in [&["--help"][..], &["node", "launch", "--help"]] {
        let help = berth(words, &secret);
        assert!(help.status.success());
        assert!(text(&help.stdout).contains("BERTH_TOKEN"));
        assert!(!text(&help.stdout).contains("sesame"));
    }
}

#[test]
fn the_printed_defaults_are_a_whole_configuration() {
    let printed = berth(&["serve", "--print-config"], &[]);
    let config: toml::Table = text(&printed.stdout).parse().unwrap();
    for role in [
        "inventory",
        "leasing",
        "provisioning",
        "monitoring",
        "gateway",
    ] {
        assert!(config[role].get("listen").is_some(), "{role}");
        assert!(config[role].get("database").is_some(), "{role}");
    }
}

#[test]
fn every_shell_gets_its_completion() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = berth(&["completion", shell], &[]);
        assert!(script.status.success(), "{shell}");
        assert!(text(&script.stdout).contains("launch"), "{shell}");
    }
}
