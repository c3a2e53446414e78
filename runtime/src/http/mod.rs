//! The API: axum, and only here.
//!
//! The way of a request, from the outside in:
//! - [`mod@serve`] holds the connection, [`outer`] gives the request an id, a time limit and a log line;
//! - [`auth`] wants a key on every route but the few of [`public`], and counts how often it comes;
//! - an extractor reads the body strictly ([`json`]), the path and the query ([`input`]);
//! - the handler, one resource a file, calls an operation of [`crate::flow`] and shows a view; it touches no database;
//! - a POST runs inside [`idempotent`], which commits its answer with its effect, so that a repetition has no second one;
//! - whatever goes wrong is a [`problem::Problem`], the one error that meets HTTP.
//!
//! A merchant's handler gives its tenant to every operation: what is another's is not found.
//!
//! The OpenAPI document is made from the handlers ([`openapi`]); `runtime/openapi.json` is its snapshot.

// utoipa's macro writes the types of parameters with a path.
#![allow(unused_qualifications)]

pub(crate) mod auth;
pub(crate) mod idempotent;
pub(crate) mod input;
pub(crate) mod json;
mod openapi;
mod outer;
pub(crate) mod page;
pub(crate) mod problem;
mod rate;
mod serve;
pub(crate) mod time;

mod addresses;
mod api_keys;
mod corrections;
mod deliveries;
mod endpoints;
mod events;
mod find;
mod hooks;
mod invoices;
mod master_keys;
mod merchants;
mod networks;
mod payments;
mod plugins;
mod rescans;
mod retention;
mod sandbox;
mod status;
mod transfers;
mod upload;
mod usage;

use axum::{Router, middleware};
use http::Method;

use self::{
    openapi::routes::Routes,
    problem::{Kind, Problem},
};
use crate::app::App;

pub(crate) use serve::serve;

/// All routes.
pub(crate) fn router(app: App) -> Router {
    let app = App { db: app.db.for_requests(), ..app };
    let (guarded, public) = (guarded(), public());
    let gate = auth::Gate::new(app.clone());
    guarded
        .router
        .layer(middleware::from_fn_with_state(gate, auth::identify))
        .merge(public.router)
        .merge(openapi::pages([guarded.described, public.described]))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), outer::surround))
        .with_state(app)
}

/// The OpenAPI document.
#[cfg(test)]
pub(crate) fn document() -> serde_json::Value {
    openapi::document(&[guarded().described, public().described])
}

/// Routes that require a key.
fn guarded() -> Routes {
    Routes::default()
        .merge(merchants::routes())
        .merge(api_keys::routes())
        .merge(networks::routes())
        .merge(rescans::routes())
        .merge(retention::routes())
        .merge(master_keys::routes())
        .merge(plugins::routes())
        .merge(endpoints::routes())
        .merge(events::routes())
        .merge(hooks::routes())
        .merge(deliveries::routes())
        .merge(addresses::routes())
        .merge(invoices::routes())
        .merge(payments::routes())
        .merge(transfers::routes())
        .merge(find::routes())
        .merge(corrections::routes())
        .merge(usage::routes())
        .merge(sandbox::routes())
}

/// Routes without a key.
fn public() -> Routes {
    status::routes()
}

async fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "There is nothing at this address. /docs lists what there is.")
}

async fn method_not_allowed(method: Method) -> Problem {
    let method: String = method.as_str().chars().take(20).collect();
    Problem::new(
        Kind::MethodNotAllowed,
        format!("{method} does nothing here; the Allow header lists what does."),
    )
}

#[cfg(test)]
mod tests;
