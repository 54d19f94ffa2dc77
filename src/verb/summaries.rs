//! Summaries of sessions.

use crate::database::session_ends::{EndEvent, EndPayload, SessionEnds};
use crate::database::{Database, Lock};
use crate::error::{Error, Result};
use crate::model::page::ListPage;
use crate::model::request::ListSessionsRequest;
use crate::transcript::summary::{Digest, SessionSummary};

/// How many sessions' events are asked for at once, and in memory.
const SESSIONS_AT_ONCE: usize = 100;

pub(crate) async fn list_session_summaries<D: Database>(
    db: &mut D,
    request: &ListSessionsRequest,
) -> Result<ListPage<SessionSummary>> {
    let listing = request.listing()?;
    db.atomically(Lock::Snapshot, async |db| {
        let ListPage { items: sessions, next_cursor } = db.sessions(&listing).await?;
        let mut digests = Vec::with_capacity(sessions.len());
        for some in sessions.chunks(SESSIONS_AT_ONCE) {
            let ids: Vec<&str> = some.iter().map(|session| &*session.id).collect();
            let ends = db.session_ends(&ids).await?;
            for (session_id, ends) in ids.into_iter().zip(ends) {
                digests.push(digest(db, session_id, ends).await?);
            }
        }
        let items = sessions.into_iter().zip(digests).map(|(session, digest)| digest.finish(session)).collect();
        Ok(ListPage { items, next_cursor })
    })
    .await
}

async fn digest<D: Database>(db: &mut D, session_id: &str, ends: SessionEnds) -> Result<Digest> {
    let SessionEnds { first, last, is_whole } = ends;
    let mut digest = Digest::default();
    first.into_iter().for_each(|event| add(&mut digest, event));
    if !is_whole {
        digest.skip_middle();
    }
    last.into_iter().for_each(|event| add(&mut digest, event));
    if let Some(id) = digest.opening().map(str::to_owned) {
        match db.event(&id, session_id).await {
            Ok(Some(event)) => digest.open_with(&event),
            Ok(None) | Err(Error::Decode { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(digest)
}

fn add(digest: &mut Digest, event: EndEvent) {
    let EndEvent { id, index, time, sender, payload } = event;
    digest.reach(index, time);
    match (sender, payload) {
        (Some(sender), EndPayload::Read(payload)) => digest.add_payload(sender, payload),
        (sender, EndPayload::TooLong) => digest.add_too_long(sender, id.as_deref()),
        _ => digest.add_unreadable(),
    }
}
