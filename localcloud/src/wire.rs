//! Protocols: how a request becomes an operation's input and an output becomes a response. Knows no service.

/// One request to a server of ours.
pub mod asking;
/// RPC-v2-CBOR bodies to and from nodes.
pub mod cbor;
/// Bodies that a client has compressed.
mod compression;
/// The HTTP front: route, verify the signature, decode, run, encode.
pub mod front;
/// JSON bodies to and from nodes.
pub mod json;
/// Serves a router on a socket.
pub mod listener;
/// AWS query and EC2 query parameters to nodes.
pub mod query;
/// AWS signatures, versions 2 and 4.
pub mod sigv4;
/// The tree between every codec and every operation.
pub mod value;
/// Nodes to XML.
pub mod xml;
