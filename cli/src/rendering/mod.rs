//! Transcripts as text, Markdown, HTML and JSON, turn by turn.

mod json;

use std::io::Write;

use agent_session_store::transcript::Turn;
use agent_session_store::transcript::render::{
    HtmlRenderer, MarkdownRenderer, RenderOptions, TextRenderer, TranscriptHead, TranscriptRenderer,
};
use agent_session_store::{ListSessionsRequest, SessionRecord, SessionStore};
use chrono::TimeDelta;
use clap::ValueEnum;

use self::json::JsonDocument;
use crate::failure::Result;
use crate::output::Look;
use crate::session_choice::Choice;

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

/// Where a line may be of any length.
const WIDE: usize = 1_000_000;

impl Choices {
    /// A page folds what is long, so it has everything.
    pub fn options(self, format: Format) -> RenderOptions {
        let is_page = format == Format::Html;
        RenderOptions::new()
            .thoughts(self.thoughts || is_page)
            .tool_details(self.tools || is_page)
            .protocol(self.tools || is_page)
            .width(self.look.width.unwrap_or(WIDE))
            .colors(self.look.has_colors)
    }
}

/// What stands above the turns.
#[derive(Debug)]
pub struct Heading {
    pub id: String,
    pub record: Option<SessionRecord>,
    title: Option<String>,
}

impl Heading {
    /// With the title that a list shows.
    pub fn of(store: &SessionStore, session: Choice) -> Self {
        let Choice { id, record } = session;
        let title = record.as_ref().and_then(|record| {
            // Of the sessions that began at that moment.
            let (from, before) = (record.created_at, record.created_at + TimeDelta::milliseconds(1));
            let request = ListSessionsRequest::new().created_from(from).created_before(before);
            let page = store.list_session_summaries(&request).ok()?;
            page.items.into_iter().find(|summary| summary.session.id == record.id)?.title
        });
        Self { id, record, title }
    }

    pub fn head(&self) -> TranscriptHead<'_> {
        let title = self.title.as_deref().or(self.record.is_none().then_some(&*self.id));
        TranscriptHead::new().title(title).session(self.record.as_ref())
    }
}

/// Writes in one of the forms. No text of the session is written with control characters in it.
pub enum Rendering {
    Json(JsonDocument),
    Readable(Box<dyn TranscriptRenderer>),
}

impl Rendering {
    pub fn new(format: Format, choices: Choices) -> Self {
        let options = choices.options(format);
        match format {
            Format::Text => Self::Readable(Box::new(TextRenderer::new(options))),
            Format::Markdown => Self::Readable(Box::new(MarkdownRenderer::new(options))),
            Format::Html => Self::Readable(Box::new(HtmlRenderer::new(options))),
            Format::Json => Self::Json(JsonDocument::new(choices.look.is_terminal)),
        }
    }

    pub fn begin(&mut self, out: &mut dyn Write, heading: &Heading) -> Result<()> {
        match self {
            Self::Json(document) => document.begin(out, heading),
            Self::Readable(renderer) => Ok(renderer.begin(&heading.head(), out)?),
        }
    }

    pub fn turn(&mut self, out: &mut dyn Write, turn: &Turn) -> Result<()> {
        match self {
            Self::Json(document) => document.turn(out, turn),
            Self::Readable(renderer) => Ok(renderer.turn(turn, out)?),
        }
    }

    /// With the title that the agent gave last.
    pub fn end(&mut self, out: &mut dyn Write, title: Option<&str>) -> Result<()> {
        match self {
            Self::Json(document) => document.end(out, title),
            Self::Readable(renderer) => Ok(renderer.end(out)?),
        }
    }
}
