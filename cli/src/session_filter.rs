//! Which sessions, for the commands that take several.

use agent_session_store::ListSessionsRequest;
use chrono::{DateTime, Utc};
use clap::Args;

use crate::units::parse_time;

#[derive(Args, Debug)]
pub struct SessionFilter {
    /// Only the sessions of this agent
    #[arg(long)]
    pub agent: Option<String>,
    /// Only the sessions in this sandbox
    #[arg(long, value_name = "ID")]
    pub sandbox: Option<String>,
    /// Only sessions that have not ended
    #[arg(long, conflicts_with = "ended")]
    pub live: bool,
    /// Only sessions that have ended
    #[arg(long)]
    pub ended: bool,
    /// Only sessions that began then or later: a date, a time, or how long ago (7d)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub since: Option<DateTime<Utc>>,
    /// Only sessions that began before
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub before: Option<DateTime<Utc>>,
}

impl SessionFilter {
    pub fn is_empty(&self) -> bool {
        let Self { agent, sandbox, live, ended, since, before } = self;
        agent.is_none() && sandbox.is_none() && !live && !ended && since.is_none() && before.is_none()
    }

    pub fn request(&self) -> ListSessionsRequest {
        let request = ListSessionsRequest::new()
            .agent(self.agent.clone())
            .sandbox_id(self.sandbox.clone())
            .created_from(self.since)
            .created_before(self.before);
        let request = if self.live { request.live() } else { request };
        if self.ended { request.destroyed() } else { request }
    }
}
