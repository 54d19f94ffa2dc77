//! Looking at a database: how much there is, and whether it is sound. Nothing here changes anything.

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Text};
use serde::{Deserialize, Serialize};

use crate::column::{Column, StoredText, Whole};
use crate::error::{Error, Result};
use crate::event::SessionEvent;
use crate::pragma;
use crate::schema::{events, sessions};
use crate::session::SessionRecord;
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
    /// The bytes of their payloads.
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
    let rows: Vec<SessionStatsRow> = diesel::sql_query(
        "SELECT session_id, count(event_id) AS events, coalesce(sum(bytes), 0) AS payload_bytes FROM ( \
             SELECT session_id, id AS event_id, length(CAST(payload_json AS BLOB)) AS bytes FROM events \
             UNION ALL SELECT id, NULL, NULL FROM sessions) \
         GROUP BY session_id ORDER BY session_id",
    )
    .load(conn)?;
    Ok(rows.into_iter().map(SessionStats::from).collect())
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
    // Where not even the schema can be read, nothing can, down to the end of the transaction.
    let mut damage = Damage::default();
    let mut report: CheckReport = damage.aside(look(conn))?;
    report.integrity.extend(damage.0);
    Ok(report)
}

fn look(conn: &mut SqliteConnection) -> Result<CheckReport> {
    transaction::reading(conn, |conn| {
        let mut damage = Damage::default();
        let integrity = format!("PRAGMA integrity_check({MOST})");
        let mut integrity: Vec<String> = damage.aside(diesel::dsl::sql::<Text>(&integrity).load(conn))?;
        integrity.retain(|line| line != "ok");

        let mut undecodable = Vec::new();
        let rows = sessions::table.select(SessionRecord::as_select());
        damage.aside(note_undecodable(rows.load_iter::<SessionRecord, _>(conn), &mut undecodable))?;
        let rows = events::table.select(SessionEvent::as_select());
        damage.aside(note_undecodable(rows.load_iter::<SessionEvent, _>(conn), &mut undecodable))?;

        let without_record = diesel::sql_query(format!(
            "SELECT DISTINCT session_id FROM events \
             WHERE NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.id = events.session_id) LIMIT {MOST}"
        ));
        let without_record: Vec<SessionId> = damage.aside(without_record.load(conn))?;
        let duplicate_indexes = diesel::sql_query(format!(
            "SELECT session_id, event_index, count(*) AS events FROM events \
             GROUP BY session_id, event_index HAVING count(*) > 1 LIMIT {MOST}"
        ));
        let duplicate_indexes: Vec<DuplicateIndexRow> = damage.aside(duplicate_indexes.load(conn))?;
        let has_events_legacy = diesel::dsl::sql::<diesel::sql_types::Bool>(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE lower(name) = 'events_legacy')",
        );
        let has_events_legacy = damage.aside(has_events_legacy.get_result(conn))?;
        if integrity.is_empty() {
            integrity.extend(damage.0);
        }
        Ok(CheckReport {
            integrity,
            undecodable,
            without_record: without_record.into_iter().map(|row| row.session_id.shown()).collect(),
            duplicate_indexes: duplicate_indexes.into_iter().filter_map(DuplicateIndexRow::finding).collect(),
            has_events_legacy,
        })
    })
}

/// What SQLite said where it could not read on. The integrity check says more about it, if it can.
#[derive(Default)]
struct Damage(Option<String>);

impl Damage {
    /// The answer, or an empty one where damage is in the way: that is a finding, and no reason not to look further.
    fn aside<T: Default, E: Into<Error>>(&mut self, answer: Result<T, E>) -> Result<T> {
        match answer.map_err(E::into) {
            Err(Error::Database { source: DieselError::DatabaseError(_, information) })
                if information.message() == "database disk image is malformed" =>
            {
                self.0 = Some(information.message().to_owned());
                Ok(T::default())
            }
            answer => answer,
        }
    }
}

/// Goes through all rows, whatever some of them hold.
fn note_undecodable<T>(rows: QueryResult<impl Iterator<Item = QueryResult<T>>>, found: &mut Vec<String>) -> Result<()> {
    for row in rows? {
        match row.map_err(Error::from) {
            Ok(_) => {}
            Err(error @ Error::Decode { .. }) if found.len() < MOST => found.push(error.to_string()),
            Err(Error::Decode { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
