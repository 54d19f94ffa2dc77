//! Proves what a store that cannot be opened says, and that it never says the password.

use std::error::Error as _;

use agent_session_store::{Error, SessionStore};

use crate::common::own_server::shared_server;

/// Opens it, and returns why that is impossible, after a look at everything that the error can be made to say.
fn refusal(url: &str) -> Error {
    let error = SessionStore::connect(url).map(drop).unwrap_err();
    let mut said = vec![error.to_string(), format!("{error:?}")];
    let mut source = error.source();
    while let Some(cause) = source {
        said.extend([cause.to_string(), format!("{cause:?}")]);
        source = cause.source();
    }
    for text in said {
        assert!(!text.contains("sesame"), "{text}");
    }
    error
}

#[test]
fn who_is_not_let_in_is_told_why_without_the_password() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    server.run(&database, "CREATE ROLE with_password LOGIN PASSWORD 'open sesame'");
    server.run(&database, &format!("GRANT ALL ON DATABASE {database} TO with_password"));
    let right = server.url_as("with_password:open%20sesame", &database);
    for (url, why) in [
        (right.replace("open", "shut"), "password authentication failed"),
        (right.replace(":open%20sesame", ""), "no password supplied"),
        (right.replace(&database, "nowhere"), "database \"nowhere\" does not exist"),
        (right.replace("with_password", "nobody"), "role \"nobody\" does not exist"),
        (right.replace("127.0.0.1", "nowhere.invalid"), "could not translate host name"),
        (right.replace(&server.port().to_string(), "1"), "Connection refused"),
    ] {
        let error = refusal(&url);
        assert!(matches!(&error, Error::Open { .. }), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
    server.run(&database, "GRANT ALL ON SCHEMA public TO with_password");
    SessionStore::connect(&right).unwrap();
}

/// libpq quotes the URL that it does not understand, or the piece of it.
#[test]
fn a_url_with_a_mistake_in_it_does_not_give_the_password_away() {
    for url in [
        "postgres://me:sesame@[::1/app",
        "postgres://me:sesame%zz@localhost/app",
        "postgres://me:sesame%00@localhost/app",
        "postgres://me:open/sesame@localhost/app",
        "postgres://me:sesame/open@localhost/app",
        "postgres://me:sesame?open@[::1/app",
        "postgres://me:open@sesame@nowhere.invalid/app",
        "postgres://me:open:sesame@nowhere.invalid/app",
        "postgres://me@localhost/app?password=sesame%zz",
        "postgres://me@localhost/app?password=sesame&port=many",
        "postgres://me@[::1/app?password=sesame",
        "postgres://me@localhost/app?password=open&sesame",
    ] {
        let error = refusal(url);
        assert!(matches!(&error, Error::Open { .. }), "{error:?}");
    }
}
