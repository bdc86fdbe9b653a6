//! The catalogue.

use super::{Api, convert, pb};
use crate::catalogue;
use crate::domain::{Chain, ChainFiles};
use crate::store::chains as store;
use berth_core::{Error, Name, Result, Violation, Violations};
use berth_provisioner::chain::{self, ChainEntry};
use berth_runtime::once::{self, once};
use berth_runtime::page::Page;
use berth_runtime::{auth, pg, status, wire};
use tonic::Request;

/// Most digests in one call.
const MAX_DIGESTS: usize = 100;
/// Most bytes of all files together.
const MAX_FILES: usize = 3 << 20;

pub(super) async fn get(
    api: &Api,
    request: Request<pb::GetChainRequest>,
) -> Result<pb::GetChainResponse> {
    auth::account(&request)?;
    let id: Name = wire::parse("chain", &request.get_ref().chain)?;
    Ok(pb::GetChainResponse {
        chain: Some(answer(api, id.as_str()).await?),
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
    once::check(&request.request_id)?;
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
    let mut wrong = Violations::default();
    let id: Option<Name> = wrong.absorb(wire::parse("chain", &request.chain))?;
    if request.digests.is_empty() {
        wrong.add("digests", "is required");
    } else if request.digests.len() > MAX_DIGESTS {
        wrong.add("digests", format!("holds more than {MAX_DIGESTS}"));
    }
    for (component, digest) in request.digests.iter().take(MAX_DIGESTS) {
        if !is_digest(digest) {
            let field = format!("digests.{component}");
            wrong.add(field, "expected `sha256:` and 64 hex digits");
        }
    }
    let id = wrong.finish(id)?;
    let id: String = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let chain = store::get(txn, id.as_str()).await?;
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

fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
    digits.is_some_and(|hex| hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
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
