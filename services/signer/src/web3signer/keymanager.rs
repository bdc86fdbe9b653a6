//! The standard Keymanager API, for an account: its keystores come and go, and
//! its validators get a fee recipient and a gas limit.
//!
//! A keystore that is deleted here signs no more from then on; its key stays,
//! DISABLED, until its owner says otherwise through the other API. What comes
//! without its past is QUARANTINED.

use super::settings::Setting;
use crate::domain::keystore::Keystore;
use crate::domain::validator::State;
use crate::domain::{Chain, PublicKey, Root, Validator, interchange};
use crate::keys::{Extent, Import, Imported, Keys, Wish};
use crate::store::{roster, validators};
use berth_core::{AccountId, Error, Resource, Result};
use berth_runtime::page::Page;
use berth_runtime::{pg, wire};
use futures::{StreamExt as _, TryStreamExt as _};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Most keystores, or public keys, of a request.
const MOST: usize = 100;
/// Keystores of a request under way at once.
const AT_ONCE: usize = 4;
/// Validators that are read at once.
const PAGE: i32 = 200;

/// Serves it from a database.
#[derive(Debug, Clone)]
pub(super) struct Keymanager {
    pub(super) db: PgPool,
    pub(super) keys: Keys,
}

#[derive(Deserialize)]
struct Brought {
    keystores: Vec<String>,
    passwords: Vec<SecretString>,
    slashing_protection: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    pubkeys: Vec<PublicKey>,
}

/// The part of an interchange that says which network it is of.
#[derive(Deserialize)]
struct Interchange {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    genesis_validators_root: Root,
}

impl Keymanager {
    /// The validators of the account that sign or may come to it.
    pub(super) async fn list(&self, account: AccountId) -> Result<Value> {
        let mut conn = self.db.acquire().await.map_err(pg::error)?;
        let mut data = Vec::new();
        let mut token = String::new();
        loop {
            let page = Page::parse(PAGE, &token)?;
            let rows = validators::list(&mut conn, account, None, &page).await?;
            let (rows, next) = page.cut(rows, |row| row.public_key.to_string());
            let here = rows.iter().filter(|row| match row.state {
                State::Quarantined | State::Active => true,
                State::Disabled | State::Removed => false,
            });
            data.extend(
                here.map(|row| json!({ "validating_pubkey": row.public_key, "readonly": false })),
            );
            if next.is_empty() {
                return Ok(json!({ "data": data }));
            }
            token = next;
        }
    }

    /// Takes keystores, and answers what became of each.
    pub(super) async fn import(&self, account_id: AccountId, body: &[u8]) -> Result<Value> {
        // What serde says of it could quote a password.
        let expected = "expected `keystores` and `passwords`, lists of strings";
        let brought: Brought =
            serde_json::from_slice(body).map_err(|_| Error::invalid("body", expected))?;
        few("keystores", brought.keystores.len())?;
        if brought.keystores.len() != brought.passwords.len() {
            return Err(Error::invalid("passwords", "must be one for each keystore"));
        }
        let protection = brought.slashing_protection.filter(|text| !text.is_empty());
        let chain = self.chain(protection.as_deref()).await?;
        let import = Import {
            account_id,
            request_id: Uuid::now_v7(),
            interchange: match &protection {
                Some(text) => interchange::parse(text, chain.genesis_validators_root)?,
                None => BTreeMap::new(),
            },
            chain,
            fresh: false,
            wish: Wish::default(),
        };
        let pairs = brought.keystores.into_iter().zip(brought.passwords);
        let taken: Vec<_> = futures::stream::iter(pairs)
            .map(|(keystore, password)| self.take(&import, keystore, password))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(json!({ "data": taken }))
    }

    async fn take(
        &self,
        import: &Import,
        keystore: String,
        password: SecretString,
    ) -> Result<Value> {
        let taken = match Keystore::parse(&keystore) {
            Ok(keystore) => self.keys.import(import, keystore, password).await?,
            Err(problem) => Imported::refused(None, problem),
        };
        let (status, message) = match taken {
            Imported::New(key) if import.covers(&key) => ("imported", String::new()),
            Imported::New(_) => (
                "imported",
                "QUARANTINED: it came without its slashing protection".to_owned(),
            ),
            Imported::Duplicate(_) => ("duplicate", String::new()),
            Imported::Refused { problem, .. } => ("error", problem),
        };
        Ok(json!({ "status": status, "message": message }))
    }

    /// The chain that keystores are for: the one that the interchange is of, or
    /// the only one.
    async fn chain(&self, protection: Option<&str>) -> Result<Chain> {
        let field = "slashing_protection";
        let named = protection
            .map(serde_json::from_str::<Interchange>)
            .transpose()
            .map_err(|problem| Error::invalid(field, problem))?;
        let root = named.map(|file| file.metadata.genesis_validators_root);
        let mut conn = self.db.acquire().await.map_err(pg::error)?;
        let chains = roster::chains(&mut conn).await?.into_iter();
        let mut fitting =
            chains.filter(|chain| root.is_none_or(|root| chain.genesis_validators_root == root));
        match (fitting.next(), fitting.next()) {
            (Some(chain), None) => Ok(chain),
            (Some(_), Some(_)) => Err(Error::invalid(
                field,
                "is needed, to know which chain the keystores are for",
            )),
            (None, _) => Err(Error::invalid(field, "is of no chain that is known here")),
        }
    }

    /// Silences validators, then gives what they signed.
    pub(super) async fn delete(&self, account: AccountId, body: &[u8]) -> Result<Value> {
        let Named { pubkeys } =
            serde_json::from_slice(body).map_err(|problem| Error::invalid("body", problem))?;
        few("pubkeys", pubkeys.len())?;
        let chain = self.chain_of(account, &pubkeys).await?;
        let mut data = Vec::with_capacity(pubkeys.len());
        let mut silent = BTreeSet::new();
        for key in pubkeys {
            let (status, message) = self.silence(account, &key).await?;
            if matches!(status, "deleted" | "not_active") {
                silent.insert(key);
            }
            data.push(json!({ "status": status, "message": message }));
        }
        let silent: Vec<_> = silent.into_iter().collect();
        let protection = match chain {
            Some(chain) if !silent.is_empty() => {
                self.keys
                    .export(account, &chain, &silent, Extent::Minified)
                    .await?
            }
            Some(_) | None => String::new(),
        };
        Ok(json!({ "data": data, "slashing_protection": protection }))
    }

    /// The one chain of these validators; an interchange has no more.
    async fn chain_of(&self, account: AccountId, keys: &[PublicKey]) -> Result<Option<Chain>> {
        let mut conn = self.db.acquire().await.map_err(pg::error)?;
        let mut names = BTreeSet::new();
        for key in keys {
            if let Some(known) = found(validators::get(&mut conn, account, key).await)? {
                names.insert(known.chain);
            }
        }
        if names.len() > 1 {
            let problem = "are of several chains; name those of one at a time";
            return Err(Error::invalid("pubkeys", problem));
        }
        let chains = roster::chains(&mut conn).await?;
        Ok(chains.into_iter().find(|chain| names.contains(&chain.name)))
    }

    /// From this on nothing is signed for it.
    async fn silence(&self, account: AccountId, key: &PublicKey) -> Result<(&str, &str)> {
        let mut conn = self.db.acquire().await.map_err(pg::error)?;
        let known = found(validators::get(&mut conn, account, key).await)?;
        drop(conn);
        let Some(known) = known else {
            return Ok(("not_found", ""));
        };
        match known.state {
            State::Active => {
                self.keys.disable(account, key).await?;
                Ok(("deleted", ""))
            }
            State::Disabled | State::Removed => Ok(("not_active", "")),
            State::Quarantined => Ok(("error", "QUARANTINED: it signs nothing already")),
        }
    }

    /// What is set.
    pub(super) async fn read(
        &self,
        account: AccountId,
        key: &str,
        setting: Setting,
    ) -> Result<Value> {
        let key = wire::parse("pubkey", key)?;
        let mut conn = self.db.acquire().await.map_err(pg::error)?;
        let known = validators::get(&mut conn, account, &key).await?;
        let set = setting.read(&known);
        set.map(|set| json!({ "data": set }))
            .ok_or_else(|| Error::not_found(Resource::Validator, key))
    }

    /// Sets it to what the body says; without one, to nothing.
    pub(super) async fn write(
        &self,
        account: AccountId,
        key: &str,
        setting: Setting,
        body: Option<&[u8]>,
    ) -> Result<()> {
        let key = wire::parse("pubkey", key)?;
        let wanted = body.map(|body| setting.value(body)).transpose()?;
        let mut txn = self.db.begin().await.map_err(pg::error)?;
        let before = validators::lock(&mut txn, account, &key).await?;
        let after = setting.of(&before, wanted.unwrap_or_default());
        validators::save(&mut txn, &before, &after).await?;
        txn.commit().await.map_err(pg::error)
    }
}

fn few(field: &str, count: usize) -> Result<()> {
    if count <= MOST {
        return Ok(());
    }
    Err(Error::invalid(field, format!("must be {MOST} at most")))
}

/// A validator of the account, where it has it.
fn found(validator: Result<Validator>) -> Result<Option<Validator>> {
    match validator {
        Ok(validator) => Ok(Some(validator)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
