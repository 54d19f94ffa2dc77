//! Listings, page by page. Every cursor goes the way a client would send it: as text.

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::{Cursor, ListEventsRequest, ListSessionsRequest, SessionPersistDriver};

/// The ids on each page of a listing of events.
pub fn walk_events(conn: &mut SqliteConnection, mut request: ListEventsRequest) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let page = conn.list_events(&request).unwrap();
        pages.push(page.items.into_iter().map(|event| event.id).collect());
        let Some(cursor) = page.next_cursor else { return pages };
        request = request.cursor(cursor.to_string().parse::<Cursor>().unwrap());
    }
}

/// The ids on each page of a listing of sessions.
pub fn walk_sessions(conn: &mut SqliteConnection, mut request: ListSessionsRequest) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let page = conn.list_sessions(&request).unwrap();
        pages.push(page.items.into_iter().map(|session| session.id).collect());
        let Some(cursor) = page.next_cursor else { return pages };
        request = request.cursor(cursor.to_string().parse::<Cursor>().unwrap());
    }
}
