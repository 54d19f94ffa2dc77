//! The tables of [`schema`](crate::schema) under their full names, for the statements of this crate: ours are the ones
//! in `main`, whatever temporary or attached tables a connection has beside them.

diesel::table! {
    main.events (id) {
        id -> Text,
        event_index -> BigInt,
        session_id -> Text,
        created_at -> BigInt,
        connection_id -> Text,
        sender -> Text,
        payload_json -> Text,
    }
}

diesel::table! {
    main.sessions (id) {
        id -> Text,
        agent -> Text,
        agent_session_id -> Text,
        last_connection_id -> Text,
        created_at -> BigInt,
        destroyed_at -> Nullable<BigInt>,
        sandbox_id -> Nullable<Text>,
        session_init_json -> Nullable<Text>,
        config_options_json -> Nullable<Text>,
        modes_json -> Nullable<Text>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(events, sessions,);
