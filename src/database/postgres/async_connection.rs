//! The verbs on the caller's own connection of diesel-async.

use std::io::{BufRead, Write};

use diesel::result::Error as DieselError;
use diesel_async::AsyncPgConnection;

use super::async_pg_link::{PgCall, is_cut_short};
use super::transaction::{explained, is_open};
use crate::async_driver::{AsyncSessionPersistDriver, async_driver};
use crate::driver::is_read;
use crate::error::{Error, Result};
use crate::model::transfer::Import;
use crate::verb;
use crate::verbs::*;

verbs!(async_driver! (AsyncPgConnection, checked;));

/// Runs a verb, which reads or writes.
pub(super) async fn checked<T>(
    conn: &mut AsyncPgConnection,
    is_read: bool,
    work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T>,
) -> Result<T> {
    let was_open = is_open(conn)?;
    if is_cut_short(conn) {
        return Err(Error::Disconnected { may_be_stored: false, source: DieselError::BrokenTransactionManager });
    }
    let mut call = PgCall::new(conn, was_open);
    let result = work(call.conn).await;
    call.end();
    result.map_err(|error| explained(call.conn, is_read, was_open, error))
}
