//! Recording a child process with `strace`.

use std::path::Path;
use std::process::{Command, Stdio};

use super::recording::Recording;
use super::trace;
use crate::common::faults::through;
use crate::common::output;

/// Every call by which a file can change, and those by which its descriptors come and go. What of these has no place in
/// the model makes the test fail where it touches the recorded folder.
const CALLS: &str = "trace=open,openat,openat2,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,pwritev,pwritev2,\
    truncate,ftruncate,fallocate,fsync,fdatasync,sync_file_range,syncfs,sync,rename,renameat,renameat2,link,linkat,symlink,\
    symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,mmap,copy_file_range,sendfile,splice,ioctl,io_uring_enter";

/// Runs a child, and records what it does in a folder.
pub fn record(child: &Command, root: &Path) -> Recording {
    let mut recording = Recording::of(root);
    // The recorder's own file is elsewhere.
    let scratch = tempfile::TempDir::new().unwrap();
    let trace = scratch.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-xx", "-s", "100000000", "-e", "signal=none", "-e", CALLS, "-o"]).arg(&trace).arg("--");
    output(through(strace, child).stdin(Stdio::null()));
    trace::read(&trace, root, &mut recording);
    recording
}
