//! Proves that what is wrong with a session leaves nothing of it however long it is, and none of it anywhere else.

use std::io::{BufRead, Read};

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Error, Import, ListEventsRequest, SessionPersistDriver};

use super::import_lines::{LONG, both, large_lines_of, lines_of, migrated, told};
use crate::common::samples::HEADER;
use crate::common::{event, event_ids, hush, session, value};

#[test]
fn what_is_wrong_with_a_session_leaves_nothing_of_it_however_long_it_is() {
    for long in [lines_of("long", LONG), large_lines_of("long")] {
        let last = format!("\"id\":\"long-{LONG}\"");
        for (wrong, says) in [
            (long.replace(&last, "\"id\":7"), "invalid type"),
            (long.replace(&last, "\"id\":\"taken\""), "is taken by a different event of session \"other\""),
            (long.replacen(&format!("\"events\":{LONG}"), "\"events\":9", 1), "has 12000 of its 9 events"),
            (long[..long.len() - 60].to_owned(), " while parsing"),
        ] {
            for import in 0..2 {
                let db = migrated();
                db.connect().insert_event(&event("taken", "other", 1)).unwrap();
                // Short ones before, which are stored, and one after it, which is not.
                let before: String = (0..5).map(|id| lines_of(&id.to_string(), 3)).collect();
                let text = [HEADER, &before, &wrong, "\n", &lines_of("after", 1)].concat();
                let error = both(&db)[import](&mut text.as_bytes()).unwrap_err();
                let Error::Import { line, done, source } = error else { panic!("{error}") };
                assert!(source.to_string().contains(says), "{source}");
                // With a count that is wrong it is the line after the last one that shows it.
                assert!([LONG as u64 + 22, LONG as u64 + 23, LONG as u64 + 24].contains(&line), "{line}");
                assert_eq!(done, told(5, 15));
                assert_eq!(db.counts(), [5, 16], "{says}");
            }
        }
    }
}

#[test]
fn a_bad_session_among_small_ones_takes_none_of_them_along() {
    for import in 0..2 {
        let db = migrated();
        db.connect().insert_event(&event("taken", "other", 1)).unwrap();
        let mut text: Vec<String> = (0..40).map(|id| lines_of(&id.to_string(), 3)).collect();
        text[29] = text[29].replace("\"29-3\"", "\"taken\"");
        let text = [HEADER, &text.concat()].concat();
        let error = both(&db)[import](&mut text.as_bytes()).unwrap_err();
        let Error::Import { line, done, source } = error else { panic!("{error}") };
        assert_eq!((line, done), (1 + 29 * 4 + 4, told(29, 87)));
        assert!(matches!(source.downcast_ref(), Some(Error::EventIdTaken { .. })), "{source}");
        assert_eq!(db.counts(), [29, 88]);
    }
}

/// What a host's trigger refuses cannot be known before. What was written then is told.
#[test]
fn a_long_session_that_is_refused_half_way_says_what_is_stored() {
    for import in 0..2 {
        let db = migrated();
        db.plain()
            .execute_batch(
                "CREATE TRIGGER no BEFORE INSERT ON events WHEN new.id = 'long-11000' \
                 BEGIN SELECT RAISE(ABORT, 'not this one'); END",
            )
            .unwrap();
        let text = [HEADER, &lines_of("short", 2), &lines_of("long", LONG)].concat();
        let error = both(&db)[import](&mut text.as_bytes()).unwrap_err();
        let Error::Import { line, done, source } = error else { panic!("{error}") };
        assert_eq!((line, source.to_string()), (5 + 11_000, "the database reported an error: not this one".to_owned()));
        assert_eq!(db.counts(), [1, done.events]);
        assert_eq!(done.sessions, 1);
        assert!((5_000..11_002).contains(&done.events), "{done:?}");
        db.plain().execute_batch("DROP TRIGGER no").unwrap();
        assert_eq!(both(&db)[import](&mut text.as_bytes()).unwrap(), told(2, LONG as u64 + 2));
        assert_eq!(db.counts(), [2, LONG as u64 + 2]);
    }
}

#[test]
fn a_long_session_is_listed_when_it_is_whole() {
    for import in 0..2 {
        let db = migrated();
        db.plain()
            .execute_batch(
                "CREATE TABLE seen (events); CREATE TRIGGER seen AFTER INSERT ON sessions BEGIN \
                 INSERT INTO seen SELECT count(*) FROM events WHERE session_id = new.id; END",
            )
            .unwrap();
        both(&db)[import](&mut [HEADER, &lines_of("long", LONG)].concat().as_bytes()).unwrap();
        let seen: i64 = value(&db.plain(), "SELECT events FROM seen");
        assert!(seen >= LONG - 5_000, "{seen}");
    }
}

#[test]
fn in_a_transaction_a_session_is_whole_or_not_there() {
    let db = migrated();
    let mut conn = db.connect();
    let trigger = |how: &str| {
        format!(
            "DROP TRIGGER IF EXISTS no; CREATE TRIGGER no BEFORE INSERT ON events WHEN new.id = 'long-11000' \
             BEGIN SELECT RAISE({how}, 'not this one'); END"
        )
    };
    let text = [HEADER, &lines_of("short", 2), &lines_of("long", LONG)].concat();
    conn.batch_execute(&trigger("ABORT")).unwrap();
    let result: Result<(), Error> = conn.transaction(|conn| {
        conn.update_session(&session("host's own"))?;
        let error = conn.import(text.as_bytes()).unwrap_err();
        let Error::Import { done, line, .. } = error else { panic!("{error}") };
        assert_eq!((line, done), (11_005, told(1, 2)));
        assert_eq!(conn.stats()?.events, 2);
        Ok(())
    });
    result.unwrap();
    assert_eq!(db.counts(), [2, 2], "the rest of the transaction is as good as ever");

    conn.batch_execute(&trigger("ROLLBACK")).unwrap();
    conn.batch_execute("DELETE FROM events; DELETE FROM sessions").unwrap();
    let result: Result<(), Error> = conn.transaction(|conn| {
        conn.update_session(&session("host's own"))?;
        let error = conn.import(text.as_bytes()).unwrap_err();
        let Error::Import { done, .. } = error else { panic!("{error}") };
        assert_eq!(done, told(0, 0), "that ended the transaction, and undid all of it");
        Err(Error::Closed)
    });
    assert!(result.is_err());
    assert_eq!(db.counts(), [0, 0]);
    // Outside, the step that it struck is undone and no other.
    let error = conn.import(text.as_bytes()).unwrap_err();
    let Error::Import { done, .. } = error else { panic!("{error}") };
    assert_eq!(db.counts(), [1, done.events]);
    conn.batch_execute("DROP TRIGGER no").unwrap();
    let done = conn.transaction(|conn| conn.import(text.as_bytes())).unwrap();
    assert_eq!(done, told(2, LONG as u64 + 2));
    let events = conn.events(ListEventsRequest::new("long")).map(|event| event.unwrap().event_index);
    assert!(events.eq(1..=LONG));
}

/// The limit itself is in a unit test; this is that it is one of 1 GiB.
#[test]
fn a_line_without_an_end_is_an_error() {
    struct Endless {
        block: Vec<u8>,
        place: usize,
        consumed: u64,
    }
    impl Read for Endless {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            unreachable!()
        }
    }
    impl BufRead for Endless {
        fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
            Ok(&self.block[self.place..])
        }
        fn consume(&mut self, bytes: usize) {
            self.consumed += bytes as u64;
            self.place += bytes;
            if self.place == self.block.len() {
                (self.block, self.place) = (vec![b' '; 1 << 20], 0);
            }
        }
    }
    let db = migrated();
    let start = [HEADER, &lines_of("short", 2)].concat();
    let mut reader = Endless { block: start.clone().into_bytes(), place: 0, consumed: 0 };
    let error = db.connect().import(&mut reader).unwrap_err();
    let Error::Import { line, done, source } = error else { panic!("{error}") };
    assert_eq!((line, source.to_string()), (5, "it is longer than 1073741824 bytes".to_owned()));
    assert_eq!(done, told(1, 2));
    assert_eq!(reader.consumed, start.len() as u64 + (1 << 30) + 1);
}

/// A callback that panics in the caller's transaction takes back its session, and leaves the transaction as it was.
#[test]
fn a_callback_that_panics_in_a_transaction_leaves_that_as_it_was() {
    hush("the callback has had enough");
    let db = migrated();
    let mut conn = db.connect();
    let text = [HEADER, &lines_of("short", 2), &lines_of("long", LONG)].concat();
    conn.transaction(|conn| {
        conn.insert_event(&event("before", "other", 1))?;
        let import = |conn: &mut SqliteConnection| {
            conn.import(
                Import::new(text.as_bytes())
                    .progress(|done| assert!(done.sessions < 1 || done.events < 500, "the callback has had enough")),
            )
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| import(conn))).is_err());
        conn.insert_event(&event("after", "other", 2))
    })
    .unwrap();
    assert!(conn.transaction(|_| Ok::<_, Error>(())).is_ok());
    // Through another connection: it is committed, and nothing is open.
    let ids = event_ids(&db.path());
    assert_eq!(ids.iter().filter(|id| ["before", "after"].contains(&id.as_str())).count(), 2);
    assert!(ids.iter().all(|id| !id.starts_with("long")), "{ids:?}");
}

/// A trigger that ends the transaction takes only the session that it strikes.
#[test]
fn what_ends_the_transaction_takes_no_session_before_it() {
    for import in 0..2 {
        let db = migrated();
        db.plain()
            .execute_batch(
                "CREATE TRIGGER host BEFORE INSERT ON events WHEN NEW.session_id = 'bad' \
                 BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
            )
            .unwrap();
        let good: String = (0..20).map(|number| lines_of(&format!("good{number}"), 3)).collect();
        let text = [HEADER, &good, &lines_of("bad", 3)].concat();
        let error = both(&db)[import](&mut text.as_bytes()).unwrap_err();
        let Error::Import { done, .. } = error else { panic!("{error}") };
        assert_eq!(done, told(20, 60));
        assert_eq!(db.counts(), [20, 60]);
    }
}

/// Nothing says that an event is stored which a trigger has kept out.
#[test]
fn an_event_that_a_trigger_ignores_is_the_error_of_its_line() {
    for import in 0..2 {
        let db = migrated();
        let ignore = "CREATE TRIGGER no BEFORE INSERT ON events WHEN new.id = 'one-2' BEGIN SELECT RAISE(IGNORE); END";
        db.plain().execute_batch(ignore).unwrap();
        let error = both(&db)[import](&mut [HEADER, &lines_of("one", 3)].concat().as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Import { line: 4, .. }), "{error}");
        assert_eq!(db.counts(), [0, 0]);
    }
}
