//! How a connection of the store's is opened. Each stage is a type that only the one before it leads to: an order that
//! is not meant does not compile.
//!
//! 1. [`Connected`]: nothing has been sent but the busy timeout,
//! 2. [`Examined`]: it is known whether a migration is pending,
//! 3. [`Durable`]: what is written from here on survives as much as the file's present journal allows,
//! 4. [`Migrated`]: the schema is ours,
//! 5. [`Journaled`]: the journal is the one that is wanted,
//! 6. [`Settled`]: a commit costs no more syncs than were asked for.
//!
//! Connections that are not the file's writer leave after the first.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::location::{Location, OpenMode};
use crate::adopt;
use crate::error::{Error, Result};
use crate::migrations::{bring_up_to_date, is_current, migrate};
use crate::pragma;
use crate::store::options::{Durability, JournalMode, Options};
use crate::transaction;
use crate::waiting::{self, PATIENCE, Schema};

/// The connection that writes to a file.
pub(super) fn writer(location: &Location, options: &Options) -> Result<SqliteConnection> {
    let mode = if options.create { OpenMode::Create } else { OpenMode::Write };
    Connected::to(location, mode, options.busy_timeout)?
        .look(options)?
        .set_durability(options)?
        .migrate(options)?
        .set_journal_mode(location, options)?
        .relax_durability(options)?
        .limit_log(options)
}

/// The one connection to a database in memory: there is no disk, and nobody else.
pub(super) fn in_memory(options: &Options) -> Result<SqliteConnection> {
    Connected::to(&Location::Memory, OpenMode::Create, options.busy_timeout)?.migrate_at_once()
}

/// A connection to a file that is only read, as it is. It waits for the busy timeout and no longer: there is nothing to
/// migrate.
pub(super) fn unchanged(location: &Location, options: &Options) -> Result<SqliteConnection> {
    Connected::to(location, OpenMode::Read, options.busy_timeout)?.check_readable()
}

/// A connection that only reads, beside the writer. It never creates the file: the writer has it.
pub(super) fn reader(location: &Location, options: &Options) -> Result<SqliteConnection> {
    let mode = if options.read_only { OpenMode::Read } else { OpenMode::Write };
    Connected::to(location, mode, options.busy_timeout)?.forbid_writing()
}

/// A connection that keeps the log where it is when it closes after the others: the last one to close moves the log
/// into the file and deletes it, unless it cannot write.
pub(super) fn keeper(location: &Location) -> Result<SqliteConnection> {
    Connected::to(location, OpenMode::Read, Duration::from_secs(1))?.take_up_file()
}

/// A connection that deletes an empty log when it closes after the others, if it is the last one.
pub(super) fn remover(location: &Location) -> Result<SqliteConnection> {
    Connected::to(location, OpenMode::Write, Duration::ZERO)?.take_up_file()
}

/// Nothing has been read of the file.
struct Connected(SqliteConnection);

impl Connected {
    fn to(location: &Location, mode: OpenMode, busy_timeout: Duration) -> Result<Self> {
        // What has to be done to a connection before anything else is sent belongs right after this.
        let mut conn = location.connect(mode)?;
        // Before anything that may meet another connection's lock. SQLite counts in 32 bits.
        let millis = i32::try_from(busy_timeout.as_millis()).unwrap_or(i32::MAX);
        pragma::write(&mut conn, "busy_timeout", i64::from(millis))?;
        Ok(Self(conn))
    }

    /// Before anything that reads the file: another process may be migrating it, which takes as long as it takes.
    fn look(self, options: &Options) -> Result<Examined> {
        let Self(mut conn) = self;
        let schema = waiting::look(&mut conn, options.busy_timeout)?;
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

/// It is known whether the file has to be migrated, or somebody is at it.
struct Examined {
    conn: SqliteConnection,
    schema: Schema,
}

impl Examined {
    /// Before the first write, which a migration is.
    fn set_durability(self, options: &Options) -> Result<Durable> {
        let Self { mut conn, schema } = self;
        match schema {
            Schema::Current => set_durability(&mut conn, options)?,
            Schema::Pending => waiting::patiently(&mut conn, |conn| set_durability(conn, options))?,
        }
        Ok(Durable { conn, schema })
    }
}

/// What is written survives a crash and power loss.
struct Durable {
    conn: SqliteConnection,
    schema: Schema,
}

impl Durable {
    /// Before the switch to another journal, which needs the file for itself.
    fn migrate(self, options: &Options) -> Result<Migrated> {
        let Self { mut conn, schema } = self;
        let patience = match schema {
            Schema::Current => options.busy_timeout,
            Schema::Pending => {
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
    /// How long others may be in the way: they may have waited for the same migration.
    patience: Duration,
}

impl Migrated {
    /// Brings the file to the journal mode that is wanted, on this connection or on a new one.
    ///
    /// Others that do the same at the same moment can make this fail at once, whatever the busy timeout says: each holds
    /// what the others wait for. With a write-ahead log, which a file is to leave, that is the mere connection. So it is
    /// let go between the attempts, and the time between them is a matter of chance.
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

/// The journal is the one that is wanted, or the nearest that the file system can do.
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
        // Where the file system cannot have a write-ahead log, it stays as it was.
        let set = diesel::dsl::sql::<Text>(&format!("PRAGMA journal_mode = {wanted}")).get_result(&mut conn)?;
        Ok(Self { conn, journal_mode: set })
    }

    /// Only now that it is known what the journal has become.
    fn relax_durability(self, options: &Options) -> Result<Settled> {
        let Self { mut conn, journal_mode } = self;
        if options.durability == Durability::Normal && journal_mode == "wal" {
            pragma::write(&mut conn, "synchronous", 1)?;
        }
        Ok(Settled(conn))
    }
}

/// Commits cost what they are to cost.
struct Settled(SqliteConnection);

impl Settled {
    /// Who takes care of the log, and how much of it is left when it has been begun anew.
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
    // EXTRA: FULL, and with a rollback journal the folder is synced too. A commit deletes the journal; without that it
    // could be back after power loss, and be rolled back into the file, which may have been cut short since. With NORMAL
    // a journal may also be torn when it is played back. So less will do only once there is a write-ahead log.
    pragma::write(conn, "synchronous", 3)?;
    // There, only this flushes the drive's own cache.
    let bears_less = options.durability == Durability::Normal && options.journal_mode == JournalMode::Wal;
    if cfg!(target_vendor = "apple") && !bears_less {
        pragma::write(conn, "fullfsync", 1)?;
        pragma::write(conn, "checkpoint_fullfsync", 1)?;
    }
    Ok(())
}

/// A number that no two threads or processes have in common, except by chance.
fn by_chance() -> u64 {
    RandomState::new().build_hasher().finish()
}
