//! Transcripts as Markdown.

use std::io;

use super::markdown_writer::{code_span, escaped, fence, rewritten};
use super::part::{Fact, PartBlock, TurnPart};
use super::render_options::RenderOptions;
use super::renderer::{TranscriptHead, TranscriptRenderer};
use super::text_renderer::date;
use crate::transcript::turn::Turn;

/// Writes CommonMark: a heading of the second level for each turn, one of the third for each entry.
///
/// What agents write is Markdown too, and is written anew so that it stays in its place: headings are below those of
/// the entries, fences are closed, definitions are applied, HTML is text or code, pictures are links, and links lead to
/// `http`, `https` and `mailto` only. Tables stay as they are, for viewers that know them. Characters that change the
/// direction of text are shown as escapes such as `\u{202e}`.
///
/// ```
/// use agent_session_store::transcript::Transcript;
/// use agent_session_store::transcript::render::{MarkdownRenderer, RenderOptions, TranscriptHead, TranscriptRenderer};
///
/// let mut markdown = Vec::new();
/// MarkdownRenderer::new(RenderOptions::new()).whole(&TranscriptHead::new(), &Transcript::new(), &mut markdown)?;
/// assert_eq!(markdown, b"# Transcript\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MarkdownRenderer {
    options: RenderOptions,
}

/// The level of an agent's highest headings.
const AGENT_HEADINGS: usize = 4;

impl MarkdownRenderer {
    /// A renderer with these options.
    ///
    /// ```
    /// # use agent_session_store::transcript::render::{MarkdownRenderer, RenderOptions};
    /// let renderer = MarkdownRenderer::new(RenderOptions::new());
    /// # let _ = renderer;
    /// ```
    pub fn new(options: RenderOptions) -> Self {
        Self { options }
    }
}

impl TranscriptRenderer for MarkdownRenderer {
    fn begin(&mut self, head: &TranscriptHead<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        let opening = self.options.opening(head);
        let mut text = format!("# {}\n", escaped(&opening.title));
        if !opening.facts.is_empty() {
            text.push('\n');
        }
        for (name, fact) in opening.facts {
            let shown = match fact {
                Fact::Text(shown) => code_span(&shown),
                Fact::Time(time) => date(time),
            };
            text.push_str(&format!("- {name}: {shown}\n"));
        }
        out.write_all(text.as_bytes())
    }

    fn turn(&mut self, turn: &Turn, out: &mut dyn io::Write) -> io::Result<()> {
        if !self.options.tells_of(turn) {
            return Ok(());
        }
        let frame = self.options.frame(turn);
        let opening = format!("\n## {}\n\n{}\n", frame.title, date(frame.begin));
        out.write_all(opening.as_bytes())?;
        for part in self.options.parts(turn) {
            out.write_all(part_text(&part).as_bytes())?;
        }
        let Some(end) = frame.end else { return Ok(()) };
        let mut text = format!("\n{} {}\n", end.mark.sign(), escaped(&end.text));
        push_blocks(&mut text, &end.blocks);
        out.write_all(text.as_bytes())
    }

    fn end(&mut self, _out: &mut dyn io::Write) -> io::Result<()> {
        Ok(())
    }
}

fn part_text(part: &TurnPart) -> String {
    let mut text = format!("\n### {}", part.role.label());
    if let Some(title) = part.title.as_ref().filter(|title| !title.is_empty()) {
        text.push_str(&format!(": {}", escaped(title)));
    }
    text.push('\n');
    if let Some((mark, state)) = &part.state {
        text.push_str(&format!("\n{} {}\n", mark.sign(), escaped(state)));
    }
    push_blocks(&mut text, &part.blocks);
    text
}

fn push_blocks(text: &mut String, blocks: &[PartBlock]) {
    let mut after_field = false;
    for block in blocks {
        let is_field = matches!(block, PartBlock::Field(..));
        if !(is_field && after_field) {
            text.push('\n');
        }
        after_field = is_field;
        match block {
            PartBlock::Markdown(markdown) => text.push_str(&rewritten(markdown, AGENT_HEADINGS)),
            PartBlock::Field(name, shown) => text.push_str(&format!("- {name}: {}\n", code_span(shown))),
            PartBlock::Code { name, language, text: code } => {
                text.push_str(&format!("{name}:\n\n"));
                push_code(text, language.as_deref().unwrap_or_default(), code);
            }
            PartBlock::Diff { path, diff } => {
                text.push_str(&format!("{}, {} added, {} removed:\n\n", code_span(path), diff.added, diff.removed));
                let lines: Vec<_> =
                    diff.lines.iter().map(|line| format!("{}{}", line.kind.sign(), line.text)).collect();
                push_code(text, "diff", &lines.join("\n"));
            }
            PartBlock::Steps(steps) => {
                for step in steps {
                    text.push_str(&format!("- {} {}\n", step.mark.sign(), escaped(&step.line())));
                }
            }
        }
    }
}

fn push_code(text: &mut String, language: &str, code: &str) {
    let fence = fence(code);
    let end = if code.is_empty() || code.ends_with('\n') { "" } else { "\n" };
    text.push_str(&format!("{fence}{language}\n{code}{end}{fence}\n"));
}
