//! JSON: one document, written turn by turn.

use std::io::{self, Write};

use agent_session_store::transcript::Turn;
use serde::Serialize;

use super::Heading;
use crate::failure::Result;
use crate::printable;

pub struct JsonDocument {
    is_terminal: bool,
    turns: usize,
}

impl JsonDocument {
    pub fn new(is_terminal: bool) -> Self {
        Self { is_terminal, turns: 0 }
    }

    fn write(&self, out: &mut dyn Write, before: &str, value: &impl Serialize) -> Result<()> {
        let json = serde_json::to_string(value).map_err(io::Error::from)?;
        let json = if self.is_terminal { printable::json(&json) } else { json.into() };
        Ok(write!(out, "{before}{json}")?)
    }

    pub fn begin(&mut self, out: &mut dyn Write, heading: &Heading) -> Result<()> {
        self.write(out, "{\"sessionId\":", &heading.id)?;
        self.write(out, ",\"session\":", &heading.record)?;
        Ok(write!(out, ",\"turns\":[")?)
    }

    pub fn turn(&mut self, out: &mut dyn Write, turn: &Turn) -> Result<()> {
        let before = if self.turns == 0 { "\n" } else { ",\n" };
        self.turns += 1;
        self.write(out, before, turn)
    }

    pub fn end(&mut self, out: &mut dyn Write, title: Option<&str>) -> Result<()> {
        self.write(out, "\n],\"title\":", &title)?;
        Ok(writeln!(out, "}}")?)
    }
}
