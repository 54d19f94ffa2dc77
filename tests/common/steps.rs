//! Any step of any verb, on a driver and on the model of what it should hold.

use agent_session_store::{
    Error, ListEventsRequest, ListSessionsRequest, NewEvent, PruneReport, PruneRequest, Selection,
    SessionPersistDriver, SessionRecord,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::model::{Model, copied};
use super::samples::placed;
use super::{event, json, millis, new_event, session};

impl Model {
    fn append(&mut self, session_id: &str, after: Option<i64>, new: &[NewEvent]) -> Result<Vec<i64>, &'static str> {
        let (mut events, mut indexes) = (self.events.clone(), Vec::new());
        let first = self.last(session_id).unwrap_or(0);
        let mut last = first;
        for new in new {
            match events.get(&new.id) {
                Some(stored) if *stored == placed(new, session_id, stored.event_index) => {
                    indexes.push(stored.event_index)
                }
                Some(_) => return Err("taken"),
                None => {
                    last += 1;
                    indexes.push(last);
                    events.insert(new.id.clone(), placed(new, session_id, last));
                }
            }
        }
        if after.is_some_and(|after| after != first) && last > first {
            return Err("conflict");
        }
        self.events = events;
        Ok(indexes)
    }

    fn fork(&mut self, from: &str, up_to: Option<i64>, new: &SessionRecord) -> Result<u64, &'static str> {
        if self.exists(&new.id) {
            return Err("exists");
        }
        if !self.exists(from) {
            return Err("missing");
        }
        let mut copies = self.of_session(from);
        copies.retain(|event| up_to.is_none_or(|index| event.event_index <= index));
        if copies.iter().any(|event| self.events.contains_key(&copied(event.clone(), &new.id).id)) {
            return Err("taken");
        }
        let count = copies.len() as u64;
        self.copy(copies, new);
        Ok(count)
    }

    fn prune(&mut self, created_before: i64, most: usize) -> PruneReport {
        let before = (self.sessions.len(), self.events.len());
        let doomed: Vec<_> =
            self.sessions.values().filter(|session| session.created_at < millis(created_before)).cloned().collect();
        doomed.iter().for_each(|session| _ = self.delete(&session.id));
        for id in self.sessions_of_events() {
            let events = self.of_session(&id);
            for event in &events[..events.len().saturating_sub(most)] {
                self.events.remove(&event.id);
            }
        }
        let gone = (before.0 - self.sessions.len(), before.1 - self.events.len());
        PruneReport { sessions: gone.0 as u64, events: gone.1 as u64 }
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    Update(u8, i64, bool),
    Insert(u8, u8, i64),
    Append(u8, Option<i64>, Vec<(u8, bool)>),
    Delete(u8),
    Destroy(u8, i64),
    Fork(u8, Option<i64>, u8),
    Prune(i64, usize),
    List(u8, Option<i64>, Option<i64>, bool, u32),
    Sessions(Option<bool>, Option<i64>, bool, u32),
    Latest(u8, u32, Option<usize>),
    Move(u8),
}

pub fn any_step() -> impl Strategy<Value = Step> {
    let id = || 0..4_u8;
    let maybe = || prop::option::of(0..5_i64);
    prop_oneof![
        (id(), 0..5_i64, any::<bool>()).prop_map(|(id, time, live)| Step::Update(id, time, live)),
        (0..9_u8, id(), -1..6_i64).prop_map(|(event, id, index)| Step::Insert(event, id, index)),
        (id(), maybe(), prop::collection::vec((0..9_u8, prop::bool::weighted(0.1)), 0..4))
            .prop_map(|(id, after, events)| Step::Append(id, after, events)),
        id().prop_map(Step::Delete),
        (id(), 0..5_i64).prop_map(|(id, time)| Step::Destroy(id, time)),
        (id(), maybe(), id()).prop_map(|(from, up_to, new)| Step::Fork(from, up_to, new)),
        (0..3_i64, 2..6_usize).prop_map(|(time, most)| Step::Prune(time, most)),
        (id(), maybe(), maybe(), any::<bool>(), 1..4_u32)
            .prop_map(|(id, after, before, descending, limit)| Step::List(id, after, before, descending, limit)),
        (prop::option::of(any::<bool>()), maybe(), any::<bool>(), 1..4_u32)
            .prop_map(|(live, from, descending, limit)| Step::Sessions(live, from, descending, limit)),
        (id(), 0..5_u32, prop::option::of(0..40_usize)).prop_map(|(id, count, bytes)| Step::Latest(id, count, bytes)),
        id().prop_map(Step::Move),
    ]
}

/// The error as far as the model knows it.
fn known<T>(result: Result<T, Error>) -> Result<T, &'static str> {
    result.map_err(|error| match error {
        Error::EventIdTaken { .. } => "taken",
        Error::AppendConflict { .. } => "conflict",
        Error::SessionExists { .. } => "exists",
        Error::SessionNotFound { .. } => "missing",
        error => panic!("{error}"),
    })
}

pub fn take<D: SessionPersistDriver>(driver: &mut D, model: &mut Model, step: &Step) {
    let name = |id: u8| format!("session-{id}");
    match step.clone() {
        Step::Update(id, time, is_live) => {
            let destroyed_at = (!is_live).then(|| millis(time + 1));
            let record = with!(session(&name(id)), created_at: millis(time), destroyed_at: destroyed_at);
            driver.update_session(&record).unwrap();
            model.sessions.insert(record.id.clone(), record);
        }
        Step::Insert(id, session, index) => {
            let event = event(&id.to_string(), &name(session), index);
            driver.insert_event(&event).unwrap();
            model.events.insert(event.id.clone(), event);
        }
        Step::Append(id, after, events) => {
            let new = events.into_iter().map(|(id, is_other)| {
                let payload = json(if is_other { "[ ]" } else { "\"0123456789\"" });
                with!(new_event(&format!("new-{id}")), payload: payload)
            });
            let new: Vec<_> = new.collect();
            let given = match after {
                None => driver.append_events(&name(id), &new),
                Some(after) => driver.append_events_after(&name(id), after, &new),
            };
            assert_eq!(known(given), model.append(&name(id), after, &new));
        }
        Step::Delete(id) => assert_eq!(driver.delete_session(&name(id)).unwrap(), model.delete(&name(id))),
        Step::Destroy(id, time) => {
            let record = model.sessions.get_mut(&name(id));
            assert_eq!(driver.destroy_session(&name(id), millis(time)).unwrap(), record.is_some());
            record.into_iter().for_each(|record| record.destroyed_at = Some(millis(time)));
        }
        Step::Fork(from, up_to, new) => {
            let new = session(&name(new));
            assert_eq!(known(driver.fork_session(&name(from), up_to, &new)), model.fork(&name(from), up_to, &new));
        }
        Step::Prune(time, most) => {
            let request = PruneRequest::new().created_before(millis(time)).max_events_per_session(most as u32);
            let would_go = driver.prune(&request.clone().dry_run()).unwrap();
            let gone = driver.prune(&request).unwrap();
            assert_eq!((gone, would_go), (model.prune(time, most), gone));
        }
        Step::List(id, after, before, descending, limit) => {
            let mut request = ListEventsRequest::new(name(id)).limit(limit);
            let mut expected = model.of_session(&name(id));
            if let Some(index) = after {
                request = request.after(index);
                expected.retain(|event| event.event_index > index);
            }
            if let Some(index) = before {
                request = request.before(index);
                expected.retain(|event| event.event_index < index);
            }
            if descending {
                request = request.descending();
                expected.reverse();
            }
            let walked: Vec<_> = driver.events(request).map(Result::unwrap).collect();
            assert_eq!(walked, expected);
        }
        Step::Sessions(is_live, from, descending, limit) => {
            let mut request = ListSessionsRequest::new().limit(limit);
            let mut expected: Vec<_> = model.sessions.values().cloned().collect();
            expected.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
            if let Some(is_live) = is_live {
                request = if is_live { request.live() } else { request.destroyed() };
                expected.retain(|session| session.destroyed_at.is_none() == is_live);
            }
            if let Some(time) = from {
                request = request.created_from(millis(time));
                expected.retain(|session| session.created_at >= millis(time));
            }
            if descending {
                request = request.descending();
                expected.reverse();
            }
            let mut walked = Vec::new();
            loop {
                let page = driver.list_sessions(&request).unwrap();
                walked.extend(page.items);
                let Some(cursor) = page.next_cursor else { break };
                request = request.cursor(cursor);
            }
            assert_eq!(walked, expected);
        }
        Step::Latest(id, count, max_bytes) => {
            let mut bytes = 0;
            let mut expected: Vec<_> = model.of_session(&name(id)).into_iter().rev().take(count as usize).collect();
            let fits = expected.iter().enumerate().take_while(|(place, event)| {
                bytes += event.payload.get().len();
                *place == 0 || max_bytes.is_none_or(|most| bytes <= most)
            });
            let fits = fits.count();
            expected.truncate(fits);
            expected.reverse();
            assert_eq!(driver.latest_events(&name(id), count, max_bytes).unwrap(), expected);
        }
        Step::Move(id) => {
            let mut lines = Vec::new();
            driver.export(&mut lines, Selection::session(name(id))).unwrap();
            driver.delete_session(&name(id)).unwrap();
            driver.import(&*lines).unwrap();
        }
    }
    for id in (0..4).map(name) {
        assert_eq!(driver.get_session(&id).unwrap(), model.sessions.get(&id).cloned(), "{step:?}");
        assert_eq!(driver.last_event_index(&id).unwrap(), model.last(&id), "{step:?}");
        let all = driver.list_events(&ListEventsRequest::new(&*id)).unwrap();
        assert_eq!((all.items, all.next_cursor), (model.of_session(&id), None), "{step:?}");
    }
    let stats = driver.stats().unwrap();
    assert_eq!((stats.sessions, stats.events), (model.sessions.len() as u64, model.events.len() as u64), "{step:?}");
}

/// Runs a test for many sequences of steps.
pub fn for_any_steps(cases: u32, test: impl Fn(&[Step])) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let steps = prop::collection::vec(any_step(), 1..40);
    let result = TestRunner::new(config).run(&steps, |steps| {
        test(&steps);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

/// The same step with ids that belong to one session each, for tables where an id is unique only within its session.
pub fn in_its_own_session(step: &Step) -> Step {
    match step.clone() {
        Step::Insert(event, _, index) => Step::Insert(event, event % 4, index),
        Step::Append(session, after, mut events) => {
            events.iter_mut().for_each(|(id, _)| *id = *id / 4 * 4 + session);
            Step::Append(session, after, events)
        }
        step => step,
    }
}
