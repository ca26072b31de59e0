//! What a client says of its tools.
//!
//! A schema is only looked at as far as calls need it: whether it can be forced, `force.rs` finds out.
//! Next: `format.rs`.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// Tools of one request; as OpenAI.
const TOOLS_MAX: usize = 128;
/// Letters of a tool's name; as OpenAI.
const NAME_LETTERS_MAX: usize = 64;

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Its name; letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// A schema of its arguments, which are an object; without one it takes none.
    pub parameters: Option<Value>,
    /// Whether calls must follow the schema, and not only should.
    pub strict: bool,
}

/// What is wrong with a list of tools, in words for its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ToolError(pub String);

impl ToolSpec {
    /// Reads the field `tools` of a request in OpenAI's form.
    ///
    /// # Errors
    /// The path of what is wrong, and why.
    pub fn read(tools: &Value) -> Result<Vec<Self>, ToolError> {
        let Value::Array(tools) = tools else { return Err(wrong("tools must be an array")) };
        if tools.len() > TOOLS_MAX {
            let count = tools.len();
            return Err(wrong(&format!("tools has {count} tools; at most {TOOLS_MAX} are taken")));
        }
        let read = |(index, tool)| Self::one(&format!("tools[{index}]"), tool);
        let tools = tools.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        let mut names = HashSet::new();
        for (index, tool) in tools.iter().enumerate() {
            if !names.insert(tool.name.as_str()) {
                let name = &tool.name;
                return Err(wrong(&format!("tools[{index}].function.name {name:?} came before")));
            }
        }
        Ok(tools)
    }

    fn one(path: &str, tool: &Value) -> Result<Self, ToolError> {
        let tool = object(path, tool)?;
        match text(path, tool, "type")? {
            Some("function") | None => {}
            Some(other) => {
                return Err(wrong(&format!(
                    "{path}.type is {other:?}; only \"function\" is supported"
                )));
            }
        }
        known(path, tool, &["type", "function"])?;
        let missing = || wrong(&format!("{path}.function is missing"));
        let function = tool.get("function").ok_or_else(missing)?;
        let path = &format!("{path}.function");
        let function = object(path, function)?;
        known(path, function, &["name", "description", "parameters", "strict"])?;
        let name = text(path, function, "name")?;
        let name = name.ok_or_else(|| wrong(&format!("{path}.name is missing")))?;
        if !is_name(name) {
            return Err(wrong(&format!(
                "{path}.name must have 1 to {NAME_LETTERS_MAX} of a-z, A-Z, 0-9, _, . and -"
            )));
        }
        let parameters = function.get("parameters").filter(|given| !given.is_null());
        if let Some(schema) = parameters {
            is_for_objects(&format!("{path}.parameters"), schema)?;
        }
        let strict = match function.get("strict") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(strict)) => *strict,
            Some(_) => return Err(wrong(&format!("{path}.strict must be true or false"))),
        };
        let description = text(path, function, "description")?.map(str::to_owned);
        Ok(Self { name: name.to_owned(), description, parameters: parameters.cloned(), strict })
    }
}

/// True for a name that a tool may have.
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_LETTERS_MAX).contains(&name.len()) && name.chars().all(is_of_name)
}

pub(super) fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-".contains(c)
}

/// A schema of something else than an object describes no arguments.
fn is_for_objects(path: &str, schema: &Value) -> Result<(), ToolError> {
    let is_object = match object(path, schema)?.get("type") {
        None => true,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        Some(kind) => kind == "object",
    };
    is_object.then_some(()).ok_or_else(|| wrong(&format!("{path}.type must be \"object\"")))
}

fn object<'v>(path: &str, value: &'v Value) -> Result<&'v Map<String, Value>, ToolError> {
    value.as_object().ok_or_else(|| wrong(&format!("{path} must be an object")))
}

fn text<'v>(
    path: &str,
    object: &'v Map<String, Value>,
    key: &str,
) -> Result<Option<&'v str>, ToolError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(&format!("{path}.{key} must be a string"))),
    }
}

/// What is not known could mean something.
fn known(path: &str, object: &Map<String, Value>, keys: &[&str]) -> Result<(), ToolError> {
    let odd = object.iter().find(|(key, value)| !keys.contains(&key.as_str()) && !value.is_null());
    match odd {
        None => Ok(()),
        Some((key, _)) => Err(wrong(&format!("{path}.{key} is not supported"))),
    }
}

fn wrong(what: &str) -> ToolError {
    ToolError(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tools_are_read_as_openai_writes_them() {
        let parameters =
            json!({ "type": "object", "properties": { "city": { "type": "string" } } });
        let tools = json!([
            { "type": "function", "function": {
                "name": "get_weather", "description": "Tells the weather.",
                "parameters": parameters, "strict": true } },
            { "type": "function", "function": { "name": "a.b-c", "parameters": null } },
        ]);
        let expect = [
            ToolSpec {
                name: "get_weather".into(),
                description: Some("Tells the weather.".into()),
                parameters: Some(parameters),
                strict: true,
            },
            ToolSpec { name: "a.b-c".into(), description: None, parameters: None, strict: false },
        ];
        assert_eq!(ToolSpec::read(&tools).as_deref(), Ok(&expect[..]));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let check = |tools: Value, expect: &str| {
            assert_eq!(ToolSpec::read(&tools), Err(wrong(expect)), "{tools}");
        };
        let function = |function: Value| json!([{ "type": "function", "function": function }]);
        check(json!({}), "tools must be an array");
        check(json!([1]), "tools[0] must be an object");
        check(json!([{}]), "tools[0].function is missing");
        check(function(json!({})), "tools[0].function.name is missing");
        check(function(json!({ "name": 1 })), "tools[0].function.name must be a string");
        let name = "tools[0].function.name must have 1 to 64 of a-z, A-Z, 0-9, _, . and -";
        for odd in ["", "a b", "ü", &"x".repeat(65)] {
            check(function(json!({ "name": odd })), name);
        }
        check(
            function(json!({ "name": "f", "parameters": { "type": "string" } })),
            "tools[0].function.parameters.type must be \"object\"",
        );
        check(
            function(json!({ "name": "f", "parameters": true })),
            "tools[0].function.parameters must be an object",
        );
        check(
            function(json!({ "name": "f", "strict": "yes" })),
            "tools[0].function.strict must be true or false",
        );
        check(function(json!({ "name": "f", "x": 1 })), "tools[0].function.x is not supported");
        check(
            json!([{ "type": "web_search" }]),
            "tools[0].type is \"web_search\"; only \"function\" is supported",
        );
        let twice = json!({ "function": { "name": "f" } });
        check(json!([twice, twice]), "tools[1].function.name \"f\" came before");
        check(json!(vec![twice; 129]), "tools has 129 tools; at most 128 are taken");
    }
}
