//! (to be written)
// LOCALSTUB
pub(crate) async fn run(_a: crate::app::App, _s: tokio_util::sync::CancellationToken) {}
