//! Messages by the agreed contract, `proto/descriptors.binpb`: written and read without the program's own types, as a
//! publisher in another language does.

use std::sync::LazyLock;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

static CONTRACT: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let bytes = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/descriptors.binpb"));
    DescriptorPool::decode(bytes.as_slice()).expect("proto/descriptors.binpb is a descriptor set")
});

/// Writes a message, given in proto3's JSON.
pub(crate) fn encode(message: &str, json: &Value) -> Vec<u8> {
    let descriptor = CONTRACT
        .get_message_by_name(message)
        .expect("the contract has the message");
    DynamicMessage::deserialize(descriptor, json.clone())
        .expect("the message fits the contract")
        .encode_to_vec()
}

/// Reads a message into JSON with the contract's field names; every field is there, set or not.
pub(crate) fn decode(message: &str, bytes: &[u8]) -> Value {
    let descriptor = CONTRACT
        .get_message_by_name(message)
        .expect("the contract has the message");
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(false)
        .skip_default_fields(false);
    DynamicMessage::decode(descriptor, bytes)
        .expect("the bytes fit the contract")
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("every message is JSON")
}
