//! Transcripts as plain text, for terminals.

use std::collections::BTreeSet;
use std::io;

use chrono::{DateTime, Utc};
use textwrap::core::{Word, display_width};

use super::diff_lines::DiffLineKind;
use super::part::{Fact, PartBlock, PartMark, Role, TurnPart};
use super::render_options::RenderOptions;
use super::renderer::{TranscriptHead, TranscriptRenderer};
use crate::transcript::entry::{Entry, EntryKind};
use crate::transcript::peer_request::{Answer, PermissionOutcome};
use crate::transcript::turn::Turn;

/// Writes plain text, wrapped to the [width](RenderOptions::width) by how wide characters are on a terminal, with
/// [colours](RenderOptions::colors) or without. Agents' Markdown stands as they wrote it; diffs are unified. Characters
/// that act on a terminal (control characters and escape sequences, changes of direction) are shown as escapes such as
/// `\u{1b}`.
///
/// ```
/// use agent_session_store::transcript::Transcript;
/// use agent_session_store::transcript::render::{RenderOptions, TextRenderer, TranscriptHead, TranscriptRenderer};
///
/// let mut renderer = TextRenderer::new(RenderOptions::new().width(40).colors(true));
/// renderer.whole(&TranscriptHead::new(), &Transcript::new(), &mut std::io::stdout())?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TextRenderer {
    options: RenderOptions,
    begun: Option<BegunTurn>,
}

/// A turn of which a part was written.
#[derive(Clone, Debug)]
struct BegunTurn {
    first_index: i64,
    /// The places of the entries that were written as they are in the end.
    done: BTreeSet<usize>,
    /// Of those that were written while they went on.
    announced: BTreeSet<usize>,
}

/// The columns of a rule, where there are as many.
const RULE: usize = 80;

/// In fewer columns nothing is indented.
const NARROW: usize = 24;

/// How a line looks on a terminal, in the parameters of SGR.
#[derive(Clone, Copy)]
struct Look(&'static str);

const PLAIN: Look = Look("");
const BOLD: Look = Look("1");
const DIM: Look = Look("2");
const CYAN: Look = Look("36");
const RED: Look = Look("31");
const GREEN: Look = Look("32");

impl TextRenderer {
    /// A renderer with these options.
    ///
    /// ```
    /// # use agent_session_store::transcript::render::{RenderOptions, TextRenderer};
    /// let renderer = TextRenderer::new(RenderOptions::new());
    /// # let _ = renderer;
    /// ```
    pub fn new(options: RenderOptions) -> Self {
        Self { options, begun: None }
    }

    /// Writes of a turn that goes on what is new, for somebody who watches: a message once something follows it, and a tool
    /// call, a request, a question or a plan twice, when it begins and when it has ended. Nothing is written again, also by
    /// [`turn`](TranscriptRenderer::turn), which writes the rest once the turn is over.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    ///
    /// ```
    /// use agent_session_store::transcript::Transcript;
    /// use agent_session_store::transcript::render::{RenderOptions, TextRenderer, TranscriptRenderer};
    /// use agent_session_store::{ListEventsRequest, SessionStore};
    ///
    /// fn watch(store: &SessionStore) -> Result<(), Box<dyn std::error::Error>> {
    ///     let (mut transcript, mut renderer) = (Transcript::new(), TextRenderer::new(RenderOptions::new()));
    ///     for event in store.follow(ListEventsRequest::new("session-1")) {
    ///         transcript.push(&event?);
    ///         for turn in transcript.take_finished() {
    ///             renderer.turn(&turn, &mut std::io::stdout())?;
    ///         }
    ///         for turn in transcript.turns() {
    ///             renderer.so_far(turn, &mut std::io::stdout())?;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn so_far(&mut self, turn: &Turn, out: &mut dyn io::Write) -> io::Result<()> {
        if !self.options.tells_of(turn) {
            return Ok(());
        }
        self.begin_turn(turn, out)?;
        let last = turn.entries.len().checked_sub(1);
        for (place, entry) in turn.entries.iter().enumerate() {
            match progress(entry, Some(place) == last) {
                EntryProgress::Ended => self.entry(place, entry, out)?,
                EntryProgress::GoesOn => self.announce(place, entry, out)?,
                EntryProgress::Grows => {}
            }
        }
        Ok(())
    }

    /// Writes the heading of a turn and its prompt, unless that was done.
    fn begin_turn(&mut self, turn: &Turn, out: &mut dyn io::Write) -> io::Result<()> {
        if self.begun.as_ref().is_some_and(|begun| begun.first_index == turn.first_index) {
            return Ok(());
        }
        let frame = self.options.frame(turn);
        let mut lines = self.lines();
        lines.blank();
        lines.rule(&format!("{} · {}", frame.title, date(frame.begin)));
        out.write_all(lines.out.as_bytes())?;
        turn.prompt.iter().try_for_each(|prompt| self.part(prompt, out))?;
        let (done, announced) = (BTreeSet::new(), BTreeSet::new());
        self.begun = Some(BegunTurn { first_index: turn.first_index, done, announced });
        Ok(())
    }

    fn entry(&mut self, place: usize, entry: &Entry, out: &mut dyn io::Write) -> io::Result<()> {
        let is_new = self.begun.as_mut().is_none_or(|begun| begun.done.insert(place));
        if is_new { self.part(entry, out) } else { Ok(()) }
    }

    fn announce(&mut self, place: usize, entry: &Entry, out: &mut dyn io::Write) -> io::Result<()> {
        let is_new = self.begun.as_mut().is_none_or(|begun| begun.announced.insert(place));
        if is_new { self.part(entry, out) } else { Ok(()) }
    }

    fn part(&self, entry: &Entry, out: &mut dyn io::Write) -> io::Result<()> {
        let Some(part) = self.options.part(entry) else { return Ok(()) };
        let mut lines = self.lines();
        lines.part(&part);
        out.write_all(lines.out.as_bytes())
    }

    fn lines(&self) -> TextLines {
        TextLines { out: String::new(), width: self.options.width, colors: self.options.colors }
    }
}

impl TranscriptRenderer for TextRenderer {
    fn begin(&mut self, head: &TranscriptHead<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        let opening = self.options.opening(head);
        let mut lines = self.lines();
        lines.prose(0, BOLD, &opening.title);
        let facts = opening.facts.into_iter().map(|(name, fact)| match fact {
            Fact::Text(text) => text,
            Fact::Time(time) => format!("{name} {}", date(time)),
        });
        let facts = facts.collect::<Vec<_>>().join(" · ");
        if !facts.is_empty() {
            lines.prose(0, DIM, &facts);
        }
        out.write_all(lines.out.as_bytes())
    }

    fn turn(&mut self, turn: &Turn, out: &mut dyn io::Write) -> io::Result<()> {
        if !self.options.tells_of(turn) {
            return Ok(());
        }
        self.begin_turn(turn, out)?;
        turn.entries.iter().enumerate().try_for_each(|(place, entry)| self.entry(place, entry, out))?;
        self.begun = None;
        let mut lines = self.lines();
        if let Some(end) = &self.options.frame(turn).end {
            lines.blank();
            lines.prose(
                0,
                if end.mark == PartMark::Failed { RED } else { DIM },
                &format!("{} {}", end.mark.sign(), end.text),
            );
            lines.blocks(&end.blocks);
        }
        out.write_all(lines.out.as_bytes())
    }

    fn end(&mut self, _out: &mut dyn io::Write) -> io::Result<()> {
        Ok(())
    }
}

/// How far an entry of a turn that goes on has come.
enum EntryProgress {
    /// It stays as it is.
    Ended,
    /// It has begun, and will end.
    GoesOn,
    /// More may be added to it.
    Grows,
}

fn progress(entry: &Entry, is_last: bool) -> EntryProgress {
    let is_pending = match &entry.kind {
        EntryKind::ToolCall(call) => matches!(call.status.as_deref(), None | Some("pending" | "in_progress")),
        EntryKind::Plan { entries, .. } => entries.iter().any(|step| step.status.as_deref() != Some("completed")),
        EntryKind::Permission(permission) => matches!(permission.outcome, PermissionOutcome::Pending),
        EntryKind::File(request) | EntryKind::Terminal(request) | EntryKind::Request(request) => {
            matches!(request.answer, Answer::Pending)
        }
        _ => return if is_last { EntryProgress::Grows } else { EntryProgress::Ended },
    };
    if is_pending { EntryProgress::GoesOn } else { EntryProgress::Ended }
}

struct TextLines {
    out: String,
    width: usize,
    colors: bool,
}

impl TextLines {
    fn blank(&mut self) {
        self.out.push('\n');
    }

    fn part(&mut self, part: &TurnPart) {
        self.blank();
        let mut line = part.role.label().to_owned();
        if let Some(title) = &part.title {
            line = format!("{line}: {title}");
        }
        if let Some((mark, state)) = &part.state {
            line = format!("{line} {} {state}", mark.sign());
        }
        let look = match part.role {
            Role::User => CYAN,
            Role::Thought | Role::Note(_) | Role::Message(_) => DIM,
            _ => BOLD,
        };
        self.prose(0, look, &line);
        match part.role {
            Role::Thought => part.blocks.iter().for_each(|block| self.block(block, DIM)),
            _ => self.blocks(&part.blocks),
        }
    }

    fn blocks(&mut self, blocks: &[PartBlock]) {
        blocks.iter().for_each(|block| self.block(block, PLAIN));
    }

    fn block(&mut self, block: &PartBlock, look: Look) {
        match block {
            PartBlock::Markdown(text) => self.prose(2, look, text.trim_matches('\n')),
            PartBlock::Field(name, text) => self.prose(2, DIM, &format!("{name}: {text}")),
            PartBlock::Code { name, text, .. } => {
                self.prose(2, DIM, &format!("{name}:"));
                text.lines().for_each(|line| self.code(4, look, line));
            }
            PartBlock::Diff { path, diff } => {
                self.prose(2, DIM, &format!("Diff: {path}, {} added, {} removed", diff.added, diff.removed));
                for line in &diff.lines {
                    let look = match line.kind {
                        DiffLineKind::Added => GREEN,
                        DiffLineKind::Removed => RED,
                        DiffLineKind::Place => CYAN,
                        DiffLineKind::Same | DiffLineKind::NoEnd => look,
                    };
                    self.code(4, look, &format!("{}{}", line.kind.sign(), line.text));
                }
            }
            PartBlock::Steps(steps) => {
                steps.iter().for_each(|step| self.prose(2, look, &format!("{} {}", step.mark.sign(), step.line())));
            }
        }
    }

    fn rule(&mut self, title: &str) {
        let room = self.width.min(RULE).saturating_sub(display_width(title) + 4);
        if room < 3 {
            return self.prose(0, BOLD, title);
        }
        self.line(BOLD, &format!("── {title} {}", "─".repeat(room)));
    }

    fn indent(&self, columns: usize) -> usize {
        if self.width < NARROW { 0 } else { columns }
    }

    /// Lines that are wrapped between words; what follows a wrapped line stands under its beginning.
    fn prose(&mut self, indent: usize, look: Look, text: &str) {
        let indent = " ".repeat(self.indent(indent));
        for line in text.split('\n') {
            let line = tabs_expanded(line.trim_end());
            let own = line.len() - line.trim_start().len();
            let hang = " ".repeat(own.min(self.width / 4));
            let options = textwrap::Options::new(self.width - indent.len())
                .initial_indent(&hang)
                .subsequent_indent(&hang)
                .word_splitter(textwrap::WordSplitter::NoHyphenation);
            for wrapped in textwrap::wrap(line.trim_start(), options) {
                self.line(look, &format!("{indent}{wrapped}"));
            }
        }
    }

    /// A line that is wrapped wherever it is too long.
    fn code(&mut self, indent: usize, look: Look, line: &str) {
        let indent = " ".repeat(self.indent(indent));
        let line = tabs_expanded(line);
        let body = line.trim_end();
        if body.is_empty() {
            return self.line(look, "");
        }
        for piece in Word::from(body).break_apart(self.width - indent.len()) {
            self.line(look, &format!("{indent}{}", piece.word));
        }
    }

    fn line(&mut self, look: Look, line: &str) {
        let line = line.trim_end();
        if self.colors && !look.0.is_empty() && !line.is_empty() {
            self.out.push_str(&format!("\u{1b}[{}m{line}\u{1b}[0m", look.0));
        } else {
            self.out.push_str(line);
        }
        self.out.push('\n');
    }
}

/// The width of a tab depends on where it stands, which wrapping changes.
fn tabs_expanded(line: &str) -> String {
    line.replace('\t', "    ")
}

pub(super) fn date(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
