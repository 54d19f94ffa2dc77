//! Transcripts as text, Markdown, HTML and JSON, turn by turn. This is the one place that knows how.

mod json;
mod markdown;
mod page;
mod text;
mod words;

use std::io::Write;

use agent_session_store::SessionRecord;
use agent_session_store::transcript::Turn;
use clap::ValueEnum;

use crate::failure::Result;
use crate::output::Look;

pub use text::LiveText;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Markdown,
    /// One page that needs nothing else
    Html,
    Json,
}

/// What is shown, and how.
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    /// What went into tools and came out of them.
    pub tools: bool,
    pub thoughts: bool,
    pub look: Look,
}

/// What stands above the turns.
#[derive(Debug)]
pub struct Heading<'a> {
    pub id: &'a str,
    pub record: Option<&'a SessionRecord>,
}

/// A form of transcripts. No text is written with control characters in it.
pub trait Rendering {
    fn begin(&mut self, out: &mut dyn Write, heading: &Heading<'_>) -> Result<()>;
    fn turn(&mut self, out: &mut dyn Write, turn: &Turn) -> Result<()>;
    /// With the title that the agent gave last.
    fn end(&mut self, out: &mut dyn Write, title: Option<&str>) -> Result<()>;
}

pub fn rendering(format: Format, choices: Choices) -> Box<dyn Rendering> {
    match format {
        Format::Text => Box::new(text::PlainText::new(choices)),
        Format::Markdown => Box::new(markdown::Markdown(choices)),
        Format::Html => Box::new(page::Page(choices)),
        Format::Json => Box::new(json::JsonDocument::new(choices.look.is_terminal)),
    }
}
