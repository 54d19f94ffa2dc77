//! The first migration with its eyes open: the same SQL, but only the sections that a file needs.

mod declaration;
mod shape;

use std::sync::LazyLock;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use crate::error::{Error, Result};
use crate::pragma;
use crate::transaction;
use declaration::{declare, edit_schema, means, table_declaration};
use shape::{EVENTS, Plan, SESSIONS, Wanted, find, is_usable, plan, unreadable};

const UP: &str = include_str!("../migrations/sqlite/0000-00-00-475301_sessions_and_events/up.sql");

/// Where an interrupted rebuild of the reference driver leaves the events.
const LEFTOVER: &str = "events_legacy";

/// Removes what the SQL keeps its marks in.
pub(crate) const CLOSE_GUARD: &str = "DROP TABLE IF EXISTS temp.agent_session_store_guard";

/// Runs the migration, all or nothing, with foreign key enforcement off as long as it takes.
pub(crate) fn in_own_transaction(conn: &mut SqliteConnection) -> Result<()> {
    if transaction::is_open(conn)? {
        return transaction::atomically(conn, adopt);
    }
    pragma::with(conn, "foreign_keys", 0, |conn| transaction::atomically(conn, adopt))
}

/// Whether the tables can be read as they are, by a connection that may not bring them into another form.
pub(crate) fn check_readable(conn: &mut SqliteConnection) -> Result<()> {
    let reason = if find(conn, LEFTOVER)?.is_some() {
        Some(format!("a rebuild of the table events was interrupted and left {LEFTOVER} behind"))
    } else {
        match unreadable(conn, &SESSIONS)? {
            Some(reason) => Some(reason),
            None => unreadable(conn, &EVENTS)?,
        }
    };
    reason.map_or(Ok(()), |reason| Err(Error::MigrationNeeded { reason }))
}

fn adopt(conn: &mut SqliteConnection) -> Result<()> {
    open_guard(conn)?;
    run_section(conn, "names")?;
    let sessions = plan(conn, &SESSIONS)?;
    let events = plan_events(conn)?;
    carry_out(conn, &SESSIONS, sessions)?;
    carry_out(conn, &EVENTS, events)?;
    bring_references_back(conn)?;
    settle_indexes(conn)?;
    create_indexes(conn)?;
    close_guard(conn)
}

fn plan_events(conn: &mut SqliteConnection) -> Result<Plan> {
    let Some(leftover) = find(conn, LEFTOVER)? else { return plan(conn, &EVENTS) };
    // An interrupted rebuild: both tables become one.
    leftover.check_is_ours(LEFTOVER, &EVENTS)?;
    plan(conn, &EVENTS)?;
    Ok(Plan::Rebuild)
}

/// Whether a database that has been migrated is still complete: both tables with their columns, their indexes, and no
/// table that an interrupted rebuild has left. It only reads.
pub(crate) fn is_complete(conn: &mut SqliteConnection) -> Result<bool> {
    Ok(has_declared_schema(conn)?
        || (is_usable(conn, &SESSIONS)?
            && is_usable(conn, &EVENTS)?
            && !has_leftover(conn)?
            && missing_indexes(conn)?.is_empty()))
}

/// Makes a database complete that has been migrated before. Unlike the first time, a table that can be used stays as
/// it is, whatever else a host has declared on it since.
pub(crate) fn complete(conn: &mut SqliteConnection) -> Result<()> {
    open_guard(conn)?;
    run_section(conn, "names")?;
    let sessions = if is_usable(conn, &SESSIONS)? { Plan::Keep } else { plan(conn, &SESSIONS)? };
    let events = if has_leftover(conn)? {
        plan_events(conn)?
    } else if is_usable(conn, &EVENTS)? {
        Plan::Keep
    } else {
        plan(conn, &EVENTS)?
    };
    carry_out(conn, &SESSIONS, sessions)?;
    carry_out(conn, &EVENTS, events)?;
    bring_references_back(conn)?;
    create_indexes(conn)?;
    close_guard(conn)
}

/// Whether the schema is, to the letter, what the migration leaves: one query, for the case that there is nothing to do.
fn has_declared_schema(conn: &mut SqliteConnection) -> QueryResult<bool> {
    // Cut out of the migration once: this is asked at every opening.
    static WANTED: LazyLock<Vec<String>> = LazyLock::new(|| {
        let tables = [&SESSIONS, &EVENTS].map(|wanted| table_declaration(wanted.name));
        tables.into_iter().chain(own_indexes().map(|index| index.sql)).collect()
    });
    let found: Vec<String> = diesel::dsl::sql::<Text>(
        "SELECT sql FROM main.sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL \
         AND (tbl_name IN ('sessions', 'events') OR lower(name) = 'events_legacy')",
    )
    .load(conn)?;
    Ok(WANTED.iter().all(|sql| found.contains(sql)) && !found.iter().any(|sql| sql.contains(LEFTOVER)))
}

/// Whether an interrupted rebuild has left its table. One of that name that has other columns is the host's own.
fn has_leftover(conn: &mut SqliteConnection) -> Result<bool> {
    Ok(find(conn, LEFTOVER)?.is_some_and(|leftover| leftover.check_is_ours(LEFTOVER, &EVENTS).is_ok()))
}

/// The declarations of those of our indexes that are missing. What is no table has none.
fn missing_indexes(conn: &mut SqliteConnection) -> QueryResult<Vec<String>> {
    let found: Vec<String> = diesel::dsl::sql::<Text>(
        "SELECT lower(name) FROM main.sqlite_master \
         WHERE type IN ('table', 'index') AND lower(tbl_name) IN ('sessions', 'events')",
    )
    .load(conn)?;
    let is_there = |name: &str| found.iter().any(|found| found == name);
    let missing = own_indexes().filter(|index| is_there(index.table) && !is_there(index.name));
    Ok(missing.map(|index| index.sql).collect())
}

fn carry_out(conn: &mut SqliteConnection, wanted: &Wanted, plan: Plan) -> Result<()> {
    match plan {
        Plan::Keep => Ok(()),
        Plan::Create => {
            let declaration = table_declaration(wanted.name).replacen("CREATE TABLE ", "CREATE TABLE main.", 1);
            Ok(conn.batch_execute(&declaration)?)
        }
        Plan::Declare => declare(conn, "table", wanted.name, &table_declaration(wanted.name)),
        Plan::Add(columns) => {
            for column in columns {
                conn.batch_execute(&format!("ALTER TABLE main.{} ADD COLUMN {column} TEXT", wanted.name))?;
            }
            Ok(())
        }
        Plan::Rebuild => rebuild(conn, wanted),
    }
}

/// The table that the SQL keeps its marks in. Here every error ends the migration, so it only has to be there.
fn open_guard(conn: &mut SqliteConnection) -> Result<()> {
    run_section(conn, "guard")?;
    let begun = "INSERT INTO temp.agent_session_store_guard VALUES ('begin', true), ('begin', true)";
    Ok(conn.batch_execute(begun)?)
}

fn close_guard(conn: &mut SqliteConnection) -> Result<()> {
    Ok(conn.batch_execute(CLOSE_GUARD)?)
}

/// Runs one part of the migration's SQL. The transaction may be the caller's, so no part of it may end it.
fn run_section(conn: &mut SqliteConnection, name: &str) -> Result<()> {
    conn.batch_execute(&section(name).replace("INSERT OR ROLLBACK", "INSERT")).map_err(refusal)
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
    if pragma::read(conn, "foreign_keys")? == 1 && is_referred_to(conn, wanted)? {
        let reason = format!(
            "the table {} has to be rebuilt and another table refers to it: migrate outside a transaction, where \
             foreign key enforcement can be switched off",
            wanted.name
        );
        return Err(Error::CannotMigrate { reason });
    }
    let mut attached: Vec<Attached> = diesel::sql_query(
        "SELECT type AS kind, name, sql FROM main.sqlite_master \
         WHERE lower(tbl_name) IN (?, ?) AND type IN ('index', 'trigger') AND sql IS NOT NULL \
         ORDER BY rowid",
    )
    .bind::<Text, _>(wanted.name)
    .bind::<Text, _>(wanted.leftover.unwrap_or(wanted.name))
    .load(conn)?;
    attached.retain(|found| {
        let name = found.name.to_lowercase();
        name != "idx_events_session_created" && own_indexes().all(|own| name != own.name)
    });
    for Attached { kind, name, .. } in &attached {
        conn.batch_execute(&format!("DROP {kind} main.\"{}\"", name.replace('"', "\"\"")))?;
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
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_master AS child, pragma_foreign_key_list(child.name, 'main') AS parent \
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
    let gone_astray = "SELECT EXISTS (SELECT 1 FROM main.sqlite_master WHERE sql LIKE '%\"events_legacy\"%')";
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

/// An index that a migrated database has, as the migration makes it and SQLite keeps it.
struct OwnIndex {
    name: &'static str,
    table: &'static str,
    sql: String,
}

fn own_indexes() -> impl Iterator<Item = OwnIndex> {
    UP.lines().filter_map(|line| {
        let declared = line.strip_prefix("CREATE INDEX main.")?.strip_suffix(';')?;
        let (name, rest) = declared.split_once(" ON agent_session_store_")?;
        let (table, rest) = rest.split_once(' ')?;
        Some(OwnIndex { name, table, sql: format!("CREATE INDEX {name} ON \"{table}\" {rest}") })
    })
}

/// Drops an index that has the name of one of ours and is another. One that is the same keeps its place and gets our
/// words.
fn settle_indexes(conn: &mut SqliteConnection) -> Result<()> {
    conn.batch_execute("DROP INDEX IF EXISTS main.idx_events_session_created")?;
    for OwnIndex { name, sql, .. } in own_indexes() {
        let found: Option<String> = diesel::dsl::sql::<Text>("SELECT sql FROM main.sqlite_master WHERE lower(name) = ")
            .bind::<Text, _>(name)
            .sql(" AND type = 'index'")
            .get_result(conn)
            .optional()?;
        match found {
            Some(found) if found == sql => {}
            Some(found) if means(&found) == means(&sql) => declare(conn, "index", name, &sql)?,
            Some(_) => conn.batch_execute(&format!("DROP INDEX main.{name}"))?,
            None => {}
        }
    }
    Ok(())
}

fn create_indexes(conn: &mut SqliteConnection) -> Result<()> {
    for sql in missing_indexes(conn)? {
        conn.batch_execute(&sql.replacen("CREATE INDEX ", "CREATE INDEX main.", 1))?;
    }
    Ok(())
}
