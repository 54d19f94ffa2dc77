//! Migrating a PostgreSQL database, and what is missing in one.

use diesel::migration::CREATE_MIGRATIONS_TABLE;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Nullable, Text};

#[cfg(feature = "diesel-async")]
use super::async_connection::checked;
use super::embedded::{ALL, FIRST};
use super::pg_link::PgLink;
use super::transaction;
use crate::database::Lock;
use crate::database::migrations::__diesel_schema_migrations;
#[cfg(feature = "diesel-async")]
use crate::database::migrations::AsyncMigratable;
#[cfg(feature = "postgres")]
use crate::database::migrations::Migratable;
#[cfg(feature = "postgres")]
use crate::database::ready;
use crate::error::{Error, Result};

/// Makes sure that nobody else is creating the same tables, Diesel's own included. A migration of old tables may take long,
/// so its end is waited for, whatever the connection's patience with other locks.
async fn wait_for_others<C: PgLink>(conn: &mut C, is_ours: bool) -> Result<()> {
    const LOCK: &str = "SELECT pg_advisory_xact_lock(475301)";
    let patience = diesel::select(diesel::dsl::sql::<Text>("current_setting('lock_timeout')"));
    let patience: String = conn.one(patience).await?;
    // In the caller's transaction the setting would stay until its end.
    let lock = match &*patience {
        _ if !is_ours => LOCK.to_owned(),
        "0" => LOCK.to_owned(),
        patience => format!("SET LOCAL lock_timeout = '5min'; {LOCK}; SET LOCAL lock_timeout = '{patience}'"),
    };
    Ok(conn.batch(&lock).await?)
}

#[cfg(feature = "postgres")]
impl Migratable for diesel::PgConnection {
    fn bring_up_to_date(&mut self) -> Result<()> {
        ready(migrate(self))
    }
}

#[cfg(feature = "diesel-async")]
impl AsyncMigratable for diesel_async::AsyncPgConnection {
    async fn bring_up_to_date(&mut self) -> Result<()> {
        checked(self, false, async |conn| migrate(conn).await).await
    }
}

pub(crate) async fn migrate<C: PgLink>(conn: &mut C) -> Result<()> {
    if is_current(conn).await? {
        return Ok(());
    }
    let is_ours = !transaction::is_open(conn)?;
    let migrated = transaction::run(conn, Lock::Write, async |conn| {
        wait_for_others(conn, is_ours).await?;
        if is_current(conn).await? {
            return Ok(());
        }
        run_pending(conn).await?;
        if missing(conn, &WRITING).await?.is_some() {
            conn.batch(FIRST.up).await?;
        }
        Ok(())
    })
    .await;
    migrated.map_err(|error| match error {
        Error::Database { source } => Error::Migration { source: Box::new(source) },
        error => error,
    })
}

/// Whether nothing is pending and the tables are what the bookkeeping says. Only reads.
async fn is_current<C: PgLink>(conn: &mut C) -> Result<bool> {
    let is_kept = diesel::dsl::sql::<Bool>("to_regclass('__diesel_schema_migrations') IS NOT NULL");
    if !conn.one::<bool, _>(diesel::select(is_kept)).await? {
        return Ok(false);
    }
    Ok(applied(conn).await?.len() == ALL.len() && missing(conn, &WRITING).await?.is_none())
}

/// The versions of this crate's migrations that have run.
async fn applied<C: PgLink>(conn: &mut C) -> QueryResult<Vec<String>> {
    let ours = ALL.map(|migration| migration.version);
    let ours = __diesel_schema_migrations::version.eq_any(ours);
    conn.rows(__diesel_schema_migrations::table.filter(ours).select(__diesel_schema_migrations::version)).await
}

/// Runs the migrations that have not run, as Diesel's harness would, which knows only blocking connections.
async fn run_pending<C: PgLink>(conn: &mut C) -> Result<()> {
    conn.batch(CREATE_MIGRATIONS_TABLE).await?;
    let applied = applied(conn).await?;
    for migration in ALL.iter().filter(|migration| !applied.iter().any(|version| version == migration.version)) {
        conn.batch(migration.up).await?;
        let version = __diesel_schema_migrations::version.eq(migration.version);
        conn.run(diesel::insert_into(__diesel_schema_migrations::table).values(version)).await?;
    }
    Ok(())
}

/// Whether a condition holds, and what is missing if not.
type Needed = (&'static str, &'static str);

/// What reading takes.
pub(crate) const READING: [Needed; 2] = [
    (
        "(SELECT count(*) = 10 FROM pg_attribute WHERE attrelid = to_regclass('sessions') AND NOT attisdropped \
          AND attname IN ('id', 'agent', 'agent_session_id', 'last_connection_id', 'created_at', 'destroyed_at', \
          'sandbox_id', 'session_init_json', 'config_options_json', 'modes_json'))",
        "there is no table sessions, or it lacks columns",
    ),
    (
        "(SELECT count(*) = 7 FROM pg_attribute WHERE attrelid = to_regclass('events') AND NOT attisdropped \
          AND (attname IN ('session_id', 'created_at', 'connection_id', 'sender', 'payload_json') \
              OR attname = 'id' AND atttypid IN ('text'::regtype, 'varchar'::regtype) \
              OR attname = 'event_index' AND attnotnull))",
        "there is no table events, or its columns are those of an old version",
    ),
];

/// What writing takes, and what makes reading fast.
pub(crate) const WRITING: [Needed; 4] = [
    READING[0],
    READING[1],
    ("to_regclass('event_heads') IS NOT NULL", "there is no table event_heads"),
    (
        "(to_regclass('idx_events_session_order') IS NOT NULL AND to_regclass('idx_sessions_order') IS NOT NULL \
          AND to_regclass('idx_sessions_agent') IS NOT NULL AND to_regclass('idx_sessions_sandbox') IS NOT NULL \
          AND to_regclass('idx_sessions_live') IS NOT NULL AND to_regclass('idx_sessions_destroyed') IS NOT NULL)",
        "an index is missing",
    ),
];

/// The first thing that is missing, found with one query.
pub(crate) async fn missing<C: PgLink>(conn: &mut C, needed: &[Needed]) -> Result<Option<&'static str>> {
    let cases = needed.iter().enumerate();
    let cases: String = cases.map(|(place, (condition, _))| format!("WHEN NOT {condition} THEN {place} ")).collect();
    let first = diesel::dsl::sql::<Nullable<Integer>>(&format!("CASE {cases}END"));
    let first: Option<i32> = conn.one(diesel::select(first)).await?;
    Ok(first.and_then(|place| needed.get(place as usize)).map(|(_, what)| *what))
}

/// Creates a schema if it does not exist; its name is an identifier.
#[cfg(feature = "postgres")]
pub(crate) fn create_schema(conn: &mut diesel::PgConnection, name: &str) -> Result<()> {
    ready(transaction::run(conn, Lock::Write, async |conn| {
        wait_for_others(conn, true).await?;
        Ok(conn.batch(&format!("CREATE SCHEMA IF NOT EXISTS {name}")).await?)
    }))
}

/// Turns the JSONB columns of a database that the reference driver made into JSON, which holds every text as it is: what
/// JSONB refuses (`\u0000`, half a surrogate pair), and from now on also what it changes (spaces, the order of keys,
/// duplicate keys). Columns of another type stay.
///
/// It rewrites both tables and locks them meanwhile, in one transaction. The reference driver reads and writes JSON
/// columns as it does JSONB ones. On a connection that has prepared a statement on these tables before, one call then
/// fails with `cached plan must not change result type`: repeat it. If it was a query of your own that fails so, or one
/// of another program, replace the connection.
///
/// # Errors
///
/// [`Error::NotMigrated`] without the tables, [`Error::ReadOnly`] if the tables belong to another role,
/// [`Error::Busy`] if others hold locks for longer than `lock_timeout`, and any other error from the database. Nothing
/// was changed then.
///
/// ```no_run
/// use agent_session_store::diesel::{Connection, PgConnection};
///
/// let mut conn = PgConnection::establish("postgres://localhost/app").unwrap();
/// agent_session_store::convert_jsonb(&mut conn)?;
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[cfg(feature = "postgres")]
pub fn convert_jsonb(conn: &mut diesel::PgConnection) -> Result<()> {
    ready(to_json(conn))
}

/// [`convert_jsonb`](crate::convert_jsonb), which describes what it does and its errors, for a connection of diesel-async.
///
/// ```no_run
/// use agent_session_store::diesel_async::{AsyncConnection, AsyncPgConnection};
///
/// # async fn example() -> Result<(), agent_session_store::Error> {
/// let mut conn = AsyncPgConnection::establish("postgres://localhost/app").await.unwrap();
/// agent_session_store::convert_jsonb_async(&mut conn).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Those of [`convert_jsonb`](crate::convert_jsonb).
#[cfg(feature = "diesel-async")]
pub async fn convert_jsonb_async(conn: &mut diesel_async::AsyncPgConnection) -> Result<()> {
    checked(conn, false, async |conn| to_json(conn).await).await
}

async fn to_json<C: PgLink>(conn: &mut C) -> Result<()> {
    const COLUMNS: [(&str, &[&str]); 2] =
        [("sessions", &["session_init_json", "config_options_json", "modes_json"]), ("events", &["payload_json"])];
    transaction::run(conn, Lock::Write, async |conn| {
        for (table, columns) in COLUMNS {
            let mut changes = Vec::new();
            for column in columns {
                let is_jsonb = format!(
                    "EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = '{column}' \
                     AND atttypid = 'jsonb'::regtype)"
                );
                if conn.one(diesel::select(diesel::dsl::sql::<Bool>(&is_jsonb))).await? {
                    changes.push(format!("ALTER COLUMN {column} TYPE JSON USING {column}::json"));
                }
            }
            if !changes.is_empty() {
                conn.batch(&format!("ALTER TABLE {table} {}", changes.join(", "))).await?;
            }
        }
        Ok(())
    })
    .await
}
