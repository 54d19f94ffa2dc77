// @generated automatically by Diesel CLI.

diesel::table! {
    projects (id) {
        id -> BigInt,
        name -> Text,
        session_id -> Text,
    }
}
