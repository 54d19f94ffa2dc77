//! Plain text: who speaks on the left, what is said on the right.

use std::io::Write;

use agent_session_store::transcript::{Entry, EntryKind, Turn};
use anstyle::Style;

use super::{Choices, Heading, Rendering, words};
use crate::failure::Result;
use crate::output::{BAD, DIM, Look, STRONG, USER};
use crate::printable;
use crate::units::local;

/// The columns of who speaks, and the gap.
const MARGIN: usize = 9;

pub struct PlainText {
    choices: Choices,
}

impl PlainText {
    pub fn new(choices: Choices) -> Self {
        Self { choices }
    }

    fn head(&self, out: &mut dyn Write, turn: &Turn) -> Result<()> {
        let look = self.choices.look;
        let head = format!("{} · {} · from event {}", words::name(turn), local(turn.first_time), turn.first_index);
        Ok(writeln!(out, "\n{}", look.painted(STRONG, head))?)
    }

    fn entry(&self, out: &mut dyn Write, entry: &Entry) -> Result<()> {
        let Some(said) = words::of_entry(entry, self.choices) else { return Ok(()) };
        let style = match (said.who, said.is_message) {
            ("error", _) => BAD,
            ("you", _) => USER,
            ("agent", true) => STRONG,
            _ => DIM,
        };
        paragraph(out, self.choices.look, said.who, style, &said.text)?;
        for detail in &said.details {
            paragraph(out, self.choices.look, "", DIM, detail)?;
        }
        Ok(())
    }

    fn outcome(&self, out: &mut dyn Write, turn: &Turn) -> Result<()> {
        match words::outcome(turn) {
            Some(outcome) => paragraph(out, self.choices.look, "ended", DIM, &outcome),
            None => Ok(()),
        }
    }
}

/// The speaker, and the lines beside it, broken where the screen ends.
fn paragraph(out: &mut dyn Write, look: Look, who: &str, style: Style, text: &str) -> Result<()> {
    let text = printable::text(text);
    let width = look.width.map_or(usize::MAX, |width| width.saturating_sub(MARGIN + 2).max(10));
    let mut who = who;
    for line in text.trim_end_matches('\n').split('\n') {
        let parts = if width == usize::MAX { vec![line.into()] } else { textwrap::wrap(line, width) };
        for part in parts {
            let label = format!("{who:>MARGIN$}");
            let label = if who.is_empty() { label } else { look.painted(style, label) };
            writeln!(out, "{}", format!("{label}  {part}").trim_end())?;
            who = "";
        }
    }
    Ok(())
}

impl Rendering for PlainText {
    fn begin(&mut self, out: &mut dyn Write, heading: &Heading<'_>) -> Result<()> {
        let look = self.choices.look;
        writeln!(out, "{}", look.painted(STRONG, printable::line(heading.id)))?;
        if let Some(record) = heading.record {
            let mut about = format!("{} · {}", printable::line(&record.agent), local(record.created_at));
            if let Some(end) = record.destroyed_at {
                about += &format!(" · ended {}", local(end));
            }
            writeln!(out, "{}", look.painted(DIM, about))?;
        }
        Ok(())
    }

    fn turn(&mut self, out: &mut dyn Write, turn: &Turn) -> Result<()> {
        if !words::is_shown(turn, self.choices) {
            return Ok(());
        }
        self.head(out, turn)?;
        for entry in turn.prompt.iter().chain(&turn.entries) {
            self.entry(out, entry)?;
        }
        self.outcome(out, turn)
    }

    fn end(&mut self, _out: &mut dyn Write, _title: Option<&str>) -> Result<()> {
        Ok(())
    }
}

/// A turn that goes on: what of it was written already.
pub struct LiveText {
    text: PlainText,
    /// The first event of the turn that is being written.
    turn: Option<i64>,
    entries: usize,
}

impl LiveText {
    pub fn new(choices: Choices) -> Self {
        Self { text: PlainText::new(choices), turn: None, entries: 0 }
    }

    pub fn begin(&mut self, out: &mut dyn Write, heading: &Heading<'_>) -> Result<()> {
        self.text.begin(out, heading)
    }

    /// Writes the rest of a turn that is over.
    pub fn finished(&mut self, out: &mut dyn Write, turn: &Turn) -> Result<()> {
        self.up_to(out, turn, turn.entries.len())?;
        self.turn = None;
        self.text.outcome(out, turn)
    }

    /// Writes of a turn that goes on what is complete. A message is when something else follows, and a tool call when
    /// it has ended.
    pub fn so_far(&mut self, out: &mut dyn Write, turn: &Turn) -> Result<()> {
        let settled = turn.entries.iter().enumerate().take_while(|(place, entry)| {
            let is_last = place + 1 == turn.entries.len();
            match &entry.kind {
                EntryKind::ToolCall(call) => !matches!(call.status.as_deref(), Some("pending" | "in_progress")),
                EntryKind::UserMessage(_)
                | EntryKind::AgentMessage(_)
                | EntryKind::AgentThought(_)
                | EntryKind::Plan { .. } => !is_last,
                _ => true,
            }
        });
        let settled = settled.count();
        self.up_to(out, turn, settled)
    }

    fn up_to(&mut self, out: &mut dyn Write, turn: &Turn, entries: usize) -> Result<()> {
        if !words::is_shown(turn, self.text.choices) {
            return Ok(());
        }
        if self.turn != Some(turn.first_index) {
            (self.turn, self.entries) = (Some(turn.first_index), 0);
            self.text.head(out, turn)?;
            if let Some(prompt) = &turn.prompt {
                self.text.entry(out, prompt)?;
            }
        }
        for entry in turn.entries.iter().take(entries).skip(self.entries) {
            self.text.entry(out, entry)?;
        }
        self.entries = self.entries.max(entries);
        Ok(())
    }
}
