//! Recording a child process with `strace`.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Recording, trace};

/// Every call by which a file can change, and those by which its descriptors come and go. What of these has no place in
/// the model makes the test fail where it touches the recorded folder.
const CALLS: &str = "trace=open,openat,openat2,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,pwritev,pwritev2,\
    truncate,ftruncate,fallocate,fsync,fdatasync,sync_file_range,syncfs,sync,rename,renameat,renameat2,link,linkat,symlink,\
    symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,mmap,copy_file_range,sendfile,splice,ioctl,io_uring_enter";

/// Whether processes can be recorded here. If not, it says so, and fails where `CI` is set.
pub fn is_possible() -> bool {
    let tried = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).output();
    let trouble = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    assert!(std::env::var_os("CI").is_none(), "strace is needed: {trouble}");
    println!("SKIPPED, nothing was tested: power loss needs strace ({trouble})");
    false
}

/// Runs a child, and records what it does in a folder.
pub fn record(child: &Command, root: &Path) -> Recording {
    let mut recording = Recording::of(root);
    // The recorder's own file is elsewhere.
    let scratch = tempfile::TempDir::new().unwrap();
    let trace = scratch.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-xx", "-s", "100000000", "-e", "signal=none", "-e", CALLS, "-o"]).arg(&trace);
    command.arg("--").arg(child.get_program()).args(child.get_args());
    for (name, value) in child.get_envs() {
        command.env(name, value.unwrap());
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    trace::read(&trace, root, &mut recording);
    recording
}
