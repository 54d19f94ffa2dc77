//! JSON kept as text.

use std::fmt;

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::column::StoredText;
use crate::error::{Error, Result};

/// A JSON text, checked once and then kept byte for byte.
///
/// A tree of values would lose what agents really sent: the order of keys, a key given twice, the spelling of
/// numbers (`1.0`, `1e+21`, `12345678901234567000`) and escapes (half a surrogate pair, `\u0000`). So this type
/// never rebuilds the text, and equality is equality of the text: `{"a":1}` and `{"a": 1}` differ.
///
/// As part of another serde value it is written and read as the JSON it holds; this works with `serde_json` itself,
/// not through formats or attributes that buffer values (`#[serde(flatten)]`, untagged enums).
///
/// ```
/// use agent_session_store::Json;
///
/// let json = Json::parse(r#"{"b":1e+21,"a":"\ud83d","a":12345678901234567000}"#)?;
/// assert_eq!(json.get(), r#"{"b":1e+21,"a":"\ud83d","a":12345678901234567000}"#);
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = Text)]
pub struct Json(Box<str>);

impl Json {
    /// Keeps a text that is JSON, white space around it included. Nesting may be of any depth.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJson`] with line and column if it is not JSON (RFC 8259).
    ///
    /// ```
    /// use agent_session_store::Json;
    ///
    /// assert_eq!(Json::parse(" [1, 2] ")?.get(), " [1, 2] ");
    /// assert!(Json::parse("[1, 2").is_err());
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        match raw(&text) {
            Ok(_) => Ok(Self(text.into_boxed_str())),
            Err(source) => Err(Error::InvalidJson { source }),
        }
    }

    /// Writes a value as JSON text.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJson`] if the value cannot be written as JSON, such as a map whose keys are not strings.
    ///
    /// ```
    /// use agent_session_store::Json;
    ///
    /// assert_eq!(Json::new(&vec![Some(1), None])?.get(), "[1,null]");
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        match serde_json::to_string(value) {
            Ok(text) => Ok(Self(text.into_boxed_str())),
            Err(source) => Err(Error::InvalidJson { source }),
        }
    }

    /// The text, exactly as it was given or stored.
    ///
    /// ```
    /// # use agent_session_store::Json;
    /// assert_eq!(Json::parse("1.0")?.get(), "1.0");
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn get(&self) -> &str {
        &self.0
    }

    /// Reads the text as a value of type `T`, which may lose what `T` has no place for.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJson`] if the text does not describe a `T`.
    ///
    /// ```
    /// # use agent_session_store::Json;
    /// let json = Json::parse(r#"{"cwd": "/srv"}"#)?;
    /// let map: std::collections::HashMap<String, String> = json.decode()?;
    /// assert_eq!(map["cwd"], "/srv");
    /// assert!(json.decode::<Vec<u8>>().is_err());
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.0).map_err(|source| Error::InvalidJson { source })
    }

    /// The text, given away.
    pub(crate) fn into_text(self) -> String {
        self.0.into_string()
    }

    /// Whether the text is the JSON `null`.
    pub(crate) fn is_null(&self) -> bool {
        self.0.trim_ascii() == "null"
    }
}

/// Checks the syntax, without recursion and without building values.
fn raw(text: &str) -> serde_json::Result<&RawValue> {
    serde_json::from_str(text)
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({})", self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string().into_boxed_str())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw(&self.0).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(raw.into()))
    }
}

impl<DB: Backend> FromSql<Text, DB> for Json
where
    StoredText: FromSql<Text, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self::parse(StoredText::from_sql(value)?.0)?)
    }
}

impl<DB: Backend> ToSql<Text, DB> for Json
where
    str: ToSql<Text, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        (*self.0).to_sql(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts that a tree of values would change, or that a parser may refuse without reason.
    #[test]
    fn keeps_every_text_byte_for_byte() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for text in [
            "null",
            " {\n\t\"b\" : 1 , \"a\" : 2 }\r\n",
            r#"{"a":1,"a":2}"#,
            "1.0",
            "1e+21",
            "1E400",
            "-0",
            "12345678901234567000",
            r#""\ud83d""#,
            r#""\ude00\ud83d""#,
            r#""\u0000\u2028\/\u00e9é""#,
            "\"\u{2028}\u{7f}\"",
            &deep,
        ] {
            assert_eq!(Json::parse(text).expect("valid JSON").get(), text);
        }
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            " ",
            "nul",
            "NaN",
            "{\"a\":}",
            "[1,]",
            "01",
            "1 2",
            "\u{feff}1",
            "\"\n\"",
            "\"\\x\"",
            "\"\\ud8\"",
            "'a'",
        ] {
            assert!(matches!(Json::parse(text), Err(Error::InvalidJson { .. })), "{text:?}");
        }
    }

    #[test]
    fn embeds_itself_in_serde_values_unchanged() {
        let json = Json::parse(r#"{"n":1.0,"s":"\ud83d"}"#).expect("valid JSON");
        let text = serde_json::to_string(&vec![&json]).expect("serializes");
        assert_eq!(text, r#"[{"n":1.0,"s":"\ud83d"}]"#);
        let back: Vec<Json> = serde_json::from_str(&text).expect("deserializes");
        assert_eq!(back, [json]);
    }
}
