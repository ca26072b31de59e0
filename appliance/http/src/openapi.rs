//! `/openapi.json`: every route of the table, with the structs that are read and written.
//!
//! Made once. Next: `router.rs`.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::call;
use crate::described::Schemas;
use crate::operations::{guard, id, operation};
use crate::routes;

const ABOUT: &str = "One API for models on any hardware. Unknown body fields are ignored and named \
    in the header x-gimbal-ignored. null is as good as absent. A wrong method is 405, an unknown \
    route 404, both with an error body.";

static OPEN: LazyLock<Bytes> = LazyLock::new(|| call::json_bytes(&document(false)));
static KEYED: LazyLock<Bytes> = LazyLock::new(|| call::json_bytes(&document(true)));

/// The document of a server with keys, or without.
pub(crate) fn bytes(has_keys: bool) -> Bytes {
    if has_keys { KEYED.clone() } else { OPEN.clone() }
}

/// The document.
pub(crate) fn document(has_keys: bool) -> Value {
    let mut schemas = Schemas::default();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::TABLE {
        let mut item = Map::new();
        for method in route.methods.names() {
            let mut told = operation(&mut schemas, route, method);
            if *method == "post" && route.methods != routes::Methods::Post {
                told["operationId"] = format!("{}_post", id(route)).into();
            }
            if *method == "delete" {
                told["operationId"] = format!("{}_delete", id(route)).into();
            }
            if let (Some(scope), true) = (route.scope, has_keys) {
                guard(&mut schemas, &mut told, route, scope);
            }
            item.insert((*method).to_owned(), told);
        }
        paths.insert(route.path.replace("{*", "{"), Value::Object(item));
    }
    let mut components = json!({ "schemas": schemas.0 });
    if has_keys {
        components["securitySchemes"] = json!({ "key": { "type": "http", "scheme": "bearer" } });
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gimbal",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": ABOUT,
        },
        "paths": paths,
        "components": components,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{self, Scope};

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                let reference = map.get("$ref").and_then(Value::as_str);
                found.extend(reference.map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        for has_keys in [false, true] {
            let document = document(has_keys);
            let mut found = Vec::new();
            references(&document, &mut found);
            for reference in &found {
                let pointer = reference.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            let schemas = document["components"]["schemas"].as_object().expect("schemas");
            for name in schemas.keys() {
                let reference = format!("#/components/schemas/{name}");
                assert!(found.contains(&reference), "{name} is used nowhere");
            }
            let chat = &document["paths"]["/v1/chat/completions"]["post"];
            let is_guarded = [&chat["security"], &chat["responses"]["401"]].map(|v| !v.is_null());
            assert_eq!(is_guarded, [has_keys; 2]);
            assert!(document["paths"]["/ping"]["get"]["security"].is_null());
        }
    }

    /// What is done stands in the document, with the words of the table.
    #[test]
    fn every_field_that_is_done_is_described() {
        let document = document(false);
        let schemas = &document["components"]["schemas"];
        let parameters = &schemas["LmiRequest"]["properties"]["parameters"];
        let bodies = [
            (Scope::Chat, &schemas["ChatRequest"]),
            (Scope::Completion, &schemas["CompletionRequest"]),
            (Scope::Lmi, &schemas["LmiRequest"]),
            (Scope::LmiParameters, parameters),
            (Scope::Detokenize, &schemas["DetokenizeRequest"]),
            (Scope::StreamOptions, &schemas["ChatRequest"]["properties"]["stream_options"]),
        ];
        for (scope, body) in bodies {
            let is_done = |name: &&str| names::verdict(name, scope) == names::Verdict::Done;
            for name in names::TABLE.iter().map(|row| row.name).filter(is_done) {
                let told = &body["properties"][name]["description"];
                assert_eq!(told, names::doc(name), "{scope:?} {name}");
            }
        }
    }
}
