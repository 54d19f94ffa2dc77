//! Markdown: a heading for each turn.

use std::io::Write;

use agent_session_store::transcript::Turn;

use super::{Choices, Heading, Rendering, words};
use crate::failure::Result;
use crate::printable;
use crate::units::local;

pub struct Markdown(pub Choices);

impl Rendering for Markdown {
    fn begin(&mut self, out: &mut dyn Write, heading: &Heading<'_>) -> Result<()> {
        writeln!(out, "# Session {}", code(heading.id))?;
        if let Some(record) = heading.record {
            writeln!(out, "\n{}, {}", code(&record.agent), local(record.created_at))?;
        }
        Ok(())
    }

    fn turn(&mut self, out: &mut dyn Write, turn: &Turn) -> Result<()> {
        if !words::is_shown(turn, self.0) {
            return Ok(());
        }
        writeln!(out, "\n## {}", words::name(turn))?;
        for entry in turn.prompt.iter().chain(&turn.entries) {
            let Some(said) = words::of_entry(entry, self.0) else { continue };
            let text = printable::text(&said.text);
            match said.is_message {
                true => writeln!(out, "\n**{}**\n\n{}", said.who, text.trim_end())?,
                false => writeln!(out, "\n**{}** {}", said.who, text.trim_end().replace('\n', "  \n"))?,
            }
            for detail in &said.details {
                let detail = printable::text(detail);
                let fence = fence(&detail);
                writeln!(out, "\n{fence}\n{}\n{fence}", detail.trim_end())?;
            }
        }
        if let Some(outcome) = words::outcome(turn) {
            writeln!(out, "\n*{}*", printable::line(&outcome))?;
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut dyn Write, _title: Option<&str>) -> Result<()> {
        Ok(())
    }
}

fn code(text: &str) -> String {
    format!("`{}`", printable::line(text).replace('`', "'"))
}

/// Longer than any row of backticks in the text.
fn fence(text: &str) -> String {
    let longest = text.split(|sign| sign != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}
