//! Every migration applies to a database that holds rows of the version before.
//!
//! `migrations/<service>/NNNN_what.sql` is applied, then the rows of
//! `tests/filled/<service>/NNNN.sql` are inserted, then comes the next. What
//! the rows mean is tested beside each `store/`.

#![expect(clippy::unwrap_used, reason = "a test that cannot run must fail")]

use sqlx::{AssertSqlSafe, PgPool};
use std::fs;
use std::path::{Path, PathBuf};

fn below(folder: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().join(folder)
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// Applies a service's migrations in order, each to what the one before left
/// and the rows of its version. Says which file failed and how.
async fn apply(db: &PgPool, migrations: &Path, filled: &Path) -> Result<(), String> {
    let paths = sorted(migrations);
    for (at, path) in paths.iter().enumerate() {
        let version = format!("{:04}", at + 1);
        let name = path.file_name().unwrap().to_string_lossy();
        if !name.starts_with(&format!("{version}_")) || !name.ends_with(".sql") {
            return Err(format!("{}: call it {version}_what.sql", path.display()));
        }
        run(db, path).await?;
        let rows = filled.join(format!("{version}.sql"));
        if rows.exists() {
            run(db, &rows).await?;
        } else if at + 1 < paths.len() {
            return Err(format!(
                "{}: write it: rows of version {version}, so that the next migration meets some",
                rows.display()
            ));
        }
    }
    Ok(())
}

async fn run(db: &PgPool, path: &Path) -> Result<(), String> {
    let sql = fs::read_to_string(path).unwrap();
    let mut txn = db.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut *txn)
        .await
        .map_err(|error| format!("{}: {error}", path.display()))?;
    txn.commit().await.unwrap();
    Ok(())
}

#[sqlx::test(migrations = false)]
async fn every_migration_applies_to_a_filled_database(db: PgPool) {
    let services = sorted(&below("migrations"));
    assert!(!services.is_empty());
    for service in services {
        // Each service has a database of its own.
        sqlx::raw_sql("drop schema public cascade; create schema public")
            .execute(&db)
            .await
            .unwrap();
        let filled = below("tests/filled").join(service.file_name().unwrap());
        if let Err(problem) = apply(&db, &service, &filled).await {
            panic!("{problem}");
        }
    }
}

#[sqlx::test(migrations = false)]
async fn a_migration_that_forgets_the_rows_or_its_number_is_found(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let (migrations, filled) = (folder.path().join("m"), folder.path().join("f"));
    fs::create_dir(&migrations).unwrap();
    fs::create_dir(&filled).unwrap();
    fs::write(migrations.join("0001_a.sql"), "create table a (x int)").unwrap();
    fs::write(
        migrations.join("0002_b.sql"),
        "alter table a add column y int not null",
    )
    .unwrap();

    let missing = apply(&db, &migrations, &filled).await.unwrap_err();
    assert!(missing.contains("0001.sql: write it"), "{missing}");

    sqlx::raw_sql("drop table a").execute(&db).await.unwrap();
    fs::write(filled.join("0001.sql"), "insert into a values (1)").unwrap();
    let broken = apply(&db, &migrations, &filled).await.unwrap_err();
    assert!(broken.contains("0002_b.sql"), "{broken}");

    fs::rename(migrations.join("0002_b.sql"), migrations.join("0003_b.sql")).unwrap();
    sqlx::raw_sql("drop table a").execute(&db).await.unwrap();
    let gap = apply(&db, &migrations, &filled).await.unwrap_err();
    assert!(gap.contains("call it 0002_what.sql"), "{gap}");
}
