//! Further columns on a table that has to be rebuilt, a host's or a later version's: the new table gets them as they are
//! declared, and then their values.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error::DatabaseError;

use super::declaration::{bare, is_strict, items};
use super::shape::{ColumnInfo, FoundTable, Wanted, find};
use crate::error::{Error, Result};

/// Where one of these is in the declaration of a column, there is more to keep than its values.
const CONSTRAINTS: [&str; 6] = ["PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "GENERATED", "AS"];

/// What the migration's SQL calls something else where it reads the old table.
const TAKEN: [&str; 3] = ["rowid", "place", "text_id"];

pub(super) struct Further {
    /// The old table that has it.
    table: &'static str,
    name: String,
    /// What may follow `ADD COLUMN`.
    declared: String,
}

/// The further columns of the old tables, the one that takes precedence last, or why one of them cannot be kept.
pub(super) fn find_in(conn: &mut SqliteConnection, wanted: &Wanted) -> Result<Vec<Further>> {
    let mut further: Vec<Further> = Vec::new();
    for table in wanted.leftover.into_iter().chain([wanted.name]) {
        let Some(found) = find(conn, table)? else { continue };
        for column in found.further(wanted) {
            let name = &column.name;
            let same = further.iter().find(|other| other.name == *name);
            let declared = match declared(&found, column) {
                Ok(declared) if same.is_none_or(|same| same.declared == declared) => declared,
                Ok(_) => return Err(refused(table, name, "another table declares it differently")),
                Err(reason) => return Err(refused(table, name, &reason)),
            };
            further.push(Further { table, name: name.clone(), declared });
        }
    }
    Ok(further)
}

fn refused(table: &str, column: &str, reason: &str) -> Error {
    let reason = format!(
        "the table {table} has to be rebuilt, and its column '{column}' cannot be kept: {reason}; move it to a table of \
         its own first"
    );
    Error::CannotMigrate { reason }
}

/// The declaration of a column, or why the new table cannot have it.
fn declared(found: &FoundTable, column: &ColumnInfo) -> Result<String, String> {
    let mut items = items(&found.sql);
    let is_it =
        |item: &Vec<&str>| item.iter().find(|token| **token != " ").is_some_and(|name| bare(name) == column.name);
    let Some(place) = items.iter().position(is_it) else { return Err("its declaration is not understood".to_owned()) };
    let own = items.remove(place);
    if let Some(constraint) = constraint(&own) {
        return Err(format!("it is declared {constraint}"));
    }
    let reason = if column.needs_value {
        "it is NOT NULL and has no default"
    } else if items.iter().any(|item| mentions(item, &column.name)) {
        "a constraint of the table mentions it"
    } else if is_strict(&found.sql) {
        "the table is STRICT"
    } else if TAKEN.contains(&&*column.name) {
        "the migration needs its name"
    } else {
        return Ok(own.concat().trim().to_owned());
    };
    Err(reason.to_owned())
}

/// The constraint in a column's declaration. What stands in parentheses is part of a type or of a default.
fn constraint(item: &[&str]) -> Option<String> {
    let mut depth = 0;
    let outside = item.iter().filter(|token| {
        depth += i32::from(**token == "(") - i32::from(**token == ")");
        depth == 0
    });
    outside.map(|token| token.to_uppercase()).find(|token| CONSTRAINTS.contains(&&**token))
}

/// Whether a constraint, which stands in parentheses, has something to do with a column.
fn mentions(item: &[&str], column: &str) -> bool {
    item.iter().skip_while(|token| **token != "(").any(|token| bare(token) == column)
}

/// Adds the columns to the new table while that is empty: then a default need not be constant.
pub(super) fn declare_on(conn: &mut SqliteConnection, wanted: &Wanted, further: &[Further]) -> Result<()> {
    for (place, Further { table, name, declared }) in further.iter().enumerate() {
        if further[..place].iter().any(|other| other.name == *name) {
            continue;
        }
        let add = format!("ALTER TABLE main.agent_session_store_{} ADD COLUMN {declared}", wanted.name);
        conn.batch_execute(&add).map_err(|error| match error.into() {
            Error::Database { source: DatabaseError(_, information) } => refused(table, name, information.message()),
            other => other,
        })?;
    }
    Ok(())
}

/// Copies the values. A row that has none, since its table has no such column, gets the default.
pub(super) fn fill_in(conn: &mut SqliteConnection, wanted: &Wanted, further: &[Further]) -> Result<()> {
    for of_one_table in further.chunk_by(|one, other| one.table == other.table) {
        let (mut values, mut table) = (Vec::new(), "");
        for column in of_one_table {
            let name = column.name.replace('"', "\"\"");
            values.push(format!("\"{name}\" = old.\"{name}\""));
            table = column.table;
        }
        conn.batch_execute(&format!(
            "UPDATE main.agent_session_store_{} AS new SET {} FROM main.{table} AS old WHERE new.id = CAST(old.id AS TEXT)",
            wanted.name,
            values.join(", ")
        ))?;
    }
    Ok(())
}
