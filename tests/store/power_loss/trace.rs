//! Reading what `strace` wrote.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::recording::{Inode, NameChanges, Op, Recording};

/// What a descriptor stands for, if it is in the recorded folder.
#[derive(Clone, Copy)]
enum Open {
    File(Inode),
    Folder(usize),
}

struct Reader<'a> {
    root: &'a str,
    recording: &'a mut Recording,
    /// The names in each folder, as the process sees them.
    names: Vec<HashMap<String, Inode>>,
    open: HashMap<i64, Open>,
    /// Where the next plain write to a descriptor goes; duplicates are followed only by their number.
    offsets: HashMap<i64, usize>,
    inodes: usize,
    /// Calls that have begun: by thread, their text and the number of operations there were.
    begun: HashMap<String, (String, usize)>,
}

/// Appends what the process did in the folder to the recording.
pub fn read(trace: &Path, root: &Path, recording: &mut Recording) {
    let mut names = vec![HashMap::new(); recording.folders.len()];
    for (inode, (folder, name, _)) in recording.files.iter().enumerate() {
        names[*folder].insert(name.clone(), inode);
    }
    let inodes = recording.files.len();
    let mut reader = Reader {
        root: root.to_str().unwrap(),
        recording,
        names,
        open: HashMap::new(),
        offsets: HashMap::new(),
        inodes,
        begun: HashMap::new(),
    };
    for line in BufReader::new(std::fs::File::open(trace).unwrap()).lines() {
        reader.line(&line.unwrap());
    }
}

impl Reader<'_> {
    fn line(&mut self, line: &str) {
        let (thread, text) = line.split_once(' ').unwrap();
        let text = text.trim_start();
        if let Some(begun) = text.strip_suffix(" <unfinished ...>") {
            self.begins(begun);
            self.begun.insert(thread.to_owned(), (begun.to_owned(), self.recording.ops.len()));
        } else if let Some(resumed) = text.strip_prefix("<... ") {
            let rest = resumed.split_once(" resumed>").unwrap().1;
            let (begun, upto) = self.begun.remove(thread).unwrap();
            self.ends(&format!("{begun}{rest}"), upto);
        } else if !text.starts_with(['+', '-']) {
            self.begins(text);
            self.ends(text, self.recording.ops.len());
        }
    }

    /// What has its effect when it begins. A descriptor that is closed may be another's before the call returns, and
    /// what is said counts from the first moment it may have been heard.
    fn begins(&mut self, text: &str) {
        let (name, arguments) = text.split_once('(').unwrap();
        let mut arguments = arguments.split([',', ')']).map(str::trim);
        match name {
            "close" => {
                let descriptor = number(arguments.next().unwrap());
                self.open.remove(&descriptor);
                self.offsets.remove(&descriptor);
            }
            "write" if arguments.next() == Some("1") => {
                let said = String::from_utf8_lossy(&bytes(arguments.next().unwrap())).into_owned();
                self.recording.ops.push(Op::Said(said.trim_end().to_owned()));
            }
            _ => {}
        }
    }

    fn ends(&mut self, text: &str, upto: usize) {
        let (name, rest) = text.split_once('(').unwrap();
        // A process that ends leaves calls without an answer.
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
        let Ok(result) = result.split(' ').next().unwrap().parse::<i64>() else { return };
        if result < 0 {
            return;
        }
        let arguments = arguments.trim_end().strip_suffix(')').unwrap();
        let arguments: Vec<&str> = arguments.split(", ").collect();
        match name {
            "open" => self.opens(&self.path("AT_FDCWD", arguments[0]), arguments[1], result),
            "creat" => self.opens(&self.path("AT_FDCWD", arguments[0]), "O_CREAT|O_TRUNC", result),
            "openat" => self.opens(&self.path(arguments[0], arguments[1]), arguments[2], result),
            "dup" | "dup2" | "dup3" => self.duplicates(number(arguments[0]), result),
            "fcntl" if arguments[1].starts_with("F_DUPFD") => self.duplicates(number(arguments[0]), result),
            "lseek" => _ = self.offsets.insert(number(arguments[0]), result as usize),
            "write" => {
                let descriptor = number(arguments[0]);
                let offset = self.offsets.get(&descriptor).copied().unwrap_or(0);
                self.offsets.insert(descriptor, offset + result as usize);
                self.writes(descriptor, arguments[1], offset, result);
            }
            "pwrite64" => self.writes(number(arguments[0]), arguments[1], number(arguments[3]) as usize, result),
            "ftruncate" => {
                if let Some(inode) = self.file(number(arguments[0])) {
                    self.does(Op::Resize { inode, size: number(arguments[1]) as usize });
                }
            }
            "fsync" | "fdatasync" => match self.open.get(&number(arguments[0])) {
                Some(Open::File(inode)) => self.does(Op::Sync { inode: *inode, upto }),
                Some(Open::Folder(folder)) => self.does(Op::SyncFolder { folder: *folder, upto }),
                None => {}
            },
            "mkdir" => self.makes_folder(&self.path("AT_FDCWD", arguments[0])),
            "mkdirat" => self.makes_folder(&self.path(arguments[0], arguments[1])),
            "rmdir" => self.removes_folder(&self.path("AT_FDCWD", arguments[0])),
            "unlinkat" if arguments[2].contains("AT_REMOVEDIR") => {
                self.removes_folder(&self.path(arguments[0], arguments[1]));
            }
            "unlink" => self.renames(Some(self.path("AT_FDCWD", arguments[0])), None),
            "unlinkat" => self.renames(Some(self.path(arguments[0], arguments[1])), None),
            "rename" => {
                let (from, to) = (self.path("AT_FDCWD", arguments[0]), self.path("AT_FDCWD", arguments[1]));
                self.renames(Some(from), Some(to));
            }
            "renameat" | "renameat2" => {
                assert!(!text.contains("RENAME_EXCHANGE"), "not in the model: {text}");
                let (from, to) = (self.path(arguments[0], arguments[1]), self.path(arguments[2], arguments[3]));
                self.renames(Some(from), Some(to));
            }
            "link" => self.links(&self.path("AT_FDCWD", arguments[0]), &self.path("AT_FDCWD", arguments[1])),
            "linkat" => {
                let (from, to) = (self.path(arguments[0], arguments[1]), self.path(arguments[2], arguments[3]));
                self.links(&from, &to);
            }
            "mmap" => {
                let is_written = arguments[2].contains("PROT_WRITE") && arguments[3].contains("MAP_SHARED");
                if let (true, Some(inode)) = (is_written, self.file(number(arguments[4]))) {
                    let mut names = self.names.iter().flatten();
                    let is_shared_memory = names.any(|(name, known)| *known == inode && name.ends_with("-shm"));
                    assert!(is_shared_memory, "not in the model: {text}");
                }
            }
            "fcntl" | "close" => {}
            _ => self.must_be_elsewhere(text, &arguments),
        }
    }

    /// A call that the model does not know must have nothing to do with the recorded folder.
    fn must_be_elsewhere(&self, text: &str, arguments: &[&str]) {
        for argument in arguments {
            let is_ours = match argument.parse() {
                Ok(descriptor) => self.open.contains_key(&descriptor),
                Err(_) => argument.starts_with('"') && self.in_root(&self.path("AT_FDCWD", argument)).is_some(),
            };
            // Of the requests to a file, only sharing another one's content changes it.
            let only_asks = text.starts_with("ioctl(") && !text.contains("FICLONE");
            assert!(!is_ours || only_asks, "not in the model: {text}");
        }
    }

    fn does(&mut self, op: Op) {
        self.recording.ops.push(op);
    }

    fn file(&self, descriptor: i64) -> Option<Inode> {
        match self.open.get(&descriptor) {
            Some(Open::File(inode)) => Some(*inode),
            _ => None,
        }
    }

    /// The absolute form of a path; a relative one cannot be in the recorded folder unless its folder is open.
    fn path(&self, folder: &str, path: &str) -> String {
        let path = String::from_utf8(bytes(path)).unwrap();
        match folder.parse().ok().and_then(|folder: i64| self.open.get(&folder)) {
            Some(Open::Folder(folder)) if !path.starts_with('/') => {
                format!("{}/{}/{path}", self.root, self.recording.folders[*folder]).replace("//", "/")
            }
            _ => path,
        }
    }

    /// The folder and the name that a path in the recorded folder has.
    fn in_root(&self, path: &str) -> Option<(usize, String)> {
        let below = path.strip_prefix(self.root)?.strip_prefix('/')?;
        let (folder, name) = below.rsplit_once('/').unwrap_or(("", below));
        let folder = self.recording.folders.iter().position(|known| known == folder);
        Some((folder.unwrap_or_else(|| panic!("a new folder is not in the model: {path}")), name.to_owned()))
    }

    fn opens(&mut self, path: &str, flags: &str, descriptor: i64) {
        self.open.remove(&descriptor);
        self.offsets.remove(&descriptor);
        let below = path.strip_prefix(self.root).map(|below| below.trim_matches('/'));
        if let Some(folder) = self.recording.folders.iter().position(|known| Some(&**known) == below) {
            if flags.contains("O_TMPFILE") {
                let inode = self.new_inode();
                self.open.insert(descriptor, Open::File(inode));
            } else {
                self.open.insert(descriptor, Open::Folder(folder));
            }
            return;
        }
        let Some((folder, name)) = self.in_root(path) else { return };
        assert!(!flags.contains("O_APPEND"), "not in the model: O_APPEND on {path}");
        let inode = match self.names[folder].get(&name) {
            Some(inode) => {
                let inode = *inode;
                if flags.contains("O_TRUNC") {
                    self.does(Op::Resize { inode, size: 0 });
                }
                inode
            }
            None => {
                let inode = self.new_inode();
                self.changes(folder, vec![(name, Some(inode))]);
                inode
            }
        };
        self.open.insert(descriptor, Open::File(inode));
    }

    fn makes_folder(&mut self, path: &str) {
        let Some(below) = path.strip_prefix(self.root).map(|below| below.trim_matches('/').to_owned()) else { return };
        let folder = self.recording.folders.len();
        self.recording.folders.push(below);
        self.names.push(HashMap::new());
        self.does(Op::Folder { folder, is_there: true });
    }

    fn removes_folder(&mut self, path: &str) {
        let below = path.strip_prefix(self.root).map(|below| below.trim_matches('/'));
        if let Some(folder) = self.recording.folders.iter().position(|known| Some(&**known) == below) {
            self.does(Op::Folder { folder, is_there: false });
        }
    }

    fn new_inode(&mut self) -> Inode {
        self.inodes += 1;
        self.inodes - 1
    }

    fn duplicates(&mut self, descriptor: i64, duplicate: i64) {
        match self.open.get(&descriptor).copied() {
            Some(open) => _ = self.open.insert(duplicate, open),
            None => _ = self.open.remove(&duplicate),
        }
    }

    fn writes(&mut self, descriptor: i64, text: &str, offset: usize, written: i64) {
        if let Some(inode) = self.file(descriptor) {
            let mut bytes = bytes(text);
            assert!(bytes.len() as i64 >= written, "the trace is cut short");
            bytes.truncate(written as usize);
            self.does(Op::Write { inode, offset, bytes });
        }
    }

    fn changes(&mut self, folder: usize, changes: NameChanges) {
        for (name, inode) in &changes {
            match inode {
                Some(inode) => _ = self.names[folder].insert(name.clone(), *inode),
                None => _ = self.names[folder].remove(name),
            }
        }
        self.does(Op::Names { folder, changes });
    }

    fn renames(&mut self, from: Option<String>, to: Option<String>) {
        let from = from.and_then(|path| self.in_root(&path));
        let to = match to {
            None => None,
            Some(path) => match self.in_root(&path) {
                Some(to) => Some(to),
                None => {
                    assert!(from.is_none(), "a rename out of the folder is not in the model");
                    return;
                }
            },
        };
        let Some((folder, name)) = from else {
            assert!(to.is_none(), "a rename into the folder is not in the model");
            return;
        };
        let inode = self.names[folder][&name];
        let mut changes = vec![(name, None)];
        if let Some((target, name)) = to {
            assert_eq!(target, folder, "a rename between folders is not in the model");
            changes.push((name, Some(inode)));
        }
        self.changes(folder, changes);
    }

    fn links(&mut self, from: &str, to: &str) {
        let Some((folder, name)) = self.in_root(to) else { return };
        let inode = match from.strip_prefix("/proc/self/fd/") {
            Some(descriptor) => self.file(number(descriptor)).unwrap(),
            None => {
                let (folder, name) = self.in_root(from).expect("a link from elsewhere is not in the model");
                self.names[folder][&name]
            }
        };
        self.changes(folder, vec![(name, Some(inode))]);
    }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// The bytes of a string as `strace -xx` writes it.
fn bytes(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let digits = digits.unwrap_or_else(|| panic!("the trace has no whole string: {text:.60}"));
    let nibble = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
    digits.as_bytes().chunks(4).map(|sign| nibble(sign[2]) << 4 | nibble(sign[3])).collect()
}
