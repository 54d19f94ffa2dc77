//! A whole transcript in one call.

#[cfg(feature = "html")]
use super::html_renderer::HtmlRenderer;
use super::markdown_renderer::MarkdownRenderer;
use super::render_options::RenderOptions;
use super::renderer::{TranscriptHead, TranscriptRenderer};
use super::text_renderer::TextRenderer;
use crate::transcript::assembly::Transcript;

/// The turns at hand in one text, under the [title](Transcript::title). [`render`](super) has what takes less memory,
/// and says more about the session.
impl Transcript {
    /// All turns that are at hand as plain text, as [`TextRenderer`] writes it.
    ///
    /// ```
    /// use agent_session_store::transcript::Transcript;
    /// use agent_session_store::transcript::render::RenderOptions;
    ///
    /// print!("{}", Transcript::new().to_text(&RenderOptions::new()));
    /// ```
    pub fn to_text(&self, options: &RenderOptions) -> String {
        self.rendered(TextRenderer::new(options.clone()))
    }

    /// All turns that are at hand as Markdown, as [`MarkdownRenderer`] writes it.
    ///
    /// ```
    /// use agent_session_store::transcript::Transcript;
    /// use agent_session_store::transcript::render::RenderOptions;
    ///
    /// assert_eq!(Transcript::new().to_markdown(&RenderOptions::new()), "# Transcript\n");
    /// ```
    pub fn to_markdown(&self, options: &RenderOptions) -> String {
        self.rendered(MarkdownRenderer::new(options.clone()))
    }

    /// All turns that are at hand as a page, as [`HtmlRenderer`] writes it.
    ///
    /// ```
    /// use agent_session_store::transcript::Transcript;
    /// use agent_session_store::transcript::render::RenderOptions;
    ///
    /// assert!(Transcript::new().to_html(&RenderOptions::new()).starts_with("<!DOCTYPE html>"));
    /// ```
    #[cfg(feature = "html")]
    pub fn to_html(&self, options: &RenderOptions) -> String {
        self.rendered(HtmlRenderer::new(options.clone()))
    }

    fn rendered(&self, mut renderer: impl TranscriptRenderer) -> String {
        let mut text = Vec::new();
        // Memory takes whatever is written.
        let _ = renderer.whole(&TranscriptHead::new().title(self.title()), self, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}
