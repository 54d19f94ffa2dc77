//! Proves in Chromium that a page fetches nothing, runs nothing of a session, folds, has its anchors, and is accessible. The pictures are for
//! whoever changes the page to look at: `target/tmp/transcript-*.png`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_session_store::SessionRecord;
use agent_session_store::transcript::Transcript;
use agent_session_store::transcript::render::RenderOptions;
use scraper::{Html, Selector};

use super::everything::session;
use super::hostile::HOSTILE;
use super::pages::rendered;
use super::showcase::showcase;

/// The browser, if there is one. Without one a test says so and is skipped; in CI it fails.
fn chromium() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()));
    missing(found, "Chromium (Debian: apt-get install chromium)")
}

fn missing<T>(found: Option<T>, what: &str) -> Option<T> {
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI has no {what}");
        eprintln!("SKIPPED: this test needs {what}, which is not here");
    }
    found
}

/// Runs the browser on a page, with these arguments, on a profile of its own.
fn browse(browser: &str, page: &Path, arguments: &[&str]) -> Output {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"])
        .args(["--no-first-run", "--disable-extensions", "--disable-component-update", "--disable-dev-shm-usage"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .env("TZ", "Pacific/Auckland")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What became of the page in the browser, once its scripts have run.
fn dom(browser: &str, page: &Path) -> Html {
    let output = browse(browser, page, &["--virtual-time-budget=5000", "--dump-dom"]);
    Html::parse_document(&String::from_utf8(output.stdout).unwrap())
}

fn html((transcript, record): &(Transcript, SessionRecord)) -> String {
    rendered(transcript, Some(record), &RenderOptions::new()).html
}

fn page(folder: &Path, html: &str) -> PathBuf {
    let path = folder.join("page.html");
    std::fs::write(&path, html).unwrap();
    path
}

/// The page with a script of the test's own, which its policy has to allow for that.
fn with_script(html: &str, script: &str) -> String {
    let policy = html.find("script-src '").unwrap() + "script-src ".len();
    let html = format!("{}'nonce-test' {}", &html[..policy], &html[policy..]);
    html.replace("</body>", &format!("<script nonce=\"test\">{script}</script></body>"))
}

fn texts(page: &Html, selector: &str) -> Vec<String> {
    page.select(&Selector::parse(selector).unwrap()).map(|element| element.text().collect()).collect()
}

/// A server that counts who connects.
fn listener() -> (u16, Arc<AtomicUsize>) {
    let (listener, count) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(AtomicUsize::new(0)));
    let port = listener.local_addr().unwrap().port();
    let counter = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::SeqCst);
            let (mut stream, mut request) = (stream, [0; 1024]);
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (port, count)
}

#[test]
fn a_hostile_page_runs_and_fetches_nothing() {
    let Some(browser) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (port, fetched) = listener();
    let hostile = HOSTILE.join("\n\n").replace("127.0.0.1:9", &format!("127.0.0.1:{port}"));
    let html = html(&session(&|name| format!("{name} {hostile}")));
    // All is unfolded and touched, so that whatever waits for that happens.
    let touch = "for (const all of document.querySelectorAll('details')) all.open = true; \
        for (const all of document.querySelectorAll('*')) for (const event of ['mouseover', 'focus', 'error', 'load']) \
        all.dispatchEvent(new Event(event)); \
        setTimeout(() => document.documentElement.setAttribute('data-ran', String(window.__ran)), 500);";
    let found = dom(browser, &page(folder.path(), &with_script(&html, touch)));
    assert_eq!(found.root_element().attr("data-ran"), Some("undefined"), "something has run");
    assert_eq!(fetched.load(Ordering::SeqCst), 0, "something was fetched");

    // The marker and the server do notice what they are there for.
    let open =
        format!("<script>window.__ran = 1</script><img src=\"http://127.0.0.1:{port}/x.png\"><script>{touch}</script>");
    let found = dom(browser, &page(folder.path(), &format!("<!DOCTYPE html><html><body>{open}</body></html>")));
    assert_eq!(found.root_element().attr("data-ran"), Some("1"));
    assert!(fetched.load(Ordering::SeqCst) > 0);
}

#[test]
fn the_policy_stops_what_would_get_into_a_page() {
    let Some(browser) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (port, fetched) = listener();
    let intruder = format!(
        "<script>window.__ran = 1</script><img src=\"http://127.0.0.1:{port}/x.png\" onerror=\"window.__ran = 1\">\
        <p style=\"color: red\" id=\"styled\">x</p></main>"
    );
    let html = html(&showcase()).replace("</main>", &intruder);
    let report = "setTimeout(() => document.documentElement.setAttribute('data-ran', \
        window.__ran + getComputedStyle(document.getElementById('styled')).color), 500)";
    let found = dom(browser, &page(folder.path(), &with_script(&html, report)));
    let ran = found.root_element().attr("data-ran").unwrap();
    assert!(ran.starts_with("undefined") && !ran.contains("rgb(255, 0, 0)"), "{ran}");
    assert_eq!(fetched.load(Ordering::SeqCst), 0);
}

#[test]
fn a_page_folds_and_has_its_anchors_and_times() {
    let Some(browser) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let html = html(&showcase());
    let report = "const all = [...document.querySelectorAll('details')]; const closed = all.filter(one => !one.open).length; \
        const hidden = all[1].querySelector('.inside').checkVisibility(); \
        all[1].querySelector('summary').click(); const shown = all[1].querySelector('.inside').checkVisibility(); \
        document.getElementById('fold').click(); const open = all.filter(one => one.open).length; \
        const focusable = all.every(one => { one.firstElementChild.focus(); return document.activeElement === one.firstElementChild; }); \
        document.documentElement.setAttribute('data-found', [all.length === closed, hidden, shown, all.length === open, focusable].join())";
    let found = dom(browser, &page(folder.path(), &with_script(&html, report)));
    assert_eq!(found.root_element().attr("data-found"), Some("true,false,true,true,true"));
    for (anchor, title) in [("turn-1", "Turn 1"), ("turn-2", "Turn 2"), ("turn-at-1", "Outside of a turn")] {
        assert_eq!(texts(&found, &format!("section#{anchor} > h2 > a[href='#{anchor}']")), [title]);
    }
    // 09:34:31 in UTC, in Auckland's summer.
    let times = texts(&found, "#turn-1 > h2 > time");
    assert!(times[0].contains("10:34:31"), "{times:?}");
    assert_eq!(texts(&Html::parse_document(&html), "#turn-1 > h2 > time"), ["2026-03-01 09:34:31 UTC"]);
}

#[test]
fn a_page_is_a_picture() {
    let Some(browser) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = page(folder.path(), &html(&showcase()));
    let unfolded = html(&showcase()).replace("<details class=\"entry\">", "<details class=\"entry\" open>");
    let unfolded_path = folder.path().join("unfolded.html");
    std::fs::write(&unfolded_path, unfolded).unwrap();
    let dark = "--blink-settings=preferredColorScheme=0";
    for (name, path, size, more) in [
        ("light", &path, "1100,1900", "--blink-settings=preferredColorScheme=1"),
        ("dark", &path, "1100,1900", dark),
        ("narrow", &path, "360,3000", "--blink-settings=preferredColorScheme=1"),
        ("unfolded", &unfolded_path, "1100,3600", "--blink-settings=preferredColorScheme=1"),
        ("unfolded-dark", &unfolded_path, "1100,3600", dark),
        ("unfolded-narrow", &unfolded_path, "360,5600", "--blink-settings=preferredColorScheme=1"),
    ] {
        let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("transcript-{name}.png"));
        let (screenshot, size) = (format!("--screenshot={}", picture.display()), format!("--window-size={size}"));
        browse(browser, path, &[&screenshot, &size, more]);
        let bytes = std::fs::read(&picture).unwrap();
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000, "{name}: {} bytes", bytes.len());
    }
}

/// The script of axe-core, as npm has it.
fn axe(folder: &Path) -> Option<String> {
    let install = Command::new("npm")
        .args(["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
        .arg(folder)
        .arg("axe-core@4")
        .output();
    let script =
        install.ok().and_then(|_| std::fs::read_to_string(folder.join("node_modules/axe-core/axe.min.js")).ok());
    missing(script, "npm and its registry, for axe-core")
}

#[test]
fn a_page_has_no_accessibility_violation() {
    let Some(browser) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(axe) = axe(folder.path()) else { return };
    let run = "axe.run(document, {resultTypes: ['violations']}).then(found => document.documentElement.setAttribute('data-axe', \
        JSON.stringify(found.violations.map(rule => [rule.id, rule.nodes.length, rule.nodes[0].html, rule.nodes[0].failureSummary])) \
        + ' of ' + found.testEngine.version), error => document.documentElement.setAttribute('data-axe', 'failed: ' + error))";
    let everything = session(&|name| format!("{name} *text* `code` [link](http://example.org) # x"));
    let pages = [html(&showcase()), html(&everything)];
    for html in pages {
        for is_open in [false, true] {
            for dark in [false, true] {
                let html = if is_open {
                    html.replace("<details class=\"entry\">", "<details class=\"entry\" open>")
                } else {
                    html.clone()
                };
                let path = page(folder.path(), &with_script(&html, &format!("{axe};{run}")));
                let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!dark));
                let output = browse(browser, &path, &["--virtual-time-budget=20000", "--dump-dom", &scheme]);
                let found = Html::parse_document(&String::from_utf8(output.stdout).unwrap());
                let violations = found.root_element().attr("data-axe").unwrap_or("axe did not run");
                assert!(violations.starts_with("[] of "), "open {is_open}, dark {dark}: {violations}");
            }
        }
    }
}
