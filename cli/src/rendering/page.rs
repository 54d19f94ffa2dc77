//! HTML: one page, with every text as text.

use std::io::Write;

use agent_session_store::transcript::Turn;

use super::{Choices, Heading, Rendering, words};
use crate::failure::Result;
use crate::printable;
use crate::units::local;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
    <style>:root { color-scheme: light dark } body { font: 1rem/1.5 system-ui; max-width: 50rem; margin: auto; padding: 1rem }\n\
    .text { white-space: pre-wrap; overflow-wrap: anywhere } .who { font-weight: bold }</style>\n";

pub struct Page(pub Choices);

impl Rendering for Page {
    fn begin(&mut self, out: &mut dyn Write, heading: &Heading<'_>) -> Result<()> {
        let id = escaped(heading.id);
        write!(out, "{HEAD}<title>Session {id}</title>\n<main>\n<h1>Session {id}</h1>\n")?;
        if let Some(record) = heading.record {
            writeln!(out, "<p>{}, {}</p>", escaped(&record.agent), local(record.created_at))?;
        }
        Ok(())
    }

    fn turn(&mut self, out: &mut dyn Write, turn: &Turn) -> Result<()> {
        if !words::is_shown(turn, self.0) {
            return Ok(());
        }
        let name = words::name(turn);
        writeln!(out, "<h2 id=\"event-{}\">{name}</h2>", turn.first_index)?;
        for entry in turn.prompt.iter().chain(&turn.entries) {
            let Some(said) = words::of_entry(entry, self.0) else { continue };
            writeln!(out, "<div class=\"who\">{}</div>\n<div class=\"text\">{}</div>", said.who, escaped(&said.text))?;
            for detail in &said.details {
                writeln!(
                    out,
                    "<details><summary>details</summary><pre class=\"text\">{}</pre></details>",
                    escaped(detail)
                )?;
            }
        }
        if let Some(outcome) = words::outcome(turn) {
            writeln!(out, "<p>{}</p>", escaped(&outcome))?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, _title: Option<&str>) -> Result<()> {
        Ok(writeln!(out, "</main>\n</html>")?)
    }
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for sign in printable::text(text).chars() {
        match sign {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(sign),
        }
    }
    html
}
