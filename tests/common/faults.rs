//! Faults that a process of its own is given: signals, and calls of the operating system that fail.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::Process;

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

/// The same program, which gets an error where it would write beyond so many blocks of a file, of 512 bytes each.
pub fn with_file_limit(blocks: u64, inner: &Command) -> Command {
    let mut shell = Command::new("sh");
    // Only as much as it can lift again itself. With the signal ignored, the write fails instead.
    shell.args(["-c", &format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$0\" \"$@\"")]);
    through(shell, inner)
}

/// Sends a signal, such as `STOP`.
pub fn signal(process: &Process, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.id().to_string()).status().unwrap();
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

/// A file system of its own, as small as wanted.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// With these options of `tmpfs`. Nothing where this process must not mount.
    pub fn new(options: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path());
        let mounted = mount.stderr(Stdio::null()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: mounting a small file system takes root");
        None
    }

    /// One with room for so many bytes.
    pub fn of_size(bytes: u64) -> Option<Self> {
        Self::new(&format!("size={bytes}"))
    }

    pub fn resize(&self, bytes: u64) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={bytes}")]).arg(self.folder());
        assert!(mount.status().unwrap().success());
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self) -> PathBuf {
        self.folder().join("sessions.db")
    }

    /// Takes what space is left, until the file is removed whose path this returns.
    pub fn fill(&self) -> PathBuf {
        let path = self.folder().join("ballast");
        let mut ballast = std::fs::File::create(&path).unwrap();
        while std::io::Write::write(&mut ballast, &[0; 4096]).is_ok_and(|written| written > 0) {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that another test has just started may still have a copy of a descriptor.
        let _ = Command::new("umount").arg("-l").arg(self.folder()).status();
    }
}

/// A library that lets calls of the operating system fail in the program that is run with it; nothing where there is no
/// C compiler. CI must have one.
pub struct FailingCalls {
    folder: TempDir,
}

impl FailingCalls {
    pub fn new() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/failing_calls.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(folder.path().join("failing.so")).arg(source).arg("-ldl");
        match compiler.status() {
            Ok(status) => assert!(status.success()),
            Err(_) => {
                assert!(std::env::var_os("CI").is_none(), "CI has to have a C compiler");
                eprintln!("skipped: there is no C compiler");
                return None;
            }
        }
        Some(Self { folder })
    }

    /// Lets the calls of this name fail with an error number: the one of this place, counted from 1, or that and all after
    /// it.
    pub fn in_program(&self, command: &mut Command, call: &str, error: i32, first: u32, is_last: bool) {
        command.env("LD_PRELOAD", self.folder.path().join("failing.so"));
        command.env("FAIL", format!("{call} {error} {first} {}", u8::from(is_last)));
    }
}
