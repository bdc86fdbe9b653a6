//! The look at the record that follows each crash is known to bite: where
//! commits are not awaited, it finds that some were lost.

use crate::crash::random;
use crate::eventually::eventually;
use crate::ledger::Ledger;
use crate::postgres::{DATABASE, SERVING};
use crate::record::{Entry, Record};
use crate::signer::Site;
use berth_signer::domain::Claim;
use berth_signer::store::decide::decide;
use futures::future::join_all;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::cell::Cell;
use std::time::Duration;

/// Signs on and on with one key, as long as there is a database. Returns what
/// was acknowledged, and counts it.
async fn acknowledged(db: PgPool, count: &Cell<u64>, claim: impl Fn(u64) -> Claim) -> Vec<Entry> {
    let mut told = Vec::new();
    for slot in 1.. {
        let claim = claim(slot);
        let Ok(verdicts) = decide(&db, &[claim]).await else {
            break;
        };
        verdicts.into_iter().next().unwrap().unwrap();
        told.push(Entry::new(claim.public_key, claim.message, claim.root));
        count.set(count.get() + 1);
    }
    told
}

#[tokio::test]
async fn without_synchronous_commits_the_same_look_finds_that_some_are_lost() {
    let mut site = Site::start().await;
    let ledger = Ledger::open(&site).await;
    let mut validators = Vec::new();
    for number in 1..=8 {
        validators.push(ledger.validator(number).await);
    }
    ledger.close().await;
    let url = site.postgres.url(SERVING, DATABASE);
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.options([("synchronous_commit", "off")]);
    let mut slots = 0;
    let mut told = Vec::new();
    for attempt in 1..=20 {
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(5));
        let db = pool.connect_with(options.clone()).await.unwrap();
        let (count, enough) = (Cell::new(0), 100 + random(400));
        let crash = async {
            let reached = async || (count.get() >= enough).then_some(());
            eventually("enough is acknowledged", reached).await;
            site.postgres.crash().await;
        };
        let asking = validators.iter().map(|validator| {
            let first = slots;
            acknowledged(db.clone(), &count, move |slot| {
                validator.block(first + slot, 1)
            })
        });
        let (all, ()) = tokio::join!(join_all(asking), crash);
        told.extend(all.into_iter().flatten());
        slots += 1_000_000;
        site.postgres.run(&[]).await;
        let record = Record::read(&site.postgres).await;
        let lost = record.lacks(&told).len();
        if lost > 0 {
            println!("{lost} of {} lost at attempt {attempt}", told.len());
            return;
        }
    }
    panic!(
        "{} acknowledged, and none lost: the look sees nothing",
        told.len()
    );
}
