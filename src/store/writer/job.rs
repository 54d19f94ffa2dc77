//! A queued write.

use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};

use super::row_writes::{Rows, Write};
use crate::error::{Error, Result};
use crate::store::changes::change::Change;
use crate::store::ticket::{Promise, Ticket, ticket};

/// A queued write, atomic on its own. It may run again: if a transaction is lost, each of its writes is retried alone.
pub(super) trait Job<C>: Send {
    /// Runs the write and keeps its result.
    fn attempt(&mut self, connection: &mut C);
    /// What it writes, if it is only rows.
    fn rows(&self) -> Option<Rows<'_>>;
    /// What it may change.
    fn change(&self) -> Change<'_>;
    /// Keeps the result of rows that were written together with others.
    fn rows_written(&mut self, indexes: Vec<i64>);
    /// Whether the kept result is a success.
    fn is_done(&self) -> bool;
    /// The kept result, if it is an error.
    fn error(&self) -> Option<&Error>;
    fn fail(&mut self, error: Error);
    /// Sends the result to the caller.
    fn answer(self: Box<Self>);
}

struct QueuedWrite<T, F> {
    work: F,
    result: Option<Result<T>>,
    promise: Promise<T>,
}

/// A job, and the ticket for its result.
pub(super) fn queued<C, T: Send + 'static>(
    work: impl Write<C, Answer = T> + Send + 'static,
) -> (Box<dyn Job<C>>, Ticket<T>) {
    let (promise, ticket) = ticket();
    (Box::new(QueuedWrite { work, result: None, promise }), ticket)
}

impl<C, T, F> Job<C> for QueuedWrite<T, F>
where
    T: Send,
    F: Write<C, Answer = T> + Send,
{
    fn attempt(&mut self, connection: &mut C) {
        self.result = Some(self.work.run(connection));
    }

    fn rows(&self) -> Option<Rows<'_>> {
        self.work.rows()
    }

    fn change(&self) -> Change<'_> {
        self.work.change()
    }

    fn rows_written(&mut self, indexes: Vec<i64>) {
        self.result = self.work.answer(indexes).map(Ok);
    }

    fn is_done(&self) -> bool {
        matches!(self.result, Some(Ok(_)))
    }

    fn error(&self) -> Option<&Error> {
        self.result.as_ref()?.as_ref().err()
    }

    fn fail(&mut self, error: Error) {
        self.result = Some(Err(error));
    }

    fn answer(self: Box<Self>) {
        self.promise.answer(self.result.unwrap_or(Err(Error::Panicked)));
    }
}

/// Copies an error: a failed commit, or a connection that is lost, concerns every caller in it.
pub(in crate::store) fn again(error: &Error) -> Error {
    let copy = |source: &DieselError| match source {
        DieselError::DatabaseError(kind, information) => {
            let kind = match kind {
                DatabaseErrorKind::UniqueViolation => DatabaseErrorKind::UniqueViolation,
                DatabaseErrorKind::ForeignKeyViolation => DatabaseErrorKind::ForeignKeyViolation,
                DatabaseErrorKind::NotNullViolation => DatabaseErrorKind::NotNullViolation,
                DatabaseErrorKind::CheckViolation => DatabaseErrorKind::CheckViolation,
                _ => DatabaseErrorKind::Unknown,
            };
            DieselError::DatabaseError(kind, Box::new(information.message().to_owned()))
        }
        other => DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(other.to_string())),
    };
    // The kind is kept rather than derived again, since the message of a full disk does not say everything.
    match error {
        Error::Open { path, source } => {
            Error::Open { path: path.clone(), source: ConnectionError::BadConnection(source.to_string()) }
        }
        Error::Busy { source } => Error::Busy { source: copy(source) },
        Error::DiskFull { source } => Error::DiskFull { source: copy(source) },
        Error::ReadOnly { source } => Error::ReadOnly { source: copy(source) },
        Error::NotADatabase { source } => Error::NotADatabase { source: copy(source) },
        Error::Disconnected { may_be_stored, source } => {
            Error::Disconnected { may_be_stored: *may_be_stored, source: copy(source) }
        }
        Error::TimedOut { source } => Error::TimedOut { source: copy(source) },
        Error::NotMigrated { source } => Error::NotMigrated { source: copy(source) },
        Error::NotStorable { reason, source } => Error::NotStorable { reason, source: copy(source) },
        Error::Database { source } => Error::Database { source: copy(source) },
        Error::Panicked => Error::Panicked,
        // Nothing else concerns more than its own call.
        other => Error::Database {
            source: DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(other.to_string())),
        },
    }
}
