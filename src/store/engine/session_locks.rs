//! The locks that a transaction takes for its verbs, so that what it has used of a session stays as it is until it ends.

use super::store_connection::StoreConnection;
#[cfg(feature = "postgres")]
use crate::database::postgres::Holdable;
use crate::error::Result;

/// What a verb uses of one session.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "a file is locked as a whole"))]
pub(in crate::store) enum SessionUse<'a> {
    ReadRecord(&'a str),
    ReadEvents(&'a str),
    WriteRecord(&'a str),
}

/// The locks of one transaction.
#[derive(Debug, Default)]
pub(in crate::store) struct SessionLocks {
    /// Once it is known.
    #[cfg(feature = "postgres")]
    holdable: Option<Holdable>,
}

impl SessionLocks {
    /// Called before the verb.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "a file is locked as a whole"))]
    pub(in crate::store) fn take(&mut self, conn: &mut StoreConnection<'_>, what: SessionUse<'_>) -> Result<()> {
        match conn {
            // The whole file is the transaction's.
            StoreConnection::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            StoreConnection::Postgres(conn) => {
                let holdable = match self.holdable {
                    Some(known) => known,
                    None => *self.holdable.insert(Holdable::by(conn)?),
                };
                match what {
                    SessionUse::ReadRecord(id) => holdable.hold_record(conn, id),
                    SessionUse::ReadEvents(session_id) => holdable.hold_events(conn, session_id),
                    SessionUse::WriteRecord(id) => holdable.hold_for_writing(conn, id),
                }
            }
        }
    }
}
