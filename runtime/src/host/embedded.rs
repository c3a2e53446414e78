//! The contents of the binary: chain plugins as components, and the manifests of the networks they read.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
