//! What Diesel's default instrumentation sees of the connections to one database, the store's own among them.

use std::sync::{Arc, Mutex, PoisonError};

use agent_session_store::diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};

use super::TempDb;

static WATCHES: Mutex<Vec<Arc<Watch>>> = Mutex::new(Vec::new());

/// Looks at one kind of moment, by its SQL; it may panic.
type Hook = Box<dyn Fn(Moment, &str) + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Start,
    Finish,
}

/// Everything that ran on connections that were opened since to a database in one folder.
pub struct Watch {
    folder: String,
    ran: Mutex<Vec<String>>,
    hook: Option<Hook>,
}

impl Watch {
    pub fn on(db: &TempDb) -> Arc<Self> {
        Self::start(db, None)
    }

    pub fn with_hook(db: &TempDb, hook: impl Fn(Moment, &str) + Send + Sync + 'static) -> Arc<Self> {
        Self::start(db, Some(Box::new(hook)))
    }

    fn start(db: &TempDb, hook: Option<Hook>) -> Arc<Self> {
        let folder = db.folder().file_name().unwrap().to_str().unwrap().to_owned();
        let watch = Arc::new(Self { folder, ran: Mutex::default(), hook });
        set_default_instrumentation(|| Some(Box::new(Watcher(None)))).unwrap();
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

/// On one connection.
struct Watcher(Option<Arc<Watch>>);

impl Instrumentation for Watcher {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartEstablishConnection { url, .. } => {
                let watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
                self.0 = watches.iter().find(|watch| url.contains(&watch.folder)).cloned();
            }
            InstrumentationEvent::StartQuery { query, .. } => self.see(Moment::Start, &query.to_string()),
            InstrumentationEvent::FinishQuery { query, .. } => self.see(Moment::Finish, &query.to_string()),
            _ => {}
        }
    }
}

impl Watcher {
    fn see(&self, moment: Moment, query: &str) {
        if let Some(watch) = &self.0 {
            watch.see(moment, query.split_once(" -- binds:").map_or(query, |(sql, _)| sql).trim());
        }
    }
}
