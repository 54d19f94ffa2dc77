//! Reading, listing, storing, ending, deleting and forking sessions.

use chrono::{DateTime, Utc};

use crate::database::rows::SessionRow;
use crate::database::{Database, Lock};
use crate::error::{Error, Result};
use crate::model::page::ListPage;
use crate::model::request::ListSessionsRequest;
use crate::model::session::SessionRecord;

pub(crate) async fn get_session<D: Database>(db: &mut D, id: &str) -> Result<Option<SessionRecord>> {
    db.session(id).await
}

pub(crate) async fn list_sessions<D: Database>(
    db: &mut D,
    request: &ListSessionsRequest,
) -> Result<ListPage<SessionRecord>> {
    db.sessions(&request.listing()?).await
}

pub(crate) async fn update_session<D: Database>(db: &mut D, session: &SessionRecord) -> Result<()> {
    db.put_session(SessionRow::from(session).for_the_table()).await
}

pub(crate) async fn destroy_session<D: Database>(db: &mut D, id: &str, at: DateTime<Utc>) -> Result<bool> {
    db.mark_destroyed(id, at.timestamp_millis()).await
}

pub(crate) async fn delete_session<D: Database>(db: &mut D, id: &str) -> Result<bool> {
    db.atomically(Lock::Write, async |db| {
        let had_events = db.delete_events(id).await?;
        let had_record = db.delete_session(id).await?;
        Ok(had_events || had_record)
    })
    .await
}

pub(crate) async fn fork_session<D: Database>(
    db: &mut D,
    from_id: &str,
    up_to_index: Option<i64>,
    new: &SessionRecord,
) -> Result<u64> {
    db.atomically(Lock::ReadWrite { session: Some(&new.id) }, async |db| {
        if db.session_exists(&new.id).await? {
            return Err(Error::SessionExists { id: new.id.clone() });
        }
        if !db.session_exists(from_id).await? {
            return Err(Error::SessionNotFound { id: from_id.to_owned() });
        }
        // Where only this session's events are locked, others may store its record meanwhile, or delete the original.
        if !db.add_session(SessionRow::from(new).for_the_table()).await? {
            return Err(Error::SessionExists { id: new.id.clone() });
        }
        let copied = db.copy_events(from_id, up_to_index, &new.id).await?;
        if copied == 0 && !db.session_exists(from_id).await? {
            return Err(Error::SessionNotFound { id: from_id.to_owned() });
        }
        Ok(copied)
    })
    .await
}
