//! A server's URL, which may have a password in it: what of it can be shown.

use std::fmt;

use diesel::result::ConnectionError;

pub(super) struct ServerUrl(String);

impl ServerUrl {
    pub(super) fn new(url: &str) -> Self {
        Self(url.to_owned())
    }

    pub(super) fn with_password(&self) -> &str {
        &self.0
    }

    /// libpq quotes a URL that it does not understand, or the piece of it that it does not understand.
    pub(super) fn without_password(&self, error: ConnectionError) -> ConnectionError {
        let ConnectionError::BadConnection(message) = error else { return error };
        if self.0.contains('"') {
            // Then nobody knows where a quotation ends.
            let (first, last) = (message.find('"'), message.rfind('"'));
            let (before, after) =
                (&message[..first.unwrap_or(message.len())], &message[last.unwrap_or(message.len())..]);
            return ConnectionError::BadConnection(match first {
                None => message,
                Some(_) => format!("{before}\"***{after}"),
            });
        }
        let mut hidden = String::with_capacity(message.len());
        for (place, piece) in message.split('"').enumerate() {
            let is_quoted = place % 2 == 1;
            hidden += if place > 0 { "\"" } else { "" };
            hidden += if is_quoted && self.may_be_secret(piece) { "***" } else { piece };
        }
        ConnectionError::BadConnection(hidden)
    }

    /// Whether this comes from the URL, and neither from the part that is shown nor from a parameter that is no password.
    fn may_be_secret(&self, piece: &str) -> bool {
        let (_, parameters) = self.0.split_once('?').unwrap_or_default();
        let is_harmless = |(name, value): (&str, &str)| name == piece || (value == piece && !name.contains("password"));
        self.0.contains(piece)
            && !self.to_string().contains(piece)
            && !parameters.split('&').filter_map(|parameter| parameter.split_once('=')).any(is_harmless)
    }
}

/// Without the password and the parameters.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("postgres", ""));
        // As libpq reads it: what is before the first @ is about the user, unless it contains a slash.
        let (user, place) = match rest.split_once('@') {
            Some((user, place)) if !user.contains('/') => (user, place),
            _ => ("", rest),
        };
        write!(f, "{scheme}://")?;
        match user.split(':').next() {
            Some("") | None => {}
            Some(name) => write!(f, "{name}@")?,
        }
        // An @ or a slash in the password should have been encoded, and its rest is in the wrong place now.
        let place = place.split('?').next().unwrap_or(place);
        let place = place.rsplit('@').next().unwrap_or(place);
        let hosts = place.split('/').next().unwrap_or(place);
        let has_port = |host: &str| match host.rsplit_once(':') {
            Some((_, port)) => port.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit()),
            None => true,
        };
        f.write_str(if hosts.split(',').all(has_port) { place } else { "***" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://host/app", "postgres://host/app"),
            ("postgres://me@host:5432/app?sslmode=require", "postgres://me@host:5432/app"),
            ("postgresql://me:secret@host/app", "postgresql://me@host/app"),
            ("postgres://me:se@cret@host/app", "postgres://me@host/app"),
            ("postgres://me:se?cret@host/app", "postgres://me@host/app"),
            ("postgres://me:se#cret@host/app", "postgres://me@host/app"),
            ("postgres://me:se/cret@host/app", "postgres://host/app"),
            ("postgres://me:se/cr?et@host/app", "postgres://***"),
            ("postgres://host/app?user=me&password=secret", "postgres://host/app"),
            ("postgres://host/app?password=se@cret", "postgres://host/app"),
            ("postgres://me@host/app?password=se@cret", "postgres://me@host/app"),
            ("postgres://:secret@/app", "postgres:///app"),
            ("postgres://me:secret@[::1]:5432,[fe80::a],other:1/app", "postgres://me@[::1]:5432,[fe80::a],other:1/app"),
        ] {
            assert_eq!(ServerUrl::new(url).to_string(), shown);
        }
    }

    #[test]
    fn a_message_quotes_only_what_can_be_shown() {
        let url = ServerUrl::new("postgres://me:secret@host/app?sslmode=requir&password=other%zz");
        for (message, shown) in [
            ("no such host \"host\"", "no such host \"host\""),
            ("invalid sslmode value: \"requir\"", "invalid sslmode value: \"requir\""),
            ("invalid token: \"other%zz\" and \"secret\" in it", "invalid token: \"***\" and \"***\" in it"),
            ("cannot parse \"postgres://me:secret@host/app\"", "cannot parse \"***\""),
            ("FATAL: role \"someone\" does not exist", "FATAL: role \"someone\" does not exist"),
        ] {
            let error = url.without_password(ConnectionError::BadConnection(message.to_owned()));
            assert_eq!(error.to_string(), shown);
        }
        let url = ServerUrl::new("postgres://me:a\"b%zz@host/app");
        let error = url.without_password(ConnectionError::BadConnection("invalid token: \"a\"b%zz\"".to_owned()));
        assert_eq!(error.to_string(), "invalid token: \"***\"");
    }
}
