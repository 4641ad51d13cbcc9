//! The OpenAPI document: sound in itself, complete, and true of what is served.

use std::collections::BTreeSet;

use cairn_node::api::limits::Limits;
use serde_json::Value;

use crate::client::{get_json, request};
use crate::memory::*;

/// Every operation of the interface page.
const OPERATIONS: &[(&str, &str)] = &[
    ("get", "/"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/v1/status"),
    ("get", "/v1/blocks"),
    ("get", "/v1/blocks/{block}"),
    ("get", "/v1/blocks/{block}/raw"),
    ("get", "/v1/headers"),
    ("get", "/v1/headers/{block}/seal"),
    ("get", "/v1/transactions/{txid}"),
    ("get", "/v1/transactions/{txid}/proof"),
    ("post", "/v1/transactions"),
    ("get", "/v1/addresses/{address}"),
    ("get", "/v1/addresses/{address}/utxos"),
    ("get", "/v1/addresses/{address}/transactions"),
    ("get", "/v1/addresses/{address}/mempool"),
    ("get", "/v1/mempool"),
    ("get", "/v1/fees"),
    ("get", "/v1/peers"),
    ("get", "/v1/validators"),
    ("get", "/v1/supply"),
    ("get", "/v1/schedule"),
    ("get", "/v1/miner"),
    ("post", "/v1/miner"),
    ("post", "/v1/sql"),
    ("get", "/v1/events"),
    ("post", "/rpc"),
];

async fn document() -> Value {
    let served = serve(&MemoryNode::new(1), Limits::default()).await;
    get_json(served.at, "/openapi.json").await
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push((method.clone(), path.clone(), operation));
        }
    }
    operations
}

/// Calls `visit` with every value of the document and the way to it.
fn walk(value: &Value, way: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(way, value);
    match value {
        Value::Object(map) => {
            map.iter()
                .for_each(|(key, value)| walk(value, &format!("{way}/{key}"), visit));
        }
        Value::Array(list) => {
            list.iter()
                .enumerate()
                .for_each(|(at, value)| walk(value, &format!("{way}/{at}"), visit));
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_operation_is_documented_and_named_once() {
    let document = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(!document["info"]["title"].as_str().unwrap().is_empty());
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let documented: BTreeSet<(String, String)> = operations(&document)
        .iter()
        .map(|(method, path, _)| (method.clone(), path.clone()))
        .collect();
    for (method, path) in OPERATIONS {
        let operation = ((*method).to_owned(), (*path).to_owned());
        assert!(
            documented.contains(&operation),
            "{method} {path} is not documented"
        );
    }
    let names: BTreeSet<&str> = operations(&document)
        .iter()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(
        names.len(),
        operations(&document).len(),
        "operation ids are unique"
    );
}

#[tokio::test]
async fn parameters_match_paths_and_responses_have_descriptions() {
    let document = document().await;
    for (method, path, operation) in operations(&document) {
        let at = format!("{method} {path}");
        let empty = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&empty);
        let declared: BTreeSet<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| {
                assert_eq!(parameter["required"], true, "{at}");
                parameter["name"].as_str().unwrap()
            })
            .collect();
        let in_path: BTreeSet<&str> = path
            .split('{')
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap())
            .collect();
        assert_eq!(declared, in_path, "{at}");
        for parameter in parameters {
            assert!(parameter["schema"].is_object(), "{at}: {parameter}");
            assert!(
                matches!(parameter["in"].as_str(), Some("path" | "query")),
                "{at}"
            );
            assert!(
                !parameter["description"].as_str().unwrap().is_empty(),
                "{at}: {parameter}"
            );
        }
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{at}");
        assert_eq!(
            operation["requestBody"].is_object(),
            method == "post",
            "{at}"
        );
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses {
            let number: u16 = status.parse().unwrap();
            assert!((100..600).contains(&number), "{at}");
            assert!(
                !response["description"].as_str().unwrap().is_empty(),
                "{at} {status}"
            );
            if number >= 400 {
                let schema = &response["content"]["application/problem+json"]["schema"];
                assert_eq!(
                    schema["$ref"], "#/components/schemas/Problem",
                    "{at} {status}"
                );
            }
        }
        let is_static = [
            "/",
            "/explorer.js",
            "/explorer.css",
            "/healthz",
            "/openapi.json",
        ];
        if !is_static.contains(&path.as_str()) {
            for status in ["400", "403", "500", "503", "504"] {
                assert!(
                    responses.contains_key(status),
                    "{at} says nothing of {status}"
                );
            }
        }
        if method == "post" {
            for status in ["401", "408", "413", "415"] {
                assert!(
                    responses.contains_key(status),
                    "{at} says nothing of {status}"
                );
            }
        }
        if !in_path.is_empty() && !path.starts_with("/v1/addresses") {
            assert!(responses.contains_key("404"), "{at} says nothing of 404");
        }
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = document().await;
    let mut referred = BTreeSet::new();
    walk(&document, "", &mut |way, value| {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            let pointer = target
                .strip_prefix('#')
                .expect("references stay in the document");
            assert!(
                document.pointer(pointer).is_some(),
                "{way} refers to {target}"
            );
            referred.insert(target.to_owned());
        }
    });
    for name in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        let reference = format!("#/components/schemas/{name}");
        assert!(referred.contains(&reference), "{name} is used nowhere");
    }
    let problem = &document["components"]["schemas"]["Problem"];
    let required: BTreeSet<&str> = problem["required"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert_eq!(
        required,
        BTreeSet::from(["type", "title", "status", "code", "detail"])
    );
}

/// What an answer may look like by its schema: enough of JSON Schema for what the document uses.
fn conforms(document: &Value, schema: &Value, value: &Value, way: &str) {
    if let Some(target) = schema["$ref"].as_str() {
        let schema = document.pointer(target.strip_prefix('#').unwrap()).unwrap();
        return conforms(document, schema, value, way);
    }
    if let Some(all) = schema["allOf"].as_array() {
        all.iter()
            .for_each(|part| conforms(document, part, value, way));
    }
    if let Some(any) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let fits = any
            .iter()
            .any(|part| std::panic::catch_unwind(|| conforms(document, part, value, way)).is_ok());
        assert!(fits, "{way}: {value} fits none of {any:?}");
        return;
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = |wanted: &Value| wanted == kind || (wanted == "number" && kind == "integer");
    match &schema["type"] {
        Value::Null => {}
        Value::Array(kinds) => assert!(kinds.iter().any(fits), "{way}: {value} is no {kinds:?}"),
        wanted => assert!(fits(wanted), "{way}: {value} is no {wanted}"),
    }
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{way}: {value} is none of {words:?}");
    }
    match value {
        Value::Object(map) => {
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(
                    map.contains_key(name.as_str().unwrap()),
                    "{way}: {name} is missing"
                );
            }
            for (name, value) in map {
                let schema = &schema["properties"][name];
                if !schema.is_null() {
                    conforms(document, schema, value, &format!("{way}.{name}"));
                }
            }
        }
        Value::Array(list) => {
            let items = &schema["items"];
            if !items.is_null() {
                list.iter()
                    .for_each(|value| conforms(document, items, value, &format!("{way}[]")));
            }
        }
        _ => {}
    }
}

/// All properties that a schema names, through references and `allOf`.
fn properties(document: &Value, schema: &Value) -> BTreeSet<String> {
    if let Some(target) = schema["$ref"].as_str() {
        return properties(
            document,
            document.pointer(target.strip_prefix('#').unwrap()).unwrap(),
        );
    }
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let own = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys().cloned());
    parts
        .flat_map(|part| properties(document, part))
        .chain(own)
        .collect()
}

#[tokio::test]
async fn every_answer_is_as_the_document_says() {
    let served = serve(&MemoryNode::new(5), Limits::default()).await;
    let document = get_json(served.at, "/openapi.json").await;
    let mut judged = 0;
    for (method, path, operation) in operations(&document) {
        let target = path
            .replace("{block}/seal", "99/seal")
            .replace("{block}", "3")
            .replace("{txid}", &txid(3).to_string())
            .replace("{address}", ADDRESS);
        let body = match (method.as_str(), path.as_str()) {
            ("post", "/v1/transactions") => r#"{"hex":"01"}"#,
            ("post", "/v1/miner") => r#"{"paused":false}"#,
            ("post", "/rpc") => r#"{"method":"getblocktemplate","id":1}"#,
            _ => "",
        };
        let headers = [("content-type", "application/json")];
        let answer = request(
            served.at,
            &method.to_uppercase(),
            &target,
            &headers,
            body.as_bytes(),
        )
        .await;
        let at = format!("{method} {path}");
        let response = &operation["responses"][answer.status.to_string()];
        assert!(
            response.is_object(),
            "{at}: status {} is not documented",
            answer.status
        );
        let kind = answer
            .header("content-type")
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let content = &response["content"][&kind];
        assert!(
            content.is_object(),
            "{at}: content type {kind} is not documented"
        );
        if kind.ends_with("json") {
            let answer = answer.json();
            conforms(&document, &content["schema"], &answer, &at);
            let known = properties(&document, &content["schema"]);
            if let (Some(map), false) = (answer.as_object(), known.is_empty()) {
                for name in map.keys() {
                    assert!(known.contains(name), "{at}: {name} is not documented");
                }
            }
            judged += 1;
        }
    }
    assert!(judged >= 20, "only {judged} answers were judged");
}
