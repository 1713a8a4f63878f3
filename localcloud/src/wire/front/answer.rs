//! Answers as they are written: query, JSON or CBOR.

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::Response,
};

use crate::{
    api::{error::ApiError, operation::Service},
    behaviour::eucalyptus,
    wire::{
        cbor, json,
        value::Node,
        xml::{self, Dialect},
    },
};

#[derive(Clone, Copy)]
pub(super) enum Codec {
    Query,
    Json,
    Cbor,
}

pub(super) fn encode(service: &Service, codec: Codec, action: &str, output: &Node, request_id: &str) -> Response {
    match codec {
        Codec::Query => {
            let body = xml::response(service.dialect, service.namespace, action, output, request_id);
            respond(200, "text/xml;charset=UTF-8", body, request_id)
        }
        Codec::Json => respond(200, "application/x-amz-json-1.0", json::from_node(output), request_id),
        Codec::Cbor => cbor_response(200, cbor::from_node(output), request_id),
    }
}

pub(super) fn encode_error(service: &Service, codec: Codec, error: &ApiError, request_id: &str) -> Response {
    if error.code == eucalyptus::UNBOUND {
        return unbound(error, request_id);
    }
    if matches!(codec, Codec::Query) {
        let body =
            xml::error(service.dialect, service.namespace, &error.code, &error.message, error.is_senders(), request_id);
        return respond(error.status, "text/xml;charset=UTF-8", body, request_id);
    }
    let node = Node::Map(vec![
        ("__type".into(), Node::Text(shape(&error.code))),
        ("message".into(), Node::Text(error.message.clone())),
    ]);
    let mut response = match codec {
        Codec::Cbor => cbor_response(error.status, cbor::from_node(&node), request_id),
        _ => respond(error.status, "application/x-amz-json-1.0", json::from_node(&node), request_id),
    };
    // Clients that ask for it by `x-amzn-query-mode` find the query protocol's code here.
    let fault = if error.is_senders() { "Sender" } else { "Receiver" };
    if let Ok(value) = format!("{};{fault}", error.code).parse() {
        response.headers_mut().insert("x-amzn-query-error", value);
    }
    response
}

/// As Eucalyptus answers what it does not bind: in one form for all services, as plain text, and for the last time on
/// its connection.
fn unbound(error: &ApiError, request_id: &str) -> Response {
    // What it has in the place of an id.
    let detail = &error.message;
    let body = xml::error(Dialect::Ec2, "", &error.code, &error.message, error.is_senders(), detail);
    let mut response = respond(error.status, "text/plain; charset=UTF-8", body, request_id);
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

/// The name of an error's shape: it is not always its code, which is the query protocol's. CloudWatch is the only service
/// here that has names of its own beside codes; they are its service model's.
fn shape(code: &str) -> String {
    const OF_CLOUDWATCH: &[(&str, &str)] = &[
        ("InternalServiceError", "InternalServiceFault"),
        ("InvalidFormat", "InvalidFormatFault"),
        ("InvalidNextToken", "InvalidNextToken"),
        ("InvalidParameterCombination", "InvalidParameterCombinationException"),
        ("InvalidParameterValue", "InvalidParameterValueException"),
        ("LimitExceeded", "LimitExceededFault"),
        ("MissingParameter", "MissingRequiredParameterException"),
        ("ResourceNotFound", "ResourceNotFound"),
        ("ResourceNotFoundException", "ResourceNotFoundException"),
    ];
    match OF_CLOUDWATCH.iter().find(|(known, _)| *known == code) {
        Some((_, shape)) => format!("com.amazonaws.cloudwatch.v2010_08_01#{shape}"),
        None if code == "ValidationError" => "com.amazon.coral.validate#ValidationException".to_owned(),
        None => code.to_owned(),
    }
}

pub(super) fn cbor_response(status: u16, body: Vec<u8>, request_id: &str) -> Response {
    let mut response = respond(status, "application/cbor", body, request_id);
    response.headers_mut().insert("smithy-protocol", header::HeaderValue::from_static("rpc-v2-cbor"));
    response
}

pub(super) fn respond(status: u16, content_type: &'static str, body: Vec<u8>, request_id: &str) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    if let Ok(value) = request_id.parse() {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
    response
}
pub(super) fn no_service(request_id: &str) -> Response {
    let text = "There is no service at this path; see /services/{compute,AutoScaling,LoadBalancing,CloudWatch,Euare,Tokens}.\n";
    respond(404, "text/plain", text.into(), request_id)
}
