//! The methods of every revision. A method that is not here may be anything, so a record must not repeat it.

use crate::stream::OpClass;

/// What names the thing that a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Nothing does.
    Nothing,
    /// `params.name`, a tool.
    Tool,
    /// `params.name`, a prompt.
    Prompt,
    /// `params.uri`.
    Resource,
    /// `params.taskId`.
    Task,
    /// `params.ref`.
    Reference,
}

/// A method of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// As in `method`.
    pub name: &'static str,
    /// What it does.
    pub class: OpClass,
    /// What it is about.
    pub named: Named,
}

const fn m(name: &'static str, class: OpClass, named: Named) -> Method {
    Method { name, class, named }
}

/// All of them: requests of clients, requests of servers, notifications.
pub const METHODS: &[Method] = &[
    m("initialize", OpClass::Connect, Named::Nothing),
    m("server/discover", OpClass::Connect, Named::Nothing),
    m("ping", OpClass::Meta, Named::Nothing),
    m("tools/list", OpClass::Read, Named::Nothing),
    m("tools/call", OpClass::Execute, Named::Tool),
    m("resources/list", OpClass::Read, Named::Nothing),
    m("resources/templates/list", OpClass::Read, Named::Nothing),
    m("resources/read", OpClass::Read, Named::Resource),
    m("resources/subscribe", OpClass::Read, Named::Resource),
    m("resources/unsubscribe", OpClass::Meta, Named::Resource),
    m("subscriptions/listen", OpClass::Read, Named::Nothing),
    m("prompts/list", OpClass::Read, Named::Nothing),
    m("prompts/get", OpClass::Read, Named::Prompt),
    m("completion/complete", OpClass::Read, Named::Reference),
    m("logging/setLevel", OpClass::Meta, Named::Nothing),
    m("tasks/list", OpClass::Read, Named::Nothing),
    m("tasks/get", OpClass::Read, Named::Task),
    m("tasks/result", OpClass::Read, Named::Task),
    m("tasks/update", OpClass::Modify, Named::Task),
    m("tasks/cancel", OpClass::Modify, Named::Task),
    m("sampling/createMessage", OpClass::Execute, Named::Nothing),
    m("elicitation/create", OpClass::Execute, Named::Nothing),
    m("roots/list", OpClass::Read, Named::Nothing),
    m("notifications/initialized", OpClass::Meta, Named::Nothing),
    m("notifications/cancelled", OpClass::Meta, Named::Nothing),
    m("notifications/progress", OpClass::Meta, Named::Nothing),
    m("notifications/message", OpClass::Meta, Named::Nothing),
    m("notifications/resources/updated", OpClass::Meta, Named::Resource),
    m("notifications/resources/list_changed", OpClass::Meta, Named::Nothing),
    m("notifications/tools/list_changed", OpClass::Meta, Named::Nothing),
    m("notifications/prompts/list_changed", OpClass::Meta, Named::Nothing),
    m("notifications/roots/list_changed", OpClass::Meta, Named::Nothing),
    m("notifications/elicitation/complete", OpClass::Meta, Named::Nothing),
    m("notifications/subscriptions/acknowledged", OpClass::Meta, Named::Nothing),
    m("notifications/tasks/status", OpClass::Meta, Named::Task),
];

/// The method of that name.
pub fn method(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|m| m.name == name)
}
