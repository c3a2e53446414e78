//! Routes, each with its part of the OpenAPI document.

use axum::{Router, routing::MethodRouter};
use utoipa::openapi::{RefOr, Schema, path::Paths};

use crate::app::App;

/// Schemas by name, in the order of their use: a name occurs as often as its type is used.
pub(crate) type Schemas = Vec<(String, RefOr<Schema>)>;

/// Handlers with their addresses, and their part of the document.
#[derive(Default)]
pub(crate) struct Routes {
    pub(in crate::http) router: Router<App>,
    pub(in crate::http) described: Described,
}

/// A part of the document.
#[derive(Default)]
pub(crate) struct Described {
    pub(in crate::http) paths: Paths,
    pub(in crate::http) schemas: Schemas,
}

impl Routes {
    /// Adds the handlers of one address, as made by [`routes!`].
    #[must_use]
    pub(crate) fn routes(mut self, (schemas, paths, methods): (Schemas, Paths, MethodRouter<App>)) -> Self {
        for path in paths.paths.keys() {
            self.router = self.router.route(path, methods.clone());
        }
        self.described.paths.merge(paths);
        self.described.schemas.extend(schemas);
        self
    }

    /// Adds the routes of another resource.
    #[must_use]
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.described.paths.merge(other.described.paths);
        self.described.schemas.extend(other.described.schemas);
        self
    }
}

/// The handlers of one address. Each tells besides what stands in its attribute what its signature says:
/// [`operation`](super::operation).
macro_rules! routes {
    ($($handler:ident),+) => {{
        let (schemas, mut paths, methods) = utoipa_axum::routes!($($handler),+);
        $(utoipa_axum::paste! {
            $crate::http::openapi::operation::complete::<[<__path_ $handler>], _, _>(&mut paths, $handler);
        })+
        (schemas, paths, methods)
    }};
}
pub(crate) use routes;
