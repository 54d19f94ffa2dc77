//! Pins the JSON of a transcript.

use super::{agent, chunk, client, prompt, transcript, update};

#[test]
fn a_transcript_is_this_json() {
    let transcript = transcript(&[
        update("session_info_update", r#""title":"Fix it""#),
        prompt("1", "Hello"),
        chunk("agent_message_chunk", "Hi"),
        update(
            "tool_call",
            r#""toolCallId":"t","title":"Edit","kind":"edit","rawInput":{"b":1.0,"a":"\ud83d"},"locations":[{"path":"/a","line":3}],
            "content":[{"type":"diff","path":"/a","newText":"y"}]"#,
        ),
        agent(
            r#"{"id":1,"method":"session/request_permission","params":{"toolCall":{"toolCallId":"t"},"options":[{"optionId":"yes","name":"Yes","kind":"allow_once"}]}}"#,
        ),
        client(r#"{"id":1,"result":{"outcome":{"outcome":"selected","optionId":"yes"}}}"#),
        agent(r#"{"id":2,"method":"fs/read_text_file","params":{"path":"/a"}}"#),
        agent("[]"),
        agent(r#"{"id":1,"result":{"stopReason":"end_turn","usage":{"totalTokens":5}}}"#),
    ]);
    let expected = [
        r#"{"title":"Fix it","turns":["#,
        r#"{"number":null,"firstIndex":1,"lastIndex":1,"firstTime":1000,"lastTime":1000,"prompt":null,"entries":["#,
        r#"{"firstIndex":1,"lastIndex":1,"firstTime":1000,"lastTime":1000,"events":1,"type":"sessionInfo","title":"Fix it","update":{"sessionUpdate":"session_info_update","title":"Fix it"}}"#,
        r#"],"outcome":null,"answerIndex":null,"cancelled":false},"#,
        r#"{"number":1,"firstIndex":2,"lastIndex":9,"firstTime":2000,"lastTime":9000,"prompt":"#,
        r#"{"firstIndex":2,"lastIndex":2,"firstTime":2000,"lastTime":2000,"events":1,"type":"userMessage","content":[{"type":"text","text":"Hello"}]}"#,
        r#","entries":["#,
        r#"{"firstIndex":3,"lastIndex":3,"firstTime":3000,"lastTime":3000,"events":1,"type":"agentMessage","content":[{"type":"text","text":"Hi"}]},"#,
        r#"{"firstIndex":4,"lastIndex":4,"firstTime":4000,"lastTime":4000,"events":1,"type":"toolCall","toolCallId":"t","begun":true,"title":"Edit","kind":"edit","status":"pending","locations":[{"path":"/a","line":3}],"content":[{"type":"diff","path":"/a","oldText":null,"newText":"y"}],"rawInput":{"b":1.0,"a":"\ud83d"}},"#,
        r#"{"firstIndex":5,"lastIndex":6,"firstTime":5000,"lastTime":6000,"events":2,"type":"permission","id":1,"toolCall":{"toolCallId":"t","begun":false,"title":null,"kind":null,"status":null,"locations":[],"content":[]},"options":[{"optionId":"yes","name":"Yes","kind":"allow_once"}],"outcome":{"state":"selected","optionId":"yes"}},"#,
        r#"{"firstIndex":7,"lastIndex":7,"firstTime":7000,"lastTime":7000,"events":1,"type":"file","sender":"agent","id":2,"method":"fs/read_text_file","params":{"path":"/a"},"answer":{"state":"pending"}},"#,
        r#"{"firstIndex":8,"lastIndex":8,"firstTime":8000,"lastTime":8000,"events":1,"type":"other","sender":"agent","payload":[]}"#,
        r#"],"outcome":{"state":"stopped","reason":"end_turn"},"answerIndex":9,"cancelled":false,"#,
        r#""usage":{"totalTokens":5,"inputTokens":null,"outputTokens":null,"thoughtTokens":null,"cachedReadTokens":null,"cachedWriteTokens":null}}"#,
        "]}",
    ];
    assert_eq!(serde_json::to_string(&transcript).unwrap(), expected.concat());
}
