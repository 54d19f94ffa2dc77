CREATE TABLE projects (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL
);
CREATE TABLE project_sessions (
    session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    project_id BIGINT NOT NULL REFERENCES projects (id)
);
