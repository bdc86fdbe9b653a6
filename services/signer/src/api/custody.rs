//! What monitoring saw of keys that came without their past.

use super::{Answer, Api, convert, pb};
use crate::anchor::ceiling;
use crate::domain::custody::{Seen, release};
use crate::domain::validator::Event;
use crate::domain::{Chain, PublicKey, Root, Validator, Watermarks};
use crate::store::{chains, custody, history, validators};
use berth_core::{Error, Name, Result, Violations};
use berth_proto::signing::v1::custody_service_server::CustodyService;
use berth_runtime::page::Page;
use berth_runtime::{pg, status, wire};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use tonic::Request;

#[tonic::async_trait]
impl CustodyService for Api {
    async fn list_quarantined(
        &self,
        request: Request<pb::ListQuarantinedRequest>,
    ) -> Answer<pb::ListQuarantinedResponse> {
        status::reply(list(self, request).await)
    }

    async fn report_observation(
        &self,
        request: Request<pb::ReportObservationRequest>,
    ) -> Answer<pb::ReportObservationResponse> {
        status::reply(report(self, request).await)
    }
}

async fn list(
    api: &Api,
    request: Request<pb::ListQuarantinedRequest>,
) -> Result<pb::ListQuarantinedResponse> {
    let request = request.into_inner();
    let mut violations = Violations::default();
    let page = violations.absorb(Page::parse(request.page_size, &request.page_token))?;
    let name: Option<Name> = violations.absorb(wire::parse("chain", &request.chain))?;
    let (page, name) = violations.finish(page.zip(name))?;
    let mut conn = api.connection().await?;
    let chain = chains::get(&mut conn, name.as_str()).await?;
    let rows = custody::quarantined(&mut conn, &chain.name, &page).await?;
    let (rows, next_page_token) = page.cut(rows, |row| row.public_key.to_string());
    let key = |row: Validator| pb::QuarantinedKey {
        public_key: row.public_key.to_string(),
        quarantine_time: Some(wire::timestamp(row.quarantine_time)),
    };
    Ok(pb::ListQuarantinedResponse {
        chain: Some(chain.into()),
        keys: rows.into_iter().map(key).collect(),
        next_page_token,
    })
}

async fn report(
    api: &Api,
    request: Request<pb::ReportObservationRequest>,
) -> Result<pb::ReportObservationResponse> {
    let request = request.into_inner();
    let mut violations = Violations::default();
    let key = violations.absorb(wire::parse("public_key", &request.public_key))?;
    let name = violations.absorb(wire::parse("chain", &request.chain))?;
    let root = Root::try_from(&request.genesis_validators_root[..]);
    let root = violations.check("genesis_validators_root", root);
    let seen = violations.absorb(convert::seen(request.seen))?;
    let all = key.zip(name).zip(root.zip(seen));
    let ((key, name), (root, seen)): ((PublicKey, Name), (Root, Seen)) = violations.finish(all)?;
    let now = api.now()?;
    let mut txn = api.db.begin().await.map_err(pg::error)?;
    let chain = chains::get(&mut txn, &name.to_string()).await?;
    if chain.genesis_validators_root != root {
        let why = format!("`{name}` is not the network with the genesis validators root {root}");
        return Err(Error::precondition("CHAIN_PINNED", why));
    }
    let before = custody::lock(&mut txn, &key).await?;
    if before.chain != chain.name {
        let why = format!("{key} is a validator of chain `{}`", before.chain);
        return Err(Error::precondition("VALIDATOR_CHAIN", why));
    }
    let after = judge(&chain, &before, &seen, now)?;
    if let Seen::Silent { .. } = seen {
        raise(&mut txn, &chain, &key, now).await?;
    }
    validators::save(&mut txn, &before, &after).await?;
    txn.commit().await.map_err(pg::error)?;
    if let Seen::Silent { first, last } = seen {
        tracing::info!(
            validator = %key,
            first,
            last,
            "silent on its chain since it came: the key may sign"
        );
    }
    let status = pb::Validator::from(after).status.unwrap_or_default();
    Ok(pb::ReportObservationResponse {
        state: status.state,
    })
}

/// The validator after what was seen of it.
fn judge(chain: &Chain, before: &Validator, seen: &Seen, now: u64) -> Result<Validator> {
    match seen {
        Seen::Silent { first, last } => {
            let after = before.apply(Event::Silence)?;
            before.silent_since(*first)?;
            let since = u64::try_from(before.quarantine_time.timestamp()).unwrap_or(u64::MAX);
            release(chain, (*first, *last), since.saturating_add(1), now)?;
            Ok(Validator {
                status_reason: format!(
                    "nothing of it was seen on its chain from epoch {first} to {last}"
                ),
                ..after
            })
        }
        Seen::Active { epoch } => Ok(Validator {
            active_epoch: before.active_epoch.max(Some(*epoch)),
            ..before.stays(format!(
                "active elsewhere: the chain shows it in epoch {epoch}; stop it there"
            ))?
        }),
        Seen::Idle { status } => before.stays(format!(
            "not active on its chain yet ({status}), so that silence there says nothing"
        )),
    }
}

/// Nothing that may have been signed until now is signed again.
async fn raise(conn: &mut PgConnection, chain: &Chain, key: &PublicKey, now: u64) -> Result<()> {
    let account = custody::account(conn, key).await?;
    let above = ceiling(chain, now);
    let above = Watermarks {
        block: Some(above.slot.unsigned_abs()),
        vote: Some((above.source.unsigned_abs(), above.target.unsigned_abs())),
        ..Watermarks::default()
    };
    let above = BTreeMap::from([(*key, above)]);
    history::raise(conn, account, &chain.name, &above).await?;
    Ok(())
}
