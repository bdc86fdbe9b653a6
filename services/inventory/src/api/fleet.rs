//! Calls of the other services: reservations for leasing, machine work for
//! provisioning.

use super::{Api, convert, pb};
use crate::domain::{self, Event, Machine, Verification, Wipe, Wish};
use crate::store::reservations::{self, Cheapest};
use crate::store::{machines as store, offers};
use berth_core::{Error, LeaseId, MachineId, Result, now};
use berth_runtime::page::Page;
use berth_runtime::{pg, wire};
use chrono::TimeDelta;

pub(super) async fn reserve(
    api: &Api,
    request: &pb::ReserveMachineRequest,
) -> Result<pb::ReserveMachineResponse> {
    let (lease, wish, term) = convert::wish(request)?;
    let reserved = match &wish {
        Wish::Offer(offer) => reservations::reserve_offer(&api.db, lease, *offer, term).await,
        Wish::Cheapest {
            requirements,
            max_price,
        } => {
            let wish = Cheapest {
                requirements: requirements.clone(),
                max_price: *max_price,
                term,
            };
            api.reservations.reserve(lease, &wish).await
        }
    };
    let got = match reserved {
        Err(Error::Exhausted { .. }) => {
            let why_not = why_not(api, &wish, term).await?;
            // Another call for it may have come first, and have been committed since.
            let held = reservations::held(&mut *api.connection().await?, lease).await?;
            held.ok_or(why_not)?
        }
        other => other?,
    };
    Ok(pb::ReserveMachineResponse {
        machine_id: got.machine_id.to_string(),
        offer_id: got.offer_id.to_string(),
        price_per_hour: Some(wire::money(got.price)),
        max_term: got.max_term.map(wire::duration),
    })
}

/// Why no machine could be had, so that the caller knows what to change.
async fn why_not(api: &Api, wish: &Wish, term: TimeDelta) -> Result<Error> {
    let mut conn = api.connection().await?;
    match wish {
        Wish::Offer(id) => {
            let offer = offers::find(&mut conn, *id).await?;
            Ok(domain::why_not_this(*id, offer.as_ref(), term))
        }
        Wish::Cheapest {
            requirements,
            max_price,
        } => {
            let cheapest =
                reservations::cheapest(&mut conn, requirements, max_price.currency, term).await?;
            Ok(domain::why_not_any(*max_price, cheapest))
        }
    }
}

pub(super) async fn confirm(
    api: &Api,
    request: &pb::ConfirmReservationRequest,
) -> Result<pb::ConfirmReservationResponse> {
    let lease: LeaseId = wire::parse("lease_id", &request.lease_id)?;
    let mut txn = api.db.begin().await.map_err(pg::error)?;
    let machine = store::held_by(&mut txn, lease).await?.ok_or_else(|| {
        Error::precondition("LEASE_HOLDS_NOTHING", format!("{lease} holds no machine"))
    })?;
    let after = machine.apply(Event::Confirm, now())?;
    store::save(&mut txn, &machine, &after).await?;
    txn.commit().await.map_err(pg::error)?;
    Ok(pb::ConfirmReservationResponse {})
}

pub(super) async fn release(
    api: &Api,
    request: &pb::ReleaseMachineRequest,
) -> Result<pb::ReleaseMachineResponse> {
    let lease: LeaseId = wire::parse("lease_id", &request.lease_id)?;
    let mut txn = api.db.begin().await.map_err(pg::error)?;
    reservations::end(&mut txn, lease).await?;
    if let Some(machine) = store::held_by(&mut txn, lease).await? {
        let after = machine.apply(Event::Release, now())?;
        store::save(&mut txn, &machine, &after).await?;
    }
    txn.commit().await.map_err(pg::error)?;
    Ok(pb::ReleaseMachineResponse { released: true })
}

pub(super) async fn resolve(
    api: &Api,
    request: &pb::ResolveMachineRequest,
) -> Result<pb::ResolveMachineResponse> {
    let id: MachineId = wire::parse("machine_id", &request.machine_id)?;
    let account = wire::parse_optional("account_id", &request.account_id)?;
    let mut conn = api.connection().await?;
    let machine = match account {
        Some(account) => store::get(&mut conn, account, id).await?,
        None => store::resolve(&mut conn, id).await?,
    };
    Ok(pb::ResolveMachineResponse {
        machine: Some(machine.into()),
    })
}

pub(super) async fn list_work(
    api: &Api,
    request: &pb::ListMachineWorkRequest,
) -> Result<pb::ListMachineWorkResponse> {
    let page = Page::parse(request.page_size, "")?;
    let rows = store::work(&mut *api.connection().await?, page.limit() - 1).await?;
    Ok(pb::ListMachineWorkResponse {
        work: rows.into_iter().map(convert::work).collect(),
    })
}

pub(super) async fn record_verification(
    api: &Api,
    request: pb::RecordVerificationRequest,
) -> Result<pb::RecordVerificationResponse> {
    let (id, attempt, result) = convert::verification(request)?;
    if let Verification::Failed(reason) | Verification::Delayed(reason) = &result {
        tracing::info!(machine = %id, attempt, reason, "verification failed");
    }
    let after = change(api, id, |machine| {
        machine.record_verification(attempt, result, now())
    })
    .await?;
    Ok(pb::RecordVerificationResponse {
        machine: Some(after.into()),
    })
}

pub(super) async fn record_wipe(
    api: &Api,
    request: &pb::RecordWipeRequest,
) -> Result<pb::RecordWipeResponse> {
    let (id, attempt, result) = convert::wipe(request)?;
    match &result {
        Wipe::Done { report } => tracing::info!(machine = %id, attempt, report, "wiped"),
        Wipe::Failed(reason) | Wipe::Delayed(reason) => {
            tracing::info!(machine = %id, attempt, reason, "wipe failed");
        }
    }
    let after = change(api, id, |machine| {
        machine.record_wipe(attempt, result, now())
    })
    .await?;
    Ok(pb::RecordWipeResponse {
        machine: Some(after.into()),
    })
}

pub(super) async fn report_problem(
    api: &Api,
    request: &pb::ReportMachineProblemRequest,
) -> Result<pb::ReportMachineProblemResponse> {
    let (id, problem) = convert::problem(request)?;
    tracing::warn!(machine = %id, problem, "problem reported");
    change(api, id, |machine| {
        machine.apply(Event::Problem(problem), now())
    })
    .await?;
    Ok(pb::ReportMachineProblemResponse {})
}

async fn change(
    api: &Api,
    id: MachineId,
    decide: impl FnOnce(&Machine) -> Result<Machine>,
) -> Result<Machine> {
    let mut txn = api.db.begin().await.map_err(pg::error)?;
    let before = store::lock(&mut txn, id).await?;
    let after = decide(&before)?;
    // First: only a measured machine may become free.
    if before.verify_time != after.verify_time {
        store::save_facts(&mut txn, &after).await?;
    }
    store::save(&mut txn, &before, &after).await?;
    let after = store::resolve(&mut txn, id).await?;
    txn.commit().await.map_err(pg::error)?;
    Ok(after)
}
