//! The text that declares a table in the file: what it means, and how it is written anew.

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::UP;
use crate::error::Result;
use crate::pragma;

/// A declaration without what does not change its meaning: case, quotes, comments, white space, the three names of
/// SQLite's integers, and the `NOT NULL` that the reference driver leaves out of its primary keys.
pub(super) fn means(sql: &str) -> String {
    words(sql)
        .join(" ")
        .replace(" bigint", " integer")
        .replace(" int ", " integer ")
        .replace("text not null primary key", "text primary key")
        .replace("text primary key not null", "text primary key")
}

/// The words and signs of an SQL text, in lower case.
fn words(sql: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            let length = word_length(first, rest);
            let unquoted = rest[..length].trim_matches(['"', '`', '\'', '[', ']', ' ', '\t', '\n', '\r']);
            words.push(unquoted.to_lowercase());
            length
        };
        rest = rest[length..].trim_start();
    }
    words
}

fn word_length(first: char, rest: &str) -> usize {
    let closing = match first {
        '[' => ']',
        '"' | '`' | '\'' => first,
        _ => {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
            return end.unwrap_or(rest.len()).max(first.len_utf8());
        }
    };
    rest[1..].find(closing).map_or(rest.len(), |end| end + 2)
}

/// Writes the declaration of a table or an index anew: the same columns, as the migration would declare them. SQLite's
/// documentation of ALTER TABLE (part 7) allows this for what does not change the rows on disk; types of the same
/// affinity and a NOT NULL that holds do not.
pub(super) fn declare(conn: &mut SqliteConnection, kind: &str, name: &str, sql: &str) -> Result<()> {
    // A connection in defensive mode cannot. What is there means the same; it may stay.
    edit_schema(conn, |conn| {
        diesel::sql_query("UPDATE main.sqlite_master SET sql = ? WHERE type = ? AND lower(name) = ?")
            .bind::<Text, _>(sql)
            .bind::<Text, _>(kind)
            .bind::<Text, _>(name)
            .execute(conn)?;
        Ok(())
    })?;
    Ok(())
}

/// Does some work that writes to `sqlite_master`, and makes every connection read it again. Says whether it could.
pub(super) fn edit_schema(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<()>,
) -> Result<bool> {
    pragma::with(conn, "writable_schema", 1, |conn| {
        // A connection in defensive mode does not switch.
        if pragma::read(conn, "writable_schema")? == 0 {
            return Ok(false);
        }
        work(conn)?;
        let version = pragma::read(conn, "main.schema_version")?;
        pragma::write(conn, "main.schema_version", version + 1)?;
        Ok(true)
    })
}

/// The declaration that a rebuilt table ends with, cut out of the migration.
pub(super) fn table_declaration(table: &str) -> String {
    let body = UP
        .split_once(&format!("CREATE TABLE main.agent_session_store_{table} "))
        .and_then(|(_, rest)| rest.split_once(';'))
        .map_or("", |(body, _)| body);
    format!("CREATE TABLE \"{table}\" {body}")
}
