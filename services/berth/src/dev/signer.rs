//! The signer of `berth dev`: an executable of its own, beside this one, with a
//! database that the role it serves under does not own.

use super::postgres::Postgres;
use anyhow::{Context as _, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// The database, and the role that serves.
pub(super) const DATABASE: &str = "berth_signer";
/// The role that owns the tables.
const OWNER: &str = "berth_signer_owner";
const PROGRAM: &str = "berth-signer";

/// The signer's executable, where the others of Berth are.
pub(super) fn beside(berth: &Path) -> PathBuf {
    berth.with_file_name(PROGRAM)
}

/// Makes its database what this version needs, as an operator does before an
/// upgrade.
pub(super) async fn migrate(postgres: &Postgres) -> anyhow::Result<()> {
    let program = beside(&std::env::current_exe()?);
    if !program.exists() {
        bail!(
            "{} is missing; build it with `cargo build --bins`",
            program.display()
        );
    }
    postgres.ensure_role(DATABASE).await?;
    postgres.ensure_database(DATABASE, OWNER).await?;
    let output = Command::new(program)
        .args(["migrate", "--database-url", &postgres.url(OWNER, DATABASE)])
        .args(["--grant-to", DATABASE])
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run berth-signer")?;
    ensure!(
        output.status.success(),
        "the signer's database cannot be prepared: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
