//! What a URL names: a server, or a file.

use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    File(&'a Path),
    /// A PostgreSQL server.
    Server,
    /// Something else, by the scheme of its URL.
    Unknown(&'a str),
}

impl<'a> Target<'a> {
    /// A file is `sqlite:` and a path, or just a path.
    pub(super) fn of(url: &'a str) -> Self {
        if is_server(url) {
            return Self::Server;
        }
        match (url.strip_prefix("sqlite:"), url.split_once("://")) {
            // The host between the slashes is empty.
            (Some(rest), _) => Self::File(Path::new(rest.strip_prefix("//").unwrap_or(rest))),
            (None, Some((scheme, _))) if !scheme.contains(['/', '.']) => Self::Unknown(scheme),
            (None, _) => Self::File(Path::new(url)),
        }
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
            ("./mysql://x", "./mysql://x"),
        ] {
            assert_eq!(Target::of(url), Target::File(Path::new(path)), "{url}");
        }
        assert_eq!(Target::of("mysql://me:secret@host/app"), Target::Unknown("mysql"));
    }
}
