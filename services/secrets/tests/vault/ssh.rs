//! Certificates for SSH users, as OpenSSH itself reads them.

use std::{path::Path, process::Command, time::Duration};

use berth_secrets::Error;

use crate::harness::Server;

/// What `ssh-keygen` says, or its complaint.
fn ssh_keygen(arguments: &[&str], folder: &Path) -> String {
    let output = Command::new("ssh-keygen")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn new_key(folder: &Path, kind: &str) -> String {
    ssh_keygen(&["-q", "-t", kind, "-N", "", "-f", kind], folder);
    std::fs::read_to_string(folder.join(format!("{kind}.pub"))).unwrap()
}

#[tokio::test]
async fn a_user_may_forward_for_minutes_as_one_principal_and_nothing_else() {
    let server = Server::start().await;
    let vault = server.vault("provisioning").await;
    let folder = server.folder.path();
    let key = new_key(folder, "ed25519");
    let line = vault
        .sign_ssh_user(&key, "berth-m1", Duration::from_mins(5))
        .await
        .unwrap();
    std::fs::write(folder.join("cert.pub"), line).unwrap();
    let shown = ssh_keygen(&["-L", "-f", "cert.pub"], folder);
    let lines: Vec<_> = shown.lines().map(str::trim).collect();
    let after = |title: &str| {
        lines[lines
            .iter()
            .position(|line| line.starts_with(title))
            .unwrap()
            + 1]
    };
    assert!(
        shown.contains("ssh-ed25519-cert-v01@openssh.com user certificate"),
        "{shown}"
    );
    assert_eq!(after("Principals:"), "berth-m1", "{shown}");
    assert_eq!(after("Extensions:"), "permit-port-forwarding", "{shown}");
    assert_eq!(lines.last(), Some(&"permit-port-forwarding"), "{shown}");
    assert!(shown.contains("Critical Options: (none)"), "{shown}");

    let authority = vault.ssh_ca_public_key().await.unwrap();
    assert!(
        authority.starts_with("ssh-ed25519 ") && !authority.contains('\n'),
        "{authority}"
    );
    std::fs::write(folder.join("ca.pub"), authority).unwrap();
    let fingerprint = ssh_keygen(&["-l", "-f", "ca.pub"], folder);
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();
    assert!(
        shown.contains(fingerprint),
        "{shown} was not signed by {fingerprint}"
    );
}

#[tokio::test]
async fn a_key_a_principal_or_a_life_that_cannot_be_is_refused() {
    let server = Server::start().await;
    let vault = server.vault("provisioning").await;
    let key = new_key(server.folder.path(), "ed25519");
    let other = new_key(server.folder.path(), "ecdsa");
    let minutes = Duration::from_mins;
    for (key, principal, life) in [
        (other.as_str(), "m1", minutes(5)),
        ("ssh-ed25519 nonsense", "m1", minutes(5)),
        ("", "m1", minutes(5)),
        (&format!("{}\n{}", key.trim(), key.trim()), "m1", minutes(5)),
        (&key, "", minutes(5)),
        (&key, "m1,root", minutes(5)),
        (&key, "*", minutes(5)),
        (&key, "m1", minutes(0)),
        (&key, "m1", minutes(31)),
    ] {
        let refused = vault.sign_ssh_user(key, principal, life).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    }
}
