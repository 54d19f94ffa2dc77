//! Proves that the databases of the published server and SDK are rendered as was looked at once. To look again:
//! `UPDATE_SNAPSHOTS=1 cargo test --features html --test transcript rendered`, and then `git diff`.

use agent_session_store::transcript::Transcript;
use agent_session_store::transcript::render::{
    HtmlRenderer, MarkdownRenderer, RenderOptions, TextRenderer, TranscriptHead, TranscriptRenderer,
};
use agent_session_store::{ListEventsRequest, ListSessionsRequest, SessionStore};

use super::common::TempDb;
use super::fixtures::assert_snapshot;

/// All sessions of a fixture, one after the other.
fn render(name: &str, new: impl Fn() -> Box<dyn TranscriptRenderer>) -> String {
    let db = TempDb::fixture(&format!("{name}.db"));
    let store = SessionStore::open(db.path()).unwrap();
    let mut found = Vec::new();
    for session in store.sessions(ListSessionsRequest::new()) {
        let session = session.unwrap();
        let mut transcript = Transcript::new();
        for event in store.events(ListEventsRequest::new(&session.id)) {
            transcript.push(&event.unwrap());
        }
        let head = TranscriptHead::new().title(transcript.title()).session(&session);
        new().whole(&head, &transcript, &mut found).unwrap();
    }
    String::from_utf8(found).unwrap()
}

/// Takes out what every page has.
fn without(page: String, element: &str) -> String {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    let parts = page.split(&begin).map(|part| part.split_once(&end).map_or(part, |(_, rest)| rest));
    parts.collect::<Vec<_>>().join(&format!("{begin}{end}"))
}

fn check(name: &str) {
    let options = RenderOptions::new;
    let text = render(name, || Box::new(TextRenderer::new(options().width(100))));
    assert_snapshot(&format!("rendered-{name}.txt"), &text);
    let markdown = render(name, || Box::new(MarkdownRenderer::new(options())));
    assert_snapshot(&format!("rendered-{name}.md"), &markdown);
    let html = render(name, || Box::new(HtmlRenderer::new(options())));
    assert_snapshot(&format!("rendered-{name}.html"), &without(without(html, "style"), "script"));
}

#[test]
fn the_sdk_database_is_rendered_as_was_looked_at() {
    check("sdk-0.4.2");
}

#[test]
fn the_server_database_is_rendered_as_was_looked_at() {
    check("server-0.4.2");
}
