//! Offer calls: read the request, decide, store, answer.

use super::{Api, convert, machines, pb};
use crate::domain::{NewOffer, Place, State};
use crate::store::{machines as machine_store, offers as store};
use berth_core::{AccountId, Error, OfferId, Result};
use berth_runtime::once::once;
use berth_runtime::page::Page;
use berth_runtime::{auth, wire};
use tonic::Request;

pub(super) async fn create(
    api: &Api,
    request: Request<pb::CreateOfferRequest>,
) -> Result<pb::CreateOfferResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let (machine, price, terms) = convert::new_offer(request.spec.as_ref())?;
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let machine_id = machines::find(txn, account, "spec.machine_id", &machine).await?;
            let machine = machine_store::lock(txn, machine_id).await?;
            if machine.state == State::Retired {
                return Err(Error::precondition(
                    "MACHINE_STATE",
                    format!(
                        "machine `{}` is RETIRED and cannot be offered",
                        machine.name
                    ),
                ));
            }
            let new = NewOffer {
                machine_id,
                price,
                terms,
            };
            store::insert(txn, account, &new).await
        },
    )
    .await?;
    let offer = read(api, account, id).await?;
    Ok(pb::CreateOfferResponse { offer })
}

pub(super) async fn get(
    api: &Api,
    request: Request<pb::GetOfferRequest>,
) -> Result<pb::GetOfferResponse> {
    let account = auth::account(&request)?;
    let id = wire::parse("offer_id", &request.get_ref().offer_id)?;
    let offer = read(api, account, id).await?;
    Ok(pb::GetOfferResponse { offer })
}

pub(super) async fn list(
    api: &Api,
    request: Request<pb::ListOffersRequest>,
) -> Result<pb::ListOffersResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let page = Page::parse(request.page_size, &request.page_token)?;
    let after: Option<Place> =
        page.after().map(str::parse).transpose().map_err(|()| {
            Error::invalid("page_token", "is not a `next_page_token` of this list")
        })?;
    let mut conn = api.connection().await?;
    let machine = match request.machine_id.as_str() {
        "" => None,
        // Offers are for everybody: an identifier may be another account's.
        text => match text.parse() {
            Ok(id) => Some(id),
            Err(_) => Some(machines::find(&mut conn, account, "machine_id", text).await?),
        },
    };
    let rows = store::list(&mut conn, machine, after.as_ref(), &page).await?;
    let (rows, next_page_token) = page.cut(rows, |row| row.place().to_string());
    Ok(pb::ListOffersResponse {
        offers: rows.into_iter().map(Into::into).collect(),
        next_page_token,
    })
}

pub(super) async fn close(
    api: &Api,
    request: Request<pb::CloseOfferRequest>,
) -> Result<pb::CloseOfferResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id: OfferId = wire::parse("offer_id", &request.offer_id)?;
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            store::close(txn, account, id).await?;
            Ok(id)
        },
    )
    .await?;
    let offer = read(api, account, id).await?;
    Ok(pb::CloseOfferResponse { offer })
}

async fn read(api: &Api, account: AccountId, id: OfferId) -> Result<Option<pb::Offer>> {
    let offer = store::get(&mut *api.connection().await?, account, id).await?;
    Ok(Some(offer.into()))
}
