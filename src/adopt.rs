//! The first migration with its eyes open: the same SQL, but only the sections that a file needs.

mod declaration;
mod shape;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use crate::error::{Error, Result};
use crate::pragma;
use crate::transaction;
use declaration::{declare, edit_schema, means, table_declaration};
use shape::{EVENTS, Plan, SESSIONS, Wanted, find, plan};

const UP: &str = include_str!("../migrations/0000-00-00-475301_sessions_and_events/up.sql");

/// Where an interrupted rebuild of the reference driver leaves the events.
const LEFTOVER: &str = "events_legacy";

/// Runs the migration, all or nothing, with foreign key enforcement off as long as it takes.
pub(crate) fn in_own_transaction(conn: &mut SqliteConnection) -> Result<()> {
    if transaction::is_open(conn)? {
        return transaction::atomically(conn, adopt);
    }
    pragma::with(conn, "foreign_keys", 0, |conn| transaction::atomically(conn, adopt))
}

fn adopt(conn: &mut SqliteConnection) -> Result<()> {
    run_section(conn, "names")?;
    let sessions = plan(conn, &SESSIONS)?;
    let events = match find(conn, LEFTOVER)? {
        // An interrupted rebuild: both tables become one.
        Some(leftover) => {
            leftover.check_is_ours(LEFTOVER, &EVENTS)?;
            plan(conn, &EVENTS)?;
            Plan::Rebuild
        }
        None => plan(conn, &EVENTS)?,
    };
    carry_out(conn, &SESSIONS, sessions)?;
    carry_out(conn, &EVENTS, events)?;
    bring_references_back(conn)?;
    settle_indexes(conn)?;
    run_section(conn, "indexes")
}

fn carry_out(conn: &mut SqliteConnection, wanted: &Wanted, plan: Plan) -> Result<()> {
    match plan {
        Plan::Declare => declare(conn, "table", wanted.name, &table_declaration(wanted.name)),
        Plan::Add(columns) => {
            for column in columns {
                conn.batch_execute(&format!("ALTER TABLE {} ADD COLUMN {column} TEXT", wanted.name))?;
            }
            Ok(())
        }
        Plan::Rebuild => rebuild(conn, wanted),
    }
}

/// Runs one part of the migration's SQL.
fn run_section(conn: &mut SqliteConnection, name: &str) -> Result<()> {
    conn.batch_execute(section(name)).map_err(refusal)
}

fn section(name: &str) -> &'static str {
    let rest = UP.split_once(&format!("-- @section {name}\n")).map_or("", |(_, rest)| rest);
    rest.split_once("-- @section ").map_or(rest, |(section, _)| section)
}

/// The reason that the SQL gives for refusing, out of the error that it raises to say so.
fn refusal(error: diesel::result::Error) -> Error {
    let message = error.to_string();
    let Some((_, reason)) = message.split_once("agent-session-store: ") else { return error.into() };
    Error::CannotMigrate { reason: reason.strip_suffix('\'').unwrap_or(reason).replace("''", "'") }
}

/// An index or a trigger, with the SQL that makes it.
#[derive(QueryableByName)]
struct Attached {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    sql: String,
}

/// Copies a table into its new form, and puts a host's indexes and triggers back on it.
fn rebuild(conn: &mut SqliteConnection, wanted: &Wanted) -> Result<()> {
    let is_there = find(conn, wanted.name)?.is_some() || find(conn, LEFTOVER)?.is_some();
    if is_there && pragma::read(conn, "foreign_keys")? == 1 && is_referred_to(conn, wanted)? {
        let reason = format!(
            "the table {} has to be rebuilt and another table refers to it: migrate outside a transaction, where \
             foreign key enforcement can be switched off",
            wanted.name
        );
        return Err(Error::CannotMigrate { reason });
    }
    let mut attached: Vec<Attached> = diesel::sql_query(
        "SELECT type AS kind, name, sql FROM sqlite_master \
         WHERE lower(tbl_name) IN (?, ?) AND type IN ('index', 'trigger') AND sql IS NOT NULL \
         ORDER BY rowid",
    )
    .bind::<Text, _>(wanted.name)
    .bind::<Text, _>(wanted.leftover.unwrap_or(wanted.name))
    .load(conn)?;
    attached.retain(|found| {
        let name = found.name.to_lowercase();
        name != "idx_events_session_created" && own_indexes().all(|(own, _)| name != own)
    });
    for Attached { kind, name, .. } in &attached {
        conn.batch_execute(&format!("DROP {kind} \"{}\"", name.replace('"', "\"\"")))?;
    }
    // The legacy rename leaves views and triggers that name the table alone, even while there is none.
    pragma::with(conn, "legacy_alter_table", 1, |conn| run_section(conn, wanted.name))?;
    for Attached { kind, name, sql } in &attached {
        let sql = sql.replace(&format!("\"{LEFTOVER}\""), &format!("\"{}\"", EVENTS.name));
        conn.batch_execute(&sql).map_err(|error| match error {
            diesel::result::Error::DatabaseError(_, information) => Error::CannotMigrate {
                reason: format!("the {kind} {name:?} cannot be put on the rebuilt table: {}", information.message()),
            },
            other => other.into(),
        })?;
    }
    Ok(())
}

fn is_referred_to(conn: &mut SqliteConnection, wanted: &Wanted) -> QueryResult<bool> {
    diesel::dsl::sql::<Bool>(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master AS child, pragma_foreign_key_list(child.name, 'main') AS parent \
         WHERE child.type = 'table' AND lower(parent.\"table\") IN (",
    )
    .bind::<Text, _>(wanted.name)
    .sql(", ")
    .bind::<Text, _>(wanted.leftover.unwrap_or(wanted.name))
    .sql("))")
    .get_result(conn)
}

/// When the reference driver renames `events`, SQLite rewrites what refers to it. The new `events` gets it back.
fn bring_references_back(conn: &mut SqliteConnection) -> Result<()> {
    let gone_astray = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE sql LIKE '%\"events_legacy\"%')";
    if !diesel::dsl::sql::<Bool>(gone_astray).get_result(conn)? {
        return Ok(());
    }
    let edited = edit_schema(conn, |conn| run_section(conn, "references"))?;
    if edited {
        return Ok(());
    }
    let reason = format!("a table, view or trigger refers to {LEFTOVER}, and the connection is in defensive mode");
    Err(Error::CannotMigrate { reason })
}

/// The indexes that a migrated database has: name and declaration, as the migration makes them and SQLite keeps them.
fn own_indexes() -> impl Iterator<Item = (&'static str, String)> {
    section("indexes").split(';').filter_map(|statement| {
        let declared = statement.trim().strip_prefix("CREATE INDEX IF NOT EXISTS ")?;
        Some((declared.split_once(' ')?.0, format!("CREATE INDEX {declared}")))
    })
}

/// Drops an index that has the name of one of ours and is another. One that is the same keeps its place and gets our
/// words.
fn settle_indexes(conn: &mut SqliteConnection) -> Result<()> {
    for (name, sql) in own_indexes() {
        let found: Option<String> = diesel::dsl::sql::<Text>("SELECT sql FROM sqlite_master WHERE lower(name) = ")
            .bind::<Text, _>(name)
            .sql(" AND type = 'index'")
            .get_result(conn)
            .optional()?;
        match found {
            Some(found) if found == sql => {}
            Some(found) if means(&found) == means(&sql) => declare(conn, "index", name, &sql)?,
            Some(_) => conn.batch_execute(&format!("DROP INDEX {name}"))?,
            None => {}
        }
    }
    Ok(())
}
