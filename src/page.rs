//! Asking for a page of a listing, and getting one.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::column::Number;
use crate::error::{Error, Result};

/// The rows on a page when no limit is given.
const DEFAULT_LIMIT: u32 = 100;

/// Which page of the sessions to list, in the order of `created_at`, then `id` (byte order).
///
/// ```
/// use agent_session_store::ListSessionsRequest;
///
/// let first_ten = ListSessionsRequest::new().limit(10);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListSessionsRequest {
    limit: u32,
    cursor: Option<Cursor>,
}

impl ListSessionsRequest {
    /// The first page, of 100 rows.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// assert_eq!(ListSessionsRequest::new(), ListSessionsRequest::default());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// How many rows a page may hold; 0 means the default of 100.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().limit(10);
    /// ```
    #[must_use]
    pub fn limit(mut self, rows: u32) -> Self {
        self.limit = rows;
        self
    }

    /// Continues after the page that this cursor came with.
    ///
    /// ```
    /// # use agent_session_store::{ListSessionsRequest, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// let mut request = ListSessionsRequest::new();
    /// loop {
    ///     let page = store.list_sessions(&request)?;
    ///     // … use page.items …
    ///     let Some(cursor) = page.next_cursor else { break };
    ///     request = request.cursor(cursor);
    /// }
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    #[must_use]
    pub fn cursor(mut self, cursor: Cursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope { table: "sessions", session_id: "" }
    }

    pub(crate) fn page(&self) -> Result<PageRequest<'_>> {
        PageRequest::new(self.limit, self.cursor.as_ref(), &self.scope())
    }
}

/// Which page of a session's events to list, in the order of `event_index`, then `id` (byte order).
///
/// ```
/// use agent_session_store::ListEventsRequest;
///
/// let first_ten = ListEventsRequest::new("session-1").limit(10);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ListEventsRequest {
    session_id: String,
    limit: u32,
    cursor: Option<Cursor>,
}

impl ListEventsRequest {
    /// The first page of this session, of 100 rows.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let request = ListEventsRequest::new("session-1");
    /// ```
    pub fn new(session_id: impl Into<String>) -> Self {
        Self { session_id: session_id.into(), limit: 0, cursor: None }
    }

    /// How many rows a page may hold; 0 means the default of 100.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let request = ListEventsRequest::new("session-1").limit(1_000);
    /// ```
    #[must_use]
    pub fn limit(mut self, rows: u32) -> Self {
        self.limit = rows;
        self
    }

    /// Continues after the page that this cursor came with.
    ///
    /// ```
    /// # use agent_session_store::{ListEventsRequest, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// let mut request = ListEventsRequest::new("session-1");
    /// loop {
    ///     let page = store.list_events(&request)?;
    ///     // … use page.items …
    ///     let Some(cursor) = page.next_cursor else { break };
    ///     request = request.cursor(cursor);
    /// }
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    #[must_use]
    pub fn cursor(mut self, cursor: Cursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    pub(crate) fn session_id(&self) -> &str {
        &self.session_id
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope { table: "events", session_id: &self.session_id }
    }

    pub(crate) fn page(&self) -> Result<PageRequest<'_>> {
        PageRequest::new(self.limit, self.cursor.as_ref(), &self.scope())
    }
}

/// What a query needs to know: where to start and when to stop.
#[derive(Debug)]
pub(crate) struct PageRequest<'a> {
    rows: u32,
    /// The position of the last row before the page, if it is not the first.
    pub(crate) after: Option<(Number, &'a str)>,
}

impl<'a> PageRequest<'a> {
    fn new(limit: u32, cursor: Option<&'a Cursor>, scope: &Scope<'_>) -> Result<Self> {
        let rows = if limit == 0 { DEFAULT_LIMIT } else { limit };
        let after = cursor.map(|cursor| cursor.position(scope)).transpose()?;
        Ok(Self { rows, after })
    }

    /// Takes a page off the rows, and looks whether one more follows. That row is only known to exist; what it holds
    /// is no error of this page.
    pub(crate) fn collect<T>(
        &self,
        rows: impl Iterator<Item = diesel::QueryResult<T>>,
        cursor_of: impl FnOnce(&T) -> Cursor,
    ) -> Result<ListPage<T>> {
        let mut items = Vec::new();
        for row in rows {
            if items.len() as u64 == u64::from(self.rows) {
                return match row {
                    Ok(_) | Err(diesel::result::Error::DeserializationError(_)) => {
                        Ok(ListPage { next_cursor: items.last().map(cursor_of), items })
                    }
                    Err(error) => Err(error.into()),
                };
            }
            items.push(row?);
        }
        Ok(ListPage { items, next_cursor: None })
    }
}

/// One page of a listing.
///
/// As JSON it is the reference driver's page: `items`, and `nextCursor` where a row follows.
///
/// ```
/// use agent_session_store::{ListSessionsRequest, SessionStore};
///
/// let page = SessionStore::open_in_memory()?.list_sessions(&ListSessionsRequest::new())?;
/// assert!(page.items.is_empty() && page.next_cursor.is_none());
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListPage<T> {
    /// The rows, in order.
    pub items: Vec<T>,
    /// Where the next page starts: there exactly when a row followed this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<Cursor>,
}

impl<T> ListPage<T> {
    pub(crate) fn map<U>(self, convert: impl FnMut(T) -> U) -> ListPage<U> {
        ListPage { items: self.items.into_iter().map(convert).collect(), next_cursor: self.next_cursor }
    }
}

/// A place in a listing: after the last row of a page.
///
/// It names that row's position, not a count of rows, so rows that others add or remove meanwhile neither repeat
/// nor hide any. Its text form ([`Display`](fmt::Display), [`FromStr`], serde) is made of `[0-9a-z.]`, may be
/// handed to clients, and stays valid across processes and releases of this crate; what is in it does not matter to
/// you. It belongs to the listing (of the sessions, or of one session's events) that it came from; the page size
/// may change on the way.
///
/// ```
/// use agent_session_store::Cursor;
///
/// assert!("100".parse::<Cursor>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// Over everything below and the listing it belongs to.
    checksum: u64,
    key: Number,
    id: String,
}

/// The listing that a cursor belongs to.
pub(crate) struct Scope<'a> {
    table: &'static str,
    session_id: &'a str,
}

/// The version of the text form, and its first part.
const CURSOR_VERSION: &str = "c1";

const NOT_OURS: Error = Error::InvalidCursor { reason: "it was not made by this crate" };

impl Cursor {
    /// The place after the row with this key and id.
    pub(crate) fn after(scope: &Scope<'_>, key: Number, id: &str) -> Self {
        Self { checksum: checksum(scope, key, id), key, id: id.to_owned() }
    }

    fn position(&self, scope: &Scope<'_>) -> Result<(Number, &str)> {
        if self.checksum != checksum(scope, self.key, &self.id) {
            return Err(Error::InvalidCursor { reason: "it belongs to another listing, or was changed" });
        }
        Ok((self.key, &self.id))
    }
}

/// FNV-1a, 64 bits: tells listings apart and notices damage; it is not meant to keep anybody out.
fn checksum(scope: &Scope<'_>, key: Number, id: &str) -> u64 {
    let key = key_text(key);
    let parts = [scope.table, scope.session_id, &key, id];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `i` and the number, or `r` and the bits of the float, which no formatting could round.
fn key_text(key: Number) -> String {
    match key {
        Number::Integer(value) if value < 0 => format!("n{}", value.unsigned_abs()),
        Number::Integer(value) => format!("i{value}"),
        Number::Real(value) => format!("r{:x}", value.to_bits()),
    }
}

fn parse_key(text: &str) -> Option<Number> {
    let (kind, digits) = (text.get(..1)?, text.get(1..)?);
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let key = match kind {
        "i" => Number::Integer(digits.parse().ok()?),
        "n" => Number::Integer(0_i64.checked_sub_unsigned(digits.parse().ok()?)?),
        "r" => Number::Real(f64::from_bits(u64::from_str_radix(digits, 16).ok()?)),
        _ => return None,
    };
    (key_text(key) == text).then_some(key)
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CURSOR_VERSION}.{:016x}.{}.", self.checksum, key_text(self.key))?;
        self.id.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::InvalidCursor`] if the text is not a cursor's.
    fn from_str(text: &str) -> Result<Self> {
        parse_cursor(text).ok_or(NOT_OURS)
    }
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let mut parts = text.split('.');
    let (version, checksum, key, id) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != CURSOR_VERSION || parts.next().is_some() || checksum.len() != 16 || !id.is_ascii() {
        return None;
    }
    let id = id.as_bytes().chunks(2).map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
    let cursor = Cursor {
        checksum: u64::from_str_radix(checksum, 16).ok()?,
        key: parse_key(key)?,
        id: String::from_utf8(id.collect::<Option<_>>()?).ok()?,
    };
    // The parsers above are lenient (`+1`, upper case); a cursor has one spelling.
    let mut spelled = String::with_capacity(text.len());
    write!(spelled, "{cursor}").ok()?;
    (spelled == text).then_some(cursor)
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: Scope<'_> = Scope { table: "events", session_id: "s" };

    #[test]
    fn a_cursor_survives_its_text_form() {
        for (key, id) in [
            (Number::Integer(0), ""),
            (Number::Integer(i64::MIN), "a.b"),
            (Number::Integer(i64::MAX), "😀\0"),
            (Number::Real(1_700_000_000_000.5), "x"),
            (Number::Real(-0.0), "x"),
        ] {
            let cursor = Cursor::after(&SCOPE, key, id);
            let text = cursor.to_string();
            assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'.'));
            let parsed: Cursor = text.parse().expect("its own text");
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed.position(&SCOPE).expect("its own listing"), (key, id));
            let json = serde_json::to_string(&cursor).expect("serializes");
            assert_eq!(serde_json::from_str::<Cursor>(&json).expect("deserializes"), cursor);
        }
    }

    #[test]
    fn a_text_of_another_kind_is_no_cursor() {
        let ours = Cursor::after(&SCOPE, Number::Integer(1), "id").to_string();
        let upper = ours.to_uppercase();
        let longer = format!("{ours}.");
        let odd = &ours[..ours.len() - 1];
        for text in ["", "0", "100", "-1", "c1", "c1...", "c2.0.i1.61", &upper, &longer, odd, " ", "c1.é.i1.61"] {
            assert!(matches!(text.parse::<Cursor>(), Err(Error::InvalidCursor { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_changed_cursor_fits_no_listing() {
        let cursor = Cursor::after(&SCOPE, Number::Integer(1), "id");
        let changed: Cursor = cursor.to_string().replace(".i1.", ".i2.").parse().expect("still well formed");
        assert!(changed.position(&SCOPE).is_err());
        assert!(cursor.position(&Scope { table: "events", session_id: "t" }).is_err());
        assert!(cursor.position(&Scope { table: "sessions", session_id: "s" }).is_err());
    }
}
