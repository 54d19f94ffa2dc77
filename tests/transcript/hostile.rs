//! Proves that nothing of a session acts on a terminal, a document or a browser, whatever is in it.

use std::borrow::Cow;

use agent_session_store::transcript::render::RenderOptions;
use base64::Engine as _;
use proptest::prelude::*;
use sha2::Digest as _;

use super::everything::session;
use super::pages::{assert_harmless, rendered};
use super::{anything, chunk, prompt, transcript};

/// Texts that would do something where they are not expected.
pub const HOSTILE: [&str; 24] = [
    "<script>window.__ran = 1</script>",
    "</script><script>window.__ran = 1</script>",
    "</style></title></textarea></details></section><img src=x onerror=\"window.__ran=1\">",
    "<svg/onload=window.__ran=1><iframe srcdoc='<script>parent.__ran=1</script>'></iframe>",
    "\" onmouseover=\"window.__ran=1\" autofocus onfocus=\"window.__ran=1",
    "' onclick='window.__ran=1' style='position:fixed;inset:0'",
    "[a](javascript:window.__ran=1) [b](JaVaScRiPt:window.__ran=1) [c](java\tscript:window.__ran=1)",
    "[a](&#106;avascript:window.__ran=1) [b](javascript&colon;window.__ran=1) [c](&#x1;javascript:window.__ran=1)",
    "[a](<java\\\nscript:x>) [b]( javascript:x ) <javascript:x> <data:text/html,<script>x</script>>",
    "![a](javascript:x) ![b](data:image/svg+xml;base64,PHN2Zz4=) ![c](http://127.0.0.1:9/x.png \"onload=x\")",
    "[a](data:text/html;base64,PHNjcmlwdD4=) [b](vbscript:x) [c](file:///etc/passwd) [d](//127.0.0.1:9/x)",
    "[ref]\n\n[ref]: javascript:window.__ran=1 \"title\"\n\n[turn 1]: javascript:x",
    "```\nopen fence <script>window.__ran=1</script>",
    "~~~html\"><script>window.__ran=1</script>\n</code></pre><script>x</script>",
    "````````````\n# not a heading\n```\n</pre>",
    "# Turn 99\n\n## Turn 100\n\nSetext\n===\n\nSetext\n---\n\n<h1>Turn 101</h1>\n\n- # in a list\n\n> # in a quote",
    "<!-- comment <script>x</script> -- > <![CDATA[ x ]]> <?php x ?> <!DOCTYPE x>\n\n<!-- open",
    "\u{1b}[2J\u{1b}]0;title\u{7}\u{1b}]8;;http://a\u{1b}\\link\u{9b}31m\u{0}\u{8}\r\u{7f}\u{85}",
    "abc\u{202e}txt.exe\u{202c} \u{2066}\u{2067}\u{2068}\u{2069} &#x202e;&#27;&#0;&#x9b; `&#x202e;` \u{2028}\u{2029}",
    "<a href=\"javascript:x\">a</a> <a href=http://b onclick=x>b</a> <form action=x><input name=cookie></form>",
    "<base href=\"http://127.0.0.1:9/\"><meta http-equiv=refresh content=\"0;url=javascript:x\"><link rel=stylesheet href=x>",
    "| a | b |\n|:-:|--:|\n| <script>x</script> | [c](javascript:x) |\n\n- [x] <b>\n1. *<i>* **</b>** ~~<s>~~ `</code>`\n",
    "**unclosed *and [nested ![deep <b> `code\n> quote\n- list\n    indented\n\t\ttab\n\n***\n___\n+ + + +",
    "&lt;script&gt; &amp;lt; &#60;script&#62; &NewLine; &Tab;# a &#10;# Turn 102\\\n\\# b \\",
];

#[test]
fn hostile_texts_in_every_place_do_nothing() {
    for hostile in HOSTILE {
        let (transcript, record) = session(&|_| hostile.to_owned());
        assert_harmless(&rendered(&transcript, Some(&record), &RenderOptions::new()), &transcript);
        assert_harmless(&rendered(&transcript, None, &RenderOptions::new()), &transcript);
    }
    let (transcript, record) = session(&|name| HOSTILE.join(&format!("\n\n{name}\n\n")));
    assert_harmless(&rendered(&transcript, Some(&record), &RenderOptions::new()), &transcript);
}

#[test]
fn what_a_hostile_text_says_can_be_read() {
    let (transcript, record) = session(&|_| HOSTILE[0].to_owned());
    let found = rendered(&transcript, Some(&record), &RenderOptions::new());
    assert!(found.text.contains(HOSTILE[0]));
    assert!(found.markdown.contains(r"\<script>window.\_\_ran = 1\</script>"), "{}", found.markdown);
    assert!(found.html.contains("&lt;script&gt;window.__ran = 1&lt;/script&gt;"));
}

#[test]
fn colours_are_the_only_sequences() {
    let (transcript, record) = session(&|name| HOSTILE.join(name));
    let text = rendered(&transcript, Some(&record), &RenderOptions::new().colors(true)).text;
    let mut sequences = 0;
    for sequence in text.split('\u{1b}').skip(1) {
        let parameters = sequence.strip_prefix('[').and_then(|rest| rest.split_once('m')).unwrap().0;
        assert!(["0", "1", "2", "31", "32", "36"].contains(&parameters), "{parameters:?}");
        sequences += 1;
    }
    assert!(sequences > 100 && sequences % 2 == 0);
    for line in text.lines() {
        assert_eq!(line.matches('\u{1b}').count() % 2, 0, "a colour goes on after its line: {line:?}");
    }
}

#[test]
fn the_policy_names_the_style_and_the_script() {
    let page = rendered(&transcript(&[]), None, &RenderOptions::new()).html;
    for element in ["style", "script"] {
        let begin = page.find(&format!("<{element}>")).unwrap() + element.len() + 2;
        let inner = &page[begin..page.find(&format!("</{element}>")).unwrap()];
        let sum = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(inner));
        assert!(page.contains(&format!("{element}-src 'sha256-{sum}'")), "{element}-src 'sha256-{sum}'");
    }
    assert!(page.contains("content=\"default-src 'none'; style-src 'sha256-"));
}

#[test]
fn the_hook_sees_every_text() {
    let (transcript, record) = session(&|name| format!("secret **{name}** `secret` 987654"));
    let shown = rendered(&transcript, Some(&record), &RenderOptions::new());
    for text in [&shown.text, &shown.markdown, &shown.html] {
        assert!(text.matches("secret").count() > 100);
        assert!(text.contains("987,654,321"));
    }
    let options = RenderOptions::new().redact(|_| Cow::Borrowed("▇"));
    let hidden = rendered(&transcript, Some(&record), &options);
    for text in [&hidden.text, &hidden.markdown, &hidden.html] {
        for original in ["secret", "987", "654", "yes", "p1", "tool_call", "session/", "fs/", "aGk"] {
            assert!(!text.contains(original), "{original} in {text}");
        }
        assert!(text.matches('▇').count() > 100);
    }
}

#[test]
fn the_hook_sees_texts_whole_and_without_escapes() {
    let said = [
        prompt("1", r"my key is sk-\u0031\u0032\n3"),
        super::update("tool_call", r#""toolCallId":"t","rawInput":{"k\u0065y":"sk-\u0031","n":12.50}"#),
        chunk("agent_message_chunk", "sk-"),
        chunk("agent_message_chunk", "42"),
    ];
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let options = RenderOptions::new().redact({
        let seen = std::sync::Arc::clone(&seen);
        move |text| {
            seen.lock().unwrap().push(text.to_owned());
            Cow::Borrowed(text)
        }
    });
    transcript(&said).to_html(&options);
    let seen = seen.lock().unwrap();
    for whole in ["my key is sk-12\n3", "key", "sk-1", "12.50", "sk-42", "t"] {
        assert!(seen.iter().any(|text| text == whole), "{whole:?} in {seen:?}");
    }
}

#[test]
fn what_the_hook_says_is_no_less_hostile() {
    let (transcript, record) = session(&|_| "x".to_owned());
    let options = RenderOptions::new().redact(|_| Cow::Owned(HOSTILE.concat()));
    assert_harmless(&rendered(&transcript, Some(&record), &options), &transcript);
}

/// Texts in which Markdown, HTML and control characters meet in any order.
pub fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec![
            "#", " ", "\n", "\n\n", "*", "**", "_", "`", "```", "~~~", "<", ">", "<b>", "</b>", "<script>", "</script>", "<!--", "-->",
            "[", "]", "(", ")", "](", "[a]: ", "![", "http://a", "javascript:", "&", "&#10;", "&#32;", "&lt;", "&#x202e;", "|", "\n|-|\n", "- ",
            "1. ", "1) ", "    ", "\t", "> ", "\\", "---", "===", "+", "!", "~", "\"", "'", "]]>", "\u{0}", "\u{1b}[31m", "\r", "\u{202e}", "[x] ",
            "<div\n", "<?", "{#id}", "$", ":", "^", "a", "1", "é", "😀", "👩\u{200d}💻",
        ]).prop_map(str::to_owned),
        1 => "\\PC{1,8}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_in_any_place_does_nothing(texts in prop::collection::vec(any_text(), 1..5)) {
        let next = std::cell::Cell::new(0);
        let text = |_: &str| {
            next.set(next.get() + 1);
            texts[next.get() % texts.len()].clone()
        };
        let (transcript, record) = session(&text);
        assert_harmless(&rendered(&transcript, Some(&record), &RenderOptions::new()), &transcript);
    }

    #[test]
    fn any_events_do_nothing(said in prop::collection::vec(anything::any_said(), 0..30)) {
        let transcript = transcript(&said);
        assert_harmless(&rendered(&transcript, None, &RenderOptions::new()), &transcript);
        // Nothing at all is rendered of what is hidden.
        let less = RenderOptions::new().thoughts(false).tool_details(false).protocol(false);
        rendered(&transcript, None, &less);
    }
}
