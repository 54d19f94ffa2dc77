//! Agents' Markdown as HTML.

use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{CodeBlockKind, Event, Options, Tag, TagEnd, html::push_html};

use super::agent_markdown::safe_events;

/// The HTML of safe events. Its elements are in balance, and its only attributes are classes of ours and the addresses
/// of links.
pub(super) fn markdown_html(text: &str, top: usize) -> Markup {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut language = None;
    let events = safe_events(text, options, top).filter_map(|event| match event {
        Event::Start(Tag::CodeBlock(kind)) => {
            language = Some(match kind {
                CodeBlockKind::Fenced(language) => language.into_string(),
                CodeBlockKind::Indented => String::new(),
            });
            None
        }
        Event::End(TagEnd::CodeBlock) => None,
        Event::Text(code) if language.is_some() => {
            let language = language.take().filter(|language| !language.is_empty());
            Some(Event::Html(code_figure(None, language.as_deref(), &code).0.into()))
        }
        Event::Start(Tag::Link { dest_url, .. }) => Some(Event::Html(link(&dest_url).into())),
        Event::End(TagEnd::Link) => Some(Event::Html("</a>".into())),
        // Alignments would be inline styles, which the policy forbids.
        Event::Start(Tag::Table(_)) => Some(Event::Start(Tag::Table(Vec::new()))),
        Event::TaskListMarker(done) => Some(Event::Html(task(done).into())),
        other => Some(other),
    });
    let mut html = String::with_capacity(text.len() * 3 / 2);
    push_html(&mut html, events);
    PreEscaped(html)
}

/// Code under its name or its language.
pub(super) fn code_figure(name: Option<&str>, language: Option<&str>, code: &str) -> Markup {
    html! {
        figure.code {
            @if name.is_some() || language.is_some() {
                figcaption {
                    @if let Some(name) = name { span { (name) } }
                    @if let Some(language) = language { span { (language) } }
                }
            }
            pre dir="auto" { code { (code) } }
        }
    }
}

/// A box as text: one to click would have to do something.
fn task(done: bool) -> &'static str {
    if done { "<span class=\"task\">☑</span> " } else { "<span class=\"task\">☐</span> " }
}

/// The beginning of a link that tells nobody where it was followed.
fn link(dest: &str) -> String {
    let link = html! { a href=(dest) rel="noopener noreferrer nofollow" {} };
    link.0.trim_end_matches("</a>").to_owned()
}
