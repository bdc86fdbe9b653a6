//! The one statement that gives permission to sign.
//!
//! For every claim it locks the row of the key, judges it as it is then (state,
//! node, fence, grant, watermarks), advances the watermarks and records the
//! signature, for all claims in one statement that is a transaction of its own.

#[cfg(test)]
mod mutants;

use crate::domain::refusal::Reason;
use crate::domain::validator::State;
use crate::domain::{Claim, Message, Refusal, Root, Watermarks};
use berth_core::{Error, Fence, NodeId, Result};
use berth_runtime::pg;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};
use std::collections::HashSet;

const STATEMENT: &str = include_str!("statement.sql");

/// Decides claims, at most one a key, in the order of the arguments. What is
/// permitted is durable when this returns.
///
/// # Errors
///
/// Those of the database. Then it is not known whether anything was recorded,
/// and nothing may be signed.
pub async fn decide(db: &PgPool, claims: &[Claim]) -> Result<Vec<Result<(), Refusal>>> {
    run(STATEMENT, db, claims).await
}

async fn run(
    statement: &'static str,
    db: &PgPool,
    claims: &[Claim],
) -> Result<Vec<Result<(), Refusal>>> {
    let mut keys = HashSet::new();
    if !claims.iter().all(|claim| keys.insert(claim.public_key)) {
        return Err(Error::internal("two claims for one key in one statement"));
    }
    let mut verdicts: Vec<_> = claims.iter().map(|claim| Err(unknown(claim))).collect();
    let mut asked = Asked::default();
    for (index, claim) in claims.iter().enumerate() {
        match numbers(claim.message) {
            Ok(numbers) => asked.push(index, claim, numbers),
            Err(refusal) => verdicts[index] = Err(refusal),
        }
    }
    for row in asked.send(statement, db).await.map_err(pg::error)? {
        let position: i64 = row.try_get("position").map_err(pg::error)?;
        let index = usize::try_from(position - 1)
            .ok()
            .and_then(|at| asked.index.get(at))
            .ok_or_else(|| Error::internal("the statement answered what was not asked"))?;
        verdicts[*index] = verdict(&claims[*index], &row)?;
    }
    Ok(verdicts)
}

/// Slot, source and target.
type Numbers = [Option<i64>; 3];

fn numbers(message: Message) -> Result<Numbers, Refusal> {
    let number = |number: u64| {
        i64::try_from(number)
            .map(Some)
            .map_err(|_| Refusal::new(Reason::FarFuture, format!("{number} is absurd")))
    };
    Ok(match message {
        Message::Block { slot } => [number(slot)?, None, None],
        Message::Attestation { source, target } => [None, number(source)?, number(target)?],
        Message::Other => [None; 3],
    })
}

/// The claims as columns.
#[derive(Default)]
struct Asked<'a> {
    index: Vec<usize>,
    claims: Vec<&'a Claim>,
    numbers: [Vec<Option<i64>>; 3],
}

impl<'a> Asked<'a> {
    fn push(&mut self, index: usize, claim: &'a Claim, numbers: Numbers) {
        self.index.push(index);
        self.claims.push(claim);
        for (column, number) in self.numbers.iter_mut().zip(numbers) {
            column.push(number);
        }
    }

    /// Fetches all rows: sqlx then waits until the server is ready again, which
    /// is after the commit. A fetch of one row would return before it.
    async fn send(&self, statement: &'static str, db: &PgPool) -> sqlx::Result<Vec<PgRow>> {
        let claims = || self.claims.iter();
        sqlx::query(statement)
            .bind(
                claims()
                    .map(|c| c.public_key.0.to_vec())
                    .collect::<Vec<_>>(),
            )
            .bind(claims().map(|c| c.node_id.uuid()).collect::<Vec<_>>())
            .bind(
                claims()
                    .map(|c| i64::try_from(c.fence.get()).unwrap_or(i64::MAX))
                    .collect::<Vec<_>>(),
            )
            .bind(&self.numbers[0])
            .bind(&self.numbers[1])
            .bind(&self.numbers[2])
            .bind(claims().map(|c| c.root.0.to_vec()).collect::<Vec<_>>())
            .fetch_all(db)
            .await
    }
}

fn unknown(claim: &Claim) -> Refusal {
    let detail = format!("{} is no validator of {}", claim.public_key, claim.node_id);
    Refusal::new(Reason::UnknownKey, detail)
}

fn verdict(claim: &Claim, row: &PgRow) -> Result<Result<(), Refusal>> {
    if row.try_get("signed").map_err(pg::error)? {
        return Ok(Ok(()));
    }
    let watermarks = watermarks(row).map_err(pg::error)?;
    let refusal = match unadmitted(claim, row).map_err(pg::error)? {
        Some(refusal) => refusal,
        None => match watermarks.sign(claim.message, claim.root) {
            Err(refusal) => refusal,
            Ok(_) => return Err(Error::internal("the statement refused without a reason")),
        },
    };
    Ok(Err(refusal))
}

/// Why state, fence or grant forbid it, if they do.
fn unadmitted(claim: &Claim, row: &PgRow) -> sqlx::Result<Option<Refusal>> {
    let node: Option<NodeId> = row.try_get("node_id")?;
    if node != Some(claim.node_id) {
        return Ok(Some(unknown(claim)));
    }
    let state: State = row.try_get("state")?;
    let silent = match state {
        State::Active => None,
        State::Quarantined => Some(Reason::Quarantined),
        State::Disabled | State::Removed => Some(Reason::Disabled),
    };
    if let Some(reason) = silent {
        let detail = format!("{} signs nothing now", claim.public_key);
        return Ok(Some(Refusal::new(reason, detail)));
    }
    let (asked, fence): (_, Fence) = (claim.fence, row.try_get("fence")?);
    let reason = if asked < fence {
        Reason::Fenced
    } else if asked > fence || !row.try_get::<bool, _>("granted")? {
        Reason::NotGranted
    } else {
        return Ok(None);
    };
    let detail = format!("fence {asked}; the signer knows fence {fence}");
    Ok(Some(Refusal::new(reason, detail)))
}

/// The watermarks of a row.
pub(super) fn watermarks(row: &PgRow) -> sqlx::Result<Watermarks> {
    let number =
        |name| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(name)?.map(i64::unsigned_abs));
    let root = |name| {
        row.try_get::<Option<&[u8]>, _>(name)?
            .map(Root::try_from)
            .transpose()
            .map_err(|problem| sqlx::Error::Decode(problem.into()))
    };
    Ok(Watermarks {
        block: number("block_slot")?,
        block_root: root("block_root")?,
        vote: number("source_epoch")?.zip(number("target_epoch")?),
        vote_root: root("attestation_root")?,
    })
}
