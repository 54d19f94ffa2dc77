//! The verbs on the caller's own connection.

use std::io::Write;

use diesel::PgConnection;

use super::transaction::{explained, is_open};
use crate::database::ready;
use crate::driver::{SessionPersistDriver, blocking_driver, is_read};
use crate::error::Result;
use crate::verb;
use crate::verbs::*;

verbs!(blocking_driver! (PgConnection, checked;));

/// Runs a verb, which reads or writes.
pub(crate) fn checked<T>(
    conn: &mut PgConnection,
    is_read: bool,
    work: impl FnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    let was_open = is_open(conn)?;
    work(conn).map_err(|error| explained(conn, is_read, was_open, error))
}
