//! JSON kept as text.

use std::fmt;

use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
use diesel::sql_types::Text;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::json_error::{TEXT_LOST, place, without_content};
use crate::error::{Error, Result};

/// JSON text, validated once and then kept byte for byte.
///
/// Parsing into a tree of values would lose details of what agents sent: the order of keys, duplicate keys, the
/// spelling of numbers (`1.0`, `1e+21`, `12345678901234567000`) and escapes (half a surrogate pair, `\u0000`). So this
/// type never rebuilds the text, and two values are equal only if their texts are: `{"a":1}` and `{"a": 1}` differ.
///
/// [`Display`](fmt::Display) and [`Debug`](fmt::Debug) print the whole text: keep it out of logs.
///
/// Inside another serde value it is written and read as the JSON it contains. This works with `serde_json` itself, but
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
    /// Validates JSON text and keeps it, including surrounding white space. Any nesting depth is allowed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJson`] with line and column if the text is not JSON (RFC 8259).
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
            Err(source) => Err(Error::InvalidJson { source: without_content(source) }),
        }
    }

    /// Serializes a value to JSON text.
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
            Err(source) => Err(Error::InvalidJson { source: without_content(source) }),
        }
    }

    /// The text, exactly as given or stored.
    ///
    /// ```
    /// # use agent_session_store::Json;
    /// assert_eq!(Json::parse("1.0")?.get(), "1.0");
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn get(&self) -> &str {
        &self.0
    }

    /// Deserializes the text to a `T`. This loses whatever `T` cannot represent.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJson`] if the text does not match `T` or is nested deeper than 127 levels. The error says where,
    /// and which kind of value was expected and found, but quotes none of the text.
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
        serde_json::from_str(&self.0).map_err(|source| {
            let source = without_content(source);
            let has_place = source.line() > 0;
            // The type's own error about the whole value. Otherwise only serialization errors have no position.
            let source = if has_place { source } else { serde::de::Error::custom(source.to_string() + &place(1, 1)) };
            Error::InvalidJson { source }
        })
    }

    /// Reads a `Json` where serde keeps no text: from a field inside `#[serde(flatten)]`, an untagged or an internally
    /// tagged enum. There a plain `Json` field is an error, because serde has parsed the text already. What comes of it is
    /// written anew: the keys of an object are sorted and unique, and numbers are spelled as Rust spells them.
    ///
    /// # Errors
    ///
    /// Those of the deserializer.
    ///
    /// ```
    /// use agent_session_store::Json;
    ///
    /// #[derive(serde::Deserialize)]
    /// #[serde(tag = "type")]
    /// enum Message {
    ///     Prompt {
    ///         #[serde(deserialize_with = "Json::deserialize_value")]
    ///         params: Json,
    ///     },
    /// }
    ///
    /// let Message::Prompt { params } = serde_json::from_str(r#"{"type": "Prompt", "params": {"b": 1.0, "a": 2}}"#).unwrap();
    /// assert_eq!(params.get(), r#"{"a":2,"b":1.0}"#);
    /// ```
    pub fn deserialize_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(Self::from)
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
        match Box::<RawValue>::deserialize(deserializer) {
            Ok(raw) => Ok(Self(raw.into())),
            Err(error) if error.to_string().contains("expected any valid JSON value") => {
                Err(D::Error::custom(TEXT_LOST))
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that a tree of values would change, or that a parser might wrongly reject.
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

    /// Whatever error the type raises, nothing of the value is in the error, its causes or their debug forms.
    #[test]
    fn no_error_quotes_the_json() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only read into")]
        struct Place {
            number: u8,
            kind: Kind,
        }
        #[derive(Debug, Deserialize)]
        enum Kind {
            One,
        }
        #[derive(Debug)]
        struct Talkative;
        impl<'de> Deserialize<'de> for Talkative {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Err(serde::de::Error::custom(format!("I do not like {text}")))
            }
        }
        fn said<T: DeserializeOwned>(text: &str) -> String {
            let error = Json::parse(text).expect("valid JSON").decode::<T>().err().expect("of another type");
            let Error::InvalidJson { source } = &error else { panic!("{error}") };
            let all = format!("{error} {error:?} {source} {source:?}");
            assert!(!all.contains("secret") && !all.contains("4711"), "{all}");
            source.to_string()
        }
        let at = |says: &str, column| format!("{says} at line 1 column {column}");
        assert_eq!(said::<u8>(r#""secret""#), at("invalid type: string, expected u8", 8));
        assert_eq!(said::<u8>(r#""a, expected secret""#), at("invalid type: string, expected u8", 20));
        assert_eq!(said::<u8>("4711"), at("invalid value: integer, expected u8", 4));
        assert_eq!(said::<u8>("4711.5"), at("invalid type: floating point, expected u8", 6));
        assert_eq!(said::<u8>("null"), at("invalid type: null, expected u8", 4));
        assert_eq!(said::<char>(r#""secret""#), at("invalid value: string, expected a character", 8));
        assert_eq!(said::<[u8; 2]>("[1]"), at("invalid length, expected an array of length 2", 3));
        assert_eq!(said::<Place>("{}"), at("missing field `number`", 2));
        assert_eq!(said::<Place>(r#"{"number":1,"number":2}"#), at("duplicate field `number`", 20));
        assert_eq!(said::<Place>(r#"{"secret":1}"#), at("unknown field, expected `number` or `kind`", 9));
        assert_eq!(said::<Kind>(r#""secret""#), at("unknown variant, expected `One`", 8));
        assert_eq!(said::<Talkative>(r#""secret""#), at("a value that the type does not accept", 1));
        assert_eq!(
            said::<crate::SessionEvent>(r#""secret""#),
            at("invalid type: string, expected struct SessionEvent", 8)
        );
    }

    #[test]
    fn what_is_too_deep_to_decode_is_json_all_the_same() {
        let nested = |levels| Json::parse("[".repeat(levels) + &"]".repeat(levels)).expect("valid JSON");
        assert!(nested(127).decode::<serde_json::Value>().is_ok());
        let error = nested(128).decode::<serde_json::Value>().expect_err("one more");
        assert_eq!(
            error.to_string(),
            "the JSON is nested too deeply to be decoded: recursion limit exceeded at line 1 column 128"
        );
    }

    /// Flattening and tagged enums parse into a tree first, which is not the text that was sent.
    #[test]
    fn says_what_to_do_where_serde_loses_the_text() {
        #[derive(Debug, Deserialize, Serialize, PartialEq)]
        struct Inner {
            payload: Json,
        }
        #[derive(Debug, Deserialize, Serialize, PartialEq)]
        struct Flat {
            #[serde(flatten)]
            inner: Inner,
        }
        #[derive(Debug, Deserialize, Serialize, PartialEq)]
        #[serde(tag = "type")]
        enum Tagged {
            Message(Inner),
        }
        let inner = || Inner { payload: Json::parse(r#"{"b":1.0,"a":1e5}"#).expect("valid JSON") };
        let written = [
            serde_json::to_string(&Flat { inner: inner() }).expect("serializes"),
            serde_json::to_string(&Tagged::Message(inner())).expect("serializes"),
        ];
        assert_eq!(written[0], r#"{"payload":{"b":1.0,"a":1e5}}"#);
        assert_eq!(written[1], r#"{"type":"Message","payload":{"b":1.0,"a":1e5}}"#);
        let flat = serde_json::from_str::<Flat>(&written[0]).expect_err("the text is lost").to_string();
        let tagged = serde_json::from_str::<Tagged>(&written[1]).expect_err("the text is lost").to_string();
        for said in [flat, tagged] {
            assert!(said.contains("deserialize_with"), "{said}");
        }
        let text = Json::parse(&*written[0]).expect("valid JSON");
        let error = text.decode::<Flat>().expect_err("the text is lost").to_string();
        assert!(error.contains("deserialize_with"), "{error}");
        // A field that is no JSON at all is the same error as ever.
        assert!(serde_json::from_str::<Inner>("{}").expect_err("missing").to_string().contains("missing field"));
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
