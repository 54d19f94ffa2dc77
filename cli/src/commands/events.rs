//! `events`: the payloads as they are stored.

use agent_session_store::{ListEventsRequest, SessionEvent, SessionStore};
use clap::Args;

use super::LeftOut;
use crate::arguments::{Global, Looking};
use crate::failure::{Exit, Result};
use crate::interrupt;
use crate::output::Output;
use crate::place::Place;
use crate::session_choice::choose;

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions events @1 | jq -r .method
  agent-sessions events 3f0c --last 5
  agent-sessions events 3f0c --after 120 --json | jq .eventIndex";

/// Prints the stored payloads of a session, one JSON text a line
///
/// The payloads are printed as they are stored, but for line breaks between their values. On a terminal, control characters
/// are escaped as JSON does it. With --json, each line is the whole event: its index, time, sender and payload.
#[derive(Args, Debug)]
pub struct Events {
    /// The session: its id, the beginning of it, or @1 for the latest
    #[arg(value_name = "ID")]
    session: String,
    /// Only events with a greater index
    #[arg(long, value_name = "INDEX", allow_negative_numbers = true)]
    after: Option<i64>,
    /// Only events with a smaller index
    #[arg(long, value_name = "INDEX", allow_negative_numbers = true)]
    before: Option<i64>,
    /// Only this many, the last ones
    #[arg(long, short = 'n', value_name = "NUMBER")]
    last: Option<u32>,
    #[command(flatten)]
    looking: Looking,
}

/// In rows, and in bytes of payload.
const PAGE: (u32, usize) = (1000, 1_000_000);

impl Events {
    pub fn run(self, global: &Global) -> Result<Exit> {
        let _asked = interrupt::asked_for();
        let store = Place::of(global)?.look(self.looking)?;
        let session = choose(&store, &self.session)?;
        let request = ListEventsRequest::new(&session.id).after(self.after).before(self.before);
        let mut left_out = LeftOut::default();
        let mut out = Output::new(global);
        match self.last {
            Some(number) => {
                let last = last(&store, request, number, &mut left_out)?;
                last.iter().try_for_each(|event| print(&mut out, event, global))?;
            }
            None => {
                for event in store.events(request.limit(PAGE.0).max_bytes(PAGE.1)) {
                    interrupt::check()?;
                    if let Some(event) = left_out.row(event)? {
                        print(&mut out, &event, global)?;
                    }
                }
            }
        }
        out.finish()?;
        Ok(left_out.exit())
    }
}

/// The last events of those that can be decoded, in their order.
pub fn last(
    store: &SessionStore,
    request: ListEventsRequest,
    number: u32,
    left_out: &mut LeftOut,
) -> Result<Vec<SessionEvent>> {
    let newest_first = request.descending().limit(number.min(PAGE.0)).max_bytes(PAGE.1);
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let mut last = Vec::new();
    let mut events = store.events(newest_first);
    while last.len() < number
        && let Some(event) = events.next()
    {
        interrupt::check()?;
        last.extend(left_out.row(event)?);
    }
    last.reverse();
    Ok(last)
}

/// One line for an event: its payload, or with `--json` all of it.
pub fn print(out: &mut Output, event: &SessionEvent, global: &Global) -> Result<()> {
    if global.json { out.json(event) } else { out.json_line(event.payload.get()) }
}
