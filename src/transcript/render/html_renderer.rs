//! Transcripts as pages for browsers.

use std::io;

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::diff_lines::{DiffLineKind, FileDiff};
use super::markdown_html::{code_figure, markdown_html};
use super::part::{Fact, PartBlock, PartMark, Role, TurnPart};
use super::render_options::RenderOptions;
use super::renderer::{TranscriptHead, TranscriptRenderer};
use super::text_renderer::date;
use crate::transcript::turn::Turn;

/// Writes one page that needs nothing else: it fetches nothing, not even what links of the session lead to.
///
/// A turn is a section whose address is `#turn-3` if it is the session's third prompt, or `#turn-at-57` if it begins
/// with the event of this index; thoughts, tool calls and messages of the protocol are folded. The page follows the
/// reader's choice of light and dark, shows times in the reader's zone, and can be read without its script, on narrow
/// screens and on paper.
///
/// What agents write is hostile to it. Their Markdown is parsed and built anew: HTML is shown as text, links lead to
/// `http`, `https` and `mailto` only, pictures are links, no attribute but a link's address is theirs, and characters
/// that change the direction of text are shown as escapes. Beyond that, the page's own policy
/// (`Content-Security-Policy`) allows one style sheet and one script, by their sums, and no other source of anything. A
/// server that serves the page should send `X-Content-Type-Options: nosniff` and the type `text/html; charset=utf-8`.
///
/// ```
/// use agent_session_store::transcript::Transcript;
/// use agent_session_store::transcript::render::{HtmlRenderer, RenderOptions, TranscriptHead, TranscriptRenderer};
///
/// let mut page = Vec::new();
/// HtmlRenderer::new(RenderOptions::new()).whole(&TranscriptHead::new(), &Transcript::new(), &mut page)?;
/// assert!(page.ends_with(b"</html>\n"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HtmlRenderer {
    options: RenderOptions,
    turns: u64,
    /// The last anchors: each is there once, however often a turn is written.
    last_number: u64,
    last_index: Option<i64>,
}

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The level of an agent's highest headings, below that of a message and below that of a turn.
const IN_ARTICLE: usize = 4;
const IN_DETAILS: usize = 3;

/// How many characters of a thought are shown while it is folded.
const PREVIEW: usize = 120;

/// How many parts of a long turn a browser lays out together. It skips those that are out of sight.
const STRETCH: usize = 100;

impl HtmlRenderer {
    /// What the page may do, with the SHA-256 of its style sheet and its script. It is in the page; a server may also
    /// send it, as the header `Content-Security-Policy`, for instance with `; frame-ancestors 'none'`, which counts in
    /// a header alone.
    ///
    /// ```
    /// use agent_session_store::transcript::render::HtmlRenderer;
    ///
    /// assert!(HtmlRenderer::CONTENT_SECURITY_POLICY.starts_with("default-src 'none'; "));
    /// ```
    // The tests say what the sums are.
    pub const CONTENT_SECURITY_POLICY: &'static str = "default-src 'none'; \
    style-src 'sha256-2ExpcCKmopV/taMaHa7LEBvLvxKbpJh8lp51kxpsGIU='; \
    script-src 'sha256-t9dcszljEIuYGoqSkLCIdOwN1fldBBS+QTeTvrqCHfw='; \
    base-uri 'none'; form-action 'none'";

    /// A renderer with these options, for one page.
    ///
    /// ```
    /// # use agent_session_store::transcript::render::{HtmlRenderer, RenderOptions};
    /// let renderer = HtmlRenderer::new(RenderOptions::new());
    /// # let _ = renderer;
    /// ```
    pub fn new(options: RenderOptions) -> Self {
        Self { options, turns: 0, last_number: 0, last_index: None }
    }

    fn anchor(&mut self, turn: &Turn) -> String {
        self.turns += 1;
        if let Some(number) = turn.number.filter(|number| *number > self.last_number) {
            self.last_number = number;
            return format!("turn-{number}");
        }
        if self.last_index.is_none_or(|last| turn.first_index > last) {
            self.last_index = Some(turn.first_index);
            return format!("turn-at-{}", turn.first_index);
        }
        format!("turn-at-{}-{}", turn.first_index, self.turns)
    }
}

impl TranscriptRenderer for HtmlRenderer {
    fn begin(&mut self, head: &TranscriptHead<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        let opening = self.options.opening(head);
        let head = html! {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(Self::CONTENT_SECURITY_POLICY);
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="referrer" content="no-referrer";
            title { (opening.title) }
            style { (PreEscaped(STYLE)) }
        };
        let header = html! {
            header {
                a.skip href="#end" { "Skip to the end" }
                h1 dir="auto" { (opening.title) }
                @if !opening.facts.is_empty() {
                    dl.facts {
                        @for (name, fact) in &opening.facts {
                            div {
                                dt { (name) }
                                dd dir="auto" {
                                    @match fact {
                                        Fact::Text(text) => (text),
                                        Fact::Time(time) => (when(*time)),
                                    }
                                }
                            }
                        }
                    }
                }
                button #fold type="button" hidden { "Unfold everything" }
            }
        };
        let (doctype, head, header) = (DOCTYPE.0, head.0, header.0);
        write!(out, "{doctype}\n<html lang=\"en\"><head>{head}</head>\n<body>{header}\n<main>\n")
    }

    fn turn(&mut self, turn: &Turn, out: &mut dyn io::Write) -> io::Result<()> {
        if !self.options.tells_of(turn) {
            return Ok(());
        }
        let anchor = self.anchor(turn);
        let frame = self.options.frame(turn);
        let heading = format!("{anchor}-heading");
        let title = html! {
            h2 id=(heading) {
                a href={ "#" (anchor) } { (frame.title) }
                (when(frame.begin))
            }
        };
        let class = if frame.is_prompted { "turn" } else { "turn outside" };
        writeln!(out, "<section class=\"{class}\" id=\"{anchor}\" aria-labelledby=\"{heading}\">{}", title.0)?;
        let mut is_open = false;
        for (place, part) in self.options.parts(turn).enumerate() {
            if place > 0 && place % STRETCH == 0 {
                out.write_all(if is_open { b"</div>\n" } else { b"" })?;
                out.write_all(b"<div class=\"stretch\">\n")?;
                is_open = true;
            }
            out.write_all(part_html(&part).0.as_bytes())?;
            out.write_all(b"\n")?;
        }
        if is_open {
            out.write_all(b"</div>\n")?;
        }
        if let Some(end) = &frame.end {
            let end = html! {
                p.end.failed[end.mark == PartMark::Failed] dir="auto" { (sign(end.mark)) " " (end.text) }
                (blocks_html(&end.blocks, IN_DETAILS))
            };
            out.write_all(end.0.as_bytes())?;
        }
        out.write_all(b"</section>\n")
    }

    fn end(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        write!(
            out,
            "</main>\n<footer id=\"end\">End of the transcript</footer>\n<script>{SCRIPT}</script>\n</body></html>\n"
        )
    }
}

fn part_html(part: &TurnPart) -> Markup {
    let label = part.role.label();
    match part.role {
        Role::User | Role::Agent | Role::Plan => html! {
            article.entry.user[part.role == Role::User] {
                h3 { (label) (clock(part.time)) }
                (blocks_html(&part.blocks, IN_ARTICLE))
            }
        },
        _ if part.blocks.is_empty() => html! {
            div.entry.note.row {
                span.label { (label) }
                span.title dir="auto" { (part.title.as_deref().unwrap_or_default()) }
                (state(part))
                (clock(part.time))
            }
        },
        _ => html! {
            details.entry {
                summary {
                    div.row {
                        span.label { (label) }
                        @match &part.title {
                            Some(title) => span.title dir="auto" { (title) },
                            None => span.preview dir="auto" { (preview(part)) },
                        }
                        (state(part))
                        (clock(part.time))
                    }
                }
                div.inside { (blocks_html(&part.blocks, IN_DETAILS)) }
            }
        },
    }
}

fn state(part: &TurnPart) -> Markup {
    html! {
        @if let Some((mark, text)) = &part.state {
            span class={ "state " (class(*mark)) } dir="auto" { (sign(*mark)) " " (text) }
        }
    }
}

/// The beginning of a text, for what is folded and has no title.
fn preview(part: &TurnPart) -> String {
    let text = part.blocks.iter().find_map(|block| match block {
        PartBlock::Markdown(text) => text.lines().map(str::trim).find(|line| !line.is_empty()),
        _ => None,
    });
    text.unwrap_or_default().chars().take(PREVIEW).collect()
}

fn blocks_html(blocks: &[PartBlock], headings: usize) -> Markup {
    let mut out = String::new();
    let mut rest = blocks;
    while let Some(block) = rest.first() {
        let fields = rest.iter().take_while(|block| matches!(block, PartBlock::Field(..))).count();
        if fields > 0 {
            out.push_str(&fields_html(&rest[..fields]).0);
            rest = &rest[fields..];
            continue;
        }
        out.push_str(&block_html(block, headings).0);
        rest = &rest[1..];
    }
    PreEscaped(out)
}

fn fields_html(fields: &[PartBlock]) -> Markup {
    html! {
        dl.fields {
            @for field in fields {
                @if let PartBlock::Field(name, text) = field {
                    dt { (name) }
                    dd dir="auto" { (text) }
                }
            }
        }
    }
}

fn block_html(block: &PartBlock, headings: usize) -> Markup {
    match block {
        PartBlock::Markdown(text) => html! { div.text dir="auto" { (markdown_html(text, headings)) } },
        PartBlock::Field(..) => fields_html(std::slice::from_ref(block)),
        PartBlock::Code { name, language, text } => code_figure(Some(name), language.as_deref(), text),
        PartBlock::Diff { path, diff } => diff_html(path, diff),
        PartBlock::Steps(steps) => html! {
            ul.steps {
                @for step in steps {
                    li dir="auto" {
                        span class={ "mark " (class(step.mark)) } { (sign(step.mark)) }
                        (step.text)
                        @if let Some(notes) = &step.notes { " " span.quiet { "(" (notes) ")" } }
                    }
                }
            }
        },
    }
}

fn diff_html(path: &str, diff: &FileDiff) -> Markup {
    html! {
        figure.diff {
            figcaption {
                span dir="auto" { (path) }
                span { (diff.added) " added, " (diff.removed) " removed" }
            }
            pre { code {
                @for line in &diff.lines {
                    @match line.kind {
                        DiffLineKind::Added => ins { "+" (line.text) "\n" },
                        DiffLineKind::Removed => del { "-" (line.text) "\n" },
                        DiffLineKind::Same => span { " " (line.text) "\n" },
                        DiffLineKind::Place => span.place { (line.text) "\n" },
                        DiffLineKind::NoEnd => span.no-end { "\\" (line.text) "\n" },
                    }
                }
            } }
        }
    }
}

fn sign(mark: PartMark) -> Markup {
    html! { span aria-hidden="true" { (mark.sign()) } }
}

fn class(mark: PartMark) -> &'static str {
    match mark {
        PartMark::Done => "done",
        PartMark::Failed => "failed",
        PartMark::Waiting | PartMark::Running | PartMark::Unknown => "open",
    }
}

/// A time that the script turns into one of the reader's zone.
fn when(time: DateTime<Utc>) -> Markup {
    html! { time datetime=(machine(time)) { (date(time)) } }
}

/// The same without the day.
fn clock(time: DateTime<Utc>) -> Markup {
    html! { time.clock datetime=(machine(time)) { (time.format("%H:%M:%S UTC").to_string()) } }
}

fn machine(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
