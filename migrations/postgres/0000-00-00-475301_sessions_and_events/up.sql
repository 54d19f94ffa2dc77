-- Creates the tables, or adopts those that are there: the reference TypeScript driver's, of any version, and a host's
-- with other keys. It converts no column and rewrites no row, except where events have no index or no text ids.
--
-- One statement, because a sharded server wants DDL alone in its message. The tables are found, and created, by the
-- search_path.
DO $migration$
DECLARE
    problem text;
    id_is_text boolean;
BEGIN
    -- Others may be doing the same at this moment.
    PERFORM pg_advisory_xact_lock(475301);

    -- Whether the tables that are there are what their names say.
    WITH
    tables (name, key) AS (VALUES ('sessions', 'id'), ('events', 'id'), ('event_heads', 'session_id')),
    -- What a column may be. The reference driver adds the last three of sessions itself, and event_index.
    columns (table_name, column_name, kind, may_lack) AS (VALUES
        ('sessions', 'id', 'text', false),
        ('sessions', 'agent', 'text', false),
        ('sessions', 'agent_session_id', 'text', false),
        ('sessions', 'last_connection_id', 'text', false),
        ('sessions', 'created_at', 'bigint', false),
        ('sessions', 'destroyed_at', 'bigint', false),
        ('sessions', 'sandbox_id', 'text', true),
        ('sessions', 'session_init_json', 'json', false),
        ('sessions', 'config_options_json', 'json', true),
        ('sessions', 'modes_json', 'json', true),
        ('events', 'id', 'id', false),
        ('events', 'event_index', 'bigint', true),
        ('events', 'session_id', 'text', false),
        ('events', 'created_at', 'bigint', false),
        ('events', 'connection_id', 'text', false),
        ('events', 'sender', 'text', false),
        ('events', 'payload_json', 'json', false),
        ('event_heads', 'session_id', 'text', false),
        ('event_heads', 'last_index', 'bigint', false)
    ),
    kinds (kind, type) AS (VALUES
        ('text', 'text'), ('text', 'character varying'),
        ('bigint', 'bigint'),
        ('json', 'json'), ('json', 'jsonb'), ('json', 'text'),
        ('id', 'text'), ('id', 'character varying'), ('id', 'bigint'), ('id', 'integer'), ('id', 'uuid')
    ),
    found AS (
        SELECT c.table_name, c.column_name, c.may_lack, c.kind, format_type(a.atttypid, NULL) AS type
        FROM columns AS c
        LEFT JOIN pg_attribute AS a
            ON a.attrelid = to_regclass(c.table_name) AND a.attname = c.column_name AND NOT a.attisdropped
        WHERE to_regclass(c.table_name) IS NOT NULL
    ),
    -- The columns of each unique key, in alphabetical order.
    keys AS (
        SELECT t.name AS table_name, (
            SELECT string_agg(a.attname, ', ' ORDER BY a.attname)
            FROM pg_attribute AS a
            WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
        ) AS key
        FROM tables AS t
        JOIN pg_index AS i ON i.indrelid = to_regclass(t.name)
        WHERE i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
    ),
    problems (rank, words) AS (
        SELECT 1, format('%s is not a table', t.name)
        FROM tables AS t JOIN pg_class AS c ON c.oid = to_regclass(t.name)
        WHERE c.relkind NOT IN ('r', 'p')
        UNION ALL
        SELECT 2, format('table %s has no column %s', table_name, column_name)
        FROM found WHERE type IS NULL AND NOT may_lack
        UNION ALL
        SELECT 3, format('column %s of table %s has the type %s', column_name, table_name, type)
        FROM found AS f
        WHERE type IS NOT NULL AND NOT EXISTS (SELECT 1 FROM kinds AS k WHERE k.kind = f.kind AND k.type = f.type)
        UNION ALL
        SELECT 4, format('table %s has no unique key on %s', t.name, t.key)
        FROM tables AS t
        WHERE to_regclass(t.name) IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM keys AS k
            WHERE k.table_name = t.name AND (k.key = t.key OR (k.table_name = 'events' AND k.key = 'id, session_id'))
        )
    )
    SELECT words INTO problem FROM problems ORDER BY rank, words LIMIT 1;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'agent-session-store: %', problem;
    END IF;

    IF to_regclass('sessions') IS NULL THEN
        CREATE TABLE sessions (
            id TEXT PRIMARY KEY,
            agent TEXT NOT NULL,
            agent_session_id TEXT NOT NULL,
            last_connection_id TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            destroyed_at BIGINT,
            sandbox_id TEXT,
            session_init_json JSON,
            config_options_json JSON,
            modes_json JSON
        );
    END IF;
    -- ALTER TABLE waits for all who read the table, so only where there is something to add.
    IF (
        SELECT count(*) < 3 FROM pg_attribute
        WHERE attrelid = to_regclass('sessions') AND attname IN ('sandbox_id', 'config_options_json', 'modes_json')
            AND NOT attisdropped
    ) THEN
        ALTER TABLE sessions
            ADD COLUMN IF NOT EXISTS sandbox_id TEXT,
            ADD COLUMN IF NOT EXISTS config_options_json JSON,
            ADD COLUMN IF NOT EXISTS modes_json JSON;
    END IF;

    IF to_regclass('events') IS NULL THEN
        CREATE TABLE events (
            id TEXT PRIMARY KEY,
            event_index BIGINT NOT NULL,
            session_id TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            connection_id TEXT NOT NULL,
            sender TEXT NOT NULL,
            payload_json JSON NOT NULL
        );
    END IF;
    SELECT atttypid IN ('text'::regtype, 'varchar'::regtype) INTO id_is_text
    FROM pg_attribute WHERE attrelid = to_regclass('events') AND attname = 'id';
    IF NOT EXISTS (
        SELECT 1 FROM pg_attribute
        WHERE attrelid = to_regclass('events') AND attname = 'event_index' AND attnotnull AND NOT attisdropped
    ) THEN
        ALTER TABLE events ADD COLUMN IF NOT EXISTS event_index BIGINT;
        -- The position in the session, ids compared as they are stored: 2 before 10 where they are numbers.
        EXECUTE format(
            'UPDATE events SET event_index = placed.place
             FROM (
                 SELECT id, session_id, row_number() OVER (PARTITION BY session_id ORDER BY created_at, %s) AS place
                 FROM events
             ) AS placed
             WHERE events.event_index IS NULL AND events.id = placed.id AND events.session_id = placed.session_id',
            CASE WHEN id_is_text THEN 'id COLLATE "C"' ELSE 'id' END
        );
        -- A host's deferred triggers that are still to run for these rows would refuse what follows.
        SET CONSTRAINTS ALL IMMEDIATE;
        ALTER TABLE events ALTER COLUMN event_index SET NOT NULL;
    END IF;
    IF NOT id_is_text THEN
        ALTER TABLE events
            ALTER COLUMN id DROP IDENTITY IF EXISTS,
            ALTER COLUMN id DROP DEFAULT;
        ALTER TABLE events ALTER COLUMN id TYPE TEXT USING id::text;
    END IF;
    -- Ids in byte order, as in the listings. The reference driver's index of this name serves as well: only events that
    -- share an index are then sorted.
    IF to_regclass('idx_events_session_order') IS NULL THEN
        CREATE INDEX idx_events_session_order ON events (session_id, event_index, id COLLATE "C");
    END IF;

    IF to_regclass('idx_sessions_order') IS NULL THEN
        CREATE INDEX idx_sessions_order ON sessions (created_at, id COLLATE "C");
    END IF;
    IF to_regclass('idx_sessions_agent') IS NULL THEN
        CREATE INDEX idx_sessions_agent ON sessions (agent, created_at, id COLLATE "C");
    END IF;
    IF to_regclass('idx_sessions_sandbox') IS NULL THEN
        CREATE INDEX idx_sessions_sandbox ON sessions (sandbox_id, created_at, id COLLATE "C");
    END IF;
    IF to_regclass('idx_sessions_live') IS NULL THEN
        CREATE INDEX idx_sessions_live ON sessions (created_at, id COLLATE "C") WHERE destroyed_at IS NULL;
    END IF;
    IF to_regclass('idx_sessions_destroyed') IS NULL THEN
        CREATE INDEX idx_sessions_destroyed ON sessions (created_at, id COLLATE "C") WHERE destroyed_at IS NOT NULL;
    END IF;

    -- The index that each session ends at, for appending. It can be emptied while nobody appends: the events are what counts.
    IF to_regclass('event_heads') IS NULL THEN
        CREATE TABLE event_heads (
            session_id TEXT PRIMARY KEY,
            last_index BIGINT NOT NULL
        ) WITH (fillfactor = 50);
    END IF;
END
$migration$;
