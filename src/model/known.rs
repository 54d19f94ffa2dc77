//! What a follower has read of its session, so that whoever finds that something was committed can tell whether it concerns
//! that follower.

/// The rows of a session, in order, that need not be looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// None: any event is new.
    Nothing,
    /// Those up to this index and id; without an id, all with this index.
    UpTo(i64, Option<String>),
    /// It cannot be told here.
    Unsaid,
}

/// A session in which somebody waits for what comes after this.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub(crate) session_id: String,
    /// Never [`Known::Unsaid`].
    pub(crate) known: Known,
}

impl Known {
    /// What both know; `None` if that cannot be told, or cannot be asked of every database.
    pub(crate) fn common<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<&'a Self> {
        let mut least: Option<&Self> = None;
        for known in all {
            match known {
                Self::Unsaid => return None,
                Self::UpTo(_, Some(id)) if id.contains('\0') => return None,
                _ => {}
            }
            if least.is_none_or(|least| known.order() < least.order()) {
                least = Some(known);
            }
        }
        least
    }

    fn order(&self) -> (i64, bool, &str) {
        match self {
            Self::Nothing | Self::Unsaid => (i64::MIN, false, ""),
            Self::UpTo(index, id) => (*index, id.is_none(), id.as_deref().unwrap_or_default()),
        }
    }

    /// The index, if there is one.
    pub(crate) fn index(&self) -> Option<i64> {
        match self {
            Self::UpTo(index, _) => Some(*index),
            Self::Nothing | Self::Unsaid => None,
        }
    }

    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Self::UpTo(_, id) => id.as_deref(),
            Self::Nothing | Self::Unsaid => None,
        }
    }
}
