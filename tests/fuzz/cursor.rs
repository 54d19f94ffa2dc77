//! Cursor text, from a client who may send anything.

use std::cell::RefCell;
use std::time::Duration;

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::{Cursor, Error, ListEventsRequest, ListSessionsRequest, SessionPersistDriver, SessionStore};

use super::{Choices, event, in_memory, session};

thread_local! {
    static LISTINGS: RefCell<Listings> = RefCell::new(Listings::new());
}

/// A database with some sessions, and the cursors that lead through its listings.
struct Listings {
    conn: SqliteConnection,
    /// With the session whose events they list, if they do not list the sessions.
    cursors: Vec<(Option<&'static str>, Cursor)>,
    /// A store with events, and the positions in the order of their commits.
    store: SessionStore,
    positions: Vec<Cursor>,
}

const IDS: [&str; 3] = ["s", "s.2", "é"];

impl Listings {
    fn new() -> Self {
        let mut conn = in_memory();
        for (place, id) in IDS.into_iter().enumerate() {
            conn.update_session(&session(id, place as i64 - 1)).unwrap();
            for index in 0..4 {
                conn.insert_event(&event(&format!("{id}{index}"), id, index / 2)).unwrap();
            }
        }
        let mut cursors = Vec::new();
        let mut request = ListSessionsRequest::new().limit(1);
        while let Some(cursor) = conn.list_sessions(&request).unwrap().next_cursor {
            cursors.push((None, cursor.clone()));
            request = request.cursor(cursor);
        }
        for id in IDS {
            let mut request = ListEventsRequest::new(id).limit(1);
            while let Some(cursor) = conn.list_events(&request).unwrap().next_cursor {
                cursors.push((Some(id), cursor.clone()));
                request = request.cursor(cursor);
            }
        }
        assert_eq!(cursors.len(), 11);
        let store = SessionStore::open_in_memory().unwrap();
        for number in 0..5 {
            store.insert_event(&event(&format!("e{number}"), IDS[number % 3], 0)).unwrap();
        }
        let positions = store.follow_all(None).take(5).map(|committed| committed.unwrap().cursor).collect();
        Self { conn, cursors, store, positions }
    }

    /// A cursor is the place that this crate gave out, or it is refused.
    fn use_cursor(&mut self, cursor: &Cursor) {
        let sessions = ListSessionsRequest::new().cursor(cursor.clone());
        let is_ours = self.cursors.contains(&(None, cursor.clone()));
        match self.conn.list_sessions(&sessions) {
            Ok(page) => assert!(is_ours && page.items.len() < IDS.len(), "{cursor}"),
            Err(Error::InvalidCursor { .. }) => assert!(!is_ours, "{cursor}"),
            Err(error) => panic!("{cursor}: {error}"),
        }
        for id in IDS {
            let events = ListEventsRequest::new(id).cursor(cursor.clone());
            let is_ours = self.cursors.contains(&(Some(id), cursor.clone()));
            match self.conn.list_events(&events) {
                Ok(page) => assert!(is_ours && page.items.len() < 4, "{cursor}"),
                Err(Error::InvalidCursor { .. }) => assert!(!is_ours, "{cursor}"),
                Err(error) => panic!("{cursor}: {error}"),
            }
            let other_way = ListEventsRequest::new(id).descending().cursor(cursor.clone());
            assert!(matches!(self.conn.list_events(&other_way), Err(Error::InvalidCursor { .. })), "{cursor}");
        }
        let place = self.positions.iter().position(|ours| ours == cursor);
        match (self.store.follow_all(cursor.clone()).next_timeout(Duration::ZERO), place) {
            (Ok(next), Some(place)) => assert_eq!(next.is_some(), place < 4, "{cursor}"),
            (Err(Error::InvalidCursor { .. }), None) => {}
            (other, _) => panic!("{cursor}: {other:?}"),
        }
    }
}

/// The first byte says whether the rest is a text, or changes to a cursor of ours.
pub fn run(data: &[u8]) {
    let mut choices = Choices(data);
    let number = choices.below(32);
    LISTINGS.with_borrow_mut(|listings| {
        let ours = listings.cursors.iter().map(|(_, cursor)| cursor).chain(&listings.positions);
        let text = match { ours }.nth(number) {
            Some(cursor) => changed(cursor.to_string(), &mut choices),
            None => String::from_utf8_lossy(choices.0).into_owned(),
        };
        let json = serde_json::to_string(&text).unwrap();
        let deserialized: Result<Cursor, _> = serde_json::from_str(&json);
        match text.parse::<Cursor>() {
            Ok(cursor) => {
                assert_eq!(cursor.to_string(), text);
                assert_eq!(deserialized.unwrap(), cursor);
                listings.use_cursor(&cursor);
            }
            Err(Error::InvalidCursor { .. }) => assert!(deserialized.is_err(), "{text:?}"),
            Err(error) => panic!("{text:?}: {error}"),
        }
    });
}

/// Each three bytes put a character somewhere, over another or between two.
fn changed(text: String, choices: &mut Choices<'_>) -> String {
    let mut text: Vec<char> = text.chars().collect();
    while choices.is_left() {
        let (place, how) = (choices.below(text.len().max(1)), choices.byte());
        match how % 4 {
            0 => text.insert(place, char::from(choices.byte())),
            1 if !text.is_empty() => _ = text.remove(place),
            _ if !text.is_empty() => text[place] = char::from(choices.byte()),
            _ => {}
        }
    }
    text.into_iter().collect()
}
