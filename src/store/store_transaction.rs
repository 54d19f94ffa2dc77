//! Several verbs in one transaction of a store.

use diesel::result::Error as DieselError;

use super::blocking::SessionStore;
use super::engine::{SessionLocks, SessionUse, StoreConnection, on_connection};
use super::writer::again;
use crate::error::{Error, Result};

/// A transaction of a store, with all the verbs; see [`SessionStore::transaction`].
#[expect(missing_debug_implementations, reason = "Diesel's connections have none")]
pub struct StoreTransaction<'a> {
    conn: StoreConnection<'a>,
    locks: SessionLocks,
    /// Your code has had the connection since the transaction was last known to be there.
    is_lent: bool,
    /// The error that ended the transaction. Whatever came after it would be on its own.
    ended_by: Option<Error>,
}

impl SessionStore {
    /// Runs your code in one transaction: what the verbs of `tx` write is committed together when your code returns `Ok`,
    /// and is as durable then as any write. If it returns an error or panics, all of it is rolled back; you get that
    /// error or panic, and the store stays usable. Your code runs once, on this thread.
    ///
    /// Use the verbs of `tx` and not those of the store: those of the store would not be part of the transaction, and
    /// fail with [`Error::Reentrant`]. Do not wait inside for another thread or task that uses the store, which nobody
    /// can detect. And do not wait there for anything that takes long, such as the network:
    ///
    /// - On SQLite, the transaction is the only writer of the file. All other writes, also by other processes, come
    ///   before it or wait for its end, those of other processes for as long as their busy timeout. Reads go on, and see
    ///   nothing of it until it is committed. (In memory, and while it commits with a rollback journal, reads wait too.)
    /// - On PostgreSQL, it has a connection of its own, of which there are as many as
    ///   [`readers`](crate::SessionStoreBuilder::readers); further transactions wait for one. Only writes to sessions
    ///   that it has used wait for its end: appends, where it has read or written the session's events or its record, and
    ///   updates of a record that it has stored or read with `get_session`. So what you write may depend on that. A write
    ///   of this store that waits holds up those behind it. The isolation level is READ COMMITTED: a listing of sessions,
    ///   statistics and `get_event` see what was committed before the verb began, and lock nothing. Nor does it lock a
    ///   session to read that there is none.
    ///
    /// The verbs that otherwise work in steps, `prune` and `import`, work here in one piece. In a store that is
    /// [`read_only`](crate::SessionStoreBuilder::read_only), on a file, all reads are from one snapshot, and a write fails
    /// with [`Error::ReadOnly`].
    ///
    /// If a verb fails, leave with its error. Some errors end the transaction: SQLite rolls it back when the disk is full
    /// or a trigger of yours raises `ROLLBACK`, and PostgreSQL at any error from the server. Then every further verb
    /// fails with a copy of that error, and so does the transaction, even if your code returns `Ok`. After an error that
    /// the store itself finds, such as [`Error::AppendConflict`] or [`Error::EventIdTaken`], it can go on.
    ///
    /// # Errors
    ///
    /// Yours, or one that is converted into yours: [`Error::Busy`] if another process holds the lock for too long, or if
    /// PostgreSQL gives the transaction up for others (a deadlock); [`Error::Closed`]; [`Error::Reentrant`] inside another
    /// call that the transaction would wait for; and any other error from the database while it begins or commits.
    /// Nothing was written then, except that with [`Error::Disconnected`] it may have been.
    ///
    /// ```
    /// # use agent_session_store::{NewEvent, SessionRecord, SessionStore};
    /// # fn open_session(store: &SessionStore, session: SessionRecord, greeting: &[NewEvent]) -> Result<(), agent_session_store::Error> {
    /// let indexes = store.transaction(|tx| {
    ///     tx.update_session(&session)?;
    ///     tx.append_events(&session.id, greeting)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction<T, E>(&self, work: impl FnOnce(&mut StoreTransaction<'_>) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Error>,
    {
        let mut refusal = None;
        let done = self.0.engine.transaction(|conn| {
            let mut tx = StoreTransaction { conn, locks: SessionLocks::default(), is_lent: false, ended_by: None };
            match work(&mut tx) {
                Ok(value) => tx.check_open().map(|()| value),
                Err(error) => {
                    refusal = Some(error);
                    // It only rolls back.
                    Err(Error::Panicked)
                }
            }
        });
        match refusal {
            Some(error) => Err(error),
            None => Ok(done?),
        }
    }
}

impl StoreTransaction<'_> {
    /// Runs one verb, if the transaction is still there. What it uses of a session is locked before.
    pub(super) fn run<T>(
        &mut self,
        what: Option<SessionUse<'_>>,
        verb: impl FnOnce(&mut StoreConnection<'_>) -> Result<T>,
    ) -> Result<T> {
        self.check_open()?;
        let locked = what.map_or(Ok(()), |what| self.locks.take(&mut self.conn, what));
        locked.and_then(|()| verb(&mut self.conn)).inspect_err(|error| {
            if !self.conn.is_in_transaction() {
                self.ended_by = Some(again(error));
            }
        })
    }

    /// The connection, for your own statements in the same transaction: on your tables in the same database, say. Leave
    /// at the first error of one, and leave the transaction open: do not run `BEGIN`, `COMMIT` or `ROLLBACK`. Diesel's
    /// `transaction` is a savepoint here.
    ///
    /// ```
    /// # use agent_session_store::{Error, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// store.transaction(|tx| {
    ///     tx.connection().batch_execute("CREATE TABLE projects (id INTEGER PRIMARY KEY, session_id TEXT)")?;
    ///     tx.delete_session("session-1")
    /// })?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn connection(&mut self) -> StoreConnection<'_> {
        self.is_lent = true;
        on_connection!(&mut self.conn, conn => StoreConnection::from(&mut **conn))
    }

    /// Returns the error that ended the transaction, if it has ended.
    fn check_open(&mut self) -> Result<()> {
        if let Some(error) = &self.ended_by {
            return Err(again(error));
        }
        if std::mem::take(&mut self.is_lent) && !self.conn.is_in_transaction() {
            let error = Error::Database { source: DieselError::NotInTransaction };
            self.ended_by = Some(again(&error));
            return Err(error);
        }
        Ok(())
    }
}
