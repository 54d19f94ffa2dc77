//! What a migration changes, by comparing the schema before and after it.

use std::collections::BTreeMap;

use agent_session_store::Error;
use agent_session_store::diesel::sql_types::{BigInt, Nullable, Text};
use agent_session_store::diesel::{self, QueryableByName, RunQueryDsl, SqliteConnection};

use crate::failure::Result;

#[derive(QueryableByName, Debug, Clone, PartialEq)]
struct Part {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<Text>)]
    declaration: Option<String>,
    /// Where its rows begin.
    #[diesel(sql_type = BigInt)]
    root: i64,
}

/// Tables, indexes, views and triggers.
#[derive(Debug)]
pub struct Schema(BTreeMap<(String, String), Part>);

impl Schema {
    pub fn read(conn: &mut SqliteConnection) -> Result<Self> {
        let all = "SELECT type AS kind, name, sql AS declaration, coalesce(rootpage, 0) AS root FROM sqlite_master \
                   WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
        let parts: Vec<Part> = diesel::sql_query(all).load(conn).map_err(Error::from)?;
        Ok(Self(parts.into_iter().map(|part| ((part.kind.clone(), part.name.clone()), part)).collect()))
    }

    /// What has become of it, a line for each change.
    pub fn changes(&self, after: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        // Tables first, then what is on them.
        let (tables, others): (Vec<_>, Vec<_>) = after.0.iter().partition(|((kind, _), _)| kind == "table");
        for (key @ (kind, name), part) in tables.into_iter().chain(others) {
            match self.0.get(key) {
                None => changes.push(format!("{kind} {name}: created")),
                // Indexes are created again with their table.
                Some(old) if kind == "table" && old.root != part.root => {
                    changes.push(format!("{kind} {name}: rebuilt, its rows are copied"));
                }
                Some(old) if old.declaration != part.declaration => {
                    changes.push(format!("{kind} {name}: declared anew, no row moves"));
                }
                Some(_) => {}
            }
        }
        for (kind, name) in self.0.keys().filter(|key| !after.0.contains_key(key)) {
            changes.push(if name == "events_legacy" {
                format!("{kind} {name}: its rows go into events, and it is dropped")
            } else {
                format!("{kind} {name}: dropped")
            });
        }
        changes
    }
}
