//! What kind of failure an error is, for code that answers somebody else.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::error::Error;

/// What kind of failure an [`enum@Error`] is: who can do something about it, and what. A service can map it to a status.
///
/// | kind | HTTP status | the caller |
/// |---|---|---|
/// | [`InvalidInput`](Self::InvalidInput) | 400 Bad Request | has to send something else |
/// | [`NotFound`](Self::NotFound) | 404 Not Found | has the wrong id |
/// | [`Conflict`](Self::Conflict) | 409 Conflict | has to look at what is stored, and decide |
/// | [`Unsupported`](Self::Unsupported) | 501 Not Implemented | has to use another database |
/// | [`Unavailable`](Self::Unavailable) | 503 Service Unavailable | can try again later |
/// | [`StorageFull`](Self::StorageFull) | 507 Insufficient Storage | can try again when there is space |
/// | [`Undecodable`](Self::Undecodable) | 500 Internal Server Error | finds a broken row named in the error |
/// | [`Internal`](Self::Internal) | 500 Internal Server Error | can do nothing: the program or its setup is at fault |
///
/// ```
/// use agent_session_store::{Cursor, ErrorKind};
///
/// let error = "100".parse::<Cursor>().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
/// assert_eq!(error.kind().http_status(), 400);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value that was passed in cannot be used: not JSON, a cursor of another listing, a line that is not an export's.
    InvalidInput,
    /// There is no such session; or a query of your own found no row.
    NotFound,
    /// What is stored speaks against it: an id is taken, the session ends elsewhere or has ended, a unique or foreign key is
    /// violated.
    Conflict,
    /// The database cannot do this at all.
    Unsupported,
    /// The database was locked or took too long, the connection was lost, or the store is closed.
    Unavailable,
    /// There is no space left.
    StorageFull,
    /// A stored value cannot be decoded.
    Undecodable,
    /// Anything else.
    Internal,
}

impl ErrorKind {
    /// The HTTP status in the table above.
    ///
    /// ```
    /// assert_eq!(agent_session_store::ErrorKind::NotFound.http_status(), 404);
    /// ```
    pub fn http_status(self) -> u16 {
        match self {
            Self::InvalidInput => 400,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Unsupported => 501,
            Self::Unavailable => 503,
            Self::StorageFull => 507,
            Self::Undecodable | Self::Internal => 500,
        }
    }
}

/// Whether other rows speak against a row.
fn is_about_the_rows(kind: &DatabaseErrorKind) -> bool {
    matches!(
        kind,
        DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::ExclusionViolation
    )
}

impl Error {
    /// What kind of failure this is. For a call that failed after some of its steps, it is the kind of the error that stopped it.
    ///
    /// ```
    /// use agent_session_store::{Error, ErrorKind};
    ///
    /// assert_eq!(Error::Closed.kind(), ErrorKind::Unavailable);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidJson { .. } | Self::InvalidCursor { .. } | Self::NotStorable { .. } | Self::Import { .. } => {
                ErrorKind::InvalidInput
            }
            Self::SessionNotFound { .. } => ErrorKind::NotFound,
            Self::AppendConflict { .. }
            | Self::EventIdTaken { .. }
            | Self::IndexesExhausted { .. }
            | Self::SessionExists { .. }
            | Self::SessionEnded { .. } => ErrorKind::Conflict,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Busy { .. }
            | Self::Disconnected { .. }
            | Self::TimedOut { .. }
            | Self::Closed
            | Self::Thread { .. } => ErrorKind::Unavailable,
            Self::DiskFull { .. } => ErrorKind::StorageFull,
            Self::Decode { .. } => ErrorKind::Undecodable,
            Self::Unfinished { source, .. } => source.kind(),
            // Of a statement of the application's own, in most cases.
            Self::Database { source: DieselError::NotFound } => ErrorKind::NotFound,
            Self::Database { source: DieselError::DatabaseError(kind, _) } if is_about_the_rows(kind) => {
                ErrorKind::Conflict
            }
            Self::Io { source } if source.kind() == std::io::ErrorKind::AlreadyExists => ErrorKind::Conflict,
            Self::Io { .. }
            | Self::NotMigrated { .. }
            | Self::MigrationNeeded { .. }
            | Self::CannotMigrate { .. }
            | Self::Migration { .. }
            | Self::Open { .. }
            | Self::NotADatabase { .. }
            | Self::ReadOnly { .. }
            | Self::Reentrant
            | Self::Panicked
            | Self::Database { .. } => ErrorKind::Internal,
        }
    }
}
