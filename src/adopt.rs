//! The first migration with its eyes open: the same SQL, but only the sections that a file needs.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};

use crate::error::{Error, Result};
use crate::pragma;
use crate::transaction;

const UP: &str = include_str!("../migrations/0000-00-00-475301_sessions_and_events/up.sql");

/// A table as it should be.
struct Wanted {
    name: &'static str,
    columns: &'static [Wants],
    /// What the reference driver's `CREATE TABLE` says, [normalised](normalised).
    reference: &'static str,
}

/// A column as it should be: its name, its declared type, and whether NULL is refused and whether it may be missing.
struct Wants(&'static str, Kind, Presence);

#[derive(PartialEq)]
enum Kind {
    Text,
    Integer,
}

#[derive(PartialEq)]
enum Presence {
    /// `PRIMARY KEY`; older files leave out the `NOT NULL`.
    Key,
    NotNull,
    Nullable,
    /// `NOT NULL`, added where it is missing.
    NotNullAdded,
    /// Nullable, added where it is missing.
    NullableAdded,
}

use Kind::{Integer, Text as TextKind};
use Presence::{Key, NotNull, NotNullAdded, Nullable, NullableAdded};

const SESSIONS: Wanted = Wanted {
    name: "sessions",
    columns: &[
        Wants("id", TextKind, Key),
        Wants("agent", TextKind, NotNull),
        Wants("agent_session_id", TextKind, NotNull),
        Wants("last_connection_id", TextKind, NotNull),
        Wants("created_at", Integer, NotNull),
        Wants("destroyed_at", Integer, Nullable),
        Wants("sandbox_id", TextKind, NullableAdded),
        Wants("session_init_json", TextKind, Nullable),
        Wants("config_options_json", TextKind, NullableAdded),
        Wants("modes_json", TextKind, NullableAdded),
    ],
    reference: "create table sessions(id text primary key,agent text not null,agent_session_id text not null,\
        last_connection_id text not null,created_at integer not null,destroyed_at integer,sandbox_id text,\
        session_init_json text,config_options_json text,modes_json text)",
};

const EVENTS: Wanted = Wanted {
    name: "events",
    columns: &[
        Wants("id", TextKind, Key),
        Wants("event_index", Integer, NotNullAdded),
        Wants("session_id", TextKind, NotNull),
        Wants("created_at", Integer, NotNull),
        Wants("connection_id", TextKind, NotNull),
        Wants("sender", TextKind, NotNull),
        Wants("payload_json", TextKind, NotNull),
    ],
    reference: "create table events(id text primary key,event_index integer not null,session_id text not null,\
        created_at integer not null,connection_id text not null,sender text not null,payload_json text not null)",
};

/// What a table needs.
enum Plan {
    Keep,
    /// It has the reference driver's declaration: only the declaration is written anew, the rows stay where they are.
    Declare,
    /// It has columns of the host's, which stay; these are added.
    Add(Vec<&'static str>),
    Rebuild,
}

/// Runs the migration, all or nothing, with foreign key enforcement off as long as it takes.
pub(crate) fn in_own_transaction(conn: &mut SqliteConnection) -> Result<()> {
    if transaction::is_open(conn)? {
        return transaction::atomically(conn, adopt);
    }
    pragma::with(conn, "foreign_keys", 0, |conn| transaction::atomically(conn, adopt))
}

fn adopt(conn: &mut SqliteConnection) -> Result<()> {
    let sessions = plan(conn, &SESSIONS)?;
    let events = match find(conn, "events_legacy")? {
        // An interrupted rebuild: both tables become one.
        Some(legacy) => {
            legacy.check_is_ours("events_legacy", &EVENTS)?;
            plan(conn, &EVENTS)?;
            Plan::Rebuild
        }
        None => plan(conn, &EVENTS)?,
    };
    carry_out(conn, &SESSIONS, sessions)?;
    carry_out(conn, &EVENTS, events)?;
    Ok(conn.batch_execute(section("indexes"))?)
}

fn carry_out(conn: &mut SqliteConnection, wanted: &Wanted, plan: Plan) -> Result<()> {
    match plan {
        Plan::Keep => Ok(()),
        Plan::Declare => declare(conn, wanted),
        Plan::Add(columns) => {
            for column in columns {
                conn.batch_execute(&format!("ALTER TABLE {} ADD COLUMN {column} TEXT", wanted.name))?;
            }
            Ok(())
        }
        Plan::Rebuild => rebuild(conn, wanted),
    }
}

/// A table as it was found.
struct Found {
    kind: String,
    sql: String,
    columns: Vec<ColumnInfo>,
}

#[derive(QueryableByName)]
struct MasterRow {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    sql: String,
}

#[derive(QueryableByName)]
struct ColumnInfo {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    declared: String,
    #[diesel(sql_type = BigInt)]
    not_null: i64,
    #[diesel(sql_type = BigInt)]
    key: i64,
}

fn find(conn: &mut SqliteConnection, name: &str) -> Result<Option<Found>> {
    let master: Option<MasterRow> = diesel::sql_query(
        "SELECT type AS kind, name, sql FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')",
    )
    .bind::<Text, _>(name)
    .get_result(conn)
    .optional()?;
    let Some(master) = master else { return Ok(None) };
    let columns = diesel::sql_query(
        "SELECT lower(name) AS name, upper(trim(type)) AS declared, \"notnull\" AS not_null, pk AS key \
         FROM pragma_table_xinfo(?)",
    )
    .bind::<Text, _>(name)
    .load(conn)?;
    Ok(Some(Found { kind: master.kind, sql: master.sql, columns }))
}

impl Found {
    fn column(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Refuses a table of the same name that is something else.
    fn check_is_ours(&self, name: &str, wanted: &Wanted) -> Result<()> {
        let lacks = |wants: &&Wants| !matches!(wants.2, NotNullAdded | NullableAdded) && self.column(wants.0).is_none();
        let reason = if self.kind != "table" {
            format!("{name} is a {}", self.kind)
        } else if let Some(Wants(column, ..)) = wanted.columns.iter().find(lacks) {
            format!("the table {name} has no column {column}, so it is not a table of agent sessions")
        } else {
            return Ok(());
        };
        Err(Error::CannotMigrate { reason })
    }
}

fn plan(conn: &mut SqliteConnection, wanted: &Wanted) -> Result<Plan> {
    let Some(found) = find(conn, wanted.name)? else { return Ok(Plan::Rebuild) };
    found.check_is_ours(wanted.name, wanted)?;

    let extra = found.columns.iter().find(|column| !wanted.columns.iter().any(|wants| wants.0 == column.name));
    let missing = || wanted.columns.iter().filter(|wants| found.column(wants.0).is_none());
    let fits = wanted.columns.iter().all(|wants| found.column(wants.0).is_none_or(|column| column.fits(wants)));

    if let Some(extra) = extra {
        return if fits && missing().all(|wants| wants.2 == NullableAdded) {
            Ok(Plan::Add(missing().map(|wants| wants.0).collect()))
        } else {
            let reason = format!(
                "the table {} has the column {:?}, which a rebuild would drop; move it to a table of its own first",
                wanted.name, extra.name
            );
            Err(Error::CannotMigrate { reason })
        };
    }
    let in_order = wanted.columns.iter().map(|wants| wants.0).eq(found.columns.iter().map(|column| &*column.name));
    if !fits || !in_order {
        return Ok(Plan::Rebuild);
    }
    if normalised(&found.sql) != wanted.reference {
        return Ok(Plan::Keep);
    }
    // The new declaration says NOT NULL, so it has to be true. The rebuild names the row.
    let null_id = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE id IS NULL)", wanted.name);
    let null_id: bool = diesel::dsl::sql::<Bool>(&null_id).get_result(conn)?;
    Ok(if null_id { Plan::Rebuild } else { Plan::Declare })
}

impl ColumnInfo {
    fn fits(&self, Wants(_, kind, presence): &Wants) -> bool {
        let kind_fits = match kind {
            TextKind => self.declared == "TEXT",
            Integer => matches!(&*self.declared, "INTEGER" | "BIGINT" | "INT"),
        };
        let presence_fits = match presence {
            Key => self.key == 1,
            NotNull | NotNullAdded => self.key == 0 && self.not_null == 1,
            Nullable | NullableAdded => self.key == 0 && self.not_null == 0,
        };
        kind_fits && presence_fits
    }
}

/// A declaration without what does not change its meaning: case, quotes and white space.
fn normalised(sql: &str) -> String {
    let lower = sql.replace(['"', '`', '[', ']'], "").to_lowercase();
    let words = lower.split_whitespace().collect::<Vec<_>>().join(" ");
    [("( ", "("), (" (", "("), (" )", ")"), (", ", ","), (" ,", ",")]
        .iter()
        .fold(words, |text, (from, to)| text.replace(from, to))
}

/// Writes the declaration of a table anew: the same columns, as the copy would declare them, and the same index.
/// SQLite's documentation of ALTER TABLE (part 7) allows this for what does not change the rows on disk; types of the
/// same affinity and a NOT NULL that holds do not.
fn declare(conn: &mut SqliteConnection, wanted: &Wanted) -> Result<()> {
    pragma::with(conn, "writable_schema", 1, |conn| {
        // A connection in defensive mode does not switch. The reference's declaration means the same; it may stay.
        if pragma::read(conn, "writable_schema")? == 0 {
            return Ok(());
        }
        diesel::sql_query("UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = ?")
            .bind::<Text, _>(declaration(wanted.name))
            .bind::<Text, _>(wanted.name)
            .execute(conn)?;
        for index in attached(conn, wanted.name)? {
            if let Some(sql) = index_declarations().find(|sql| normalised(sql) == normalised(&index.sql)) {
                diesel::sql_query("UPDATE sqlite_master SET sql = ? WHERE type = 'index' AND name = ?")
                    .bind::<Text, _>(sql)
                    .bind::<Text, _>(index.name)
                    .execute(conn)?;
            }
        }
        let version = pragma::read(conn, "schema_version")?;
        Ok(pragma::write(conn, "schema_version", version + 1)?)
    })
}

/// The declaration that a rebuilt table ends with, cut out of the migration.
fn declaration(table: &str) -> String {
    let body = UP
        .split_once(&format!("CREATE TABLE agent_session_store_{table} "))
        .and_then(|(_, rest)| rest.split_once(';'))
        .map_or("", |(body, _)| body);
    format!("CREATE TABLE \"{table}\" {body}")
}

/// The declarations of the indexes, as SQLite keeps them.
fn index_declarations() -> impl Iterator<Item = String> {
    section("indexes").split(';').map(|sql| sql.trim().replace("IF NOT EXISTS ", ""))
}

/// One part of the migration's SQL.
fn section(name: &str) -> &'static str {
    let rest = UP.split_once(&format!("-- @section {name}\n")).map_or("", |(_, rest)| rest);
    rest.split_once("-- @section ").map_or(rest, |(section, _)| section)
}

/// Copies a table into its new form, and puts a host's indexes and triggers back on it.
fn rebuild(conn: &mut SqliteConnection, wanted: &Wanted) -> Result<()> {
    if pragma::read(conn, "foreign_keys")? == 1 && is_referred_to(conn, wanted.name)? {
        let reason = format!(
            "the table {} has to be rebuilt and another table refers to it: migrate outside a transaction, where \
             foreign key enforcement can be switched off",
            wanted.name
        );
        return Err(Error::CannotMigrate { reason });
    }
    let ours = ["idx_sessions_order", "idx_events_session_order", "idx_events_session_created"];
    let mut attached = attached(conn, wanted.name)?;
    attached.retain(|row| !ours.contains(&&*row.name));
    for MasterRow { kind, name, .. } in &attached {
        conn.batch_execute(&format!("DROP {kind} \"{}\"", name.replace('"', "\"\"")))?;
    }
    // The legacy rename leaves views and triggers that name the table alone, even while there is none.
    pragma::with(conn, "legacy_alter_table", 1, |conn| conn.batch_execute(section(wanted.name)).map_err(refusal))?;
    for MasterRow { sql, .. } in &attached {
        conn.batch_execute(sql)?;
    }
    Ok(())
}

/// The indexes and triggers that were made for a table.
fn attached(conn: &mut SqliteConnection, table: &str) -> QueryResult<Vec<MasterRow>> {
    diesel::sql_query(
        "SELECT type AS kind, name, sql FROM sqlite_master \
         WHERE tbl_name = ? COLLATE NOCASE AND type IN ('index', 'trigger') AND sql IS NOT NULL",
    )
    .bind::<Text, _>(table)
    .load(conn)
}

fn is_referred_to(conn: &mut SqliteConnection, table: &str) -> QueryResult<bool> {
    diesel::dsl::sql::<Bool>(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master AS child, pragma_foreign_key_list(child.name) AS parent \
         WHERE child.type = 'table' AND parent.\"table\" = ",
    )
    .bind::<Text, _>(table)
    .sql(" COLLATE NOCASE)")
    .get_result(conn)
}

/// The reason that the SQL gives for refusing, out of the error that it raises to say so.
fn refusal(error: diesel::result::Error) -> Error {
    let message = error.to_string();
    let Some((_, reason)) = message.split_once("agent-session-store: ") else { return error.into() };
    Error::CannotMigrate { reason: reason.strip_suffix('\'').unwrap_or(reason).replace("''", "'") }
}
