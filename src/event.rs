//! Events: the record, and everything that touches its table.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow, FromStaticSqlRow, Queryable};
use diesel::expression::AsExpression;
use diesel::prelude::*;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel::upsert::excluded;
use serde::{Deserialize, Serialize};

use crate::column::{Column, Millis, Number, Row, StoredText, Whole};
use crate::error::{Error, Result};
use crate::insert::InsertNew;
use crate::json::Json;
use crate::keyset::{After, Before, row_compared};
use crate::page::{ListPage, Listed};
use crate::request::{EventFilter, ListEventsRequest};
use crate::schema::events;

/// Who sent an event.
///
/// ```
/// use agent_session_store::Sender;
///
/// assert_eq!(Sender::Agent.as_str(), "agent");
/// assert_eq!("client".parse(), Ok(Sender::Client));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, AsExpression, FromSqlRow)]
#[serde(rename_all = "lowercase")]
#[diesel(sql_type = Text)]
pub enum Sender {
    /// The application that talks to the agent.
    Client,
    /// The coding agent.
    Agent,
}

impl Sender {
    /// The word in the database and in JSON: `client` or `agent`.
    ///
    /// ```
    /// # use agent_session_store::Sender;
    /// assert_eq!(Sender::Client.as_str(), "client");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSender(String);

impl fmt::Display for UnknownSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is neither \"client\" nor \"agent\"", self.0)
    }
}

impl std::error::Error for UnknownSender {}

impl FromStr for Sender {
    type Err = UnknownSender;

    fn from_str(word: &str) -> Result<Self, UnknownSender> {
        match word {
            "client" => Ok(Self::Client),
            "agent" => Ok(Self::Agent),
            _ => Err(UnknownSender(word.to_owned())),
        }
    }
}

impl<DB: Backend> FromSql<Text, DB> for Sender
where
    StoredText: FromSql<Text, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(StoredText::from_sql(value)?.0.parse()?)
    }
}

impl<DB: Backend> ToSql<Text, DB> for Sender
where
    str: ToSql<Text, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.as_str().to_sql(out)
    }
}

/// One envelope (JSON-RPC, Agent Client Protocol) that passed between client and agent.
///
/// Times have millisecond precision in the database; finer parts are dropped on the way in. As JSON (serde) an event
/// has the reference driver's field names (`eventIndex`, `createdAt` as a number of Unix milliseconds, …).
///
/// Besides the verbs, it works in Diesel queries of your own: `SessionEvent::as_select()` reads it, also beside
/// columns of your own tables, and `insert_into(events::table).values(&event)` writes it.
///
/// ```
/// use agent_session_store::{Json, Sender, SessionEvent};
/// use chrono::DateTime;
///
/// let event = SessionEvent {
///     id: "event-1".to_owned(),
///     event_index: 1,
///     session_id: "session-1".to_owned(),
///     created_at: DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
///     connection_id: "connection-1".to_owned(),
///     sender: Sender::Client,
///     payload: Json::parse(r#"{"jsonrpc":"2.0","id":1,"method":"session/new"}"#)?,
/// };
/// assert!(serde_json::to_string(&event).unwrap().starts_with(r#"{"id":"event-1","eventIndex":1,"#));
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Selectable)]
#[serde(rename_all = "camelCase")]
#[diesel(table_name = events)]
pub struct SessionEvent {
    /// The key, unique in the whole table.
    pub id: String,
    /// The place in the session. Several events may share one; then the id orders them.
    pub event_index: i64,
    /// The session it belongs to. Its record may be stored later, or never.
    pub session_id: String,
    /// When it was sent.
    #[serde(with = "crate::time::millis")]
    pub created_at: DateTime<Utc>,
    /// The connection it was sent over.
    pub connection_id: String,
    /// Who sent it.
    pub sender: Sender,
    /// What was sent, byte for byte.
    #[diesel(column_name = payload_json)]
    pub payload: Json,
}

type SqlType = events::SqlType;

type EventRow = (
    Column<StoredText>,
    Column<Whole>,
    Column<StoredText>,
    Column<Millis>,
    Column<StoredText>,
    Column<Sender>,
    Column<Json>,
);

impl<DB> Queryable<SqlType, DB> for SessionEvent
where
    DB: Backend,
    EventRow: FromStaticSqlRow<SqlType, DB>,
{
    type Row = EventRow;

    fn build(columns: EventRow) -> deserialize::Result<Self> {
        let (id, event_index, session_id, created_at, connection_id, sender, payload) = columns;
        let row = Row::new("events", &id, &event_index)?;
        Ok(Self {
            event_index: row.value("event_index", event_index)?.0,
            session_id: row.value("session_id", session_id)?.0,
            created_at: row.value("created_at", created_at)?.0,
            connection_id: row.value("connection_id", connection_id)?.0,
            sender: row.value("sender", sender)?,
            payload: row.value("payload_json", payload)?,
            // Last: until here it names the row.
            id: id.id("events")?,
        })
    }
}

/// An event on its way into the table.
#[derive(Debug, Insertable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
pub struct NewEvent<'a> {
    pub(crate) id: &'a str,
    pub(crate) event_index: i64,
    pub(crate) session_id: &'a str,
    pub(crate) created_at: i64,
    pub(crate) connection_id: &'a str,
    pub(crate) sender: &'static str,
    pub(crate) payload_json: &'a str,
}

impl<'a> From<&'a SessionEvent> for NewEvent<'a> {
    fn from(event: &'a SessionEvent) -> Self {
        Self {
            id: &event.id,
            event_index: event.event_index,
            session_id: &event.session_id,
            created_at: event.created_at.timestamp_millis(),
            connection_id: &event.connection_id,
            sender: event.sender.as_str(),
            payload_json: event.payload.get(),
        }
    }
}

impl<'a> Insertable<events::table> for &'a SessionEvent {
    type Values = <NewEvent<'a> as Insertable<events::table>>::Values;

    fn values(self) -> Self::Values {
        NewEvent::from(self).values()
    }
}

impl Listed for SessionEvent {
    fn position(&self) -> (Number, &str) {
        (Number::Integer(self.event_index), &self.id)
    }

    fn bytes(&self) -> usize {
        self.payload.get().len()
    }
}

/// No `LIMIT`: SQLite would prepare the statement again for every number bound to it. The rows come one by one in the
/// order of an index, so a page simply stops asking.
#[diesel::dsl::auto_type(no_type_alias)]
fn of_session<'a>(session_id: &'a str) -> _ {
    let event: diesel::dsl::AsSelect<SessionEvent, Sqlite> = SessionEvent::as_select();
    events::table.filter(events::session_id.eq(session_id)).select(event)
}

pub(crate) fn list(conn: &mut SqliteConnection, request: &ListEventsRequest) -> Result<ListPage<SessionEvent>> {
    let page = request.page()?;
    let EventFilter { session_id, after, before, descending } = &request.filter;
    let rows = of_session(session_id);
    if let (None, None, false) = (after, before, descending) {
        // The queries that nearly everybody asks, with their SQL known beforehand.
        let rows = rows.order((events::event_index.asc(), events::id.asc()));
        return match page.after {
            None => page.collect(rows.load_iter(conn)?),
            Some(position) => page.collect(rows.filter(row_compared(After, ORDER, position)).load_iter(conn)?),
        };
    }
    let mut rows = rows.into_boxed::<Sqlite>();
    rows = match page.after {
        None => rows,
        Some(position) if *descending => rows.filter(row_compared(Before, ORDER, position)),
        Some(position) => rows.filter(row_compared(After, ORDER, position)),
    };
    // A cursor lies inside the range, so it replaces the end that the listing starts from.
    if let (Some(index), true) = (after, *descending || page.after.is_none()) {
        rows = rows.filter(events::event_index.gt(index));
    }
    if let (Some(index), true) = (before, !*descending || page.after.is_none()) {
        rows = rows.filter(events::event_index.lt(index));
    }
    rows = if *descending {
        rows.order((events::event_index.desc(), events::id.desc()))
    } else {
        rows.order((events::event_index.asc(), events::id.asc()))
    };
    page.collect(rows.load_iter(conn)?)
}

/// The columns that order a session's events.
const ORDER: (events::event_index, events::id) = (events::event_index, events::id);

macro_rules! upsert_statement {
    ($event:expr) => {
        diesel::insert_into(events::table).values($event).on_conflict(events::id).do_update().set((
            events::event_index.eq(excluded(events::event_index)),
            events::session_id.eq(excluded(events::session_id)),
            events::created_at.eq(excluded(events::created_at)),
            events::connection_id.eq(excluded(events::connection_id)),
            events::sender.eq(excluded(events::sender)),
            events::payload_json.eq(excluded(events::payload_json)),
        ))
    };
}

/// Diesel prepares a `DO UPDATE` anew at every call. Nearly every event is new, so an insert that it keeps goes first.
pub(crate) fn upsert(conn: &mut SqliteConnection, event: &SessionEvent) -> Result<()> {
    if InsertNew(NewEvent::from(event)).execute(conn)? == 0 {
        upsert_statement!(event).execute(conn)?;
    }
    Ok(())
}

/// Like [`upsert`], but leaves an event of another session alone.
pub(crate) fn restore(conn: &mut SqliteConnection, event: &SessionEvent) -> Result<()> {
    if InsertNew(NewEvent::from(event)).execute(conn)? > 0 {
        return Ok(());
    }
    let session_id: String = events::table.find(&event.id).select(events::session_id).get_result(conn)?;
    if session_id != event.session_id {
        return Err(Error::EventIdTaken { id: event.id.clone(), session_id });
    }
    upsert_statement!(event).execute(conn)?;
    Ok(())
}

pub(crate) fn count(conn: &mut SqliteConnection, session_id: &str) -> Result<u64> {
    let events: i64 = events::table.filter(events::session_id.eq(session_id)).count().get_result(conn)?;
    Ok(events as u64)
}

/// The first session, in byte order, that has events and comes after another one, found by one seek.
pub(crate) fn first_session_after(conn: &mut SqliteConnection, id: Option<&str>) -> Result<Option<String>> {
    type Found = (Column<StoredText>, Column<StoredText>);
    let rows = events::table.select((events::id, events::session_id)).order((events::session_id, events::event_index));
    let found = match id {
        None => rows.get_result::<Found>(conn).optional()?,
        Some(id) => rows.filter(events::session_id.gt(id)).get_result::<Found>(conn).optional()?,
    };
    // A value that is no text is an error: going on from what it looks like would find it again.
    let decoded = found.map(|(id, session_id)| Row::new("events", &id, &session_id)?.value("session_id", session_id));
    let session_id = decoded.transpose().map_err(diesel::result::Error::DeserializationError)?;
    Ok(session_id.map(|text| text.0))
}

/// The newest events that fit, oldest first.
pub(crate) fn latest(
    conn: &mut SqliteConnection,
    session_id: &str,
    count: u32,
    max_bytes: Option<usize>,
) -> Result<Vec<SessionEvent>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut request = ListEventsRequest::new(session_id).descending().limit(count);
    if let Some(bytes) = max_bytes {
        request = request.max_bytes(bytes);
    }
    let mut events = list(conn, &request)?.items;
    events.reverse();
    Ok(events)
}
