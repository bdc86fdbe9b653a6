//! The catalogue.

use super::{Api, convert, pb};
use crate::catalogue;
use crate::domain::{Chain, ChainFiles};
use crate::store::chains as store;
use berth_core::{Error, Result, Violation};
use berth_provisioner::chain::{self, ChainEntry};
use berth_runtime::once::once;
use berth_runtime::page::Page;
use berth_runtime::{auth, pg, status, wire};
use tonic::Request;

/// Most bytes of all files together.
const MAX_FILES: usize = 3 << 20;

pub(super) async fn get(
    api: &Api,
    request: Request<pb::GetChainRequest>,
) -> Result<pb::GetChainResponse> {
    auth::account(&request)?;
    let id: String = wire::parse("chain", &request.get_ref().chain)?;
    Ok(pb::GetChainResponse {
        chain: Some(answer(api, &id).await?),
    })
}

pub(super) async fn list(
    api: &Api,
    request: Request<pb::ListChainsRequest>,
) -> Result<pb::ListChainsResponse> {
    auth::account(&request)?;
    let request = request.into_inner();
    let page = Page::parse(request.page_size, &request.page_token)?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let rows = store::list(&mut conn, &page).await?;
    let (rows, next_page_token) = page.cut(rows, |chain| chain.id.clone());
    let chains = rows
        .iter()
        .map(|row| {
            Ok(pb::Chain {
                chain_toml: String::new(),
                ..convert::chain(row, &catalogue::entry(row)?)
            })
        })
        .collect::<Result<_>>()?;
    Ok(pb::ListChainsResponse {
        chains,
        next_page_token,
    })
}

pub(super) async fn register(
    api: &Api,
    request: Request<pb::RegisterChainRequest>,
) -> Result<pb::RegisterChainResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let entry = ChainEntry::parse(&request.chain_toml).map_err(problems)?;
    let files = files(&entry, &request)?;
    if request.validate_only {
        let chain = Chain {
            id: entry.name.clone(),
            revision: 0,
            version: 0,
            create_time: berth_core::now(),
            chain_toml: request.chain_toml,
        };
        return Ok(pb::RegisterChainResponse {
            chain: Some(pb::Chain {
                etag: String::new(),
                create_time: None,
                ..convert::chain(&chain, &entry)
            }),
        });
    }
    introduce(api, &entry).await?;
    let id: String = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            store::register(txn, &entry.name, &request.chain_toml, &files).await?;
            Ok(entry.name.clone())
        },
    )
    .await?;
    Ok(pb::RegisterChainResponse {
        chain: Some(answer(api, &id).await?),
    })
}

/// Tells the signer of a chain whose validators it can serve: keys come before
/// nodes, and it takes none of a chain that it does not know.
async fn introduce(api: &Api, entry: &ChainEntry) -> Result<()> {
    let pinned = entry.signing().ok().filter(|_| convert::signs(entry));
    if let (Some(signer), Some(pinned)) = (&api.others.signer, pinned) {
        let told = signer.put_chain(&entry.name, pinned).await;
        told.map_err(|status| status::to_error(&status))?;
    }
    Ok(())
}

fn problems(invalid: chain::Invalid) -> Error {
    Error::Invalid {
        reason: "INVALID_FIELD",
        violations: invalid
            .0
            .iter()
            .map(|problem| Violation {
                field: "chain_toml".to_owned(),
                problem: problem.to_string(),
            })
            .collect(),
    }
}

fn files(entry: &ChainEntry, request: &pb::RegisterChainRequest) -> Result<ChainFiles> {
    let size: usize = request.files.values().map(Vec::len).sum();
    if size > MAX_FILES {
        let problem = format!("{size} bytes together, at most {MAX_FILES} are taken");
        return Err(Error::invalid("files", problem));
    }
    entry
        .check_files(&request.files)
        .map_err(|problem| Error::invalid("files", problem))?;
    Ok(request.files.clone())
}

pub(super) async fn pin(
    api: &Api,
    request: Request<pb::PinChainRequest>,
) -> Result<pb::PinChainResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id: String = wire::parse("chain", &request.chain)?;
    if request.digests.is_empty() {
        return Err(Error::invalid("digests", "is required"));
    }
    let id: String = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let chain = store::get(txn, &id).await?;
            let pinned = pinned(&chain, &request)?;
            if pinned != chain.chain_toml {
                store::pin(txn, &chain, &pinned).await?;
            }
            Ok(chain.id)
        },
    )
    .await?;
    Ok(pb::PinChainResponse {
        chain: Some(answer(api, &id).await?),
    })
}

/// The text with the digests filled in that it lacks.
fn pinned(chain: &Chain, request: &pb::PinChainRequest) -> Result<String> {
    let entry = catalogue::entry(chain)?;
    let mut text = chain.chain_toml.clone();
    for (component, digest) in &request.digests {
        let known = entry.components.iter().find(|c| c.name == *component);
        match known.and_then(|c| c.image.digest.as_ref()) {
            Some(known) if known == digest => {}
            Some(known) => {
                return Err(Error::precondition(
                    "DIGEST_PINNED",
                    format!(
                        "component `{component}` is pinned to {known}, which is never replaced: \
                         register a new version of the chain"
                    ),
                ));
            }
            None => {
                text = chain::pin(&text, component, digest)
                    .map_err(|problem| Error::invalid(format!("digests.{component}"), problem))?;
            }
        }
    }
    Ok(text)
}

async fn answer(api: &Api, id: &str) -> Result<pb::Chain> {
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let chain = store::get(&mut conn, id).await?;
    Ok(convert::chain(&chain, &catalogue::entry(&chain)?))
}
