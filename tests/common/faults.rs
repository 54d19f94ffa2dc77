//! Faults that a process of its own is given: signals, and calls of the operating system that fail.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// `strace`, to inject faults into a program; nothing where there is none or it may not trace. CI must have it.
pub fn strace() -> Option<Command> {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if works.is_ok_and(|status| status.success()) {
        return Some(Command::new("strace"));
    }
    assert!(std::env::var_os("CI").is_none(), "CI has to have strace");
    eprintln!("skipped: there is no strace that works");
    None
}

/// Another program that ends up running the first one.
pub fn through(mut outer: Command, inner: &Command) -> Command {
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer
}

/// The same program with another umask.
pub fn under_umask(umask: &str, inner: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
    through(shell, inner)
}

/// Sends a signal, such as `STOP`.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
}

/// Every file and folder below a folder.
pub fn everything_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_below(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}
