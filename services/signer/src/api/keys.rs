//! Key calls: those that come sealed, and new ones.

use super::{Api, convert, pb};
use crate::domain::eth::deposit::Deposit;
use crate::domain::validator::Past;
use crate::domain::{Chain, PublicKey, Watermarks, interchange};
use crate::keys::{Import, Imported};
use crate::sealing::SealingKey;
use crate::store::{chains, validators};
use berth_core::{Error, Result};
use berth_runtime::auth;
use berth_runtime::once::once;
use futures::{StreamExt as _, TryStreamExt as _};
use std::collections::BTreeMap;
use tonic::Request;

/// Keystores of one request under way at once.
const AT_ONCE: usize = 4;

pub(super) async fn sealing_key(
    api: &Api,
    request: Request<pb::GetSealingKeyRequest>,
) -> Result<pb::GetSealingKeyResponse> {
    let account = auth::account(&request)?;
    Ok(pb::GetSealingKeyResponse {
        public_key: api.sealing().await?.public_key().to_vec(),
        account_id: account.to_string(),
    })
}

pub(super) async fn import(
    api: &Api,
    request: Request<pb::ImportKeysRequest>,
) -> Result<pb::ImportKeysResponse> {
    let account_id = auth::account(&request)?;
    let request = request.into_inner();
    let (request_id, chain, wish) = convert::import(&request)?;
    let chain = chains::get(&mut *api.connection().await?, chain.as_str()).await?;
    let import = Import {
        account_id,
        request_id,
        interchange: history(&request.interchange, &chain)?,
        chain,
        fresh: request.fresh,
        wish,
    };
    let sealing = api.sealing().await?;
    // Each key ends right however often it comes: nothing more is claimed here
    // than the identifier of the request.
    once(
        &api.db,
        account_id,
        &request.request_id,
        &request,
        async |_| Ok(String::new()),
    )
    .await?;
    let keystores = request.keystores.iter();
    let takes: Vec<_> = keystores
        .map(|sealed| take(api, &import, sealing, sealed))
        .collect();
    let taken: Vec<_> = futures::stream::iter(takes)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let keys = taken.into_iter().enumerate();
    let keys = keys
        .map(|(index, one)| convert::imported(index, one))
        .collect();
    Ok(pb::ImportKeysResponse { keys })
}

async fn take(
    api: &Api,
    import: &Import,
    sealing: &SealingKey,
    sealed: &pb::SealedKeystore,
) -> Result<Imported> {
    let account = import.account_id;
    match sealing.open(account, &sealed.encapsulated_key, &sealed.ciphertext) {
        Ok((keystore, password)) => api.keys.import(import, keystore, password).await,
        Err(problem) => Ok(Imported::refused(None, problem)),
    }
}

fn history(text: &str, chain: &Chain) -> Result<BTreeMap<PublicKey, Watermarks>> {
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    interchange::parse(text, chain.genesis_validators_root)
}

pub(super) async fn generate(
    api: &Api,
    request: Request<pb::GenerateKeysRequest>,
) -> Result<pb::GenerateKeysResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let new = convert::new_keys(&request)?;
    let mut conn = api.connection().await?;
    let chain = chains::get(&mut conn, new.chain.as_str()).await?;
    let earlier = validators::of_request(&mut conn, account, new.request_id).await?;
    drop(conn);
    let made = if earlier.is_empty() {
        api.keys.make(new.count).await?
    } else {
        Vec::new()
    };
    once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            for key in &made {
                let one = validators::open(txn, account, &chain.name, key).await?;
                let before = one.ok_or_else(|| Error::internal("a new key is known already"))?;
                let after = before.held(new.request_id, Past::Fresh, berth_core::now())?;
                validators::save(txn, &before, &new.wish.of(after)).await?;
            }
            Ok(String::new())
        },
    )
    .await?;
    let mut conn = api.connection().await?;
    let known = validators::of_request(&mut conn, account, new.request_id).await?;
    drop(conn);
    // Another copy of the request was faster.
    let ours = |key: &PublicKey| known.iter().any(|one| one.public_key == *key);
    let surplus: Vec<_> = made.into_iter().filter(|key| !ours(key)).collect();
    api.keys.discard(&surplus).await;
    let mut deposits = Vec::with_capacity(known.len());
    for one in &known {
        let key = api.keys.get(&one.public_key).await?;
        deposits.push(Deposit::new(&chain, &key, new.withdrawal_address));
    }
    Ok(pb::GenerateKeysResponse {
        validators: known.into_iter().map(Into::into).collect(),
        deposit_data: serde_json::to_string(&deposits).map_err(Error::internal)?,
    })
}
