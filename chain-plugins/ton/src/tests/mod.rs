//! The scan against a scripted index.
