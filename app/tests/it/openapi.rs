//! `openapi.json` against the running server: the same paths, the same methods, only documented statuses, and bodies as they
//! are described. Two walks: from the document to the server, and from the server's own list of paths to the document.

use std::collections::BTreeSet;

use reqwest::header;
use serde_json::Value;

use crate::stack::{Stack, form, jpeg};

/// Follows `$ref` within the document.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference} leads nowhere")),
        None => value,
    }
}

/// What of JSON Schema the document uses; anything else in it is an error here.
fn check(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolved(document, schema).as_object().unwrap();
    for (keyword, rule) in schema {
        match keyword.as_str() {
            "type" => {
                let is = |name: &str| match name {
                    "string" => value.is_string(),
                    "integer" => value.is_u64(),
                    "boolean" => value.is_boolean(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    "null" => value.is_null(),
                    other => panic!("{at}: unknown type {other}"),
                };
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                assert!(types.iter().any(|name| is(name.as_str().unwrap())), "{at}: {value} is no {rule}");
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    assert!(value.get(name.as_str().unwrap()).is_some(), "{at}: {name} is missing in {value}");
                }
            }
            "properties" => {
                for (name, value) in value.as_object().unwrap() {
                    if let Some(schema) = rule.get(name) {
                        check(document, schema, value, &format!("{at}.{name}"));
                    }
                }
            }
            "additionalProperties" => {
                assert_eq!(rule, &Value::Bool(false));
                for name in value.as_object().unwrap().keys() {
                    assert!(schema["properties"].get(name).is_some(), "{at}: {name} is not documented");
                }
            }
            "items" => {
                for (index, value) in value.as_array().unwrap().iter().enumerate() {
                    check(document, rule, value, &format!("{at}[{index}]"));
                }
            }
            "enum" => assert!(rule.as_array().unwrap().contains(value), "{at}: {value} is none of {rule}"),
            "description" => {}
            other => panic!("{at}: the test does not know {other}"),
        }
    }
}

/// Sends, and holds status and JSON body against the document.
async fn walk(stack: &Stack, document: &Value, seen: &mut BTreeSet<String>, step: (&str, &str, &str, u16)) -> Value {
    let (method, route, path, expected) = step;
    let (body, content_type) = form(&jpeg(if path.contains("other") { 2 } else { 1 }));
    let mut request = stack
        .server
        .request(method.parse().unwrap(), path)
        .header(header::ACCEPT, if expected == 303 { "text/html" } else { "application/json" });
    if method == "POST" && !route.ends_with("/delete") && !route.ends_with("/restore") {
        let body = if path.contains("broken") { b"--cut-here--\r\n".to_vec() } else { body };
        request = request.header(header::CONTENT_TYPE, content_type).body(body);
    }
    if path.contains("refused") || expected == 409 {
        request = request.header(header::IF_NONE_MATCH, "*");
    }
    if expected == 403 {
        request = request.header("sec-fetch-site", "cross-site");
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(status, expected, "{method} {path}");
    let operation = &document["paths"][route][method.to_lowercase()];
    let documented = &operation["responses"][status.to_string()];
    assert!(documented.is_object(), "{method} {route}: {status} is not documented");
    seen.insert(format!("{method} {route}"));
    let content = &resolved(document, documented)["content"];
    let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_string());
    let text = response.text().await.unwrap();
    let Some(kind) = kind else { return Value::Null };
    let kind = kind.split(';').next().unwrap();
    if content.is_object() {
        assert!(content.get(kind).is_some(), "{method} {route}: {kind} is not documented");
    }
    let Ok(value) = serde_json::from_str(&text) else { return Value::Null };
    if let Some(schema) = content[kind].get("schema") {
        check(document, schema, &value, &format!("{method} {path}"));
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_the_servers() {
    let stack = Stack::start_with(&[("UNDO_SECONDS", "60")]).await;
    let document = stack.server.json("/openapi.json").await;
    let documented: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let served: BTreeSet<&str> = imagecrud::router::paths().into_iter().collect();
    assert_eq!(documented, served);

    let mut seen = BTreeSet::new();
    let name = "/imagecrud/{name}";
    for step in [
        ("GET", "/", "/", 307),
        ("GET", "/imagecrud", "/imagecrud", 307),
        ("POST", name, "/imagecrud/cat", 200),
        ("POST", name, "/imagecrud/cat", 200),
        ("POST", name, "/imagecrud/cat?other", 409),
        ("POST", name, "/imagecrud/cat?other", 200),
        ("POST", name, "/imagecrud/cat", 303),
        ("POST", name, "/imagecrud/a%20b", 400),
        ("POST", name, "/imagecrud/broken", 400),
        ("POST", name, "/imagecrud/dog", 403),
        ("POST", "/imagecrud/", "/imagecrud/", 200),
        ("POST", "/imagecrud/", "/imagecrud/?other", 409),
        ("POST", "/imagecrud/", "/imagecrud/", 303),
        ("GET", "/imagecrud/", "/imagecrud/?limit=1&sort=name", 200),
        ("GET", "/imagecrud/", "/imagecrud/?sort=size", 400),
        ("GET", name, "/imagecrud/cat", 200),
        ("GET", name, "/imagecrud/cat?raw", 302),
        ("GET", name, "/imagecrud/nobody", 404),
        ("DELETE", name, "/imagecrud/nobody", 404),
        ("POST", "/imagecrud/{name}/delete", "/imagecrud/nobody/delete", 404),
        ("POST", "/imagecrud/{name}/restore", "/imagecrud/cat/restore", 400),
        ("POST", "/imagecrud/{name}/restore", "/imagecrud/cat/restore?key=aaaaaaaaaaaaaaaaaaaaaaaaaa", 410),
        ("GET", "/static/{file}", "/static/style.css", 200),
        ("GET", "/static/{file}", "/static/nothing", 404),
        ("GET", "/openapi.json", "/openapi.json", 200),
        ("GET", "/metrics", "/metrics", 200),
        ("GET", "/healthz", "/healthz", 200),
        ("GET", "/readyz", "/readyz", 200),
    ] {
        walk(&stack, &document, &mut seen, step).await;
    }
    let deletion = walk(&stack, &document, &mut seen, ("DELETE", name, "/imagecrud/cat", 200)).await;
    let undo = deletion["undo"].as_str().unwrap();
    walk(&stack, &document, &mut seen, ("POST", "/imagecrud/{name}/restore", undo, 200)).await;
    walk(&stack, &document, &mut seen, ("POST", "/imagecrud/{name}/delete", "/imagecrud/cat/delete", 303)).await;
    walk(&stack, &document, &mut seen, ("POST", name, "/imagecrud/cat?other", 200)).await;
    walk(&stack, &document, &mut seen, ("POST", "/imagecrud/{name}/delete", "/imagecrud/cat/delete", 200)).await;

    for (path, operations) in document["paths"].as_object().unwrap() {
        let methods: BTreeSet<String> = operations
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "parameters")
            .map(|method| method.to_uppercase())
            .collect();
        for method in &methods {
            assert!(seen.contains(&format!("{method} {path}")), "{method} {path} is documented and was not walked");
        }
        // A method that nobody has tells which ones there are.
        let concrete = path.replace("{name}", "cat").replace("{file}", "style.css");
        let request = stack.server.request(reqwest::Method::PATCH, &concrete);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 405, "{path}");
        let allowed: BTreeSet<String> =
            response.headers()[header::ALLOW].to_str().unwrap().split(',').map(str::to_string).collect();
        let allowed: BTreeSet<String> = allowed.into_iter().filter(|method| method != "HEAD").collect();
        assert_eq!(allowed, methods, "{path}");
    }
}
