//! How the store opens a connection. Each stage is a type that only the previous one leads to, so a wrong order does
//! not compile.
//!
//! 1. [`Connected`]: the application's `on_open` has run, and the busy timeout has been set,
//! 2. [`Examined`]: it is known whether a migration is pending,
//! 3. [`Durable`]: writes from here on are as durable as the file's current journal allows,
//! 4. [`Migrated`]: the schema is ours,
//! 5. [`Journaled`]: the journal mode is the requested one,
//! 6. [`Settled`]: a commit takes no more syncs than requested.
//!
//! All connections but the file's writer stop after the first stage.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::location::{Location, OpenMode};
use crate::database::sqlite::adopt;
use crate::database::sqlite::embedded::is_current;
use crate::database::sqlite::migrate::{bring_up_to_date, migrate};
use crate::database::sqlite::pragma;
use crate::database::sqlite::transaction;
use crate::database::sqlite::waiting::{self, PATIENCE, Schema};
use crate::error::{Error, Result};
use crate::store::engine::chance::by_chance;
use crate::store::options::{Durability, JournalMode, Options};

/// The connection that writes to a file.
pub(super) fn writer(location: &Location, options: &Options) -> Result<SqliteConnection> {
    let mode = if options.create { OpenMode::Create } else { OpenMode::Write };
    Connected::to(location, mode, options.busy_timeout)?
        .look(location, options)?
        .set_durability(options)?
        .migrate(options)?
        .set_journal_mode(location, options)?
        .relax_durability(options)?
        .limit_log(options)
}

/// The only connection to a database in memory: no disk, no other connections.
pub(super) fn in_memory(location: &Location, options: &Options) -> Result<SqliteConnection> {
    Connected::to(location, OpenMode::Create, options.busy_timeout)?.migrate_at_once()
}

/// A connection to a file that is read as it is. It never waits longer than the busy timeout, since there is nothing to
/// migrate.
pub(super) fn unchanged(location: &Location, options: &Options) -> Result<SqliteConnection> {
    Connected::to(location, OpenMode::Read, options.busy_timeout)?.check_readable()
}

/// A reading connection next to the writer. It never creates the file, which the writer has open.
pub(super) fn reader(location: &Location, options: &Options) -> Result<SqliteConnection> {
    let mode = if options.read_only { OpenMode::Read } else { OpenMode::Write };
    Connected::to(location, mode, options.busy_timeout)?.forbid_writing()
}

/// A connection that preserves the log by closing last: the last connection to close moves the log into the file and
/// deletes it, unless it cannot write.
pub(super) fn keeper(location: &Location) -> Result<SqliteConnection> {
    Connected::to(location, OpenMode::Read, Duration::from_secs(1))?.take_up_file()
}

/// A connection that deletes an empty log by closing last, if no other connection is left.
pub(super) fn remover(location: &Location) -> Result<SqliteConnection> {
    Connected::to(location, OpenMode::Write, Duration::ZERO)?.take_up_file()
}

/// Nothing of the file has been read.
struct Connected(SqliteConnection);

impl Connected {
    fn to(location: &Location, mode: OpenMode, busy_timeout: Duration) -> Result<Self> {
        let mut conn = location.connect(mode)?;
        // Before anything that may run into another connection's lock. SQLite counts in 32 bits.
        let millis = i32::try_from(busy_timeout.as_millis()).unwrap_or(i32::MAX);
        pragma::write(&mut conn, "busy_timeout", i64::from(millis))?;
        Ok(Self(conn))
    }

    /// Before anything reads the file: another process may be migrating it for a long time.
    fn look(self, location: &Location, options: &Options) -> Result<Examined> {
        let Self(mut conn) = self;
        let schema = location.with_preparation(|prepare| waiting::look(&mut conn, options.busy_timeout, prepare))?;
        Ok(Examined { conn, schema })
    }

    fn migrate_at_once(self) -> Result<SqliteConnection> {
        let Self(mut conn) = self;
        migrate(&mut conn)?;
        Ok(conn)
    }

    fn check_readable(self) -> Result<SqliteConnection> {
        let Self(mut conn) = self;
        transaction::reading(&mut conn, |conn| if is_current(conn)? { Ok(()) } else { adopt::check_readable(conn) })?;
        Ok(conn)
    }

    fn forbid_writing(self) -> Result<SqliteConnection> {
        let Self(mut conn) = self;
        pragma::write(&mut conn, "query_only", 1)?;
        Ok(conn)
    }

    fn take_up_file(self) -> Result<SqliteConnection> {
        let Self(mut conn) = self;
        pragma::read_schema(&mut conn)?;
        Ok(conn)
    }
}

/// It is known whether the file needs migrating, or is being migrated.
struct Examined {
    conn: SqliteConnection,
    schema: Schema,
}

impl Examined {
    /// Before the first write, which is the migration.
    fn set_durability(self, options: &Options) -> Result<Durable> {
        let Self { mut conn, schema } = self;
        match schema {
            Schema::Current => set_durability(&mut conn, options)?,
            Schema::Pending => waiting::patiently(&mut conn, |conn| set_durability(conn, options))?,
        }
        Ok(Durable { conn, schema })
    }
}

/// Writes survive a crash and power loss.
struct Durable {
    conn: SqliteConnection,
    schema: Schema,
}

impl Durable {
    /// Before switching the journal mode, which needs exclusive access to the file.
    fn migrate(self, options: &Options) -> Result<Migrated> {
        let Self { mut conn, schema } = self;
        let patience = match schema {
            Schema::Current => options.busy_timeout,
            Schema::Pending => {
                if options.incremental_vacuum {
                    waiting::patiently(&mut conn, set_incremental_vacuum)?;
                }
                bring_up_to_date(&mut conn)?;
                PATIENCE.max(options.busy_timeout)
            }
        };
        Ok(Migrated { conn, patience })
    }
}

/// The schema is ours.
struct Migrated {
    conn: SqliteConnection,
    /// How long others may block us: they may have waited for the same migration.
    patience: Duration,
}

impl Migrated {
    /// Switches the file to the requested journal mode, on this connection or on a new one.
    ///
    /// Other connections that do the same at the same time can make this fail at once, whatever the busy timeout: each
    /// holds what the others wait for. When leaving WAL mode, an open connection is enough to block the others. So we
    /// close it between the attempts, and wait for a random time.
    fn set_journal_mode(self, location: &Location, options: &Options) -> Result<Journaled> {
        let Self { conn, patience } = self;
        let started = Instant::now();
        let mut conn = Some(conn);
        let mut longest = 4;
        loop {
            let attempt = match conn.take() {
                Some(conn) => Ok(conn),
                None => Self::reopen(location, options),
            };
            let busy = match attempt.and_then(|conn| Journaled::try_from(conn, options.journal_mode)) {
                Err(busy @ Error::Busy { .. }) => busy,
                result => return result,
            };
            let Some(left) = patience.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) else {
                return Err(busy);
            };
            std::thread::sleep(Duration::from_millis(1 + by_chance() % longest).min(left));
            longest = (2 * longest).min(64);
        }
    }

    /// The same stage on a new connection.
    fn reopen(location: &Location, options: &Options) -> Result<SqliteConnection> {
        let Connected(mut conn) = Connected::to(location, OpenMode::Write, options.busy_timeout)?;
        set_durability(&mut conn, options)?;
        Ok(conn)
    }
}

/// The journal mode is the requested one, or the nearest that the file system supports.
struct Journaled {
    conn: SqliteConnection,
    journal_mode: String,
}

impl Journaled {
    fn try_from(mut conn: SqliteConnection, journal_mode: JournalMode) -> Result<Self> {
        let wanted = match journal_mode {
            JournalMode::Wal => "wal",
            JournalMode::Rollback => "delete",
        };
        let current = pragma::journal_mode(&mut conn)?;
        if current == wanted {
            return Ok(Self { conn, journal_mode: current });
        }
        // If the file system does not support a write-ahead log, the mode stays as it was.
        let set = diesel::dsl::sql::<Text>(&format!("PRAGMA journal_mode = {wanted}")).get_result(&mut conn)?;
        Ok(Self { conn, journal_mode: set })
    }

    /// Only now is it known what the journal mode has become.
    fn relax_durability(self, options: &Options) -> Result<Settled> {
        let Self { mut conn, journal_mode } = self;
        if options.durability == Durability::Normal && journal_mode == "wal" {
            pragma::write(&mut conn, "synchronous", 1)?;
        }
        Ok(Settled(conn))
    }
}

/// Commits take as many syncs as requested.
struct Settled(SqliteConnection);

impl Settled {
    /// Sets who checkpoints the log, and how much of it remains after a restart.
    fn limit_log(self, options: &Options) -> Result<SqliteConnection> {
        let Self(mut conn) = self;
        if options.auto_checkpoint {
            let limit = i64::try_from(options.log_size_limit).unwrap_or(i64::MAX);
            pragma::write(&mut conn, "journal_size_limit", limit)?;
        } else {
            pragma::write(&mut conn, "wal_autocheckpoint", 0)?;
        }
        Ok(conn)
    }
}

fn set_durability(conn: &mut SqliteConnection, options: &Options) -> Result<()> {
    // EXTRA is FULL, and with a rollback journal it also syncs the folder. A commit deletes the journal; without that
    // sync it could reappear after power loss and be rolled back into the file, which may have been truncated since.
    // With NORMAL, a journal may also be torn when it is played back. So anything less is only safe with a write-ahead
    // log.
    pragma::write(conn, "synchronous", 3)?;
    // On Apple systems, only this flushes the drive's own cache.
    let bears_less = options.durability == Durability::Normal && options.journal_mode == JournalMode::Wal;
    if cfg!(target_vendor = "apple") && !bears_less {
        pragma::write(conn, "fullfsync", 1)?;
        pragma::write(conn, "checkpoint_fullfsync", 1)?;
    }
    Ok(())
}

/// Only a file without tables can be made for it. In any other, the setting would wait for the next `VACUUM`.
fn set_incremental_vacuum(conn: &mut SqliteConnection) -> Result<()> {
    if pragma::read(conn, "page_count")? == 0 {
        pragma::write(conn, "auto_vacuum", pragma::INCREMENTAL)?;
    }
    Ok(())
}
