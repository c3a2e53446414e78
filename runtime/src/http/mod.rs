//! The REST API: axum only here.
