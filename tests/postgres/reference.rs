//! The reference driver's side: its statements through another client, bound as node-postgres binds them (every value is
//! text, and the server infers the types), and its decoding rules.

use std::error::Error;

use agent_session_store::{Json, SessionEvent, SessionRecord};
use bytes::BytesMut;
use postgres::types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Row};

/// A value as node-postgres sends it.
#[derive(Debug)]
struct Sent(Option<String>);

impl ToSql for Sent {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

fn text(value: &str) -> Sent {
    Sent(Some(value.to_owned()))
}

/// JavaScript has no integers: a number is a double, printed without a fraction where it has none.
fn number(value: i64) -> Sent {
    let double = value as f64;
    assert_eq!(double as i64, value, "a double holds it");
    Sent(Some(double.to_string()))
}

/// A value as it is received, whatever its type: the text that the server would print.
struct Received(String);

impl<'a> FromSql<'a> for Received {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(match *ty {
            Type::INT8 => i64::from_sql(ty, raw)?.to_string(),
            // A version comes first.
            Type::JSONB => String::from_utf8(raw[1..].to_vec())?,
            _ => String::from_utf8(raw.to_vec())?,
        }))
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::JSONB, Type::JSON, Type::TEXT, Type::VARCHAR].contains(ty)
    }
}

fn received(row: &Row) -> Vec<Option<String>> {
    (0..row.len()).map(|place| row.get::<_, Option<Received>>(place).map(|value| value.0)).collect()
}

/// How a version of the driver inserts an event whose id is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Version {
    /// The last record wins.
    Overwrites,
    /// The first record wins. It has a column `server_id` in `sessions`.
    Keeps,
}

pub struct Reference {
    pub client: Client,
    schema: String,
    version: Version,
}

const SESSION: &str = "id, agent, agent_session_id, last_connection_id, created_at, destroyed_at, sandbox_id, \
    session_init_json, config_options_json, modes_json";
const EVENT: &str = "id, event_index, session_id, created_at, connection_id, sender, payload_json";

impl Reference {
    /// What it does when it starts.
    pub fn start(client: Client, schema: &str, version: Version) -> Self {
        let mut driver = Self { client, schema: schema.to_owned(), version };
        for statement in [
            "CREATE SCHEMA IF NOT EXISTS <schema>",
            "CREATE TABLE IF NOT EXISTS <sessions> (
                id TEXT PRIMARY KEY, agent TEXT NOT NULL, agent_session_id TEXT NOT NULL,
                last_connection_id TEXT NOT NULL, created_at BIGINT NOT NULL, destroyed_at BIGINT, sandbox_id TEXT,
                session_init_json JSONB, config_options_json JSONB, modes_json JSONB)",
            "ALTER TABLE <sessions> ADD COLUMN IF NOT EXISTS sandbox_id TEXT",
            "ALTER TABLE <sessions> ADD COLUMN IF NOT EXISTS config_options_json JSONB",
            "ALTER TABLE <sessions> ADD COLUMN IF NOT EXISTS modes_json JSONB",
            "CREATE TABLE IF NOT EXISTS <events> (
                id TEXT PRIMARY KEY, event_index BIGINT NOT NULL, session_id TEXT NOT NULL, created_at BIGINT NOT NULL,
                connection_id TEXT NOT NULL, sender TEXT NOT NULL, payload_json JSONB NOT NULL)",
            "ALTER TABLE <events> ALTER COLUMN id TYPE TEXT USING id::TEXT",
            "ALTER TABLE <events> ADD COLUMN IF NOT EXISTS event_index BIGINT",
            "WITH ranked AS (
                SELECT id, ROW_NUMBER() OVER (PARTITION BY session_id ORDER BY created_at ASC, id ASC) AS place
                FROM <events>
             ) UPDATE <events> AS current SET event_index = ranked.place FROM ranked
             WHERE current.id = ranked.id AND current.event_index IS NULL",
            "ALTER TABLE <events> ALTER COLUMN event_index SET NOT NULL",
            "CREATE INDEX IF NOT EXISTS idx_events_session_order ON <events> (session_id, event_index, id)",
        ] {
            driver.run(statement, &[]);
        }
        if version == Version::Keeps {
            driver.run("ALTER TABLE <sessions> ADD COLUMN IF NOT EXISTS server_id TEXT", &[]);
        }
        driver
    }

    fn sql(&self, statement: &str) -> String {
        statement
            .replace("<sessions>", &format!("\"{}\".\"sessions\"", self.schema))
            .replace("<events>", &format!("\"{}\".\"events\"", self.schema))
            .replace("<schema>", &format!("\"{}\"", self.schema))
    }

    fn try_query(&mut self, statement: &str, values: &[Sent]) -> Result<Vec<Row>, postgres::Error> {
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        self.client.query(&self.sql(statement), &values)
    }

    fn run(&mut self, statement: &str, values: &[Sent]) -> Vec<Row> {
        self.try_query(statement, values).unwrap_or_else(|error| panic!("{error:?}: {statement}"))
    }

    pub fn update_session(&mut self, session: &SessionRecord) {
        let json = |json: &Option<Json>| Sent(json.as_ref().map(|json| json.get().to_owned()));
        // What is null there counts as absent; only modes tells the two apart.
        let unless_null = |value: &Option<Json>| Sent(json(value).0.filter(|text| text != "null"));
        let mut values = vec![
            text(&session.id),
            text(&session.agent),
            text(&session.agent_session_id),
            text(&session.last_connection_id),
            number(session.created_at.timestamp_millis()),
            session.destroyed_at.map_or(Sent(None), |time| number(time.timestamp_millis())),
            Sent(session.sandbox_id.clone()),
            unless_null(&session.session_init),
            unless_null(&session.config_options),
            json(&session.modes),
        ];
        let (mut columns, mut places) = (SESSION.to_owned(), "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10".to_owned());
        if self.version == Version::Keeps {
            columns += ", server_id";
            places += ", $11";
            values.push(text("server"));
        }
        let overwrite: Vec<_> = columns.split(", ").skip(1).map(|name| format!("{name} = EXCLUDED.{name}")).collect();
        let statement = format!(
            "INSERT INTO <sessions> ({columns}) VALUES ({places}) ON CONFLICT (id) DO UPDATE SET {}",
            overwrite.join(", ")
        );
        self.run(&statement, &values);
    }

    pub fn try_insert_event(&mut self, event: &SessionEvent) -> Result<(), postgres::Error> {
        let values = [
            text(&event.id),
            number(event.event_index),
            text(&event.session_id),
            number(event.created_at.timestamp_millis()),
            text(&event.connection_id),
            text(event.sender.as_str()),
            text(event.payload.get()),
        ];
        let conflict = match self.version {
            Version::Keeps => "DO NOTHING".to_owned(),
            Version::Overwrites => {
                let names = EVENT.split(", ").skip(1);
                let overwrite: Vec<_> = names.map(|name| format!("{name} = EXCLUDED.{name}")).collect();
                format!("DO UPDATE SET {}", overwrite.join(", "))
            }
        };
        let statement =
            format!("INSERT INTO <events> ({EVENT}) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) {conflict}");
        self.try_query(&statement, &values).map(drop)
    }

    pub fn insert_event(&mut self, event: &SessionEvent) {
        self.try_insert_event(event).unwrap_or_else(|error| panic!("{error:?}"));
    }

    /// The columns of a record, each as text or absent.
    pub fn get_session(&mut self, id: &str) -> Option<Vec<Option<String>>> {
        let rows = self.run(&format!("SELECT {SESSION} FROM <sessions> WHERE id = $1"), &[text(id)]);
        rows.first().map(received)
    }

    /// All records, page by page.
    pub fn list_sessions(&mut self) -> Vec<Vec<Option<String>>> {
        let page = format!("SELECT {SESSION} FROM <sessions> ORDER BY created_at ASC, id ASC LIMIT $1 OFFSET $2");
        self.walk(&page, "SELECT COUNT(*) AS count FROM <sessions>", None)
    }

    /// All events of a session, page by page.
    pub fn list_events(&mut self, session: &str) -> Vec<Vec<Option<String>>> {
        let page = format!(
            "SELECT {EVENT} FROM <events> WHERE session_id = $3 ORDER BY event_index ASC, id ASC LIMIT $1 OFFSET $2"
        );
        self.walk(&page, "SELECT COUNT(*) AS count FROM <events> WHERE session_id = $1", Some(session))
    }

    fn walk(&mut self, page: &str, count: &str, session: Option<&str>) -> Vec<Vec<Option<String>>> {
        const LIMIT: i64 = 7;
        let mut found = Vec::new();
        loop {
            let session = || session.map(text).into_iter();
            let values: Vec<_> = [number(LIMIT), number(found.len() as i64)].into_iter().chain(session()).collect();
            let rows = self.run(page, &values);
            found.extend(rows.iter().map(received));
            let count = self.run(count, &session().collect::<Vec<_>>());
            if found.len() as i64 >= count[0].get::<_, i64>(0) {
                return found;
            }
        }
    }
}

/// The columns of a record as the driver should read them, each JSON value in the form that its column gives it.
pub fn columns_of_session(session: &SessionRecord, form: impl Fn(&Json) -> String) -> Vec<Option<String>> {
    let form = |json: &Option<Json>| json.as_ref().map(&form);
    vec![
        Some(session.id.clone()),
        Some(session.agent.clone()),
        Some(session.agent_session_id.clone()),
        Some(session.last_connection_id.clone()),
        Some(session.created_at.timestamp_millis().to_string()),
        session.destroyed_at.map(|time| time.timestamp_millis().to_string()),
        session.sandbox_id.clone(),
        form(&session.session_init),
        form(&session.config_options),
        form(&session.modes),
    ]
}

/// The same of an event.
pub fn columns_of_event(event: &SessionEvent, form: impl Fn(&Json) -> String) -> Vec<Option<String>> {
    [
        event.id.clone(),
        event.event_index.to_string(),
        event.session_id.clone(),
        event.created_at.timestamp_millis().to_string(),
        event.connection_id.clone(),
        event.sender.to_string(),
        form(&event.payload),
    ]
    .map(Some)
    .to_vec()
}
