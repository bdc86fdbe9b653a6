//! What `berth node launch` needs of a validator: where fees go, and its keys,
//! which it brings into the signer first.

use super::exit::WrongUsage;
use super::import::{self, Import, NewKeys, Past};
use super::interchange::Interchange;
use super::keystore_files::{self, Found};
use super::typed;
use super::validator::{self, Client};
use anyhow::Context as _;
use clap::Args;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Arguments of the role validator.
#[derive(Debug, Args)]
#[command(next_help_heading = "Only for the role validator")]
pub(super) struct Staking {
    /// Execution address that gets the fees of its blocks; there is no default
    #[arg(
        long,
        value_name = "ADDRESS",
        value_parser = typed::address,
        required_if_eq("role", "validator")
    )]
    fee_recipient: Option<String>,
    /// Keystores (EIP-2335), or folders of them, to import first
    #[arg(long, value_name = "DIR|FILE", num_args = 1.., group = "keys_from", requires = "password_file")]
    keys: Vec<PathBuf>,
    /// File with the password of all, or folder with NAME.txt for each NAME.json
    #[arg(long, value_name = "FILE|DIR", requires = "keys")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    past: Past,
    /// Or let the signer make so many new keys first
    #[arg(
        long,
        value_name = "N",
        group = "keys_from",
        requires = "withdrawal_address",
        value_parser = clap::value_parser!(u32).range(1..=100)
    )]
    generate: Option<u32>,
    /// Execution address that the stake of new keys goes back to, for ever
    #[arg(long, value_name = "ADDRESS", value_parser = typed::address, requires = "generate")]
    withdrawal_address: Option<String>,
    /// New file for the deposit data of new keys; one in this folder when absent
    #[arg(long, value_name = "FILE", requires = "generate")]
    deposit_data: Option<PathBuf>,
    /// Or the public keys of validators that are with the signer
    #[arg(
        long = "validator",
        value_name = "PUBLIC_KEY",
        num_args = 1..,
        group = "keys_from",
        value_parser = typed::public_key
    )]
    validators: Vec<String>,
    /// Gas limit that registrations with block builders name; 0 for none
    #[arg(long)]
    gas_limit: Option<u64>,
    /// Text in its blocks, at most 32 bytes
    #[arg(long, value_parser = graffiti)]
    graffiti: Option<String>,
}

/// The keys of a node that is to be launched.
pub(super) enum Keys {
    /// It has none.
    None,
    /// These files.
    Files(Found, Option<Interchange>),
    /// The signer makes so many.
    New(u32),
    /// They are with the signer.
    There(Vec<String>),
}

fn graffiti(text: &str) -> Result<String, String> {
    if text.len() > 32 {
        return Err(format!("at most 32 bytes; this has {}", text.len()));
    }
    Ok(text.to_owned())
}

impl Staking {
    /// Where the keys come from; reads those in files.
    pub(super) fn keys(&self, validator: bool) -> anyhow::Result<Keys> {
        let wrong = |what: &str| Err(WrongUsage(what.to_owned()).into());
        let given = !self.keys.is_empty() || self.generate.is_some() || !self.validators.is_empty();
        let fees = self.fee_recipient.is_some() || self.gas_limit.is_some();
        let past = self.past.fresh || self.past.protection.is_some();
        if !validator {
            if given || fees || past || self.graffiti.is_some() {
                return wrong(
                    "keys, fee recipient, gas limit and graffiti are for --role validator",
                );
            }
            return Ok(Keys::None);
        }
        if past && self.keys.is_empty() {
            return wrong("--protection and --fresh go with --keys");
        }
        if let Some(count) = self.generate {
            return Ok(Keys::New(count));
        }
        if !self.validators.is_empty() {
            return Ok(Keys::There(distinct(&self.validators)));
        }
        let Some(passwords) = &self.password_file else {
            return wrong(
                "a validator needs keys: --keys DIR --password-file FILE for those that you have, \
                 --generate N for new ones, or --validator PUBLIC_KEY for those with the signer",
            );
        };
        let found = keystore_files::read(&self.keys, passwords)?;
        import::show_others(&found);
        Ok(Keys::Files(found, self.past.read()?))
    }

    /// Settings of the chain that these arguments are.
    pub(super) fn settings(&self) -> impl Iterator<Item = (String, String)> {
        let setting = |name: &str, value: &Option<String>| {
            value.clone().map(|value| (name.to_owned(), value))
        };
        [
            setting("fee_recipient", &self.fee_recipient),
            setting("graffiti", &self.graffiti),
        ]
        .into_iter()
        .flatten()
    }

    /// Brings the keys into the signer and returns their public keys.
    pub(super) async fn bring(
        &self,
        signer: &mut Client,
        chain: &str,
        keys: Keys,
    ) -> anyhow::Result<Vec<String>> {
        let fee_recipient = self.fee_recipient.as_deref().unwrap_or_default();
        let keys = match keys {
            Keys::None => return Ok(Vec::new()),
            Keys::There(keys) => keys,
            Keys::New(count) => self.generate(signer, chain, count).await?,
            Keys::Files(found, interchange) => {
                let import = Import {
                    chain,
                    keystores: &found.keystores,
                    interchange: interchange.as_ref(),
                    fresh: self.past.fresh,
                    fee_recipient,
                    gas_limit: self.gas_limit.unwrap_or_default(),
                };
                self.past.warn(&found.keystores, interchange.as_ref());
                let answer = import.send(signer).await?;
                eprintln!("{}", import.outcomes(&answer).trim_fmt());
                import::all_taken(&answer).context("nothing was launched")?;
                let keys: Vec<_> = answer.keys.into_iter().map(|key| key.public_key).collect();
                distinct(&keys)
            }
        };
        validator::settle(signer, &keys, fee_recipient, self.gas_limit).await?;
        Ok(keys)
    }

    /// Says what would be brought.
    pub(super) fn show(&self, keys: &Keys) {
        match keys {
            Keys::None | Keys::There(_) => {}
            Keys::New(count) => eprintln!("Would let the signer make {count} new keys."),
            Keys::Files(found, interchange) => {
                self.past.warn(&found.keystores, interchange.as_ref());
                eprintln!("Would seal and send these {}:", found.keystores.len());
                eprintln!("{}", import::keystores(found).trim_fmt());
            }
        }
    }

    async fn generate(
        &self,
        signer: &mut Client,
        chain: &str,
        count: u32,
    ) -> anyhow::Result<Vec<String>> {
        let new = NewKeys {
            chain,
            count,
            withdrawal_address: self.withdrawal_address.as_deref().unwrap_or_default(),
            fee_recipient: self.fee_recipient.as_deref().unwrap_or_default(),
            gas_limit: self.gas_limit.unwrap_or_default(),
        };
        let answer = new.make(signer, self.deposit_data.as_deref()).await?;
        let keys = answer.validators.into_iter().map(|one| one.public_key);
        let keys: Vec<String> = keys.collect();
        eprintln!("The signer made these keys:\n  {}", keys.join("\n  "));
        Ok(keys)
    }
}

impl Keys {
    /// Whether the signer does not have them yet, as far as is known here.
    pub(super) fn are_to_come(&self) -> bool {
        matches!(self, Self::Files(..) | Self::New(_))
    }

    /// The public keys that are known now.
    pub(super) fn public_keys(&self) -> Vec<String> {
        match self {
            Self::None | Self::New(_) => Vec::new(),
            Self::There(keys) => keys.clone(),
            Self::Files(found, _) => {
                let keys = found.keystores.iter();
                distinct(
                    &keys
                        .filter_map(|one| one.public_key.clone())
                        .collect::<Vec<_>>(),
                )
            }
        }
    }

    /// Those of them that the signer has already.
    pub(super) async fn known(&self, signer: &mut Client) -> anyhow::Result<Vec<String>> {
        let mut keys = self.public_keys();
        if self.are_to_come() && !keys.is_empty() {
            let all = validator::all(signer, "").await?.validators;
            let there: BTreeSet<String> = all.into_iter().map(|one| one.public_key).collect();
            keys.retain(|key| there.contains(key));
        }
        Ok(keys)
    }
}

/// Each once, sorted.
fn distinct(keys: &[String]) -> Vec<String> {
    let keys: BTreeSet<&String> = keys.iter().collect();
    keys.into_iter().cloned().collect()
}
