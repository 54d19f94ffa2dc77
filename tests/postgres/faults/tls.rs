//! Proves that TLS is as libpq does it, by the URL's parameters.

use agent_session_store::{Error, SessionStore};

use crate::common::own_server::OwnServer;

fn refusal(url: &str) -> String {
    match SessionStore::connect(url).map(drop) {
        Err(error @ Error::Open { .. }) => error.to_string(),
        other => panic!("{url}: {other:?}"),
    }
}

/// A server with a certificate for `localhost` that it has signed itself; nothing where there is no `openssl`.
#[cfg(not(feature = "postgres-bundled"))]
fn with_certificate() -> Option<OwnServer> {
    let mut server = OwnServer::new("")?;
    for name in ["server", "another"] {
        let mut openssl = server.program("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]);
        openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
        openssl.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]);
        let Ok(output) = openssl.output() else {
            assert!(std::env::var_os("CI").is_none(), "CI has to have openssl");
            println!("skipped: there is no openssl to make a certificate with");
            return None;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    server.stop("INT");
    server.configure("ssl = on\nssl_cert_file = '../server.crt'\nssl_key_file = '../server.key'\n");
    server.start();
    Some(server)
}

#[cfg(not(feature = "postgres-bundled"))]
#[test]
fn a_store_is_as_strict_as_its_url_says() {
    let Some(server) = with_certificate() else { return };
    server.run("postgres", "CREATE DATABASE only_tls");
    let url = server.url("only_tls");
    let root = |name: &str| format!("sslrootcert={}", server.folder().join(name).display());
    // The certificate's name, wherever that would lead.
    let by_name = url.replace("127.0.0.1", "localhost") + "?hostaddr=127.0.0.1&sslmode=verify-full&";

    let store = SessionStore::connect(&format!("{url}?sslmode=require")).unwrap();
    store.insert_event(&crate::common::event("event", "session", 1)).unwrap();
    assert_eq!(store.last_event_index("session").unwrap(), Some(1));
    // A connection that is lost says so in other words.
    server.run("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'only_tls'");
    let lost = std::iter::repeat_with(|| store.last_event_index("session")).find_map(Result::err).unwrap();
    assert!(matches!(lost, Error::Disconnected { may_be_stored: false, .. }), "{lost:?}");
    assert_eq!(store.last_event_index("session").unwrap(), Some(1));

    SessionStore::connect(&format!("{url}?sslmode=verify-ca&{}", root("server.crt"))).unwrap();
    SessionStore::connect(&format!("{by_name}{}", root("server.crt"))).unwrap();

    for (url, why) in [
        // This database lets nobody in without TLS.
        (format!("{url}?sslmode=disable"), "pg_hba.conf rejects connection"),
        (format!("{by_name}{}", root("another.crt")), "certificate verify failed"),
        (format!("{url}?sslmode=verify-ca&{}", root("another.crt")), "certificate verify failed"),
        (format!("{by_name}{}", root("nothing.crt")), "does not exist"),
        (format!("{url}?sslmode=verify-full&{}", root("server.crt")), "does not match host name"),
        (by_name.replace("localhost", "elsewhere") + &root("server.crt"), "does not match host name"),
        (format!("{url}?sslmode=strict"), "invalid sslmode value: \"strict\""),
    ] {
        let refusal = refusal(&url);
        assert!(refusal.contains(why), "{refusal}");
    }
}

/// The server has no certificate, or the program no TLS.
#[test]
fn a_store_that_is_to_use_tls_does_not_go_without() {
    let Some(server) = OwnServer::new("") else { return };
    let refusal = refusal(&format!("{}?sslmode=require", server.url("postgres")));
    let why = if cfg!(feature = "postgres-bundled") {
        "sslmode value \"require\" invalid when SSL support is not compiled in"
    } else {
        "server does not support SSL, but SSL was required"
    };
    assert!(refusal.contains(why), "{refusal}");
    SessionStore::connect(&format!("{}?sslmode=prefer", server.url("postgres"))).unwrap();
}
