//! Taking over a file of the current shape moves no row and writes a handful of pages, however many rows there are.

use agent_session_store::diesel::connection::SimpleConnection;

use crate::common::legacy::{Way, shape_sql};
use crate::common::{TempDb, column, is_sound, lines, value};

const EVENTS: usize = 100_000;

/// A file of the current shape with many events, whose rowids no copy would come up with.
fn large_file(shape: &str) -> TempDb {
    let db = TempDb::with(&shape_sql(shape));
    db.plain()
        .execute_batch(&format!(
            "PRAGMA synchronous = OFF;
             BEGIN;
             WITH RECURSIVE count (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM count WHERE number < {EVENTS})
             INSERT INTO events (rowid, id, event_index, session_id, created_at, connection_id, sender, payload_json)
             SELECT 10 * number, 'event-' || number, number, 'session-' || number % 7, number, 'c', 'agent',
                 '{{\"text\":\"' || hex(zeroblob(100)) || '\"}}'
             FROM count;
             COMMIT;"
        ))
        .unwrap();
    db
}

fn pages(db: &TempDb) -> Vec<Vec<u8>> {
    std::fs::read(db.path()).unwrap().chunks(4096).map(<[u8]>::to_vec).collect()
}

/// Every row must be there, in its place and as it was in the other file.
fn assert_has_the_rows_of(db: &TempDb, other: &TempDb, context: &str) {
    let conn = db.plain();
    conn.execute("ATTACH ? AS old", [other.path().to_str().unwrap()]).unwrap();
    for table in ["sessions", "events"] {
        let columns: Vec<String> = column(&conn, &format!("SELECT name FROM pragma_table_info('{table}', 'old')"));
        let same: Vec<_> = columns.iter().map(|column| format!("new.{column} IS old.{column}")).collect();
        let same = same.join(" AND ");
        let [new, old, both] = [
            format!("SELECT count(*) FROM main.{table}"),
            format!("SELECT count(*) FROM old.{table}"),
            format!(
                "SELECT count(*) FROM main.{table} AS new JOIN old.{table} AS old ON new.rowid = old.rowid AND {same}"
            ),
        ]
        .map(|sql| value::<i64>(&conn, &sql));
        assert_eq!((new, both), (old, old), "{context}: {table}");
    }
    is_sound(&conn);
}

#[test]
fn adoption_writes_a_handful_of_pages() {
    for shape in ["current", "types_lower_case", "types_padded"] {
        let old = large_file(shape);
        let before = pages(&old);
        assert!(before.len() > 5_000, "{}", before.len());
        for way in [Way::Migrate, Way::Harness] {
            let db = TempDb::copy_of(&old.path());
            let context = format!("{shape} by {way:?}");
            way.go(&db).unwrap();
            let after = pages(&db);
            let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            let added = after.len() - before.len();
            assert!(changed <= 4 && added <= 10, "{context}: {changed} pages changed, {added} added");
            assert_has_the_rows_of(&db, &old, &context);
        }
    }
}

#[test]
fn adoption_of_a_file_in_wal_mode_writes_a_handful_of_frames() {
    let db = large_file("current");
    lines(&db.plain(), "PRAGMA journal_mode = WAL");
    let mut conn = db.connect();
    conn.batch_execute("PRAGMA wal_autocheckpoint = 0").unwrap();
    Way::Migrate.go_on(&mut conn).unwrap();
    let log = db.log_size();
    assert!(log > 0 && log < 20 * (4096 + 24), "{log} bytes of log");
}

#[test]
fn other_connections_see_the_new_declaration() {
    let db = TempDb::with(&shape_sql("current"));
    let other = db.plain();
    let id_may_be_null = "SELECT \"notnull\" FROM pragma_table_info('events') WHERE name = 'id'";
    assert_eq!(lines(&other, id_may_be_null), ["0"]);
    let mut conn = db.connect();
    Way::Migrate.go_on(&mut conn).unwrap();
    assert_eq!(lines(&other, id_may_be_null), ["1"]);
    other.execute_batch("INSERT INTO events VALUES (NULL, 1, 's', 1, 'c', 'agent', '{}')").unwrap_err();
    conn.batch_execute("INSERT INTO events VALUES (NULL, 1, 's', 1, 'c', 'agent', '{}')").unwrap_err();
}

#[cfg(feature = "r2d2")]
#[test]
fn a_harness_on_a_pooled_connection_copies_nothing_either() {
    use agent_session_store::diesel::SqliteConnection;
    use agent_session_store::diesel::r2d2::{ConnectionManager, Pool};
    use diesel_migrations::MigrationHarness as _;

    let old = large_file("current");
    let db = TempDb::copy_of(&old.path());
    let pool = Pool::new(ConnectionManager::<SqliteConnection>::new(db.path().to_str().unwrap())).unwrap();
    pool.get().unwrap().run_pending_migrations(agent_session_store::MIGRATIONS).unwrap();
    assert_has_the_rows_of(&db, &old, "pooled");
}

#[cfg(feature = "diesel-async")]
#[test]
fn nor_do_a_harness_and_a_call_on_a_wrapped_connection() {
    use agent_session_store::diesel::SqliteConnection;
    use agent_session_store::diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
    use agent_session_store::diesel_async::{AsyncConnection as _, AsyncMigrationHarness};
    use agent_session_store::{MIGRATIONS, migrate_async};
    use diesel_migrations::MigrationHarness as _;

    let old = large_file("current");
    let before = pages(&old);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    for with_harness in [true, false] {
        let db = TempDb::copy_of(&old.path());
        runtime.block_on(async {
            let path = db.path().to_str().unwrap().to_owned();
            let mut conn = SyncConnectionWrapper::<SqliteConnection>::establish(&path).await.unwrap();
            if with_harness {
                AsyncMigrationHarness::new(conn).run_pending_migrations(MIGRATIONS).unwrap();
            } else {
                migrate_async(&mut conn).await.unwrap();
            }
        });
        let after = pages(&db);
        let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!(changed <= 4, "{changed} pages changed");
        assert_has_the_rows_of(&db, &old, "wrapped");
    }
}
