//! A connection that may have been lost while nobody used it.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::Integer;

use crate::database::postgres::transaction;
use crate::store::reader_pool::Lendable;

/// A connection that was in use so recently is not asked whether it is still there.
const RECENTLY: Duration = Duration::from_millis(500);

pub(in crate::store) struct Alive {
    conn: PgConnection,
    used: Instant,
    is_given_up: bool,
}

impl Alive {
    pub(super) fn new(conn: PgConnection) -> Self {
        Self { conn, used: Instant::now(), is_given_up: false }
    }

    pub(super) fn get(&mut self) -> &mut PgConnection {
        self.used = Instant::now();
        &mut self.conn
    }

    /// Another connection takes its place.
    pub(super) fn give_up(&mut self) {
        self.is_given_up = true;
    }

    /// Whether it is worth sending a statement. After a pause it asks the server, since a restart would otherwise be
    /// noticed only by the next call.
    pub(super) fn is_usable(&mut self) -> bool {
        if self.is_given_up || transaction::is_broken(&mut self.conn) {
            return false;
        }
        if self.used.elapsed() < RECENTLY {
            return true;
        }
        let answer = diesel::select(diesel::dsl::sql::<Integer>("1")).get_result::<i32>(&mut self.conn);
        answer.is_ok()
    }
}

impl Lendable for Alive {
    fn can_be_lent(&mut self) -> bool {
        self.is_usable()
    }

    /// A transaction that is still open ends with its connection.
    fn can_be_kept(&mut self) -> bool {
        self.used = Instant::now();
        !self.is_given_up && matches!(transaction::is_open(&mut self.conn), Ok(false))
    }
}
