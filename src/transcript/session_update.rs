//! What the agent says with `session/update`, and what that changes in the transcript.

use super::assembly::{EntryPlace, OpenMessage, Transcript};
use super::content_block::ContentBlock;
use super::entry::{ChatMessage, EntryKind};
use super::json_node::JsonNode;
use super::lossy_text::{LossyText, append};
use super::reported::{UsageReport, commands, plan_entries};
use super::tool_call::ToolCall;
use crate::model::event::SessionEvent;

/// Makes a message an entry, and so says whose it is.
type Speaker = fn(ChatMessage) -> EntryKind;

impl Transcript {
    /// False, and nothing is done, if there is no update in the parameters.
    pub(super) fn push_update(&mut self, event: &SessionEvent, params: JsonNode<'_>) -> bool {
        let Some(update) = params.member("update").filter(|update| update.is_object()) else { return false };
        let name = update.member("sessionUpdate").and_then(JsonNode::string);
        if self.push_known(event, name.as_deref().unwrap_or_default(), update).is_none() {
            self.add(event, EntryKind::Update { name, update: update.json() });
        }
        true
    }

    /// `None`, and nothing is done, if the update is of no known kind, or not of its kind's form.
    fn push_known(&mut self, event: &SessionEvent, name: &str, update: JsonNode<'_>) -> Option<()> {
        match name {
            "user_message_chunk" => self.push_chunk(event, update, EntryKind::UserMessage)?,
            "agent_message_chunk" => self.push_chunk(event, update, EntryKind::AgentMessage)?,
            "agent_thought_chunk" => self.push_chunk(event, update, EntryKind::AgentThought)?,
            "tool_call" => self.push_tool_call(event, ToolCall::read(update)?, update, true),
            "tool_call_update" => self.push_tool_call(event, ToolCall::read(update)?, update, false),
            "plan" => {
                let kind = EntryKind::Plan { plan_id: None, entries: plan_entries(update)?, markdown: None };
                self.push_plan(event, None, kind);
            }
            "plan_update" => {
                let plan = update.member("plan")?;
                let [kind, id, content] = plan.members(["type", "planId", "content"]);
                let plan_id = Some(id?.string()?);
                let (entries, markdown) = match kind?.string()?.as_str() {
                    "items" => (plan_entries(plan)?, None),
                    "markdown" => (Vec::new(), Some(content?.string()?)),
                    _ => return None,
                };
                self.push_plan(event, plan_id.clone(), EntryKind::Plan { plan_id, entries, markdown });
            }
            "usage_update" => {
                let kind = EntryKind::Usage(UsageReport::read(update)?);
                self.go_on(event);
                let place = self.replace_or_add(event, self.current.usage, kind);
                self.current.usage = Some(place);
            }
            "current_mode_update" => {
                let mode_id = update.member("currentModeId")?.string()?;
                self.add(event, EntryKind::ModeChange { mode_id });
            }
            "config_option_update" => {
                let options = update.member("configOptions")?.json();
                self.add(event, EntryKind::ConfigChange { options });
            }
            "available_commands_update" => {
                let commands = commands(update)?;
                self.add(event, EntryKind::AvailableCommands { commands });
            }
            "session_info_update" => {
                let title = update.member("title");
                // Null takes the title away; an update without a title leaves it.
                if title.is_some_and(|title| title.is_string() || title.is_null()) {
                    self.title = title.and_then(JsonNode::string);
                }
                let title = title.and_then(JsonNode::string);
                self.add(event, EntryKind::SessionInfo { title, update: update.json() });
            }
            _ => return None,
        }
        Some(())
    }

    fn push_plan(&mut self, event: &SessionEvent, id: Option<String>, kind: EntryKind) {
        self.go_on(event);
        let place = self.replace_or_add(event, self.current.plans.get(&id).copied(), kind);
        self.current.plans.insert(id, place);
    }

    /// What the current turn has once: its entry stays where it is, and says what was said last. The turn is there.
    fn replace_or_add(&mut self, event: &SessionEvent, entry: Option<usize>, kind: EntryKind) -> usize {
        let Some(entry) = entry else { return self.add(event, kind).entry };
        let turn = self.taken + self.turns.len() - 1;
        if let Some(former) = self.reach(EntryPlace { turn, entry }, event) {
            *former = kind;
        }
        entry
    }

    fn push_tool_call(&mut self, event: &SessionEvent, call: ToolCall, node: JsonNode<'_>, begins: bool) {
        // An id that begins again in another turn is another call.
        let current = if begins { self.go_on(event) } else { 0 };
        let place = self.tool_calls.get(&call.tool_call_id).copied().filter(|place| place.turn >= current);
        if let Some(place) = place
            && let Some(EntryKind::ToolCall(former)) = self.reach(place, event)
        {
            former.merge(call, node);
            if begins {
                former.begin();
            }
            return;
        }
        let (id, mut call) = (call.tool_call_id.clone(), call);
        if begins {
            call.begin();
        }
        let place = self.add(event, EntryKind::ToolCall(call));
        self.tool_calls.insert(id, place);
    }

    fn push_chunk(&mut self, event: &SessionEvent, update: JsonNode<'_>, speaker: Speaker) -> Option<()> {
        let [content, message_id] = update.members(["content", "messageId"]);
        let (content, message_id) = (content?, message_id.and_then(JsonNode::string));
        let block = ContentBlock::read(content);
        let text = match &block {
            ContentBlock::Text { .. } => content.member("text").and_then(JsonNode::lossy_text),
            _ => None,
        };
        let half = text.as_ref().and_then(|text| text.ends_with);
        self.go_on(event);
        if self.continue_message(event, &block, text, message_id.as_deref(), speaker).is_none() {
            let entry = self.add(event, speaker(ChatMessage { message_id, content: vec![block] })).entry;
            self.current.message = Some(OpenMessage { entry, half });
        }
        Some(())
    }

    /// Adds a chunk to the message that it continues: the current turn's last entry, by the same speaker, under the same id
    /// or without one.
    fn continue_message(
        &mut self,
        event: &SessionEvent,
        block: &ContentBlock,
        text: Option<LossyText>,
        message_id: Option<&str>,
        speaker: Speaker,
    ) -> Option<()> {
        let turn = self.turns.last_mut()?;
        let open = self.current.message.as_mut().filter(|open| open.entry + 1 == turn.entries.len())?;
        let entry = turn.entries.last_mut()?;
        let sample = speaker(ChatMessage::default());
        if std::mem::discriminant(&entry.kind) != std::mem::discriminant(&sample) {
            return None;
        }
        let (EntryKind::UserMessage(message) | EntryKind::AgentMessage(message) | EntryKind::AgentThought(message)) =
            &mut entry.kind
        else {
            return None;
        };
        if message_id.is_some() && message.message_id.is_some() && message.message_id.as_deref() != message_id {
            return None;
        }
        if message.message_id.is_none() {
            message.message_id = message_id.map(str::to_owned);
        }
        match (message.content.last_mut(), text) {
            (Some(ContentBlock::Text { text: former }), Some(text)) => append(former, &mut open.half, &text),
            (_, text) => {
                open.half = text.and_then(|text| text.ends_with);
                message.content.push(block.clone());
            }
        }
        entry.reach(event);
        turn.reach(event);
        Some(())
    }

    /// A message as the reference server stores those of OpenCode: whole, in parts. False, and nothing is done, if it is
    /// none.
    pub(super) fn push_opencode_message(&mut self, event: &SessionEvent, params: JsonNode<'_>) -> bool {
        let Some((info, parts)) = params.member("message").and_then(|message| {
            let [info, parts] = message.members(["info", "parts"]);
            Some((info?, parts?.elements()?))
        }) else {
            return false;
        };
        let [role, message_id] = info.members(["role", "id"]);
        let speaker = match role.and_then(JsonNode::string).as_deref() {
            Some("user") => EntryKind::UserMessage,
            Some("assistant") => EntryKind::AgentMessage,
            _ => return false,
        };
        let (message_id, content) = (message_id.and_then(JsonNode::string), parts.map(ContentBlock::read).collect());
        self.add(event, speaker(ChatMessage { message_id, content }));
        true
    }
}
