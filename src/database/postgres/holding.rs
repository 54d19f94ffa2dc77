//! Keeping what a transaction has read of a session as it is until the transaction ends.
//!
//! Where readers lock nothing, two transactions that read a record, change it and store it would lose what one of them
//! changed. So they take the locks of those who write.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use super::heads;
use crate::database::link::Link;
use crate::database::ready;
use crate::database::statement::postgres_statement;
use crate::error::Result;

postgres_statement! {
    /// Also if it was never appended to: an append from now on waits for this row.
    HoldEvents { session_id: &'a str },
    "INSERT INTO event_heads AS h (session_id, last_index) SELECT known.session_id, 0 FROM (SELECT "
    { session_id as Text } "::text AS session_id) AS known \
     WHERE EXISTS (SELECT 1 FROM events AS e WHERE e.session_id = known.session_id) \
     OR EXISTS (SELECT 1 FROM event_heads AS old WHERE old.session_id = known.session_id) \
     ON CONFLICT (session_id) DO UPDATE SET last_index = h.last_index"
}

postgres_statement! {
    HoldRecord { id: &'a str },
    "SELECT 1 FROM sessions WHERE id = " { id as Text } " FOR NO KEY UPDATE"
}

/// What this transaction may lock: records, and sessions for appends. The server refuses a lock where it refuses a
/// write, and what cannot be written need not be locked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holdable {
    records: bool,
    appends: bool,
}

impl Holdable {
    pub(crate) fn by(conn: &mut PgConnection) -> Result<Self> {
        let may_write = "SELECT may.begin AND has_table_privilege('sessions', 'UPDATE'), \
                         may.begin AND has_table_privilege('event_heads', 'INSERT') AND has_table_privilege('event_heads', 'UPDATE') \
                         FROM (SELECT current_setting('transaction_read_only') = 'off') AS may (begin)";
        let (records, appends) = diesel::dsl::sql::<(Bool, Bool)>(may_write).get_result(conn)?;
        Ok(Self { records, appends })
    }

    /// A session's record, if it has one, and its events: whoever needs both locks the events first.
    pub(crate) fn hold_record(self, conn: &mut PgConnection, id: &str) -> Result<()> {
        self.hold_events(conn, id)?;
        if self.records {
            ready(conn.run(HoldRecord { id }))?;
        }
        Ok(())
    }

    /// A session's events, if it has any.
    pub(crate) fn hold_events(self, conn: &mut PgConnection, session_id: &str) -> Result<()> {
        if self.appends {
            ready(conn.run(HoldEvents { session_id }))?;
        }
        Ok(())
    }

    /// A session whose record is about to be written, and which may not exist yet.
    pub(crate) fn hold_for_writing(self, conn: &mut PgConnection, session_id: &str) -> Result<()> {
        if self.appends { ready(heads::lock(conn, session_id)) } else { Ok(()) }
    }
}
