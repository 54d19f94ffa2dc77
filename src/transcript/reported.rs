//! What agents report beside their messages: plans, tokens, costs and commands.

use serde::{Deserialize, Serialize};

use super::json_node::{JsonNode, optional};
use crate::model::json::Json;

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PlanEntry {
    /// What is to be done.
    pub content: String,
    /// `high`, `medium`, `low`, or another word.
    pub priority: Option<String>,
    /// `pending`, `in_progress`, `completed`, or another word.
    pub status: Option<String>,
}

/// How full the context is, and what the session has cost so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UsageReport {
    /// Tokens in the context.
    pub used: u64,
    /// Tokens that the context can hold.
    pub size: u64,
    /// What the session has cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<UsageCost>,
}

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UsageCost {
    /// How much.
    pub amount: f64,
    /// Of which currency, such as `USD`.
    pub currency: String,
}

/// The tokens that the response to a prompt reports (`usage` in the result, or in its `_meta`). What is not reported, or
/// is no number of tokens, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TokenUsage {
    /// All of them.
    pub total_tokens: Option<u64>,
    /// Those that the model read.
    pub input_tokens: Option<u64>,
    /// Those that the model wrote.
    pub output_tokens: Option<u64>,
    /// Those that the model wrote for itself.
    pub thought_tokens: Option<u64>,
    /// Those read from a cache.
    pub cached_read_tokens: Option<u64>,
    /// Those written to a cache.
    pub cached_write_tokens: Option<u64>,
}

/// A command that the agent offers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AvailableCommand {
    /// Its name, without a slash.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// What may follow the name, as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Json>,
}

/// The steps of a plan, if all of them can be read.
pub(super) fn plan_entries(plan: JsonNode<'_>) -> Option<Vec<PlanEntry>> {
    let entry = |node: JsonNode<'_>| {
        let [content, priority, status] = node.members(["content", "priority", "status"]);
        let (priority, status) = (optional(priority, JsonNode::string)?, optional(status, JsonNode::string)?);
        Some(PlanEntry { content: content?.string()?, priority, status })
    };
    plan.member("entries")?.elements()?.map(entry).collect()
}

pub(super) fn commands(update: JsonNode<'_>) -> Option<Vec<AvailableCommand>> {
    let command = |node: JsonNode<'_>| {
        let [name, description, input] = node.members(["name", "description", "input"]);
        let description = optional(description, JsonNode::string)?;
        Some(AvailableCommand { name: name?.string()?, description, input: optional(input, |node| Some(node.json()))? })
    };
    update.member("availableCommands")?.elements()?.map(command).collect()
}

impl UsageReport {
    pub(super) fn read(update: JsonNode<'_>) -> Option<Self> {
        let [used, size, cost] = update.members(["used", "size", "cost"]);
        let cost = optional(cost, |node| {
            let [amount, currency] = node.members(["amount", "currency"]);
            Some(UsageCost { amount: amount?.float()?, currency: currency?.string()? })
        })?;
        Some(Self { used: used?.unsigned()?, size: size?.unsigned()?, cost })
    }
}

impl TokenUsage {
    /// What the result of a prompt reports, if it does.
    pub(super) fn read(result: JsonNode<'_>) -> Option<Self> {
        let [usage, meta] = result.members(["usage", "_meta"]);
        let reported = |node: Option<JsonNode<'_>>| {
            let numbers = node?.members([
                "totalTokens",
                "inputTokens",
                "outputTokens",
                "thoughtTokens",
                "cachedReadTokens",
                "cachedWriteTokens",
            ]);
            let [total_tokens, input_tokens, output_tokens, thought_tokens, cached_read_tokens, cached_write_tokens] =
                numbers.map(|number| number.and_then(JsonNode::unsigned));
            let read = Self {
                total_tokens,
                input_tokens,
                output_tokens,
                thought_tokens,
                cached_read_tokens,
                cached_write_tokens,
            };
            (read != Self::default()).then_some(read)
        };
        reported(usage).or_else(|| reported(meta?.member("usage")))
    }
}
