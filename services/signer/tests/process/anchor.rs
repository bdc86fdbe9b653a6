//! Databases that went back, lost something or came from elsewhere: nothing is
//! signed on them.

use crate::eventually::eventually;
use crate::ledger::Ledger;
use crate::postgres::{ADMIN, DATABASE, OWNER, SERVING};
use crate::signer::{Running, Site, said, signer};
use crate::vault::Server;
use berth_runtime::pg::DatabaseConfig;
use berth_signer::anchor::Anchor;
use berth_signer::domain::refusal::Reason;
use berth_signer::store::{checks, seals};
use berth_signer::withdrawals::Withdrawn;
use nix::sys::signal::Signal;
use std::fs;
use std::sync::Arc;

/// Far above what can be signed now.
const FAR: i64 = 1_000_000_000_000;

const ANCHORED: &str = r#""id":"clock-and-anchor-check","status":"UP""#;
const NOT_ANCHORED: &str = r#""reason":"NOT_ANCHORED""#;

async fn end(mut running: Running) {
    running.signal(Signal::SIGTERM);
    running.ended().await;
}

#[tokio::test]
async fn a_restored_database_signs_nothing_until_it_is_reanchored_which_only_raises() {
    let site = Site::start().await;
    let running = site.serve().await;
    site.eventually_says(ANCHORED).await;
    let ledger = Ledger::open(&site).await;
    let (ours, imported) = (ledger.validator(1).await, ledger.validator(2).await);
    let raise = format!(
        "update validator set block_slot = {FAR} where {}",
        imported.row()
    );
    site.postgres.sql(DATABASE, &raise).await;
    ledger.sign(ours.block(10, 1)).await.unwrap();
    site.anchored_at(1).await;
    end(running).await;
    ledger.close().await;

    // A backup, then a block more, then the backup again.
    let backup = format!("create database backup template {DATABASE} owner {OWNER}");
    site.postgres.sql("postgres", &backup).await;
    let running = site.serve().await;
    site.eventually_says(ANCHORED).await;
    let ledger = Ledger::open(&site).await;
    ledger.sign(ours.block(11, 1)).await.unwrap();
    site.anchored_at(2).await;
    end(running).await;
    ledger.close().await;
    let drop = format!("drop database {DATABASE}");
    site.postgres.sql("postgres", &drop).await;
    let rename = format!("alter database backup rename to {DATABASE}");
    site.postgres.sql("postgres", &rename).await;

    let running = site.serve().await;
    site.eventually_says(NOT_ANCHORED).await;
    running.says("the database is older than its anchor").await;
    let config = site.config(SERVING);
    let config = config.to_str().unwrap();
    let dry = said(
        &signer(&["reanchor", "--dry-run", "--config", config])
            .output()
            .unwrap(),
    );
    assert!(
        dry.contains("older than its anchor") && dry.contains("would raise 2 validators"),
        "{dry}"
    );
    site.eventually_says(NOT_ANCHORED).await;
    assert_eq!(site.postgres.psql(ADMIN, &ours.watermark()).trim(), "10");

    let done = said(&signer(&["reanchor", "--config", config]).output().unwrap());
    assert!(done.contains("raised 2 validators of devnet"), "{done}");
    site.eventually_says(ANCHORED).await;
    let raised: i64 = site
        .postgres
        .psql(ADMIN, &ours.watermark())
        .trim()
        .parse()
        .unwrap();
    assert!((100_000_000..FAR).contains(&raised), "{raised}");
    assert_eq!(
        site.postgres.psql(ADMIN, &imported.watermark()).trim(),
        FAR.to_string()
    );
    let ledger = Ledger::open(&site).await;
    // What was signed and forgotten is refused, the very same too.
    for (slot, root) in [(10, 1), (11, 1), (11, 2), (12, 1)] {
        ledger.sign(ours.block(slot, root)).await.unwrap_err();
    }
    ledger
        .sign(ours.block(raised.unsigned_abs() + 1, 1))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_database_that_lost_records_signs_nothing() {
    let site = Site::start().await;
    let vault = site.vault.login("signer").await;
    let ledger = Ledger::open(&site).await;
    let anchor = ledger.anchor(&vault).await;
    let ours = ledger.validator(1).await;
    ledger.sign(ours.block(10, 1)).await.unwrap();
    ledger.sign(ours.block(11, 1)).await.unwrap();
    ledger.sealed(&anchor).await;
    anchor.check().unwrap();

    // The row alone went back: the history knows better.
    let before = "set session_replication_role = replica;";
    let row = format!("{before} update validator set block_slot = 10");
    site.postgres.sql(DATABASE, &row).await;
    let refusal = ledger.anchor(&vault).await.check().unwrap_err();
    assert!(
        refusal.detail.contains("1 validators signed more"),
        "{refusal}"
    );

    // Row and history went back: the seals know better.
    let history = format!("{before} delete from signature where slot = 11");
    site.postgres.sql(DATABASE, &history).await;
    let refusal = ledger.anchor(&vault).await.check().unwrap_err();
    assert!(
        refusal.detail.contains("the history is not what seal"),
        "{refusal}"
    );

    // All three went back: the anchor knows better.
    let seals = format!("{before} delete from seal where sequence > 0");
    site.postgres.sql(DATABASE, &seals).await;
    let refusal = ledger.anchor(&vault).await.check().unwrap_err();
    assert!(
        refusal.detail.contains("older than its anchor"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_database_put_back_under_a_running_signer_is_noticed_without_vault() {
    let site = Site::start().await;
    let vault = site.vault.hasty("signer").await;
    let ledger = Ledger::open(&site).await;
    let anchor = Arc::new(ledger.anchor(&vault).await);
    let ours = ledger.validator(1).await;
    ledger.sign(ours.block(10, 1)).await.unwrap();
    ledger.sealed(&anchor).await;
    let connected = async || {
        let known = Arc::clone(&anchor);
        let config = DatabaseConfig {
            url: site.postgres.url(SERVING, DATABASE).into(),
            max_connections: 1,
        };
        let permits = move |lineage: &_| known.permits(lineage);
        let pool = checks::signing_pool(&config, 1, permits).unwrap();
        pool.acquire().await.map(drop)
    };
    connected().await.unwrap();

    // Vault goes away, a block is sealed that it never hears of, and all of that
    // is undone.
    site.vault.pause();
    ledger.sign(ours.block(11, 1)).await.unwrap();
    eventually("the block is sealed", async || {
        anchor.look(&ledger.db).await.unwrap_err();
        let seals = "select count(*) from seal where sequence > 1";
        (site.postgres.psql(ADMIN, seals).trim() == "1").then_some(())
    })
    .await;
    anchor.look(&ledger.db).await.unwrap_err();
    let undo = "set session_replication_role = replica;
                update validator set block_slot = 10;
                delete from signature where slot = 11;
                delete from seal where sequence > 1";
    site.postgres.sql(DATABASE, undo).await;

    connected().await.unwrap_err();
    anchor.look(&ledger.db).await.unwrap();
    let refusal = anchor.check().unwrap_err();
    assert!(refusal.detail.contains(seals::UNDONE), "{refusal}");
    // That Vault knows of nothing later changes nothing.
    site.vault.resume();
    anchor.look(&ledger.db).await.unwrap();
    anchor.check().unwrap_err();
    eventually("Vault answers", async || {
        anchor.anew(&ledger.db, &[], &Withdrawn::new()).await.ok()
    })
    .await;
    eventually("it may be signed on", async || {
        anchor.look(&ledger.db).await.ok()?;
        anchor.check().ok()
    })
    .await;
    connected().await.unwrap();
}

#[tokio::test]
async fn another_database_is_not_taken_for_the_one_that_signed() {
    let site = Site::start().await;
    let vault = site.vault.login("signer").await;
    let ledger = Ledger::open(&site).await;
    let first = ledger.anchor(&vault).await;
    first.check().unwrap();
    ledger.validator(1).await;

    // A Vault that knows nothing of this database.
    let elsewhere = Server::start().await;
    let refusal = ledger
        .anchor(&elsewhere.login("signer").await)
        .await
        .check()
        .unwrap_err();
    assert!(refusal.detail.contains("Vault has no anchor"), "{refusal}");

    // A database that knows nothing of what was signed.
    ledger.close().await;
    let aside = format!("alter database {DATABASE} rename to aside");
    site.postgres.sql("postgres", &aside).await;
    let new = format!("create database {DATABASE} owner {OWNER}");
    site.postgres.sql("postgres", &new).await;
    site.migrate();
    let ledger = Ledger::open(&site).await;
    let refusal = ledger.anchor(&vault).await.check().unwrap_err();
    assert!(refusal.detail.contains("is of database"), "{refusal}");
}

#[tokio::test]
async fn a_promoted_server_is_noticed_by_a_signer_that_runs() {
    let mut site = Site::start().await;
    let running = site.serve().await;
    site.eventually_says(ANCHORED).await;
    site.postgres.stop();
    fs::write(site.postgres.data().join("recovery.signal"), "").unwrap();
    site.postgres.run(&["restore_command=false"]).await;
    site.eventually_says(NOT_ANCHORED).await;
    running.says("00000002").await;

    let config = site.config(SERVING);
    let done = said(
        &signer(&["reanchor", "--config", config.to_str().unwrap()])
            .output()
            .unwrap(),
    );
    assert!(done.contains("the database is anchored"), "{done}");
    site.eventually_says(ANCHORED).await;
}

#[tokio::test]
async fn of_two_copies_of_a_database_one_signs() {
    let site = Site::start().await;
    let vault = site.vault.login("signer").await;
    let ledger = Ledger::open(&site).await;
    let anchor = ledger.anchor(&vault).await;
    let ours = ledger.validator(1).await;
    ledger.sign(ours.block(1, 1)).await.unwrap();
    ledger.sealed(&anchor).await;
    ledger.close().await;
    let copy = format!("create database copy template {DATABASE} owner {OWNER}");
    site.postgres.sql("postgres", &copy).await;

    let ledger = Ledger::open(&site).await;
    let copy = Ledger::of(&site, "copy").await;
    let (one, other) = tokio::join!(ledger.anchor(&vault), copy.anchor(&vault));
    // Nothing tells them apart until one of them signs.
    one.check().and(other.check()).unwrap();
    ledger.sign(ours.block(2, 1)).await.unwrap();
    ledger.sealed(&one).await;
    one.check().unwrap();
    other.look(&copy.db).await.unwrap();
    let refusal = other.check().unwrap_err();
    assert!(
        refusal.detail.contains("older than its anchor"),
        "{refusal}"
    );
    // Nor does signing help it.
    copy.sign(ours.block(3, 1)).await.unwrap();
    other.look(&copy.db).await.unwrap();
    other.check().unwrap_err();
    one.look(&ledger.db).await.unwrap();
    one.check().unwrap();
}

#[tokio::test]
async fn replicas_share_one_anchor() {
    let site = Site::start().await;
    let vault = site.vault.login("signer").await;
    let ledger = Ledger::open(&site).await;
    let (one, two) = tokio::join!(ledger.anchor(&vault), ledger.anchor(&vault));
    // The second may have met the first while it made the anchor.
    two.look(&ledger.db).await.unwrap();
    let ours = ledger.validator(1).await;
    for slot in 1..=20 {
        ledger.sign(ours.block(slot, 1)).await.unwrap();
        let (first, second) = tokio::join!(one.look(&ledger.db), two.look(&ledger.db));
        first.unwrap();
        second.unwrap();
        one.check().and(two.check()).unwrap();
    }
    ledger.sealed(&two).await;
    one.check().and(two.check()).unwrap();
}

#[tokio::test]
async fn a_signer_signs_on_while_vault_is_away_and_none_starts() {
    let site = Site::start().await;
    let vault = site.vault.hasty("signer").await;
    let ledger = Ledger::open(&site).await;
    let anchor = ledger.anchor(&vault).await;
    let ours = ledger.validator(1).await;

    site.vault.pause();
    ledger.sign(ours.block(1, 1)).await.unwrap();
    anchor.look(&ledger.db).await.unwrap_err();
    anchor.check().unwrap();
    // One that starts now cannot know.
    let new = Anchor::new(vault.clone());
    new.look(&ledger.db).await.unwrap_err();
    assert_eq!(new.check().unwrap_err().reason, Reason::NotAnchored);

    site.vault.resume();
    ledger.sealed(&anchor).await;
    anchor.check().unwrap();
}
