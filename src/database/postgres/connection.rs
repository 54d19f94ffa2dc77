//! The verbs on the caller's own connection.

use std::io::Write;

use diesel::PgConnection;

use super::transaction;
use crate::database::ready;
use crate::driver::{SessionPersistDriver, blocking_driver, is_read};
use crate::error::Result;
use crate::verb;
use crate::verbs::*;

verbs!(blocking_driver! (PgConnection, transaction::checked;));
