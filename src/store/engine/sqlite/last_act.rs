//! What closing does with the log.

use diesel::SqliteConnection;

use super::location::Location;
use super::opening;
use super::read_only::Traces;
use crate::database::sqlite::{checkpoint, disk};
use crate::error::Result;

pub(super) enum LastAct {
    /// There is none.
    Nothing,
    Checkpoint,
    /// Another program checkpoints it.
    KeepLog,
    /// The store is read-only and leaves nothing behind.
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
