//! Storing the events of several calls at once, as a store does.

use super::pg_link::PgLink;
use super::storing::put_events;
use super::{transaction, words};
use crate::database::Lock;
use crate::database::rows::EventRow;
use crate::error::Result;
use crate::model::event::SessionEvent;

/// What became of events that were to be stored together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    All,
    /// One of them belongs to another session, or is there twice.
    Nothing,
}

/// Upserts events, unless that has to be done one by one.
pub(crate) async fn put_all<C: PgLink>(conn: &mut C, events: &[&SessionEvent]) -> Result<Stored> {
    let inserted = transaction::run(conn, Lock::Write, async |conn| {
        let rows: Vec<EventRow<&str>> = events.iter().map(|event| EventRow::from(*event)).collect();
        if put_events(conn, &rows).await? { Ok(()) } else { Err(diesel::result::Error::RollbackTransaction.into()) }
    })
    .await;
    match inserted {
        Ok(()) => Ok(Stored::All),
        Err(error) if words::is_about_the_server(&error) => Err(error),
        // Whatever is wrong with one of them, its own call finds out.
        Err(_) => Ok(Stored::Nothing),
    }
}
