//! The verbs that a store hands on to one of its connections as they are, in one list for its two faces.

/// Calls a macro with the list. An argument is `by reference` or `by value`; the text is what the example passes.
macro_rules! forwarded_verbs {
    ($forward:ident) => {
        $forward! {
            write append_events(ref session_id: str, ref events: [NewEvent]) -> Vec<i64>, r#""session-1", &[]"#;
            write append_events_after(ref session_id: str, val last_index: i64, ref events: [NewEvent]) -> Vec<i64>,
                r#""session-1", 0, &[]"#;
            read last_event_index(ref session_id: str) -> Option<i64>, r#""session-1""#;
            read latest_events(ref session_id: str, val count: u32, val max_bytes: Option<usize>) -> Vec<SessionEvent>,
                r#""session-1", 50, None"#;
            write delete_session(ref id: str) -> bool, r#""session-1""#;
            write destroy_session(ref id: str, val at: DateTime<Utc>) -> bool,
                r#""session-1", chrono::DateTime::UNIX_EPOCH"#;
            write fork_session(ref from_id: str, val up_to_index: Option<i64>, ref new: SessionRecord) -> u64,
                r#""session-1", None, &new"#;
            read stats() -> Stats, "";
            read session_stats() -> Vec<SessionStats>, "";
            read check() -> CheckReport, "";
        }
    };
}

/// The type of an argument in a signature.
macro_rules! argument_type {
    (ref $type:ty) => {
        &$type
    };
    (val $type:ty) => {
        $type
    };
}

/// An argument from an owned copy of it.
macro_rules! from_owned {
    (ref $argument:ident) => {
        &$argument
    };
    (val $argument:ident) => {
        $argument
    };
}

pub(super) use {argument_type, forwarded_verbs, from_owned};
