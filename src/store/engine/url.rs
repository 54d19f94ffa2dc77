//! What a URL names: a server, or a file.

use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    File(&'a Path),
    /// A PostgreSQL server.
    Server,
}

impl<'a> Target<'a> {
    /// Whatever is not the URL of a server is a file: `sqlite:` and a path, or just a path.
    pub(super) fn of(url: &'a str) -> Self {
        if is_server(url) {
            return Self::Server;
        }
        let path = match url.strip_prefix("sqlite:") {
            None => url,
            // The host between the slashes is empty.
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        };
        Self::File(Path::new(path))
    }
}

/// Whether this is a URL of a server.
pub(super) fn is_server(url: &str) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_or_a_file() {
        for url in ["postgres://user@host/app", "postgresql:///app?host=/run/postgresql"] {
            assert_eq!(Target::of(url), Target::Server, "{url}");
        }
        for (url, path) in [
            ("sqlite:///var/lib/sessions.db", "/var/lib/sessions.db"),
            ("sqlite://sessions.db", "sessions.db"),
            ("sqlite:sessions.db", "sessions.db"),
            ("sqlite::memory:", ":memory:"),
            ("./sessions.db", "./sessions.db"),
            ("postgres", "postgres"),
        ] {
            assert_eq!(Target::of(url), Target::File(Path::new(path)), "{url}");
        }
    }
}
