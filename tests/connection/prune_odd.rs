//! Proves that a dry run says what a prune does also where rows hold values of types that their columns would not
//! suggest, and that a prune leaves what no session can be named for.

use agent_session_store::{PruneReport, PruneRequest, SessionPersistDriver, SessionStore};
use proptest::prelude::*;

use crate::common::{TempDb, millis, rows, value};

/// Literals of ids: the last ones are none.
const IDS: [&str; 7] = ["'a'", "'b'", "''", "'é'", "'A'", "x'61'", "CAST(x'61ff' AS TEXT)"];
const NUMBERS: [&str; 9] = ["0", "1", "2", "3", "1.5", "-0.5", "'text'", "x'00'", "CAST(x'ff' AS TEXT)"];

fn any_id() -> impl Strategy<Value = &'static str> {
    prop::sample::select(IDS.to_vec())
}

fn any_number() -> impl Strategy<Value = &'static str> {
    prop::sample::select(NUMBERS.to_vec())
}

fn any_request() -> impl Strategy<Value = PruneRequest> {
    let rule = || prop::option::of(0..4_i64);
    let named = prop::collection::vec(prop::sample::select(vec!["a", "", "never"]), 0..3);
    let size = prop::option::of(0..60_u64);
    (rule(), rule(), rule(), rule(), rule(), size, named).prop_map(
        |(destroyed, created, inactive, orphans, most, size, named)| {
            let mut request = named.into_iter().fold(PruneRequest::new(), PruneRequest::session);
            if let Some(time) = destroyed {
                request = request.destroyed_before(millis(time));
            }
            if let Some(time) = created {
                request = request.created_before(millis(time));
            }
            if let Some(time) = inactive {
                request = request.inactive_before(millis(time));
            }
            if let Some(size) = size {
                request = request.max_total_bytes(size);
            }
            if let Some(time) = orphans {
                request = request.orphans_before(millis(time));
            }
            if let Some(most) = most {
                // A session that loses all its events was last active when it began, which the next prune sees.
                let most = if inactive.is_some() { most.max(1) } else { most };
                request = request.max_events_per_session(most as u32);
            }
            request
        },
    )
}

fn filled(sessions: &[(&str, &str, Option<&str>)], events: &[(&str, &str, &str, bool)]) -> TempDb {
    let db = TempDb::ours();
    let mut sql = "PRAGMA synchronous = OFF; BEGIN;".to_owned();
    for (id, created_at, destroyed_at) in sessions {
        let destroyed_at = destroyed_at.unwrap_or("NULL");
        sql += &format!(
            "INSERT OR IGNORE INTO sessions (id, agent, agent_session_id, last_connection_id, created_at, destroyed_at) \
             VALUES ({id}, 'a', 'a', 'c', {created_at}, {destroyed_at});"
        );
    }
    for (place, (session, index, created_at, is_text)) in events.iter().enumerate() {
        // Ids come in no order.
        let id = if *is_text { format!("'{:02}'", place * 37 % 100) } else { format!("x'ff{place:02x}'") };
        sql += &format!("INSERT INTO events VALUES ({id}, {index}, {session}, {created_at}, 'c', 'agent', '{{}}');");
    }
    db.plain().execute_batch(&format!("{sql} COMMIT")).unwrap();
    db
}

/// How many sessions and events fit the condition, which speaks of the session's id.
fn counts(db: &TempDb, condition: &str) -> [i64; 2] {
    [("sessions", "id"), ("events", "session_id")].map(|(table, id)| {
        value(&db.plain(), &format!("SELECT count(*) FROM {table} WHERE {}", condition.replace("id", id)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dry_run_says_what_a_prune_does(
        sessions in prop::collection::vec((any_id(), any_number(), prop::option::of(any_number())), 0..7),
        events in prop::collection::vec((any_id(), any_number(), any_number(), any::<bool>()), 0..40),
        request in any_request(),
    ) {
        let nameless = "typeof(id) = 'blob' OR CAST(id AS BLOB) = x'61ff'";
        let mut results = Vec::new();
        for of_store in [false, true] {
            let db = filled(&sessions, &events);
            let before = (counts(&db, "true"), counts(&db, nameless));
            let (would_go, gone) = if of_store {
                let store = SessionStore::open(db.path()).unwrap();
                (store.prune(&request.clone().dry_run()).unwrap(), store.prune(&request).unwrap())
            } else {
                let mut conn = db.connect();
                (conn.prune(&request.clone().dry_run()).unwrap(), conn.prune(&request).unwrap())
            };
            prop_assert_eq!(would_go, gone);
            let after = (counts(&db, "true"), counts(&db, nameless));
            let missing = PruneReport {
                sessions: (before.0[0] - after.0[0]) as u64,
                events: (before.0[1] - after.0[1]) as u64,
            };
            prop_assert_eq!(missing, gone);
            prop_assert_eq!(after.1, before.1);
            prop_assert_eq!(db.connect().prune(&request).unwrap(), PruneReport::default());
            results.push((gone, rows(&db.plain(), "SELECT rowid, * FROM events ORDER BY rowid")));
        }
        prop_assert_eq!(&results[0], &results[1]);
    }
}

#[test]
fn a_session_without_a_name_is_left_and_not_counted() {
    let db = filled(
        &[("x'61'", "1", Some("1")), ("CAST(x'61ff' AS TEXT)", "1", None), ("'b'", "1", None)],
        &[("x'61'", "1", "1", true), ("'b'", "1", "1", true)],
    );
    let request = PruneRequest::new().destroyed_before(millis(9)).created_before(millis(9));
    let expected = PruneReport { sessions: 1, events: 1 };
    assert_eq!(db.connect().prune(&request.clone().dry_run()).unwrap(), expected);
    assert_eq!(db.connect().prune(&request).unwrap(), expected);
}

/// The newest are kept also where order is made by values of every type.
#[test]
fn the_oldest_go_in_the_order_of_sqlite() {
    let order = ["-0.5", "0", "1", "1.5", "2", "3", "'text'", "CAST(x'ff' AS TEXT)", "x'00'"];
    for kept in 0..=9_usize {
        let events: Vec<_> = order.iter().rev().map(|index| ("'a'", *index, "1", true)).collect();
        let db = filled(&[], &events);
        let done = db.connect().prune(&PruneRequest::new().max_events_per_session(kept as u32)).unwrap();
        assert_eq!(done.events, 9 - kept as u64);
        let left = rows(&db.plain(), "SELECT event_index FROM events ORDER BY event_index");
        let all = rows(&filled(&[], &events).plain(), "SELECT event_index FROM events ORDER BY event_index");
        assert_eq!(left, all[9 - kept..]);
    }
}
