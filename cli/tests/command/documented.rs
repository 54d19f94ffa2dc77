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

/// Each block of the page that begins with `$ ` is run, one after the other, in a folder with both fixtures.
#[test]
#[cfg(unix)]
fn the_page_shows_what_is_printed() {
    let page = std::fs::read_to_string(fixture("../../docs/command.md")).unwrap();
    let db = Db::fixture(SDK);
    std::fs::copy(fixture(SERVER), db.folder().join("old.db")).unwrap();
    let path =
        format!("{}:{}", std::path::Path::new(COMMAND).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let ages = |text: &str| -> String {
        text.lines()
            .map(|line| match line.trim_start().split_once("  ") {
                Some((age, rest))
                    if age.ends_with([' ', 'd', 'y', 'h', 'n', 's'])
                        && age.starts_with(|c: char| c.is_ascii_digit()) =>
                {
                    format!("[age]  {rest}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect()
    };
    let mut run = 0;
    for block in page.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for step in block.split("$ ").skip(1).filter(|step| step.starts_with("agent-sessions")) {
            let (command, shown) = step.split_once('\n').unwrap();
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{command} 2>&1")]).current_dir(db.folder()).env("PATH", &path);
            for (name, value) in environment() {
                match value {
                    Some(value) => shell.env(name, value),
                    None => shell.env_remove(name),
                };
            }
            let output = shell.env("AGENT_SESSIONS_DB", "sessions.db").output().unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            // What is left out of the page.
            match shown.split_once("…\n") {
                Some((beginning, _)) => assert!(ages(&printed).starts_with(&ages(beginning)), "{command}\n{printed}"),
                None => assert_eq!(ages(&printed), ages(shown), "{command}"),
            }
            run += 1;
        }
    }
    assert!(run > 10, "{run}");
}
