//! What the fuzz targets share: the input as choices, answers that are tampered with, and what a scan that
//! answers has to keep to. A finding is a panic, so this crate asserts and unwraps where the project must not.

pub mod contract;
pub mod input;
pub mod scans;
pub mod tamper;
