//! A value that somebody else has stored, read back.

use agent_session_store::diesel::prelude::*;
use agent_session_store::diesel::sql_types::Binary;
use agent_session_store::diesel::{self, SqliteConnection};
use agent_session_store::{
    Error, ListEventsRequest, ListPage, ListSessionsRequest, PruneRequest, Selection, SessionEvent,
    SessionPersistDriver, SessionRecord,
};

use super::{Choices, event, message, session, with_two};

const SESSIONS: [&str; 10] = [
    "session_init_json",
    "config_options_json",
    "modes_json",
    "id",
    "agent",
    "agent_session_id",
    "last_connection_id",
    "sandbox_id",
    "created_at",
    "destroyed_at",
];
const EVENTS: [&str; 7] = ["payload_json", "id", "session_id", "sender", "connection_id", "created_at", "event_index"];

/// Part of every value that an error must not quote.
const SECRET: &[u8] = b"sk-5ecret";

/// The first bytes choose a column, a storage class and the place of the secret; the rest is the value.
pub fn run(data: &[u8]) {
    let mut choices = Choices(data);
    let column = choices.below(SESSIONS.len() + EVENTS.len());
    let (table, column) = match SESSIONS.get(column) {
        Some(column) => ("sessions", *column),
        None => ("events", EVENTS[column - SESSIONS.len()]),
    };
    let storage = choices.one_of(&["TEXT", "BLOB", "REAL", "INTEGER"]);
    let place = choices.below(256);
    let mut value = choices.0.to_vec();
    // An id is what an error names a row by.
    let names_a_row = matches!(column, "id" | "session_id");
    let has_secret = place < value.len() && !names_a_row;
    if has_secret {
        value.splice(place..place, SECRET.iter().copied());
    }

    let value = (storage, value, has_secret);
    with_two(|conn, copy| reads_back(table, column, value, conn, copy));
}

fn reads_back(
    table: &'static str,
    column: &'static str,
    (storage, value, has_secret): (&str, Vec<u8>, bool),
    conn: &mut SqliteConnection,
    copy: &mut SqliteConnection,
) {
    for (place, id) in ["a", "target", "z"].into_iter().enumerate() {
        conn.update_session(&session(id, place as i64)).unwrap();
        for index in 1..=3 {
            let event_id = if index == 2 { id.to_owned() } else { format!("{id}{index}") };
            conn.insert_event(&event(&event_id, id, index)).unwrap();
        }
    }
    let stored = diesel::sql_query(format!("UPDATE {table} SET {column} = CAST(? AS {storage}) WHERE id = 'target'"))
        .bind::<Binary, _>(&value)
        .execute(conn);
    // An id may be taken.
    let Ok(1) = stored else { return };
    Look { conn, table, column, value: (storage == "TEXT").then_some(value), has_secret }.everywhere(copy);
}

struct Look<'a> {
    conn: &'a mut SqliteConnection,
    table: &'static str,
    column: &'static str,
    /// What was stored, if it is text.
    value: Option<Vec<u8>>,
    has_secret: bool,
}

impl Look<'_> {
    fn everywhere(mut self, copy: &mut SqliteConnection) {
        let found = self.conn.get_session("target");
        if let Some(Some(found)) = self.accept(found) {
            self.is_kept(&found);
        }
        let sessions = self.all_sessions();
        sessions.iter().filter(|found| found.id == "target").for_each(|found| self.is_kept(found));
        for request in [ListEventsRequest::new("target"), ListEventsRequest::new("target").descending()] {
            for event in self.all_events(request) {
                if event.id == "target" {
                    self.event_is_kept(&event);
                }
            }
        }
        let latest = self.conn.latest_events("target", 2, None);
        self.accept(latest);
        let walked: Vec<_> = self.conn.events(ListEventsRequest::new("target").limit(1)).take(10).collect();
        assert!(walked.len() <= 4, "it goes round and round");
        for event in walked {
            self.accept(event);
        }
        let stats = self.conn.stats();
        assert!(self.accept(stats).is_some());
        let stats = self.conn.session_stats();
        assert!(self.accept(stats).is_some());
        let stats = self.conn.get_session_stats("target");
        assert!(self.accept(stats).is_some());
        let summaries = self.conn.list_session_summaries(&ListSessionsRequest::new());
        if self.table == "events" {
            assert!(summaries.is_ok(), "{summaries:?}");
        }
        self.accept(summaries);
        let report = self.conn.check().unwrap();
        assert!(report.integrity.is_empty(), "{report:?}");
        self.says_nothing(&report.undecodable.join("\n"));
        let mut lines = Vec::new();
        let exported = self.conn.export(&mut lines, Selection::all());
        if self.accept(exported).is_some() {
            copy.import(&*lines).unwrap();
            assert_eq!(super::exported(copy).unwrap(), lines);
        }
        let last = self.conn.last_event_index("target");
        self.accept(last);
        let prune = PruneRequest::new().max_events_per_session(1).orphans_before(Default::default()).dry_run();
        let pruned = self.conn.prune(&prune);
        self.accept(pruned);
        // What is stored over it is what is read then.
        self.conn.update_session(&session("target", 1)).unwrap();
        self.conn.insert_event(&event("target", "target", 2)).unwrap();
        assert!(self.conn.get_session("target").unwrap().is_some());
    }

    /// The answer, if it is none about this value.
    fn accept<T>(&self, answer: Result<T, Error>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                match &error {
                    Error::Decode { table, column, .. } => {
                        assert_eq!((*table, *column), (self.table, self.column));
                    }
                    // An append or a prune after an index that is none.
                    Error::IndexesExhausted { .. } => {}
                    error => panic!("{error}"),
                }
                self.says_nothing(&message(&error));
                None
            }
        }
    }

    fn says_nothing(&self, message: &str) {
        let secret = std::str::from_utf8(SECRET).unwrap();
        assert!(!self.has_secret || !message.contains(secret), "{message}");
    }

    fn is_kept(&self, found: &SessionRecord) {
        if self.table != "sessions" {
            return;
        }
        let Some(value) = &self.value else { return };
        let kept = match self.column {
            "session_init_json" => found.session_init.as_ref().map(|json| json.get()),
            "config_options_json" => found.config_options.as_ref().map(|json| json.get()),
            "modes_json" => found.modes.as_ref().map(|json| json.get()),
            "agent" => Some(&*found.agent),
            "agent_session_id" => Some(&*found.agent_session_id),
            "last_connection_id" => Some(&*found.last_connection_id),
            "sandbox_id" => found.sandbox_id.as_deref(),
            _ => return,
        };
        assert_eq!(kept.map(str::as_bytes), Some(&**value));
    }

    fn event_is_kept(&self, found: &SessionEvent) {
        if self.table != "events" {
            return;
        }
        let Some(value) = &self.value else { return };
        let kept = match self.column {
            "payload_json" => found.payload.get(),
            "connection_id" => &found.connection_id,
            "sender" => found.sender.as_str(),
            _ => return,
        };
        assert_eq!(kept.as_bytes(), value);
    }

    fn all_sessions(&mut self) -> Vec<SessionRecord> {
        let mut request = ListSessionsRequest::new().limit(1);
        let mut found = Vec::new();
        for _ in 0..8 {
            let page = self.conn.list_sessions(&request);
            match self.next(page, &mut found) {
                Some(cursor) => request = request.cursor(cursor),
                None => return found,
            }
        }
        panic!("the listing has no end");
    }

    fn all_events(&mut self, mut request: ListEventsRequest) -> Vec<SessionEvent> {
        request = request.limit(1);
        let mut found = Vec::new();
        for _ in 0..8 {
            let page = self.conn.list_events(&request);
            match self.next(page, &mut found) {
                Some(cursor) => request = request.cursor(cursor),
                None => return found,
            }
        }
        panic!("the listing has no end");
    }

    /// Takes what is on the page, and says where the listing goes on.
    fn next<T>(&self, page: Result<ListPage<T>, Error>, found: &mut Vec<T>) -> Option<agent_session_store::Cursor> {
        let past = match &page {
            Err(Error::Decode { after, .. }) => after.clone(),
            _ => None,
        };
        match self.accept(page) {
            Some(page) => {
                found.extend(page.items);
                page.next_cursor
            }
            None => past,
        }
    }
}
