//! Standard output: a terminal, a pager or a pipe, with colours or without.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::arguments::{Global, When};
use crate::failure::Result;
use crate::interrupt;
use crate::pager::Pager;
use crate::printable;

pub struct Output {
    writer: Writer,
    look: Look,
}

enum Writer {
    Standard(BufWriter<io::Stdout>),
    Paged(Pager),
}

/// What the output looks like.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub is_terminal: bool,
    pub has_colors: bool,
    /// In columns; `None` where lines may be of any length.
    pub width: Option<usize>,
}

impl Look {
    pub fn of_stdout(global: &Global) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let has_colors = match global.color {
            When::Always => true,
            When::Never => false,
            When::Auto => anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
        };
        Self { is_terminal, has_colors, width: is_terminal.then(width) }
    }

    /// Of a file: no colours, and lines of any length.
    pub fn of_file() -> Self {
        Self { is_terminal: false, has_colors: false, width: None }
    }

    /// The text in a style, if there are colours.
    pub fn painted(&self, style: Style, text: impl fmt::Display) -> String {
        if self.has_colors { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    /// A table with this head.
    pub fn table(&self, head: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        match self.width {
            Some(width) => table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width.try_into().unwrap_or(u16::MAX)),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if self.has_colors {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(head.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table
    }
}

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BAD: Style = AnsiColor::Red.on_default();
pub const ACTIVE: Color = Color::Green;

/// A terminal may not know its width.
fn width() -> usize {
    let known = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0);
    let said = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|width| *width > 0);
    known.or_else(said).unwrap_or(80).max(20)
}

impl Output {
    pub fn new(global: &Global) -> Self {
        Self { writer: Writer::Standard(BufWriter::new(io::stdout())), look: Look::of_stdout(global) }
    }

    /// The same through a pager, if it is a terminal and the reader wants one.
    pub fn paged(global: &Global, no_pager: bool) -> Self {
        let plain = Self::new(global);
        if !plain.look.is_terminal || no_pager {
            return plain;
        }
        match Pager::start() {
            Some(pager) => Self { writer: Writer::Paged(pager), look: plain.look },
            None => plain,
        }
    }

    pub fn look(&self) -> Look {
        self.look
    }

    /// One value in one line. On a terminal nothing in it is a control character.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(value).map_err(io::Error::from)?;
        self.json_line(&line)
    }

    /// JSON that is there already, in one line.
    pub fn json_line(&mut self, json: &str) -> Result<()> {
        let line = if self.look.is_terminal { printable::json(json) } else { printable::one_line_json(json) };
        self.write_all(line.as_bytes())?;
        Ok(self.write_all(b"\n")?)
    }

    /// A table, without spaces at the ends of lines.
    pub fn table(&mut self, table: &Table) -> Result<()> {
        for line in table.lines() {
            writeln!(self, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Writes what is left, and waits for the pager.
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        if let Writer::Paged(pager) = &mut self.writer {
            pager.finish()?;
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Writer::Standard(writer) => {
                interrupt::check_io()?;
                writer.write(bytes)
            }
            Writer::Paged(pager) => pager.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::Standard(writer) => writer.flush(),
            Writer::Paged(pager) => pager.flush(),
        }
    }
}
