//! Proves that what the documentation shows is what happens.

use std::process::Command;

use clap_complete::Shell;

use crate::common::{COMMAND, Db, SDK, SERVER, environment, fixture, pinned, said};

#[test]
fn the_help_of_every_command() {
    let db = Db::none();
    pinned!("help", said(&db.run(&["--help"])));
    let commands = [
        "list",
        "show",
        "follow",
        "events",
        "export",
        "import",
        "backup",
        "prune",
        "check",
        "stats",
        "migrate",
        "completions",
        "man",
    ];
    let listed = db.stdout(&["-h"]);
    for command in commands {
        assert!(listed.contains(&format!("\n  {command} ")), "{command}");
        let help = db.stdout(&[command, "--help"]);
        assert!(help.contains("Examples:\n  agent-sessions "), "{command}");
        pinned!(format!("help-{command}"), help);
    }
}

#[test]
fn completions_and_man_pages() {
    let db = Db::none();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
        assert!(db.stdout(&["completions", &shell.to_string()]).contains("follow"), "{shell}");
    }
    assert!(db.stdout(&["man"]).starts_with(".ie"));
    db.stdout(&["man", "--to", "."]);
    assert!(db.files().contains(&"agent-sessions-show.1".to_owned()), "{:?}", db.files());
    assert_eq!(db.files().len(), 14, "a page for the whole and for each command: {:?}", db.files());
}

/// Each command in a block that begins with `$ ` is run, one after the other, in a folder with both fixtures. With
/// `INSTA_UPDATE=always` the page is written anew. A line `…` stands for the rest.
#[test]
#[cfg(unix)]
fn the_page_shows_what_is_printed() {
    let db = Db::fixture(SDK);
    std::fs::copy(fixture(SERVER), db.folder().join("old.db")).unwrap();
    assert_shows_what_is_printed("../../docs/command.md", &db, 15);
}

/// The same of the README, with the sample database.
#[test]
#[cfg(unix)]
fn the_readme_shows_what_is_printed() {
    let db = Db::fixture("../../examples/sessions.db");
    assert_shows_what_is_printed("../../README.md", &db, 2);
}

#[cfg(unix)]
fn assert_shows_what_is_printed(path: &str, db: &Db, commands: usize) {
    let path = fixture(path);
    let page = std::fs::read_to_string(&path).unwrap();
    let mut run = 0;
    let mut rebuilt = String::new();
    for (place, part) in page.split("```").enumerate() {
        if place > 0 {
            rebuilt += "```";
        }
        let Some(block) = part.strip_prefix("console\n") else {
            rebuilt += part;
            continue;
        };
        let steps: Vec<_> = block.split("$ ").skip(1).map(|step| step.split_once('\n').unwrap()).collect();
        let shown: Vec<_> =
            steps.iter().map(|(command, shown)| format!("$ {command}\n{}", printed(db, command, shown))).collect();
        rebuilt += &format!("console\n{}", shown.join("\n"));
        run += steps.len();
    }
    assert!(run >= commands, "{run}");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(path, rebuilt).unwrap();
    } else {
        assert_eq!(without_ages(&rebuilt), without_ages(&page));
    }
}

#[cfg(unix)]
fn printed(db: &Db, command: &str, shown: &str) -> String {
    let folder = std::path::Path::new(COMMAND).parent().unwrap().display().to_string();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{command} 2>&1")]).current_dir(db.folder());
    shell.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap())).env("AGENT_SESSIONS_DB", "sessions.db");
    for (name, value) in environment() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let output = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    match shown.lines().position(|line| line == "…") {
        Some(lines) => output.lines().take(lines).chain(["…"]).map(|line| format!("{line}\n")).collect(),
        None => output,
    }
}

/// They grow.
#[cfg(unix)]
fn without_ages(text: &str) -> String {
    let units = ["s", "min", "h", "d", "y"];
    let is_age = |age: &str| {
        age.split_once(' ').is_some_and(|(number, unit)| number.parse::<u64>().is_ok() && units.contains(&unit))
    };
    let line = |line: &str| match line.trim_start().split_once("  ") {
        Some((age, rest)) if is_age(age) => format!("[age]  {rest}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
