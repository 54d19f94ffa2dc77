//! What every rendered transcript has to be, whatever is in it.

use agent_session_store::SessionRecord;
use agent_session_store::transcript::Transcript;
use agent_session_store::transcript::render::{
    HtmlRenderer, MarkdownRenderer, RenderOptions, TextRenderer, TranscriptHead, TranscriptRenderer,
};
use pulldown_cmark::{Event, Options, Parser, Tag};
use scraper::{Html, Node};

/// A transcript in the three formats.
pub struct Rendered {
    pub text: String,
    pub markdown: String,
    pub html: String,
}

pub fn rendered(transcript: &Transcript, record: Option<&SessionRecord>, options: &RenderOptions) -> Rendered {
    let head = TranscriptHead::new().title(transcript.title()).session(record);
    let write = |renderer: &mut dyn TranscriptRenderer| {
        let mut out = Vec::new();
        renderer.whole(&head, transcript, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    Rendered {
        text: write(&mut TextRenderer::new(options.clone())),
        markdown: write(&mut MarkdownRenderer::new(options.clone())),
        html: write(&mut HtmlRenderer::new(options.clone())),
    }
}

/// Fails if anything of the three could act on what shows it.
pub fn assert_harmless(rendered: &Rendered, transcript: &Transcript) {
    for text in [&rendered.text, &rendered.markdown, &rendered.html] {
        assert_nothing_acts(text);
    }
    assert_is_a_page(&rendered.html);
    assert_is_a_document(&rendered.markdown, transcript);
}

fn acts(sign: char) -> bool {
    sign.is_control() && sign != '\n' && sign != '\t'
        || "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".contains(sign)
}

fn assert_nothing_acts(text: &str) {
    if let Some(place) = text.find(acts) {
        let around: String = text[..place].chars().rev().take(40).collect();
        panic!("{:?} after {:?}", text[place..].chars().next(), around.chars().rev().collect::<String>());
    }
}

const ELEMENTS: &str = "html head meta title style body header a h1 h2 h3 h4 h5 h6 dl div dt dd button main section article details \
    summary span time p ul ol li figure figcaption pre code ins del em strong blockquote table thead tbody tr th td hr br \
    footer script";

/// Fails unless a page is well-formed, has our elements and attributes alone, and leads nowhere it should not.
fn assert_is_a_page(html: &str) {
    let page = Html::parse_document(html);
    assert!(page.errors.is_empty(), "{:?}\n{html}", page.errors);
    let (mut scripts, mut styles, mut ids) = (0, 0, std::collections::BTreeSet::new());
    for node in page.tree.values() {
        match node {
            Node::Element(element) => {
                let name = element.name();
                assert!(ELEMENTS.split_whitespace().any(|known| known == name), "<{name}>");
                scripts += usize::from(name == "script");
                styles += usize::from(name == "style");
                for (attribute, value) in element.attrs() {
                    let known = match (name, attribute) {
                        ("a", "href") => ["#", "http://", "https://", "mailto:"]
                            .iter()
                            .any(|begin| value.to_lowercase().starts_with(begin)),
                        ("a", "rel") => value == "noopener noreferrer nofollow",
                        ("html", "lang") | ("ol", "start") | ("time", "datetime") | ("section", "aria-labelledby") => {
                            true
                        }
                        ("meta", "charset" | "http-equiv" | "content" | "name") => true,
                        ("button", "type" | "hidden") => true,
                        (_, "class") => value.chars().all(|sign| sign.is_ascii_lowercase() || " -".contains(sign)),
                        (_, "id") => {
                            assert!(ids.insert(value.to_owned()), "two of {value}");
                            ["fold", "end"].contains(&value) || value.starts_with("turn-")
                        }
                        (_, "dir") => value == "auto",
                        (_, "aria-hidden") => value == "true",
                        _ => false,
                    };
                    assert!(known, "<{name} {attribute}={value:?}>");
                }
            }
            Node::Text(text) => assert_nothing_acts(text),
            Node::Comment(comment) => panic!("<!--{}-->", &**comment),
            _ => {}
        }
    }
    assert_eq!((scripts, styles), (1, 1));
}

/// Fails unless a document has the headings that it should have, no HTML, and leads nowhere it should not.
fn assert_is_a_document(markdown: &str, transcript: &Transcript) {
    for options in [Options::empty(), Options::all()] {
        let mut headings = [0; 6];
        for event in Parser::new_ext(markdown, options) {
            match event {
                Event::Html(html) | Event::InlineHtml(html) => panic!("{html} in {markdown}"),
                Event::Start(Tag::Image { dest_url, .. }) => panic!("a picture from {dest_url} in {markdown}"),
                Event::Start(Tag::Link { dest_url, .. }) => {
                    let dest = dest_url.to_lowercase();
                    let is_known = ["http://", "https://", "mailto:"].iter().any(|begin| dest.starts_with(begin));
                    assert!(is_known || dest.contains('@'), "{dest} in {markdown}");
                }
                Event::Start(Tag::Heading { level, .. }) => headings[level as usize - 1] += 1,
                Event::Text(text) | Event::Code(text) => assert_nothing_acts(&text),
                _ => {}
            }
        }
        let turns = transcript.turns();
        let entries: usize = turns.iter().map(|turn| turn.entries.len() + usize::from(turn.prompt.is_some())).sum();
        assert_eq!(headings[..3], [1, turns.len(), entries], "{markdown}");
    }
}
