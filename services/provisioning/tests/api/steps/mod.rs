//! Every effect of every step goes wrong once, in every way, on every chain.
//!
//! Nothing is listed: a life is lived undisturbed, and its effects are counted.
//! Then it is lived once more for each of them, with that one going wrong, and
//! must come to the same ends. A fault that does not come to pass fails the test,
//! and so does an effect that comes at another place than before.

mod chains;
mod end;
mod life;
mod parts;
mod vault;
mod watched;

use crate::effects::Fault;
use berth_provisioning::store::MIGRATIONS;
use chains::Subject;
use end::End;
use life::Stage;
use parts::{LIFE, Part, ROUNDS};
use sqlx::PgPool;
use std::collections::BTreeMap;

/// What a part does and where it ends, undisturbed.
type Undisturbed = BTreeMap<Part, (Vec<String>, End)>;

/// A fault on each chain.
macro_rules! on_each_chain {
    ($($name:ident: $fault:expr,)*) => {$(
        mod $name {
            use super::*;

            #[sqlx::test(migrator = "MIGRATIONS")]
            async fn of_a_full_node(db: PgPool) {
                every_effect(db, Subject::full_node(), $fault).await;
            }

            #[sqlx::test(migrator = "MIGRATIONS")]
            async fn of_validators(db: PgPool) {
                every_effect(db, Subject::validators(), $fault).await;
            }
        }
    )*};
}

on_each_chain! {
    an_error_before_any_effect_changes_nothing_of_the_end: Fault::ErrorBefore,
    an_error_after_any_effect_changes_nothing_of_the_end: Fault::ErrorAfter,
    a_crash_before_any_effect_changes_nothing_of_the_end: Fault::CrashBefore,
    a_crash_after_any_effect_changes_nothing_of_the_end: Fault::CrashAfter,
    an_effect_that_happens_twice_changes_nothing_of_the_end: Fault::Twice,
    a_claim_lost_before_any_effect_changes_nothing_of_the_end: Fault::ClaimLost,
}

/// Lives once for each effect of a life and of each round.
async fn every_effect(db: PgPool, subject: Subject, fault: Fault) {
    let stage = Stage::new(db, &subject).await;
    let mut known = Undisturbed::new();
    every_effect_of(&stage, &subject, &LIFE, fault, &mut known).await;
    stage.live(&subject, Part::Launch, None).await;
    for round in ROUNDS {
        every_effect_of(&stage, &subject, round, fault, &mut known).await;
    }
    stage.live(&subject, Part::Retire, None).await;
}

async fn every_effect_of(
    stage: &Stage,
    subject: &Subject,
    parts: &[Part],
    fault: Fault,
    known: &mut Undisturbed,
) {
    for part in parts {
        let (effects, end) = stage.live(subject, *part, None).await;
        assert!(!effects.is_empty(), "{part:?} has effects");
        known.insert(*part, (effects, end));
    }
    let longest = parts.iter().map(|part| known[part].0.len());
    for number in first(parts, known)..longest.max().unwrap() {
        for part in parts {
            disturbed(stage, subject, *part, &known[part], (number, fault)).await;
        }
    }
}

/// The first effect that is broken: the way to a new version is broken once, and
/// with it what comes before the way back; twice only in a soak.
fn first(parts: &[Part], known: &Undisturbed) -> usize {
    if parts != [Part::RollBack] || std::env::var_os("BERTH_STEPS").is_some() {
        return 0;
    }
    let (there, back) = (&known[&Part::Upgrade].0, &known[&Part::RollBack].0);
    let same = there
        .iter()
        .zip(back)
        .take_while(|(one, other)| one == other);
    same.count()
}

/// A part in which the effect of that number goes wrong, if it has so many.
async fn disturbed(
    stage: &Stage,
    subject: &Subject,
    part: Part,
    (effects, expected): &(Vec<String>, End),
    (number, fault): (usize, Fault),
) {
    let broken = effects.get(number);
    let fault_of = broken.map(|_| (number, fault));
    let (seen, end) = stage.live(subject, part, fault_of).await;
    let chain = &subject.entry.name;
    let what = format!("{fault:?} of effect {number} of {part:?} on {chain}: {broken:?}");
    let same = effects.len().min(number + 1);
    assert_eq!(seen[..same], effects[..same], "{what}");
    assert!(end == *expected, "{what}: {end:#?} {expected:#?} {seen:#?}");
}
