//! What Diesel reports about statements: those of one connection, or of all connections to one database.

use std::fmt::Display;
use std::sync::{Arc, Mutex, Once, PoisonError};

use agent_session_store::diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use agent_session_store::diesel::{Connection, SqliteConnection};

use super::TempDb;

/// The SQL of a statement as it was sent.
fn sql(query: &dyn Display) -> String {
    let text = query.to_string();
    text.split_once(" -- binds:").map_or(&*text, |(sql, _)| sql).trim().to_owned()
}

/// The statements of a connection.
#[derive(Clone, Default)]
pub struct Statements(Arc<Mutex<(Vec<String>, Vec<String>)>>);

impl Statements {
    /// Listens to the connection from now on.
    pub fn of(conn: &mut SqliteConnection) -> Self {
        let statements = Self::default();
        let heard = statements.clone();
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            let mut heard = heard.0.lock().unwrap();
            match event {
                InstrumentationEvent::StartQuery { query, .. } => heard.0.push(sql(query)),
                InstrumentationEvent::CacheQuery { sql, .. } => heard.1.push(sql.to_owned()),
                _ => {}
            }
        });
        statements
    }

    /// The SQL of what ran since this was asked last.
    pub fn take_run(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().0)
    }

    /// The SQL of what was prepared and kept in the connection's cache since this was asked last.
    pub fn take_cached(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

static WATCHES: Mutex<Vec<Arc<Watch>>> = Mutex::new(Vec::new());

/// Looks at one kind of moment, by its SQL; it may panic.
type Hook = Box<dyn Fn(Moment, &str) + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Start,
    Finish,
}

/// Everything that ran on connections that were opened since to one database, the store's own among them.
///
/// Diesel's default instrumentation is the whole process's: it is set once, and looks up whose database it is.
pub struct Watch {
    /// Of its URL.
    part: String,
    ran: Mutex<Vec<String>>,
    hook: Option<Hook>,
}

impl Watch {
    pub fn on(db: &TempDb) -> Arc<Self> {
        Self::start(&folder(db), None)
    }

    /// The same, of a database whose URL contains this.
    pub fn on_url(part: &str) -> Arc<Self> {
        Self::start(part, None)
    }

    pub fn with_hook(db: &TempDb, hook: impl Fn(Moment, &str) + Send + Sync + 'static) -> Arc<Self> {
        Self::start(&folder(db), Some(Box::new(hook)))
    }

    fn start(part: &str, hook: Option<Hook>) -> Arc<Self> {
        static SET: Once = Once::new();
        SET.call_once(|| set_default_instrumentation(|| Some(Box::new(Watcher(None)))).unwrap());
        let watch = Arc::new(Self { part: part.to_owned(), ran: Mutex::default(), hook });
        WATCHES.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&watch));
        watch
    }

    /// The SQL of what ran since this was asked last.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.ran.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn see(&self, moment: Moment, sql: &str) {
        if moment == Moment::Start {
            self.ran.lock().unwrap_or_else(PoisonError::into_inner).push(sql.to_owned());
        }
        if let Some(hook) = &self.hook {
            hook(moment, sql);
        }
    }
}

fn folder(db: &TempDb) -> String {
    db.folder().file_name().unwrap().to_str().unwrap().to_owned()
}

/// On one connection.
struct Watcher(Option<Arc<Watch>>);

impl Instrumentation for Watcher {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartEstablishConnection { url, .. } => {
                let watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
                self.0 = watches.iter().find(|watch| url.contains(&watch.part)).cloned();
            }
            InstrumentationEvent::StartQuery { query, .. } => self.see(Moment::Start, query),
            InstrumentationEvent::FinishQuery { query, .. } => self.see(Moment::Finish, query),
            _ => {}
        }
    }
}

impl Watcher {
    fn see(&self, moment: Moment, query: &dyn Display) {
        if let Some(watch) = &self.0 {
            watch.see(moment, &sql(query));
        }
    }
}
