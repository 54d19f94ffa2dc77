//! Proves that the links between pages of documentation lead somewhere, in the repository and in rustdoc.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a page, without its blocks of code.
fn prose(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.split("\n```").step_by(2).collect()
}

/// The pages of the guide, by name.
fn guide() -> Vec<String> {
    let pages = std::fs::read_dir(root().join("docs")).unwrap();
    let mut names: Vec<_> = pages.map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".md"));
    names.sort();
    assert!(names.len() >= 11, "{names:?}");
    names
}

/// What a page links to: `[text](target)`, and the definitions `[label]: target`.
fn links(text: &str) -> (Vec<String>, Vec<(String, String)>) {
    let inline = text.split("](").skip(1).map(|rest| rest[..rest.find(')').unwrap()].to_owned()).collect();
    let definitions = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    (inline, definitions.map(|(label, target)| (label.to_owned(), target.to_owned())).collect())
}

/// The anchors of a page's headings, as both GitHub and rustdoc make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    headings.map(anchor).collect()
}

/// Fails unless a link of this page leads to a file, and to a heading in it.
fn follow(page: &Path, target: &str) {
    if target.contains("://") {
        return;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file: PathBuf = if path.is_empty() { page.to_owned() } else { page.parent().unwrap().join(path) };
    assert!(file.exists(), "{} links to {target}", page.display());
    assert!(anchor.is_empty() || anchors(&prose(&file)).contains(anchor), "{} links to {target}", page.display());
}

#[test]
fn every_link_leads_somewhere_in_the_repository() {
    let elsewhere = ["README.md", "CHANGELOG.md", "tests/README.md", "fuzz/README.md", "cli/README.md"]
        .map(|page| root().join(page));
    let pages = guide().into_iter().map(|page| root().join("docs").join(page)).chain(elsewhere);
    let mut followed = 0;
    for page in pages {
        let (inline, definitions) = links(&prose(&page));
        for target in inline.iter().chain(definitions.iter().map(|(_, target)| target)) {
            follow(&page, target);
            followed += 1;
        }
    }
    assert!(followed > 40, "{followed}");
}

#[test]
fn every_page_of_the_guide_is_a_module_and_links_to_modules() {
    let source =
        ["src/guide.rs", "src/lib.rs"].map(|file| std::fs::read_to_string(root().join(file)).unwrap()).concat();
    for page in guide() {
        assert!(source.contains(&format!("include_str!(\"../docs/{page}\")")), "{page} is no module");
        let text = prose(&root().join("docs").join(&page));
        let (inline, definitions) = links(&text);
        // rustdoc cannot follow a path to a file, so such a link goes by a name that the module defines anew.
        for target in inline {
            assert!(target.starts_with('#') || target.contains("://"), "{page}: write [text][{target}]");
        }
        let names: BTreeSet<_> = text.split("][").skip(1).map(|rest| &rest[..rest.find(']').unwrap()]).collect();
        assert_eq!(
            names,
            definitions.iter().map(|(name, _)| &**name).collect(),
            "{page} defines the names that it uses"
        );
        for (name, target) in &definitions {
            let (file, anchor) = name.split_once('#').map_or((&**name, String::new()), |(f, a)| (f, format!("#{a}")));
            let module = file.strip_suffix(".md").unwrap().replace('-', "_");
            let module =
                if module == "schema" { "crate::schema".to_owned() } else { format!("crate::guide::{module}") };
            let defined = format!("\n[{name}]: {module}{anchor}\n");
            assert!(name == target && source.contains(&defined), "{page}: src/guide.rs does not define {name}");
        }
    }
}
