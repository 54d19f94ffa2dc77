//! What queries return, through a connection of another library.

use rusqlite::types::{FromSql, ValueRef};

/// Every row of a query, each value as a literal of its type: the text `'1'` is not the number `1`.
pub fn rows(conn: &rusqlite::Connection, sql: &str) -> Vec<Vec<String>> {
    printed(conn, sql, |value| match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Text(bytes) => format!("'{}'", bytes.escape_ascii()),
        other => plain(other),
    })
}

/// Every row as a line: the values as they are with spaces between them, an absent one as a dash.
pub fn lines(conn: &rusqlite::Connection, sql: &str) -> Vec<String> {
    printed(conn, sql, plain).into_iter().map(|row| row.join(" ")).collect()
}

fn plain(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "-".to_owned(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => format!("{value:?}"),
        ValueRef::Text(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        ValueRef::Blob(bytes) => format!("x'{}'", bytes.escape_ascii()),
    }
}

/// Every row of a query, each value in the form that is given.
pub fn printed(conn: &rusqlite::Connection, sql: &str, form: impl Fn(ValueRef<'_>) -> String) -> Vec<Vec<String>> {
    let mut statement = conn.prepare(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| Ok((0..columns).map(|column| form(row.get_ref_unwrap(column))).collect()));
    rows.unwrap().map(Result::unwrap).collect()
}

/// The first column of every row; each value must be of the type that is asked for.
pub fn column<T: FromSql>(conn: &rusqlite::Connection, sql: &str) -> Vec<T> {
    let mut statement = conn.prepare(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The one value that a query returns.
pub fn value<T: FromSql>(conn: &rusqlite::Connection, sql: &str) -> T {
    conn.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{error}: {sql}"))
}

/// The steps of a query's plan. Parameters that are not bound are NULL, which the planner does not look at.
pub fn plan(conn: &rusqlite::Connection, sql: &str) -> Vec<String> {
    let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    plan.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect()
}

pub fn is_sound(conn: &rusqlite::Connection) {
    assert_eq!(lines(conn, "PRAGMA integrity_check"), ["ok"]);
}
