//! Writes safe events as Markdown again, so that an agent's text has no say over what stands around it.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Tag, TagEnd};

use super::agent_markdown::safe_events;

/// An agent's Markdown without HTML, definitions and open fences, with its headings below `top`. It ends with a line
/// break, unless it is empty.
pub(super) fn rewritten(text: &str, top: usize) -> String {
    let mut writer = MarkdownWriter::new();
    // Tables and strikethrough are text here, which is written as it stands; what is known is CommonMark and tasks.
    for event in safe_events(text, Options::ENABLE_TASKLISTS, top) {
        writer.write(event);
    }
    if !writer.out.is_empty() {
        writer.out.push('\n');
    }
    writer.out
}

/// A text as one line of Markdown that shows just that.
pub(super) fn escaped(text: &str) -> String {
    let mut writer = MarkdownWriter::new();
    (writer.is_inline, writer.in_heading) = (true, true);
    writer.text(text);
    writer.out
}

/// A text in backticks, as many as it takes.
pub(super) fn code_span(text: &str) -> String {
    let text = text.replace('\n', " ");
    let ticks = "`".repeat(longest_run(&text, '`') + 1);
    let is_padded = text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) || text.is_empty();
    let space = if is_padded { " " } else { "" };
    format!("{ticks}{space}{text}{space}{ticks}")
}

/// A fence that the text cannot close.
pub(super) fn fence(text: &str) -> String {
    "`".repeat((longest_run(text, '`') + 1).max(3))
}

fn longest_run(text: &str, wanted: char) -> usize {
    let (mut longest, mut run) = (0, 0);
    for sign in text.chars() {
        run = if sign == wanted { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

struct MarkdownWriter {
    out: String,
    /// What stands before each line.
    prefix: String,
    containers: Vec<Container>,
    /// Whether nothing stands in the innermost container yet.
    is_fresh: bool,
    /// Whether a line of text is being written.
    is_inline: bool,
    in_heading: bool,
    begin: LineBegin,
    /// Whether the mark was written that begins emphasis or a link.
    after_open: bool,
    /// The language of the block of code that is open, until its text is written.
    code: Option<String>,
    /// The destination of the link that is open.
    link: Option<String>,
    /// Whether the block before was a list, and if so, whether it was numbered.
    after_list: Option<bool>,
    /// Which of two markers the last list had: those of two lists in a row differ, or they would be one.
    other_marker: bool,
}

enum Container {
    Quote,
    List {
        next: Option<u64>,
        other_marker: bool,
        is_first: bool,
        is_loose: bool,
    },
    /// With the length of the prefix before it.
    Item(usize),
}

/// What of a line's text was written.
#[derive(PartialEq)]
enum LineBegin {
    Nothing,
    Digits(usize),
    More,
}

impl MarkdownWriter {
    fn new() -> Self {
        Self {
            out: String::new(),
            prefix: String::new(),
            containers: Vec::new(),
            is_fresh: true,
            is_inline: false,
            in_heading: false,
            begin: LineBegin::Nothing,
            after_open: false,
            code: None,
            link: None,
            after_list: None,
            other_marker: false,
        }
    }

    fn write(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(end) => self.end(end),
            Event::Text(text) => match self.code.take() {
                Some(language) => self.code(&language, &text),
                None => {
                    self.inline();
                    self.text(&text);
                }
            },
            Event::Code(text) => {
                self.inline();
                self.mark(&code_span(&text));
            }
            Event::SoftBreak if !self.is_inline => {}
            Event::SoftBreak | Event::HardBreak if self.in_heading => self.mark(" "),
            Event::SoftBreak => self.new_line(),
            Event::HardBreak => {
                self.inline();
                self.out.push('\\');
                self.new_line();
            }
            Event::Rule => {
                self.block();
                self.out.push_str("___");
            }
            Event::TaskListMarker(done) => {
                self.inline();
                self.mark(if done { "[x] " } else { "[ ] " });
            }
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => {
                if let Some(Container::List { is_loose, .. }) = self.containers.iter_mut().rev().nth(1) {
                    *is_loose = true;
                }
                self.block();
                self.is_inline = true;
            }
            Tag::Heading { level, .. } => {
                self.block();
                self.out.push_str(&"#".repeat(number(level)));
                self.out.push(' ');
                (self.is_inline, self.in_heading) = (true, true);
            }
            Tag::BlockQuote(_) => {
                self.block();
                self.out.push_str("> ");
                self.prefix.push_str("> ");
                self.containers.push(Container::Quote);
                self.is_fresh = true;
            }
            Tag::CodeBlock(kind) => {
                self.block();
                self.code = Some(match kind {
                    CodeBlockKind::Fenced(language) => language.into_string(),
                    CodeBlockKind::Indented => String::new(),
                });
            }
            Tag::List(next) => {
                self.is_inline = false;
                let other_marker = self.after_list == Some(next.is_some()) && !self.other_marker;
                self.containers.push(Container::List { next, other_marker, is_first: true, is_loose: false });
            }
            Tag::Item => self.item(),
            Tag::Emphasis => self.open("*"),
            Tag::Strong => self.open("**"),
            Tag::Link { dest_url, .. } => {
                self.open("[");
                self.link = Some(destination(&dest_url));
            }
            _ => {}
        }
    }

    fn end(&mut self, end: TagEnd) {
        match end {
            TagEnd::Paragraph => self.is_inline = false,
            TagEnd::Heading(_) => (self.is_inline, self.in_heading) = (false, false),
            TagEnd::BlockQuote(_) => {
                self.containers.pop();
                self.prefix.truncate(self.prefix.len().saturating_sub(2));
                (self.is_fresh, self.is_inline, self.after_list) = (false, false, None);
            }
            TagEnd::Item => {
                if self.is_fresh {
                    // An item without text could underline what stands before it.
                    self.out.push_str("&#32;");
                }
                if let Some(Container::Item(before)) = self.containers.pop() {
                    self.prefix.truncate(before);
                }
                (self.is_fresh, self.is_inline) = (false, false);
            }
            TagEnd::List(_) => {
                if let Some(Container::List { next, other_marker, .. }) = self.containers.pop() {
                    (self.other_marker, self.after_list) = (other_marker, Some(next.is_some()));
                }
                self.is_inline = false;
            }
            TagEnd::CodeBlock => {
                if let Some(language) = self.code.take() {
                    self.code(&language, "");
                }
            }
            TagEnd::Emphasis => self.mark("*"),
            TagEnd::Strong => self.mark("**"),
            TagEnd::Link => {
                let dest = self.link.take().unwrap_or_default();
                self.mark(&format!("](<{dest}>)"));
            }
            _ => {}
        }
    }

    /// Begins a block: after a blank line, unless it is the first in its container.
    fn block(&mut self) {
        if !self.is_fresh {
            self.out.push('\n');
            self.out.push_str(self.prefix.trim_end());
            self.out.push('\n');
            self.out.push_str(&self.prefix);
        }
        (self.is_fresh, self.is_inline, self.after_list) = (false, false, None);
        self.begin = LineBegin::Nothing;
    }

    /// Begins a line of text, if none is being written.
    fn inline(&mut self) {
        if !self.is_inline {
            self.block();
            self.is_inline = true;
        }
    }

    fn new_line(&mut self) {
        self.out.push('\n');
        self.out.push_str(&self.prefix);
        self.begin = LineBegin::Nothing;
    }

    fn item(&mut self) {
        let is_in_tight_item = match &self.containers[..] {
            [.., Container::List { is_loose, .. }, Container::Item(_), Container::List { .. }] => !is_loose,
            _ => false,
        };
        let Some(Container::List { next, other_marker, is_first, is_loose }) = self.containers.last_mut() else {
            return;
        };
        // Only such a list can follow a line of text without a blank one between.
        let interrupts = next.is_none_or(|number| number == 1) && is_in_tight_item && !self.is_fresh;
        let marker = match (next, *other_marker) {
            (None, false) => "- ".to_owned(),
            (None, true) => "* ".to_owned(),
            (Some(number), other) => {
                let marker = format!("{number}{} ", if other { ')' } else { '.' });
                // Ten digits are no marker.
                *number = (*number + 1).min(999_999_999);
                marker
            }
        };
        let is_next = !std::mem::take(is_first);
        if (is_next && !*is_loose) || (!is_next && interrupts) {
            self.out.push('\n');
            self.out.push_str(&self.prefix);
            (self.is_fresh, self.is_inline, self.after_list) = (false, false, None);
        } else {
            self.block();
        }
        self.out.push_str(&marker);
        self.containers.push(Container::Item(self.prefix.len()));
        self.prefix.push_str(&" ".repeat(marker.len()));
        self.is_fresh = true;
        self.begin = LineBegin::Nothing;
    }

    /// Writes what is Markdown in a line.
    fn mark(&mut self, mark: &str) {
        self.out.push_str(mark);
        (self.begin, self.after_open) = (LineBegin::More, false);
    }

    fn open(&mut self, mark: &str) {
        self.inline();
        self.mark(mark);
        self.after_open = true;
    }

    fn code(&mut self, language: &str, text: &str) {
        let fence = fence(text);
        self.out.push_str(&fence);
        self.out.push_str(language);
        for line in text.lines() {
            self.out.push('\n');
            self.out.push_str(&self.prefix);
            self.out.push_str(line);
        }
        self.out.push('\n');
        self.out.push_str(&self.prefix);
        self.out.push_str(&fence);
    }

    /// Writes text that is nothing but text.
    fn text(&mut self, text: &str) {
        let mut signs = text.chars().peekable();
        let mut former = self.out.chars().next_back().filter(|_| self.begin != LineBegin::Nothing);
        while let Some(sign) = signs.next() {
            let next = signs.peek().copied();
            let is_begin = self.begin == LineBegin::Nothing;
            let is_word = |sign: Option<char>| sign.is_some_and(char::is_alphanumeric);
            let escape = match sign {
                '\\' | '`' | '*' | '[' | ']' | '<' | '$' => true,
                '_' => !(is_word(former) && is_word(next)),
                '&' => next.is_none_or(|next| next == '#' || next.is_ascii_alphanumeric()),
                // Before a link, which may be what follows.
                '!' => next.is_none(),
                '#' => is_begin || self.in_heading,
                '>' | '+' | '-' | '=' => is_begin,
                '~' => is_begin && signs.clone().take(2).filter(|sign| *sign != '~').count() == 0,
                '.' | ')' => matches!(self.begin, LineBegin::Digits(1..=9)),
                _ => false,
            };
            let is_edge = is_begin || std::mem::take(&mut self.after_open);
            match sign {
                // White space where Markdown gives it a meaning.
                '\n' => self.out.push_str("&#10;"),
                '\t' => self.out.push_str("&#9;"),
                ' ' if is_edge => self.out.push_str("&#32;"),
                _ => {
                    if escape {
                        self.out.push('\\');
                    }
                    self.out.push(sign);
                }
            }
            self.begin = match (&self.begin, sign.is_ascii_digit()) {
                (LineBegin::Nothing, true) => LineBegin::Digits(1),
                (LineBegin::Digits(count), true) => LineBegin::Digits(count + 1),
                _ => LineBegin::More,
            };
            former = Some(sign);
        }
    }
}

fn number(level: HeadingLevel) -> usize {
    level as usize
}

/// A destination between angle brackets. It has no space in it.
fn destination(dest: &str) -> String {
    let mut shown = String::new();
    for (place, sign) in dest.char_indices() {
        match sign {
            '<' => shown.push_str("%3C"),
            '>' => shown.push_str("%3E"),
            '\\' => shown.push_str("%5C"),
            '`' => shown.push_str("%60"),
            '&' if is_entity(&dest[place + 1..]) => shown.push_str("&amp;"),
            _ => shown.push(sign),
        }
    }
    shown
}

fn is_entity(text: &str) -> bool {
    let end = text.find(|sign: char| sign != '#' && !sign.is_ascii_alphanumeric());
    end.is_some_and(|end| end > 0 && text[end..].starts_with(';'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::Parser;

    use super::*;

    #[test]
    fn what_agents_write_stays_as_it_is() {
        for text in [
            "A *word*, a **strong** one, `code` and snake_case.\n",
            "#### Heading\n\n- one\n- two\n  - inner\n\n1. first\n2. second\n",
            "> quoted\n>\n> ```rust\n> fn main() {}\n> ```\n",
            "- [x] done\n- [ ] open\n",
            "[link](<https://example.org/?a=1&b=2>)\n\n___\n\nend\\\nof line\n",
            "| a | b |\n|---|---|\n| 1 | 2 |\n",
            "- loose\n\n- list\n\n* other\n* list\n",
            "````\n```\n````\n",
        ] {
            assert_eq!(rewritten(text, 4), text);
        }
    }

    #[test]
    fn what_could_act_is_text() {
        for (text, expected) in [
            ("# Top\n", "#### Top\n"),
            ("a\n===\n", "#### a\n"),
            ("```\nopen", "```\nopen\n```\n"),
            ("<script>x</script>", "```html\n<script>x</script>\n```\n"),
            ("a <b>b</b>", "a \\<b>b\\</b>\n"),
            ("[a]: http://b\n\n[c]", "\\[c\\]\n"),
            ("[a](javascript:b)", "a `javascript:b`\n"),
            ("![a](http://b/c.png)", "[a](<http://b/c.png>)\n"),
            ("&#35; a&#10;&#35; b", "\\# a&#10;# b\n"),
            ("&lt;b&gt; &amp;lt;", "\\<b> \\&lt;\n"),
            ("1986\\. A\n&#32;&#32;&#32;&#32;x", "1986\\. A\n&#32;   x\n"),
        ] {
            assert_eq!(rewritten(text, 4), expected, "{text}");
        }
    }

    #[test]
    fn a_line_is_what_it_says() {
        assert_eq!(escaped("# <b> *a* _b_ c_d 1. [x](y)"), "\\# \\<b> \\*a\\* \\_b\\_ c_d 1. \\[x\\](y)");
        assert_eq!(escaped("1. a"), "1\\. a");
        assert_eq!(code_span("a`b"), "``a`b``");
        assert_eq!(code_span("`"), "`` ` ``");
        assert_eq!(fence("a ```` b"), "`````");
    }

    /// What a reader reads: all text, without white space, and without the signs of emphasis, which some places cannot
    /// have.
    fn read<'t>(events: impl Iterator<Item = Event<'t>>) -> String {
        let texts = events.filter_map(|event| match event {
            Event::Text(text) | Event::Code(text) => Some(text.into_string()),
            Event::TaskListMarker(done) => Some(if done { "[x]".to_owned() } else { "[ ]".to_owned() }),
            _ => None,
        });
        texts
            .flat_map(|text| text.chars().collect::<Vec<_>>())
            .filter(|sign| !sign.is_whitespace() && *sign != '*')
            .collect()
    }

    proptest! {
        #[test]
        fn nothing_is_lost(pieces in prop::collection::vec(prop::sample::select(vec![
            "#", " ", "\n", "\n\n", "*", "**", "_", "`", "```", "~~~", "<", ">", "<b>", "</b>", "<div>\n", "<!--", "[", "]", "(", ")", "](",
            "[a]: b\n", "![", "http://a", "&", "&#10;", "&#32;", "&lt;", "|", "- ", "1. ", "7) ", "    ", "> ", "\\", "---\n", "===\n", "+ ",
            "!", "~", "$", "[x] ", ":", "a", "1", "é",
        ]), 0..24)) {
            let text = pieces.concat();
            let written = rewritten(&text, 4);
            let wanted = read(safe_events(&text, Options::ENABLE_TASKLISTS, 4));
            prop_assert_eq!(read(Parser::new_ext(&written, Options::ENABLE_TASKLISTS)), wanted, "{:?} became {:?}", text, written);
        }
    }
}
