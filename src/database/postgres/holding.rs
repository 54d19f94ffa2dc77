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
                         may.begin AND has_table_privilege('event_heads', 'UPDATE') \
                         FROM (SELECT current_setting('transaction_read_only') = 'off') AS may (begin)";
        let (records, appends) = diesel::dsl::sql::<(Bool, Bool)>(may_write).get_result(conn)?;
        Ok(Self { records, appends })
    }

    /// A session's record, if it has one.
    pub(crate) fn hold_record(self, conn: &mut PgConnection, id: &str) -> Result<()> {
        if self.records {
            ready(conn.run(HoldRecord { id }))?;
        }
        Ok(())
    }

    /// A session's last index, if it has been appended to.
    pub(crate) fn hold_events(self, conn: &mut PgConnection, session_id: &str) -> Result<()> {
        if self.appends { ready(heads::hold(conn, session_id)) } else { Ok(()) }
    }
}
