//! What a merchant has, as its API reads it: one thing by its id, and all of a kind in pages, the newest first. What is
//! another's is as good as none.

use crate::{
    app::App,
    db::{
        Conn, DbError, addresses, corrections, deliveries, endpoints, events, invoices, payments, transfers,
    },
    domain::{invoice::Invoice, tenant::Tenant},
};

/// Where a page begins, as the id that its rows are below, and their maximum number.
pub(crate) type Span = (String, i64);

/// Error of reading what has an id.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("there is no such {0}")]
    Missing(&'static str),
}

/// A kind of things that each have an id.
pub(crate) trait Resource: Sized {
    const NAME: &'static str;

    fn by_id(
        conn: &mut Conn,
        tenant: &Tenant,
        id: &str,
    ) -> impl Future<Output = Result<Option<Self>, DbError>> + Send;
}

/// A kind of things that are listed in pages.
pub(crate) trait Listed: Sized {
    /// What a list may be narrowed to.
    type Filter: Send;

    fn page(
        conn: &mut Conn,
        tenant: &Tenant,
        filter: Self::Filter,
        span: Span,
    ) -> impl Future<Output = Result<Vec<Self>, DbError>> + Send;
}

/// Reads one thing within a transaction.
pub(super) async fn found<R: Resource>(conn: &mut Conn, tenant: &Tenant, id: &str) -> Result<R, LookupError> {
    R::by_id(conn, tenant, id).await?.ok_or(LookupError::Missing(R::NAME))
}

/// Reads one thing.
pub(crate) async fn get<R: Resource>(app: &App, tenant: &Tenant, id: &str) -> Result<R, LookupError> {
    found(&mut app.db.read().await?, tenant, id).await
}

/// Reads a page.
pub(crate) async fn list<R: Listed>(
    app: &App,
    tenant: &Tenant,
    filter: R::Filter,
    span: Span,
) -> Result<Vec<R>, DbError> {
    R::page(&mut app.db.read().await?, tenant, filter, span).await
}

macro_rules! resource {
    ($name:literal, $row:ty, $get:path) => {
        impl Resource for $row {
            const NAME: &'static str = $name;

            async fn by_id(conn: &mut Conn, tenant: &Tenant, id: &str) -> Result<Option<Self>, DbError> {
                $get(conn, tenant, id).await
            }
        }
    };
}

macro_rules! listed {
    ($row:ty, $filter:ty, |$conn:ident, $tenant:ident, $only:pat_param, $before:ident, $rows:ident| $list:expr) => {
        impl Listed for $row {
            type Filter = $filter;

            async fn page(
                $conn: &mut Conn,
                $tenant: &Tenant,
                $only: $filter,
                ($before, $rows): Span,
            ) -> Result<Vec<Self>, DbError> {
                $list.await
            }
        }
    };
}

resource!("receive address", addresses::ReceiveAddress, addresses::get);
resource!("delivery", deliveries::Delivery, deliveries::get);
resource!("endpoint", endpoints::Endpoint, endpoints::get);
resource!("event", events::Event, events::get);
resource!("invoice", Invoice, invoices::get);
resource!("payment", payments::Listed, payments::get);
resource!("transfer", transfers::Listed, transfers::get);

listed!(addresses::ReceiveAddress, (), |conn, tenant, (), before, rows| addresses::list(
    conn, tenant, before, rows
));
listed!(corrections::Listed, corrections::Of, |conn, tenant, of, before, rows| corrections::list(
    conn, tenant, of, before, rows
));
listed!(
    deliveries::Delivery,
    (deliveries::Of, Option<deliveries::DeliveryState>),
    |conn, tenant, (of, state), before, rows| deliveries::list(conn, tenant, of, state, before, rows)
);
listed!(endpoints::Endpoint, (), |conn, tenant, (), before, rows| endpoints::list(
    conn, tenant, before, rows
));
listed!(events::Event, Option<String>, |conn, tenant, invoice_id, before, rows| events::list(
    conn, tenant, invoice_id, before, rows
));
listed!(Invoice, invoices::Of, |conn, tenant, of, before, rows| invoices::list(
    conn, tenant, of, before, rows
));
listed!(payments::Listed, Option<String>, |conn, tenant, invoice_id, before, rows| payments::list(
    conn,
    tenant,
    invoice_id.as_deref(),
    Some(&before),
    rows
));
listed!(transfers::Listed, transfers::Filter, |conn, tenant, filter, before, rows| transfers::list(
    conn,
    tenant,
    &filter,
    Some(&before),
    rows
));
