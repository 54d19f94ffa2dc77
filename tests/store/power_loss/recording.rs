//! What a process did to the files of a folder.

use std::path::Path;

/// A file as it was before the recording began, or a new one.
pub type Inode = usize;

/// Names in a folder that stand for a file from now on, or for none, all in one step.
pub type NameChanges = Vec<(String, Option<Inode>)>;

/// What the process did, in the order in which it had an effect.
#[derive(Clone, Debug)]
pub enum Op {
    Names {
        folder: usize,
        changes: NameChanges,
    },
    /// A folder in another one has been made, or removed.
    Folder {
        folder: usize,
        is_there: bool,
    },
    Write {
        inode: Inode,
        offset: usize,
        bytes: Vec<u8>,
    },
    Resize {
        inode: Inode,
        size: usize,
    },
    /// A sync of what was done before the operation with this number, where the sync began.
    Sync {
        inode: Inode,
        upto: usize,
    },
    SyncFolder {
        folder: usize,
        upto: usize,
    },
    /// A line that the process wrote to its standard output.
    Said(String),
}

/// A folder, the folders in it, and what a process did there.
#[derive(Debug)]
pub struct Recording {
    /// Relative to the recorded folder; the first is that folder itself.
    pub folders: Vec<String>,
    /// The files that were there: the folder, the name, the content. Their place here is their inode.
    pub files: Vec<(usize, String, Vec<u8>)>,
    pub ops: Vec<Op>,
}

impl Recording {
    /// What is in the folder now, with nothing done to it yet.
    pub fn of(root: &Path) -> Self {
        let mut recording = Self { folders: vec![String::new()], files: Vec::new(), ops: Vec::new() };
        let mut folder = 0;
        while folder < recording.folders.len() {
            let here = root.join(&recording.folders[folder]);
            for entry in std::fs::read_dir(&here).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    recording.folders.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                } else {
                    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                    recording.files.push((folder, name, std::fs::read(&path).unwrap()));
                }
            }
            folder += 1;
        }
        recording
    }

    /// The same, on a disk whose driver takes every sync for done and does nothing.
    pub fn without_syncs(mut self) -> Self {
        self.ops = self
            .ops
            .into_iter()
            .map(|op| match op {
                // Another in its place, so that the numbers stay.
                Op::Sync { .. } | Op::SyncFolder { .. } => Op::Said(String::new()),
                op => op,
            })
            .collect();
        self
    }
}
