//! Following: what is stored, and then what is committed, without end.

mod change_token;
mod commit_trail;
mod follow_state;
mod follower;
mod session_trail;
mod trail;

#[cfg(feature = "async")]
mod async_change_token;
#[cfg(feature = "async")]
mod async_follow;
#[cfg(feature = "async")]
mod async_follower;
mod follow_iterators;

#[cfg(feature = "async")]
pub use self::async_follow::{AsyncFollow, AsyncFollowAll};
pub use self::change_token::ChangeToken;
pub use self::follow_iterators::{Follow, FollowAll};
