//! What is in a database, as another client sees it, and what the fixtures say should be there.

use agent_session_store::{ListEventsRequest, ListSessionsRequest, SessionPersistDriver};
use postgres::{Client, SimpleQueryMessage};
use serde_json::Value;

use crate::common::fixture_path;

/// Every row as a line: the values as the server prints them, a NULL as a dash.
pub fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).unwrap_or_else(|error| panic!("{error:?}: {sql}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|place| row.get(place).unwrap_or("-")).collect::<Vec<_>>().join(" ")).collect()
}

/// The one line that a query returns.
pub fn line(client: &mut Client, sql: &str) -> String {
    let mut lines = lines(client, sql);
    assert_eq!(lines.len(), 1, "{sql}");
    lines.remove(0)
}

/// Where each row is, and which transaction wrote it there: a row that was rewritten has moved, or has another writer.
pub fn places(client: &mut Client, schema: &str) -> [Vec<String>; 2] {
    ["sessions", "events"].map(|table| {
        lines(
            client,
            &format!(
                "SELECT pg_relation_filenode('{schema}.{table}'), ctid, xmin, id FROM {schema}.{table} ORDER BY ctid"
            ),
        )
    })
}

/// The columns of both tables, with their types.
pub fn columns(client: &mut Client, schema: &str) -> Vec<String> {
    lines(
        client,
        &format!(
            "SELECT attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, attcollation::regcollation,
                 pg_get_expr(adbin, adrelid)
             FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
             WHERE attrelid IN (to_regclass('{schema}.sessions'), to_regclass('{schema}.events')) AND attnum > 0
                 AND NOT attisdropped
             ORDER BY attrelid::regclass::text, attnum"
        ),
    )
}

/// What a schema consists of: relations with their files, columns, indexes, constraints and triggers.
pub fn catalog(client: &mut Client, schema: &str) -> Vec<String> {
    let mut found = columns(client, schema);
    for sql in [
        "SELECT c.oid, c.relname, c.relkind, pg_relation_filenode(c.oid), c.reloptions FROM pg_class AS c
         WHERE c.relnamespace = 'SCHEMA'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S') ORDER BY c.relname",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'SCHEMA' ORDER BY indexname",
        "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint
         WHERE connamespace = 'SCHEMA'::regnamespace ORDER BY 1, 2",
        "SELECT pg_get_triggerdef(t.oid) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid
         WHERE relnamespace = 'SCHEMA'::regnamespace AND NOT tgisinternal ORDER BY tgname",
    ] {
        found.extend(lines(client, &sql.replace("SCHEMA", schema)));
    }
    found
}

/// Everything in a schema: what it consists of, and every row of every table.
pub fn dump(client: &mut Client, schema: &str) -> Vec<String> {
    let mut found = catalog(client, schema);
    for table in lines(client, &format!("SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1")) {
        let rows = lines(client, &format!("SELECT '{table}', t::text FROM {schema}.{table} AS t ORDER BY 2"));
        found.extend(rows);
    }
    found
}

/// Compares everything in a database with what the reference driver returned for it, value for value and in order.
pub fn assert_holds(driver: &mut impl SessionPersistDriver, fixture: &str) {
    let expected = std::fs::read_to_string(fixture_path(&format!("{fixture}.expected.json"))).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let mut sessions = driver.list_sessions(&ListSessionsRequest::new()).unwrap().items;
    // A stored null is one of three states here, and absent there.
    for session in &mut sessions {
        session.modes = session.modes.take().filter(|modes| modes.get() != "null");
    }
    assert_eq!(serde_json::to_value(&sessions).unwrap(), expected["sessions"], "{fixture}");
    let mut count = 0_u64;
    for (session, events) in expected["events"].as_object().unwrap() {
        let found: Result<Vec<_>, _> = driver.events(ListEventsRequest::new(session).limit(7)).collect();
        let found = found.unwrap();
        assert_eq!(serde_json::to_value(&found).unwrap(), *events, "{fixture}, {session}");
        count += found.len() as u64;
    }
    assert_eq!((count, driver.stats().unwrap().events), (102, 102), "{fixture}");
}
