//! The schemas of `/openapi.json`: derived from the structs that are read and written, with the words of
//! `names.rs` for each field.
//!
//! Next: `operations.rs`.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::names::{self, Scope};
use crate::{lmi, ollama, openai};

/// Schemas by name.
#[derive(Default)]
pub(crate) struct Schemas(pub(crate) Map<String, Value>);

impl Schemas {
    /// A reference to a type, which is described together with what it is made of.
    pub(crate) fn of<T: ToSchema>(&mut self, name: &str) -> Value {
        let mut parts: Vec<(String, RefOr<Schema>)> = Vec::new();
        T::schemas(&mut parts);
        for (part, schema) in parts {
            self.0.entry(part).or_insert_with(|| value(&schema));
        }
        let own = value(&T::schema());
        let known = self.0.entry(name.to_owned()).or_insert_with(|| own.clone());
        debug_assert_eq!(*known, own, "{name} is two schemas");
        reference(name)
    }

    /// A reference to a body.
    pub(crate) fn body(
        &mut self,
        name: &str,
        scope: Scope,
        parts: &[RefOr<Schema>],
        needed: &[&str],
    ) -> Value {
        let (mut properties, mut extra) = (Map::new(), Map::new());
        for part in parts {
            if let Some(Value::Object(members)) = value(part).get_mut("properties") {
                properties.append(members);
            }
        }
        if scope == Scope::Lmi {
            let [_, parameters] = lmi::parts();
            extra.insert("parameters".into(), object(Scope::LmiParameters, &parameters));
        }
        if matches!(scope, Scope::Chat | Scope::Completion) {
            let options = openai::stream_options();
            extra.insert("stream_options".into(), object(Scope::StreamOptions, &options));
        }
        if matches!(scope, Scope::OllamaChat | Scope::OllamaGenerate) {
            let options = ollama::parts(Scope::OllamaOptions);
            extra.insert("options".into(), object(Scope::OllamaOptions, &options));
        }
        properties.append(&mut extra);
        describe(scope, &mut properties);
        for name in needed {
            // What must be there is not null.
            let Some(field) = properties.get_mut(*name) else { continue };
            if let Some(kinds) = field.get("type").and_then(Value::as_array).cloned() {
                field["type"] = kinds.first().cloned().unwrap_or_default();
            }
        }
        let body = json!({ "type": "object", "required": needed, "properties": properties });
        self.0.insert(name.to_owned(), body);
        reference(name)
    }
}

/// A nested object of fields, or null.
fn object(scope: Scope, parts: &[RefOr<Schema>]) -> Value {
    let mut properties = Map::new();
    for part in parts {
        if let Some(Value::Object(members)) = value(part).get_mut("properties") {
            properties.append(members);
        }
    }
    describe(scope, &mut properties);
    json!({ "type": ["object", "null"], "properties": properties })
}

/// What fields are for; those that other fields replace here are left out.
fn describe(scope: Scope, properties: &mut Map<String, Value>) {
    for (name, schema) in properties.iter_mut() {
        debug_assert_eq!(names::verdict(name, scope), names::Verdict::Done, "{name}");
        schema["description"] = names::doc(name).into();
    }
}

fn value(schema: &RefOr<Schema>) -> Value {
    let mut value = serde_json::to_value(schema).expect("names of members are texts");
    loosen(&mut value);
    value
}

/// Of what serde tells apart by looking, several may fit: an empty list is one of ids and of pieces.
fn loosen(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(choices) = members.remove("oneOf") {
                members.insert("anyOf".into(), choices);
            }
            members.values_mut().for_each(loosen);
        }
        Value::Array(items) => items.iter_mut().for_each(loosen),
        _ => {}
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
