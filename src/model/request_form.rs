//! Requests as serde sees them: flat, optional fields, whose numbers may be text, as in a query string.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cursor::Cursor;
use super::request::{EventFilter, ListEventsRequest, ListSessionsRequest, SessionFilter};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SessionsForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sandbox_id: Option<String>,
    #[serde(default, deserialize_with = "perhaps_text", skip_serializing_if = "Option::is_none")]
    live: Option<bool>,
    #[serde(default, deserialize_with = "perhaps_text", skip_serializing_if = "Option::is_none")]
    created_from: Option<i64>,
    #[serde(default, deserialize_with = "perhaps_text", skip_serializing_if = "Option::is_none")]
    created_before: Option<i64>,
    #[serde(default, deserialize_with = "perhaps_text", skip_serializing_if = "Option::is_none")]
    descending: Option<bool>,
    #[serde(default, deserialize_with = "perhaps_text", skip_serializing_if = "Option::is_none")]
    limit: Option<Limit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<Cursor>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EventsForm {
    session_id: String,
    #[serde(default, deserialize_with = "perhaps_text", skip_serializing_if = "Option::is_none")]
    after: Option<i64>,
    #[serde(default, deserialize_with = "perhaps_text", skip_serializing_if = "Option::is_none")]
    before: Option<i64>,
    #[serde(default, deserialize_with = "perhaps_text", skip_serializing_if = "Option::is_none")]
    descending: Option<bool>,
    #[serde(default, deserialize_with = "perhaps_text", skip_serializing_if = "Option::is_none")]
    limit: Option<Limit>,
    #[serde(default, deserialize_with = "perhaps_text", skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<Cursor>,
}

macro_rules! has_a_form {
    ($($request:ty: $form:ty),*) => {$(
        impl Serialize for $request {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$form>::from(self.clone()).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $request {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$form>::deserialize(deserializer).map(Self::from)
            }
        }
    )*};
}

has_a_form!(ListSessionsRequest: SessionsForm, ListEventsRequest: EventsForm);

/// A number of rows; 0 means the default.
#[derive(Clone, Copy, Serialize)]
#[serde(transparent)]
struct Limit(u32);

impl Limit {
    fn of(rows: u32) -> Option<Self> {
        Some(Self(rows)).filter(|limit| limit.0 > 0)
    }
}

impl From<SessionsForm> for ListSessionsRequest {
    fn from(form: SessionsForm) -> Self {
        let SessionsForm { agent, sandbox_id, live, created_from, created_before, descending, limit, cursor } = form;
        let descending = descending.unwrap_or(false);
        let filter = SessionFilter { agent, sandbox_id, is_live: live, created_from, created_before, descending };
        Self { limit: limit.map_or(0, |limit| limit.0), cursor, filter }
    }
}

impl From<ListSessionsRequest> for SessionsForm {
    fn from(request: ListSessionsRequest) -> Self {
        let ListSessionsRequest { limit, cursor, filter } = request;
        let SessionFilter { agent, sandbox_id, is_live, created_from, created_before, descending } = filter;
        let (limit, descending) = (Limit::of(limit), Some(descending).filter(|is_it| *is_it));
        Self { agent, sandbox_id, live: is_live, created_from, created_before, descending, limit, cursor }
    }
}

impl From<EventsForm> for ListEventsRequest {
    fn from(form: EventsForm) -> Self {
        let EventsForm { session_id, after, before, descending, limit, max_bytes, cursor } = form;
        let filter = EventFilter { session_id, after, before, descending: descending.unwrap_or(false) };
        Self { limit: limit.map_or(0, |limit| limit.0), max_bytes, cursor, filter }
    }
}

impl From<ListEventsRequest> for EventsForm {
    fn from(request: ListEventsRequest) -> Self {
        let ListEventsRequest { limit, max_bytes, cursor, filter } = request;
        let EventFilter { session_id, after, before, descending } = filter;
        let (limit, descending) = (Limit::of(limit), Some(descending).filter(|is_it| *is_it));
        Self { session_id, after, before, descending, limit, max_bytes, cursor }
    }
}

/// A value that a query string spells out.
trait Spelled: FromStr {
    const EXPECTED: &'static str;

    fn of_number(number: i128) -> Option<Self>;

    fn of_truth(_: bool) -> Option<Self> {
        None
    }
}

impl Spelled for bool {
    const EXPECTED: &'static str = "true or false";

    fn of_number(_: i128) -> Option<Self> {
        None
    }

    fn of_truth(truth: bool) -> Option<Self> {
        Some(truth)
    }
}

impl Spelled for i64 {
    const EXPECTED: &'static str = "a whole number";

    fn of_number(number: i128) -> Option<Self> {
        number.try_into().ok()
    }
}

impl Spelled for usize {
    const EXPECTED: &'static str = "a number of bytes";

    fn of_number(number: i128) -> Option<Self> {
        number.try_into().ok()
    }
}

impl Spelled for Limit {
    const EXPECTED: &'static str = "a limit, which is a number of rows up to 4294967295";

    /// Below 1 it is the default, as in the reference driver.
    fn of_number(number: i128) -> Option<Self> {
        number.max(0).try_into().ok().map(Self)
    }
}

impl FromStr for Limit {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse().ok().and_then(Self::of_number).ok_or(())
    }
}

/// A value, or a text that spells it out.
fn perhaps_text<'de, T: Spelled, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(SpelledVisitor(PhantomData))
}

struct SpelledVisitor<T>(PhantomData<T>);

impl<T: Spelled> SpelledVisitor<T> {
    fn found<E: de::Error>(&self, value: Option<T>, what: de::Unexpected<'_>) -> Result<Option<T>, E> {
        value.map(Some).ok_or_else(|| E::invalid_value(what, self))
    }
}

impl<'de, T: Spelled> Visitor<'de> for SpelledVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Option<T>, E> {
        self.found(T::of_truth(value), de::Unexpected::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Option<T>, E> {
        self.found(T::of_number(value.into()), de::Unexpected::Signed(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Option<T>, E> {
        self.found(T::of_number(value.into()), de::Unexpected::Unsigned(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Option<T>, E> {
        self.found(value.parse().ok(), de::Unexpected::Str(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_none<E: de::Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}
