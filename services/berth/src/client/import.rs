//! Keys on their way into the signer: keystores sealed on this computer, or new
//! keys that the signer makes.

use super::interchange::Interchange;
use super::keystore_files::{Found, Keystore};
use super::output::{table, word};
use super::progress::Count;
use super::request_id;
use super::seal::Seal;
use super::validator::Client;
use anyhow::{Context as _, bail, ensure};
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::imported_key::Outcome;
use clap::Args;
use comfy_table::Table;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::{Code, Status};

/// How many keystores go at once. The signer opens each, which may take a
/// second, and the gateway waits half a minute for an answer.
const AT_ONCE: usize = 10;

/// How often the same is asked before Berth counts as away, and how long to
/// wait in between.
const TRIES: usize = 4;
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of the past of keys.
#[derive(Debug, Args)]
pub(crate) struct Past {
    /// What they signed elsewhere: an interchange (EIP-3076) of the old client
    #[arg(long, value_name = "FILE", conflicts_with = "fresh")]
    pub(super) protection: Option<PathBuf>,
    /// State that they were never used and are used nowhere else; on record
    #[arg(long)]
    pub(super) fresh: bool,
}

/// Keystores and what goes with them.
pub(super) struct Import<'a> {
    pub(super) chain: &'a str,
    pub(super) keystores: &'a [Keystore],
    pub(super) interchange: Option<&'a Interchange>,
    pub(super) fresh: bool,
    pub(super) fee_recipient: &'a str,
    pub(super) gas_limit: u64,
}

impl Past {
    /// Reads the interchange, if there is one.
    pub(super) fn read(&self) -> anyhow::Result<Option<Interchange>> {
        self.protection
            .as_deref()
            .map(Interchange::read)
            .transpose()
    }

    /// Says which keys nothing is known of.
    pub(super) fn warn(&self, keystores: &[Keystore], interchange: Option<&Interchange>) {
        let Some(interchange) = interchange else {
            if !self.fresh {
                eprintln!(
                    "Neither --protection nor --fresh is given: new keys will be QUARANTINED and \
                     sign nothing."
                );
            }
            return;
        };
        for keystore in keystores {
            let unknown = |key: &String| !interchange.covers(key);
            if keystore.public_key.as_ref().is_some_and(unknown) {
                eprintln!(
                    "{}: the interchange has no vote of its key, which will be QUARANTINED.",
                    keystore.name()
                );
            }
        }
    }
}

impl Import<'_> {
    /// Seals and sends them all; one that is refused does not stop the others.
    pub(super) async fn send(&self, client: &mut Client) -> anyhow::Result<pb::ImportKeysResponse> {
        let answer = client
            .get_sealing_key(pb::GetSealingKeyRequest {})
            .await?
            .into_inner();
        let seal = Seal::new(answer)?;
        let count = Count::new(self.keystores.len(), "keystores");
        let mut all = pb::ImportKeysResponse::default();
        for batch in self.keystores.chunks(AT_ONCE) {
            let request = self.request(&seal, batch)?;
            let sent = until_answered(async || client.import_keys(request.clone()).await);
            let answer = match sent.await {
                Ok(answer) => answer.into_inner(),
                Err(status) => {
                    if !all.keys.is_empty() {
                        eprintln!("The first {} were answered:", all.keys.len());
                        eprintln!("{}", self.outcomes(&all).trim_fmt());
                        eprintln!("Run it again for the rest: no key is taken twice.");
                    }
                    return Err(status.into());
                }
            };
            ensure!(
                answer.keys.len() == batch.len(),
                "{} keystores were sent and {} answered; see `berth key list`",
                batch.len(),
                answer.keys.len()
            );
            let before = u32::try_from(all.keys.len())?;
            all.keys
                .extend(answer.keys.into_iter().map(|key| pb::ImportedKey {
                    index: before.saturating_add(key.index),
                    ..key
                }));
            count.reached(all.keys.len());
        }
        Ok(all)
    }

    fn request(&self, seal: &Seal, batch: &[Keystore]) -> anyhow::Result<pb::ImportKeysRequest> {
        let close = |keystore: &Keystore| seal.close(keystore);
        let of = |interchange: &Interchange| {
            interchange.of(batch.iter().map(|keystore| keystore.public_key.as_deref()))
        };
        Ok(pb::ImportKeysRequest {
            request_id: request_id(),
            chain: self.chain.to_owned(),
            keystores: batch.iter().map(close).collect::<anyhow::Result<_>>()?,
            interchange: self.interchange.map(of).unwrap_or_default(),
            fresh: self.fresh,
            fee_recipient: self.fee_recipient.to_owned(),
            gas_limit: self.gas_limit,
        })
    }

    /// A keystore a line, with what became of it.
    pub(super) fn outcomes(&self, answer: &pb::ImportKeysResponse) -> Table {
        let rows = answer.keys.iter().map(|key| {
            let file = usize::try_from(key.index)
                .ok()
                .and_then(|index| self.keystores.get(index))
                .map(Keystore::name);
            [
                key.index.to_string(),
                file.unwrap_or_default(),
                key.public_key.clone(),
                word(key.outcome().as_str_name(), "OUTCOME_"),
                key.problem.clone(),
            ]
        });
        table(
            ["index", "file", "public key", "outcome", "problem"],
            rows.collect(),
        )
    }
}

/// Asks again with the same request while no answer comes: opening keystores
/// takes long, and a repeat goes on where the one before it is.
pub(super) async fn until_answered<T>(
    mut ask: impl AsyncFnMut() -> Result<T, Status>,
) -> Result<T, Status> {
    for _ in 1..TRIES {
        match ask().await {
            Err(status) if status.code() == Code::Unavailable => tokio::time::sleep(AGAIN).await,
            answer => return answer,
        }
    }
    ask().await
}

/// Fails when a keystore was refused.
pub(super) fn all_taken(answer: &pb::ImportKeysResponse) -> anyhow::Result<()> {
    let taken =
        |key: &&pb::ImportedKey| matches!(key.outcome(), Outcome::Imported | Outcome::Duplicate);
    let refused = answer.keys.len() - answer.keys.iter().filter(taken).count();
    ensure!(
        refused == 0,
        "{refused} of {} keystores were refused; put right what the table says and run it again: \
         no key is taken twice",
        answer.keys.len()
    );
    Ok(())
}

/// Says what was passed over.
pub(super) fn show_others(found: &Found) {
    for other in &found.others {
        eprintln!("Passed over {other}");
    }
}

/// The keystores that would be sent.
pub(super) fn keystores(found: &Found) -> Table {
    let rows = found.keystores.iter().map(|keystore| {
        let key = keystore.public_key.as_deref();
        [
            keystore.name(),
            key.unwrap_or("known once it is opened").to_owned(),
        ]
    });
    table(["file", "public key"], rows.collect())
}

/// New keys.
pub(super) struct NewKeys<'a> {
    pub(super) chain: &'a str,
    pub(super) count: u32,
    pub(super) withdrawal_address: &'a str,
    pub(super) fee_recipient: &'a str,
    pub(super) gas_limit: u64,
}

impl NewKeys<'_> {
    /// Lets the signer make them and writes their deposit data. Its file is made
    /// before the keys are, because without it they are of no use.
    pub(super) async fn make(
        &self,
        client: &mut Client,
        deposit_data: Option<&Path>,
    ) -> anyhow::Result<pb::GenerateKeysResponse> {
        let path = deposit_data.map_or_else(|| default_name(self.chain), Path::to_owned);
        let mut file = new_file(&path)?;
        let request = pb::GenerateKeysRequest {
            request_id: request_id(),
            chain: self.chain.to_owned(),
            count: self.count,
            withdrawal_address: self.withdrawal_address.to_owned(),
            fee_recipient: self.fee_recipient.to_owned(),
            gas_limit: self.gas_limit,
        };
        let made = until_answered(async || client.generate_keys(request.clone()).await).await;
        let answer = match made {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                std::fs::remove_file(&path).ok();
                return Err(status.into());
            }
        };
        let written = file.write_all(answer.deposit_data.as_bytes());
        if let Err(error) = written.and_then(|()| file.sync_all()) {
            eprintln!("{}", answer.deposit_data);
            bail!(
                "the keys are made, and {} cannot be written ({error}): keep the text above",
                path.display()
            );
        }
        eprintln!(
            "The deposit data is in {}: give it to the launchpad to stake.",
            path.display()
        );
        Ok(answer)
    }
}

/// Where deposit data goes when nobody says it.
fn default_name(chain: &str) -> PathBuf {
    let now = berth_core::now().format("%Y%m%dT%H%M%SZ");
    PathBuf::from(format!("deposit_data-{chain}-{now}.json"))
}

/// A file that was not there before.
pub(super) fn new_file(path: &Path) -> anyhow::Result<File> {
    File::create_new(path).with_context(|| {
        let hint = if path.exists() {
            "; choose another name"
        } else {
            ""
        };
        format!("cannot make {}{hint}", path.display())
    })
}
