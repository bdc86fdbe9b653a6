//! Machines that inventory wants measured or wiped.

use super::*;

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_is_measured_for_inventory(db: PgPool) {
    let all = Whole::new(db).await;
    work_for(&all, Kind::Verify, 4);
    reconcile::begin(&all.api.db).await.unwrap();
    // It finds the machine by itself.
    let recorded = eventually("inventory is told", async || {
        all.worker.turn().await.unwrap();
        all.world.known().verified.pop()
    })
    .await;
    assert_eq!(recorded.attempt, 4);
    assert!(recorded.facts.unwrap().os.contains("scripted"));
    assert_eq!(recorded.host_key, crate::site::HOST_KEY);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_that_cannot_be_measured_is_told_with_the_reason(db: PgPool) {
    let all = Whole::new(db).await;
    work_for(&all, Kind::Verify, 1);
    all.site.standing().fault = Some(unreachable);
    let recorded = work_until(&all, |known| known.verified.pop()).await;
    assert!(recorded.transient && recorded.problem.contains("cannot be reached"));
    all.site.standing().fault = Some(stranger);
    let recorded = work_until(&all, |known| known.verified.pop()).await;
    assert!(!recorded.transient && recorded.problem.contains("host key changed"));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_that_is_wiped_is_fenced_first(db: PgPool) {
    let all = running(db).await;
    work_for(&all, Kind::Wipe, 7);
    all.site.standing().fault = Some(unreachable);
    work_until(&all, |known| known.wiped.pop()).await;
    let node = all.node("n1").await;
    assert_eq!(state(&node), State::Failed);
    let placement = node.status.unwrap().placement.unwrap();
    assert_eq!(placement.state(), pb::placement::State::Fenced);

    all.site.standing().fault = None;
    let recorded = work_until(&all, |known| known.wiped.pop()).await;
    assert_eq!((recorded.attempt, recorded.problem.as_str()), (7, ""));
    assert!(
        recorded.report.contains("2 containers"),
        "{}",
        recorded.report
    );
    let placement = all.node("n1").await.status.unwrap().placement.unwrap();
    assert_eq!(placement.state(), pb::placement::State::Wiped);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_worker_that_lost_its_claim_wipes_nothing(db: PgPool) {
    let all = Whole::new(db).await;
    work_for(&all, Kind::Wipe, 7);
    let mut conn = all.api.db.acquire().await.unwrap();
    wake(&mut conn, reconcile::MACHINE, all.machine.uuid())
        .await
        .unwrap();
    drop(conn);
    // Whoever wipes looks for placements first, and waits here.
    let mut held = all.api.db.begin().await.unwrap();
    sqlx::query("lock table placement")
        .execute(&mut *held)
        .await
        .unwrap();
    let worker = all.worker.clone();
    let mut stale = JoinSet::new();
    stale.spawn(async move { worker.turn().await.unwrap() });
    let other = reconcile::reconciler(&all.context, 1);
    eventually("another worker takes the work over", async || {
        let expire = "update work set claimed_until = now() - interval '1 second'
                      where claimed_by is not null";
        let expired = sqlx::query(expire).execute(&all.api.db).await.unwrap();
        match expired.rows_affected() {
            0 => None,
            _ => other.claim().await.unwrap(),
        }
    })
    .await;
    held.rollback().await.unwrap();
    assert!(stale.join_next().await.unwrap().unwrap());
    assert_eq!(all.site.standing().log, [""; 0]);
    assert!(all.world.known().wiped.is_empty());
}

fn work_for(all: &Whole, kind: Kind, attempt: i64) {
    let mut known = all.world.known();
    let mut work = inventory::MachineWork {
        machine: Some(known.machine.clone()),
        attempt,
        ..inventory::MachineWork::default()
    };
    work.set_kind(kind);
    known.work.push(work);
}

/// Works, without waiting where the service would, until inventory was told.
async fn work_until<T>(all: &Whole, told: impl Fn(&mut Known) -> Option<T>) -> T {
    eventually("inventory is told", async || {
        let mut conn = all.api.db.acquire().await.unwrap();
        wake(&mut conn, reconcile::MACHINE, all.machine.uuid())
            .await
            .unwrap();
        drop(conn);
        all.worker.turn().await.unwrap();
        told(&mut all.world.known())
    })
    .await
}
