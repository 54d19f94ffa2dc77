//! What closing does about the log.

use diesel::SqliteConnection;

use super::location::Location;
use super::opening;
use super::read_only::Traces;
use crate::error::Result;
use crate::{checkpoint, disk};

pub(super) enum LastAct {
    /// There is none.
    Nothing,
    Checkpoint,
    /// Another program takes care of it.
    KeepLog,
    /// The store has only read, and leaves nothing behind.
    Remove(Traces),
}

impl LastAct {
    /// Closes the last connection.
    pub(super) fn perform(&self, location: &Location, mut conn: SqliteConnection) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Checkpoint => checkpoint::unasked(&mut conn).map_err(|error| disk::explain(&mut conn, error)),
            Self::KeepLog => {
                let keeper = opening::keeper(location);
                drop(conn);
                keeper.map(drop)
            }
            Self::Remove(traces) => {
                drop(conn);
                traces.remove();
                Ok(())
            }
        }
    }
}
