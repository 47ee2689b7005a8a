//! The generated types. Imported nowhere outside this room.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub(super) mod tradesvc {
    include!(concat!(env!("OUT_DIR"), "/tradesvc.v0.rs"));
}

/// Descriptors of every message, for JSON.
pub(super) static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
    DescriptorPool::decode(bytes).expect("the build script wrote this descriptor set")
});

/// Observations are written by hand (`super::market`), and held against these.
#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub(super) mod stream {
    include!(concat!(env!("OUT_DIR"), "/stream.v0.rs"));
}
