//! What nobody gets below here: the signature alone, and the commit alone.

use berth_signer::domain::{Root, SigningKey};
use sqlx::{Connection as _, PgConnection};
use std::hint::black_box;
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Milliseconds of each of so many signatures, one after the other.
pub(crate) fn signatures(count: u32) -> Vec<f64> {
    let key = key();
    let mut took: Vec<f64> = (0..count)
        .map(|number| {
            let begun = Instant::now();
            black_box(key.sign(&root(number)));
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took
}

/// Seconds for so many signatures on all cores.
pub(crate) fn signatures_on_all_cores(count: u32) -> f64 {
    let cores = available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    thread::scope(|scope| {
        for core in 0..cores {
            scope.spawn(move || {
                let key = key();
                for number in (0..count).skip(core).step_by(cores) {
                    black_box(key.sign(&root(number)));
                }
            });
        }
    });
    begun.elapsed().as_secs_f64()
}

/// Commits of one row each, on so many connections for so long: milliseconds of
/// each, and how many a second.
pub(crate) async fn commits(url: &str, connections: i32, span: Duration) -> (Vec<f64>, f64) {
    let mut first = PgConnection::connect(url).await.unwrap();
    let table = "create table if not exists floor (id integer primary key, n bigint not null)";
    sqlx::query(table).execute(&mut first).await.unwrap();
    let mut all = JoinSet::new();
    for id in 0..connections {
        let mut conn = PgConnection::connect(url).await.unwrap();
        let row = "insert into floor values ($1, 0) on conflict do nothing";
        sqlx::query(row).bind(id).execute(&mut conn).await.unwrap();
        all.spawn(async move {
            let end = Instant::now() + span;
            let mut took = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                sqlx::query("update floor set n = n + 1 where id = $1")
                    .bind(id)
                    .execute(&mut conn)
                    .await
                    .unwrap();
                took.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            took
        });
    }
    let mut took: Vec<f64> = all.join_all().await.into_iter().flatten().collect();
    took.sort_by(f64::total_cmp);
    let rate = count(took.len()) / span.as_secs_f64();
    (took, rate)
}

/// A number of things, to divide by.
pub(crate) fn count(things: usize) -> f64 {
    u32::try_from(things).unwrap().into()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32]).unwrap()
}

fn root(number: u32) -> Root {
    let mut root = [0; 32];
    root[..4].copy_from_slice(&number.to_be_bytes());
    Root(root)
}
