//! Table declarations as stored in the file: comparing and rewriting them.

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::script::UP;
use crate::database::sqlite::pragma;
use crate::error::Result;

/// A declaration without details that do not change its meaning: case, quotes, comments, white space, SQLite's three
/// names for integers, and the `NOT NULL` that the reference driver omits from its primary keys.
pub(super) fn means(sql: &str) -> String {
    words(sql)
        .join(" ")
        .replace(" bigint", " integer")
        .replace(" int ", " integer ")
        .replace("text not null primary key", "text primary key")
        .replace("text primary key not null", "text primary key")
}

/// The tokens of an SQL text, in lower case.
fn words(sql: &str) -> Vec<String> {
    pieces(sql.trim_start()).into_iter().filter(|piece| !is_blank(piece)).map(bare).collect()
}

/// A token without its quotes, in lower case.
pub(super) fn bare(token: &str) -> String {
    token.trim_matches(['"', '`', '\'', '[', ']', ' ', '\t', '\n', '\r']).to_ascii_lowercase()
}

/// White space, or a comment.
fn is_blank(piece: &str) -> bool {
    piece.starts_with(char::is_whitespace) || piece.starts_with("--") || piece.starts_with("/*")
}

/// An SQL text in pieces: tokens, white space, and comments.
fn pieces(sql: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first.is_whitespace() {
            rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len())
        } else {
            word_length(first, rest)
        };
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// What a table's declaration has between its parentheses: columns and constraints, each in tokens, with one space for
/// whatever separates two of them.
pub(super) fn items(sql: &str) -> Vec<Vec<&str>> {
    let (mut items, mut item, mut depth) = (Vec::new(), Vec::new(), 0);
    for piece in pieces(sql) {
        let depth_before = depth;
        depth += i32::from(piece == "(") - i32::from(piece == ")");
        match piece {
            _ if depth_before == 0 || depth == 0 => {}
            "," if depth == 1 => items.push(std::mem::take(&mut item)),
            piece if is_blank(piece) => item.push(" "),
            piece => item.push(piece),
        }
    }
    items.push(item);
    items
}

/// Whether a table has been declared `STRICT`.
pub(super) fn is_strict(sql: &str) -> bool {
    words(sql).last().is_some_and(|word| word == "strict")
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
    let mut end = 1;
    while let Some(length) = rest[end..].find(closing) {
        end += length + 1;
        // A quote that is doubled is part of the text.
        if closing == ']' || !rest[end..].starts_with(closing) {
            return end;
        }
        end += 1;
    }
    rest.len()
}

/// Rewrites the declaration of a table or an index: the same columns, declared as by the migration. SQLite's
/// documentation of ALTER TABLE (part 7) allows this for changes that do not affect the rows on disk, such as types of
/// the same affinity and a NOT NULL that already holds.
pub(super) fn declare(conn: &mut SqliteConnection, kind: &str, name: &str, sql: &str) -> Result<()> {
    // Impossible in defensive mode. The old declaration means the same and may stay.
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

/// Runs work that writes to `sqlite_master`, and makes every connection read it again. Returns whether it could.
pub(super) fn edit_schema(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<()>,
) -> Result<bool> {
    pragma::with(conn, "writable_schema", 1, |conn| {
        // In defensive mode this setting does not change.
        if pragma::read(conn, "writable_schema")? == 0 {
            return Ok(false);
        }
        work(conn)?;
        let version = pragma::read(conn, "main.schema_version")?;
        pragma::write(conn, "main.schema_version", version + 1)?;
        Ok(true)
    })
}

/// The final declaration of a rebuilt table, extracted from the migration.
pub(super) fn table_declaration(table: &str) -> String {
    let body = UP
        .split_once(&format!("CREATE TABLE main.agent_session_store_{table} "))
        .and_then(|(_, rest)| rest.split_once(';'))
        .map_or("", |(body, _)| body);
    format!("CREATE TABLE \"{table}\" {body}")
}
