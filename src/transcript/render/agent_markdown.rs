//! Agents' Markdown as events that are safe to render: no HTML, no destination but those of known schemes, nothing
//! fetched, nothing deep.

use std::collections::VecDeque;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd};

use super::visible::{is_hidden, visible};

/// How deep lists, quotes and emphasis may stand in each other. What is deeper stands at this depth.
const DEEPEST: usize = 24;

/// How many characters of a destination that nothing leads to are shown.
const SHOWN_DESTINATION: usize = 80;

/// Events in which HTML is text or code, pictures are links, links lead to `http`, `https` and `mailto` alone, and
/// headings are `top` or lower without a gap between.
pub(super) fn safe_events(text: &str, options: Options, top: usize) -> SafeMarkdown<'_> {
    SafeMarkdown {
        parser: Parser::new_ext(text, options),
        next: VecDeque::new(),
        open: Vec::new(),
        depth: 0,
        in_link: false,
        top,
        headings: Vec::new(),
    }
}

pub(super) struct SafeMarkdown<'t> {
    parser: Parser<'t>,
    next: VecDeque<Event<'t>>,
    /// What becomes of the ends of the elements that are open.
    open: Vec<EndsWith>,
    /// How many of those are shown.
    depth: usize,
    in_link: bool,
    top: usize,
    /// The levels of the headings above, as the agent has them.
    headings: Vec<HeadingLevel>,
}

enum EndsWith {
    /// The end of what is shown.
    Shown(TagEnd),
    Nothing,
    /// Where the link would have led.
    Destination(String),
}

impl<'t> Iterator for SafeMarkdown<'t> {
    type Item = Event<'t>;

    fn next(&mut self) -> Option<Event<'t>> {
        while self.next.is_empty() {
            let event = self.parser.next()?;
            self.take(event);
        }
        self.next.pop_front()
    }
}

impl<'t> SafeMarkdown<'t> {
    fn take(&mut self, event: Event<'t>) {
        match event {
            Event::Start(Tag::HtmlBlock) => self.html_block(),
            Event::Start(Tag::CodeBlock(kind)) => self.code_block(kind),
            Event::Start(Tag::Image { dest_url, .. }) => self.image(&dest_url),
            Event::Start(tag) => self.start(tag),
            Event::End(_) => self.end(),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.next.push_back(Event::Code(visible(&text).into_owned().into()));
            }
            Event::FootnoteReference(name) => self.text(&name),
            Event::SoftBreak | Event::HardBreak | Event::Rule | Event::TaskListMarker(_) => self.next.push_back(event),
        }
    }

    fn text(&mut self, text: &str) {
        self.next.push_back(Event::Text(visible(text).into_owned().into()));
    }

    fn start(&mut self, tag: Tag<'t>) {
        let parent_is_shown = matches!(self.open.last(), None | Some(EndsWith::Shown(_)));
        let has_room = self.depth < DEEPEST;
        let shown = match tag {
            Tag::Heading { level, .. } => {
                let tag = Tag::Heading { level: self.level(level), id: None, classes: Vec::new(), attrs: Vec::new() };
                Some(tag)
            }
            Tag::Link { link_type, dest_url, .. } if !self.in_link => {
                let dest =
                    if link_type == LinkType::Email { format!("mailto:{dest_url}") } else { dest_url.to_string() };
                if !is_safe(&dest) {
                    return self.open.push(EndsWith::Destination(dest));
                }
                self.in_link = true;
                Some(link(dest))
            }
            Tag::Item => parent_is_shown.then_some(tag),
            Tag::List(_) | Tag::BlockQuote(_) | Tag::Emphasis | Tag::Strong | Tag::Strikethrough => {
                has_room.then_some(tag)
            }
            Tag::Paragraph | Tag::Table(_) | Tag::TableHead | Tag::TableRow | Tag::TableCell => Some(tag),
            _ => None,
        };
        match shown {
            Some(tag) => {
                self.depth += 1;
                self.open.push(EndsWith::Shown(tag.to_end()));
                self.next.push_back(Event::Start(tag));
            }
            None => {
                self.open.push(EndsWith::Nothing);
                self.next.push_back(Event::SoftBreak);
            }
        }
    }

    fn end(&mut self) {
        match self.open.pop() {
            Some(EndsWith::Shown(end)) => {
                self.depth -= 1;
                self.in_link &= end != TagEnd::Link;
                self.next.push_back(Event::End(end));
            }
            Some(EndsWith::Destination(dest)) => self.destination(&dest),
            Some(EndsWith::Nothing) | None => {}
        }
    }

    /// Says where a link would have led.
    fn destination(&mut self, dest: &str) {
        if !dest.is_empty() {
            let cut: String = dest.chars().take(SHOWN_DESTINATION).collect();
            let more = if cut.len() < dest.len() { "…" } else { "" };
            self.next.push_back(Event::Text(" ".into()));
            self.next.push_back(Event::Code(format!("{}{more}", visible(&cut)).into()));
        }
    }

    fn html_block(&mut self) {
        let mut html = String::new();
        for event in self.parser.by_ref() {
            match event {
                Event::End(TagEnd::HtmlBlock) => break,
                Event::Html(text) | Event::Text(text) | Event::InlineHtml(text) => html.push_str(&text),
                _ => {}
            }
        }
        self.push_code(Some("html".to_owned()), &html);
    }

    fn code_block(&mut self, kind: CodeBlockKind<'t>) {
        let mut code = String::new();
        for event in self.parser.by_ref() {
            match event {
                Event::End(TagEnd::CodeBlock) => break,
                Event::Text(text) => code.push_str(&text),
                _ => {}
            }
        }
        let language = match kind {
            CodeBlockKind::Fenced(info) => language(&info),
            CodeBlockKind::Indented => None,
        };
        self.push_code(language, &code);
    }

    fn push_code(&mut self, language: Option<String>, code: &str) {
        let kind = CodeBlockKind::Fenced(language.unwrap_or_default().into());
        self.next.push_back(Event::Start(Tag::CodeBlock(kind)));
        self.next.push_back(Event::Text(visible(code).into_owned().into()));
        self.next.push_back(Event::End(TagEnd::CodeBlock));
    }

    /// A link to the picture, under the text that stands for it.
    fn image(&mut self, dest: &str) {
        let (mut text, mut depth) = (String::new(), 0_usize);
        for event in self.parser.by_ref() {
            match event {
                Event::Start(_) => depth += 1,
                Event::End(_) if depth == 0 => break,
                Event::End(_) => depth -= 1,
                Event::Text(part) | Event::Code(part) | Event::InlineHtml(part) | Event::Html(part) => {
                    text.push_str(&part)
                }
                Event::SoftBreak | Event::HardBreak => text.push(' '),
                _ => {}
            }
        }
        let text = if text.trim().is_empty() { "picture" } else { &text };
        if self.in_link || !is_safe(dest) {
            self.text(text);
            return self.destination(dest);
        }
        self.next.push_back(Event::Start(link(dest.to_owned())));
        self.text(text);
        self.next.push_back(Event::End(TagEnd::Link));
    }

    /// The level that a heading has here: one below the last higher one.
    fn level(&mut self, level: HeadingLevel) -> HeadingLevel {
        while self.headings.last().is_some_and(|above| *above >= level) {
            self.headings.pop();
        }
        let below = self.headings.len();
        self.headings.push(level);
        HeadingLevel::try_from((self.top + below).min(6)).unwrap_or(HeadingLevel::H6)
    }
}

fn link<'t>(dest: String) -> Tag<'t> {
    Tag::Link { link_type: LinkType::Inline, dest_url: dest.into(), title: "".into(), id: "".into() }
}

/// Whether a destination is of a scheme that is known to run nothing. What browsers skip in a scheme makes it another
/// one here.
fn is_safe(dest: &str) -> bool {
    let begins = |scheme: &str| dest.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    ["http://", "https://", "mailto:"].into_iter().any(begins)
        && !dest.contains(|sign: char| is_hidden(sign) || sign.is_whitespace())
}

/// The language that the first word after a fence names, if it is a word.
pub(super) fn language(info: &str) -> Option<String> {
    let word = info.split([' ', ',', '{', '\t', '\n']).next()?;
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "+-#._".contains(sign);
    (!word.is_empty() && word.len() <= 32 && word.chars().all(is_plain)).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> String {
        format!("{:?}", safe_events(text, Options::all(), 4).collect::<Vec<_>>())
    }

    #[test]
    fn a_destination_has_a_known_scheme() {
        for safe in ["http://a", "HTTPS://a?b", "mailto:a@b"] {
            assert!(is_safe(safe), "{safe}");
        }
        for other in [
            "javascript:x",
            " http://a",
            "java\nscript:x",
            "http:a",
            "data:text/html,x",
            "/a",
            "#a",
            "http://a\u{202e}",
            "",
            "vbscript:x",
        ] {
            assert!(!is_safe(other), "{other}");
        }
    }

    #[test]
    fn a_language_is_a_word() {
        assert_eq!(language("rust,no_run").as_deref(), Some("rust"));
        assert_eq!(language("c++ title").as_deref(), Some("c++"));
        assert_eq!(language("\" onclick=x"), None);
    }

    #[test]
    fn headings_have_no_gaps() {
        let found = events("### a\n# b\n#### c\n## d\n### e");
        let levels: Vec<_> = found.split("level: H").skip(1).map(|rest| &rest[..1]).collect();
        assert_eq!(levels, ["4", "4", "5", "5", "6"]);
    }

    #[test]
    fn html_is_text_and_pictures_are_links() {
        let found = events("<div>\n\na <b onclick=x>b</b> ![alt [c](http://d)](http://e) [![in](http://f)](http://g)");
        assert!(!found.contains("Html") && !found.contains("Image"), "{found}");
        assert_eq!(found.matches("Start(Link").count(), 2, "{found}");
    }

    #[test]
    fn starts_and_ends_are_in_balance() {
        let deep = "> ".repeat(1000) + "x\n\n" + &"- ".repeat(1000) + "y\n\n" + &"*a ".repeat(1000) + &"*".repeat(1000);
        let (mut open, mut most) = (Vec::new(), 0);
        for event in safe_events(&deep, Options::all(), 4) {
            match event {
                Event::Start(tag) => open.push(tag.to_end()),
                Event::End(end) => assert_eq!(open.pop(), Some(end)),
                _ => {}
            }
            most = most.max(open.len());
        }
        assert!(open.is_empty() && (20..40).contains(&most), "{most}");
    }
}
