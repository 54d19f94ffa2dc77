//! Taking over a file of the current shape moves no row and writes a handful of pages, however many rows there are.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod common;
mod legacy;

use agent_session_store::diesel::connection::SimpleConnection;
use common::TempDb;
use legacy::{Way, file_of, is_sound, lines, rows, shape_sql};

const EVENTS: usize = 100_000;

/// A file of the current shape with many events, whose rowids no copy would come up with.
fn large_file(shape: &str) -> TempDb {
    let db = file_of(&shape_sql(shape));
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

const ROWIDS: &str = "SELECT count(*), sum(rowid), min(rowid), max(rowid), sum(rowid * length(id)) FROM events";

#[test]
fn adoption_writes_a_handful_of_pages() {
    for shape in ["current", "types_lower_case", "types_padded"] {
        for way in [Way::Migrate, Way::Harness] {
            let db = large_file(shape);
            let (before, rowids, kept) = (pages(&db), lines(&db.plain(), ROWIDS), rows(&db.plain()));
            assert!(before.len() > 5_000, "{}", before.len());
            way.go(&db).unwrap();
            let after = pages(&db);
            let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            let added = after.len() - before.len();
            assert!(changed <= 4 && added <= 10, "{shape} by {way:?}: {changed} pages changed, {added} added");
            assert_eq!(lines(&db.plain(), ROWIDS), rowids, "{shape} by {way:?}");
            assert_eq!(rows(&db.plain()), kept, "{shape} by {way:?}");
            is_sound(&db.plain());
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
    let log = std::fs::metadata(db.folder().join("sessions.db-wal")).unwrap().len();
    assert!(log > 0 && log < 20 * (4096 + 24), "{log} bytes of log");
}

#[test]
fn other_connections_see_the_new_declaration() {
    let db = file_of(&shape_sql("current"));
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

    let db = large_file("current");
    let rowids = lines(&db.plain(), ROWIDS);
    let pool = Pool::new(ConnectionManager::<SqliteConnection>::new(db.path().to_str().unwrap())).unwrap();
    pool.get().unwrap().run_pending_migrations(agent_session_store::MIGRATIONS).unwrap();
    assert_eq!(lines(&db.plain(), ROWIDS), rowids);
}
