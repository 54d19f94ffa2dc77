//! Proves that a listing can be walked in async code: as an async iterator and as a stream.

use std::future::poll_fn;
use std::pin::Pin;

use agent_session_store::{
    AsyncSessionStore, Error, ListEventsRequest, ListSessionsRequest, SessionEvent, SessionRecord, SessionStore,
};
use futures_core::Stream;

use crate::common::samples::bare_session;
use crate::common::tasks::block_on;
use crate::common::{TempDb, event};

async fn collect<T>(mut stream: impl Stream<Item = Result<T, Error>> + Unpin + Send) -> Vec<Result<T, Error>> {
    let mut items = Vec::new();
    while let Some(item) = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
        items.push(item);
    }
    // A stream that has ended stays so.
    assert!(poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await.is_none());
    items
}

#[test]
fn both_listings_are_streams_and_iterators() {
    block_on(async {
        let store = AsyncSessionStore::open_in_memory().unwrap();
        let events: Vec<SessionEvent> = (0..25).map(|index| event(&format!("e{index:02}"), "s", index / 4)).collect();
        store.insert_events(&events).await.unwrap();
        let sessions: Vec<SessionRecord> = (0..25).map(|number| bare_session(&format!("s{number:02}"))).collect();
        for session in &sessions {
            store.update_session(session).await.unwrap();
        }
        for limit in [1, 7, 25, 100] {
            let of = || store.events(ListEventsRequest::new("s").limit(limit));
            let streamed: Result<Vec<_>, _> = collect(of()).await.into_iter().collect();
            assert_eq!(streamed.unwrap(), events);
            let mut each = of();
            for event in &events {
                assert_eq!(each.next().await.unwrap().as_ref(), Some(event));
            }
            assert_eq!(each.next().await.unwrap(), None);
            let streamed = collect(store.sessions(ListSessionsRequest::new().limit(limit))).await;
            assert_eq!(streamed.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), sessions);
        }
        let mut newest = store.sessions(ListSessionsRequest::new().descending());
        assert_eq!(newest.next().await.unwrap().as_ref(), sessions.last());
    });
}

#[test]
fn a_stream_goes_on_after_a_row_that_cannot_be_decoded_and_ends_when_the_store_is_closed() {
    let db = TempDb::new();
    let store = AsyncSessionStore::from(SessionStore::open(db.path()).unwrap());
    block_on(async {
        for index in 1..=5 {
            store.insert_event(&event(&format!("e{index}"), "s", index)).await.unwrap();
        }
        db.plain().execute("UPDATE events SET sender = 'nobody' WHERE id = 'e3'", []).unwrap();
        let items = collect(store.events(ListEventsRequest::new("s").limit(2))).await;
        let ids: Vec<_> = items.iter().map(|item| item.as_ref().map(|event| &*event.id).ok()).collect();
        assert_eq!(ids, [Some("e1"), Some("e2"), None, Some("e4"), Some("e5")]);
        let mut events = store.events(ListEventsRequest::new("s").limit(1));
        assert!(events.next().await.unwrap().is_some());
        store.close().await.unwrap();
        let rest = collect(events).await;
        assert!(matches!(rest[..], [Err(Error::Closed)]), "{rest:?}");
    });
}
