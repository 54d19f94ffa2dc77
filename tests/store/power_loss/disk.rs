//! The model of a disk.
//!
//! What is on it after power loss:
//!
//! * a file's content as of its last `fsync` or `fdatasync`. Each 512 bytes that were written since hold what they held
//!   then, or after any one of the writes since: writes may be missing, may have landed in any order, and may be torn.
//!   A sector is never half written, and bytes next to a write in its sector stay what they were;
//! * a file's size as of then, or of any growth since, in any combination with the content; where there was never any
//!   content, there are zeros or garbage. A file that was cut short is that, or still longer;
//! * the names in a folder as of its last `fsync`. Each change since (create, remove, rename, link) has happened or
//!   not, in any combination, or up to some point as on a journaling file system. A rename is in one step. Syncing a
//!   new file does not make its name last; syncing its folder does;
//! * a folder that was made, or removed, since the one it is in was synced: or not. What was in one that is not there is
//!   lost, unless it has another name elsewhere;
//! * nothing of the `-shm` file, which processes share through memory: garbage, or no file.
//!
//! A sync covers what was done before it began, and has done its work when it returns.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tempfile::TempDir;

use super::recording::{Inode, NameChanges, Op, Recording};
use crate::common::Random;

const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct File {
    /// As of the last sync.
    durable: Vec<u8>,
    /// Since then, with the number of the operation.
    pending: Vec<(usize, Change)>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Resize(size) => content.resize(*size, 0),
        }
    }
}

type Names = BTreeMap<String, Inode>;

#[derive(Clone, Default)]
struct Folder {
    durable: Names,
    pending: Vec<(usize, NameChanges)>,
    /// Whether it is there itself.
    durable_self: bool,
    pending_self: Vec<(usize, bool)>,
}

fn rename(names: &mut Names, changes: &NameChanges) {
    for (name, inode) in changes {
        match inode {
            Some(inode) => _ = names.insert(name.clone(), *inode),
            None => _ = names.remove(name),
        }
    }
}

/// A disk, as far as the recorded process has got.
pub struct Disk<'a> {
    recording: &'a Recording,
    folders: Vec<Folder>,
    files: BTreeMap<Inode, File>,
    /// Operations that have been done.
    done: usize,
}

/// How the power goes: what is likely to be there of what was not synced, in percent.
struct Fate {
    data: u64,
    torn: u64,
    growth: u64,
    names: u64,
    /// Whether changes of names are there up to some point, and not one by one.
    names_in_order: bool,
    garbage: bool,
}

impl Fate {
    fn of(random: &mut Random) -> Self {
        const CHANCES: [u64; 5] = [0, 10, 50, 90, 100];
        Self {
            data: random.one_of(&CHANCES),
            torn: random.one_of(&[0, 20, 60]),
            growth: random.one_of(&CHANCES),
            names: random.one_of(&CHANCES),
            names_in_order: random.happens(50),
            garbage: random.happens(50),
        }
    }
}

impl<'a> Disk<'a> {
    pub fn new(recording: &'a Recording) -> Self {
        let mut folders = vec![Folder { durable_self: true, ..Folder::default() }; recording.folders.len()];
        for op in &recording.ops {
            if let Op::Folder { folder, is_there: true } = op {
                folders[*folder].durable_self = false;
            }
        }
        let mut files = BTreeMap::new();
        for (inode, (folder, name, content)) in recording.files.iter().enumerate() {
            folders[*folder].durable.insert(name.clone(), inode);
            files.insert(inode, File { durable: content.clone(), pending: Vec::new() });
        }
        Self { recording, folders, files, done: 0 }
    }

    /// Does what the process did before the operation with this number.
    pub fn advance_to(&mut self, cut: usize) {
        while self.done < cut {
            let number = self.done;
            match &self.recording.ops[number] {
                Op::Names { folder, changes } => self.folders[*folder].pending.push((number, changes.clone())),
                Op::Folder { folder, is_there } => self.folders[*folder].pending_self.push((number, *is_there)),
                Op::Write { inode, offset, bytes } => {
                    self.change(*inode, number, Change::Write(*offset, bytes.clone()));
                }
                Op::Resize { inode, size } => self.change(*inode, number, Change::Resize(*size)),
                Op::Sync { inode, upto } => {
                    let file = self.files.entry(*inode).or_default();
                    let covered = file.pending.partition_point(|(number, _)| number < upto);
                    file.pending.drain(..covered).for_each(|(_, change)| change.apply(&mut file.durable));
                }
                Op::SyncFolder { folder: synced, upto } => {
                    let folder = &mut self.folders[*synced];
                    let covered = folder.pending.partition_point(|(number, _)| number < upto);
                    folder.pending.drain(..covered).for_each(|(_, changes)| rename(&mut folder.durable, &changes));
                    self.settle_folders_in(*synced, *upto);
                }
                Op::Said(_) => {}
            }
            self.done += 1;
        }
    }

    /// Makes last that folders were made in this one, or removed.
    fn settle_folders_in(&mut self, parent: usize, upto: usize) {
        for (folder, path) in self.folders.iter_mut().zip(&self.recording.folders) {
            if path.rsplit_once('/').map_or("", |(parent, _)| parent) != self.recording.folders[parent]
                || path.is_empty()
            {
                continue;
            }
            let covered = folder.pending_self.partition_point(|(number, _)| *number < upto);
            if let Some((_, is_there)) = folder.pending_self.drain(..covered).next_back() {
                folder.durable_self = is_there;
            }
        }
    }

    fn change(&mut self, inode: Inode, number: usize, change: Change) {
        self.files.entry(inode).or_default().pending.push((number, change));
    }

    /// Writes what is left, if the power goes now, into an empty folder.
    pub fn crash(&self, random: &mut Random, root: &Path) {
        let fate = Fate::of(random);
        for (folder, path) in self.folders.iter().zip(&self.recording.folders) {
            if !folder.is_there(random) {
                continue;
            }
            let path = root.join(path);
            std::fs::create_dir_all(&path).unwrap();
            for (name, inode) in folder.after_crash(&fate, random) {
                if name.ends_with("-shm") {
                    if fate.garbage {
                        std::fs::write(path.join(name), vec![0xa5; 32_768]).unwrap();
                    }
                    continue;
                }
                let content = self.files.get(&inode).map(|file| file.after_crash(&fate, random)).unwrap_or_default();
                std::fs::write(path.join(name), content).unwrap();
            }
        }
    }
}

impl Folder {
    fn is_there(&self, random: &mut Random) -> bool {
        let place = random.below(self.pending_self.len() as u64 + 1) as usize;
        place.checked_sub(1).map_or(self.durable_self, |place| self.pending_self[place].1)
    }

    fn after_crash(&self, fate: &Fate, random: &mut Random) -> Names {
        let mut names = self.durable.clone();
        let first_missing = random.below(self.pending.len() as u64 + 1) as usize;
        for (place, (_, changes)) in self.pending.iter().enumerate() {
            let is_there = if fate.names_in_order && !matches!(fate.names, 0 | 100) {
                place < first_missing
            } else {
                random.happens(fate.names)
            };
            if is_there {
                rename(&mut names, changes);
            }
        }
        names
    }
}

impl File {
    fn after_crash(&self, fate: &Fate, random: &mut Random) -> Vec<u8> {
        // What the process sees, what is on the disk, and how much of that belongs to the file.
        let mut seen = self.durable.clone();
        let mut disk = self.durable.clone();
        let mut size = disk.len();
        let fill = if fate.garbage { 0xa5 } else { 0 };
        for (_, change) in &self.pending {
            let before = seen.len();
            change.apply(&mut seen);
            if let (Change::Resize(to), true) = (change, seen.len() <= before) {
                if random.happens(fate.data) {
                    disk.truncate(*to);
                    size = size.min(*to);
                }
                continue;
            }
            if seen.len() > before && random.happens(fate.growth) {
                size = size.max(seen.len());
            }
            let Change::Write(offset, bytes) = change else { continue };
            let (is_there, is_torn) = (random.happens(fate.data), random.happens(fate.torn));
            for sector in offset / SECTOR..(offset + bytes.len()).div_ceil(SECTOR) {
                if if is_torn { random.happens(50) } else { is_there } {
                    let start = sector * SECTOR;
                    let end = seen.len().min(start + SECTOR);
                    if disk.len() < end {
                        disk.resize(end, fill);
                    }
                    disk[start..end].copy_from_slice(&seen[start..end]);
                }
            }
        }
        disk.resize(size, fill);
        disk
    }
}

/// A disk with one file of two sectors, of which something was written over.
fn small_disk(ops: Vec<Op>) -> BTreeSet<Option<Vec<u8>>> {
    let recording = Recording {
        folders: vec![String::new()],
        files: vec![(0, "file".to_owned(), vec![b'a'; 1024])],
        ops: [
            vec![
                Op::Write { inode: 0, offset: 0, bytes: vec![b'b'; 1024] },
                Op::Names { folder: 0, changes: vec![("file".to_owned(), None), ("renamed".to_owned(), Some(0))] },
            ],
            ops,
        ]
        .concat(),
    };
    let mut disk = Disk::new(&recording);
    disk.advance_to(recording.ops.len());
    let outcomes = (0..400).map(|seed| {
        let folder = TempDir::new().unwrap();
        disk.crash(&mut Random::new(seed), folder.path());
        let mut left = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
        let file = left.next().unwrap();
        assert!(left.next().is_none(), "a rename is one step");
        let content = std::fs::read(file.path()).unwrap();
        (file.file_name() == "renamed").then(|| vec![content[0], content[511], content[512], content[1023]])
    });
    outcomes.collect()
}

#[test]
fn the_model_loses_what_is_not_synced_and_nothing_else() {
    let outcomes = |outcomes: &[&str]| outcomes.iter().map(|text| text.as_bytes().to_vec()).collect::<BTreeSet<_>>();
    let every = outcomes(&["aaaa", "aabb", "bbaa", "bbbb"]);
    let nothing = small_disk(vec![]);
    assert!(nothing.contains(&None));
    assert_eq!(nothing.into_iter().flatten().collect::<BTreeSet<_>>(), every);
    let name = small_disk(vec![Op::SyncFolder { folder: 0, upto: 2 }]);
    assert!(!name.contains(&None));
    assert_eq!(name.into_iter().flatten().collect::<BTreeSet<_>>(), every);
    let content = small_disk(vec![Op::Sync { inode: 0, upto: 1 }]);
    assert_eq!(content, BTreeSet::from([None, Some(b"bbbb".to_vec())]));
    // A sync that began before the write.
    let early = small_disk(vec![Op::SyncFolder { folder: 0, upto: 2 }, Op::Sync { inode: 0, upto: 0 }]);
    assert_eq!(early.into_iter().flatten().collect::<BTreeSet<_>>(), every);
}
