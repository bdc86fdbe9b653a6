//! Queries on `machine`.

use crate::domain::{Machine, NewMachine, State};
use berth_core::{AccountId, Error, LeaseId, MachineId, Name, Resource, Result};
use berth_runtime::page::Page;
use berth_runtime::pg;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

/// Enrolls a machine, or finds the one of this name and address.
///
/// # Errors
///
/// [`Error::Exists`] when the name is another machine's,
/// [`Error::Precondition`] when the address is.
pub async fn enroll(
    conn: &mut PgConnection,
    account: AccountId,
    new: &NewMachine,
    now: DateTime<Utc>,
) -> Result<MachineId> {
    let made: Option<MachineId> = sqlx::query_scalar(
        "insert into machine (id, account_id, supplier_id, name, address, login, host_key, claim,
                              region, state, dirty, work_time, create_time)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'enrolling', true, $10, $10)
         on conflict do nothing returning id",
    )
    .bind(MachineId::generate())
    .bind(account)
    .bind(new.supplier_id)
    .bind(&new.name)
    .bind(&new.address)
    .bind(&new.login)
    .bind(&new.host_key)
    .bind(Json(&new.claim))
    .bind(&new.region)
    .bind(now)
    .fetch_optional(&mut *conn)
    .await
    .map_err(pg::error)?;
    match made {
        Some(id) => Ok(id),
        None => enrolled(conn, new).await,
    }
}

/// The machine that kept a new one out, if it is the same.
async fn enrolled(conn: &mut PgConnection, new: &NewMachine) -> Result<MachineId> {
    let there: Vec<(MachineId, Name, bool)> = sqlx::query_as(
        "select id, name, address = $3 from machine
         where supplier_id = $1 and (name = $2 or address = $3) and state <> 'retired'
         order by name <> $2",
    )
    .bind(new.supplier_id)
    .bind(&new.name)
    .bind(&new.address)
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    match there.first() {
        Some((id, name, true)) if *name == new.name => Ok(*id),
        Some((_, name, _)) if *name == new.name => Err(Error::Exists {
            resource: Resource::Machine,
            name: new.name.to_string(),
        }),
        Some((_, name, _)) => Err(Error::precondition(
            "ADDRESS_TAKEN",
            format!(
                "machine `{name}` of this supplier has the address {} already; retire it first",
                new.address
            ),
        )),
        // Retired between the two statements.
        None => Err(Error::Conflict {
            resource: Resource::Machine,
        }),
    }
}

/// Finds a machine of the account.
///
/// # Errors
///
/// [`Error::NotFound`] also when it belongs to another account.
pub async fn get(conn: &mut PgConnection, account: AccountId, id: MachineId) -> Result<Machine> {
    sqlx::query_as("select * from machine where id = $1 and account_id = $2")
        .bind(id)
        .bind(account)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Machine, id))
}

/// Finds any machine, for the other services.
///
/// # Errors
///
/// [`Error::NotFound`] when there is none.
pub async fn resolve(conn: &mut PgConnection, id: MachineId) -> Result<Machine> {
    sqlx::query_as("select * from machine where id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Machine, id))
}

/// The same, locked until the transaction ends.
///
/// # Errors
///
/// [`Error::NotFound`] when there is none.
pub async fn lock(conn: &mut PgConnection, id: MachineId) -> Result<Machine> {
    sqlx::query_as("select * from machine where id = $1 for update")
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Machine, id))
}

/// The machines of the account that have this name; each supplier may have one.
///
/// # Errors
///
/// Those of the database.
pub async fn named(
    conn: &mut PgConnection,
    account: AccountId,
    name: &Name,
) -> Result<Vec<MachineId>> {
    sqlx::query_scalar(
        "select id from machine
         where account_id = $1 and name = $2 and state <> 'retired' limit 2",
    )
    .bind(account)
    .bind(name)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// Machines of the account, newest first.
///
/// # Errors
///
/// Those of the database, and of a page token of another list.
pub async fn list(
    conn: &mut PgConnection,
    account: AccountId,
    state: Option<State>,
    page: &Page,
) -> Result<Vec<Machine>> {
    sqlx::query_as(
        "select * from machine
         where account_id = $1 and ($2::text is null or state = $2)
           and ($3::uuid is null or id < $3)
         order by id desc limit $4",
    )
    .bind(account)
    .bind(state)
    .bind(page.after_uuid()?)
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// Machines that wait to be measured or wiped, oldest first.
///
/// # Errors
///
/// Those of the database.
pub async fn work(conn: &mut PgConnection, limit: i64) -> Result<Vec<Machine>> {
    sqlx::query_as(
        "select * from machine where state in ('verifying', 'wiping')
         order by work_time limit $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// The machine that a lease holds.
///
/// # Errors
///
/// Those of the database.
pub async fn held_by(conn: &mut PgConnection, lease: LeaseId) -> Result<Option<Machine>> {
    sqlx::query_as("select * from machine where lease_id = $1 for update")
        .bind(lease)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)
}

/// Writes what became of a machine, unless it changed since it was read.
///
/// # Errors
///
/// [`Error::Conflict`] when it changed, [`Error::Precondition`] when its new
/// address is another machine's.
pub async fn save(conn: &mut PgConnection, before: &Machine, after: &Machine) -> Result<()> {
    if before == after {
        return Ok(());
    }
    let saved = sqlx::query(
        "update machine set
             address = $3, login = $4, host_key = $5, claim = $6, region = $7, state = $8,
             status_reason = $9, cordoned = $10, dirty = $11, suspect = $12, attempt = $13,
             work_time = $14, lease_id = $15, version = version + 1
         where id = $1 and version = $2",
    )
    .bind(after.id)
    .bind(before.version)
    .bind(&after.address)
    .bind(&after.login)
    .bind(&after.host_key)
    .bind(Json(&after.claim))
    .bind(&after.region)
    .bind(after.state)
    .bind(&after.status_reason)
    .bind(after.cordoned)
    .bind(after.dirty)
    .bind(after.suspect)
    .bind(after.attempt)
    .bind(after.work_time)
    .bind(after.lease_id)
    .execute(conn)
    .await
    .map_err(|error| {
        if pg::violates(&error, "machine_address_taken") {
            Error::precondition(
                "ADDRESS_TAKEN",
                format!(
                    "another machine of this supplier has the address {} already; retire it first",
                    after.address
                ),
            )
        } else {
            pg::error(error)
        }
    })?;
    if saved.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::Conflict {
            resource: Resource::Machine,
        })
    }
}

/// Writes what was measured, before [`save`] writes the rest in the same
/// transaction.
///
/// # Errors
///
/// Those of the database.
pub async fn save_facts(conn: &mut PgConnection, machine: &Machine) -> Result<()> {
    let Some(facts) = &machine.facts else {
        return Ok(());
    };
    let capacity = facts.capacity();
    sqlx::query(
        "update machine set
             facts = $2, verify_time = $3, cpu_cores = $4, memory_bytes = $5, disk_bytes = $6,
             read_iops = $7, write_iops = $8, cpu_flags = $9, smt = $10, gpu_count = $11,
             gpu_memory = $12, gpu_driver = $13
         where id = $1",
    )
    .bind(machine.id)
    .bind(Json(facts))
    .bind(machine.verify_time)
    .bind(i64::from(facts.cpu_cores))
    .bind(facts.memory_bytes)
    .bind(capacity.disk_bytes)
    .bind(capacity.read_iops)
    .bind(capacity.write_iops)
    .bind(&facts.cpu_flags)
    .bind(facts.smt)
    .bind(capacity.gpu_count)
    .bind(capacity.gpu_memory)
    .bind(&capacity.gpu_driver)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}
