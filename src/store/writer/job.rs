//! A write that waits in the queue.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::error::{Error, Result};
use crate::store::ticket::{Promise, Ticket, ticket};

/// A write in the queue, all or nothing by itself. It may be run again: where a transaction is lost, each of its
/// writes is tried alone.
pub(super) trait Job<C>: Send {
    /// Runs the write and keeps its result.
    fn attempt(&mut self, connection: &mut C);
    /// Whether it kept a success.
    fn is_done(&self) -> bool;
    /// What it kept, if that is an error.
    fn error(&self) -> Option<&Error>;
    fn fail(&mut self, error: Error);
    /// Tells the caller.
    fn answer(self: Box<Self>);
}

struct QueuedWrite<T, F> {
    work: F,
    result: Option<Result<T>>,
    promise: Promise<T>,
}

/// A job, and the ticket for its answer.
pub(super) fn queued<C, T: Send + 'static>(
    work: impl FnMut(&mut C) -> Result<T> + Send + 'static,
) -> (Box<dyn Job<C>>, Ticket<T>) {
    let (promise, ticket) = ticket();
    (Box::new(QueuedWrite { work, result: None, promise }), ticket)
}

impl<C, T, F> Job<C> for QueuedWrite<T, F>
where
    T: Send,
    F: FnMut(&mut C) -> Result<T> + Send,
{
    fn attempt(&mut self, connection: &mut C) {
        self.result = Some((self.work)(connection));
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

/// Runs what may be somebody else's code, a waker: whatever happens in there, the others are still to be served.
pub(super) fn undisturbed(work: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(work));
}

/// The same error once more: a failed commit concerns every caller in it.
pub(super) fn again(error: &Error) -> Error {
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
    // The kind is not asked for again: of a full disk, the words do not say everything.
    match error {
        Error::Busy { source } => Error::Busy { source: copy(source) },
        Error::DiskFull { source } => Error::DiskFull { source: copy(source) },
        Error::ReadOnly { source } => Error::ReadOnly { source: copy(source) },
        Error::NotADatabase { source } => Error::NotADatabase { source: copy(source) },
        Error::Database { source } => Error::Database { source: copy(source) },
        _ => Error::Panicked,
    }
}
