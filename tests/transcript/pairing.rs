//! Proves that a response finds its request, and no other.

use agent_session_store::transcript::{Answer, EntryKind, PermissionOutcome, TurnOutcome};

use super::{Said, agent, client, entries, event, only, prompt, stop, transcript};

fn answers(said: &[Said]) -> Vec<Option<String>> {
    let transcript = transcript(said);
    let answer = |kind: &EntryKind| match kind {
        EntryKind::Request(request) | EntryKind::File(request) | EntryKind::Terminal(request) => {
            match &request.answer {
                Answer::Result { result } => Some(result.get().to_owned()),
                Answer::Error { message, .. } => message.clone(),
                _ => None,
            }
        }
        other => panic!("{other:?}"),
    };
    entries(&transcript).iter().map(|entry| answer(&entry.kind)).collect()
}

fn request(id: &str, method: &str) -> String {
    format!(r#"{{"id":{id},"method":"{method}"}}"#)
}

fn response(id: &str, result: &str) -> String {
    format!(r#"{{"id":{id},"result":{result}}}"#)
}

#[test]
fn a_number_and_a_string_are_two_ids() {
    let said = [
        client(request("1", "a")),
        client(request(r#""1""#, "b")),
        agent(response(r#""1""#, r#""to the string""#)),
        agent(response("1", r#""to the number""#)),
    ];
    assert_eq!(answers(&said), [Some(r#""to the number""#.to_owned()), Some(r#""to the string""#.to_owned())]);
}

#[test]
fn two_spellings_of_one_id_are_one() {
    let said = [
        client(request("1.0", "a")),
        client(request(r#""\u0061""#, "b")),
        agent(response("1", "1")),
        agent(response(r#""a""#, "2")),
    ];
    assert_eq!(answers(&said), [Some("1".to_owned()), Some("2".to_owned())]);
}

#[test]
fn one_id_in_both_directions_is_two_requests() {
    let said = [
        client(request("1", "session/set_mode")),
        agent(request("1", "fs/read_text_file")),
        client(response("1", r#""of the client""#)),
        agent(response("1", r#""of the agent""#)),
    ];
    assert_eq!(answers(&said), [Some(r#""of the agent""#.to_owned()), Some(r#""of the client""#.to_owned())]);
}

#[test]
fn an_id_is_used_again_once_it_was_answered() {
    let said = [
        client(request("1", "a")),
        agent(response("1", "1")),
        client(request("1", "b")),
        agent(r#"{"id":1,"error":{"code":-32603,"message":"no"}}"#),
    ];
    assert_eq!(answers(&said), [Some("1".to_owned()), Some("no".to_owned())]);
}

#[test]
fn files_and_terminals_are_told_apart() {
    assert!(matches!(only(&[agent(request("1", "fs/write_text_file"))]), EntryKind::File(_)));
    assert!(matches!(only(&[agent(request("1", "terminal/create"))]), EntryKind::Terminal(_)));
    assert!(matches!(only(&[agent(request("1", "_mine/create"))]), EntryKind::Request(_)));
    assert!(matches!(only(&[client(request("1", "fs/write_text_file"))]), EntryKind::Request(_)));
}

#[test]
fn a_response_to_an_unseen_request_is_an_entry() {
    let EntryKind::Response(response) = only(&[agent(response("7", "{}"))]) else { panic!("no response") };
    assert_eq!((response.id.get(), response.method), ("7", None));
}

#[test]
fn a_second_response_is_an_entry() {
    let transcript = transcript(&[prompt("1", "x"), stop("1"), stop("1")]);
    assert!(matches!(entries(&transcript)[..], [entry] if matches!(entry.kind, EntryKind::Response(_))));
}

#[test]
fn a_response_to_a_request_of_a_taken_turn_names_the_method() {
    let mut transcript = transcript(&[prompt("1", "x"), agent(request("5", "fs/read_text_file")), stop("1")]);
    assert_eq!(transcript.take_finished().len(), 1);
    transcript.push(&event(4, &client(response("5", "{}"))));
    let [entry] = entries(&transcript)[..] else { panic!("one entry") };
    assert!(matches!(&entry.kind, EntryKind::Response(r) if r.method.as_deref() == Some("fs/read_text_file")));
}

#[test]
fn a_response_to_an_earlier_prompt_ends_its_own_turn() {
    let transcript = transcript(&[prompt("1", "x"), prompt("2", "y"), stop("1")]);
    let [first, second] = transcript.turns() else { panic!("two turns") };
    assert_eq!(first.outcome, Some(TurnOutcome::Stopped { reason: "end_turn".to_owned() }));
    assert!(second.is_running());
}

const PERMISSION: &str = r#"{"id":"p","method":"session/request_permission","params":{"sessionId":"s",
    "toolCall":{"toolCallId":"t","title":"Delete"},
    "options":[{"optionId":"yes","name":"Allow","kind":"allow_once"},{"optionId":"no","name":"Reject","kind":"reject_once"}]}}"#;

fn outcome(answer: Option<&str>) -> PermissionOutcome {
    let mut said = vec![agent(PERMISSION)];
    said.extend(answer.map(client));
    let EntryKind::Permission(permission) = only(&said) else { panic!("no permission") };
    assert_eq!(permission.tool_call.title.as_deref(), Some("Delete"));
    assert_eq!(permission.options.iter().map(|option| option.option_id.as_str()).collect::<Vec<_>>(), ["yes", "no"]);
    permission.outcome
}

#[test]
fn a_permission_has_its_outcome() {
    assert_eq!(outcome(None), PermissionOutcome::Pending);
    let selected = r#"{"id":"p","result":{"outcome":{"outcome":"selected","optionId":"no"}}}"#;
    assert_eq!(outcome(Some(selected)), PermissionOutcome::Selected { option_id: "no".to_owned() });
    let cancelled = r#"{"id":"p","result":{"outcome":{"outcome":"cancelled"}}}"#;
    assert_eq!(outcome(Some(cancelled)), PermissionOutcome::Cancelled);
    let failed = outcome(Some(r#"{"id":"p","error":{"code":-1,"message":"gone"}}"#));
    assert!(matches!(failed, PermissionOutcome::Other { answer: Answer::Error { code: Some(-1), .. } }), "{failed:?}");
    let strange = outcome(Some(r#"{"id":"p","result":{"outcome":"maybe"}}"#));
    assert!(matches!(strange, PermissionOutcome::Other { answer: Answer::Result { .. } }), "{strange:?}");
}

#[test]
fn what_is_no_permission_request_is_a_request() {
    let kind = only(&[agent(r#"{"id":1,"method":"session/request_permission","params":{"options":"?"}}"#)]);
    assert!(matches!(kind, EntryKind::Request(_)), "{kind:?}");
}
