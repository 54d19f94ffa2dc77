//! What a transaction reads of a session, which is to stay as it is until the transaction ends.

use super::store_connection::StoreConnection;
#[cfg(feature = "postgres")]
use crate::database::postgres::Holdable;
use crate::error::Result;

/// What a verb reads, or writes, of one session.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "a file is locked as a whole"))]
pub(in crate::store) enum SessionRead<'a> {
    Record(&'a str),
    Events(&'a str),
    /// It writes the record.
    Writes(&'a str),
}

/// Makes sure of that for one transaction.
#[derive(Debug, Default)]
pub(in crate::store) struct HeldReads {
    /// Once it is known.
    #[cfg(feature = "postgres")]
    holdable: Option<Holdable>,
}

impl HeldReads {
    /// Called before the read.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "a file is locked as a whole"))]
    pub(in crate::store) fn hold(&mut self, conn: &mut StoreConnection<'_>, read: SessionRead<'_>) -> Result<()> {
        match conn {
            // The whole file is the transaction's.
            StoreConnection::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            StoreConnection::Postgres(conn) => {
                let holdable = match self.holdable {
                    Some(known) => known,
                    None => *self.holdable.insert(Holdable::by(conn)?),
                };
                match read {
                    SessionRead::Record(id) => holdable.hold_record(conn, id),
                    SessionRead::Events(session_id) => holdable.hold_events(conn, session_id),
                    SessionRead::Writes(id) => holdable.hold_for_writing(conn, id),
                }
            }
        }
    }
}
