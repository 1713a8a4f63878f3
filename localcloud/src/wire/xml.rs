//! Nodes to XML: EC2 names a list's elements `item`, the other services `member`.

use quick_xml::escape::escape;

use super::value::Node;
use crate::model::time::Timestamp;

/// How a service writes its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `<RunInstancesResponse><requestId/>…`, lists of `item`.
    Ec2,
    /// `<CreateXResponse><CreateXResult>…</CreateXResult><ResponseMetadata/>`, lists of `member`.
    Query,
}

/// The whole answer of an action that succeeded.
#[must_use]
pub fn response(dialect: Dialect, namespace: &str, action: &str, output: &Node, request_id: &str) -> Vec<u8> {
    let mut body = Body::new(dialect);
    let root = format!("{action}Response");
    body.open(&root, Some(namespace));
    match dialect {
        Dialect::Ec2 => {
            body.leaf("requestId", request_id);
            body.fields(output);
        }
        Dialect::Query => {
            body.element(&format!("{action}Result"), output);
            body.open("ResponseMetadata", None);
            body.leaf("RequestId", request_id);
            body.close("ResponseMetadata");
        }
    }
    body.close(&root);
    body.finish()
}

/// The whole answer of an action that failed.
#[must_use]
pub fn error(
    dialect: Dialect,
    namespace: &str,
    code: &str,
    message: &str,
    sender_fault: bool,
    request_id: &str,
) -> Vec<u8> {
    let mut body = Body::new(dialect);
    match dialect {
        Dialect::Ec2 => {
            body.open("Response", None);
            body.open("Errors", None);
            body.open("Error", None);
            body.leaf("Code", code);
            body.leaf("Message", message);
            body.close("Error");
            body.close("Errors");
            body.leaf("RequestID", request_id);
            body.close("Response");
        }
        Dialect::Query => {
            body.open("ErrorResponse", Some(namespace));
            body.open("Error", None);
            body.leaf("Type", if sender_fault { "Sender" } else { "Receiver" });
            body.leaf("Code", code);
            body.leaf("Message", message);
            body.close("Error");
            body.leaf("RequestId", request_id);
            body.close("ErrorResponse");
        }
    }
    body.finish()
}

fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'<' | b'>' | b'&' | b'\'' | b'"')
}

/// <https://www.w3.org/TR/xml/#charsets>
fn has_form(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t') || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
}

struct Body {
    bytes: Vec<u8>,
    item: &'static str,
}

impl Body {
    fn new(dialect: Dialect) -> Self {
        // Room for most answers: one that grows is copied each time.
        let mut bytes = Vec::with_capacity(16 * 1024);
        bytes.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Self { bytes, item: if dialect == Dialect::Ec2 { "item" } else { "member" } }
    }

    fn write(&mut self, parts: &[&str]) {
        for part in parts {
            self.bytes.extend_from_slice(part.as_bytes());
        }
    }

    fn open(&mut self, name: &str, namespace: Option<&str>) {
        match namespace {
            None => self.write(&["<", name, ">"]),
            Some(namespace) => self.write(&["<", name, " xmlns=\"", &escape(namespace), "\">"]),
        }
    }

    fn close(&mut self, name: &str) {
        self.write(&["</", name, ">"]);
    }

    fn leaf(&mut self, name: &str, text: &str) {
        // Nearly every text stands for itself; to look for what does not costs more than to write.
        if text.bytes().all(stands_for_itself) {
            self.write(&["<", name, ">", text, "</", name, ">"]);
            return;
        }
        self.open(name, None);
        // XML 1.0 has no form for most control characters; console output may hold them.
        if text.chars().all(has_form) {
            self.write(&[&escape(text)]);
        } else {
            let clean: String = text.chars().filter(|c| has_form(*c)).collect();
            self.write(&[&escape(&*clean)]);
        }
        self.close(name);
    }

    fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        self.open(name, None);
        // Into memory, which does not fail.
        let _ = std::io::Write::write_fmt(&mut self.bytes, format_args!("{value}"));
        self.close(name);
    }

    fn element(&mut self, name: &str, node: &Node) {
        match node {
            Node::Null => {}
            Node::Bool(value) => self.leaf(name, if *value { "true" } else { "false" }),
            Node::Integer(value) => self.number(name, value),
            Node::Float(value) => self.number(name, value),
            Node::Text(text) => self.leaf(name, text),
            Node::Blob(bytes) => {
                use base64::Engine as _;
                self.leaf(name, &base64::engine::general_purpose::STANDARD.encode(bytes));
            }
            Node::Timestamp(seconds) => self.leaf(name, &Timestamp::from_seconds(*seconds).to_string()),
            Node::List(items) => {
                self.open(name, None);
                for item in items {
                    self.element(self.item, item);
                }
                self.close(name);
            }
            Node::Map(_) => {
                self.open(name, None);
                self.fields(node);
                self.close(name);
            }
            // <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>
            Node::Dictionary(entries) => {
                self.open(name, None);
                for (key, value) in entries {
                    self.open("entry", None);
                    self.leaf("key", key);
                    self.element("value", value);
                    self.close("entry");
                }
                self.close(name);
            }
        }
    }

    fn fields(&mut self, node: &Node) {
        if let Node::Map(entries) = node {
            for (name, value) in entries {
                self.element(name, value);
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b'\n');
        self.bytes
    }
}
