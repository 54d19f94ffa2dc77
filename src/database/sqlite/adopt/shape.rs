//! The schema of an existing table, and what it needs to become ours.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};

use super::declaration::means;
use super::script::LEFTOVER;
use crate::error::{Error, Result};

/// The wanted schema of a table.
pub(super) struct Wanted {
    pub(super) name: &'static str,
    /// Another table to be merged into it.
    pub(super) leftover: Option<&'static str>,
    columns: &'static [Wants],
    /// What the reference driver declares.
    reference: &'static str,
}

/// The wanted column: its name, its declared type, and whether NULL is refused and whether it may be missing.
struct Wants(&'static str, Affinity, Presence);

#[derive(PartialEq)]
enum Affinity {
    Text,
    Integer,
}

#[derive(PartialEq)]
enum Presence {
    /// `PRIMARY KEY`; older files leave out the `NOT NULL`.
    Key,
    NotNull,
    Nullable,
    /// `NOT NULL`, added if it is missing.
    NotNullAdded,
    /// Nullable, added if it is missing.
    NullableAdded,
}

use Affinity::{Integer, Text as TextKind};
use Presence::{Key, NotNull, NotNullAdded, Nullable, NullableAdded};

pub(super) const SESSIONS: Wanted = Wanted {
    name: "sessions",
    leftover: None,
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
    reference: "CREATE TABLE sessions (id TEXT PRIMARY KEY, agent TEXT NOT NULL, agent_session_id TEXT NOT NULL, \
        last_connection_id TEXT NOT NULL, created_at INTEGER NOT NULL, destroyed_at INTEGER, sandbox_id TEXT, \
        session_init_json TEXT, config_options_json TEXT, modes_json TEXT)",
};

pub(super) const EVENTS: Wanted = Wanted {
    name: "events",
    leftover: Some(LEFTOVER),
    columns: &[
        Wants("id", TextKind, Key),
        Wants("event_index", Integer, NotNullAdded),
        Wants("session_id", TextKind, NotNull),
        Wants("created_at", Integer, NotNull),
        Wants("connection_id", TextKind, NotNull),
        Wants("sender", TextKind, NotNull),
        Wants("payload_json", TextKind, NotNull),
    ],
    reference: "CREATE TABLE events (id TEXT PRIMARY KEY, event_index INTEGER NOT NULL, session_id TEXT NOT NULL, \
        created_at INTEGER NOT NULL, connection_id TEXT NOT NULL, sender TEXT NOT NULL, payload_json TEXT NOT NULL)",
};

/// What a table needs.
pub(super) enum Plan {
    /// It does not exist.
    Create,
    /// Nothing.
    Keep,
    /// It is equivalent to ours: only its declaration is rewritten, the rows stay where they are.
    Declare,
    /// It has the application's own columns, which stay; these are added.
    Add(Vec<&'static str>),
    Rebuild,
}

/// An existing table.
pub(super) struct FoundTable {
    name: String,
    kind: String,
    pub(super) sql: String,
    columns: Vec<ColumnInfo>,
}

#[derive(QueryableByName)]
struct TableInfo {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    sql: String,
}

#[derive(QueryableByName)]
pub(super) struct ColumnInfo {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    #[diesel(sql_type = Text)]
    declared: String,
    #[diesel(sql_type = BigInt)]
    not_null: i64,
    #[diesel(sql_type = BigInt)]
    key: i64,
    #[diesel(sql_type = Bool)]
    pub(super) needs_value: bool,
}

pub(super) fn find(conn: &mut SqliteConnection, name: &str) -> Result<Option<FoundTable>> {
    let table: Option<TableInfo> = diesel::sql_query(
        "SELECT CASE WHEN list.type = 'table' AND list.wr THEN 'table without rowids' \
             WHEN list.type = 'virtual' THEN 'virtual table' ELSE list.type END AS kind, master.name AS name, master.sql AS sql \
         FROM main.sqlite_master AS master JOIN pragma_table_list(master.name) AS list ON list.schema = 'main' \
         WHERE lower(master.name) = ? AND master.type IN ('table', 'view')",
    )
    .bind::<Text, _>(name)
    .get_result(conn)
    .optional()?;
    let Some(TableInfo { name: found_name, kind, sql }) = table else { return Ok(None) };
    let columns = diesel::sql_query(
        "SELECT lower(name) AS name, upper(trim(type)) AS declared, \"notnull\" AS not_null, pk AS key, \
             \"notnull\" AND upper(coalesce(dflt_value, 'NULL')) = 'NULL' AS needs_value \
         FROM pragma_table_xinfo(?, 'main')",
    )
    .bind::<Text, _>(name)
    .load(conn)?;
    Ok(Some(FoundTable { name: found_name, kind, sql, columns }))
}

impl FoundTable {
    fn column(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The columns of a host's, or of a later version's.
    pub(super) fn further<'a>(&'a self, wanted: &'a Wanted) -> impl Iterator<Item = &'a ColumnInfo> {
        self.columns.iter().filter(|column| wanted.columns.iter().all(|wants| wants.0 != column.name))
    }

    /// Refuses something else of the same name.
    pub(super) fn check_is_ours(&self, name: &str, wanted: &Wanted) -> Result<()> {
        let lacks = |wants: &&Wants| !matches!(wants.2, NotNullAdded | NullableAdded) && self.column(wants.0).is_none();
        let reason = if self.kind != "table" {
            format!("{name} is a {}, not a table that could be rebuilt", self.kind)
        } else if let Some(Wants(column, ..)) = wanted.columns.iter().find(lacks) {
            format!("the table {name} has no column {column}, so it is not a table of agent sessions")
        } else {
            return Ok(());
        };
        Err(Error::CannotMigrate { reason })
    }
}

pub(super) fn plan(conn: &mut SqliteConnection, wanted: &Wanted) -> Result<Plan> {
    let Some(found) = find(conn, wanted.name)? else { return Ok(Plan::Create) };
    found.check_is_ours(wanted.name, wanted)?;
    if found.further(wanted).next().is_some() {
        return Ok(beside_further_columns(&found, wanted));
    }
    // If the name is spelled in another case, only a copy can change that.
    if found.name != wanted.name || means(&found.sql) != means(wanted.reference) {
        return Ok(Plan::Rebuild);
    }
    // The new declaration says NOT NULL, so that must be true. Otherwise the rebuild names the row.
    let null_id = format!("SELECT EXISTS (SELECT 1 FROM main.{} WHERE id IS NULL)", wanted.name);
    let null_id: bool = diesel::dsl::sql::<Bool>(&null_id).get_result(conn)?;
    Ok(if null_id { Plan::Rebuild } else { Plan::Declare })
}

/// Whether a table exists and has every wanted column, whatever else it has. A view or the like belongs to the
/// application, and only the application knows its purpose.
pub(super) fn is_usable(conn: &mut SqliteConnection, wanted: &Wanted) -> Result<bool> {
    let Some(found) = find(conn, wanted.name)? else { return Ok(false) };
    Ok(found.kind != "table"
        || wanted.columns.iter().all(|wants| found.column(wants.0).is_some_and(|column| column.fits(wants))))
}

/// Beside further columns a table stays where it is, if that can be done.
fn beside_further_columns(found: &FoundTable, wanted: &Wanted) -> Plan {
    let missing = || wanted.columns.iter().filter(|wants| found.column(wants.0).is_none());
    let fits = wanted.columns.iter().all(|wants| found.column(wants.0).is_none_or(|column| column.fits(wants)));
    if fits && missing().all(|wants| wants.2 == NullableAdded) {
        Plan::Add(missing().map(|wants| wants.0).collect())
    } else {
        Plan::Rebuild
    }
}

impl ColumnInfo {
    fn is(&self, kind: &Affinity) -> bool {
        match kind {
            TextKind => self.declared == "TEXT",
            Integer => matches!(&*self.declared, "INTEGER" | "BIGINT" | "INT"),
        }
    }

    fn fits(&self, Wants(_, kind, presence): &Wants) -> bool {
        let kind_fits = self.is(kind);
        let presence_fits = match presence {
            Key => self.key == 1,
            NotNull | NotNullAdded => self.key == 0 && self.not_null == 1,
            Nullable | NullableAdded => self.key == 0 && self.not_null == 0,
        };
        kind_fits && presence_fits
    }
}

/// What is outdated about a table: why its rows cannot be read before a migration.
pub(super) fn unreadable(conn: &mut SqliteConnection, wanted: &Wanted) -> Result<Option<String>> {
    let name = wanted.name;
    let Some(found) = find(conn, name)? else { return Ok(Some(format!("there is no table {name}"))) };
    found.check_is_ours(name, wanted)?;
    for Wants(column, kind, presence) in wanted.columns {
        let Some(column) = found.column(column) else {
            return Ok(Some(format!("the table {name} has no column {column}")));
        };
        if !column.is(kind) {
            let (column, declared) = (&column.name, &column.declared);
            return Ok(Some(format!("the column {column} of the table {name} is declared as {declared:?}")));
        }
        if *presence == NotNullAdded && column.not_null == 0 {
            let column = &column.name;
            let nulls = format!("SELECT EXISTS (SELECT 1 FROM {name} WHERE {column} IS NULL)");
            if diesel::dsl::sql::<Bool>(&nulls).get_result(conn)? {
                return Ok(Some(format!("the column {column} of the table {name} is NULL in some rows")));
            }
        }
    }
    Ok(None)
}
