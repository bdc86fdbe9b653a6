//! The executable as scripts use it, without a control plane: exit codes, help
//! and what it prints by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot run must fail")]

use std::process::{Command, Output};

/// A gateway where nobody answers.
const NOWHERE: [(&str, &str); 2] = [
    ("BERTH_ENDPOINT", "https://127.0.0.1:1"),
    ("BERTH_TOKEN", "berth_admin_0"),
];

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
    for (code, words, says) in [
        (1, &["node", "list"][..], "BERTH_ENDPOINT"),
        (2, &["node", "launch"], "--chain"),
        (2, &["wish"], "unrecognized"),
    ] {
        let ended = berth(words, &[]);
        assert_eq!(ended.status.code(), Some(code), "{words:?}");
        assert!(text(&ended.stderr).contains(says), "{ended:?}");
    }
    let ended = berth(&["node", "list"], &NOWHERE);
    assert_eq!(ended.status.code(), Some(7));
    assert!(text(&ended.stderr).contains("not reachable"), "{ended:?}");
    assert!(ended.stdout.is_empty(), "what programs read stays empty");
}

#[test]
fn a_validator_is_not_launched_without_a_fee_recipient_and_keys() {
    const FEES: &str = "0x52908400098527886E0F7030069857D2E4169EE7";
    let wish = "node launch --chain c --name v --max-price 1.00";
    let key = "ab".repeat(48);
    for (more, says) in [
        ("--role validator --generate 1", "--fee-recipient"),
        (
            "--role validator --fee-recipient 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAee",
            "mistyped",
        ),
        (
            &format!("--role validator --fee-recipient {FEES} --generate 1"),
            "--withdrawal-address",
        ),
        (
            &format!("--role validator --fee-recipient {FEES} --keys keys"),
            "--password-file",
        ),
        (
            &format!("--role validator --fee-recipient {FEES}"),
            "a validator needs keys",
        ),
        (
            &format!("--role validator --fee-recipient {FEES} --validator {key} --fresh"),
            "go with --keys",
        ),
        (
            &format!("--role full --fee-recipient {FEES}"),
            "are for --role validator",
        ),
    ] {
        let words: Vec<_> = wish.split(' ').chain(more.split(' ')).collect();
        let ended = berth(&words, &NOWHERE);
        assert_eq!(ended.status.code(), Some(2), "{more}: {ended:?}");
        assert!(text(&ended.stderr).contains(says), "{more}: {ended:?}");
    }
}

#[test]
fn keystores_are_looked_at_without_a_control_plane() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let key = "ab".repeat(48);
    file(
        "a.json",
        &format!(r#"{{"crypto": {{}}, "pubkey": "{key}"}}"#),
    );
    file("deposit_data-1.json", "[]");
    let folder = dir.path().to_str().unwrap();
    let password = dir.path().join("password");
    let password = password.to_str().unwrap();
    let words = [
        "key",
        "import",
        folder,
        "--password-file",
        password,
        "--chain",
        "c",
        "--dry-run",
    ];
    let ended = berth(&words, &[]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(
        text(&ended.stderr).contains("cannot read the password"),
        "{ended:?}"
    );

    file("password", "sesame");
    let ended = berth(&words, &[]);
    assert!(ended.status.success(), "{ended:?}");
    assert!(
        text(&ended.stdout).contains(&format!("0x{key}")),
        "{ended:?}"
    );
    for says in ["Passed over", "deposit_data-1.json", "QUARANTINED"] {
        assert!(text(&ended.stderr).contains(says), "{says}: {ended:?}");
    }
    assert!(!format!("{ended:?}").contains("sesame"));
}

/// Commands that read a file, with FILE where it is named, and what is said of text
/// that is not UTF-8.
const READERS: &[(&str, &str)] = &[
    ("serve leasing --config FILE", "not UTF-8"),
    ("node list --context FILE", "not UTF-8"),
    ("node list --ca-file FILE", "holds no certificate"),
    ("chain check FILE", "not UTF-8"),
    ("chain pin FILE --dry-run", "not UTF-8"),
    (
        "vault check --address https://127.0.0.1:1 --token-file FILE",
        "not UTF-8",
    ),
    (
        "vault check --address https://127.0.0.1:1 --token t --ca-file FILE",
        "not UTF-8",
    ),
    (
        "key import KEYS --chain c --dry-run --password-file FILE",
        "not UTF-8",
    ),
    (
        "key import KEYS --chain c --dry-run --password-file PASSWORD --protection FILE",
        "not an interchange",
    ),
];

#[test]
fn what_is_no_file_is_told_by_its_name_and_never_read_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("latin"), b"caf\xe9").unwrap();
    std::fs::write(at("password"), "sesame").unwrap();
    let keystore = format!(r#"{{"crypto": {{}}, "pubkey": "{}"}}"#, "ab".repeat(48));
    std::fs::write(at("keystore.json"), keystore).unwrap();
    let pipe = Command::new("mkfifo").arg(at("pipe")).status().unwrap();
    assert!(pipe.success());
    for (reader, strange) in READERS {
        for (file, says) in [
            (at("absent"), &["No such file", "there is no file"][..]),
            (at("."), &["a folder", "keystore.txt is not there"]),
            (at("latin"), &[strange]),
            (at("pipe"), &["nothing came through this pipe"]),
            ("/dev/zero".to_owned(), &["longer than"]),
        ] {
            let line = reader
                .replace("FILE", &file)
                .replace("KEYS", &at("keystore.json"))
                .replace("PASSWORD", &at("password"));
            let words: Vec<&str> = line.split(' ').collect();
            let ended = berth(&words, &NOWHERE);
            let said = format!("{}{}", text(&ended.stdout), text(&ended.stderr));
            assert_eq!(ended.status.code(), Some(1), "{line}: {said}");
            assert!(said.contains(&file), "{line}: {said}");
            let told = says.iter().any(|word| said.contains(word));
            assert!(told, "{line}: {said}");
        }
    }
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
