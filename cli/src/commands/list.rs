//! `list`: the sessions, as a table.

use std::io::Write;

use agent_session_store::{ChangeToken, ListSessionsRequest, SessionStore};
use chrono::{DateTime, Utc};
use clap::Args;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, Row, Width};

use super::LeftOut;
use crate::arguments::{Global, Looking};
use crate::failure::{Exit, Failure, Result, warn};
use crate::interrupt;
use crate::listed_session::ListedSession;
use crate::output::{ACTIVE, Look, Output};
use crate::place::Place;
use crate::printable;
use crate::session_filter::SessionFilter;
use crate::units::{GLANCE, age, count, size};

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions list --live
  agent-sessions list --agent claude --since 7d --limit 50
  agent-sessions list --watch
  agent-sessions list --all --json | jq -r .id";

/// Lists the sessions, the latest first
///
/// On a terminal each line begins with the name that other commands take: @1 for the latest session. With --json, each line
/// is an object, with --watch an array of all of them.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    filter: SessionFilter,
    /// The oldest first
    #[arg(long)]
    oldest_first: bool,
    /// How many sessions to list
    #[arg(long, short = 'n', default_value_t = 20, value_name = "NUMBER")]
    limit: u32,
    /// List all sessions
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Show the size of each session's payloads, which reads all events of the sessions listed
    #[arg(long)]
    size: bool,
    /// Show the list again whenever something was committed
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    looking: Looking,
}

impl List {
    pub fn run(self, global: &Global) -> Result<Exit> {
        if self.watch && self.looking.copy {
            return Err(Failure::usage("a copy does not change: leave --watch or --copy out"));
        }
        let _asked = interrupt::asked_for();
        let store = Place::of(global)?.look(self.looking)?;
        let mut left_out = LeftOut::default();
        if self.watch {
            return self.watch(&store, global);
        }
        let mut out = Output::new(global);
        if global.json && !self.size {
            self.each(&store, &mut left_out, |session| out.json(&session))?;
        } else {
            let summaries = self.summaries(&store, &mut left_out)?;
            if global.json {
                summaries.iter().try_for_each(|summary| out.json(summary))?;
            } else {
                self.show(&mut out, &summaries)?;
            }
        }
        out.finish()?;
        Ok(left_out.exit())
    }

    fn request(&self) -> ListSessionsRequest {
        let page = u32::try_from(self.most()).unwrap_or(u32::MAX).min(100);
        let request = self.filter.request().limit(page);
        if self.oldest_first { request } else { request.descending() }
    }

    fn most(&self) -> usize {
        if self.all { usize::MAX } else { usize::try_from(self.limit).unwrap_or(usize::MAX) }
    }

    /// Passes on each session, page by page.
    fn each(
        &self,
        store: &SessionStore,
        left_out: &mut LeftOut,
        mut work: impl FnMut(ListedSession) -> Result<()>,
    ) -> Result<()> {
        for session in store.session_summaries(self.request()).take(self.most()) {
            interrupt::check()?;
            if let Some(session) = left_out.row(session)? {
                work(session.into())?;
            }
        }
        Ok(())
    }

    fn summaries(&self, store: &SessionStore, left_out: &mut LeftOut) -> Result<Vec<ListedSession>> {
        let mut summaries = Vec::new();
        self.each(store, left_out, |session| {
            summaries.push(session);
            Ok(())
        })?;
        if self.size {
            for summary in &mut summaries {
                interrupt::check()?;
                let stats = store.get_session_stats(&summary.record.id)?;
                summary.events = Some(stats.as_ref().map_or(0, |stats| stats.events));
                summary.payload_bytes = Some(stats.map_or(0, |stats| stats.payload_bytes));
            }
        }
        Ok(summaries)
    }

    fn watch(&self, store: &SessionStore, global: &Global) -> Result<Exit> {
        let mut token = ChangeToken::default();
        let mut out = Output::new(global);
        loop {
            interrupt::check()?;
            let Some(now) = store.changed_since_timeout(token, GLANCE)? else { continue };
            let summaries = match self.summaries(store, &mut LeftOut::default()) {
                // A lock, or a server that is started anew: what there is then is shown.
                Err(Failure::Said { exit: Exit::Unavailable, line }) => {
                    warn(&format!("waiting: {line}"));
                    std::thread::sleep(GLANCE * 10);
                    continue;
                }
                summaries => summaries?,
            };
            token = now;
            if global.json {
                out.json(&summaries)?;
            } else {
                if out.look().is_terminal {
                    // To the upper left, and clear what is there.
                    out.write_all(b"\x1b[H\x1b[2J")?;
                }
                self.show(&mut out, &summaries)?;
            }
            out.flush()?;
        }
    }

    /// Whether the places in the list are those that other commands take.
    fn is_numbered(&self) -> bool {
        let SessionFilter { agent, sandbox, live, ended, since: _, before } = &self.filter;
        let filters = agent.is_some() || sandbox.is_some() || *live || *ended || before.is_some();
        !filters && !self.oldest_first
    }

    fn show(&self, out: &mut Output, summaries: &[ListedSession]) -> Result<()> {
        if summaries.is_empty() {
            if out.look().is_terminal {
                writeln!(out, "no sessions")?;
            }
            return Ok(());
        }
        let look = out.look();
        let numbered = look.is_terminal && self.is_numbered();
        let events = if self.size { "events" } else { "last" };
        let mut head = vec!["age", "id", "agent", "title", "folder", events, "state"];
        if numbered {
            head.insert(0, "");
        }
        if self.size {
            head.insert(head.len() - 1, "size");
        }
        let narrower = |columns| look.width.is_some_and(|width| width < columns);
        let mut table = look.table(&head);
        let now = Utc::now();
        let ids = shown_ids(summaries, look);
        for (place, (summary, id)) in summaries.iter().zip(ids).enumerate() {
            table.add_row(self.row(summary, &id, numbered.then_some(place + 1), now));
        }
        for (column, name) in table.column_iter_mut().zip(&head) {
            match *name {
                "title" | "folder" if look.width.is_some() => {
                    column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(8)))
                }
                _ => column.set_constraint(ColumnConstraint::ContentWidth),
            };
            let is_hidden = match *name {
                "folder" | "agent" | "events" | "last" | "size" => narrower(70),
                "age" | "title" => narrower(40),
                "state" => narrower(24),
                _ => false,
            };
            if is_hidden {
                column.set_constraint(ColumnConstraint::Hidden);
            }
            if matches!(*name, "age" | "events" | "last" | "size") {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        out.table(&table)
    }

    fn row(&self, summary: &ListedSession, id: &str, place: Option<usize>, now: DateTime<Utc>) -> Row {
        let of = |text: &Option<String>| Cell::new(printable::line(text.as_deref().unwrap_or("")));
        let number = |number: i64| count(u64::try_from(number).unwrap_or(0));
        let state = Cell::new(summary.state);
        let mut row = Row::new();
        // One line a session, however long its title is.
        row.max_height(1);
        if let Some(place) = place {
            row.add_cell(Cell::new(format!("@{place}")));
        }
        row.add_cell(Cell::new(age(summary.record.created_at, now)))
            .add_cell(Cell::new(printable::line(id)))
            .add_cell(Cell::new(printable::line(&summary.record.agent)))
            .add_cell(of(&summary.title))
            .add_cell(of(&summary.cwd))
            .add_cell(Cell::new(number(summary.events.or(summary.last_index).unwrap_or(0))));
        if self.size {
            row.add_cell(Cell::new(size(u64::try_from(summary.payload_bytes.unwrap_or(0)).unwrap_or(0))));
        }
        row.add_cell(if summary.state != "running" { state } else { state.fg(ACTIVE) });
        row
    }
}

/// On a terminal, as much of long ids as tells them apart here, at least eight characters.
fn shown_ids(summaries: &[ListedSession], look: Look) -> Vec<String> {
    let ids: Vec<_> = summaries.iter().map(|summary| summary.record.id.as_str()).collect();
    let longest = ids.iter().map(|id| id.chars().count()).max().unwrap_or(0);
    let mut length = if look.is_terminal && longest > 12 { 8 } else { longest };
    loop {
        let shown: Vec<String> = ids.iter().map(|id| id.chars().take(length).collect()).collect();
        let distinct: std::collections::HashSet<_> = shown.iter().collect();
        if distinct.len() == ids.len() || length >= longest {
            return shown;
        }
        length += 1;
    }
}
