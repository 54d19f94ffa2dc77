//! Looking at a database: how much there is, and whether it is sound. Nothing here changes anything.

use std::collections::BTreeMap;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteType, SqliteValue};
use serde::{Deserialize, Serialize};

use crate::column::{Column, StoredText, Whole};
use crate::error::{Error, Result};
use crate::event::{self, SessionEvent};
use crate::exact::{self, Record};
use crate::place::Stored;
use crate::pragma;
use crate::session::{self, SessionRecord};
use crate::tables::{events, sessions};
use crate::transaction;

/// How much a database holds.
///
/// ```
/// use agent_session_store::SessionStore;
///
/// let stats = SessionStore::open_in_memory()?.stats()?;
/// assert_eq!((stats.sessions, stats.events), (0, 0));
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Sessions on record.
    pub sessions: u64,
    /// Events, of sessions on record or not.
    pub events: u64,
    /// The size of the database in bytes: everything in it, a host's tables and unused pages included, but not what is
    /// still in the write-ahead log alone.
    pub bytes: u64,
    /// How many of these bytes are unused, and could be [reclaimed](crate::SessionPersistDriver::reclaim_space).
    pub unused_bytes: u64,
}

/// How much one session holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionStats {
    /// The session; as much of its id as can be shown, where that is no text.
    pub session_id: String,
    /// Its events.
    pub events: i64,
    /// The bytes of their payloads, in UTF-8.
    pub payload_bytes: i64,
}

#[derive(QueryableByName)]
struct SessionStatsRow {
    #[diesel(sql_type = Text)]
    session_id: Column<StoredText>,
    #[diesel(sql_type = BigInt)]
    events: i64,
    #[diesel(sql_type = BigInt)]
    payload_bytes: i64,
}

impl From<SessionStatsRow> for SessionStats {
    fn from(SessionStatsRow { session_id, events, payload_bytes }: SessionStatsRow) -> Self {
        Self { session_id: session_id.shown(), events, payload_bytes }
    }
}

pub(crate) fn stats(conn: &mut SqliteConnection) -> Result<Stats> {
    transaction::reading(conn, |conn| {
        let sessions: i64 = sessions::table.count().get_result(conn)?;
        let events: i64 = events::table.count().get_result(conn)?;
        let page_size = pragma::read(conn, "page_size")?;
        let bytes = pragma::read(conn, "page_count")? * page_size;
        let unused_bytes = pragma::read(conn, "freelist_count")? * page_size;
        Ok(Stats {
            sessions: sessions as u64,
            events: events as u64,
            bytes: bytes as u64,
            unused_bytes: unused_bytes as u64,
        })
    })
}

pub(crate) fn session_stats(conn: &mut SqliteConnection) -> Result<Vec<SessionStats>> {
    if !exact::is_utf8(conn)? {
        return session_stats_by_hand(conn);
    }
    let rows: Vec<SessionStatsRow> = diesel::sql_query(
        "SELECT session_id, sum(event) AS events, coalesce(sum(bytes), 0) AS payload_bytes FROM ( \
             SELECT session_id, 1 AS event, length(CAST(payload_json AS BLOB)) AS bytes FROM main.events \
             UNION ALL SELECT id, 0, NULL FROM main.sessions) \
         GROUP BY session_id ORDER BY session_id",
    )
    .load(conn)?;
    Ok(rows.into_iter().map(SessionStats::from).collect())
}

/// In a database of another encoding, SQLite knows neither the bytes nor the order of UTF-8.
fn session_stats_by_hand(conn: &mut SqliteConnection) -> Result<Vec<SessionStats>> {
    type Row = (Column<StoredText>, Stored, Option<Utf8Bytes>);
    transaction::reading(conn, |conn| {
        let mut found = BTreeMap::new();
        let mut count = |(id, stored, bytes): Row, events: i64| {
            let stats = found.entry(stored.in_order(id.text())).or_insert_with(|| SessionStats {
                session_id: id.shown(),
                events: 0,
                payload_bytes: 0,
            });
            stats.events += events;
            stats.payload_bytes += bytes.map_or(0, |bytes| bytes.0);
        };
        let rows = events::table.select((events::session_id, events::session_id, events::payload_json.nullable()));
        for row in rows.load_iter::<Row, _>(conn)? {
            count(row?, 1);
        }
        let rows = sessions::table.select((sessions::id, sessions::id, None::<String>.into_sql::<Nullable<Text>>()));
        for row in rows.load_iter::<Row, _>(conn)? {
            count(row?, 0);
        }
        Ok(found.into_values().collect())
    })
}

/// The bytes of a value in UTF-8.
#[derive(FromSqlRow)]
struct Utf8Bytes(i64);

impl FromSql<Text, Sqlite> for Utf8Bytes {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        // Once it has been read as text, the bytes are UTF-8.
        let text = value.read_text().len();
        let bytes = if let Some(SqliteType::Text | SqliteType::Binary) = value.value_type() {
            value.read_blob().len()
        } else {
            text
        };
        Ok(Self(bytes as i64))
    }
}

/// What is wrong with a database. Each list holds the first hundred findings at most.
///
/// ```
/// use agent_session_store::SessionStore;
///
/// let report = SessionStore::open_in_memory()?.check()?;
/// assert!(report.is_sound());
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// What SQLite's integrity check says, where it is not "ok".
    pub integrity: Vec<String>,
    /// Rows that cannot be decoded, each as [`Error::Decode`] words it.
    pub undecodable: Vec<String>,
    /// Sessions that have events and no record. Hosts may store events first, so this need not be a fault.
    pub without_record: Vec<String>,
    /// Indexes that several events of a session share. They have an order, by id; but an append never makes them.
    pub duplicate_indexes: Vec<DuplicateIndex>,
    /// A table `events_legacy` that an interrupted rebuild of the reference driver left behind.
    pub has_events_legacy: bool,
}

/// An index that several events of a session share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DuplicateIndex {
    /// The session; as much of its id as can be shown, where that is no text.
    pub session_id: String,
    /// The index.
    pub event_index: i64,
    /// How many events share it.
    pub events: i64,
}

#[derive(QueryableByName)]
struct DuplicateIndexRow {
    #[diesel(sql_type = Text)]
    session_id: Column<StoredText>,
    #[diesel(sql_type = BigInt)]
    event_index: Column<Whole>,
    #[diesel(sql_type = BigInt)]
    events: i64,
}

impl DuplicateIndexRow {
    /// None where the index is no number, which is another finding.
    fn finding(self) -> Option<DuplicateIndex> {
        let Whole(event_index) = self.event_index.ok()?;
        Some(DuplicateIndex { session_id: self.session_id.shown(), event_index, events: self.events })
    }
}

impl CheckReport {
    /// Whether nothing was found that could lose or hide data: sessions without a record and shared indexes do not.
    ///
    /// ```
    /// # use agent_session_store::CheckReport;
    /// assert!(CheckReport::default().is_sound());
    /// ```
    pub fn is_sound(&self) -> bool {
        self.integrity.is_empty() && self.undecodable.is_empty() && !self.has_events_legacy
    }
}

/// Findings of one kind that a report holds.
const MOST: usize = 100;

#[derive(QueryableByName)]
struct SessionId {
    #[diesel(sql_type = Text)]
    session_id: Column<StoredText>,
}

pub(crate) fn check(conn: &mut SqliteConnection) -> Result<CheckReport> {
    let (mut report, mut damage) = (CheckReport::default(), Damage::default());
    // Where not even the schema can be read, nothing can, down to the end of the transaction.
    let looked = transaction::reading(conn, |conn| look(conn, &mut report, &mut damage));
    damage.aside(looked)?;
    if report.integrity.is_empty() {
        report.integrity.extend(damage.0);
    }
    Ok(report)
}

fn look(conn: &mut SqliteConnection, report: &mut CheckReport, damage: &mut Damage) -> Result<()> {
    let integrity = format!("PRAGMA main.integrity_check({MOST})");
    let integrity: Vec<Option<String>> = damage.aside(diesel::dsl::sql::<Nullable<Text>>(&integrity).load(conn))?;
    report.integrity.extend(integrity.into_iter().flatten().filter(|line| line != "ok"));

    let rows = sessions::table.select((sessions::all_columns, session::ROWID));
    damage.aside(note_undecodable::<SessionRecord>(rows.load_iter(conn), &mut report.undecodable))?;
    let rows = events::table.select((events::all_columns, event::ROWID));
    damage.aside(note_undecodable::<SessionEvent>(rows.load_iter(conn), &mut report.undecodable))?;

    let without_record = diesel::sql_query(format!(
        "SELECT DISTINCT session_id FROM main.events \
         WHERE NOT EXISTS (SELECT 1 FROM main.sessions WHERE sessions.id = events.session_id) LIMIT {MOST}"
    ));
    let without_record: Vec<SessionId> = damage.aside(without_record.load(conn))?;
    report.without_record = without_record.into_iter().map(|row| row.session_id.shown()).collect();
    let duplicate_indexes = diesel::sql_query(format!(
        "SELECT session_id, event_index, count(*) AS events FROM main.events \
         GROUP BY session_id, event_index HAVING count(*) > 1 LIMIT {MOST}"
    ));
    let duplicate_indexes: Vec<DuplicateIndexRow> = damage.aside(duplicate_indexes.load(conn))?;
    report.duplicate_indexes = duplicate_indexes.into_iter().filter_map(DuplicateIndexRow::finding).collect();
    let has_events_legacy = diesel::dsl::sql::<diesel::sql_types::Bool>(
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_master WHERE lower(name) = 'events_legacy')",
    );
    report.has_events_legacy = damage.aside(has_events_legacy.get_result(conn))?;
    Ok(())
}

/// What SQLite said where it could not read on. The integrity check says more about it, if it can.
#[derive(Default)]
struct Damage(Option<String>);

impl Damage {
    /// The answer, or an empty one where damage is in the way: that is a finding, and no reason not to look further.
    fn aside<T: Default, E: Into<Error>>(&mut self, answer: Result<T, E>) -> Result<T> {
        match answer.map_err(E::into) {
            Err(Error::Database { source: DieselError::DatabaseError(_, information) })
                if is_about_damage(information.message()) =>
            {
                self.0 = Some(information.message().to_owned());
                Ok(T::default())
            }
            answer => answer,
        }
    }
}

/// Whether SQLite says that what it read makes no sense: a page, the schema, or a column's name in it.
fn is_about_damage(message: &str) -> bool {
    let beginnings = ["database disk image is malformed", "malformed database schema", "no such column: "];
    beginnings.iter().any(|beginning| message.starts_with(beginning))
}

/// Goes through all rows, whatever some of them hold.
fn note_undecodable<R: Record>(
    rows: QueryResult<impl Iterator<Item = QueryResult<(R::Columns, i64)>>>,
    found: &mut Vec<String>,
) -> Result<()> {
    for row in rows? {
        let (columns, rowid) = row?;
        if let Err(cause) = R::from_columns(columns, Some(rowid)) {
            if found.len() == MOST {
                return Ok(());
            }
            found.push(Error::from(cause).to_string());
        }
    }
    Ok(())
}
