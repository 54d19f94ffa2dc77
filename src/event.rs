//! Events: the record, and everything that touches its table.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow, FromStaticSqlRow, Queryable};
use diesel::expression::{AppearsOnTable, AsExpression, Expression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::UnexpectedNullError;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{Bool, Text};
use diesel::sqlite::Sqlite;
use serde::{Deserialize, Serialize};

use crate::column::{Column, Millis, Number, Row, StoredText, Whole};
use crate::error::{Cause, Error, Result};
use crate::exact::{self, Columns, Found, Order, Record, Rowid, Rows};
use crate::insert::{InsertNew, Overwrite};
use crate::json::Json;
use crate::keyset::{After, Before, InUtf8, row_compared};
use crate::page::{ListPage, Listed, PageRequest};
use crate::place::Stored;
use crate::request::{EventFilter, ListEventsRequest};
use crate::schema::events;
use crate::tables;

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
        // The word itself may be anything, and an error never quotes what is stored.
        Ok(StoredText::from_sql(value)?.0.parse().map_err(|UnknownSender(_)| "neither \"client\" nor \"agent\"")?)
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
/// `Debug` prints all of it, the payload included: it belongs in no log.
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
        if is_no_row(&columns) {
            return Err(Box::new(UnexpectedNullError));
        }
        Self::from_columns(columns, None)
    }
}

/// Whether an outer join found nothing: Diesel knows that by the error that a NULL is where none may be.
fn is_no_row((id, event_index, session_id, created_at, connection_id, sender, payload): &EventRow) -> bool {
    id.is_unexpected_null()
        && event_index.is_unexpected_null()
        && session_id.is_unexpected_null()
        && created_at.is_unexpected_null()
        && connection_id.is_unexpected_null()
        && sender.is_unexpected_null()
        && payload.is_unexpected_null()
}

impl Record for SessionEvent {
    type Columns = EventRow;

    fn id(columns: &EventRow) -> &Column<StoredText> {
        &columns.0
    }

    fn from_columns(columns: EventRow, rowid: Option<i64>) -> Result<Self, Cause> {
        let (id, event_index, session_id, created_at, connection_id, sender, payload) = columns;
        let row = Row::new("events", &id, rowid);
        Ok(Self {
            event_index: row.value("event_index", event_index)?.0,
            session_id: row.value("session_id", session_id)?.0,
            created_at: row.value("created_at", created_at)?.0,
            connection_id: row.value("connection_id", connection_id)?.0,
            sender: row.value("sender", sender)?,
            payload: row.value("payload_json", payload)?,
            // Last: until here it names the row.
            id: id.id("events", rowid)?,
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
    let of_session = tables::events::session_id.eq(session_id);
    tables::events::table.filter(of_session).filter(InUtf8)
}

pub(crate) fn list(conn: &mut SqliteConnection, request: &ListEventsRequest) -> Result<ListPage<SessionEvent>> {
    exact::list(conn, &request.filter, &request.page()?)
}

/// The columns that order a session's events.
const ORDER: (tables::events::event_index, tables::events::id) = (tables::events::event_index, tables::events::id);

pub(crate) const ROWID: Rowid = Rowid("`main`.`events`.`rowid`");

/// The two queries that nearly everybody asks, from the beginning or from a position, each as one piece of SQL: for a
/// short page, Diesel's builder takes as long as SQLite.
struct Upward<'a, const FROM_POSITION: bool> {
    session_id: &'a str,
    position: Option<(Number, &'a str)>,
}

impl<const FROM_POSITION: bool> QueryFragment<Sqlite> for Upward<'_, FROM_POSITION> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(
            "SELECT `main`.`events`.`id`, `main`.`events`.`event_index`, `main`.`events`.`session_id`, \
             `main`.`events`.`created_at`, `main`.`events`.`connection_id`, `main`.`events`.`sender`, \
             `main`.`events`.`payload_json` FROM `main`.`events` WHERE `main`.`events`.`session_id` = ",
        );
        out.push_bind_param::<Text, _>(self.session_id)?;
        out.push_sql(" AND ");
        InUtf8.walk_ast(out.reborrow())?;
        if let Some((key, id)) = &self.position {
            out.push_sql(" AND (`main`.`events`.`event_index`, `main`.`events`.`id`) > (");
            key.walk_ast(out.reborrow())?;
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(*id)?;
            out.push_sql(")");
        }
        out.push_sql(" ORDER BY `main`.`events`.`event_index` ASC, `main`.`events`.`id` ASC");
        Ok(())
    }
}

impl<const FROM_POSITION: bool> QueryId for Upward<'_, FROM_POSITION> {
    type QueryId = Upward<'static, FROM_POSITION>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const FROM_POSITION: bool> Query for Upward<'_, FROM_POSITION> {
    type SqlType = SqlType;
}

impl<const FROM_POSITION: bool> RunQueryDsl<SqliteConnection> for Upward<'_, FROM_POSITION> {}

impl Rows for EventFilter {
    type Row = SessionEvent;

    fn list_plainly(
        &self,
        conn: &mut SqliteConnection,
        page: &PageRequest<'_>,
        position: Option<(Number, &str)>,
    ) -> Result<Option<ListPage<SessionEvent>>> {
        use tables::events::{event_index, id};
        let Self { session_id, after, before, descending } = self;
        if let (None, None, false) = (after, before, descending) {
            return match position {
                None => page.collect(Upward::<false> { session_id, position }.load_iter(conn)?),
                Some(_) => page.collect(Upward::<true> { session_id, position }.load_iter(conn)?),
            };
        }
        let mut rows = of_session(session_id).into_boxed::<Sqlite>();
        rows = match position {
            None => rows,
            Some(position) if *descending => rows.filter(row_compared(Before, ORDER, position)),
            Some(position) => rows.filter(row_compared(After, ORDER, position)),
        };
        // A cursor lies inside the range, so it replaces the end that the listing starts from.
        if let (Some(index), true) = (after, *descending || position.is_none()) {
            rows = rows.filter(event_index.gt(index));
        }
        if let (Some(index), true) = (before, !*descending || position.is_none()) {
            rows = rows.filter(event_index.lt(index));
        }
        rows = if *descending {
            rows.order((event_index.desc(), id.desc()))
        } else {
            rows.order((event_index.asc(), id.asc()))
        };
        page.collect(rows.load_iter(conn)?)
    }

    fn list_exactly(
        &self,
        conn: &mut SqliteConnection,
        page: &PageRequest<'_>,
        order: Order,
    ) -> Result<ListPage<SessionEvent>> {
        use tables::events::{all_columns, event_index, id, session_id, table};
        let mut rows = table.select((event_index, id, ROWID, all_columns)).into_boxed::<Sqlite>();
        rows = rows.filter(session_id.eq(&self.session_id));
        if let Some(index) = self.after {
            rows = rows.filter(event_index.gt(index));
        }
        if let Some(index) = self.before {
            rows = rows.filter(event_index.lt(index));
        }
        if let Some(place) = page.after {
            rows = rows.filter(order.beyond(place));
        }
        let rows = rows.order(order).load_iter::<(Stored, Stored, i64, EventRow), _>(conn)?;
        page.collect_exactly(rows.map(|row| Ok(Found::new(row?, |event: SessionEvent| event))))
    }

    fn columns(&self) -> Columns {
        Columns { key: "`main`.`events`.`event_index`", id: "`main`.`events`.`id`", rowid: ROWID.0 }
    }

    // The first of an index: NULL is smaller than everything.
    fn lack_a_key(&self, conn: &mut SqliteConnection) -> QueryResult<bool> {
        use tables::events::{event_index, session_id, table};
        let first = table.filter(session_id.eq(&self.session_id)).order(event_index.asc());
        Ok(first.select(event_index).get_result::<Stored>(conn).optional()?.is_some_and(|found| found.is_null()))
    }

    fn lack_an_id(&self, conn: &mut SqliteConnection, key: Number) -> QueryResult<bool> {
        use tables::events::{event_index, id, session_id, table};
        let first = table.filter(session_id.eq(&self.session_id)).filter(event_index.eq(key)).order(id.asc());
        Ok(first.select(id).get_result::<Stored>(conn).optional()?.is_some_and(|found| found.is_null()))
    }
}

/// Diesel prepares a `DO UPDATE` anew at every call. Nearly every event is new, so an insert that it keeps goes first.
pub(crate) fn upsert(conn: &mut SqliteConnection, event: &SessionEvent) -> Result<()> {
    if InsertNew(NewEvent::from(event)).execute(conn)? == 0 {
        Overwrite(NewEvent::from(event)).execute(conn)?;
    }
    Ok(())
}

/// Like [`upsert`], but leaves an event of another session alone.
pub(crate) fn restore(conn: &mut SqliteConnection, event: &SessionEvent) -> Result<()> {
    use tables::events::{id, session_id, table};
    if InsertNew(NewEvent::from(event)).execute(conn)? > 0 {
        return Ok(());
    }
    let stored: Column<StoredText> = table.filter(id.eq(&event.id)).select(session_id).get_result(conn)?;
    let stored = Row::new("events", &Column::from(event.id.clone()), None).value("session_id", stored)?;
    if stored.0 != event.session_id {
        return Err(Error::EventIdTaken { id: event.id.clone(), session_id: stored.0 });
    }
    Overwrite(NewEvent::from(event)).execute(conn)?;
    Ok(())
}

pub(crate) fn count(conn: &mut SqliteConnection, id: &str) -> Result<u64> {
    use tables::events::{session_id, table};
    let events: i64 = table.filter(session_id.eq(id)).count().get_result(conn)?;
    Ok(events as u64)
}

/// The session ids that events have, one after the other, each found by one seek. What is no text is among them.
pub(crate) struct SessionIds {
    last: Option<Stored>,
}

impl SessionIds {
    pub(crate) fn new() -> Self {
        Self { last: None }
    }

    /// The next one. One that is no text is an error, which names an event that has it.
    pub(crate) fn next(&mut self, conn: &mut SqliteConnection) -> Result<Option<String>> {
        use tables::events::{event_index, id, session_id, table};
        type First = (Column<StoredText>, Column<StoredText>, Stored, i64);
        let rows = table.select((id, session_id, session_id, ROWID)).order((session_id, event_index));
        let first = match &self.last {
            None => rows.get_result::<First>(conn).optional()?,
            Some(last) => rows.filter(OfSession { operator: ">", id: last }).get_result::<First>(conn).optional()?,
        };
        let Some((row_id, found, stored, rowid)) = first else { return Ok(None) };
        self.last = Some(stored);
        Ok(Some(session_id_of(&row_id, found, rowid)?.0))
    }

    /// Tells of every other event that has the id found last, which is no text.
    pub(crate) fn tell_others(&self, conn: &mut SqliteConnection, tell: &mut dyn FnMut(Error)) -> Result<()> {
        use tables::events::{event_index, id, session_id, table};
        type Found = (Column<StoredText>, Column<StoredText>, i64);
        let Some(last) = &self.last else { return Ok(()) };
        let rows = table.select((id, session_id, ROWID)).order((session_id, event_index));
        let rows = rows.filter(OfSession { operator: "=", id: last });
        for row in rows.load_iter::<Found, _>(conn)?.skip(1) {
            let (row_id, found, rowid) = row?;
            if let Err(cause) = session_id_of(&row_id, found, rowid) {
                tell(cause);
            }
        }
        Ok(())
    }
}

fn session_id_of(row_id: &Column<StoredText>, found: Column<StoredText>, rowid: i64) -> Result<StoredText> {
    Ok(Row::new("events", row_id, Some(rowid)).value("session_id", found)?)
}

/// The condition that an event's session id is a value, or comes after it in SQLite's order of all values.
struct OfSession<'a> {
    operator: &'static str,
    id: &'a Stored,
}

impl QueryFragment<Sqlite> for OfSession<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        match self.id {
            Stored::Null => {
                out.push_sql("typeof(`main`.`events`.`session_id`) ");
                out.push_sql(if self.operator == "=" { "= 'null'" } else { "<> 'null'" });
                return Ok(());
            }
            // To the column itself it would be compared as text.
            Stored::Integer(_) | Stored::Real(_) => out.push_sql("+"),
            Stored::Text(_) | Stored::Blob(_) => {}
        }
        out.push_sql("`main`.`events`.`session_id` ");
        out.push_sql(self.operator);
        out.push_sql(" ");
        self.id.walk_ast(out)
    }
}

impl Expression for OfSession<'_> {
    type SqlType = Bool;
}

impl QueryId for OfSession<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl ValidGrouping<()> for OfSession<'_> {
    type IsAggregate = is_aggregate::No;
}

impl<QS> AppearsOnTable<QS> for OfSession<'_> {}

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
