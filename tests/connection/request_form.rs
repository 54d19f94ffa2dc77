//! Proves that requests go through JSON and query strings, and that what makes no sense there is a clear error.

use agent_session_store::{Cursor, ListEventsRequest, ListSessionsRequest, SessionPersistDriver};
use serde::Deserialize;

use crate::common::{event, in_memory, millis, session};

fn events() -> Vec<ListEventsRequest> {
    let request = ListEventsRequest::new("one & only");
    let cursor = request.cursor_after(&event("e", "one & only", 1));
    vec![
        request.clone(),
        request.clone().limit(7).max_bytes(1_000).descending(),
        request.clone().after(-3).before(i64::MAX),
        request.cursor(cursor),
    ]
}

fn sessions() -> Vec<ListSessionsRequest> {
    let request = ListSessionsRequest::new();
    let cursor = request.cursor_after(&session("s"));
    vec![
        request.clone(),
        request.clone().agent("claude").sandbox_id("box").live().descending().limit(u32::MAX),
        request.clone().destroyed().created_from(millis(-5)).created_before(millis(1_700_000_000_000)),
        request.cursor(cursor),
    ]
}

#[test]
fn a_request_survives_json_and_a_query_string() {
    for request in events() {
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<ListEventsRequest>(&json).unwrap(), request, "{json}");
        let query = serde_urlencoded::to_string(&request).unwrap();
        assert_eq!(serde_urlencoded::from_str::<ListEventsRequest>(&query).unwrap(), request, "{query}");
    }
    for request in sessions() {
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<ListSessionsRequest>(&json).unwrap(), request, "{json}");
        let query = serde_urlencoded::to_string(&request).unwrap();
        assert_eq!(serde_urlencoded::from_str::<ListSessionsRequest>(&query).unwrap(), request, "{query}");
    }
}

#[test]
fn its_fields_are_those_that_are_documented() {
    assert_eq!(
        serde_json::to_string(&events()[1].clone().after(1).before(9)).unwrap(),
        r#"{"sessionId":"one & only","after":1,"before":9,"descending":true,"limit":7,"maxBytes":1000}"#
    );
    assert_eq!(
        serde_json::to_string(&sessions()[1].clone().created_from(millis(1)).created_before(millis(2))).unwrap(),
        r#"{"agent":"claude","sandboxId":"box","live":true,"createdFrom":1,"createdBefore":2,"descending":true,"limit":4294967295}"#
    );
    assert_eq!(serde_json::to_string(&ListSessionsRequest::new()).unwrap(), "{}");
}

/// A handler's own parameters beside a request's: serde passes such numbers as text.
#[test]
fn it_can_be_flattened_into_a_handlers_own_query() {
    #[derive(Deserialize)]
    struct Query {
        theme: String,
        #[serde(flatten)]
        request: ListEventsRequest,
    }
    let query: Query = serde_urlencoded::from_str("theme=dark&sessionId=s&limit=5&after=17&descending=true").unwrap();
    assert_eq!((&*query.theme, query.request), ("dark", ListEventsRequest::new("s").limit(5).after(17).descending()));
}

#[test]
fn what_is_no_limit_is_an_error_that_says_so() {
    let error = |query: &str| serde_urlencoded::from_str::<ListEventsRequest>(query).unwrap_err().to_string();
    let sessions = |query: &str| serde_urlencoded::from_str::<ListSessionsRequest>(query).unwrap_err().to_string();
    for limit in ["ten", "", "1.5", "4294967296", "NaN"] {
        let said = error(&format!("sessionId=s&limit={limit}"));
        assert!(said.contains("expected a limit, which is a number of rows up to 4294967295"), "{said}");
    }
    for (said, problem) in [
        (error("sessionId=s&after=x"), "expected a whole number"),
        (error("sessionId=s&maxBytes=-1"), "expected a number of bytes"),
        (error("sessionId=s&descending=perhaps"), "expected true or false"),
        (error("sessionId=s&limt=5"), "unknown field `limt`"),
        (error("limit=5"), "missing field `sessionId`"),
        (error("sessionId=s&cursor=100"), "it was not made by this crate"),
        (sessions("createdFrom=yesterday"), "expected a whole number"),
        (sessions("live=1"), "expected true or false"),
        (serde_json::from_str::<ListSessionsRequest>(r#"{"limit":"x"}"#).unwrap_err().to_string(), "expected a limit"),
        (serde_json::from_str::<ListSessionsRequest>(r#"{"limit":1.5}"#).unwrap_err().to_string(), "expected a limit"),
    ] {
        assert!(said.contains(problem), "{said}");
    }
}

/// As in the reference driver.
#[test]
fn a_limit_below_1_and_a_missing_value_are_the_default() {
    for query in ["limit=0", "limit=-5", ""] {
        assert_eq!(serde_urlencoded::from_str::<ListSessionsRequest>(query).unwrap(), ListSessionsRequest::new());
    }
    let null = r#"{"limit":null,"agent":null,"live":null,"cursor":null}"#;
    assert_eq!(serde_json::from_str::<ListSessionsRequest>(null).unwrap(), ListSessionsRequest::new());
}

#[test]
fn setters_take_what_a_handler_may_not_have() {
    let none = ListSessionsRequest::new()
        .limit(None)
        .cursor(None::<Cursor>)
        .agent(None::<String>)
        .sandbox_id(None::<&str>)
        .created_from(None)
        .created_before(None);
    assert_eq!(none, ListSessionsRequest::new());
    let some = ListSessionsRequest::new().limit(Some(3)).agent(Some("claude")).sandbox_id(String::from("box"));
    assert_eq!(some, ListSessionsRequest::new().limit(3).agent("claude").sandbox_id("box"));
    let none = ListEventsRequest::new("s").limit(None).max_bytes(None).after(None).before(None).cursor(None);
    assert_eq!(none, ListEventsRequest::new("s"));
    // And a request from outside is as good as one made here.
    let mut conn = in_memory();
    conn.update_session(&session("s")).unwrap();
    let request: ListSessionsRequest = serde_urlencoded::from_str("agent=claude&limit=1").unwrap();
    assert_eq!(conn.list_sessions(&request).unwrap().items, [session("s")]);
}
