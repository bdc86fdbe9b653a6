//! The anchor: one record in Vault that says how far the database had come, so
//! that a database which went back is noticed before anything is signed on it.
//!
//! At most a second behind, moved by compare-and-set, shared by all replicas on
//! one database. Vault away at start: nothing is signed until it answers. Vault
//! away later: signing goes on, and the log says so once. A running signer also
//! knows how far the database had come at its last look, and so notices without
//! Vault, and with each new connection, when that is undone under it.

use crate::domain::refusal::Reason;
use crate::domain::{Chain, Refusal};
use crate::store::checks::Lineage;
use crate::store::seals::{self, Ceiling, Mark, Seal};
use crate::store::withdrawn;
use crate::withdrawals::Withdrawn;
use berth_core::{Error, Result, report};
use berth_runtime::pg;
use berth_secrets::{Record, SignerPath, Vault};
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use uuid::Uuid;

/// Pause between two looks while anchored.
const EVERY: Duration = Duration::from_secs(1);
/// Pause between two looks while not.
const AGAIN: Duration = Duration::from_secs(3);
/// What to do where the database is not the one that the anchor knows.
const REMEDY: &str = "see that this is the newest database and no other signer runs on another, \
                      then run `berth-signer reanchor`";

/// Which database, and where it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Here {
    database_id: Uuid,
    lineage: Lineage,
}

/// How far a database had come.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    here: Here,
    seal: Seal,
}

impl Position {
    fn fields(&self) -> BTreeMap<String, String> {
        [
            ("database_id", self.here.database_id.to_string()),
            ("timeline", self.here.lineage.0.clone()),
            ("sequence", self.seal.sequence.to_string()),
            ("hash", hex::encode(&self.seal.hash)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn parse(fields: &BTreeMap<String, String>) -> Option<Self> {
        let field = |name| fields.get(name);
        Some(Self {
            here: Here {
                database_id: field("database_id")?.parse().ok()?,
                lineage: Lineage(field("timeline")?.clone()),
            },
            seal: Seal {
                sequence: field("sequence")?.parse().ok()?,
                hash: hex::decode(field("hash")?).ok()?,
            },
        })
    }
}

/// Why nothing is signed before the first look.
const NOT_COMPARED: &str = "not compared with Vault yet";

/// What the looks have shown.
#[derive(Debug, Clone)]
struct Known {
    /// Where the database lives that may be signed on, or why none may.
    state: Result<Lineage, String>,
    /// How far it had come when it last could be. Stays when it no longer may:
    /// the anchor in Vault may be behind.
    mark: Option<Mark>,
}

/// Holds a database against the anchor.
#[derive(Debug)]
pub struct Anchor {
    vault: Vault,
    known: RwLock<Known>,
}

impl Anchor {
    /// Nothing may be signed until [`Self::look`].
    #[must_use]
    pub fn new(vault: Vault) -> Self {
        let known = RwLock::new(Known {
            state: Err(NOT_COMPARED.to_owned()),
            mark: None,
        });
        Self { vault, known }
    }

    /// Whether this database may be signed on.
    ///
    /// # Errors
    ///
    /// `NOT_ANCHORED`, with what to do.
    pub fn check(&self) -> Result<(), Refusal> {
        self.known()
            .state
            .map(drop)
            .map_err(|problem| Refusal::new(Reason::NotAnchored, problem))
    }

    /// How far the database must have come for what is signed to be recorded
    /// there, on a server of this lineage: a promoted standby, and a database that
    /// was put back, are met by a connection before the next look.
    ///
    /// # Errors
    ///
    /// Why nothing may be recorded there.
    pub fn permits(&self, lineage: &Lineage) -> Result<Option<Mark>, String> {
        let Known { state, mark } = self.known();
        let anchored = state?;
        if *lineage == anchored {
            Ok(mark)
        } else {
            Err(moved(&anchored, lineage))
        }
    }

    fn known(&self) -> Known {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Seals and looks, again and again.
    pub async fn keep(&self, db: &PgPool) {
        let mut away = false;
        loop {
            match self.look(db).await {
                Ok(()) => away = false,
                Err(error) if std::mem::replace(&mut away, true) => {
                    tracing::debug!(error = report(&error), "still cannot move the anchor");
                }
                Err(error) => {
                    let error = report(&error);
                    tracing::error!(
                        error,
                        "cannot move the anchor; what is signed meanwhile is not in it"
                    );
                }
            }
            let pause = if self.known().state.is_ok() {
                EVERY
            } else {
                AGAIN
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Seals what is new, compares, and moves the anchor.
    ///
    /// # Errors
    ///
    /// When the database or Vault do not answer; then what was known stays.
    pub async fn look(&self, db: &PgPool) -> Result<()> {
        let mut conn = db.acquire().await.map_err(pg::error)?;
        let before = self.known();
        if let Some(problem) = undone(&mut conn, before.mark.as_ref()).await? {
            self.learn(Err(problem), before.mark);
            return Ok(());
        }
        let here = here(&mut conn).await?;
        if before.state.as_ref() == Ok(&here.lineage) {
            seals::seal(&mut *conn).await?;
            // Known from here on, whether Vault can be told or not.
            let mark = seals::mark(&mut *conn).await?;
            self.learn(before.state.clone(), mark);
        }
        let verdict = self.verdict(&mut conn, here, before.state.is_err()).await?;
        let mark = match &verdict {
            Ok(_) => seals::mark(&mut *conn).await?,
            Err(_) => self.known().mark,
        };
        self.learn(verdict, mark);
        Ok(())
    }

    fn learn(&self, state: Result<Lineage, String>, mark: Option<Mark>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.state != state {
            match &state {
                Ok(_) => tracing::info!("the database is anchored"),
                Err(problem) => tracing::error!(problem, "nothing is signed"),
            }
        }
        *known = Known { state, mark };
    }

    /// Where the database lives when it is the anchored one, else why not.
    async fn verdict(
        &self,
        conn: &mut PgConnection,
        here: Here,
        anew: bool,
    ) -> Result<Result<Lineage, String>> {
        let Some((version, known)) = self.read().await? else {
            return self.first(conn, here).await;
        };
        if let Some(problem) = difference(conn, &here, known.as_ref()).await? {
            return Ok(Err(problem));
        }
        if anew && let Some(problem) = seals::contradiction(conn).await? {
            return Ok(Err(format!("{problem}: {REMEDY}")));
        }
        let newest = seals::newest(&mut *conn).await?;
        if newest.as_ref() != known.as_ref().map(|known| &known.seal)
            && let Some(seal) = newest
        {
            // Another replica may have moved it; the next look says whether to here.
            self.write(&here, &seal, version).await?;
        }
        Ok(Ok(here.lineage))
    }

    /// Makes the anchor of a database that never signed.
    async fn first(&self, conn: &mut PgConnection, here: Here) -> Result<Result<Lineage, String>> {
        if !seals::is_new(&mut *conn).await? {
            return Ok(Err(format!(
                "Vault has no anchor of this database: {REMEDY}"
            )));
        }
        let seal = match seals::newest(&mut *conn).await? {
            Some(seal) => Some(seal),
            None => seals::begin(&mut *conn, 0).await?,
        };
        if let Some(seal) = seal
            && self.write(&here, &seal, 0).await?
        {
            tracing::info!(id = %here.database_id, "made the anchor of a new database");
            return Ok(Ok(here.lineage));
        }
        // Another replica is faster; the next look compares with what it made.
        Ok(Err(NOT_COMPARED.to_owned()))
    }

    /// Why this database may not be signed on as it is, if it may not.
    ///
    /// # Errors
    ///
    /// Those of the database and of Vault.
    pub async fn problem(&self, db: &PgPool) -> Result<Option<String>> {
        let mut conn = db.acquire().await.map_err(pg::error)?;
        let here = here(&mut conn).await?;
        let Some((_, known)) = self.read().await? else {
            return Ok(Some("Vault has no anchor of this database".to_owned()));
        };
        match difference(&mut conn, &here, known.as_ref()).await? {
            Some(problem) => Ok(Some(problem)),
            None => seals::contradiction(&mut conn).await,
        }
    }

    /// Makes the database the anchored one, whatever the anchor says, with the
    /// watermarks of all validators at the ceilings or above, and what was
    /// withdrawn DISABLED.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when another signer moves the anchor meanwhile,
    /// those of the database and of Vault.
    pub async fn anew(
        &self,
        db: &PgPool,
        ceilings: &[Ceiling],
        withdrawals: &Withdrawn,
    ) -> Result<u64> {
        let known = self.read().await?;
        let (version, sequence) = match &known {
            Some((version, Some(known))) => (*version, known.seal.sequence.saturating_add(1)),
            Some((version, None)) => (*version, 0),
            None => (0, 0),
        };
        let mut txn = db.begin().await.map_err(pg::error)?;
        let raised = seals::raise_all(&mut txn, ceilings).await?;
        withdrawn::disable(&mut txn, withdrawals).await?;
        let seal = seals::begin(&mut *txn, sequence).await?;
        let here = here(&mut txn).await?;
        txn.commit().await.map_err(pg::error)?;
        if let Some(seal) = seal
            && self.write(&here, &seal, version).await?
        {
            return Ok(raised);
        }
        Err(Error::precondition(
            "NOT_ANCHORED",
            "another signer moved the anchor meanwhile: stop the signers on other databases \
             and run this again",
        ))
    }

    /// The version of the record, and what it says unless it is damaged.
    async fn read(&self) -> Result<Option<(u32, Option<Position>)>> {
        let record = self.vault.read_record(&SignerPath::anchor()).await;
        let record: Option<Record> = record.map_err(Error::unavailable)?;
        Ok(record.map(|record| (record.version, Position::parse(&record.fields))))
    }

    /// Writes the record in place of a version; false where another is there.
    async fn write(&self, here: &Here, seal: &Seal, replaces: u32) -> Result<bool> {
        let position = Position {
            here: here.clone(),
            seal: seal.clone(),
        };
        let (path, fields) = (SignerPath::anchor(), position.fields());
        let written = self.vault.write_record(&path, &fields, replaces).await;
        Ok(written.map_err(Error::unavailable)?.is_some())
    }
}

/// Why the database has not come as far as it had, if it has not.
async fn undone(conn: &mut PgConnection, mark: Option<&Mark>) -> Result<Option<String>> {
    Ok(match mark {
        Some(mark) if !seals::reaches(&mut *conn, mark).await? => {
            Some(format!("{}: {REMEDY}", seals::UNDONE))
        }
        Some(_) | None => None,
    })
}

/// The database of a connection.
async fn here(conn: &mut PgConnection) -> Result<Here> {
    Ok(Here {
        database_id: seals::database_id(&mut *conn).await?,
        lineage: seals::lineage(conn).await?,
    })
}

/// Why this database is not the one of the anchor, if it is not.
async fn difference(
    conn: &mut PgConnection,
    here: &Here,
    known: Option<&Position>,
) -> Result<Option<String>> {
    let Some(known) = known else {
        return Ok(Some(format!("the anchor in Vault is damaged: {REMEDY}")));
    };
    let sequence = known.seal.sequence;
    let problem = if known.here.database_id != here.database_id {
        let (other, this) = (known.here.database_id, here.database_id);
        format!("the anchor in Vault is of database {other}, and this is {this}")
    } else if known.here.lineage != here.lineage {
        return Ok(Some(moved(&known.here.lineage, &here.lineage)));
    } else if seals::newest(&mut *conn)
        .await?
        .is_none_or(|newest| newest.sequence < sequence)
    {
        format!("the database is older than its anchor, seal {sequence}")
    } else if !seals::knows(&mut *conn, &known.seal).await? {
        format!("seal {sequence} of the anchor is not the one of this database")
    } else {
        return Ok(None);
    };
    Ok(Some(format!("{problem}: {REMEDY}")))
}

fn moved(from: &Lineage, to: &Lineage) -> String {
    format!(
        "the database lives on server and timeline {}, and its anchor says {}: {REMEDY}",
        to.0, from.0
    )
}

/// The highest that signers may have signed on a chain until now, with an epoch
/// to spare: its bounds forbid what is later.
#[must_use]
pub fn ceiling(chain: &Chain, now: u64) -> Ceiling {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let slot = chain
        .slot_at(now)
        .saturating_add(chain.preset.slots_per_epoch());
    let target = chain.epoch_of(slot);
    Ceiling {
        chain: chain.name.clone(),
        slot: number(slot),
        source: number(target.saturating_sub(1)),
        target: number(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_says_which_database_and_how_far() {
        let here = Position {
            here: Here {
                database_id: Uuid::from_u128(7),
                lineage: Lineage("42/00000001".to_owned()),
            },
            seal: Seal {
                sequence: 9,
                hash: vec![0xab; 32],
            },
        };
        assert_eq!(Position::parse(&here.fields()), Some(here.clone()));
        for missing in here.fields().keys() {
            let mut fields = here.fields();
            fields.remove(missing);
            assert_eq!(Position::parse(&fields), None, "{missing}");
        }
    }
}
