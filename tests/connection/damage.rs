//! Proves that a damaged file is told and never a panic: whatever bytes are wrong, a check is a report, or an error that
//! says that the file cannot be opened as our database, and every verb gives an answer or an error.

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::result::Error as DieselError;
use agent_session_store::{
    Error, Export, Json, ListEventsRequest, ListSessionsRequest, PruneRequest, Selection, SessionPersistDriver,
    SessionStore,
};

use crate::common::{Random, TempDb, event, millis, new_event, session};

/// Some sessions and events, on pages of several kinds: overflow, inner and free ones among them.
fn sound() -> Vec<u8> {
    let db = TempDb::new();
    let plain = db.plain();
    plain.execute_batch("PRAGMA page_size = 1024; PRAGMA synchronous = OFF").unwrap();
    drop(plain);
    let mut conn = db.migrated();
    let mut all = Vec::new();
    for place in 0..40_i64 {
        let id = format!("session-{place}");
        conn.update_session(&session(&id)).unwrap();
        for index in 0..6 {
            let mut event = event(&format!("event-{place}-{index}"), &id, index);
            if index == 3 {
                event.payload = Json::new(&"x".repeat(3_000)).unwrap();
            }
            all.push(event);
        }
    }
    conn.insert_events(&all).unwrap();
    conn.delete_session("session-7").unwrap();
    drop(conn);
    std::fs::read(db.path()).unwrap()
}

/// One of the ways in which a file gets damaged.
fn damage(sound: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    let page = 1_024;
    match random.index(6) {
        0 => {
            for _ in 0..=random.index(40) {
                let at = random.index(bytes.len());
                bytes[at] = random.byte();
            }
        }
        // In the head of a page, where its structure is.
        1 => {
            for _ in 0..=random.index(4) {
                let at = random.index(bytes.len() / page) * page + random.index(40);
                bytes[at] = random.byte();
            }
        }
        2 => {
            let at = random.index(bytes.len() / page) * page;
            bytes[at..at + page].fill(0);
        }
        3 => bytes.truncate(random.index(bytes.len())),
        // One page in the place of another.
        4 => {
            let (from, to) = (random.index(bytes.len() / page) * page, random.index(bytes.len() / page) * page);
            bytes.copy_within(from..from + page, to);
        }
        // Near the start: header and schema.
        _ => {
            for _ in 0..=random.index(3) {
                let at = random.index(page);
                bytes[at] = random.byte();
            }
        }
    }
    bytes
}

/// Every verb, whatever comes of it.
fn every_verb(conn: &mut SqliteConnection) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut sessions = ListSessionsRequest::new().limit(7);
    loop {
        match conn.list_sessions(&sessions) {
            Ok(page) => match page.next_cursor {
                Some(cursor) => sessions = sessions.cursor(cursor),
                None => break,
            },
            Err(Error::Decode { after: Some(after), .. }) => sessions = sessions.cursor(after),
            Err(error) => {
                errors.push(error);
                break;
            }
        }
    }
    for place in [0, 3, 7, 39] {
        let id = format!("session-{place}");
        errors.extend(conn.get_session(&id).err());
        errors.extend(conn.events(ListEventsRequest::new(&*id).limit(4)).filter_map(Result::err));
        errors.extend(conn.events(ListEventsRequest::new(&*id).descending().limit(4)).filter_map(Result::err));
        errors.extend(conn.latest_events(&id, 4, None).err());
        errors.extend(conn.last_event_index(&id).err());
    }
    errors.extend(conn.list_session_summaries(&ListSessionsRequest::new()).err());
    errors.extend(conn.get_session_stats("session-3").err());
    errors.extend(conn.stats().err());
    errors.extend(conn.session_stats().err());
    errors.extend(conn.export(std::io::sink(), Selection::all()).err());
    errors.extend(conn.export(std::io::sink(), Export::of(Selection::all()).skip_undecodable(|_| ())).err());
    errors.extend(conn.prune(&PruneRequest::new().created_before(millis(i64::from(i32::MAX))).dry_run()).err());
    errors.extend(conn.append_events("session-0", &[new_event("new")]).err());
    errors.extend(conn.insert_event(&event("event-1-1", "session-1", 1)).err());
    errors.extend(conn.update_session(&session("session-2")).err());
    errors.extend(conn.fork_session("session-3", None, &session("fork")).err());
    errors.extend(conn.destroy_session("session-4", millis(0)).err());
    errors.extend(conn.delete_session("session-5").err());
    errors.extend(conn.prune(&PruneRequest::new().max_events_per_session(3)).err());
    errors
}

#[test]
fn a_damaged_file_is_told_whatever_is_wrong_with_it() {
    let sound = sound();
    let mut random = Random::new(1);
    // More on demand.
    let rounds = std::env::var("AGENT_SESSION_STORE_DAMAGE").map_or(300, |rounds| rounds.parse().unwrap());
    let db = TempDb::new();
    let (mut unsound, mut errors) = (0, 0);
    for round in 0..rounds {
        let bytes = damage(&sound, &mut random);
        std::fs::write(db.path(), &bytes).unwrap();
        let mut conn = db.connect();
        match conn.check() {
            Ok(report) => unsound += usize::from(!report.is_sound()),
            Err(Error::NotMigrated { .. } | Error::NotADatabase { .. }) => unsound += 1,
            Err(error) => panic!("round {round}: {error:?}"),
        }
        assert!(std::fs::read(db.path()).unwrap() == bytes, "round {round}: it was changed");

        // Where nothing can be read, nor can this be said.
        let _ = conn.batch_execute("PRAGMA synchronous = OFF");
        for error in every_verb(&mut conn) {
            errors += 1;
            // Not even a row of NULLs is an error without a name.
            let is_named = !matches!(&error, Error::Database { source: DieselError::DeserializationError(_) });
            assert!(is_named, "round {round}: {error:?}");
        }
        drop(conn);
        if round % 10 == 0 {
            std::fs::write(db.path(), &bytes).unwrap();
            if let Ok(store) = SessionStore::open(db.path()) {
                let _ = store.check();
                let _ = store.events(ListEventsRequest::new("session-1")).count();
                let _ = store.close();
            }
        }
        for name in ["sessions.db-wal", "sessions.db-shm", "sessions.db-journal"] {
            let _ = std::fs::remove_file(db.folder().join(name));
        }
    }
    assert!(unsound > rounds / 2 && errors > rounds, "{unsound} {errors}");
}
