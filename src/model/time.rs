//! Times in JSON: numbers of Unix milliseconds, as the reference driver writes them.

use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// The message for milliseconds outside the calendar.
pub(crate) const OUT_OF_RANGE: &str = "the milliseconds are out of range for a time";

/// The whole milliseconds of a fraction (JavaScript has only one type of number), if they fit.
pub(crate) fn floor(value: f64) -> Option<i64> {
    let whole = value.floor();
    // 2^63 is the first float that does not fit.
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&whole).then_some(whole as i64)
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number of Unix milliseconds")]
enum UnixMillis {
    Whole(i64),
    Fraction(f64),
}

impl UnixMillis {
    fn time<E: serde::de::Error>(self) -> Result<DateTime<Utc>, E> {
        match self {
            Self::Whole(value) => Some(value),
            Self::Fraction(value) => floor(value),
        }
        .and_then(DateTime::from_timestamp_millis)
        .ok_or_else(|| E::custom(OUT_OF_RANGE))
    }
}

/// For `#[serde(with)]`: a time.
pub(crate) mod millis {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.timestamp_millis())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        UnixMillis::deserialize(deserializer)?.time()
    }
}

/// For `#[serde(with)]`: a time that may be absent.
pub(crate) mod optional_millis {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => millis::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
        Option::<UnixMillis>::deserialize(deserializer)?
            .map(UnixMillis::time)
            .transpose()
            .map_err(D::Error::custom::<D::Error>)
    }
}

/// For a row that keeps milliseconds; they must still be those of a valid time.
pub(crate) fn checked_millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(millis::deserialize(deserializer)?.timestamp_millis())
}

pub(crate) fn optional_checked_millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(optional_millis::deserialize(deserializer)?.map(|time| time.timestamp_millis()))
}
