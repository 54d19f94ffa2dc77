//! Proves that SQLCipher's defaults, which are the whole process's, reach the copies too.

use agent_session_store::{Error, Json, SessionRecord, SessionStore};

#[test]
fn a_copy_has_the_defaults_that_on_open_sets() {
    let folder = tempfile::tempdir().unwrap();
    let builder = SessionStore::builder()
        .on_open(|conn| conn.batch_execute("PRAGMA cipher_default_compatibility = 3; PRAGMA key = 'correct horse'"));
    let store = builder.clone().open(folder.path().join("sessions.db")).unwrap();
    let session =
        r#"{"id":"one","agent":"claude","agentSessionId":"a","lastConnectionId":"c","createdAt":1700000000000}"#;
    let session: SessionRecord = Json::parse(session).unwrap().decode().unwrap();
    store.update_session(&session).unwrap();
    store.backup_to(folder.path().join("copy.db")).unwrap();
    let copy = builder.create(false).open(folder.path().join("copy.db")).unwrap();
    assert_eq!(copy.get_session("one").unwrap(), Some(session));
    let others = SessionStore::builder()
        .on_open(|conn| conn.batch_execute("PRAGMA cipher_default_compatibility = 4; PRAGMA key = 'correct horse'"));
    let refused = others.open(folder.path().join("copy.db"));
    assert!(matches!(refused, Err(Error::NotADatabase { .. })), "{refused:?}");
}
