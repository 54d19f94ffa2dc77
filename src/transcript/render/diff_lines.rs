//! Two versions of a file as a unified diff.

use std::ops::Range;

use similar::{ChangeTag, TextDiff};

/// From how many lines on, those at both ends that are the same left out, versions are not compared any more. Comparing
/// takes time that grows with the square of what differs.
const MOST_COMPARED: usize = 10_000;

/// The lines that differ, with some around them.
pub(super) struct FileDiff {
    pub(super) lines: Vec<DiffLine>,
    pub(super) added: usize,
    pub(super) removed: usize,
}

/// A line without the sign before it and the line break after it.
pub(super) struct DiffLine {
    pub(super) kind: DiffLineKind,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DiffLineKind {
    /// Where the lines that follow are: `@@ -1,3 +1,4 @@`.
    Place,
    Same,
    Added,
    Removed,
    /// That the line before it does not end with a line break.
    NoEnd,
}

impl DiffLineKind {
    /// What stands before the text.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Place => "",
            Self::Same => " ",
            Self::Added => "+",
            Self::Removed => "-",
            Self::NoEnd => "\\",
        }
    }
}

impl FileDiff {
    pub(super) fn new(old: Option<&str>, new: &str) -> Self {
        let mut diff = Self { lines: Vec::new(), added: 0, removed: 0 };
        let old = old.unwrap_or_default();
        let [old_lines, new_lines] = [old, new].map(differing_from(old, new));
        if old_lines.len() + new_lines.len() > MOST_COMPARED {
            diff.push_all(old, old_lines, new, new_lines);
            return diff;
        }
        let compared = TextDiff::from_lines(old, new);
        for hunk in compared.unified_diff().iter_hunks() {
            diff.push(DiffLineKind::Place, &hunk.header().to_string());
            for change in hunk.iter_changes() {
                let kind = match change.tag() {
                    ChangeTag::Equal => DiffLineKind::Same,
                    ChangeTag::Insert => DiffLineKind::Added,
                    ChangeTag::Delete => DiffLineKind::Removed,
                };
                diff.push_line(kind, change.value());
            }
        }
        diff
    }

    /// All of the old lines, and all of the new ones.
    fn push_all(&mut self, old: &str, old_lines: Range<usize>, new: &str, new_lines: Range<usize>) {
        let place = |lines: &Range<usize>| {
            let begin = if lines.is_empty() { lines.start } else { lines.start + 1 };
            format!("{begin},{}", lines.len())
        };
        self.push(DiffLineKind::Place, &format!("@@ -{} +{} @@", place(&old_lines), place(&new_lines)));
        for (kind, text, lines) in [(DiffLineKind::Removed, old, old_lines), (DiffLineKind::Added, new, new_lines)] {
            text.split_inclusive('\n').skip(lines.start).take(lines.len()).for_each(|line| self.push_line(kind, line));
        }
    }

    fn push_line(&mut self, kind: DiffLineKind, line: &str) {
        self.added += usize::from(kind == DiffLineKind::Added);
        self.removed += usize::from(kind == DiffLineKind::Removed);
        match line.strip_suffix('\n') {
            Some(text) => self.push(kind, text),
            None => {
                self.push(kind, line);
                self.push(DiffLineKind::NoEnd, " No newline at end of file");
            }
        }
    }

    fn push(&mut self, kind: DiffLineKind, text: &str) {
        self.lines.push(DiffLine { kind, text: text.to_owned() });
    }
}

/// Which lines of a text remain without those that both begin and end with.
fn differing_from<'t>(old: &'t str, new: &'t str) -> impl Fn(&'t str) -> Range<usize> {
    let count = |text: &str| text.split_inclusive('\n').count();
    let pairs = old.split_inclusive('\n').zip(new.split_inclusive('\n'));
    let first = pairs.take_while(|(old, new)| old == new).count();
    let ends = old.split_inclusive('\n').rev().zip(new.split_inclusive('\n').rev());
    let rest = count(old).min(count(new)) - first;
    let last = ends.take(rest).take_while(|(old, new)| old == new).count();
    move |text| first..count(text) - last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: Option<&str>, new: &str) -> String {
        let diff = FileDiff::new(old, new);
        diff.lines.iter().map(|line| format!("{}{}\n", line.kind.sign(), line.text)).collect()
    }

    #[test]
    fn a_change_is_a_unified_diff() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n";
        let expected = "@@ -2,8 +2,8 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n-9\n\\ No newline at end of file\n+9\n";
        assert_eq!(shown(Some(old), new), expected);
    }

    #[test]
    fn a_new_file_is_all_added() {
        assert_eq!(shown(None, "a\nb\n"), "@@ -0,0 +1,2 @@\n+a\n+b\n");
        assert_eq!(shown(Some("a\n"), ""), "@@ -1 +0,0 @@\n-a\n");
        assert_eq!(shown(Some("same\n"), "same\n"), "");
    }

    #[test]
    fn too_much_is_not_compared() {
        let lines = |word: &str| (0..9000).map(|line| format!("{word} {line}\n")).collect::<String>();
        let diff =
            FileDiff::new(Some(&format!("same\n{}end\n", lines("old"))), &format!("same\n{}end\n", lines("new")));
        assert_eq!((diff.added, diff.removed, diff.lines.len()), (9000, 9000, 18_001));
        assert_eq!(diff.lines[0].text, "@@ -2,9000 +2,9000 @@");
    }
}
