//! The contract of [`SessionPersistDriver`], as checks that every implementation can run: `contract::check`.
//!
//! For implementations of the trait: another backend, a decorator, a remote store. Needs the feature `contract`.
//!
//! ```
//! use agent_session_store::{SessionStore, contract};
//!
//! contract::check(|| SessionStore::open_in_memory().unwrap());
//! ```

#![expect(clippy::unwrap_used, reason = "a rule that is broken panics")]

use chrono::DateTime;

use crate::{
    AppendRequest, CheckReport, Cursor, Error, Export, FileMaintenance, Import, Json, ListEventsRequest,
    ListSessionsRequest, NewEvent, PruneReport, PruneRequest, Selection, Sender, SessionEvent, SessionPersistDriver,
    SessionRecord, SessionSummary,
};

/// Runs every check, each on a new driver over an empty database from `make`.
///
/// # Panics
///
/// If a rule is broken, with the name of the rule.
///
/// ```
/// # use agent_session_store::{SessionStore, contract};
/// contract::check(|| SessionStore::open_in_memory().unwrap());
/// ```
pub fn check<D: SessionPersistDriver>(mut make: impl FnMut() -> D) {
    rules::<D>().into_iter().for_each(|rule| check_rule(rule, &mut make));
}

/// Checks [`FileMaintenance`], for a driver whose database is a file.
///
/// # Panics
///
/// If a rule is broken, with the name of the rule.
///
/// ```
/// # use agent_session_store::{SessionStore, contract};
/// contract::check_file(|| SessionStore::open_in_memory().unwrap());
/// ```
pub fn check_file<D: SessionPersistDriver + FileMaintenance>(mut make: impl FnMut() -> D) {
    check_rule(("a checkpoint, and space that is given back, change nothing that is stored", upkeep), &mut make);
}

fn check_rule<D>((rule, holds): NamedRule<D>, make: &mut impl FnMut() -> D) {
    let mut driver = make();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| holds(&mut driver)));
    if let Err(panic) = result {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        panic!("broken rule: {rule}\n{text}");
    }
}

type NamedRule<D> = (&'static str, fn(&mut D));

fn rules<D: SessionPersistDriver>() -> [NamedRule<D>; 19] {
    [
        ("what is not there is nothing, not an error", nothing_is_there),
        ("a session comes back as it was stored, and every column is overwritten", sessions_are_kept),
        ("an event comes back as it was stored, and is overwritten by its id", events_are_kept),
        ("sessions are listed by created_at, then id, either way, each once", sessions_in_order),
        ("filters of sessions narrow the listing and combine", session_filters),
        ("events are listed by event_index, then id, either way, each once", events_in_order),
        ("bounds of events hold, and a page has one event at least", event_bounds),
        ("a cursor of another listing is refused", foreign_cursors),
        ("an append continues from the last index and is idempotent by id", appends),
        ("an append after an index needs the session to end there", appends_after),
        ("an append requires of its session what it is told to", appends_on_conditions),
        ("the latest events are those that fit, oldest first", latest),
        ("a session's statistics are those of its events", session_statistics),
        ("a summary tells what the ends of its session tell", summaries),
        ("a session is ended, forked and deleted wholly", lifecycle),
        ("pruning deletes what its rules say, and a dry run says the same", prunes),
        ("what has been inactive for longest goes first", prunes_by_activity),
        ("what goes is archived first, and an import restores it", archives),
        ("what is exported is imported as it was, once or twice", moves),
    ]
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn session(id: &str, created_at: i64) -> SessionRecord {
    SessionRecord {
        id: id.to_owned(),
        agent: "claude".to_owned(),
        agent_session_id: format!("agent-{id}"),
        last_connection_id: "connection-1".to_owned(),
        created_at: DateTime::from_timestamp_millis(created_at).unwrap(),
        destroyed_at: None,
        sandbox_id: None,
        session_init: None,
        config_options: None,
        modes: None,
    }
}

fn new(id: &str) -> NewEvent {
    NewEvent {
        id: id.to_owned(),
        created_at: DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
        connection_id: "connection-1".to_owned(),
        sender: Sender::Agent,
        payload: json("\"0123456789\""),
    }
}

fn event(id: &str, session_id: &str, event_index: i64) -> SessionEvent {
    let NewEvent { id, created_at, connection_id, sender, payload } = new(id);
    SessionEvent { id, event_index, session_id: session_id.to_owned(), created_at, connection_id, sender, payload }
}

fn event_ids(events: &[SessionEvent]) -> Vec<&str> {
    events.iter().map(|event| &*event.id).collect()
}

/// The ids on all pages, by way of the cursors' text.
fn walk_events<D: SessionPersistDriver>(driver: &mut D, mut request: ListEventsRequest) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = driver.list_events(&request).unwrap();
        ids.extend(page.items.into_iter().map(|event| event.id));
        let Some(cursor) = page.next_cursor else { return ids };
        request = request.cursor(cursor.to_string().parse::<Cursor>().unwrap());
    }
}

fn walk_sessions<D: SessionPersistDriver>(driver: &mut D, mut request: ListSessionsRequest) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = driver.list_sessions(&request).unwrap();
        ids.extend(page.items.into_iter().map(|session| session.id));
        let Some(cursor) = page.next_cursor else { return ids };
        request = request.cursor(cursor.to_string().parse::<Cursor>().unwrap());
    }
}

fn nothing_is_there<D: SessionPersistDriver>(driver: &mut D) {
    assert_eq!(driver.get_session("s").unwrap(), None);
    assert_eq!(driver.get_event("e").unwrap(), None);
    assert!(driver.list_sessions(&ListSessionsRequest::new()).unwrap().items.is_empty());
    assert!(driver.list_events(&ListEventsRequest::new("s")).unwrap().items.is_empty());
    assert_eq!(driver.last_event_index("s").unwrap(), None);
    assert!(driver.latest_events("s", 9, None).unwrap().is_empty());
    assert!(!driver.delete_session("s").unwrap());
    assert!(!driver.destroy_session("s", DateTime::UNIX_EPOCH).unwrap());
    assert_eq!(driver.prune(&PruneRequest::new()).unwrap(), PruneReport::default());
    assert!(driver.session_stats().unwrap().is_empty());
    assert_eq!(driver.get_session_stats("s").unwrap(), None);
    assert!(driver.list_session_summaries(&ListSessionsRequest::new()).unwrap().items.is_empty());
    assert_eq!(driver.check().unwrap(), CheckReport::default());
}

fn sessions_are_kept<D: SessionPersistDriver>(driver: &mut D) {
    let full = SessionRecord {
        destroyed_at: Some(DateTime::UNIX_EPOCH),
        sandbox_id: Some("box".to_owned()),
        session_init: Some(json("{\"b\":1e+21,\"a\":\"\\ud83d\", \"a\":1.0}")),
        config_options: Some(json("[]")),
        modes: Some(json("null")),
        ..session("s", 1)
    };
    for record in [&full, &session("s", 2), &full] {
        driver.update_session(record).unwrap();
        assert_eq!(driver.get_session("s").unwrap().as_ref(), Some(record));
    }
    assert_eq!(driver.stats().unwrap().sessions, 1);
}

fn events_are_kept<D: SessionPersistDriver>(driver: &mut D) {
    let first =
        SessionEvent { payload: json("{\"z\":12345678901234567000,\n\"a\":\"\\u0000\"}"), ..event("e", "s", 7) };
    let second = SessionEvent { sender: Sender::Client, ..event("e", "t", -7) };
    for event in [&first, &second] {
        driver.insert_event(event).unwrap();
        let page = driver.list_events(&ListEventsRequest::new(&*event.session_id)).unwrap();
        assert_eq!(page.items, std::slice::from_ref(event));
        assert_eq!(driver.get_event("e").unwrap().as_ref(), Some(event));
    }
    driver.insert_events(&[first.clone(), event("f", "s", 8)]).unwrap();
    assert_eq!(walk_events(driver, ListEventsRequest::new("s")), ["e", "f"]);
    assert!(walk_events(driver, ListEventsRequest::new("t")).is_empty());
}

fn sessions_in_order<D: SessionPersistDriver>(driver: &mut D) {
    for (id, created_at) in [("b", 5), ("a", 5), ("é", 5), ("z", -1), ("", 9)] {
        driver.update_session(&session(id, created_at)).unwrap();
    }
    let mut expected = ["z", "a", "b", "é", ""];
    for limit in [1, 2, 5, 6] {
        assert_eq!(walk_sessions(driver, ListSessionsRequest::new().limit(limit)), expected);
        let iterated = driver.sessions(ListSessionsRequest::new().limit(limit));
        assert_eq!(iterated.map(|session| session.unwrap().id).collect::<Vec<_>>(), expected);
        let summaries = driver.session_summaries(ListSessionsRequest::new().limit(limit));
        assert_eq!(summaries.map(|summary| summary.unwrap().session.id).collect::<Vec<_>>(), expected);
    }
    expected.reverse();
    for limit in [1, 2, 5, 6] {
        assert_eq!(walk_sessions(driver, ListSessionsRequest::new().limit(limit).descending()), expected);
    }
}

fn session_filters<D: SessionPersistDriver>(driver: &mut D) {
    let ended = Some(DateTime::UNIX_EPOCH);
    for record in [
        session("a", 1),
        SessionRecord { agent: "codex".to_owned(), destroyed_at: ended, ..session("b", 2) },
        SessionRecord { sandbox_id: Some("box".to_owned()), destroyed_at: ended, ..session("c", 3) },
        SessionRecord { sandbox_id: Some("box".to_owned()), ..session("d", 4) },
    ] {
        driver.update_session(&record).unwrap();
    }
    let time = |millis| DateTime::from_timestamp_millis(millis).unwrap();
    let all = || ListSessionsRequest::new().limit(1);
    for (request, expected) in [
        (all().agent("claude"), "acd"),
        (all().sandbox_id("box"), "cd"),
        (all().live(), "ad"),
        (all().destroyed(), "bc"),
        (all().created_from(time(2)), "bcd"),
        (all().created_before(time(3)), "ab"),
        (all().created_from(time(2)).created_before(time(4)).descending(), "cb"),
        (all().agent("claude").destroyed().sandbox_id("box"), "c"),
        (all().agent("nobody"), ""),
    ] {
        assert_eq!(walk_sessions(driver, request.clone()).concat(), expected, "{request:?}");
    }
}

fn events_in_order<D: SessionPersistDriver>(driver: &mut D) {
    let rows =
        [("b", 5), ("a", 5), ("z", i64::MIN), ("y", i64::MAX), ("é", 5)].map(|(id, index)| event(id, "s", index));
    driver.insert_events(&rows).unwrap();
    driver.insert_event(&event("else", "t", 1)).unwrap();
    let mut expected = ["z", "a", "b", "é", "y"];
    let iterated = |driver: &mut D, request| driver.events(request).map(|event| event.unwrap().id).collect::<Vec<_>>();
    for limit in [1, 2, 5, 6] {
        assert_eq!(walk_events(driver, ListEventsRequest::new("s").limit(limit)), expected);
        assert_eq!(iterated(driver, ListEventsRequest::new("s").limit(limit)), expected);
    }
    expected.reverse();
    for limit in [1, 2, 5, 6] {
        assert_eq!(walk_events(driver, ListEventsRequest::new("s").limit(limit).descending()), expected);
        assert_eq!(iterated(driver, ListEventsRequest::new("s").limit(limit).descending()), expected);
    }
}

fn event_bounds<D: SessionPersistDriver>(driver: &mut D) {
    let rows: Vec<_> = (1..=5).map(|index| event(&index.to_string(), "s", index)).collect();
    driver.insert_events(&rows).unwrap();
    let all = || ListEventsRequest::new("s").limit(2);
    for (request, expected) in [
        (all().after(2), "345"),
        (all().before(4), "123"),
        (all().after(1).before(5), "234"),
        (all().after(1).before(5).descending(), "432"),
        (all().after(5), ""),
        (all().after(4).before(4), ""),
    ] {
        assert_eq!(walk_events(driver, request.clone()).concat(), expected, "{request:?}");
    }
    // Each payload is 12 bytes.
    for (bytes, expected) in [(0, 1), (11, 1), (12, 1), (23, 1), (24, 2), (35, 2), (36, 3), (99, 5)] {
        let request = ListEventsRequest::new("s").max_bytes(bytes);
        assert_eq!(driver.list_events(&request).unwrap().items.len(), expected, "{bytes} bytes");
        assert_eq!(walk_events(driver, request).concat(), "12345", "{bytes} bytes");
    }
}

fn foreign_cursors<D: SessionPersistDriver>(driver: &mut D) {
    driver.insert_events(&[event("a", "s", 1), event("b", "s", 2), event("c", "t", 1), event("d", "t", 2)]).unwrap();
    driver.update_session(&session("s", 1)).unwrap();
    driver.update_session(&session("t", 2)).unwrap();
    let of_events = driver.list_events(&ListEventsRequest::new("s").limit(1)).unwrap().next_cursor.unwrap();
    let of_sessions = driver.list_sessions(&ListSessionsRequest::new().limit(1)).unwrap().next_cursor.unwrap();
    for request in [ListEventsRequest::new("t"), ListEventsRequest::new("s").descending()] {
        let result = driver.list_events(&request.cursor(of_events.clone()));
        assert!(matches!(result, Err(Error::InvalidCursor { .. })), "{result:?}");
    }
    for request in [ListSessionsRequest::new().live(), ListSessionsRequest::new().descending()] {
        let result = driver.list_sessions(&request.cursor(of_sessions.clone()));
        assert!(matches!(result, Err(Error::InvalidCursor { .. })), "{result:?}");
    }
    assert!(driver.list_sessions(&ListSessionsRequest::new().cursor(of_events)).is_err());
    assert!(driver.list_events(&ListEventsRequest::new("s").cursor(of_sessions)).is_err());
}

fn appends<D: SessionPersistDriver>(driver: &mut D) {
    assert_eq!(driver.append_events("s", &[new("a"), new("b")]).unwrap(), [1, 2]);
    driver.insert_event(&event("c", "s", 10)).unwrap();
    assert_eq!(driver.append_events("s", &[new("d")]).unwrap(), [11]);
    assert_eq!(driver.append_events("s", &[new("b"), new("e"), new("e")]).unwrap(), [2, 12, 12]);
    assert_eq!(driver.last_event_index("s").unwrap(), Some(12));
    let other = NewEvent { payload: json("0"), ..new("a") };
    for (session_id, refused) in [("s", [new("f"), other]), ("t", [new("f"), new("a")])] {
        let result = driver.append_events(session_id, &refused);
        assert!(matches!(&result, Err(Error::EventIdTaken { id, .. }) if id == "a"), "{result:?}");
    }
    assert_eq!(walk_events(driver, ListEventsRequest::new("s")).concat(), "abcde");
    assert_eq!(driver.last_event_index("t").unwrap(), None);
}

fn appends_after<D: SessionPersistDriver>(driver: &mut D) {
    assert_eq!(driver.append_events_after("s", 0, &[new("a")]).unwrap(), [1]);
    for (at, id) in [(0, "b"), (2, "b"), (-1, "b")] {
        let result = driver.append_events_after("s", at, &[new(id)]);
        let Err(Error::AppendConflict { expected, last_index, .. }) = result else { panic!("{result:?}") };
        assert_eq!((expected, last_index), (at, Some(1)));
    }
    assert_eq!(driver.append_events_after("s", 1, &[new("b")]).unwrap(), [2]);
    assert_eq!(driver.append_events_after("s", 0, &[new("a")]).unwrap(), [1], "all of it is stored");
    assert!(matches!(
        driver.append_events_after("t", 3, &[new("c")]),
        Err(Error::AppendConflict { expected: 3, last_index: None, .. })
    ));
    assert_eq!(walk_events(driver, ListEventsRequest::new("s")).concat(), "ab");
}

fn appends_on_conditions<D: SessionPersistDriver>(driver: &mut D) {
    let request = AppendRequest::new("s");
    assert_eq!(driver.append(&request, &[new("a")]).unwrap(), [1]);
    let refused = driver.append(&request.clone().must_exist(), &[new("b")]);
    assert!(matches!(&refused, Err(Error::SessionNotFound { id }) if id == "s"), "{refused:?}");
    driver.update_session(&session("s", 1)).unwrap();
    assert_eq!(driver.append(&request.clone().must_be_live(), &[new("b"), new("c")]).unwrap(), [2, 3]);
    assert!(driver.destroy_session("s", DateTime::UNIX_EPOCH).unwrap());
    let refused = driver.append(&request.clone().must_be_live(), &[new("c"), new("d")]);
    assert!(matches!(&refused, Err(Error::SessionEnded { id }) if id == "s"), "{refused:?}");
    assert_eq!(driver.append(&request.clone().must_be_live(), &[new("c")]).unwrap(), [3], "it is stored already");
    assert_eq!(driver.append(&request.clone().must_exist().ends_at(3), &[new("d")]).unwrap(), [4]);
    assert!(matches!(driver.append(&request.ends_at(3), &[new("e")]), Err(Error::AppendConflict { .. })));
    assert_eq!(walk_events(driver, ListEventsRequest::new("s")).concat(), "abcd");
}

fn latest<D: SessionPersistDriver>(driver: &mut D) {
    driver.append_events("s", &["a", "b", "c", "d"].map(new)).unwrap();
    for (count, max_bytes, expected) in [
        (0, None, ""),
        (2, None, "cd"),
        (9, None, "abcd"),
        (9, Some(0), "d"),
        (9, Some(24), "cd"),
        (9, Some(35), "cd"),
        (1, Some(99), "d"),
    ] {
        let events = driver.latest_events("s", count, max_bytes).unwrap();
        assert_eq!(event_ids(&events).concat(), expected, "{count} {max_bytes:?}");
    }
}

fn session_statistics<D: SessionPersistDriver>(driver: &mut D) {
    driver.update_session(&session("empty", 1)).unwrap();
    let time = |millis| DateTime::from_timestamp_millis(millis).unwrap();
    for (id, index, millis) in [("b", 7, 30), ("a", 2, 40), ("c", 9, 20)] {
        driver.insert_event(&SessionEvent { created_at: time(millis), ..event(id, "s", index) }).unwrap();
    }
    let stats = driver.get_session_stats("s").unwrap().unwrap();
    assert_eq!((&*stats.session_id, stats.events, stats.payload_bytes), ("s", 3, 36));
    assert_eq!((stats.first_index, stats.last_index), (Some(2), Some(9)));
    assert_eq!((stats.first_time, stats.last_time), (Some(time(20)), Some(time(40))));
    let empty = driver.get_session_stats("empty").unwrap().unwrap();
    assert_eq!((empty.events, empty.payload_bytes, empty.last_index, empty.last_time), (0, 0, None, None));
    assert_eq!(driver.session_stats().unwrap(), [empty, stats]);
    assert_eq!(driver.get_session_stats("t").unwrap(), None);
}

/// A session of so many events: a long prompt after one other event, chunks, and the answer to the prompt.
fn talk(length: i64) -> Vec<SessionEvent> {
    let long = "x".repeat(SessionSummary::MAX_PAYLOAD_BYTES);
    let payload = |index| {
        match index {
        1 => r#"{"id":1,"method":"session/new","params":{"cwd":"/srv/app"}}"#.to_owned(),
        2 => format!(r#"{{"id":2,"method":"session/prompt","params":{{"prompt":[{{"type":"text","text":"{long}"}}]}}}}"#),
        index if index == length => r#"{"id":2,"result":{"stopReason":"end_turn","usage":{"totalTokens":9}}}"#.to_owned(),
        index if index + 1 == length => {
            r#"{"method":"session/update","params":{"update":{"sessionUpdate":"usage_update","used":5,"size":10}}}"#.to_owned()
        }
        _ => {
            r#"{"method":"session/update","params":{"update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"…"}}}}"#.to_owned()
        }
    }
    };
    let said = |index| SessionEvent {
        sender: if index <= 2 { Sender::Client } else { Sender::Agent },
        created_at: DateTime::from_timestamp_millis(index * 1_000).unwrap(),
        payload: json(&payload(index)),
        ..event(&format!("{length}-{index}"), &format!("s{length}"), index)
    };
    (1..=length).map(said).collect()
}

fn summaries<D: SessionPersistDriver>(driver: &mut D) {
    let (first, last) = (SessionSummary::FIRST_EVENTS, SessionSummary::LAST_EVENTS);
    let lengths: Vec<i64> = [0, 1, 2, last - 1, last, last + 1, first + last - 1, first + last, first + last + 1, 200]
        .map(|length| length as i64)
        .into();
    for length in &lengths {
        driver.update_session(&session(&format!("s{length}"), 1_000 - length)).unwrap();
        driver.insert_events(&talk(*length)).unwrap();
    }
    // Without a record a session is not listed.
    driver.insert_event(&event("other", "nobody", 1)).unwrap();
    for request in [
        ListSessionsRequest::new(),
        ListSessionsRequest::new()
            .descending()
            .created_before(DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(999)),
    ] {
        let mut request = request.limit(3);
        let mut seen = 0;
        loop {
            let sessions = driver.list_sessions(&request).unwrap();
            let page = driver.list_session_summaries(&request).unwrap();
            assert_eq!(page.next_cursor, sessions.next_cursor);
            for (summary, record) in page.items.iter().zip(&sessions.items) {
                let all = talk(record.id[1..].parse().unwrap());
                let last = &all[all.len().saturating_sub(SessionSummary::LAST_EVENTS)..];
                let first = &all[..all.len().min(SessionSummary::FIRST_EVENTS)];
                assert_eq!(*summary, SessionSummary::new(record.clone(), first, last), "{}", record.id);
                seen += 1;
            }
            assert_eq!(page.items.len(), sessions.items.len());
            let Some(cursor) = page.next_cursor else { break };
            request = request.cursor(cursor);
        }
        assert!(seen >= lengths.len() - 2, "{seen}");
    }
    let longest = driver.list_session_summaries(&ListSessionsRequest::new().limit(1)).unwrap().items.remove(0);
    let title = longest.title.unwrap();
    assert_eq!((title.chars().count(), title.ends_with("x…")), (SessionSummary::TITLE_CHARS, true));
    assert_eq!(longest.cwd.as_deref(), Some("/srv/app"));
    assert_eq!(longest.last_index, Some(200));
    assert_eq!(longest.last_activity, DateTime::from_timestamp_millis(200_000));
    assert_eq!(longest.is_running, Some(false));
    assert_eq!(longest.usage.map(|usage| usage.used), Some(5));
    assert_eq!(longest.tokens.and_then(|tokens| tokens.total_tokens), Some(9));
    driver.delete_session("s200").unwrap();
    assert_eq!(
        driver.list_session_summaries(&ListSessionsRequest::new().limit(1)).unwrap().items[0].last_index,
        Some(33)
    );
}

fn lifecycle<D: SessionPersistDriver>(driver: &mut D) {
    driver.update_session(&session("s", 1)).unwrap();
    driver.append_events("s", &["a", "b", "c"].map(new)).unwrap();
    assert!(driver.destroy_session("s", DateTime::UNIX_EPOCH).unwrap());
    assert_eq!(driver.get_session("s").unwrap().unwrap().destroyed_at, Some(DateTime::UNIX_EPOCH));
    assert_eq!(driver.fork_session("s", Some(2), &session("t", 2)).unwrap(), 2);
    let copies = driver.list_events(&ListEventsRequest::new("t")).unwrap().items;
    assert_eq!(copies.iter().map(|event| event.event_index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(driver.append_events("t", &[new("d")]).unwrap(), [3]);
    assert!(matches!(driver.fork_session("s", None, &session("t", 2)), Err(Error::SessionExists { .. })));
    assert!(matches!(driver.fork_session("never", None, &session("u", 2)), Err(Error::SessionNotFound { .. })));
    assert_eq!(driver.get_session("u").unwrap(), None);
    assert!(driver.delete_session("s").unwrap());
    assert!(driver.get_session("s").unwrap().is_none() && walk_events(driver, ListEventsRequest::new("s")).is_empty());
    assert_eq!(walk_events(driver, ListEventsRequest::new("t")).len(), 3);
}

fn prunes<D: SessionPersistDriver>(driver: &mut D) {
    let time = |millis| DateTime::from_timestamp_millis(millis).unwrap();
    for (id, ended) in [("s", 10), ("t", 20)] {
        driver.update_session(&SessionRecord { destroyed_at: Some(time(ended)), ..session(id, 1) }).unwrap();
        let ids = ["a", "b", "c"].map(|event| format!("{id}{event}"));
        driver.append_events(id, &ids.each_ref().map(|id| new(id))).unwrap();
    }
    driver.append_events("nobody", &[new("x")]).unwrap();
    let request = PruneRequest::new().destroyed_before(time(20)).max_events_per_session(2);
    let expected = PruneReport { sessions: 1, events: 4 };
    assert_eq!(driver.prune(&request.clone().dry_run()).unwrap(), expected);
    assert_eq!(driver.stats().unwrap().events, 7);
    assert_eq!(driver.prune(&request).unwrap(), expected);
    assert_eq!(walk_events(driver, ListEventsRequest::new("t")), ["tb", "tc"]);
    assert_eq!(
        driver.prune(&PruneRequest::new().orphans_before(time(i64::MAX >> 12)).reclaim_space()).unwrap().events,
        1
    );
    assert_eq!(walk_sessions(driver, ListSessionsRequest::new()), ["t"]);
}

fn prunes_by_activity<D: SessionPersistDriver>(driver: &mut D) {
    let time = |millis| DateTime::from_timestamp_millis(millis).unwrap();
    // By its last event, by its end, and without a record.
    driver.update_session(&session("s", 1)).unwrap();
    driver.update_session(&SessionRecord { destroyed_at: Some(time(30)), ..session("t", 2) }).unwrap();
    for (id, session_id, at) in [("a", "s", 10), ("b", "s", 20), ("c", "t", 3), ("d", "u", 40)] {
        let event = NewEvent { created_at: time(at), payload: json("\"12345678\""), ..new(id) };
        driver.append_events(session_id, &[event]).unwrap();
    }
    let rest = |driver: &mut D| ["s", "t", "u"].map(|id| walk_events(driver, ListEventsRequest::new(id)).concat());
    for (request, sessions, events, expected) in [
        (PruneRequest::new().inactive_before(time(20)), 0, 0, ["ab", "c", "d"]),
        (PruneRequest::new().max_total_bytes(40), 0, 0, ["ab", "c", "d"]),
        (PruneRequest::new().max_total_bytes(39), 1, 2, ["", "c", "d"]),
        (PruneRequest::new().inactive_before(time(31)), 1, 1, ["", "", "d"]),
        (PruneRequest::new().max_total_bytes(0), 0, 1, ["", "", ""]),
    ] {
        assert_eq!(driver.prune(&request.clone().dry_run()).unwrap(), PruneReport { sessions, events });
        assert_eq!(driver.prune(&request).unwrap(), PruneReport { sessions, events });
        assert_eq!(rest(driver), expected);
    }
    assert!(walk_sessions(driver, ListSessionsRequest::new()).is_empty());
}

fn archives<D: SessionPersistDriver>(driver: &mut D) {
    let name = format!("agent-session-store-contract-{}-{:p}.jsonl", std::process::id(), &driver);
    let path = std::env::temp_dir().join(name);
    driver.update_session(&session("s", 1)).unwrap();
    driver.append_events("s", &["a", "b", "c"].map(new)).unwrap();
    driver.append_events("t", &["d", "e"].map(new)).unwrap();
    let mut before = Vec::new();
    driver.export(&mut before, Selection::all()).unwrap();
    let request = PruneRequest::new().session("s").max_events_per_session(1).archive_to(&path);
    let expected = PruneReport { sessions: 1, events: 4 };
    assert_eq!(driver.prune(&request.clone().dry_run()).unwrap(), expected);
    assert!(!path.exists());
    assert_eq!(driver.prune(&request).unwrap(), expected);
    assert_eq!(driver.stats().unwrap().events, 1);
    let again = driver.prune(&request);
    assert!(matches!(again, Err(Error::Io { .. })), "{again:?}");
    // What is there stays.
    let newer = SessionRecord { agent: "other".into(), ..session("s", 1) };
    driver.update_session(&newer).unwrap();
    driver.import(Import::from_path(&path).unwrap().keep_existing()).unwrap();
    assert_eq!(driver.get_session("s").unwrap(), Some(newer));
    driver.import(Import::from_path(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut after = Vec::new();
    driver.export(&mut after, Selection::all()).unwrap();
    assert_eq!(after, before);
}

fn upkeep<D: SessionPersistDriver + FileMaintenance>(driver: &mut D) {
    driver.append_events("s", &["a", "b"].map(new)).unwrap();
    driver.delete_session("s").unwrap();
    driver.append_events("t", &[new("c")]).unwrap();
    let report = driver.checkpoint().unwrap();
    assert!(report.moved_frames <= report.log_frames);
    driver.reclaim_space().unwrap();
    assert_eq!(driver.stats().unwrap().unused_bytes, 0);
    assert_eq!(walk_events(driver, ListEventsRequest::new("t")), ["c"]);
}

fn moves<D: SessionPersistDriver>(driver: &mut D) {
    driver.update_session(&SessionRecord { modes: Some(json(" null ")), ..session("s", 1) }).unwrap();
    driver.append_events("s", &["a", "b"].map(new)).unwrap();
    driver.append_events("nobody", &[new("c")]).unwrap();
    let mut lines = Vec::new();
    let written = driver.export(&mut lines, Selection::all()).unwrap();
    assert_eq!((written.sessions, written.events), (2, 3));
    let mut readable = Vec::new();
    let export = Export::of(Selection::all()).skip_undecodable(|error| panic!("{error}"));
    assert_eq!(driver.export(&mut readable, export).unwrap(), written);
    assert_eq!(readable, lines);
    driver.delete_session("s").unwrap();
    driver.delete_session("nobody").unwrap();
    for _ in 0..2 {
        assert_eq!(driver.import(&*lines).unwrap(), written);
        let mut again = Vec::new();
        driver.export(&mut again, Selection::all()).unwrap();
        assert_eq!(again, lines);
    }
    let result = driver.import(&lines[..lines.len() - 9]);
    assert!(matches!(result, Err(Error::Import { line: 5, .. })), "{result:?}");
}
