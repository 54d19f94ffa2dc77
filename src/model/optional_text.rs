//! Arguments that are text, or perhaps not there.

/// A text, or an `Option` of one: `"claude"`, a `String`, `Some("claude")`, `None::<&str>`.
///
/// ```
/// use agent_session_store::ListSessionsRequest;
///
/// let wanted: Option<String> = None;
/// assert_eq!(ListSessionsRequest::new().agent(wanted), ListSessionsRequest::new());
/// ```
pub trait OptionalText {
    #[doc(hidden)]
    fn into_text(self) -> Option<String>;
}

macro_rules! is_text {
    ($($type:ty)*) => {$(
        impl OptionalText for $type {
            fn into_text(self) -> Option<String> {
                Some(self.into())
            }
        }

        impl OptionalText for Option<$type> {
            fn into_text(self) -> Option<String> {
                self.map(Into::into)
            }
        }
    )*};
}

is_text!(&str String &String std::borrow::Cow<'_, str>);
