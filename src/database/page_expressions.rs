//! A request's rows and their order as Diesel expressions, for a query of the host's own.

use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Bool, HasSqlType, Text};

use super::listed_table::ListedTable;
use super::statement::Dialect;
use crate::error::{Error, Result};
use crate::model::cursor::Position;
use crate::model::listing::{Listing, Range};
use crate::model::request::{EventFilter, ListEventsRequest, ListSessionsRequest, SessionFilter};
use crate::schema::{events, sessions};

/// The rows of a request, from its cursor on.
#[derive(Clone, Debug)]
struct RequestedRows<F> {
    filter: F,
    range: Range,
    after: Option<(i64, String)>,
}

impl<F: ListedTable + Clone> RequestedRows<F> {
    fn of(listing: &Listing<'_, F>) -> Result<Self> {
        let after = match listing.after {
            None => None,
            Some(Position::Row { key, id }) => Some((*key, id.clone())),
            Some(Position::Odd(_)) => {
                return Err(Error::InvalidCursor {
                    reason: "it follows a row that only the store's own listing can pass",
                });
            }
        };
        Ok(Self { filter: listing.filter.clone(), range: listing.range(), after })
    }

    fn push<'b, DB>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()>
    where
        DB: Dialect + HasSqlType<BigInt> + HasSqlType<Text>,
        i64: ToSql<BigInt, DB>,
        str: ToSql<Text, DB>,
    {
        out.push_sql("(1 = 1");
        self.filter.push_conditions(out.reborrow())?;
        F::push_range(&self.range, out.reborrow())?;
        if let Some((key, id)) = &self.after {
            out.push_sql(" AND (");
            out.push_sql(F::KEY);
            out.push_sql(", ");
            out.push_sql(F::ID);
            out.push_sql(DB::BY_BYTES);
            out.push_sql(if self.filter.is_descending() { ") < (" } else { ") > (" });
            if F::KEY == SessionFilter::KEY {
                DB::push_created_at(out.reborrow(), key, id)?;
            } else {
                out.push_bind_param::<BigInt, _>(key)?;
            }
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(&**id)?;
            out.push_sql(")");
        }
        out.push_sql(")");
        Ok(())
    }
}

/// An expression over the columns of one table.
macro_rules! over_the_table {
    ($name:ident: $sql_type:ty, $table:ident, $key:ident) => {
        impl Expression for $name {
            type SqlType = $sql_type;
        }

        impl<From> AppearsOnTable<From> for $name
        where
            $table::id: AppearsOnTable<From>,
            $table::$key: AppearsOnTable<From>,
        {
        }

        impl<From> SelectableExpression<From> for $name
        where
            $table::id: SelectableExpression<From>,
            $table::$key: SelectableExpression<From>,
        {
        }

        impl<GroupBy> ValidGrouping<GroupBy> for $name {
            type IsAggregate = is_aggregate::No;
        }

        impl QueryId for $name {
            type QueryId = ();
            const HAS_STATIC_QUERY_ID: bool = false;
        }
    };
}

macro_rules! page_expressions {
    ($request:ident, $filter:ident, $predicate:ident, $order:ident, $table:ident, $key:ident) => {
        over_the_table!($predicate: Bool, $table, $key);
        over_the_table!($order: diesel::sql_types::Untyped, $table, $key);

        impl<DB> QueryFragment<DB> for $predicate
        where
            DB: Dialect + HasSqlType<BigInt> + HasSqlType<Text>,
            i64: ToSql<BigInt, DB>,
            str: ToSql<Text, DB>,
        {
            fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
                self.0.push(out)
            }
        }

        impl<DB: Dialect> QueryFragment<DB> for $order {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
                let direction = if self.is_descending { " DESC" } else { "" };
                for part in [$filter::KEY, direction, ", ", $filter::ID, DB::BY_BYTES, direction] {
                    out.push_sql(part);
                }
                Ok(())
            }
        }

        impl $request {
            /// The order of the listing, for `order` in a query of your own; see [`predicate`](Self::predicate).
            ///
            /// ```
            #[doc = concat!("# use agent_session_store::", stringify!($request), ";")]
            #[doc = concat!("# fn example(request: &", stringify!($request), ") {")]
            /// let order = request.order();
            /// # }
            /// ```
            pub fn order(&self) -> $order {
                use crate::model::listing::Filter;
                $order { is_descending: self.filter.is_descending() }
            }
        }
    };
}

/// What a [`ListEventsRequest`] lists, as a condition for a query of your own on [`schema::events`](events); see
/// [`ListEventsRequest::predicate`].
#[derive(Clone, Debug)]
pub struct EventsPredicate(RequestedRows<EventFilter>);

/// The order of a [`ListEventsRequest`]; see [`ListEventsRequest::order`].
#[derive(Clone, Copy, Debug)]
pub struct EventsOrder {
    is_descending: bool,
}

/// What a [`ListSessionsRequest`] lists, as a condition for a query of your own on [`schema::sessions`](sessions); see
/// [`ListSessionsRequest::predicate`].
#[derive(Clone, Debug)]
pub struct SessionsPredicate(RequestedRows<SessionFilter>);

/// The order of a [`ListSessionsRequest`]; see [`ListSessionsRequest::order`].
#[derive(Clone, Copy, Debug)]
pub struct SessionsOrder {
    is_descending: bool,
}

page_expressions!(ListEventsRequest, EventFilter, EventsPredicate, EventsOrder, events, event_index);
page_expressions!(ListSessionsRequest, SessionFilter, SessionsPredicate, SessionsOrder, sessions, created_at);

impl ListEventsRequest {
    /// The rows of the listing, from its cursor on, as a condition for a query of your own. Together with
    /// [`order`](Self::order), and a limit, it makes a page of that query; [`cursor_after`](Self::cursor_after) makes the
    /// cursor for the next one. Each page is a walk along the index on `(session_id, event_index, id)`, and sorts nothing.
    ///
    /// The request's own limits (rows and bytes) are not part of it. The tables must have their own names in the query, no
    /// aliases.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCursor`] for a cursor from another listing, or one that follows a row which cannot be decoded.
    ///
    /// ```
    /// use agent_session_store::diesel::prelude::*;
    /// use agent_session_store::schema::events;
    /// use agent_session_store::{Error, ListEventsRequest, SessionEvent};
    ///
    /// diesel::table! {
    ///     bookmarks (event_id) {
    ///         event_id -> Text,
    ///         colour -> Text,
    ///     }
    /// }
    /// diesel::joinable!(bookmarks -> events (event_id));
    /// agent_session_store::allow_joins!(bookmarks);
    ///
    /// /// A page of the red events, and where to continue.
    /// fn red(conn: &mut SqliteConnection, request: &ListEventsRequest) -> Result<Vec<SessionEvent>, Error> {
    ///     Ok(events::table
    ///         .inner_join(bookmarks::table)
    ///         .filter(bookmarks::colour.eq("red"))
    ///         .filter(request.predicate()?)
    ///         .order(request.order())
    ///         .limit(50)
    ///         .select(SessionEvent::as_select())
    ///         .load(conn)?)
    /// }
    /// # use agent_session_store::{migrate, Json, Sender, SessionPersistDriver};
    /// # use agent_session_store::diesel::connection::SimpleConnection;
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # conn.batch_execute("CREATE TABLE bookmarks (event_id TEXT PRIMARY KEY, colour TEXT NOT NULL)")?;
    /// # conn.batch_execute("INSERT INTO bookmarks VALUES ('a', 'red'), ('b', 'blue'), ('c', 'red')")?;
    /// # for id in ["a", "b", "c"] {
    /// #     let event = SessionEvent::new(id, 1, "session-1", Default::default(), "c", Sender::Agent, Json::parse("{}")?);
    /// #     conn.insert_event(&event)?;
    /// # }
    ///
    /// let request = ListEventsRequest::new("session-1");
    /// let page = red(&mut conn, &request)?;
    /// assert_eq!(page.len(), 2);
    /// let next = request.clone().cursor(request.cursor_after(&page[1]));
    /// assert!(red(&mut conn, &next)?.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn predicate(&self) -> Result<EventsPredicate> {
        Ok(EventsPredicate(RequestedRows::of(&self.listing()?)?))
    }
}

impl ListSessionsRequest {
    /// The rows of the listing, from its cursor on, as a condition for a query of your own. Together with
    /// [`order`](Self::order), and a limit, it makes a page of that query; [`cursor_after`](Self::cursor_after) makes the
    /// cursor for the next one.
    ///
    /// To narrow it by a table of yours, prefer a subquery with `exists`: the page is then a walk along the index of the
    /// listing, and sorts nothing. With a join, SQLite may start from your table and sort all that matches, which is
    /// better where that is little.
    ///
    /// The request's own limit is not part of it. The tables must have their own names in the query, no aliases.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCursor`] for a cursor from another listing, or one that follows a row which cannot be decoded.
    ///
    /// ```
    /// use agent_session_store::diesel::{dsl::exists, prelude::*};
    /// use agent_session_store::schema::sessions;
    /// use agent_session_store::{Error, ListSessionsRequest, SessionRecord};
    ///
    /// diesel::table! {
    ///     members (project_id, session_id) {
    ///         project_id -> BigInt,
    ///         session_id -> Text,
    ///     }
    /// }
    /// agent_session_store::allow_joins!(members);
    ///
    /// fn of_project(conn: &mut SqliteConnection, id: i64, request: &ListSessionsRequest) -> Result<Vec<SessionRecord>, Error> {
    ///     let member = members::table.filter(members::project_id.eq(id)).filter(members::session_id.eq(sessions::id));
    ///     Ok(sessions::table
    ///         .filter(exists(member))
    ///         .filter(request.predicate()?)
    ///         .order(request.order())
    ///         .limit(50)
    ///         .select(SessionRecord::as_select())
    ///         .load(conn)?)
    /// }
    /// # use agent_session_store::{migrate, SessionPersistDriver};
    /// # use agent_session_store::diesel::connection::SimpleConnection;
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # conn.batch_execute("CREATE TABLE members (project_id INTEGER, session_id TEXT, PRIMARY KEY (project_id, session_id))")?;
    /// # conn.batch_execute("INSERT INTO members VALUES (7, 'a'), (8, 'b')")?;
    /// # for id in ["a", "b"] {
    /// #     conn.update_session(&SessionRecord::new(id, "claude", "a", "c", Default::default()))?;
    /// # }
    ///
    /// let request = ListSessionsRequest::new().agent("claude");
    /// let page = of_project(&mut conn, 7, &request)?;
    /// assert_eq!(page.len(), 1);
    /// let next = request.clone().cursor(request.cursor_after(&page[0]));
    /// assert!(of_project(&mut conn, 7, &next)?.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn predicate(&self) -> Result<SessionsPredicate> {
        Ok(SessionsPredicate(RequestedRows::of(&self.listing()?)?))
    }
}
