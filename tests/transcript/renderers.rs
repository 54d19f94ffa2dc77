//! Proves what each option does, and how text is laid out.

use agent_session_store::transcript::Transcript;
use agent_session_store::transcript::render::{RenderOptions, TextRenderer, TranscriptHead, TranscriptRenderer};
use proptest::prelude::*;
use textwrap::core::display_width;

use super::everything::session;
use super::hostile::any_text;
use super::pages::{assert_harmless, rendered};
use super::{agent, chunk, client, event, prompt, stop, transcript, update};

fn text(transcript: &Transcript, options: &RenderOptions) -> String {
    transcript.to_text(options)
}

#[test]
fn what_is_hidden_is_in_no_format() {
    let (transcript, record) = session(&|name| format!("<{name}>"));
    let options = RenderOptions::new;
    let words = |options: &RenderOptions| {
        let found = rendered(&transcript, Some(&record), options);
        let html = found.html.replace("&lt;", "<").replace("&gt;", ">");
        let shown = |word: &str| {
            let word = format!("<{word}>");
            let places = [&found.text, &found.markdown.replace('\\', ""), &html].map(|text| text.contains(&word));
            assert!(places == [places[0]; 3], "{word}: {places:?}");
            places[0]
        };
        [
            "agent_thought_chunk",
            "input",
            "output",
            "new",
            "call content",
            "param",
            "setting",
            "notification params",
            "batch",
            "file content",
        ]
        .map(shown)
    };
    assert_eq!(words(&options()), [true; 10]);
    assert_eq!(words(&options().thoughts(false)), [false, true, true, true, true, true, true, true, true, true]);
    assert_eq!(
        words(&options().tool_details(false)),
        [true, false, false, false, false, false, true, true, true, false]
    );
    assert_eq!(words(&options().protocol(false)), [true, true, true, true, true, false, false, false, false, true]);
    let least = text(&transcript, &options().thoughts(false).tool_details(false).protocol(false));
    for shown in [
        "<prompt>",
        "<agent_message_chunk>",
        "<call title>",
        "<path>",
        "<call status>",
        "<step>",
        "<mode>",
        "<option>",
        "<file path>",
    ] {
        assert!(least.contains(shown), "{shown}");
    }
}

#[test]
fn a_turn_says_how_it_ended() {
    let end = |said: &[super::Said]| text(&transcript(said), &RenderOptions::new()).lines().last().unwrap().to_owned();
    assert_eq!(end(&[prompt("1", "x")]), "◐ Running");
    assert_eq!(end(&[prompt("1", "x"), stop("1")]), "✓ Ended: end_turn, after 1 s");
    let cancel = client(r#"{"method":"session/cancel"}"#);
    let stopped = |reason: &str| agent(format!(r#"{{"id":1,"result":{{"stopReason":"{reason}"}}}}"#));
    assert_eq!(
        end(&[prompt("1", "x"), cancel.clone(), stopped("cancelled")]),
        "✗ Ended: cancelled by the client, after 2 s"
    );
    assert_eq!(
        end(&[prompt("1", "x"), cancel, stopped("end_turn")]),
        "✓ Ended: end_turn, cancelled by the client, after 2 s"
    );
    let tokens = r#"{"totalTokens":1234,"inputTokens":1000,"outputTokens":234}"#;
    let counted = agent(format!(r#"{{"id":1,"result":{{"stopReason":"max_tokens","usage":{tokens}}}}}"#));
    assert_eq!(end(&[prompt("1", "x"), counted]), "✗ Ended: max_tokens, after 1 s, 1,234 tokens (1,000 in, 234 out)");
}

#[test]
fn a_diff_is_unified() {
    let call = update(
        "tool_call",
        r#""toolCallId":"t","title":"Edit","content":[{"type":"diff","path":"/a","oldText":"one\ntwo\nthree\n","newText":"one\n2\nthree\n"}]"#,
    );
    let found = rendered(&transcript(&[call]), None, &RenderOptions::new());
    let lines = ["@@ -1,3 +1,3 @@", " one", "-two", "+2", " three"];
    assert!(
        found.text.contains(&format!("  Diff: /a, 1 added, 1 removed\n    {}\n", lines.join("\n    "))),
        "{}",
        found.text
    );
    assert!(found.markdown.contains(&format!("`/a`, 1 added, 1 removed:\n\n```diff\n{}\n```\n", lines.join("\n"))));
    assert!(found.html.contains("<del>-two\n</del><ins>+2\n</ins>"), "{}", found.html);
}

#[test]
fn agents_markdown_stays_markdown() {
    let said = chunk("agent_message_chunk", r"# Top\n\n* a\n* b\n\n~~~rust\nfn main() {}");
    let found = rendered(&transcript(&[said]), None, &RenderOptions::new());
    assert!(found.text.contains("  # Top\n\n  * a\n  * b\n\n  ~~~rust\n  fn main() {}\n"), "{}", found.text);
    assert!(
        found.markdown.contains("### Agent\n\n#### Top\n\n- a\n- b\n\n```rust\nfn main() {}\n```\n"),
        "{}",
        found.markdown
    );
    assert!(found.html.contains("<h4>Top</h4>") && found.html.contains("<span>rust</span>"), "{}", found.html);
}

/// Columns that one character needs.
const WIDEST: usize = 2;

#[test]
fn narrow_terminals_get_narrow_lines() {
    let (transcript, _) = session(&|name| {
        format!("{name} 中文字符 👩\u{200d}💻😀 é\u{301} word-with-hyphens\n\tindented {}", "x".repeat(30))
    });
    for width in [1, 2, 10, 23, 24, 80] {
        let text = text(&transcript, &RenderOptions::new().width(width));
        let widest = text.lines().map(display_width).max().unwrap();
        assert!(widest <= width.max(WIDEST), "{widest} columns of {width}");
        // Nothing is lost: without white space it is the same at any width.
        let signs = |text: &str| text.chars().filter(|sign| !sign.is_whitespace() && *sign != '─').collect::<String>();
        assert_eq!(signs(&text), signs(&transcript.to_text(&RenderOptions::new().width(usize::MAX))), "{width}");
    }
}

#[test]
fn text_is_wrapped_between_words() {
    let said =
        chunk("agent_message_chunk", "one two three four five six\\n    four spaces stay before what is wrapped");
    let found = text(&transcript(&[said]), &RenderOptions::new().width(26));
    assert!(
        found.contains(
            "\nAgent\n  one two three four five\n  six\n      four spaces stay\n      before what is\n      wrapped\n"
        ),
        "{found}"
    );
}

#[test]
fn colours_end_with_their_line_and_change_nothing_else() {
    let (transcript, _) = session(&|name| format!("{name}\nmore"));
    let plain = text(&transcript, &RenderOptions::new());
    let mut coloured = text(&transcript, &RenderOptions::new().colors(true));
    assert_ne!(plain, coloured);
    for parameters in ["0", "1", "2", "31", "32", "36"] {
        coloured = coloured.replace(&format!("\u{1b}[{parameters}m"), "");
    }
    assert_eq!(plain, coloured);
}

#[test]
fn a_transcript_is_the_same_turn_by_turn() {
    let (transcript, record) = session(&str::to_owned);
    let whole = rendered(&transcript, Some(&record), &RenderOptions::new());
    let mut renderer = agent_session_store::transcript::render::HtmlRenderer::new(RenderOptions::new());
    let mut page = Vec::new();
    let head = TranscriptHead::new().title(transcript.title()).session(&record);
    renderer.begin(&head, &mut page).unwrap();
    let mut taking = Transcript::new();
    for (index, said) in (1..).zip(&super::everything::everything(&str::to_owned)) {
        taking.push(&super::event(index, said));
        taking.take_finished().iter().for_each(|turn| renderer.turn(turn, &mut page).unwrap());
    }
    taking.turns().iter().for_each(|turn| renderer.turn(turn, &mut page).unwrap());
    renderer.end(&mut page).unwrap();
    assert_eq!(String::from_utf8(page).unwrap(), whole.html);
}

#[test]
fn a_long_turn_is_a_page_still() {
    let mut said = vec![prompt("1", "x")];
    for index in 0..350 {
        said.push(update("tool_call", &format!(r#""toolCallId":"t{index}","title":"Read""#)));
    }
    let transcript = transcript(&said);
    let found = rendered(&transcript, None, &RenderOptions::new());
    assert_harmless(&found, &transcript);
    assert_eq!(found.html.matches("class=\"stretch\"").count(), 3);
}

#[test]
fn each_anchor_is_there_once() {
    let (transcript, _) = session(&str::to_owned);
    let mut renderer = agent_session_store::transcript::render::HtmlRenderer::new(RenderOptions::new());
    let mut page = Vec::new();
    for turn in transcript.turns().iter().chain(transcript.turns()) {
        renderer.turn(turn, &mut page).unwrap();
    }
    let page = String::from_utf8(page).unwrap();
    let mut anchors: Vec<_> = page.split("<section ").skip(1).map(|rest| rest.split(" aria").next().unwrap()).collect();
    let all = anchors.len();
    anchors.sort_unstable();
    anchors.dedup();
    assert_eq!((anchors.len(), all), (all, 2 * transcript.turns().len()));
}

#[test]
fn a_writer_that_fails_is_an_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (transcript, _) = session(&str::to_owned);
    let mut renderer = agent_session_store::transcript::render::MarkdownRenderer::new(RenderOptions::new());
    let failed = renderer.whole(&TranscriptHead::new(), &transcript, &mut Full).unwrap_err();
    assert_eq!(failed.kind(), std::io::ErrorKind::StorageFull);
}

proptest! {
    #[test]
    fn no_line_is_too_long(said in any_text(), width in 1..40_usize) {
        let (transcript, _) = session(&|_| said.clone());
        for line in text(&transcript, &RenderOptions::new().width(width)).lines() {
            prop_assert!(display_width(line) <= width.max(WIDEST), "{line:?}");
        }
    }
}

/// What is written after each event.
#[test]
fn a_turn_is_written_as_it_goes_on_and_nothing_twice() {
    let call = |kind: &str, fields: &str| update(kind, &format!(r#""toolCallId":"c",{fields}"#));
    let steps = |state: &str| update("plan", &format!(r#""entries":[{{"content":"look","status":"{state}"}}]"#));
    let said = [
        (prompt("1", "go"), "\n── Turn 1\n\nUser\n  go\n"),
        (steps("pending"), "\nPlan\n  ○ look (pending)\n"),
        (chunk("agent_message_chunk", "one"), ""),
        (chunk("agent_message_chunk", " two"), ""),
        (
            call("tool_call", r#""title":"T","status":"pending""#),
            "\nAgent\n  one two\n\nTool call: T ○ pending\n  Kind: other\n  Id: c\n",
        ),
        (call("tool_call_update", r#""status":"in_progress""#), ""),
        (chunk("agent_message_chunk", "meanwhile"), ""),
        (call("tool_call_update", r#""status":"completed""#), "\nTool call: T ✓ completed\n  Kind: other\n  Id: c\n"),
        (steps("completed"), "\nPlan\n  ✓ look (completed)\n"),
        (stop("1"), "\nAgent\n  meanwhile\n\n✓ Ended: end_turn\n"),
        (prompt("2", "on"), "\n── Turn 2\n\nUser\n  on\n"),
    ];
    let mut transcript = Transcript::new();
    let mut renderer = TextRenderer::new(RenderOptions::new().width(1_000));
    for (index, (said, expected)) in (1..).zip(&said) {
        transcript.push(&event(index, said));
        // Asked again, it has nothing new.
        for expected in [*expected, ""] {
            let mut written = Vec::new();
            for turn in transcript.take_finished() {
                renderer.turn(&turn, &mut written).unwrap();
            }
            transcript.turns().iter().for_each(|turn| renderer.so_far(turn, &mut written).unwrap());
            let written = String::from_utf8(written).unwrap();
            // The rule, the time and the duration.
            let lines = written.split_inclusive('\n').map(|line| match line.split_once(" · ") {
                Some((title, _)) => format!("{title}\n"),
                None => line.split_once(", after").map_or(line.to_owned(), |(line, _)| format!("{line}\n")),
            });
            assert_eq!(lines.collect::<String>(), expected, "{index}");
        }
    }
}
