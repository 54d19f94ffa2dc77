//! The first and the last events of a session, as far as they can be read.

use chrono::{DateTime, Utc};
use diesel::deserialize::FromSqlRow;

use super::columns::{Column, StoredText};
use super::kinds::known_sender;
use crate::model::event::Sender;
use crate::model::json::Json;
use crate::transcript::summary::SessionSummary;

/// Both ends of a session, in order. No event is in both.
#[derive(Debug, Default)]
pub(crate) struct SessionEnds {
    pub(crate) first: Vec<EndEvent>,
    pub(crate) last: Vec<EndEvent>,
    /// Whether there are no others between them.
    pub(crate) is_whole: bool,
}

/// An event whose columns are read each by itself.
#[derive(Debug)]
pub(crate) struct EndEvent {
    pub(crate) id: Option<String>,
    pub(crate) index: Option<i64>,
    pub(crate) time: Option<DateTime<Utc>>,
    pub(crate) sender: Option<Sender>,
    pub(crate) payload: EndPayload,
}

#[derive(Debug, FromSqlRow)]
pub(crate) enum EndPayload {
    Read(Json),
    TooLong,
    Unreadable,
}

impl SessionEnds {
    /// The ends of a session from its first and its last events, each with what identifies it among them.
    pub(super) fn joined<K: PartialEq>(first: Vec<(K, EndEvent)>, last: Vec<(K, EndEvent)>) -> Self {
        let is_in_both = |(key, _): &(K, EndEvent)| last.iter().any(|(other, _)| other == key);
        let own = first.iter().take_while(|event| !is_in_both(event)).count();
        let is_whole = last.len() < SessionSummary::LAST_EVENTS || own < first.len();
        let event = |(_, event): (K, EndEvent)| event;
        Self {
            first: first.into_iter().take(own).map(event).collect(),
            last: last.into_iter().map(event).collect(),
            is_whole,
        }
    }
}

impl EndPayload {
    pub(super) fn of(stored: Column<StoredText>) -> Self {
        match stored.ok() {
            Some(StoredText(text)) if text.len() > SessionSummary::MAX_PAYLOAD_BYTES => Self::TooLong,
            Some(StoredText(text)) => Json::parse(text).map_or(Self::Unreadable, Self::Read),
            None => Self::Unreadable,
        }
    }
}

pub(super) fn sender_of(stored: Column<StoredText>) -> Option<Sender> {
    known_sender(&stored.ok()?.0).ok()
}
