//! Grades: machines are found through them, and they change nothing about which
//! is the cheapest that fits.

use crate::fixture::{Yard, any, euro, reason};
use berth_core::LeaseId;
use berth_inventory::store::MIGRATIONS;
use berth_proto::api::v1::Requirements;
use berth_proto::inventory::v1 as pb;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::JoinSet;

/// Some hundreds of sizes, none exactly alike.
const FLEET: &str = include_str!("../../../../tests/bench/reserve/fleet.sql");

async fn fill(db: &PgPool, machines: u32) {
    let fleet = FLEET.replace(":machines", &machines.to_string());
    let fleet = AssertSqlSafe(fleet);
    sqlx::raw_sql(fleet).execute(db).await.unwrap();
}

/// What a machine has, which is what a lease asks for here.
#[derive(sqlx::FromRow)]
struct Size {
    cpu_cores: i64,
    memory_bytes: i64,
    disk_bytes: i64,
    read_iops: i64,
    write_iops: i64,
    gpu_count: i64,
    gpu_memory: i64,
}

impl Size {
    /// The lowest price by looking at every machine.
    async fn cheapest(&self, db: &PgPool) -> Option<i64> {
        sqlx::query_scalar(
            "select min(ask_micros) from machine
             where state = 'available' and cpu_cores >= $1 and memory_bytes >= $2
               and disk_bytes >= $3 and read_iops >= $4 and write_iops >= $5
               and gpu_count >= $6 and gpu_memory >= $7",
        )
        .bind(self.cpu_cores)
        .bind(self.memory_bytes)
        .bind(self.disk_bytes)
        .bind(self.read_iops)
        .bind(self.write_iops)
        .bind(self.gpu_count)
        .bind(self.gpu_memory)
        .fetch_one(db)
        .await
        .unwrap()
    }

    fn wish(&self) -> pb::ReserveMachineRequest {
        let small = |value: i64| u32::try_from(value).unwrap();
        let large = |value: i64| u64::try_from(value).unwrap();
        pb::ReserveMachineRequest {
            requirements: Some(Requirements {
                cpu_cores: small(self.cpu_cores),
                memory_bytes: large(self.memory_bytes),
                disk_bytes: large(self.disk_bytes),
                disk_read_iops: small(self.read_iops),
                disk_write_iops: small(self.write_iops),
                gpu_count: small(self.gpu_count),
                gpu_memory_bytes: large(self.gpu_memory),
                ..Default::default()
            }),
            ..any(LeaseId::generate(), 1_000_000_000)
        }
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn the_cheapest_by_grades_is_the_cheapest_of_all(db: PgPool) {
    fill(&db, 2000).await;
    let yard = Yard::new(db.clone()).await;
    let sizes: Vec<Size> = sqlx::query_as("select * from machine order by name limit 100")
        .fetch_all(&db)
        .await
        .unwrap();
    for exact in sizes {
        let more = Size {
            disk_bytes: exact.disk_bytes + 1,
            ..exact
        };
        for size in [exact, more] {
            let price = size.cheapest(&db).await;
            match yard.reserve(size.wish()).await {
                Ok(got) => assert_eq!(got.price_per_hour, price.map(euro)),
                Err(refused) => {
                    assert_eq!(reason(&refused), "NO_CAPACITY");
                    assert_eq!(price, None);
                }
            }
        }
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn more_leases_at_once_than_a_claim_chooses_from_all_get_a_machine(db: PgPool) {
    fill(&db, 200).await;
    let yard = Yard::new(db.clone()).await;
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let yard = yard.clone();
        calls.spawn(async move {
            let wish = any(LeaseId::generate(), 1_000_000_000);
            yard.reserve(wish).await.unwrap().price_per_hour.unwrap()
        });
    }
    let mut got: Vec<_> = calls.join_all().await;
    got.sort_by_key(|price| price.micros);
    let cheapest: Vec<i64> =
        sqlx::query_scalar("select ask_micros from machine order by ask_micros, id limit 100")
            .fetch_all(&db)
            .await
            .unwrap();
    let got: Vec<i64> = got.into_iter().map(|price| price.micros).collect();
    assert_eq!(got, cheapest);
}
