//! Proves what a page of summaries costs, and that whatever is wrong with an event hides no session.

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::{
    Error, ListSessionsRequest, SessionPersistDriver, SessionRecord, SessionStore, SessionSummary,
};
use rusqlite::StatementStatus;

use crate::common::samples::bare_session;
use crate::common::summaries::{all, check_fixture, check_lengths, store};
use crate::common::{Statements, TempDb, event, in_memory, json, millis, plan, session};

#[test]
fn sessions_of_any_length_are_summed_up() {
    check_lengths(&mut in_memory());
}

#[test]
fn the_fixtures_have_the_summaries_that_were_looked_at() {
    for name in ["sdk-0.4.2", "server-0.4.2"] {
        check_fixture(&mut TempDb::fixture(&format!("{name}.db")).migrated(), name);
    }
}

/// As `read_only` finds it, on the reference driver's own index.
#[test]
fn a_file_of_the_reference_driver_is_summed_up_as_it_is() {
    let db = TempDb::fixture("sdk-0.4.2.db");
    let before = db.bytes();
    let mut store = SessionStore::builder().read_only(true).open(db.path()).unwrap();
    check_fixture(&mut store, "sdk-0.4.2");
    store.close().unwrap();
    assert_eq!(db.bytes(), before);
}

/// The statements on events that a page has sent.
fn on_events(statements: &Statements) -> Vec<String> {
    statements.take_run().into_iter().filter(|sql| sql.contains("main.events")).collect()
}

#[test]
fn the_events_of_a_session_are_found_by_two_seeks_and_nothing_is_sorted() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    store(&mut conn, &[("short", 3), ("long", 100)]);
    let statements = Statements::of(&mut conn);
    all(&mut conn);
    let run = on_events(&statements);
    assert_eq!(run.len(), 3, "one of the short session, two of the long one: {run:?}");
    let plain = db.plain();
    let seek = "SEARCH main.events USING INDEX idx_events_session_order (session_id=?)";
    for sql in &run {
        assert_eq!(plan(&plain, sql), [seek], "{sql}");
    }
    // Statistics that make the index look useless do not change it.
    plain
        .execute_batch("WITH n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n LIMIT 2000) INSERT INTO events SELECT 'x' || n, n, 'long', n, 'c', 'agent', '1' FROM n; ANALYZE")
        .unwrap();
    for sql in &run {
        assert_eq!(plan(&plain, sql), [seek], "{sql}");
    }
}

/// Counted in steps of SQLite's virtual machine.
#[test]
fn a_session_costs_the_same_however_long_it_is() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    store(&mut conn, &[("short", 40), ("long", 10_000)]);
    let statements = Statements::of(&mut conn);
    all(&mut conn);
    let mut run = on_events(&statements);
    run.sort();
    run.dedup();
    assert_eq!(run.len(), 2, "{run:?}");
    let plain = db.plain();
    let steps = |sql: &str, id: &str| {
        let mut statement = plain.prepare(sql).unwrap();
        let rows = statement.query_map([id], |_| Ok(())).unwrap().count();
        (rows, statement.get_status(StatementStatus::VmStep))
    };
    for (sql, rows) in run.iter().zip([SessionSummary::FIRST_EVENTS, SessionSummary::LAST_EVENTS]) {
        let (short, long) = (steps(sql, "short"), steps(sql, "long"));
        assert_eq!((short.0, short), (rows, long), "{sql}");
        assert!(long.1 < 500, "{}: {sql}", long.1);
    }
}

#[test]
fn a_page_is_prepared_once_per_connection() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    store(&mut conn, &[("short", 3), ("long", 100)]);
    let statements = Statements::of(&mut conn);
    all(&mut conn);
    assert_eq!(statements.take_cached().iter().filter(|sql| sql.contains("main.events")).count(), 2);
    all(&mut conn);
    assert_eq!(statements.take_cached(), [""; 0]);
    // Between two statements of one page nobody else's commit is seen.
    let run = statements.take_run();
    assert_eq!((run[0].as_str(), run.last().map(String::as_str)), ("BEGIN", Some("COMMIT")), "{run:?}");
}

#[test]
fn in_your_own_transaction_it_sees_what_you_wrote() {
    use agent_session_store::diesel::Connection;

    let mut conn = in_memory();
    conn.transaction::<_, Error, _>(|conn| {
        store(conn, &[("one", 5)]);
        assert_eq!(all(conn)[0].last_index, Some(5));
        let foreign = conn.list_sessions(&ListSessionsRequest::new().live().limit(1))?;
        assert_eq!(foreign.next_cursor, None);
        Ok(())
    })
    .unwrap();
    assert_eq!(all(&mut conn).len(), 1);
}

/// A session with a title, a folder, usage and an answer, in few events.
fn told(conn: &mut SqliteConnection) -> SessionRecord {
    let record = bare_session("one");
    conn.update_session(&record).unwrap();
    let update = |fields: &str| format!(r#"{{"method":"session/update","params":{{"update":{{{fields}}}}}}}"#);
    let said = [
        r#"{"id":0,"method":"session/new","params":{"cwd":"/srv"}}"#.to_owned(),
        update(r#""sessionUpdate":"session_info_update","title":"Named""#),
        r#"{"id":1,"method":"session/prompt","params":{"prompt":[{"type":"text","text":"Fix it"}]}}"#.to_owned(),
        update(r#""sessionUpdate":"usage_update","used":1,"size":2"#),
        r#"{"id":1,"result":{"stopReason":"end_turn"}}"#.to_owned(),
    ];
    for (index, payload) in (1..).zip(said) {
        conn.insert_event(&with!(event(&format!("e{index}"), "one", index), payload: json(&payload))).unwrap();
    }
    // The samples' sender is the client's for odd indexes.
    let db = "UPDATE events SET sender = CASE WHEN event_index IN (1, 3) THEN 'client' ELSE 'agent' END";
    agent_session_store::diesel::connection::SimpleConnection::batch_execute(conn, db).unwrap();
    record
}

/// Title, folder, last index, last activity from the beginning, running, usage.
type Told = (Option<String>, Option<String>, Option<i64>, Option<i64>, Option<bool>, bool);

fn what_is_told(conn: &mut SqliteConnection) -> Told {
    let [one]: [SessionSummary; 1] = all(conn).try_into().unwrap();
    let activity = one.last_activity.map(|time| time.timestamp_millis() - 1_700_000_000_000);
    (one.title, one.cwd, one.last_index, activity, one.is_running, one.usage.is_some())
}

#[test]
fn what_is_wrong_with_an_event_hides_nothing_but_what_it_says() {
    let whole: Told = (Some("Named".into()), Some("/srv".into()), Some(5), Some(5), Some(false), true);
    let without = |change: fn(&mut Told)| {
        let mut told = whole.clone();
        change(&mut told);
        told
    };
    let cases = [
        ("1", whole.clone()),
        ("payload_json = '{' WHERE id = 'e1'", without(|told| told.1 = None)),
        ("payload_json = x'00ff' WHERE id = 'e2'", without(|told| told.0 = Some("Fix it".into()))),
        ("sender = 7 WHERE id = 'e2'", without(|told| told.0 = Some("Fix it".into()))),
        ("payload_json = CAST(x'7bff7d' AS TEXT) WHERE id = 'e4'", without(|told| told.5 = false)),
        // The answer; or the prompt, whose answer then is known by what it says.
        ("payload_json = 'x' WHERE id = 'e5'", without(|told| told.4 = None)),
        ("payload_json = 'x' WHERE id = 'e3'", whole.clone()),
        // The place and the time of the last event, or its id: what it says is read all the same.
        ("event_index = 'x' WHERE id = 'e5'", without(|told| told.2 = Some(4))),
        ("event_index = 9.5 WHERE id = 'e5'", without(|told| told.2 = Some(4))),
        ("created_at = 'x' WHERE id = 'e5'", without(|told| told.3 = Some(4))),
        ("created_at = 9223372036854775807 WHERE id = 'e5'", without(|told| told.3 = Some(4))),
        ("created_at = created_at + 0.5 WHERE id = 'e5'", whole.clone()),
        ("id = x'ff' WHERE id = 'e5'", whole.clone()),
        ("connection_id = x'ff'", whole.clone()),
        ("payload_json = x'ff', sender = '', created_at = '', event_index = event_index || 'x'", {
            (None, None, None, None, None, false)
        }),
    ];
    for (change, expected) in cases {
        let db = TempDb::ours();
        let mut conn = db.connect();
        told(&mut conn);
        let set = if change == "1" { "id = id" } else { change };
        db.plain().execute_batch(&format!("UPDATE events SET {set}")).unwrap();
        assert_eq!(what_is_told(&mut conn), expected, "{change}");
    }
}

/// A prompt that is too long to be read with the others is read by itself, and may be broken too.
#[test]
fn a_long_prompt_that_cannot_be_decoded_is_no_title() {
    let long = format!(
        r#"{{"id":1,"method":"session/prompt","params":{{"prompt":[{{"type":"text","text":"{}"}}]}}}}"#,
        "x".repeat(SessionSummary::MAX_PAYLOAD_BYTES)
    );
    for (change, title) in [("id = id", Some("x")), ("connection_id = x'ff'", None), ("id = x'ff'", None)] {
        let db = TempDb::ours();
        let mut conn = db.connect();
        conn.update_session(&bare_session("one")).unwrap();
        conn.insert_event(&with!(event("e1", "one", 1), payload: json(&long))).unwrap();
        db.plain().execute_batch(&format!("UPDATE events SET {change}")).unwrap();
        let found = all(&mut conn).remove(0);
        assert_eq!(found.title.map(|title| title[..1].to_owned()).as_deref(), title, "{change}");
        assert_eq!((found.last_index, found.is_running), (Some(1), None), "{change}");
    }
}

/// As everywhere, a record that cannot be decoded is an error that says where the listing continues.
#[test]
fn a_record_that_cannot_be_decoded_is_the_error_of_the_listing() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for (place, id) in ["one", "two", "three"].into_iter().enumerate() {
        conn.update_session(&with!(session(id), created_at: millis(place as i64))).unwrap();
    }
    db.plain().execute_batch("UPDATE sessions SET modes_json = '{' WHERE id = 'two'").unwrap();
    let request = ListSessionsRequest::new();
    let error = conn.list_session_summaries(&request).unwrap_err();
    assert_eq!(error.to_string(), conn.list_sessions(&request).unwrap_err().to_string());
    let Error::Decode { after: Some(after), .. } = error else { panic!("{error:?}") };
    let rest = conn.list_session_summaries(&request.cursor(after)).unwrap();
    assert_eq!(rest.items.iter().map(|told| &*told.session.id).collect::<Vec<_>>(), ["three"]);
    let foreign = ListSessionsRequest::new().live().cursor_after(&session("one"));
    let refused = conn.list_session_summaries(&ListSessionsRequest::new().cursor(foreign));
    assert!(matches!(refused, Err(Error::InvalidCursor { .. })), "{refused:?}");
    // Over all pages, it is in its place.
    let all: Vec<_> = conn.session_summaries(ListSessionsRequest::new().limit(2)).collect();
    let (others, errors): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert!(matches!(errors[..], [Err(Error::Decode { .. })]), "{errors:?}");
    let others: Vec<_> = others.into_iter().map(|summary| summary.unwrap().session.id).collect();
    assert_eq!(others, ["one", "three"]);
}
