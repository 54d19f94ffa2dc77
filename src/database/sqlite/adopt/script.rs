//! The SQL of the first migration, and its parts.

pub(super) const UP: &str = include_str!("../../../../migrations/sqlite/0000-00-00-475301_sessions_and_events/up.sql");

/// The table in which an interrupted rebuild of the reference driver leaves the events.
pub(super) const LEFTOVER: &str = "events_legacy";

/// One section of it.
pub(super) fn section(name: &str) -> &'static str {
    let rest = UP.split_once(&format!("-- @section {name}\n")).map_or("", |(_, rest)| rest);
    rest.split_once("-- @section ").map_or(rest, |(section, _)| section)
}

/// An index of a migrated database, as the migration creates it and SQLite stores it.
pub(super) struct OwnIndex {
    pub(super) name: &'static str,
    pub(super) table: &'static str,
    pub(super) sql: String,
}

pub(super) fn own_indexes() -> impl Iterator<Item = OwnIndex> {
    UP.lines().filter_map(|line| {
        let declared = line.strip_prefix("CREATE INDEX main.")?.strip_suffix(';')?;
        let (name, rest) = declared.split_once(" ON agent_session_store_")?;
        let (table, rest) = rest.split_once(' ')?;
        Some(OwnIndex { name, table, sql: format!("CREATE INDEX {name} ON \"{table}\" {rest}") })
    })
}
