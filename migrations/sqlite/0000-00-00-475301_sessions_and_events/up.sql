-- Brings any file to the schema of agent-session-store, losing no row:
--
--   * an empty file, or one that has only one of the two tables,
--   * the tables of the reference TypeScript driver, current or legacy: `sessions` without
--     `sandbox_id`, `config_options_json` or `modes_json`, `events` with ids that are not TEXT,
--     without `event_index`, or with NULL in it,
--   * an `events_legacy` that an interrupted rebuild of that driver left behind.
--
-- It refuses, with a message that begins with "agent-session-store:" and leaves the file as it was,
-- what it could not carry over: a row that the schema has no place for, and a host's own columns,
-- triggers and indexes on these tables. (SQL has no IF, hence the form of the checks: asking for an
-- impossible JSON path is an error that quotes the path.) Host tables, views and other triggers stay.
--
-- Both tables are copied, since plain SQL cannot ask for a table's shape first. The embedded form of
-- this migration can: it runs only the sections that a file needs.
--
-- It is all or nothing also for a client that goes on after an error, as the sqlite3 shell does, whether
-- the error has ended the transaction (a full disk) or not (a refusal):
--
--   * A step that succeeds leaves a mark in a temporary table, the guard. A gate looks whether all the marks
--     are there that have to be, and if not, violates a constraint, which ends the transaction. The guard is
--     older than the transaction, so it outlives it, and the marks do not. (Where the file was locked, it may be
--     missing. Then the gate makes an empty one.)
--   * Most statements need a name that only the transaction knows. Each of the others follows a savepoint, which
--     begins another transaction if there is none. The next gate ends that one.
--
-- After an error, the statements that follow fail too, and say so. The first error is the reason.

-- @section begin
-- Dropping a table deletes its rows first, and with enforcement on, the rows that refer to them: hence
-- no enforcement, which can only be switched outside a transaction. So it also tells whether one is open: the last
-- switch does nothing, unless BEGIN has failed. The legacy rename leaves views alone.
PRAGMA legacy_alter_table = ON;
PRAGMA foreign_keys = ON;

-- @section guard
DROP TABLE IF EXISTS temp.agent_session_store_guard;
CREATE TEMP TABLE agent_session_store_guard (
    section TEXT,
    passed BOOLEAN CONSTRAINT "agent-session-store: nothing is changed, for the reason given before" CHECK (passed)
);

-- @section transaction
INSERT INTO temp.agent_session_store_guard
SELECT 'begin', true FROM pragma_foreign_keys WHERE foreign_keys = 1;
PRAGMA foreign_keys = OFF;
BEGIN IMMEDIATE;
PRAGMA foreign_keys = ON;
INSERT INTO temp.agent_session_store_guard
SELECT 'begin', true FROM pragma_foreign_keys WHERE foreign_keys = 0;

-- @section names
INSERT INTO temp.agent_session_store_guard
SELECT 'names', true WHERE (
    SELECT json_extract('{}', 'agent-session-store: the connection has the temporary ' || type || ' ' || quote(name)
        || ' in the way of the table ' || tbl_name || '; migrate on a connection without it')
    FROM sqlite_temp_master
    WHERE lower(name) IN ('sessions', 'events', 'events_legacy')
        OR (type = 'trigger' AND lower(tbl_name) IN ('sessions', 'events', 'events_legacy'))
) IS NULL;

INSERT INTO temp.agent_session_store_guard
SELECT 'names', true WHERE (
    SELECT json_extract('{}', 'agent-session-store: the name ' || quote(name) || ' is needed, and taken by the ' || type
        || ' on the table ' || tbl_name || '; give it another name')
    FROM main.sqlite_master
    WHERE lower(name) IN ('agent_session_store_sessions', 'agent_session_store_events')
        OR (lower(name) IN ('idx_events_session_order', 'idx_events_session_created') AND type <> 'trigger'
            AND lower(tbl_name) NOT IN ('events', 'events_legacy'))
        OR (lower(name) IN ('idx_sessions_order', 'idx_sessions_agent', 'idx_sessions_sandbox', 'idx_sessions_live',
            'idx_sessions_destroyed') AND type <> 'trigger' AND lower(tbl_name) <> 'sessions')
) IS NULL;

-- @section sessions
SAVEPOINT agent_session_store;
CREATE TABLE IF NOT EXISTS main.sessions (
    id TEXT PRIMARY KEY, agent TEXT, agent_session_id TEXT, last_connection_id TEXT, created_at BIGINT,
    destroyed_at BIGINT, sandbox_id TEXT, session_init_json TEXT, config_options_json TEXT, modes_json TEXT
);

INSERT INTO temp.agent_session_store_guard
SELECT 'sessions', true WHERE (
    SELECT json_extract('{}', 'agent-session-store: sessions is ' || CASE type WHEN 'table' THEN 'a table without rowids'
        WHEN 'virtual' THEN 'a virtual table' ELSE 'a ' || type END || ', not a table that could be rebuilt')
    FROM pragma_table_list('sessions')
    WHERE schema = 'main' AND (type <> 'table' OR wr)
) IS NULL;

INSERT INTO temp.agent_session_store_guard
SELECT 'sessions', true WHERE (
    WITH wanted (name) AS (
        VALUES ('id'), ('agent'), ('agent_session_id'), ('last_connection_id'), ('created_at'), ('destroyed_at'),
            ('session_init_json')
    )
    SELECT json_extract('{}', 'agent-session-store: the table sessions has no column ' || name
        || ', so it is not a table of agent sessions')
    FROM wanted
    WHERE name NOT IN (SELECT lower(name) FROM pragma_table_xinfo('sessions', 'main'))
) IS NULL;

-- @section sessions columns
INSERT INTO temp.agent_session_store_guard
SELECT 'sessions', true WHERE (
    SELECT json_extract('{}', 'agent-session-store: the table sessions has the column ' || quote(name)
        || ', which a rebuild would drop; use the crate''s migrate()')
    FROM pragma_table_xinfo('sessions', 'main')
    WHERE lower(name) NOT IN ('id', 'agent', 'agent_session_id', 'last_connection_id', 'created_at', 'destroyed_at',
        'sandbox_id', 'session_init_json', 'config_options_json', 'modes_json')
) IS NULL;

-- @section sessions table
INSERT INTO temp.agent_session_store_guard
SELECT 'sessions', true WHERE (
    SELECT json_extract('{}', 'agent-session-store: the table sessions carries the ' || type || ' ' || quote(name)
        || ', which a rebuild would drop; drop it and create it again afterwards, or use the crate''s migrate()')
    FROM main.sqlite_master
    WHERE lower(tbl_name) = 'sessions' AND type IN ('index', 'trigger') AND sql IS NOT NULL
        AND lower(name) NOT IN ('idx_sessions_order', 'idx_sessions_agent', 'idx_sessions_sandbox', 'idx_sessions_live',
            'idx_sessions_destroyed')
) IS NULL;

INSERT INTO temp.agent_session_store_guard
SELECT 'sessions', true WHERE (
    SELECT json_extract('{}', 'agent-session-store: the table sessions has several rows with the id ' || quote(text_id))
    FROM (
        SELECT CAST(id AS TEXT) AS text_id
        FROM main.sessions
        WHERE id IS NOT NULL
        GROUP BY text_id
        HAVING count(*) > 1
    )
) IS NULL;

SAVEPOINT agent_session_store;
CREATE TABLE main.agent_session_store_sessions (
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
INSERT INTO temp.agent_session_store_guard
SELECT 'sessions', true FROM main.sqlite_master WHERE name = 'agent_session_store_sessions';
CREATE TEMP TABLE IF NOT EXISTS agent_session_store_guard (section TEXT, passed BOOLEAN CHECK (passed));
INSERT OR ROLLBACK INTO temp.agent_session_store_guard
SELECT 'gate', count(*) = 10 FROM temp.agent_session_store_guard WHERE section IN ('begin', 'names', 'sessions');

-- @section sessions rows
-- A table may lack some of these columns. Joined by the names that both sides share with a table that has them and no
-- row, they are there in any case, and NULL where they were missing.
INSERT INTO main.agent_session_store_sessions (
    id, agent, agent_session_id, last_connection_id, created_at, destroyed_at,
    sandbox_id, session_init_json, config_options_json, modes_json
)
SELECT
    CASE WHEN missing IS NULL THEN CAST(id AS TEXT) ELSE
        json_extract('{}', 'agent-session-store: the sessions row ' || place || ' (id ' || quote(id) || ') has no '
            || missing)
    END,
    agent, agent_session_id, last_connection_id, created_at, destroyed_at,
    sandbox_id, session_init_json, config_options_json, modes_json
FROM (
    SELECT
        sessions.rowid AS place, id, agent, agent_session_id, last_connection_id, created_at, destroyed_at,
        sandbox_id, session_init_json, config_options_json, modes_json,
        CASE WHEN id IS NULL THEN 'id' WHEN agent IS NULL THEN 'agent'
            WHEN agent_session_id IS NULL THEN 'agent_session_id'
            WHEN last_connection_id IS NULL THEN 'last_connection_id'
            WHEN created_at IS NULL THEN 'created_at' END AS missing
    FROM main.sessions NATURAL LEFT JOIN (
        SELECT NULL AS sandbox_id, NULL AS config_options_json, NULL AS modes_json WHERE false
    )
)
ORDER BY place;

-- A statement is all or nothing, so one row stands for all.
INSERT INTO temp.agent_session_store_guard
SELECT 'sessions copied', true
WHERE EXISTS (SELECT 1 FROM main.agent_session_store_sessions) OR NOT EXISTS (SELECT 1 FROM main.sessions);
CREATE TEMP TABLE IF NOT EXISTS agent_session_store_guard (section TEXT, passed BOOLEAN CHECK (passed));
INSERT OR ROLLBACK INTO temp.agent_session_store_guard
SELECT 'gate', count(*) = 3 FROM temp.agent_session_store_guard WHERE section IN ('begin', 'sessions copied');

-- @section sessions replaced
SAVEPOINT agent_session_store;
DROP TABLE main.sessions;
CREATE TEMP TABLE IF NOT EXISTS agent_session_store_guard (section TEXT, passed BOOLEAN CHECK (passed));
INSERT OR ROLLBACK INTO temp.agent_session_store_guard
SELECT 'gate', count(*) = 3 FROM temp.agent_session_store_guard WHERE section IN ('begin', 'sessions copied');

CREATE INDEX main.idx_sessions_order ON agent_session_store_sessions (created_at, id);
CREATE INDEX main.idx_sessions_agent ON agent_session_store_sessions (agent, created_at, id);
CREATE INDEX main.idx_sessions_sandbox ON agent_session_store_sessions (sandbox_id, created_at, id);
CREATE INDEX main.idx_sessions_live ON agent_session_store_sessions (created_at, id) WHERE destroyed_at IS NULL;
CREATE INDEX main.idx_sessions_destroyed ON agent_session_store_sessions (created_at, id) WHERE destroyed_at IS NOT NULL;
ALTER TABLE main.agent_session_store_sessions RENAME TO sessions;

-- @section events
SAVEPOINT agent_session_store;
CREATE TABLE IF NOT EXISTS main.events (
    id TEXT PRIMARY KEY, event_index BIGINT, session_id TEXT, created_at BIGINT, connection_id TEXT, sender TEXT,
    payload_json TEXT
);
SAVEPOINT agent_session_store;
CREATE TABLE IF NOT EXISTS main.events_legacy (
    id TEXT PRIMARY KEY, event_index BIGINT, session_id TEXT, created_at BIGINT, connection_id TEXT, sender TEXT,
    payload_json TEXT
);

INSERT INTO temp.agent_session_store_guard
SELECT 'events', true WHERE (
    SELECT json_extract('{}', 'agent-session-store: ' || name || ' is ' || CASE type WHEN 'table' THEN 'a table without rowids'
        WHEN 'virtual' THEN 'a virtual table' ELSE 'a ' || type END || ', not a table that could be rebuilt')
    FROM pragma_table_list
    WHERE schema = 'main' AND lower(name) IN ('events', 'events_legacy') AND (type <> 'table' OR wr)
) IS NULL;

INSERT INTO temp.agent_session_store_guard
SELECT 'events', true WHERE (
    WITH wanted (name) AS (
        VALUES ('id'), ('session_id'), ('created_at'), ('connection_id'), ('sender'), ('payload_json')
    ), found (source) AS (VALUES ('events'), ('events_legacy'))
    SELECT json_extract('{}', 'agent-session-store: the table ' || source || ' has no column ' || name
        || ', so it is not a table of agent sessions')
    FROM found, wanted
    WHERE name NOT IN (SELECT lower(name) FROM pragma_table_xinfo(source, 'main'))
) IS NULL;

-- @section events columns
INSERT INTO temp.agent_session_store_guard
SELECT 'events', true WHERE (
    WITH found (source) AS (VALUES ('events'), ('events_legacy'))
    SELECT json_extract('{}', 'agent-session-store: the table ' || source || ' has the column ' || quote(name)
        || ', which a rebuild would drop; use the crate''s migrate()')
    FROM found, pragma_table_xinfo(source, 'main')
    WHERE lower(name) NOT IN
        ('id', 'event_index', 'session_id', 'created_at', 'connection_id', 'sender', 'payload_json')
) IS NULL;

-- @section events table
INSERT INTO temp.agent_session_store_guard
SELECT 'events', true WHERE (
    SELECT json_extract('{}', 'agent-session-store: the table ' || tbl_name || ' carries the ' || type || ' ' || quote(name)
        || ', which a rebuild would drop; drop it and create it again afterwards, or use the crate''s migrate()')
    FROM main.sqlite_master
    WHERE lower(tbl_name) IN ('events', 'events_legacy') AND type IN ('index', 'trigger') AND sql IS NOT NULL
        AND lower(name) NOT IN ('idx_events_session_order', 'idx_events_session_created')
) IS NULL;

-- Two rows may share an id as text where it is no key, or a key of any type, or a blob. Looked for only there.
INSERT INTO temp.agent_session_store_guard
SELECT 'events', true WHERE (
    SELECT json_extract('{}', 'agent-session-store: the table events has several rows with the id ' || quote(text_id))
    FROM (
        SELECT CAST(id AS TEXT) AS text_id
        FROM main.events
        WHERE id IS NOT NULL AND (
            (SELECT group_concat(lower(name)) FROM pragma_table_info('events', 'main') WHERE pk > 0) IS NOT 'id'
            OR EXISTS (
                SELECT 1 FROM pragma_table_info('events', 'main')
                WHERE lower(name) = 'id' AND type NOT LIKE '%int%' AND type NOT LIKE '%char%' AND type NOT LIKE '%text%'
            )
            OR EXISTS (SELECT 1 FROM main.events WHERE id >= x'')
        )
        GROUP BY text_id
        HAVING count(*) > 1
    )
) IS NULL;
INSERT INTO temp.agent_session_store_guard
SELECT 'events', true WHERE (
    SELECT json_extract('{}', 'agent-session-store: the table events_legacy has several rows with the id ' || quote(text_id))
    FROM (
        SELECT CAST(id AS TEXT) AS text_id
        FROM main.events_legacy
        WHERE id IS NOT NULL AND (
            (SELECT group_concat(lower(name)) FROM pragma_table_info('events_legacy', 'main') WHERE pk > 0) IS NOT 'id'
            OR EXISTS (
                SELECT 1 FROM pragma_table_info('events_legacy', 'main')
                WHERE lower(name) = 'id' AND type NOT LIKE '%int%' AND type NOT LIKE '%char%' AND type NOT LIKE '%text%'
            )
            OR EXISTS (SELECT 1 FROM main.events_legacy WHERE id >= x'')
        )
        GROUP BY text_id
        HAVING count(*) > 1
    )
) IS NULL;

SAVEPOINT agent_session_store;
CREATE TABLE main.agent_session_store_events (
    id TEXT NOT NULL PRIMARY KEY,
    event_index BIGINT NOT NULL,
    session_id TEXT NOT NULL,
    created_at BIGINT NOT NULL, -- Unix milliseconds
    connection_id TEXT NOT NULL,
    sender TEXT NOT NULL, -- 'client' or 'agent'
    payload_json TEXT NOT NULL
);
INSERT INTO temp.agent_session_store_guard
SELECT 'events', true FROM main.sqlite_master WHERE name = 'agent_session_store_events';
CREATE TEMP TABLE IF NOT EXISTS agent_session_store_guard (section TEXT, passed BOOLEAN CHECK (passed));
INSERT OR ROLLBACK INTO temp.agent_session_store_guard
SELECT 'gate', count(*) = 11 FROM temp.agent_session_store_guard WHERE section IN ('begin', 'names', 'events');

-- @section events rows
-- A table may lack the column `event_index`. Joined by the names that both sides share with a table that has this one
-- column and no row, it is there in any case, and NULL where it was missing.

-- Where every event has its index, they only have to be put in order, for which there is an index. Elsewhere the
-- limit is 0, and nothing is read.
INSERT INTO main.agent_session_store_events (
    id, event_index, session_id, created_at, connection_id, sender, payload_json
)
SELECT
    CASE WHEN missing IS NULL THEN text_id ELSE
        json_extract('{}', 'agent-session-store: the events row ' || place || ' (id ' || quote(text_id) || ') has no '
            || missing)
    END,
    event_index, session_id, created_at, connection_id, sender, payload_json
FROM (
    SELECT
        events.rowid AS place, id, CAST(id AS TEXT) AS text_id, event_index,
        session_id, created_at, connection_id, sender, payload_json,
        CASE WHEN id IS NULL THEN 'id' WHEN session_id IS NULL THEN 'session_id'
            WHEN created_at IS NULL THEN 'created_at' WHEN connection_id IS NULL THEN 'connection_id'
            WHEN sender IS NULL THEN 'sender' WHEN payload_json IS NULL THEN 'payload_json' END AS missing
    FROM main.events NATURAL LEFT JOIN (SELECT NULL AS event_index WHERE false)
)
ORDER BY session_id, event_index, id
LIMIT CASE WHEN EXISTS (
    SELECT 1 FROM main.events NATURAL LEFT JOIN (SELECT NULL AS event_index WHERE false) WHERE event_index IS NULL
) THEN 0 ELSE -1 END;

-- The rows that follow arrive in this order, so the index grows at its end.
SAVEPOINT agent_session_store;
DROP INDEX IF EXISTS main.idx_events_session_order;
CREATE TEMP TABLE IF NOT EXISTS agent_session_store_guard (section TEXT, passed BOOLEAN CHECK (passed));
INSERT OR ROLLBACK INTO temp.agent_session_store_guard
SELECT 'gate', count(*) = 9 FROM temp.agent_session_store_guard WHERE section IN ('begin', 'events');
CREATE INDEX main.idx_events_session_order ON agent_session_store_events (session_id, event_index, id);

-- Elsewhere a missing index becomes the row's position in its session; `id` is compared as it is stored, integers as
-- numbers. Counting brings the rows of a session side by side, and so they go into the new table. It is done without
-- what is long, which is fetched afterwards, row by row: sorting that along would write it to temporary files and back.
INSERT INTO main.agent_session_store_events (
    id, event_index, session_id, created_at, connection_id, sender, payload_json
)
SELECT
    CASE WHEN missing IS NULL THEN text_id ELSE
        json_extract('{}', 'agent-session-store: the events row ' || place || ' (id ' || quote(text_id) || ') has no '
            || missing)
    END,
    event_index, session_id, created_at, connection_id, sender, payload_json
FROM (
    SELECT
        place, text_id, placed.event_index, events.session_id, events.created_at, connection_id, sender, payload_json,
        CASE WHEN text_id IS NULL THEN 'id' WHEN events.session_id IS NULL THEN 'session_id'
            WHEN events.created_at IS NULL THEN 'created_at' WHEN events.connection_id IS NULL THEN 'connection_id'
            WHEN events.sender IS NULL THEN 'sender' WHEN events.payload_json IS NULL THEN 'payload_json' END AS missing
    FROM (
        SELECT
            events.rowid AS place, CAST(id AS TEXT) AS text_id,
            coalesce(event_index, row_number() OVER (PARTITION BY session_id ORDER BY created_at, id)) AS event_index
        FROM main.events NATURAL LEFT JOIN (SELECT NULL AS event_index WHERE false)
        LIMIT CASE WHEN EXISTS (
            SELECT 1 FROM main.events NATURAL LEFT JOIN (SELECT NULL AS event_index WHERE false) WHERE event_index IS NULL
        ) THEN -1 ELSE 0 END
    ) AS placed
    CROSS JOIN main.events ON events.rowid = place
);

INSERT INTO temp.agent_session_store_guard
SELECT 'events copied', true
WHERE EXISTS (SELECT 1 FROM main.agent_session_store_events) OR NOT EXISTS (SELECT 1 FROM main.events);
INSERT INTO temp.agent_session_store_guard
SELECT 'events of before', 1 + coalesce(max(rowid), 0) FROM main.agent_session_store_events;

-- What an interrupted rebuild did not bring over, with the index it would have got there.
INSERT INTO main.agent_session_store_events (
    id, event_index, session_id, created_at, connection_id, sender, payload_json
)
SELECT
    CASE WHEN missing IS NULL THEN text_id ELSE
        json_extract('{}', 'agent-session-store: the events_legacy row ' || place || ' (id ' || quote(text_id) || ') has no '
            || missing)
    END,
    event_index, session_id, created_at, connection_id, sender, payload_json
FROM (
    SELECT
        place, text_id, placed.event_index, events_legacy.session_id, events_legacy.created_at, connection_id, sender, payload_json,
        CASE WHEN text_id IS NULL THEN 'id' WHEN events_legacy.session_id IS NULL THEN 'session_id'
            WHEN events_legacy.created_at IS NULL THEN 'created_at' WHEN events_legacy.connection_id IS NULL THEN 'connection_id'
            WHEN events_legacy.sender IS NULL THEN 'sender' WHEN events_legacy.payload_json IS NULL THEN 'payload_json' END AS missing
    FROM (
        SELECT
            events_legacy.rowid AS place, CAST(id AS TEXT) AS text_id,
            coalesce(event_index, row_number() OVER (PARTITION BY session_id ORDER BY created_at, id)) AS event_index
        FROM main.events_legacy NATURAL LEFT JOIN (SELECT NULL AS event_index WHERE false)
    ) AS placed
    CROSS JOIN main.events_legacy ON events_legacy.rowid = place
    WHERE text_id IS NULL OR text_id NOT IN (SELECT CAST(id AS TEXT) FROM main.events)
);

-- If none has arrived, there must have been none to bring over.
INSERT INTO temp.agent_session_store_guard
SELECT 'events copied', true
WHERE (SELECT 1 + coalesce(max(rowid), 0) FROM main.agent_session_store_events)
        > (SELECT passed FROM temp.agent_session_store_guard WHERE section = 'events of before')
    OR NOT EXISTS (
        SELECT 1 FROM main.events_legacy
        WHERE id IS NULL OR CAST(id AS TEXT) NOT IN (SELECT id FROM main.agent_session_store_events)
    );
CREATE TEMP TABLE IF NOT EXISTS agent_session_store_guard (section TEXT, passed BOOLEAN CHECK (passed));
INSERT OR ROLLBACK INTO temp.agent_session_store_guard
SELECT 'gate', count(*) = 4 FROM temp.agent_session_store_guard WHERE section IN ('begin', 'events copied');

-- @section events replaced
SAVEPOINT agent_session_store;
DROP TABLE main.events;
SAVEPOINT agent_session_store;
DROP TABLE main.events_legacy;
CREATE TEMP TABLE IF NOT EXISTS agent_session_store_guard (section TEXT, passed BOOLEAN CHECK (passed));
INSERT OR ROLLBACK INTO temp.agent_session_store_guard
SELECT 'gate', count(*) = 4 FROM temp.agent_session_store_guard WHERE section IN ('begin', 'events copied');
ALTER TABLE main.agent_session_store_events RENAME TO events;

-- @section references
-- The reference driver renames `events` to `events_legacy`, and SQLite makes foreign keys, views and triggers follow.
-- They mean `events` again.
PRAGMA writable_schema = ON;
UPDATE main.sqlite_master
SET sql = CASE type WHEN 'table'
    THEN replace(replace(sql, 'REFERENCES "events_legacy"', 'REFERENCES "events"'),
        'references "events_legacy"', 'references "events"')
    ELSE replace(sql, '"events_legacy"', '"events"') END
WHERE sql LIKE '%"events_legacy"%'
    AND (SELECT count(*) FROM temp.agent_session_store_guard WHERE section = 'begin') = 2
    AND 'events' = (
        SELECT group_concat(name) FROM main.sqlite_master
        WHERE type = 'table' AND lower(name) IN ('events', 'events_legacy', 'agent_session_store_events')
    );
PRAGMA writable_schema = RESET;

-- @section end
CREATE TEMP TABLE IF NOT EXISTS agent_session_store_guard (section TEXT, passed BOOLEAN CHECK (passed));
INSERT OR ROLLBACK INTO temp.agent_session_store_guard
SELECT 'gate', count(*) = 5 AND (
    SELECT count(*) FROM main.sqlite_master
    WHERE (type = 'table' AND name IN ('sessions', 'events'))
        OR (type = 'index' AND name IN ('idx_events_session_order', 'idx_sessions_order', 'idx_sessions_agent',
            'idx_sessions_sandbox', 'idx_sessions_live', 'idx_sessions_destroyed'))
) = 8 AND NOT EXISTS (
    SELECT 1 FROM main.sqlite_master
    WHERE name IN ('agent_session_store_sessions', 'agent_session_store_events', 'events_legacy')
        OR (type = 'table' AND (instr(sql, 'REFERENCES "events_legacy"') OR instr(sql, 'references "events_legacy"')))
        OR (type <> 'table' AND instr(sql, '"events_legacy"'))
)
FROM temp.agent_session_store_guard
WHERE section IN ('begin', 'sessions copied', 'events copied');
COMMIT;
-- Where COMMIT could not do its work, nothing stays open either.
SAVEPOINT agent_session_store;
ROLLBACK;
PRAGMA legacy_alter_table = OFF;
PRAGMA foreign_keys = ON;
DROP TABLE IF EXISTS temp.agent_session_store_guard;
