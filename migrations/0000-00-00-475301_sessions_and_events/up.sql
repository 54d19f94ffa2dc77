-- Brings any file to the schema of agent-session-store, losing no row:
--
--   * an empty file, or one that has only one of the two tables;
--   * the tables of the reference TypeScript driver, current or legacy: `sessions` without
--     `sandbox_id`, `config_options_json` or `modes_json`; `events` with ids that are not TEXT,
--     without `event_index`, or with NULL in it;
--   * an `events_legacy` that an interrupted rebuild of that driver left behind.
--
-- It refuses, with a message that begins with "agent-session-store:" and before anything changes,
-- what it could not carry over: a row that the schema has no place for, and a host's own columns,
-- triggers and indexes on these tables. (SQL has no IF, hence the form of the checks: asking for an
-- impossible JSON path is an error that quotes the path.)
--
-- Both tables are copied, since plain SQL cannot ask for a table's shape first. The embedded form of
-- this migration can: it runs only the sections that a file needs. Each section stands by itself.

-- @section begin
-- Dropping a table deletes its rows first, and with enforcement on, the rows that refer to them: hence
-- no enforcement, which can only be switched outside a transaction. The legacy rename leaves views alone.
PRAGMA foreign_keys = OFF;
PRAGMA legacy_alter_table = ON;
BEGIN IMMEDIATE;

-- @section sessions
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, agent TEXT, agent_session_id TEXT, last_connection_id TEXT, created_at BIGINT,
    destroyed_at BIGINT, sandbox_id TEXT, session_init_json TEXT, config_options_json TEXT, modes_json TEXT
);

SELECT json_extract('{}', 'agent-session-store: sessions carries the ' || type || ' ' || quote(name)
    || ', which a rebuild would drop; drop it and create it again afterwards, or use the crate''s migrate()')
FROM sqlite_master
WHERE tbl_name = 'sessions' COLLATE NOCASE AND type IN ('index', 'trigger') AND sql IS NOT NULL
    AND name NOT IN ('idx_sessions_order', 'idx_sessions_agent', 'idx_sessions_sandbox', 'idx_sessions_live',
        'idx_sessions_destroyed');

SELECT json_extract('{}', 'agent-session-store: sessions has the column ' || quote(name)
    || ', which a rebuild would drop; use the crate''s migrate()')
FROM pragma_table_xinfo('sessions')
WHERE lower(name) NOT IN ('id', 'agent', 'agent_session_id', 'last_connection_id', 'created_at', 'destroyed_at',
    'sandbox_id', 'session_init_json', 'config_options_json', 'modes_json');

SELECT json_extract('{}', 'agent-session-store: the sessions row ' || rowid || ' (id ' || quote(id) || ') has no '
    || CASE WHEN id IS NULL THEN 'id' WHEN agent IS NULL THEN 'agent'
        WHEN agent_session_id IS NULL THEN 'agent_session_id'
        WHEN last_connection_id IS NULL THEN 'last_connection_id' ELSE 'created_at' END)
FROM sessions
WHERE id IS NULL OR agent IS NULL OR agent_session_id IS NULL OR last_connection_id IS NULL OR created_at IS NULL;

CREATE TABLE agent_session_store_sessions (
    id TEXT NOT NULL PRIMARY KEY,
    agent TEXT NOT NULL,
    agent_session_id TEXT NOT NULL,
    last_connection_id TEXT NOT NULL,
    created_at BIGINT NOT NULL, -- Unix milliseconds
    destroyed_at BIGINT, -- Unix milliseconds
    sandbox_id TEXT,
    session_init_json TEXT,
    config_options_json TEXT,
    modes_json TEXT
);

-- A column that `sessions` lacks resolves to the NULL of that name around it.
INSERT INTO agent_session_store_sessions (
    id, agent, agent_session_id, last_connection_id, created_at, destroyed_at,
    sandbox_id, session_init_json, config_options_json, modes_json
)
SELECT
    id, agent, agent_session_id, last_connection_id, created_at, destroyed_at,
    (SELECT sandbox_id FROM sessions AS own WHERE own.rowid = found.source),
    session_init_json,
    (SELECT config_options_json FROM sessions AS own WHERE own.rowid = found.source),
    (SELECT modes_json FROM sessions AS own WHERE own.rowid = found.source)
FROM (
    SELECT
        rowid AS source, id, agent, agent_session_id, last_connection_id, created_at, destroyed_at,
        NULL AS sandbox_id, session_init_json, NULL AS config_options_json, NULL AS modes_json
    FROM sessions
) AS found
ORDER BY source;

DROP TABLE sessions;
ALTER TABLE agent_session_store_sessions RENAME TO sessions;

-- @section events
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY, event_index BIGINT, session_id TEXT, created_at BIGINT, connection_id TEXT, sender TEXT,
    payload_json TEXT
);
CREATE TABLE IF NOT EXISTS events_legacy (
    id TEXT PRIMARY KEY, event_index BIGINT, session_id TEXT, created_at BIGINT, connection_id TEXT, sender TEXT,
    payload_json TEXT
);

SELECT json_extract('{}', 'agent-session-store: ' || tbl_name || ' carries the ' || type || ' ' || quote(name)
    || ', which a rebuild would drop; drop it and create it again afterwards, or use the crate''s migrate()')
FROM sqlite_master
WHERE lower(tbl_name) IN ('events', 'events_legacy') AND type IN ('index', 'trigger') AND sql IS NOT NULL
    AND name NOT IN ('idx_events_session_order', 'idx_events_session_created');

SELECT json_extract('{}', 'agent-session-store: events or events_legacy has the column ' || quote(name)
    || ', which a rebuild would drop; move it to a table of its own first')
FROM (SELECT name FROM pragma_table_xinfo('events') UNION ALL SELECT name FROM pragma_table_xinfo('events_legacy'))
WHERE lower(name) NOT IN
    ('id', 'event_index', 'session_id', 'created_at', 'connection_id', 'sender', 'payload_json');

SELECT json_extract('{}', 'agent-session-store: the ' || source || ' row ' || row || ' (id ' || quote(id) || ') has no ' || missing)
FROM (
    SELECT 'events' AS source, rowid AS row, id,
        CASE WHEN id IS NULL THEN 'id' WHEN session_id IS NULL THEN 'session_id'
            WHEN created_at IS NULL THEN 'created_at' WHEN connection_id IS NULL THEN 'connection_id'
            WHEN sender IS NULL THEN 'sender' WHEN payload_json IS NULL THEN 'payload_json' END AS missing
    FROM events
    UNION ALL
    SELECT 'events_legacy', rowid, id,
        CASE WHEN id IS NULL THEN 'id' WHEN session_id IS NULL THEN 'session_id'
            WHEN created_at IS NULL THEN 'created_at' WHEN connection_id IS NULL THEN 'connection_id'
            WHEN sender IS NULL THEN 'sender' WHEN payload_json IS NULL THEN 'payload_json' END
    FROM events_legacy
)
WHERE missing IS NOT NULL;

-- Where ids are no primary key, two rows may share one.
SELECT json_extract('{}', 'agent-session-store: events has several rows with the id ' || quote(text_id))
FROM (SELECT CAST(id AS TEXT) AS text_id FROM events
    WHERE NOT EXISTS (SELECT 1 FROM pragma_table_info('events') WHERE lower(name) = 'id' AND pk > 0)
    GROUP BY text_id HAVING count(*) > 1);
SELECT json_extract('{}', 'agent-session-store: events_legacy has several rows with the id ' || quote(text_id))
FROM (SELECT CAST(id AS TEXT) AS text_id FROM events_legacy
    WHERE NOT EXISTS (SELECT 1 FROM pragma_table_info('events_legacy') WHERE lower(name) = 'id' AND pk > 0)
    GROUP BY text_id HAVING count(*) > 1);

CREATE TABLE agent_session_store_events (
    id TEXT NOT NULL PRIMARY KEY,
    event_index BIGINT NOT NULL,
    session_id TEXT NOT NULL,
    created_at BIGINT NOT NULL, -- Unix milliseconds
    connection_id TEXT NOT NULL,
    sender TEXT NOT NULL, -- 'client' or 'agent'
    payload_json TEXT NOT NULL
);

-- A missing or NULL index becomes the row's position in its session. `id` is compared as it is stored:
-- integers as numbers. Rows go in session by session, so that a session's events lie together.
INSERT INTO agent_session_store_events (
    id, event_index, session_id, created_at, connection_id, sender, payload_json
)
SELECT
    CAST(id AS TEXT),
    coalesce(
        (SELECT event_index FROM events AS own WHERE own.rowid = found.source),
        row_number() OVER (PARTITION BY session_id ORDER BY created_at, id)
    ),
    session_id, created_at, connection_id, sender, payload_json
FROM (
    SELECT rowid AS source, id, NULL AS event_index, session_id, created_at, connection_id, sender, payload_json
    FROM events
) AS found;

-- What an interrupted rebuild did not bring over, with the index it would have got there.
INSERT INTO agent_session_store_events (
    id, event_index, session_id, created_at, connection_id, sender, payload_json
)
SELECT text_id, event_index, session_id, created_at, connection_id, sender, payload_json
FROM (
    SELECT
        CAST(id AS TEXT) AS text_id,
        coalesce(
            (SELECT event_index FROM events_legacy AS own WHERE own.rowid = found.source),
            row_number() OVER (PARTITION BY session_id ORDER BY created_at, id)
        ) AS event_index,
        session_id, created_at, connection_id, sender, payload_json
    FROM (
        SELECT rowid AS source, id, NULL AS event_index, session_id, created_at, connection_id, sender, payload_json
        FROM events_legacy
    ) AS found
)
WHERE text_id NOT IN (SELECT CAST(id AS TEXT) FROM events);

DROP TABLE events;
DROP TABLE events_legacy;
ALTER TABLE agent_session_store_events RENAME TO events;

-- @section indexes
CREATE INDEX IF NOT EXISTS idx_events_session_order ON events (session_id, event_index, id);
CREATE INDEX IF NOT EXISTS idx_sessions_order ON sessions (created_at, id);
CREATE INDEX IF NOT EXISTS idx_sessions_agent ON sessions (agent, created_at, id);
CREATE INDEX IF NOT EXISTS idx_sessions_sandbox ON sessions (sandbox_id, created_at, id);
CREATE INDEX IF NOT EXISTS idx_sessions_live ON sessions (created_at, id) WHERE destroyed_at IS NULL;
CREATE INDEX IF NOT EXISTS idx_sessions_destroyed ON sessions (created_at, id) WHERE destroyed_at IS NOT NULL;

-- @section end
COMMIT;
PRAGMA legacy_alter_table = OFF;
PRAGMA foreign_keys = ON;
