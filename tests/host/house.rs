//! Proves that the source has the structure that it says it has: databases are named in their folders alone, the model
//! knows no connection, no two files import each other, and no two files or types have one name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file of `src/` by the path of its module, with comments, texts and tests taken out.
struct Source {
    path: PathBuf,
    code: String,
}

fn sources() -> BTreeMap<Vec<String>, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&root).unwrap().with_extension("");
                let mut module: Vec<String> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
                module.pop_if(|last| last == "mod" || last == "lib");
                let code = code(&std::fs::read_to_string(&path).unwrap());
                found.insert(module, Source { path: relative, code });
            }
        }
    }
    assert!(found.len() > 60, "{} files", found.len());
    found
}

/// What the compiler sees of a file, without its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let mut code = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").unwrap() + 5
        } else if rest.starts_with("'\"'") {
            3
        } else if next == '"' {
            let mut end = 1;
            while !rest[end..].starts_with('"') {
                end += if rest[end..].starts_with('\\') { 2 } else { rest[end..].chars().next().unwrap().len_utf8() };
            }
            end + 1
        } else {
            code.push(next);
            next.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

fn is_inside(module: &[String], folder: &[&str]) -> bool {
    module.len() >= folder.len() && module.iter().zip(folder).all(|(part, wanted)| part == wanted)
}

#[test]
fn databases_are_named_in_their_folders_alone() {
    for (module, source) in sources() {
        // The guide is documentation, which may name a database; its modules have the names of its pages.
        let may = [&["database"][..], &["store", "engine"], &["guide"]];
        if may.iter().any(|folder| is_inside(&module, folder)) {
            continue;
        }
        let code = source.code.to_lowercase();
        for name in ["sqlite", "postgres", "pgconnection", "pragma", "rowid"] {
            assert!(!code.contains(name), "{} names {name}", source.path.display());
        }
    }
}

#[test]
fn the_model_knows_no_connection() {
    for (module, source) in sources() {
        if is_inside(&module, &["model"]) {
            let imports = imports(&module, &source.code);
            let known = [&["model"][..], &["error"], &["schema"]];
            let foreign = imports.iter().find(|import| !known.iter().any(|folder| is_inside(import, folder)));
            assert_eq!(foreign, None, "{}", source.path.display());
            assert!(!source.code.contains("Connection"), "{}", source.path.display());
        }
    }
}

/// What a file imports from the crate, as full paths.
fn imports(module: &[String], code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for word in code.split(';') {
        let Some((before, tree)) = word.split_once("use ") else { continue };
        let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
        // What a file hands on is no import of its own.
        if !before.trim_end().ends_with("pub") && !before.trim_end().ends_with(')') {
            expand(&mut Vec::new(), &tree, &mut found);
        }
    }
    let full = |path: Vec<String>| -> Option<Vec<String>> {
        let mut base = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "super" | "self" => module.to_vec(),
            _ => return None,
        };
        let mut parts = path.into_iter().peekable();
        while let Some(part) = parts.next_if(|part| ["crate", "self", "super"].contains(&part.as_str())) {
            if part == "super" {
                base.pop();
            }
        }
        base.extend(parts);
        Some(base)
    };
    found.into_iter().filter_map(full).collect()
}

/// The paths of a tree of imports.
fn expand(prefix: &mut Vec<String>, tree: &str, found: &mut Vec<Vec<String>>) {
    let (path, group) = tree.split_once('{').map_or((tree, None), |(path, group)| (path, Some(group)));
    let before = prefix.len();
    prefix.extend(path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()));
    match group {
        None => found.push(prefix.clone()),
        Some(group) => {
            let (mut depth, mut begin) = (0, 0);
            for (place, sign) in group.char_indices() {
                depth += i32::from(sign == '{') - i32::from(sign == '}');
                if (sign == ',' && depth == 0) || depth < 0 {
                    if !group[begin..place].trim().is_empty() {
                        expand(prefix, &group[begin..place], found);
                    }
                    begin = place + 1;
                }
                if depth < 0 {
                    break;
                }
            }
        }
    }
    prefix.truncate(before);
}

#[test]
fn no_two_files_import_each_other() {
    let sources = sources();
    let file_of = |mut path: Vec<String>| {
        while !sources.contains_key(&path) {
            path.pop();
        }
        path
    };
    // A name that a folder hands on is imported from the file that it comes from.
    let mut handed_on = BTreeMap::new();
    for (module, source) in &sources {
        for item in source.code.split(';').filter_map(|item| item.split_once("pub").map(|(_, item)| item)) {
            let Some((_, tree)) = item.split_once("use ") else { continue };
            let mut paths = Vec::new();
            expand(&mut Vec::new(), &tree.split_whitespace().collect::<Vec<_>>().join(" "), &mut paths);
            for path in paths {
                let inner: Vec<String> = path.iter().filter(|part| *part != "self").cloned().collect();
                let name: Vec<String> = module.iter().chain(path.last()).cloned().collect();
                handed_on.insert(name, file_of(module.iter().cloned().chain(inner).collect()));
            }
        }
    }
    let mut imported: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (module, source) in &sources {
        let files = imports(module, &source.code).into_iter().map(|path| match handed_on.get(&path) {
            Some(file) => file.clone(),
            None => file_of(path),
        });
        imported.insert(module.clone(), files.filter(|file| file != module).collect());
    }
    assert!(imported.values().map(BTreeSet::len).sum::<usize>() > 200);
    for module in imported.keys() {
        let (mut reached, mut next) = (BTreeSet::new(), imported[module].clone());
        while let Some(file) = next.pop_first() {
            if reached.insert(file.clone()) {
                next.extend(imported[&file].iter().cloned());
            }
        }
        assert!(!reached.contains(module), "{} is part of a circle", module.join("/"));
    }
}

/// What each database has under the same name is one idea: `values.rs` in the folder of each.
fn one_for_each_database(path: &str, name: &str) -> String {
    let folder = path.split('/').rev().skip(1).find(|folder| ["sqlite", "postgres"].contains(folder));
    folder.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}"))
}

#[test]
fn no_two_files_or_types_have_one_name() {
    let (mut files, mut types) = (BTreeMap::new(), BTreeMap::new());
    for (module, source) in sources() {
        let path = source.path.display().to_string();
        if !path.ends_with("mod") {
            let other = files.insert(one_for_each_database(&path, module.last().unwrap_or(&path)), path.clone());
            assert_eq!(other, None, "{path}");
        }
        for line in source.code.lines().map(|line| line.trim_start().trim_start_matches("pub ")) {
            let line =
                line.split_once(") ").filter(|(before, _)| before.starts_with("pub(")).map_or(line, |(_, rest)| rest);
            for kind in ["struct ", "enum ", "trait "] {
                let Some(name) = line.strip_prefix(kind).filter(|name| !name.starts_with('$')) else { continue };
                let name: String = name.chars().take_while(|sign| sign.is_alphanumeric()).collect();
                let other = types.insert(one_for_each_database(&path, &name), path.clone());
                assert_eq!(other, None, "{name}, in {path}");
            }
        }
    }
    assert!(types.len() > 100, "{}", types.len());
}
