//! Every effect of every step goes wrong once, in every way, on every chain.
//!
//! Nothing is listed: a life is lived undisturbed, and its effects are counted.
//! Then it is lived once more for each of them, with that one going wrong, and
//! must come to the same ends. A fault that does not come to pass fails the test,
//! and so does an effect that comes at another place than before.

mod chains;
mod end;
mod life;
mod vault;
mod watched;

use crate::effects::Fault;
use berth_provisioning::store::MIGRATIONS;
use chains::Subject;
use end::End;
use life::{LIVES, Life, Part, Stage};
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

/// Lives once for each effect.
async fn every_effect(db: PgPool, subject: Subject, fault: Fault) {
    let stage = Stage::new(db, &subject).await;
    for life in &LIVES {
        let undisturbed = undisturbed(&stage, &subject, life).await;
        let longest = undisturbed.values().map(|(effects, _)| effects.len());
        for number in 0..longest.max().unwrap() {
            begin(&stage, &subject, life).await;
            for part in life.broken {
                let fault = (number, fault);
                disturbed(&stage, &subject, *part, &undisturbed[part], fault).await;
            }
        }
    }
}

async fn begin(stage: &Stage, subject: &Subject, life: &Life) {
    stage.begin();
    for part in life.begins {
        stage.live(subject, *part, None).await;
    }
}

async fn undisturbed(stage: &Stage, subject: &Subject, life: &Life) -> Undisturbed {
    let mut all = Undisturbed::new();
    begin(stage, subject, life).await;
    for part in life.broken {
        let effects = stage.live(subject, *part, None).await;
        assert!(!effects.is_empty(), "{part:?} has effects");
        let end = stage.end(subject).await;
        end.holds(subject, *part);
        all.insert(*part, (effects, end));
    }
    all
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
    let seen = stage
        .live(subject, part, broken.map(|_| (number, fault)))
        .await;
    let chain = &subject.entry.name;
    let what = format!("{fault:?} of effect {number} of {part:?} on {chain}: {broken:?}");
    let same = effects.len().min(number + 1);
    assert_eq!(seen[..same], effects[..same], "{what}");
    let end = stage.end(subject).await;
    assert!(end == *expected, "{what}: {end:#?} {expected:#?} {seen:#?}");
}
