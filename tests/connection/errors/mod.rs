//! Proves that each kind of bad input is a clear, typed error that keeps its cause, and that nothing was written.

/// Fills a database, and changes it as another program may.
macro_rules! filled_then {
    ($sql:expr) => {
        |db| {
            filled(db);
            db.plain().execute_batch($sql).unwrap();
        }
    };
}

mod files;
mod refused;
mod values;

use std::error::Error as _;

use agent_session_store::{Error, Json, ListEventsRequest, ListPage, SessionEvent, SessionPersistDriver};

use crate::common::{TempDb, event, session};

/// One kind of bad input.
struct Case {
    name: &'static str,
    /// Makes the folder what it is before.
    given: fn(&TempDb),
    /// What then fails.
    when: fn(&TempDb) -> Result<(), Error>,
    /// The variant, as far as a caller would look at it.
    is: fn(&Error) -> bool,
    /// What it says; the folder is written as `<folder>`.
    says: &'static str,
    /// What its causes say, outermost first.
    because: &'static [&'static str],
}

/// Every kind there is.
const CASES: [&[Case]; 3] = [values::CASES, files::CASES, refused::CASES];

/// A migrated database with the session `one` and its event `e1`.
fn filled(db: &TempDb) {
    let mut conn = db.migrated();
    conn.update_session(&session("one")).unwrap();
    conn.insert_event(&event("e1", "one", 1)).unwrap();
}

fn list_events(db: &TempDb) -> Result<(), Error> {
    db.connect().list_events(&ListEventsRequest::new("one")).map(drop)
}

fn nothing(_: &TempDb) {}

#[test]
fn every_kind_of_bad_input_has_its_message_and_writes_nothing() {
    for case in CASES.into_iter().flatten() {
        let db = TempDb::new();
        (case.given)(&db);
        let before = db.bytes();

        let error = (case.when)(&db).expect_err(case.name);

        let message = error.to_string().replace(db.folder().to_str().unwrap(), "<folder>");
        assert_eq!(message, case.says, "{}", case.name);
        assert!((case.is)(&error), "{}: {error:?}", case.name);
        let causes: Vec<String> =
            std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string).collect();
        assert_eq!(causes, case.because, "the causes of {}", case.name);
        assert!(db.bytes() == before, "{}: something was written", case.name);
    }
}

/// A record cannot be made of JSON that is broken either.
#[test]
fn broken_json_does_not_become_a_record() {
    let text =
        r#"{"id":"e","eventIndex":1,"sessionId":"s","createdAt":0,"connectionId":"c","sender":"server","payload":{}}"#;
    let error = serde_json::from_str::<SessionEvent>(text).unwrap_err();
    assert_eq!(error.to_string(), "unknown variant `server`, expected `client` or `agent` at line 1 column 91");
    let error = serde_json::from_str::<ListPage<()>>(r#"{"items":[],"nextCursor":"100"}"#).unwrap_err();
    assert_eq!(error.to_string(), "the cursor cannot be used: it was not made by this crate at line 1 column 31");
}

/// The error crosses threads and `?` in a function of `Box<dyn Error + Send + Sync>`.
#[test]
fn the_error_is_an_error_like_others() {
    fn boxed() -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Json::parse("")?;
        Ok(())
    }
    assert!(boxed().unwrap_err().is::<Error>());
}
