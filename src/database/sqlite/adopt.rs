//! The first migration, adapted to the file: the same SQL, but only the sections that the file needs.

mod declaration;
mod further;
mod script;
mod shape;

use std::sync::LazyLock;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error::DatabaseError;
use diesel::sql_types::{Bool, Text};

use self::declaration::{declare, edit_schema, means, table_declaration};
use self::further::Further;
use self::script::{LEFTOVER, OwnIndex, own_indexes, section};
use self::shape::{EVENTS, Plan, SESSIONS, Wanted, find, is_usable, plan, unreadable};
use super::{pragma, transaction};
use crate::error::{Error, Result};

/// Drops the table in which the SQL keeps its state.
pub(crate) const CLOSE_GUARD: &str = "DROP TABLE IF EXISTS temp.agent_session_store_guard";

/// Runs the migration atomically, with foreign key enforcement off meanwhile.
pub(crate) fn in_own_transaction(conn: &mut SqliteConnection) -> Result<()> {
    if transaction::is_open(conn)? {
        return transaction::atomically(conn, adopt);
    }
    pragma::with(conn, "foreign_keys", 0, |conn| transaction::atomically(conn, adopt))
}

/// Checks that a connection that must not migrate can read the tables as they are.
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
    // An interrupted rebuild: merge both tables.
    leftover.check_is_ours(LEFTOVER, &EVENTS)?;
    plan(conn, &EVENTS)?;
    Ok(Plan::Rebuild)
}

/// Whether a migrated database is still complete: both tables with their columns and indexes, and no table left over
/// from an interrupted rebuild. Only reads.
pub(crate) fn is_complete(conn: &mut SqliteConnection) -> Result<bool> {
    Ok(has_declared_schema(conn)?
        || (is_usable(conn, &SESSIONS)?
            && is_usable(conn, &EVENTS)?
            && !has_leftover(conn)?
            && missing_indexes(conn)?.is_empty()))
}

/// Completes a database that was migrated before. Unlike the first time, a usable table stays as it is, whatever else
/// the application has declared on it since.
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

/// Whether the schema is exactly what the migration leaves: one query, for when there is nothing to do.
fn has_declared_schema(conn: &mut SqliteConnection) -> QueryResult<bool> {
    // Extracted from the migration once, since this runs at every opening.
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

/// Whether an interrupted rebuild has left its table. A table of that name with other columns belongs to the
/// application.
fn has_leftover(conn: &mut SqliteConnection) -> Result<bool> {
    Ok(find(conn, LEFTOVER)?.is_some_and(|leftover| leftover.check_is_ours(LEFTOVER, &EVENTS).is_ok()))
}

/// The declarations of our indexes that are missing. Only a real table has any.
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

/// Creates the table in which the SQL keeps its state. Here every error ends the migration, so the table only has to
/// exist.
fn open_guard(conn: &mut SqliteConnection) -> Result<()> {
    run_section(conn, "guard")?;
    let begun = "INSERT INTO temp.agent_session_store_guard VALUES ('begin', true), ('begin', true)";
    Ok(conn.batch_execute(begun)?)
}

fn close_guard(conn: &mut SqliteConnection) -> Result<()> {
    Ok(conn.batch_execute(CLOSE_GUARD)?)
}

/// Runs one section of the migration's SQL. No section may end the transaction, which may be the caller's.
fn run_section(conn: &mut SqliteConnection, name: &str) -> Result<()> {
    conn.batch_execute(&section(name).replace("INSERT OR ROLLBACK", "INSERT")).map_err(refusal)
}

/// Extracts the SQL's reason for refusing from the error that it raises.
fn refusal(error: diesel::result::Error) -> Error {
    let message = error.to_string();
    let Some((_, reason)) = message.split_once("agent-session-store: ") else { return error.into() };
    Error::CannotMigrate { reason: reason.strip_suffix('\'').unwrap_or(reason).replace("''", "'") }
}

/// An index or a trigger, with the SQL that creates it.
#[derive(QueryableByName)]
struct Attached {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    sql: String,
}

/// Rebuilds a table, and creates the application's indexes and triggers on it again.
fn rebuild(conn: &mut SqliteConnection, wanted: &Wanted) -> Result<()> {
    if pragma::read(conn, "foreign_keys")? == 1 && is_referred_to(conn, wanted)? {
        let reason = format!(
            "the table {} has to be rebuilt and another table refers to it: migrate outside a transaction, where \
             foreign key enforcement can be switched off",
            wanted.name
        );
        return Err(Error::CannotMigrate { reason });
    }
    let further = further::find_in(conn, wanted)?;
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
    // A rename in legacy mode leaves views and triggers that name the table alone, even while it does not exist.
    pragma::with(conn, "legacy_alter_table", 1, |conn| copy(conn, wanted, &further))?;
    for Attached { kind, name, sql } in &attached {
        let sql = sql.replace(&format!("\"{LEFTOVER}\""), &format!("\"{}\"", EVENTS.name));
        conn.batch_execute(&sql).map_err(|error| match error.into() {
            Error::Database { source: DatabaseError(_, information) } => Error::CannotMigrate {
                reason: format!(
                    "the {kind} {name:?} cannot be created on the rebuilt table: {}",
                    information.message()
                ),
            },
            other => other,
        })?;
    }
    Ok(())
}

/// Runs the sections that rebuild a table, with further columns on the new one. The section that would refuse those is
/// left out.
fn copy(conn: &mut SqliteConnection, wanted: &Wanted, further: &[Further]) -> Result<()> {
    let name = wanted.name;
    run_section(conn, name)?;
    conn.batch_execute(&format!("INSERT INTO temp.agent_session_store_guard VALUES ('{name}', true)"))?;
    run_section(conn, &format!("{name} table"))?;
    further::declare_on(conn, wanted, further)?;
    run_section(conn, &format!("{name} rows"))?;
    further::fill_in(conn, wanted, further)?;
    run_section(conn, &format!("{name} replaced"))
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

/// When the reference driver renames `events`, SQLite rewrites the references to it. This points them at `events`
/// again.
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

/// Drops a different index that has the name of one of ours. An equivalent one stays and gets our declaration.
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
