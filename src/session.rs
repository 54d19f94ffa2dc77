//! Sessions: the record, and everything that touches its table.

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromStaticSqlRow, Queryable};
use diesel::prelude::*;
use diesel::result::UnexpectedNullError;
use diesel::sqlite::Sqlite;
use serde::{Deserialize, Deserializer, Serialize};

use crate::column::{Column, Millis, Number, Row, StoredText};
use crate::error::{Cause, Result};
use crate::exact::{self, Columns, Found, Order, Record, Rowid, Rows};
use crate::insert::PutSession;
use crate::json::Json;
use crate::keyset::{After, Before, InUtf8, row_compared};
use crate::page::{ListPage, Listed, PageRequest};
use crate::place::Stored;
use crate::request::{ListSessionsRequest, SessionFilter};
use crate::schema::sessions;
use crate::tables;

/// One conversation with a coding agent.
///
/// Times have millisecond precision in the database; finer parts are dropped on the way in. As JSON (serde) a record
/// has the reference driver's field names (`agentSessionId`, `createdAt` as a number of Unix milliseconds, …), and
/// absent fields are left out. `Debug` prints all of it, which belongs in no log.
///
/// Besides the verbs, it works in Diesel queries of your own: `SessionRecord::as_select()` reads it, also beside
/// columns of your own tables, and `insert_into(sessions::table).values(&record)` writes it.
///
/// ```
/// use agent_session_store::{Json, SessionRecord};
/// use chrono::DateTime;
///
/// let session = SessionRecord {
///     id: "session-1".to_owned(),
///     agent: "claude".to_owned(),
///     agent_session_id: "3f0c".to_owned(),
///     last_connection_id: "connection-1".to_owned(),
///     created_at: DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
///     destroyed_at: None,
///     sandbox_id: None,
///     session_init: Some(Json::parse(r#"{"cwd":"/srv/app"}"#)?),
///     config_options: None,
///     modes: None,
/// };
/// let json = serde_json::to_string(&session).unwrap();
/// assert!(json.ends_with(r#""createdAt":1700000000000,"sessionInit":{"cwd":"/srv/app"}}"#));
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Selectable)]
#[serde(rename_all = "camelCase")]
#[diesel(table_name = sessions)]
pub struct SessionRecord {
    /// The key, chosen by the host.
    pub id: String,
    /// Which agent, such as `claude` or `codex`.
    pub agent: String,
    /// The agent's own name for the session.
    pub agent_session_id: String,
    /// The connection that used the session last.
    pub last_connection_id: String,
    /// When the session began.
    #[serde(with = "crate::time::millis")]
    pub created_at: DateTime<Utc>,
    /// When the session ended, if it did.
    #[serde(default, with = "crate::time::optional_millis", skip_serializing_if = "Option::is_none")]
    pub destroyed_at: Option<DateTime<Utc>>,
    /// The sandbox the agent ran in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// What the session was started with. JSON `null` is stored as if absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[diesel(column_name = session_init_json)]
    pub session_init: Option<Json>,
    /// The options that the agent offers. JSON `null` is stored as if absent; an empty list is kept.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[diesel(column_name = config_options_json)]
    pub config_options: Option<Json>,
    /// The modes that the agent offers. `None` is unknown, JSON `null` is "has none": both are kept.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[diesel(column_name = modes_json)]
    pub modes: Option<Json>,
}

/// A field that is there is `Some`, even where it is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

type SqlType = sessions::SqlType;

type SessionRow = (
    Column<StoredText>,
    Column<StoredText>,
    Column<StoredText>,
    Column<StoredText>,
    Column<Millis>,
    Column<Option<Millis>>,
    Column<Option<StoredText>>,
    Column<Option<Json>>,
    Column<Option<Json>>,
    Column<Option<Json>>,
);

impl<DB> Queryable<SqlType, DB> for SessionRecord
where
    DB: Backend,
    SessionRow: FromStaticSqlRow<SqlType, DB>,
{
    type Row = SessionRow;

    fn build(columns: SessionRow) -> deserialize::Result<Self> {
        if is_no_row(&columns) {
            return Err(Box::new(UnexpectedNullError));
        }
        Self::from_columns(columns, None)
    }
}

/// Whether an outer join found nothing: Diesel knows that by the error that a NULL is where none may be.
fn is_no_row((id, agent, agent_session_id, last_connection_id, created_at, ..): &SessionRow) -> bool {
    id.is_unexpected_null()
        && agent.is_unexpected_null()
        && agent_session_id.is_unexpected_null()
        && last_connection_id.is_unexpected_null()
        && created_at.is_unexpected_null()
}

impl Record for SessionRecord {
    type Columns = SessionRow;

    fn id(columns: &SessionRow) -> &Column<StoredText> {
        &columns.0
    }

    fn from_columns(columns: SessionRow, rowid: Option<i64>) -> Result<Self, Cause> {
        let (
            id,
            agent,
            agent_session_id,
            last_connection_id,
            created_at,
            destroyed_at,
            sandbox_id,
            session_init,
            config_options,
            modes,
        ) = columns;
        let row = Row::new("sessions", &id, rowid);
        Ok(Self {
            agent: row.value("agent", agent)?.0,
            agent_session_id: row.value("agent_session_id", agent_session_id)?.0,
            last_connection_id: row.value("last_connection_id", last_connection_id)?.0,
            created_at: row.value("created_at", created_at)?.0,
            destroyed_at: row.value("destroyed_at", destroyed_at)?.map(|time| time.0),
            sandbox_id: row.value("sandbox_id", sandbox_id)?.map(|text| text.0),
            session_init: row.value("session_init_json", session_init)?,
            config_options: row.value("config_options_json", config_options)?,
            modes: row.value("modes_json", modes)?,
            // Last: until here it names the row.
            id: id.id("sessions", rowid)?,
        })
    }
}

/// A record on its way into the table. Absent fields are bound as NULL, so every record is the same SQL text.
#[derive(Debug, Insertable)]
#[diesel(table_name = sessions, treat_none_as_default_value = false)]
pub struct NewSession<'a> {
    pub(crate) id: &'a str,
    pub(crate) agent: &'a str,
    pub(crate) agent_session_id: &'a str,
    pub(crate) last_connection_id: &'a str,
    pub(crate) created_at: i64,
    pub(crate) destroyed_at: Option<i64>,
    pub(crate) sandbox_id: Option<&'a str>,
    pub(crate) session_init_json: Option<&'a str>,
    pub(crate) config_options_json: Option<&'a str>,
    pub(crate) modes_json: Option<&'a str>,
}

impl<'a> From<&'a SessionRecord> for NewSession<'a> {
    fn from(session: &'a SessionRecord) -> Self {
        let unless_null = |json: &'a Option<Json>| json.as_ref().filter(|json| !json.is_null()).map(Json::get);
        Self {
            id: &session.id,
            agent: &session.agent,
            agent_session_id: &session.agent_session_id,
            last_connection_id: &session.last_connection_id,
            created_at: session.created_at.timestamp_millis(),
            destroyed_at: session.destroyed_at.map(|time| time.timestamp_millis()),
            sandbox_id: session.sandbox_id.as_deref(),
            session_init_json: unless_null(&session.session_init),
            config_options_json: unless_null(&session.config_options),
            modes_json: session.modes.as_ref().map(Json::get),
        }
    }
}

impl<'a> Insertable<sessions::table> for &'a SessionRecord {
    type Values = <NewSession<'a> as Insertable<sessions::table>>::Values;

    fn values(self) -> Self::Values {
        NewSession::from(self).values()
    }
}

#[diesel::dsl::auto_type(no_type_alias)]
fn by_id<'a>(id: &'a str) -> _ {
    tables::sessions::table.find(id)
}

pub(crate) fn get(conn: &mut SqliteConnection, id: &str) -> Result<Option<SessionRecord>> {
    Ok(by_id(id).get_result(conn).optional()?)
}

/// A record with the exact value that orders it, which the record may have rounded.
type ListedSession = (SessionRecord, Number);

impl Listed for ListedSession {
    fn position(&self) -> (Number, &str) {
        (self.1, &self.0.id)
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// No `LIMIT`: SQLite would prepare the statement again for every number bound to it. The rows come one by one in the
/// order of an index, so a page simply stops asking.
#[diesel::dsl::auto_type(no_type_alias)]
fn all() -> _ {
    let record: <tables::sessions::table as Table>::AllColumns = tables::sessions::all_columns;
    tables::sessions::table.filter(InUtf8).select((record, tables::sessions::created_at))
}

/// The columns that order the sessions.
const ORDER: (tables::sessions::created_at, tables::sessions::id) =
    (tables::sessions::created_at, tables::sessions::id);

pub(crate) const ROWID: Rowid = Rowid("`main`.`sessions`.`rowid`");

pub(crate) fn list(conn: &mut SqliteConnection, request: &ListSessionsRequest) -> Result<ListPage<SessionRecord>> {
    Ok(exact::list(conn, &request.filter, &request.page()?)?.map(|(session, _)| session))
}

/// Leaves out the sessions that a filter does not want.
macro_rules! matching {
    ($rows:expr, $filter:expr) => {{
        use tables::sessions::{agent, destroyed_at, sandbox_id};
        let mut rows = $rows;
        if let Some(wanted) = &$filter.agent {
            rows = rows.filter(agent.eq(wanted));
        }
        if let Some(wanted) = &$filter.sandbox_id {
            rows = rows.filter(sandbox_id.eq(wanted));
        }
        match $filter.is_live {
            None => rows,
            Some(true) => rows.filter(destroyed_at.is_null()),
            Some(false) => rows.filter(destroyed_at.is_not_null()),
        }
    }};
}

impl Rows for SessionFilter {
    type Row = ListedSession;

    fn list_plainly(
        &self,
        conn: &mut SqliteConnection,
        page: &PageRequest<'_>,
        position: Option<(Number, &str)>,
    ) -> Result<Option<ListPage<ListedSession>>> {
        use tables::sessions::{created_at, id};
        if *self == Self::default() {
            // The queries that nearly everybody asks, with their SQL known beforehand.
            let rows = all().order((created_at.asc(), id.asc()));
            return match position {
                None => page.collect(rows.load_iter::<ListedSession, _>(conn)?),
                Some(position) => {
                    page.collect(rows.filter(row_compared(After, ORDER, position)).load_iter::<ListedSession, _>(conn)?)
                }
            };
        }
        let mut rows = matching!(all().into_boxed::<Sqlite>(), self);
        // A cursor lies inside the range, so it replaces the end that the listing starts from.
        if let (Some(time), true) = (self.created_from, self.descending || position.is_none()) {
            rows = rows.filter(created_at.ge(time));
        }
        if let (Some(time), true) = (self.created_before, !self.descending || position.is_none()) {
            rows = rows.filter(created_at.lt(time));
        }
        rows = match position {
            None => rows,
            Some(position) if self.descending => rows.filter(row_compared(Before, ORDER, position)),
            Some(position) => rows.filter(row_compared(After, ORDER, position)),
        };
        rows = if self.descending {
            rows.order((created_at.desc(), id.desc()))
        } else {
            rows.order((created_at.asc(), id.asc()))
        };
        page.collect(rows.load_iter(conn)?)
    }

    fn list_exactly(
        &self,
        conn: &mut SqliteConnection,
        page: &PageRequest<'_>,
        order: Order,
    ) -> Result<ListPage<ListedSession>> {
        use tables::sessions::{all_columns, created_at, id, table};
        let mut rows = matching!(table.select((created_at, id, ROWID, all_columns)).into_boxed::<Sqlite>(), self);
        if let Some(time) = self.created_from {
            rows = rows.filter(created_at.ge(time));
        }
        if let Some(time) = self.created_before {
            rows = rows.filter(created_at.lt(time));
        }
        if let Some(place) = page.after {
            rows = rows.filter(order.beyond(place));
        }
        let rows = rows.order(order).load_iter::<(Stored, Stored, i64, SessionRow), _>(conn)?;
        page.collect_exactly(rows.map(|row| {
            let row = row?;
            let key = row.0.number();
            // A row without a number there is no record.
            Ok(Found::new(row, |session| (session, key.unwrap_or(Number::Integer(0)))))
        }))
    }

    fn columns(&self) -> Columns {
        Columns { key: "`main`.`sessions`.`created_at`", id: "`main`.`sessions`.`id`", rowid: ROWID.0 }
    }

    // The first of an index: NULL is smaller than everything.
    fn lack_a_key(&self, conn: &mut SqliteConnection) -> QueryResult<bool> {
        use tables::sessions::{created_at, table};
        let first = table.order(created_at.asc()).select(created_at).get_result::<Stored>(conn).optional()?;
        Ok(first.is_some_and(|found| found.is_null()))
    }

    fn lack_an_id(&self, conn: &mut SqliteConnection, key: Number) -> QueryResult<bool> {
        use tables::sessions::{created_at, id, table};
        let first = table.filter(created_at.eq(key)).order(id.asc()).select(id);
        Ok(first.get_result::<Stored>(conn).optional()?.is_some_and(|found| found.is_null()))
    }
}

/// Names every column: a derived changeset would keep the old value where the new one is absent.
pub(crate) fn upsert(conn: &mut SqliteConnection, session: &SessionRecord) -> Result<()> {
    PutSession(NewSession::from(session)).execute(conn)?;
    Ok(())
}

/// Like [`upsert`], but a text `null` stays what it is in every column, as another program may have stored it.
pub(crate) fn restore(conn: &mut SqliteConnection, session: &SessionRecord) -> Result<()> {
    let row = NewSession {
        session_init_json: session.session_init.as_ref().map(Json::get),
        config_options_json: session.config_options.as_ref().map(Json::get),
        ..NewSession::from(session)
    };
    PutSession(row).execute(conn)?;
    Ok(())
}
