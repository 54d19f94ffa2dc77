//! What a prune deletes, by a model, and what an archive gives back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use agent_session_store::{
    Import, ListEventsRequest, ListSessionsRequest, Progress, PruneReport, PruneRequest, Selection, SessionEvent,
    SessionPersistDriver, SessionRecord,
};
use proptest::prelude::*;

use super::{event, json, millis, session};

/// When a session began and ended.
type Times = (i64, Option<i64>);
/// Session, index, time, size.
type Event = (u8, i64, i64, usize);

#[derive(Clone, Debug)]
pub struct Sample {
    sessions: BTreeMap<u8, Times>,
    events: Vec<Event>,
    named: Option<u8>,
    destroyed_before: Option<i64>,
    created_before: Option<i64>,
    inactive_before: Option<i64>,
    orphans_before: Option<i64>,
    most_events: Option<u32>,
    most_bytes: Option<u64>,
}

prop_compose! {
    pub fn any_sample()(
        sessions in prop::collection::btree_map(0..6_u8, (0..6_i64, prop::option::of(0..6_i64)), 0..6),
        events in prop::collection::vec((0..6_u8, 0..9_i64, 0..6_i64, 2..9_usize), 0..30),
        named in prop::option::weighted(0.2, 0..6_u8),
        destroyed_before in prop::option::weighted(0.3, 0..6_i64),
        created_before in prop::option::weighted(0.2, 0..4_i64),
        inactive_before in prop::option::of(0..6_i64),
        orphans_before in prop::option::weighted(0.3, 0..6_i64),
        most_events in prop::option::weighted(0.3, 0..6_u32),
        most_bytes in prop::option::of(0..120_u64),
    ) -> Sample {
        Sample {
            sessions, events, named, destroyed_before, created_before, inactive_before, orphans_before, most_events,
            most_bytes,
        }
    }
}

impl Sample {
    fn records(&self) -> impl Iterator<Item = SessionRecord> {
        self.sessions.iter().map(|(id, (created_at, destroyed_at))| {
            with!(session(&format!("s{id}")), created_at: millis(*created_at), destroyed_at: destroyed_at.map(millis))
        })
    }

    /// The first of them has the first id.
    fn events(&self) -> impl Iterator<Item = SessionEvent> {
        self.events.iter().enumerate().map(|(place, (session_id, index, at, bytes))| {
            let payload = json(&format!("\"{}\"", "x".repeat(bytes - 2)));
            let event = event(&format!("{place:02}"), &format!("s{session_id}"), *index);
            with!(event, created_at: millis(*at), payload: payload)
        })
    }

    fn request(&self) -> PruneRequest {
        let mut request = PruneRequest::new();
        if let Some(id) = self.named {
            request = request.session(format!("s{id}"));
        }
        if let Some(time) = self.destroyed_before {
            request = request.destroyed_before(millis(time));
        }
        if let Some(time) = self.created_before {
            request = request.created_before(millis(time));
        }
        if let Some(time) = self.inactive_before {
            request = request.inactive_before(millis(time));
        }
        if let Some(time) = self.orphans_before {
            request = request.orphans_before(millis(time));
        }
        if let Some(most) = self.most_events {
            request = request.max_events_per_session(most);
        }
        if let Some(most) = self.most_bytes {
            request = request.max_total_bytes(most);
        }
        request
    }

    /// The sessions, and the places of the events, that stay.
    fn rest(&self) -> (BTreeSet<u8>, BTreeSet<usize>) {
        let mut events: BTreeMap<u8, Vec<(i64, usize)>> = BTreeMap::new();
        for (place, (session, index, ..)) in self.events.iter().enumerate() {
            events.entry(*session).or_default().push((*index, place));
        }
        events.values_mut().for_each(|events| events.sort_unstable());
        let at = |place: usize| self.events[place].2;
        let is_before = |time: Option<i64>, at: i64| time.is_some_and(|time| at < time);
        let activity = |id: u8, last: Option<usize>| {
            let times = self.sessions.get(&id).into_iter().flat_map(|(began, ended)| [Some(*began), *ended]);
            times.flatten().chain(last.map(at)).max()
        };
        let goes = |id: u8| {
            let last = events.get(&id).and_then(|events| events.last()).map(|(_, place)| *place);
            let times = self.sessions.get(&id);
            self.named == Some(id)
                || times.is_some_and(|(began, _)| is_before(self.created_before, *began))
                || times.is_some_and(|(_, ended)| ended.is_some_and(|at| is_before(self.destroyed_before, at)))
                || activity(id, last).is_some_and(|at| is_before(self.inactive_before, at))
        };
        let going: BTreeSet<u8> = (0..6).filter(|id| goes(*id)).collect();
        let mut sessions: BTreeSet<u8> = self.sessions.keys().copied().filter(|id| !going.contains(id)).collect();
        events.retain(|id, _| !going.contains(id));
        for (id, events) in &mut events {
            if !sessions.contains(id) {
                events.retain(|(_, place)| !is_before(self.orphans_before, at(*place)));
            }
            if let Some(most) = self.most_events {
                events.drain(..events.len().saturating_sub(most as usize));
            }
        }
        let bytes =
            |events: &Vec<(i64, usize)>| events.iter().map(|(_, place)| self.events[*place].3 as u64).sum::<u64>();
        let order =
            |(id, events): (&u8, &Vec<(i64, usize)>)| events.last().map(|(_, last)| (activity(*id, Some(*last)), *id));
        while self.most_bytes.is_some_and(|most| events.values().map(bytes).sum::<u64>() > most) {
            let Some((_, least)) = events.iter().filter_map(order).min() else { break };
            events.remove(&least);
            sessions.remove(&least);
        }
        (sessions, events.into_values().flatten().map(|(_, place)| place).collect())
    }
}

/// The ids of all sessions and events.
fn ids<D: SessionPersistDriver>(driver: &mut D) -> (BTreeSet<String>, BTreeSet<String>) {
    let sessions = driver.list_sessions(&ListSessionsRequest::new()).unwrap().items;
    let events = (0..6).flat_map(|id| {
        let request = ListEventsRequest::new(format!("s{id}"));
        driver.events(request).map(|event| event.unwrap().id).collect::<Vec<_>>()
    });
    (sessions.into_iter().map(|session| session.id).collect(), events.collect())
}

fn exported<D: SessionPersistDriver>(driver: &mut D) -> Vec<u8> {
    let mut lines = Vec::new();
    driver.export(&mut lines, Selection::all()).unwrap();
    lines
}

/// Prunes an empty database filled with the sample, into an archive if there is a path, and restores that into another
/// empty database and into the same.
pub fn check<D: SessionPersistDriver>(sample: &Sample, driver: &mut D, empty: &mut D, archive: Option<&Path>) {
    sample.records().for_each(|record| driver.update_session(&record).unwrap());
    driver.insert_events(&sample.events().collect::<Vec<_>>()).unwrap();
    let before = exported(driver);
    let (sessions, events) = sample.rest();
    let rest: (BTreeSet<String>, BTreeSet<String>) = (
        sessions.iter().map(|id| format!("s{id}")).collect(),
        events.iter().map(|place| format!("{place:02}")).collect(),
    );
    let expected = PruneReport {
        sessions: (sample.sessions.len() - sessions.len()) as u64,
        events: (sample.events.len() - events.len()) as u64,
    };
    let mut request = sample.request();
    if let Some(path) = archive {
        request = request.archive_to(path);
    }
    assert_eq!(driver.prune(&request.clone().dry_run()).unwrap(), expected);
    assert_eq!(exported(driver), before);
    assert_eq!(driver.prune(&request).unwrap(), expected);
    assert_eq!(ids(driver), rest);
    let Some(path) = archive else { return };
    if expected == PruneReport::default() {
        assert!(!path.exists());
        return;
    }
    let all: BTreeSet<String> = sample.sessions.keys().map(|id| format!("s{id}")).collect();
    let restored = empty.import(Import::from_path(path).unwrap()).unwrap();
    assert_eq!(restored.events, expected.events);
    let back = ids(empty);
    assert_eq!(back.0, all.difference(&rest.0).cloned().collect());
    assert!(back.1.is_disjoint(&rest.1));
    assert_eq!(back.1.len() as u64, expected.events);
    let again: Progress = driver.import(Import::from_path(path).unwrap()).unwrap();
    assert_eq!(again, restored);
    assert_eq!(exported(driver), before);
}
