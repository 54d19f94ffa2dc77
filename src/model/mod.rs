//! The nouns: stored rows, requests and results. Nothing here knows about connections.

pub(crate) mod cursor;
pub(crate) mod event;
pub(crate) mod json;
pub(crate) mod json_error;
pub(crate) mod listing;
pub(crate) mod page;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod retention;
pub(crate) mod session;
pub(crate) mod time;
pub(crate) mod transfer;
