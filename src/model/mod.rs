//! The nouns: stored rows, requests and results. Nothing here knows about connections.

pub(crate) mod append_request;
pub(crate) mod commit_order;
pub(crate) mod cursor;
pub(crate) mod event;
pub(crate) mod json;
pub(crate) mod json_error;
pub(crate) mod known;
pub(crate) mod lines_file;
pub(crate) mod listing;
pub(crate) mod optional_text;
pub(crate) mod page;
pub(crate) mod report;
pub(crate) mod request;
mod request_form;
pub(crate) mod retention;
pub(crate) mod session;
pub(crate) mod time;
pub(crate) mod transfer;
