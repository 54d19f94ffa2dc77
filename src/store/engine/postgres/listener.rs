//! How commits by other clients of a server are found: from what other stores say of theirs, and for those who say
//! nothing, such as the reference driver, by asking the server whether anybody has committed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::notice::{CHANNEL, LISTENERS_LOCK, Notice};
use super::server::Server;
use crate::database::postgres::awaited::have_more;
use crate::error::{Error, Result};
use crate::store::changes::change::Change;
use crate::store::changes::{Changes, Watch};

/// How often it looks whether a notice has come, which takes no more than a system call.
const NOTICES_EVERY: Duration = Duration::from_millis(10);

/// How often something is announced without any sign: a server that spreads its tables over others may show none.
const ANYWAY_EVERY: Duration = Duration::from_secs(30);

/// How long it waits before it connects again.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) struct NoticeListener {
    server: Arc<Server>,
    changes: Arc<Changes>,
    /// Names this store in its own notices.
    name: String,
    /// How often it asks the server.
    interval: Duration,
    connection: Option<Connected>,
}

struct Connected {
    conn: PgConnection,
    /// Whether notices arrive here.
    hears: bool,
    /// The transactions that had ended when it last asked, as the server writes that.
    ended: Option<String>,
    asked: Instant,
    announced: Instant,
}

impl NoticeListener {
    pub(super) fn new(server: Arc<Server>, changes: Arc<Changes>, name: String, interval: Duration) -> Self {
        Self { server, changes, name, interval, connection: None }
    }

    fn try_look(&mut self) -> Result<Duration> {
        let now = Instant::now();
        let connected = match &mut self.connection {
            Some(connected) => connected,
            empty => {
                let mut conn = self.server.connect()?;
                // A pool would lend the connection that listens to others. A replica cannot listen.
                let hears = !self.server.is_pooled() && hears(&mut conn)?;
                let ended = ended(&mut conn)?;
                self.changes.announce(&Change::Anything);
                empty.insert(Connected { conn, hears, ended, asked: now, announced: now })
            }
        };
        if connected.hears {
            for notice in connected.conn.notifications_iter() {
                let notice = notice?;
                if notice.channel == CHANNEL {
                    match Notice::read(&notice.payload) {
                        Some(own) if own.is_from(&self.name) => {}
                        Some(notice) => match notice.change() {
                            Change::Anything => self.changes.others_have_committed(),
                            change => self.changes.announce(&change),
                        },
                        None => self.changes.others_have_committed(),
                    }
                }
            }
        }
        if now.duration_since(connected.asked) >= self.interval {
            connected.asked = now;
            let ended = ended(&mut connected.conn)?;
            let is_same = ended.is_some() && ended == connected.ended;
            connected.ended = ended;
            if now.duration_since(connected.announced) >= ANYWAY_EVERY {
                connected.announced = now;
                self.changes.announce(&Change::Anything);
            } else if !is_same {
                self.changes.others_have_committed();
            }
        }
        let rest = self.changes.examine(|awaited| have_more(&mut connected.conn, awaited));
        Ok(rest.max(if connected.hears { NOTICES_EVERY.min(self.interval) } else { self.interval }))
    }
}

impl Watch for NoticeListener {
    fn look(&mut self) -> Duration {
        let pause = self.try_look().unwrap_or_else(|_| {
            self.connection = None;
            PAUSE
        });
        self.changes.wake();
        pause
    }

    fn rest(&mut self) {
        self.connection = None;
    }
}

/// Listens, if that is possible, and lets those who write know it.
fn hears(conn: &mut PgConnection) -> Result<bool> {
    let listen = format!("LISTEN {CHANNEL}; SELECT pg_advisory_lock_shared({LISTENERS_LOCK})");
    match conn.batch_execute(&listen).map_err(Error::from) {
        Ok(()) => Ok(true),
        Err(lost @ Error::Disconnected { .. }) => Err(lost),
        Err(_) => Ok(false),
    }
}

/// Which transactions have ended, or `None` if the server does not say.
fn ended(conn: &mut PgConnection) -> Result<Option<String>> {
    // A standby's snapshot does not list them all, but it knows how far it has followed.
    let ended = "pg_current_snapshot()::text || coalesce(pg_last_wal_replay_lsn()::text, '')";
    let asked = diesel::select(diesel::dsl::sql::<Text>(ended)).get_result(conn);
    match asked.map_err(Error::from) {
        Ok(ended) => Ok(Some(ended)),
        Err(lost @ Error::Disconnected { .. }) => Err(lost),
        Err(_) => Ok(None),
    }
}
