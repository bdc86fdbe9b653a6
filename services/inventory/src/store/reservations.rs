//! Queries on `reservation`: which machine a lease got.
//!
//! Both claims are one statement: it finds machines, skips what others are about
//! to take, marks them and notes the reservations, or does nothing at all.

use super::offers::money;
use crate::domain::Requirements;
use berth_core::{Currency, Error, LeaseId, MachineId, Money, OfferId, Resource, Result};
use berth_runtime::pg;
use chrono::TimeDelta;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::{PgConnection, PgPool, Postgres};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What a lease got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The machine.
    pub machine_id: MachineId,
    /// The offer it was taken under.
    pub offer_id: OfferId,
    /// The price of an hour.
    pub price: Money,
    /// Longest term that the offer allows.
    pub max_term: Option<TimeDelta>,
}

#[derive(sqlx::FromRow)]
struct Row {
    lease_id: LeaseId,
    machine_id: Option<MachineId>,
    offer_id: Option<OfferId>,
    currency: Option<String>,
    price_micros: Option<i64>,
    max_seconds: Option<i64>,
    released: bool,
}

impl Row {
    /// The reservation, unless it is over.
    fn reservation(self) -> Result<Reservation> {
        let lease = self.lease_id;
        let over = || {
            Error::precondition(
                "LEASE_OVER",
                format!("{lease} gave its machine back; make a new lease"),
            )
        };
        if self.released {
            return Err(over());
        }
        Ok(Reservation {
            machine_id: self.machine_id.ok_or_else(over)?,
            offer_id: self.offer_id.ok_or_else(over)?,
            price: money(
                self.currency.as_deref().unwrap_or_default(),
                self.price_micros.unwrap_or_default(),
            )?,
            max_term: self.max_seconds.map(TimeDelta::seconds),
        })
    }
}

/// The cheapest machine that fits, as one lease or many want it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cheapest {
    /// What it must have.
    pub requirements: Requirements,
    /// Most that an hour may cost.
    pub max_price: Money,
    /// For how long.
    pub term: TimeDelta,
}

/// Reserves the machine of an offer for a lease; a lease that has one gets the
/// same again.
///
/// # Errors
///
/// [`Error::Exhausted`] when it is not free or not for that term,
/// [`Error::Precondition`] for a lease that released its machine.
pub async fn reserve_offer(
    db: &PgPool,
    lease: LeaseId,
    offer: OfferId,
    term: TimeDelta,
) -> Result<Reservation> {
    let mut conn = db.acquire().await.map_err(pg::error)?;
    if let Some(row) = find(&mut conn, lease).await? {
        return row.reservation();
    }
    match claim_offer(&mut conn, lease, offer, term).await {
        Ok(Some(row)) => row.reservation(),
        Ok(None) => Err(no_capacity()),
        // The same lease at the same time; the other call was first.
        Err(error) if was_first(&error) => find(&mut conn, lease)
            .await?
            .ok_or(Error::Conflict {
                resource: Resource::Lease,
            })?
            .reservation(),
        Err(error) => Err(pg::error(error)),
    }
}

/// Reserves a machine for each of some leases that want the same, the cheapest
/// for the first of them; a lease that has one gets the same again. The answers
/// stand in the order of the leases, each of which is named once.
///
/// # Errors
///
/// Those of the database, for all of them. One alone: [`Error::Exhausted`] when
/// no free machine fits, [`Error::Precondition`] for a lease that released its
/// machine.
pub async fn reserve_cheapest(
    db: &PgPool,
    leases: &[LeaseId],
    wish: &Cheapest,
) -> Result<Vec<Result<Reservation>>> {
    let mut conn = db.acquire().await.map_err(pg::error)?;
    let mut rows: BTreeMap<LeaseId, Row> = BTreeMap::new();
    for choices in CHOICES {
        let mut left = leases.to_vec();
        left.retain(|lease| !rows.contains_key(lease));
        if left.is_empty() {
            break;
        }
        let claimed = claim_cheapest(&mut conn, &left, wish, choices).await?;
        rows.extend(claimed.into_iter().map(|row| (row.lease_id, row)));
    }
    let answer = |lease: &LeaseId| match rows.remove(lease) {
        Some(row) => row.reservation(),
        None => Err(no_capacity()),
    };
    Ok(leases.iter().map(answer).collect())
}

fn no_capacity() -> Error {
    Error::exhausted("NO_CAPACITY", "no free machine fits")
}

/// Whether another call for the same lease came first, or ended a deadlock of two
/// calls for the same leases.
fn was_first(error: &sqlx::Error) -> bool {
    pg::violates(error, "reservation_lease")
        || pg::violates(error, "machine_lease")
        || pg::is_deadlock(error)
}

/// What a lease has, if it ever had something.
///
/// # Errors
///
/// Those of the database, and [`Error::Precondition`] for a lease that released its
/// machine.
pub async fn held(conn: &mut PgConnection, lease: LeaseId) -> Result<Option<Reservation>> {
    find(conn, lease).await?.map(Row::reservation).transpose()
}

async fn find(conn: &mut PgConnection, lease: LeaseId) -> Result<Option<Row>> {
    sqlx::query_as("select * from reservation where lease_id = $1")
        .bind(lease)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)
}

async fn claim_offer(
    conn: &mut PgConnection,
    lease: LeaseId,
    offer: OfferId,
    term: TimeDelta,
) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as(
        "with claimed as (
             update machine set state = 'reserved', lease_id = $1, version = version + 1
             where id = (
                 select id from machine
                 where ask_offer_id = $2 and state = 'available'
                   and (ask_min_seconds is null or ask_min_seconds <= $3)
                   and (ask_max_seconds is null or ask_max_seconds >= $3)
                 for update)
             returning *)
         insert into reservation (lease_id, machine_id, offer_id, currency, price_micros,
                                  max_seconds)
         select $1, id, ask_offer_id, ask_currency, ask_micros, ask_max_seconds from claimed
         returning *",
    )
    .bind(lease)
    .bind(offer)
    .bind(term.num_seconds())
    .fetch_optional(conn)
    .await
}

/// How many more of the cheapest machines a claim may choose from than it needs:
/// those that others are about to take are passed over. The later numbers are for
/// the rare claim that finds too many of the first in other hands.
const CHOICES: [usize; 3] = [4, 32, 1024];

/// What a free machine must have; the parameters are bound by [`fitting`].
macro_rules! fits {
    () => {
        "machine.state = 'available' and machine.ask_offer_id is not null
           and currency_number(machine.ask_currency) = (select currency_number($1))
           and machine.ask_currency = $1 and machine.ask_micros <= $2
           and (machine.ask_min_seconds is null or machine.ask_min_seconds <= $3)
           and (machine.ask_max_seconds is null or machine.ask_max_seconds >= $3)
           and machine.cpu_cores >= $4 and machine.memory_bytes >= $5
           and machine.disk_bytes >= $6 and machine.read_iops >= $7
           and machine.write_iops >= $8 and machine.gpu_count >= $9
           and ($10 = 0 or machine.gpu_memory >= $10)
           and (cardinality($11::bigint[]) = 0 or machine.gpu_driver >= $11)
           and not (machine.smt and $12) and machine.cpu_flags @> $13"
    };
}

/// Of each grade that can fit, the free machine that fits and costs least, those
/// of the cheapest grades first. Served by the index `machine_free_grade`; what
/// a grade is made of stands in the migration that made it.
macro_rules! cheapest_of_grades {
    () => {
        concat!(
            "select machine_grade.grade, first.ask_micros, first.id
             from machine_grade cross join lateral (
                 select ask_micros, id from machine
                 where machine.grade = machine_grade.grade and ",
            fits!(),
            "    order by ask_micros, id limit 1) first
             where (machine_grade.grade >> 36) >= (select capacity_step($4))
               and ((machine_grade.grade >> 30) & 63) >= (select capacity_step($5))
               and ((machine_grade.grade >> 24) & 63) >= (select capacity_step($6))
               and ((machine_grade.grade >> 18) & 63) >= (select capacity_step($7))
               and ((machine_grade.grade >> 12) & 63) >= (select capacity_step($8))
               and ((machine_grade.grade >> 6) & 63) >= (select capacity_step($9))
               and (machine_grade.grade & 63) >= (select capacity_step($10))
             order by first.ask_micros, first.id"
        )
    };
}

fn fitting<'q, T>(
    query: QueryAs<'q, Postgres, T, PgArguments>,
    needs: &'q Requirements,
    max_price: Money,
    term: TimeDelta,
) -> QueryAs<'q, Postgres, T, PgArguments> {
    query
        .bind(max_price.currency.to_string())
        .bind(max_price.micros)
        .bind(term.num_seconds())
        .bind(needs.cpu_cores)
        .bind(needs.memory_bytes)
        .bind(needs.disk_bytes)
        .bind(needs.read_iops)
        .bind(needs.write_iops)
        .bind(needs.gpu_count)
        .bind(needs.gpu_memory)
        .bind(&needs.gpu_driver)
        .bind(needs.smt_off)
        .bind(&needs.cpu_flags)
}

/// What leases have that ask for the same. Another call may be first for some of
/// them, and then theirs is found when all ask again.
async fn claim_cheapest(
    conn: &mut PgConnection,
    leases: &[LeaseId],
    wish: &Cheapest,
    choices: usize,
) -> Result<Vec<Row>> {
    let ids: Vec<Uuid> = leases.iter().map(|lease| lease.uuid()).collect();
    for _ in 0..=leases.len() {
        let (needs, choices) = (&wish.requirements, choices + leases.len());
        let claim = fitting(sqlx::query_as(CLAIM), needs, wish.max_price, wish.term)
            .bind(&ids)
            .bind(i64::try_from(choices).unwrap_or(i64::MAX))
            .fetch_all(&mut *conn);
        match claim.await {
            Err(error) if was_first(&error) => {}
            rows => return rows.map_err(pg::error),
        }
    }
    Err(Error::Conflict {
        resource: Resource::Lease,
    })
}

/// The cheapest machines that fit of each grade in `grade`: so many of each, up to a
/// price.
macro_rules! next_of_grades {
    ($most:literal, $price:literal) => {
        concat!(
            "select next.id, next.ask_micros from grade cross join lateral (
                 select id, ask_micros from machine
                 where machine.grade = grade.grade and machine.ask_micros <= (",
            $price,
            ") and ",
            fits!(),
            "    order by ask_micros, id limit ",
            $most,
            ") next"
        )
    };
}

/// The n cheapest machines are of the n cheapest grades. None of them costs more
/// than the n-th of any n that fit, so the first of each grade tell up to which price
/// to look; the fewer those are, the less is looked at. Whether one is still what it
/// was is asked again where it is locked.
const CLAIM: &str = concat!(
    "with found as (select * from reservation where lease_id = any($14)),
     wanting as (
         select lease_id, row_number() over () as n from unnest($14) asked (lease_id)
         where not exists (select from found where found.lease_id = asked.lease_id)),
     grade as materialized (",
    cheapest_of_grades!(),
    "    limit $15),
     first as materialized (",
    next_of_grades!("3", "select max(ask_micros) from grade"),
    "),
     choice as (",
    next_of_grades!(
        "$15",
        "select coalesce(
             (select ask_micros from first order by ask_micros offset $15 - 1 limit 1), $2)"
    ),
    "    order by next.ask_micros, next.id limit $15),
     locked as materialized (
         select machine.id, machine.ask_micros
         from choice join machine on machine.id = choice.id
         where machine.ask_micros = choice.ask_micros and ",
    fits!(),
    "    order by choice.ask_micros, choice.id
         limit (select count(*) from wanting) for update of machine skip locked),
     numbered as (select id, row_number() over (order by ask_micros, id) as n from locked),
     claimed as (
         update machine set state = 'reserved', lease_id = wanting.lease_id,
                            version = version + 1
         from numbered join wanting using (n) where machine.id = numbered.id
         returning machine.*),
     made as (
         insert into reservation (lease_id, machine_id, offer_id, currency, price_micros,
                                  max_seconds)
         select lease_id, id, ask_offer_id, ask_currency, ask_micros, ask_max_seconds
         from claimed returning *)
     select * from found union all select * from made"
);

/// The lowest price at which a free machine fits.
///
/// # Errors
///
/// Those of the database.
pub async fn cheapest(
    conn: &mut PgConnection,
    needs: &Requirements,
    currency: Currency,
    term: TimeDelta,
) -> Result<Option<Money>> {
    let query = sqlx::query_as(concat!(
        "select ask_micros from (",
        cheapest_of_grades!(),
        " limit 1) cheapest"
    ));
    let row: Option<(i64,)> = fitting(query, needs, Money::new(currency, i64::MAX), term)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?;
    Ok(row.map(|(micros,)| Money::new(currency, micros)))
}

/// Ends the reservation of a lease, for good: one that is still on its way is
/// refused when it arrives.
///
/// # Errors
///
/// Those of the database.
pub async fn end(conn: &mut PgConnection, lease: LeaseId) -> Result<()> {
    sqlx::query(
        "insert into reservation (lease_id, released) values ($1, true)
         on conflict on constraint reservation_lease do update set released = true",
    )
    .bind(lease)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}
