//! A database of inventory with machines on offer, and who takes them.

use crate::postgres::{ADMIN, Postgres};
use berth_core::LeaseId;
use berth_inventory::api::Api;
use berth_inventory::store::MIGRATIONS;
use berth_proto::api::v1::{Money, Requirements};
use berth_proto::inventory::v1::ReserveMachineRequest;
use berth_proto::inventory::v1::fleet_service_server::FleetService as _;
use berth_runtime::pg::{self, DatabaseConfig};
use sqlx::PgPool;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tonic::{Request, Status};
use uuid::Uuid;

const FLEET: &str = include_str!("fleet.sql");
const GIB: u64 = 1 << 30;
const TERM: i64 = 86_400;
/// Far more than any costs.
const MAX_PRICE: i64 = 1_000_000_000;

/// Machines on offer.
pub(crate) struct Market {
    name: String,
    db: PgPool,
    api: Api,
    _tasks: JoinSet<()>,
}

/// What clients got.
pub(crate) struct Taken {
    machines: Vec<String>,
    /// Milliseconds from request to answer, in order.
    waits: Vec<f64>,
    took: f64,
}

impl Taken {
    /// Reservations a second.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.machines.len()).unwrap()) / self.took
    }

    /// The milliseconds that so many percent do not exceed.
    pub(crate) fn wait(&self, percent: usize) -> f64 {
        self.waits[(self.waits.len() - 1) * percent / 100]
    }
}

impl Market {
    /// Makes a database and fills it.
    pub(crate) async fn open(postgres: &Postgres, name: &str, machines: usize) -> Self {
        postgres
            .sql("postgres", &format!("create database {name}"))
            .await;
        let config = DatabaseConfig {
            url: postgres.url(ADMIN, name).into(),
            max_connections: 16,
        };
        let db = pg::connect(&config, &MIGRATIONS).await.unwrap();
        // On a connection whose statements may take long.
        let fleet = FLEET.replace(":machines", &machines.to_string());
        postgres.sql(name, &fleet).await;
        postgres.sql(name, "vacuum (analyze)").await;
        postgres.sql(name, "checkpoint").await;
        let (api, reserving) = Api::new(db.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(reserving);
        Self {
            name: name.to_owned(),
            db,
            api,
            _tasks: tasks,
        }
    }

    /// Drops the database.
    pub(crate) async fn close(self, postgres: &Postgres) {
        self.db.close().await;
        postgres
            .sql(
                "postgres",
                &format!("drop database {} with (force)", self.name),
            )
            .await;
    }

    /// What helps the naive query most, in place of what helps ours.
    pub(crate) async fn index_the_price(&self) {
        for statement in [
            "drop index machine_free_grade",
            "create index machine_price on machine (ask_currency, ask_micros, id)
             where state = 'available'",
            "analyze machine",
        ] {
            sqlx::query(statement).execute(&self.db).await.unwrap();
        }
    }

    /// Makes the tables of pgbench.
    pub(crate) fn prepare_pgbench(&self, postgres: &Postgres) {
        let made = postgres
            .command("pgbench")
            .args(["--initialize", "--quiet", "--scale=10"])
            .arg(postgres.url(ADMIN, &self.name))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    /// Transactions a second of pgbench.
    pub(crate) fn pgbench(&self, postgres: &Postgres, clients: usize, span: Duration) -> f64 {
        let output = postgres
            .command("pgbench")
            .args(["--skip-some-updates", "--no-vacuum", "--protocol=prepared"])
            .arg(format!("--client={clients}"))
            .arg(format!("--time={}", span.as_secs()))
            .arg(postgres.url(ADMIN, &self.name))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text.split("tps = ").nth(1).expect("a rate");
        rate.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Reserves through the rpc's handler, from several clients for a time.
    pub(crate) async fn reserve(&self, clients: usize, span: Duration) -> Taken {
        let api = self.api.clone();
        let taken = self
            .at_once(clients, span, move || {
                let api = api.clone();
                async move { reserve(&api).await.unwrap() }
            })
            .await;
        self.nothing_twice(&taken).await;
        taken
    }

    /// The same with one client, so many times.
    pub(crate) async fn reserve_some(&self, count: usize) -> Taken {
        // The connection and its plan are there when it counts.
        for _ in 0..10 {
            reserve(&self.api).await.unwrap();
        }
        let begun = Instant::now();
        let (mut machines, mut waits) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let asked = Instant::now();
            machines.push(reserve(&self.api).await.unwrap());
            waits.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        waits.sort_by(f64::total_cmp);
        Taken {
            machines,
            waits,
            took: begun.elapsed().as_secs_f64(),
        }
    }

    /// Reserves with the query that one writes first.
    pub(crate) async fn reserve_naively(&self, clients: usize, span: Duration) -> Taken {
        let db = self.db.clone();
        let taken = self
            .at_once(clients, span, move || {
                let db = db.clone();
                async move { reserve_naively(&db).await.unwrap() }
            })
            .await;
        self.nothing_twice(&taken).await;
        taken
    }

    async fn at_once<F: Future<Output = String> + Send>(
        &self,
        clients: usize,
        span: Duration,
        take: impl Fn() -> F + Clone + Send + 'static,
    ) -> Taken {
        let begun = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..clients {
            let take = take.clone();
            running.spawn(async move {
                let mut got = Vec::new();
                while begun.elapsed() < span {
                    let asked = Instant::now();
                    let machine = take().await;
                    got.push((machine, asked.elapsed().as_secs_f64() * 1e3));
                }
                got
            });
        }
        let got = running.join_all().await.concat();
        let took = begun.elapsed().as_secs_f64();
        let (machines, mut waits): (Vec<_>, Vec<_>) = got.into_iter().unzip();
        waits.sort_by(f64::total_cmp);
        Taken {
            machines,
            waits,
            took,
        }
    }

    /// Fails when two leases got one machine, by the answers or by the rows.
    async fn nothing_twice(&self, taken: &Taken) {
        let distinct: BTreeSet<_> = taken.machines.iter().collect();
        assert_eq!(
            distinct.len(),
            taken.machines.len(),
            "a machine was given twice"
        );
        let (leases, machines): (i64, i64) = sqlx::query_as(
            "select count(*), count(distinct machine_id) from reservation where not released",
        )
        .fetch_one(&self.db)
        .await
        .unwrap();
        assert_eq!(leases, machines, "a machine was noted twice");
    }

    /// Frees what was taken and tidies up, as if nothing had been.
    pub(crate) async fn put_back(&self) {
        for statement in [
            "delete from reservation",
            "update machine set state = 'available', lease_id = null where lease_id is not null",
            "vacuum (analyze) machine",
            "vacuum (analyze) reservation",
            "checkpoint",
        ] {
            sqlx::query(statement).execute(&self.db).await.unwrap();
        }
    }
}

/// What an Ethereum node asks for.
fn requirements() -> Requirements {
    Requirements {
        cpu_cores: 8,
        memory_bytes: 31 * GIB,
        disk_bytes: 3_500_000_000_000,
        disk_read_iops: 50_000,
        disk_write_iops: 15_000,
        cpu_flags: ["avx2", "sha_ni"].map(str::to_owned).to_vec(),
        ..Requirements::default()
    }
}

async fn reserve(api: &Api) -> Result<String, Status> {
    let wish = ReserveMachineRequest {
        lease_id: LeaseId::generate().to_string(),
        offer_id: String::new(),
        requirements: Some(requirements()),
        max_price_per_hour: Some(Money {
            currency: "EUR".to_owned(),
            micros: MAX_PRICE,
        }),
        term: Some(prost_types::Duration {
            seconds: TERM,
            nanos: 0,
        }),
    };
    let got = api.reserve_machine(Request::new(wish)).await?;
    Ok(got.into_inner().machine_id)
}

async fn reserve_naively(db: &PgPool) -> sqlx::Result<String> {
    let needs = requirements();
    let number = |value: u64| i64::try_from(value).expect("less than 2^63");
    let mut txn = db.begin().await?;
    let (machine, offer, price): (Uuid, Uuid, i64) = sqlx::query_as(
        "select id, ask_offer_id, ask_micros from machine
         where state = 'available' and ask_currency = 'EUR' and ask_micros <= $1
           and ask_max_seconds >= $2 and cpu_cores >= $3 and memory_bytes >= $4
           and disk_bytes >= $5 and read_iops >= $6 and write_iops >= $7 and cpu_flags @> $8
         order by ask_micros, id limit 1 for update skip locked",
    )
    .bind(MAX_PRICE)
    .bind(TERM)
    .bind(i64::from(needs.cpu_cores))
    .bind(number(needs.memory_bytes))
    .bind(number(needs.disk_bytes))
    .bind(i64::from(needs.disk_read_iops))
    .bind(i64::from(needs.disk_write_iops))
    .bind(&needs.cpu_flags)
    .fetch_one(&mut *txn)
    .await?;
    let lease = Uuid::now_v7();
    sqlx::query(
        "update machine set state = 'reserved', lease_id = $2, version = version + 1
         where id = $1",
    )
    .bind(machine)
    .bind(lease)
    .execute(&mut *txn)
    .await?;
    sqlx::query(
        "insert into reservation (lease_id, machine_id, offer_id, currency, price_micros)
         values ($1, $2, $3, 'EUR', $4)",
    )
    .bind(lease)
    .bind(machine)
    .bind(offer)
    .bind(price)
    .execute(&mut *txn)
    .await?;
    txn.commit().await?;
    Ok(machine.to_string())
}
