//! Records of any content, as both drivers can hold them, with JSON that a test chooses.

use agent_session_store::{Json, Sender, SessionEvent, SessionRecord};
use proptest::prelude::*;

use super::{json, millis};

/// Any of these JSON texts.
pub fn any_json(texts: &'static [&'static str]) -> impl Strategy<Value = Json> {
    prop::sample::select(texts).prop_map(json)
}

fn some_text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-zA-Z0-9 '\"äß😀\\\\-]{1,12}"]
}

/// Times and indexes that a double holds exactly, as JavaScript's must be.
fn some_number() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(-1), 1_600_000_000_000..1_900_000_000_000_i64, -8_000_000_000_000_i64..8_000_000_000_000]
}

prop_compose! {
    pub fn some_session(texts: &'static [&'static str])(
        (id, agent, agent_session_id, last_connection_id) in (some_text(), some_text(), some_text(), some_text()),
        created_at in some_number(),
        destroyed_at in prop::option::of(some_number()),
        sandbox_id in prop::option::of(some_text()),
        session_init in prop::option::of(any_json(texts)),
        config_options in prop::option::of(any_json(texts)),
        modes in prop_oneof![Just(None), Just(Some(json("null"))), any_json(texts).prop_map(Some)],
    ) -> SessionRecord {
        with!(SessionRecord::new(id, agent, agent_session_id, last_connection_id, millis(created_at)), destroyed_at: destroyed_at.map(millis), sandbox_id: sandbox_id, session_init: session_init, config_options: config_options, modes: modes)
    }
}

prop_compose! {
    pub fn some_event(texts: &'static [&'static str])(
        (id, session_id, connection_id) in (some_text(), prop::sample::select(vec!["s1", "s2"]), some_text()),
        (event_index, created_at) in (prop_oneof![0..4_i64, some_number()], some_number()),
        sender in prop_oneof![Just(Sender::Client), Just(Sender::Agent)],
        payload in any_json(texts),
    ) -> SessionEvent {
        let session_id = session_id.to_owned();
        SessionEvent::new(id, event_index, session_id, millis(created_at), connection_id, sender, payload)
    }
}
