//! Where a store's database is, and how its connections are opened.

use std::fmt;

use diesel::connection::{CacheSize, SimpleConnection};
use diesel::prelude::*;

use super::server_url::ServerUrl;
use crate::database::postgres::migrate::{READING, create_schema, migrate, missing};
use crate::database::ready;
use crate::error::{Error, Result};
use crate::store::options::{Durability, Options};

pub(super) struct Server {
    url: ServerUrl,
    options: Options,
    /// What the store tells every connection first.
    settings: String,
}

impl Server {
    pub(super) fn new(url: &str, options: Options) -> Result<Self> {
        if options.schema.as_deref().is_some_and(|schema| schema.is_empty() || schema.contains('\0')) {
            return Err(Error::Unsupported { reason: "the name of a schema is not empty and has no NUL in it" });
        }
        if options.transaction_pooling && (options.schema.is_some() || options.read_only) {
            return Err(Error::Unsupported {
                reason: "with transaction_pooling, a schema and read_only are settings of the role (ALTER ROLE … SET)",
            });
        }
        let settings = if options.transaction_pooling { String::new() } else { settings(&options) };
        Ok(Self { url: ServerUrl::new(url), options, settings })
    }

    /// Whether a pool in front lends its connections for one transaction at a time.
    pub(super) fn is_pooled(&self) -> bool {
        self.options.transaction_pooling
    }

    /// The first connection: the schema is there, and migrated, when it returns.
    pub(super) fn open(&self) -> Result<PgConnection> {
        let mut conn = self.connect()?;
        if self.options.read_only {
            return match ready(missing(&mut conn, &READING))? {
                None => Ok(conn),
                Some(reason) => Err(Error::MigrationNeeded { reason: reason.to_owned() }),
            };
        }
        if let Some(schema) = &self.options.schema {
            let schema = quoted(schema);
            let is_there = format!("to_regnamespace({}) IS NOT NULL", literal(&schema));
            let is_there = diesel::dsl::sql::<diesel::sql_types::Bool>(&is_there);
            if !diesel::select(is_there).get_result::<bool>(&mut conn)? {
                create_schema(&mut conn, &schema)?;
            }
        }
        ready(migrate(&mut conn))?;
        Ok(conn)
    }

    /// A connection to the database as it is.
    pub(super) fn connect(&self) -> Result<PgConnection> {
        let mut conn = PgConnection::establish(self.url.with_password())
            .map_err(|source| Error::Open { path: self.url.to_string(), source: self.url.without_password(source) })?;
        self.options.on_open.run(&mut conn, &self.url)?;
        if self.options.transaction_pooling {
            conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        } else {
            conn.batch_execute(&self.settings)?;
        }
        Ok(conn)
    }
}

/// Waiting for locks.
impl Server {
    /// Lets a connection wait for locks for as long as one of so many writes may. Each has a moment.
    pub(super) fn set_patience(&self, conn: &mut PgConnection, writes: usize) -> Result<()> {
        if self.options.transaction_pooling {
            return Err(Error::Unsupported { reason: "what waits for how long is the role's setting" });
        }
        let share = patience(&self.options) / writes.max(1) as u128;
        let share = share.max(patience(&self.options).min(10));
        Ok(conn.batch_execute(&format!("SET lock_timeout = {share}"))?)
    }
}

/// In milliseconds, of which 0 would mean forever.
fn patience(options: &Options) -> u128 {
    options.busy_timeout.as_millis().clamp(1, i32::MAX as u128)
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url)
    }
}

fn settings(options: &Options) -> String {
    let patience = patience(options);
    let mut settings = format!("SET lock_timeout = {patience}; SET default_transaction_isolation = 'read committed'");
    if let Some(schema) = &options.schema {
        settings += &format!("; SET search_path TO {}", quoted(schema));
    }
    if options.read_only {
        settings += "; SET default_transaction_read_only = on";
    }
    settings += match options.durability {
        // Whoever runs the server may ask for more than that, but not for less.
        Durability::Full => {
            "; SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        }
        Durability::Normal => "; SET synchronous_commit = off",
    };
    settings
}

/// A name as an identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
