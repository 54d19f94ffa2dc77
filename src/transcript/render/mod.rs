//! Transcripts for people: as plain text, as Markdown, and as a page (feature `html`).
//!
//! A whole transcript is one call: [`Transcript::to_text`], [`to_markdown`], [`to_html`].
//!
//! ```
//! use agent_session_store::transcript::Transcript;
//! use agent_session_store::transcript::render::RenderOptions;
//! use agent_session_store::{ListEventsRequest, SessionStore};
//!
//! let store = SessionStore::open_in_memory()?;
//! let mut transcript = Transcript::new();
//! for event in store.events(ListEventsRequest::new("session-1")) {
//!     transcript.push(&event?);
//! }
//! println!("{}", transcript.to_text(&RenderOptions::new().width(100)));
//! # Ok::<(), agent_session_store::Error>(())
//! ```
//!
//! For long sessions, and for sessions that go on, [`TextRenderer`], [`MarkdownRenderer`] and [`HtmlRenderer`] write
//! turn by turn: [`TranscriptRenderer`] has an example.
//!
//! # What is safe
//!
//! Everything in a session may be hostile, and is treated so in all formats: text does nothing but be read. Control
//! characters (but line breaks and tabs) and characters that change the direction of text are shown as escapes;
//! Markdown is read and written anew, so that it has no HTML, no links but to `http`, `https` and `mailto`, and no say
//! over the document it is in; pictures and sound are named, not shown, and nothing is fetched.
//!
//! A [hook](RenderOptions::redact) sees every text first, to take out what nobody should read.
//!
//! [`Transcript::to_text`]: super::Transcript::to_text
//! [`to_markdown`]: super::Transcript::to_markdown
#![cfg_attr(feature = "html", doc = "[`to_html`]: super::Transcript::to_html")]
#![cfg_attr(not(feature = "html"), doc = "[`to_html`]: self")]
#![cfg_attr(not(feature = "html"), doc = "[`HtmlRenderer`]: self")]

mod agent_markdown;
mod diff_lines;
#[cfg(feature = "html")]
mod html_renderer;
mod json_layout;
#[cfg(feature = "html")]
mod markdown_html;
mod markdown_renderer;
mod markdown_writer;
mod part;
mod render_options;
mod renderer;
mod story;
mod text_renderer;
mod visible;
mod whole_transcript;

#[cfg(feature = "html")]
pub use html_renderer::HtmlRenderer;
pub use markdown_renderer::MarkdownRenderer;
pub use render_options::RenderOptions;
pub use renderer::{TranscriptHead, TranscriptRenderer};
pub use text_renderer::TextRenderer;
